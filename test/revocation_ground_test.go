package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// revocations is two nodes on one PostgreSQL and one NATS. The API is asked at
// the first.
type revocations struct {
	nodes [2]*server
	token string // the owner's
	drips *drips
}

func newRevocations(t *testing.T) *revocations {
	t.Helper()
	natsURL := outside(t)
	shared := []string{
		"POSTERN_DATABASE_URL=" + postgres.URL(t), "POSTERN_NATS_URL=" + natsURL,
		"POSTERN_SECRET_KEY=" + strings.Repeat("0f", 32), "POSTERN_PUBLIC_URL=https://localhost",
		"POSTERN_OWNER_EMAIL=owner@example.com", "POSTERN_OWNER_PASSWORD=" + ownerPassword,
		// What is refused here is refused often.
		"POSTERN_LIMIT_SOURCE_RATE=0", "POSTERN_LIMIT_DEVICE_RATE=0", "POSTERN_MAX_SESSIONS=2000", "POSTERN_LOG_LEVEL=warn",
	}
	one := newServer(t, shared...)
	two := newServer(t, shared...)
	w := &revocations{nodes: [2]*server{one, two}}
	w.token = one.signIn("owner", ownerPassword)
	u, err := url.Parse(natsURL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("service-commands", "three")
	w.drips = newDrips(t, u.String())
	return w
}

// signIn returns an access token.
func (s *server) signIn(name, password string) string {
	s.t.Helper()
	status, body := s.issue(name, password)
	var tokens struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &tokens); err != nil || status != http.StatusCreated {
		s.t.Fatalf("sign in as %s: %d %s, %v", name, status, body, err)
	}
	return tokens.Access
}

// drips is a service on the bus that sends commands to devices all the time, so
// that who may listen always hears something.
type drips struct {
	conn *nats.Conn

	mu      sync.Mutex
	subject string
	heard   time.Time
}

func newDrips(t *testing.T, natsURL string) *drips {
	t.Helper()
	conn, err := nats.Connect(natsURL)
	if err != nil {
		t.Fatal(err)
	}
	d := &drips{conn: conn}
	if _, err := conn.Subscribe("m.>", func(*nats.Msg) { d.mu.Lock(); d.heard = time.Now(); d.mu.Unlock() }); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-stopped; conn.Close() })
	go func() {
		defer close(stopped)
		tick := time.NewTicker(dripEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			d.mu.Lock()
			subject := d.subject
			d.mu.Unlock()
			if subject == "" {
				continue
			}
			if err := conn.Publish(subject, []byte("drip")); err != nil {
				t.Errorf("drip: %v", err)
				return
			}
		}
	}()
	return d
}

// onto moves the drips to a channel.
func (d *drips) onto(domain, channel string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.subject = "in.m." + domain + ".c." + channel
}

// last is when something last came out of the stream.
func (d *drips) last() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.heard
}

// A ground is what one cause is brought about on: a domain with a channel, a
// device that may use it, and a person who may edit it.
type ground struct {
	*revocations
	t *testing.T

	domain, channel, topic string
	device                 device
	certificate            tls.Certificate
	fingerprint            string // of the certificate, as the API names it
	user, access           string
	keyID, secretKey       string
}

// owner calls the API as the owner.
func (g *ground) owner(method, path string, in any) {
	g.t.Helper()
	g.nodes[0].api(g.token, method, path, in, nil)
}

type named struct {
	ID          string `json:"id"`
	Credentials struct {
		Secret string `json:"secret"`
	} `json:"credentials"`
}

func (g *ground) create(path string, in any) (made named) {
	g.t.Helper()
	g.nodes[0].api(g.token, "POST", path, in, &made)
	return made
}

func (w *revocations) newGround(t *testing.T, c cause) *ground {
	t.Helper()
	g := w.newDomain(t, c.name)
	made := g.create("/"+g.domain+"/clients", map[string]string{"name": "sensor"})
	g.device = device{made.ID, made.Credentials.Secret}
	g.connect(g.device)
	if c.certificate != unasked {
		g.certify()
	}
	if c.speech != unasked || c.calls != unasked || c.key != unasked {
		g.invite(c)
	}
	w.drips.onto(g.domain, g.channel)
	return g
}

// newDomain is a ground with nothing but a channel.
func (w *revocations) newDomain(t *testing.T, name string) *ground {
	t.Helper()
	g := &ground{revocations: w, t: t}
	g.domain = g.create("/domains", map[string]string{"name": name}).ID
	g.channel = g.create("/"+g.domain+"/channels", map[string]string{"name": "readings"}).ID
	g.topic = "m/" + g.domain + "/c/" + g.channel
	return g
}

// connect gives devices both rights.
func (g *ground) connect(devices ...device) {
	g.t.Helper()
	ids := make([]string, len(devices))
	for i, d := range devices {
		ids[i] = d.id
	}
	g.owner("POST", "/"+g.domain+"/channels/connect", map[string]any{
		"client_ids": ids, "channel_ids": []string{g.channel}, "types": []string{"publish", "subscribe"},
	})
}

// certify has a certificate signed for the device.
func (g *ground) certify() {
	g.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		g.t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		g.t.Fatal(err)
	}
	var signed struct {
		Certificate string `json:"certificate"`
		ID          string `json:"id"`
	}
	request := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})
	g.nodes[0].api(g.token, "POST", "/"+g.domain+"/clients/"+g.device.id+"/certs", map[string]string{"csr": string(request)}, &signed)
	block, _ := pem.Decode([]byte(signed.Certificate))
	if block == nil {
		g.t.Fatalf("no certificate in %q", signed.Certificate)
	}
	g.certificate = tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
	g.fingerprint = signed.ID
}

// invite makes the person, an editor of the platform or of the domain, signs in
// and makes a key.
func (g *ground) invite(c cause) {
	g.t.Helper()
	name := fmt.Sprintf("person-%d", clients.Add(1))
	account := map[string]any{"credentials": map[string]string{"username": name, "secret": ownerPassword}, "email": name + "@example.com"}
	if !c.member {
		account["role"] = "editor"
	}
	g.user = g.create("/users", account).ID
	if c.member {
		g.owner("POST", "/domains/"+g.domain+"/members", map[string]string{"user_id": g.user, "role": "editor"})
	}
	g.access = g.nodes[0].signIn(name, ownerPassword)
	if c.key == unasked {
		return
	}
	var key struct{ ID, Secret string }
	g.nodes[0].api(g.access, "POST", "/users/keys", map[string]string{"name": "report", "role": "editor"}, &key)
	g.keyID, g.secretKey = key.ID, key.Secret
}

// session returns the id of the person's one sign-in.
func (g *ground) session() string {
	g.t.Helper()
	var list struct{ Sessions []named }
	g.nodes[0].api(g.token, "GET", "/users/sessions?user="+g.user, nil, &list)
	if len(list.Sessions) != 1 {
		g.t.Fatalf("the person has %d sessions, want 1", len(list.Sessions))
	}
	return list.Sessions[0].ID
}

// secret returns the id of the device's one secret.
func (g *ground) secret() string {
	g.t.Helper()
	var list struct{ Secrets []named }
	g.nodes[0].api(g.token, "GET", "/"+g.domain+"/clients/"+g.device.id+"/secrets", nil, &list)
	if len(list.Secrets) != 1 {
		g.t.Fatalf("the device has %d secrets, want 1", len(list.Secrets))
	}
	return list.Secrets[0].ID
}

// trust is the TLS of a client without a certificate.
func (g *ground) trust(at *server) *tls.Config {
	g.t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(readFile(g.t, filepath.Join(at.dir, "data", "ca.crt")))) {
		g.t.Fatal("no certificate in ca.crt")
	}
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

// certified is the TLS of the device with its certificate.
func (g *ground) certified(at *server) *tls.Config {
	g.t.Helper()
	c := g.trust(at)
	c.Certificates = []tls.Certificate{g.certificate}
	return c
}

// tally is what was measured.
type tally []sample

func (a *tally) add(s sample) { *a = append(*a, s) }

// print logs the distribution within each group, the slowest first.
func (a tally) print(t *testing.T, title string, group func(sample) string) {
	t.Helper()
	groups := map[string][]time.Duration{}
	for _, s := range a {
		groups[group(s)] = append(groups[group(s)], max(0, s.took))
	}
	lines := make([]string, 0, len(groups))
	for name, times := range groups {
		lines = append(lines, fmt.Sprintf("%-46s %s", name, distribution(times)))
	}
	slices.Sort(lines)
	t.Logf("from the API's answer to the end, by %s:\n%s", title, strings.Join(lines, "\n"))
}

// distribution prints how times are spread; it sorts them.
func distribution(times []time.Duration) string {
	slices.Sort(times)
	at := func(share float64) time.Duration {
		return times[int(share*float64(len(times)-1)+0.5)].Round(10 * time.Microsecond)
	}
	goal := 0
	for _, d := range times {
		if d <= revokeGoal {
			goal++
		}
	}
	return fmt.Sprintf("n=%-4d p50=%-9v p90=%-9v p99=%-9v max=%-9v within %v: %d%%", len(times), at(.5), at(.9), at(.99), at(1), revokeGoal, 100*goal/len(times))
}
