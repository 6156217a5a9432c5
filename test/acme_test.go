package test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/certs/certstest"
)

const acmeName = "postern.example.test"

// A pebble is Let's Encrypt's ACME server for tests, with a DNS that has every
// name on loopback. It looks for challenges at the ports of one server.
type pebble struct {
	directory, roots string // roots: file of the authority of its own HTTPS
	management       string
	client           *http.Client
}

// startPebble starts one and waits until it answers.
func startPebble(t *testing.T, s *server) *pebble {
	t.Helper()
	for _, tool := range []string{"pebble", "pebble-challtestsrv"} {
		if _, err := exec.LookPath(tool); err != nil {
			need(t, err)
		}
	}
	dir := t.TempDir()
	issuer := certstest.NewIssuer(t, nil)
	leaf, own := certstest.Issue(t, issuer)
	certFile, keyFile, roots := filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"), filepath.Join(dir, "ca.crt")
	if err := errors.Join(
		os.WriteFile(certFile, certs.EncodePEM(leaf, issuer.Certificate), 0o600),
		os.WriteFile(roots, certs.EncodePEM(issuer.Root), 0o600),
		certs.WriteKey(keyFile, own.PrivateKey)); err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 4)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": "127.0.0.1:" + ports[0], "managementListenAddress": "127.0.0.1:" + ports[1],
		"certificate": certFile, "privateKey": keyFile, "httpPort": number(t, s.http), "tlsPort": number(t, s.https),
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	begin(t, exec.Command("pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
		"-dns01", "127.0.0.1:"+ports[2], "-management", "127.0.0.1:"+ports[3], "-http01", "", "-https01", "", "-tlsalpn01", ""))
	p := &pebble{
		directory: "https://localhost:" + ports[0] + "/dir", roots: roots, management: "https://localhost:" + ports[1],
		client: &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: certs.Pool([]*x509.Certificate{issuer.Root})}}},
	}
	t.Cleanup(p.client.CloseIdleConnections)
	cmd := exec.Command("pebble", "-config", file, "-dnsserver", "127.0.0.1:"+ports[2])
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "PEBBLE_VA_NOSLEEP=1"}
	begin(t, cmd)
	eventually(t, "pebble answers", func() error { _, err := p.root(); return err })
	return p
}

// root is the authority that signs what pebble issues; it makes one at each start.
func (p *pebble) root() (*x509.CertPool, error) {
	resp, err := p.client.Get(p.management + "/roots/0")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var text strings.Builder
	if err := resp.Write(&text); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(text.String())) {
		return nil, errors.New("no root in " + text.String())
	}
	return pool, nil
}

// begin starts a process that ends with the test.
func begin(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone already
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd.Path, out.String())
		}
	})
}

func number(t *testing.T, port string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(port, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// shown is the chain that a TLS door shows to who asks for a name, none for "".
func shown(port, name string, protocols ...string) ([]*x509.Certificate, error) {
	// Its caller looks at the chain.
	c, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{ServerName: name, NextProtos: protocols, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates, nil
}

func leads(chain []*x509.Certificate, to *x509.CertPool, name string) error {
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: to, Intermediates: intermediates, DNSName: name})
	return err
}

// TestACME gets a certificate from a real ACME server, by each challenge, while
// devices must show certificates of their own.
func TestACME(t *testing.T) {
	t.Parallel()
	for name, closed := range map[string]string{
		"it answers at HTTPS (TLS-ALPN-01)": "POSTERN_HTTP_ADDR=",
		"it answers at HTTP (HTTP-01)":      "POSTERN_HTTPS_ADDR=",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := reserve(t)
			p := startPebble(t, s)
			s.up("AUTH=x509", "POSTERN_LOG_LEVEL=debug", "POSTERN_ACME_DOMAINS="+acmeName+",other.example.test", "POSTERN_ACME_AGREE=true",
				"POSTERN_ACME_EMAIL=ops@example.test", "POSTERN_ACME_DIRECTORY="+p.directory, "POSTERN_ACME_CA_ROOTS="+p.roots, closed)

			root, err := p.root()
			if err != nil {
				t.Fatal(err)
			}
			for ask, want := range map[string]string{"": acmeName, acmeName: acmeName, "other.example.test": "other.example.test", "OTHER.example.test": "other.example.test"} {
				s.eventually("who asks for "+ask+" gets the authority's certificate", func() error {
					chain, err := shown(s.mqtts, ask)
					if err != nil {
						return err
					}
					return leads(chain, root, want)
				})
			}
			if chain, err := shown(s.mqtts, "localhost"); err != nil || chain[0].VerifyHostname("localhost") != nil {
				t.Errorf("localhost: %v, want our own certificate", err)
			}

			// Kept: the next start does not ask the authority again.
			chain, err := shown(s.mqtts, acmeName)
			if err != nil {
				t.Fatal(err)
			}
			obtained := strings.Count(s.logged(), "certificate obtained\"")
			s.stop(syscall.SIGTERM)
			s.start()
			s.eventually("the certificate is there again", func() error {
				again, err := shown(s.mqtts, acmeName)
				if err == nil && !again[0].Equal(chain[0]) {
					err = errors.New("another certificate")
				}
				return err
			})
			if n := strings.Count(s.logged(), "certificate obtained\""); n != 2 || obtained != 2 {
				t.Errorf("%d then %d certificates were obtained, want 2 and no more", obtained, n)
			}
			private(t, filepath.Join(s.dir, "data", "acme"))
			if strings.Contains(s.logged(), "PRIVATE KEY") {
				t.Error("the log shows a key")
			}
		})
	}
}

// private reports what others may read of a directory.
func private(t *testing.T, dir string) {
	t.Helper()
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s: %v, %v, want mode 0700", dir, info.Mode(), err)
	}
	files, err := filepath.Glob(dir + "/certificates/*/*/*.key")
	if err != nil || len(files) != 2 {
		t.Errorf("keys %v, %v, want two", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, want mode 0600", f, err)
		}
	}
}

// TestACMEDoors says what is open to strangers on a server with ACME.
func TestACMEDoors(t *testing.T) {
	t.Parallel()
	s := newServer(t, "AUTH=x509", "POSTERN_ACME_DOMAINS="+acmeName, "POSTERN_ACME_AGREE=true", "POSTERN_ACME_DIRECTORY=https://127.0.0.1:1/dir")
	// The authority cannot be reached: that is told, and the doors are open all the
	// same, with our own certificate.
	s.eventually("the failure is told", func() error {
		if !strings.Contains(s.logged(), "acme: will retry") {
			return errors.New("nothing is said")
		}
		return nil
	})
	own, err := certs.ReadCertificates(filepath.Join(s.dir, "data", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range []string{s.https, s.mqtts} {
		for ask, want := range map[string]string{"": acmeName, acmeName: acmeName, "localhost": "localhost"} {
			chain, err := shown(port, ask)
			if err == nil {
				err = leads(chain, certs.Pool(own), want)
			}
			if err != nil {
				t.Errorf("port %s, asked for %q: %v", port, ask, err)
			}
		}
	}
	if s.metric("postern_server_certificate_expires_seconds") == "" {
		t.Error("no metric")
	}

	if chain, err := shown(s.https, acmeName, "acme-tls/1"); err == nil {
		t.Errorf("a challenge that nobody began was answered with %v", chain[0].Subject)
	}
	resp, err := http.Get("http://127.0.0.1:" + s.http + "/.well-known/acme-challenge/token")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("a token that nobody made: %s, want 404", resp.Status)
	}
	// A certificate that nobody trusts does not come in by offering the protocol
	// of challenges beside another.
	_, pair := certstest.Issue(t, certstest.NewIssuer(t, nil))
	for _, protocols := range [][]string{nil, {"http/1.1"}, {"acme-tls/1", "h2"}} {
		c, err := tls.Dial("tcp", "127.0.0.1:"+s.https, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }})
		if err == nil {
			_, err = c.Read(make([]byte, 1)) // TLS 1.3: the refusal comes after the handshake
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "bad certificate") {
			t.Errorf("offering %v: %v, want the certificate refused", protocols, err)
		}
	}
	// After a handshake for challenges nothing is said.
	c, err := tls.Dial("tcp", "127.0.0.1:"+s.https, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"acme-tls/1", "h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.ConnectionState().NegotiatedProtocol != "acme-tls/1" {
		t.Fatal("the test does not reach what it is about")
	}
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")); err == nil {
		if n, _ := c.Read(make([]byte, 64)); n > 0 {
			t.Error("HTTP is spoken on a connection for challenges")
		}
	}
	if strings.Contains(s.logged(), "tls-alpn challenge") {
		t.Error("strangers fill the log")
	}
}
