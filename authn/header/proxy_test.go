package header

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/authn/header/nginxtest"
	"github.com/postern-io/postern/registry"
)

// saw is what the server under test made of a request.
type saw struct {
	Subject string
	Groups  []string
	Reason  registry.Reason
	IP      string
	Header  http.Header
}

// server answers with what a provider made of the request.
func server(t *testing.T, p *Provider) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, _, err := p.FromRequest(r)
		s := saw{Subject: a.Subject, Reason: reason(t, err), IP: p.ClientIP(r), Header: r.Header}
		if a.Groups != nil {
			s.Groups = *a.Groups
		}
		json.NewEncoder(w).Encode(s)
	})
}

func ask(t *testing.T, client *http.Client, req *http.Request) (s saw) {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return saw{Reason: registry.Reason(resp.Status)}
	}
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func get(t *testing.T, url string, pairs ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		req.Header.Add(pairs[i], pairs[i+1])
	}
	return req
}

// from returns a client that calls from an address of loopback.
func from(ip string) *http.Client {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	return &http.Client{Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}}
}

// C57: two peers of one listener, one of them trusted. Only who comes from the
// proxy's address is believed, and what it forwards is the person's address.
func TestPeers(t *testing.T) {
	t.Parallel()
	p := newProvider(t, Config{TrustedProxies: prefixes("127.0.0.1/32")})
	back := httptest.NewServer(server(t, p))
	defer back.Close()
	target, err := url.Parse(back.URL)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(&httputil.ReverseProxy{
		Transport: from("127.0.0.1").Transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
			r.Out.Header.Set("Remote-User", "jane")
			r.Out.Header.Set("Remote-Groups", "administrator")
		},
	})
	defer front.Close()

	got := ask(t, from("127.0.0.2"), get(t, front.URL, "Remote-User", "root", "X-Forwarded-For", "203.0.113.9"))
	if got.Subject != "jane" || !slices.Equal(got.Groups, []string{"administrator"}) || got.IP != "127.0.0.2" {
		t.Errorf("through the proxy: got %+v", got)
	}
	got = ask(t, from("127.0.0.2"), get(t, back.URL, "Remote-User", "root", "X-Forwarded-For", "127.0.0.1"))
	if got.Subject != "" || got.Reason != "" || got.IP != "127.0.0.2" {
		t.Errorf("past the proxy: got %+v, want nobody", got)
	}
}

// How Go hands on a name with an underscore: apart from the one with a hyphen,
// and so invisible to Header.Get.
func TestUnderscoreOverTheWire(t *testing.T) {
	t.Parallel()
	p := newProvider(t, Config{TrustedProxies: prefixes("127.0.0.1/32")})
	back := httptest.NewServer(server(t, p))
	defer back.Close()
	for name, tt := range map[string]struct {
		lines string
		want  registry.Reason
	}{
		"it refuses an underscore":          {"Remote_User: root\r\n", registry.ReasonHeaderInvalid},
		"it refuses one in capitals":        {"Remote-User: jane\r\nREMOTE_USER: root\r\n", registry.ReasonHeaderInvalid},
		"it refuses a header in two spells": {"Remote-User: jane\r\nremote-user: root\r\n", registry.ReasonHeaderInvalid},
		"it takes one":                      {"rEMOTE-uSER: jane\r\n", ""},
	} {
		conn, err := net.Dial("tcp", back.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", tt.lines)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got saw
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Reason != tt.want {
			t.Errorf("%s: got %+v, %v, want %q", name, got, err, tt.want)
		}
		conn.Close()
	}
}

// An authority of the test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func issue(t *testing.T, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func newAuthority(t *testing.T) (a authority) {
	a.cert, a.key = issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "proxies"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	a.pool = x509.NewCertPool()
	a.pool.AddCert(a.cert)
	return a
}

func (a authority) certificate(t *testing.T, name string, usage x509.ExtKeyUsage) *tls.Certificate {
	cert, key := issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "cn of " + name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}, a.cert, a.key)
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// C57: a proxy is known by its client certificate, wherever it is.
func TestProxyCertificate(t *testing.T) {
	t.Parallel()
	ours, foreign := newAuthority(t), newAuthority(t)
	client := x509.ExtKeyUsageClientAuth
	for name, tt := range map[string]struct {
		cert    *tls.Certificate
		names   []string
		later   time.Duration
		subject string
	}{
		"it takes a certificate of ours":        {ours.certificate(t, "proxy.example", client), nil, 0, "jane"},
		"it takes it by its DNS name":           {ours.certificate(t, "proxy.example", client), []string{"other", "proxy.example"}, 0, "jane"},
		"it takes it by its common name":        {ours.certificate(t, "proxy.example", client), []string{"cn of proxy.example"}, 0, "jane"},
		"it ignores another name":               {ours.certificate(t, "device-7", client), []string{"proxy.example"}, 0, ""},
		"it ignores none":                       {nil, nil, 0, ""},
		"it ignores a foreign one":              {foreign.certificate(t, "proxy.example", client), []string{"proxy.example"}, 0, ""},
		"it ignores a server's":                 {ours.certificate(t, "proxy.example", x509.ExtKeyUsageServerAuth), nil, 0, ""},
		"it ignores one that has expired since": {ours.certificate(t, "proxy.example", client), nil, 2 * time.Hour, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, Config{ProxyRoots: ours.pool, ProxyNames: tt.names, Now: func() time.Time { return time.Now().Add(tt.later) }})
			back := httptest.NewUnstartedServer(server(t, p))
			back.TLS = &tls.Config{ClientAuth: tls.RequestClientCert} // the listener itself checks nothing
			back.Config.ErrorLog = log.New(io.Discard, "", 0)
			back.StartTLS()
			defer back.Close()
			target, err := url.Parse(back.URL)
			if err != nil {
				t.Fatal(err)
			}
			transport := back.Client().Transport.(*http.Transport).Clone()
			if tt.cert != nil {
				transport.TLSClientConfig.Certificates = []tls.Certificate{*tt.cert}
			}
			defer transport.CloseIdleConnections()
			front := httptest.NewServer(&httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				r.SetXForwarded()
				r.Out.Header.Set("Remote-User", "jane")
			}})
			defer front.Close()
			got := ask(t, from("127.0.0.2"), get(t, front.URL))
			if got.Subject != tt.subject || got.Reason != "" {
				t.Errorf("got %+v, want %q", got, tt.subject)
			}
			if want := map[bool]string{true: "127.0.0.2", false: "127.0.0.1"}[tt.subject != ""]; got.IP != want {
				t.Errorf("client address: got %q, want %q", got.IP, want)
			}
		})
	}
}

// C57, through Debian's nginx with the configuration that nginxtest shows.
func TestNginx(t *testing.T) {
	t.Parallel()
	p := newProvider(t, Config{TrustedProxies: prefixes("127.0.0.1/32")})
	back := httptest.NewServer(server(t, p))
	defer back.Close()
	people := map[string]nginxtest.Person{"jane": {Password: "demo", Groups: "administrator,staff"}, "joe": {Password: "demo2"}}
	plain := nginxtest.Start(t, nginxtest.Config{Upstream: back.URL, People: people})
	careless := nginxtest.Start(t, nginxtest.Config{Upstream: back.URL, People: people, Extra: "underscores_in_headers on;"})
	signedIn := func(req *http.Request, name, password string) *http.Request {
		req.SetBasicAuth(name, password)
		return req
	}
	stranger := from("127.0.0.2")

	got := ask(t, stranger, signedIn(get(t, plain), "jane", "demo"))
	if got.Subject != "jane" || !slices.Equal(got.Groups, []string{"administrator", "staff"}) || got.IP != "127.0.0.2" {
		t.Errorf("jane: got %+v", got)
	}
	if got.Header.Get("Authorization") != "" {
		t.Error("nginx passed the password on")
	}
	got = ask(t, stranger, signedIn(get(t, plain, "Remote-User", "root", "Remote-Groups", "administrator", "X-Forwarded-For", "203.0.113.9"), "joe", "demo2"))
	if got.Subject != "joe" || len(got.Groups) != 0 || got.IP != "127.0.0.2" {
		t.Errorf("joe who says he is root: got %+v", got)
	}
	if got := ask(t, stranger, signedIn(get(t, plain, "Remote-User", "root"), "jane", "wrong")); !strings.HasPrefix(string(got.Reason), "401") {
		t.Errorf("a wrong password: got %+v", got)
	}
	got = ask(t, stranger, signedIn(get(t, plain, "Remote_User", "root", "Remote_Groups", "administrator"), "joe", "demo2"))
	if got.Subject != "joe" || len(got.Groups) != 0 {
		t.Errorf("underscores, which nginx drops: got %+v", got)
	}
	got = ask(t, stranger, signedIn(get(t, careless, "Remote_User", "root"), "joe", "demo2"))
	if got.Subject != "" || got.Reason != registry.ReasonHeaderInvalid {
		t.Errorf("underscores, which nginx was told to keep: got %+v", got)
	}
}
