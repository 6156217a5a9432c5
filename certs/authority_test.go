package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

var device = registry.Device{ID: "aaaaaaaa-0000-4000-8000-000000000001", Domain: "dddddddd-0000-4000-8000-000000000001"}

// A house is what an authority needs around it.
type house struct {
	*registry.Registry
	store  *store.Store
	domain registry.Domain
	device registry.Device
	now    time.Time
}

func newHouse(t testing.TB) *house {
	t.Helper()
	st, err := store.Open(t.Context(), "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	hasher, err := registry.NewSecretHasher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	h := &house{store: st, now: time.Now()}
	h.Registry = &registry.Registry{Store: st, Hasher: hasher, Now: func() time.Time { return h.now }, NewID: uuid.NewString}
	if h.domain, err = h.CreateDomain(t.Context(), "", registry.Domain{Name: "home"}); err != nil {
		t.Fatal(err)
	}
	made, err := h.CreateDevices(t.Context(), "", h.domain.ID, []registry.NewDevice{{}})
	if err != nil {
		t.Fatal(err)
	}
	h.device = made[0].Device
	return h
}

// config is that of a node with this directory.
func (h *house) config(dir string) Config {
	return Config{Dir: dir, Keeper: h.Registry, Key: bytes.Repeat([]byte{7}, 32), Now: h.Registry.Now}
}

func newAuthority(t testing.TB) *Authority {
	t.Helper()
	a, err := Open(t.Context(), newHouse(t).config(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func request(t testing.TB, key crypto.Signer, template *x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func ecKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAuthorityOutlivesTheProcess(t *testing.T) {
	h, dir := newHouse(t), t.TempDir()
	first, err := Open(t.Context(), h.config(dir))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), h.config(dir))
	if err != nil || !again.Root().Equal(first.Root()) || !again.issuer().Certificate.Equal(first.issuer().Certificate) {
		t.Fatalf("got another authority, %v", err)
	}
	if err := first.issuer().Certificate.CheckSignatureFrom(first.Root()); err != nil || !first.issuer().Certificate.MaxPathLenZero {
		t.Errorf("the issuing authority: %v, path length 0 is %v", err, first.issuer().Certificate.MaxPathLenZero)
	}
}

// A second node shares the database and the key, not the directory.
func TestNodesShareAnAuthority(t *testing.T) {
	h := newHouse(t)
	here, there := t.TempDir(), t.TempDir()
	first, err := Open(t.Context(), h.config(here))
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(t.Context(), h.config(there))
	if err != nil {
		t.Fatal(err)
	}
	if second.issuer().ID != first.issuer().ID {
		t.Error("two nodes have two authorities")
	}
	ours, err := ReadCertificates(filepath.Join(there, "ca.crt"))
	if err != nil || !ours[0].Equal(first.Root()) {
		t.Errorf("the second node leaves its clients %v, %v to trust", ours, err)
	}
	if err := second.Rotate(t.Context()); !errors.Is(err, ErrRootAway) {
		t.Errorf("rotated without the root's key: %v", err)
	}
	before := first.issuer()
	if err := first.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := second.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := second.Issuers()
	if len(now) != 2 || now[0].ID == before.ID || now[0].ID != first.issuer().ID || now[1].ID != before.ID || !now[1].Retired || now[0].Retired {
		t.Errorf("after the rotation the second node has %d authorities", len(now))
	}
}

func TestRootMayLeave(t *testing.T) {
	h, dir := newHouse(t), t.TempDir()
	if _, err := Open(t.Context(), h.config(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "ca.key"), filepath.Join(dir, "away.key")); err != nil {
		t.Fatal(err)
	}
	a, err := Open(t.Context(), h.config(dir))
	if err != nil {
		t.Fatalf("without the root's key: %v", err)
	}
	if _, err := a.IssueDevice(h.device, newRequest(t)); err != nil {
		t.Errorf("without the root's key: %v", err)
	}
	if err := a.Rotate(t.Context()); !errors.Is(err, ErrRootAway) {
		t.Errorf("rotated without the root's key: %v", err)
	}
	if err := os.Rename(filepath.Join(dir, "away.key"), filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if err := a.Rotate(t.Context()); err != nil {
		t.Errorf("with the root's key back: %v", err)
	}
	if err := replace(filepath.Join(dir, "ca.crt"), EncodePEM(newAuthority(t).Root()), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := a.Rotate(t.Context()); err == nil || !strings.Contains(err.Error(), "is not the key of") {
		t.Errorf("a key of another certificate: got %v", err)
	}
}

// An installation from before there were issuing authorities keeps its root, and
// the certificates it signed.
func TestOldRootStays(t *testing.T) {
	h, dir := newHouse(t), t.TempDir()
	key := ecKey(t, elliptic.P256())
	if err := WriteKey(filepath.Join(dir, "ca.key"), key); err != nil {
		t.Fatal(err)
	}
	root, err := newRoot(filepath.Join(dir, "ca.crt"), key, h.now)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(t.Context(), h.config(dir))
	if err != nil || !a.Root().Equal(root) {
		t.Fatalf("another root: %v", err)
	}
	old := leafOf(t, root, key, func(*x509.Certificate) {})
	parsed, err := x509.ParseCertificate(old.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, refused := a.trust(t).Vouch([]*x509.Certificate{parsed}); refused != "" {
		t.Errorf("a certificate that the root signed itself: %s", refused)
	}
}

func TestPassphrase(t *testing.T) {
	h, dir := newHouse(t), t.TempDir()
	with := func(key byte, passphrase string) Config {
		c := h.config(dir)
		c.Key, c.Passphrase = bytes.Repeat([]byte{key}, 32), passphrase
		return c
	}
	if _, err := Open(t.Context(), with(7, "correct horse")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "ca.key"))
	if err != nil || !bytes.Contains(text, []byte("ENCRYPTED PRIVATE KEY")) {
		t.Errorf("the root's key lies open on the disk: %v", err)
	}
	for name, test := range map[string]struct {
		config Config
		want   string // in the error
	}{
		"it opens with both":                {with(7, "correct horse"), ""},
		"it stays shut without passphrase":  {with(7, ""), "POSTERN_CA_PASSPHRASE"},
		"it stays shut with a wrong one":    {with(7, "battery staple"), "not the one that it was sealed with"},
		"it stays shut with a wrong key":    {with(8, "correct horse"), "not the one that it was sealed with"},
		"it stays shut with neither":        {with(8, ""), "POSTERN_CA_PASSPHRASE"},
		"it stays shut with key as a guess": {with(7, string(bytes.Repeat([]byte{7}, 32))), "not the one that it was sealed with"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := Open(t.Context(), test.config)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := a.Rotate(t.Context()); err != nil {
					t.Errorf("rotate with the passphrase: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// A sealed key is bound to its authority, and what is damaged does not open.
func TestSealIsBound(t *testing.T) {
	for _, s := range []seal{{key: make([]byte, 32)}, {key: make([]byte, 32), passphrase: "p"}} {
		sealed, err := s.close("a", ecKey(t, elliptic.P256()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.open("a", sealed); err != nil {
			t.Fatal(err)
		}
		if _, err := s.open("b", sealed); err == nil {
			t.Error("the key of one authority opened as another's")
		}
		for i := range sealed {
			damaged := bytes.Clone(sealed)
			damaged[i] ^= 3 // a form is turned into one that is none
			if s.passphrase != "" && i != 0 && i != 5 && i != len(sealed)-1 {
				continue // scrypt is slow on purpose
			}
			if _, err := s.open("a", damaged); err == nil {
				t.Errorf("byte %d damaged, and it opened", i)
			}
			if _, err := s.open("a", sealed[:i]); err == nil {
				t.Errorf("cut after %d bytes, and it opened", i)
			}
		}
	}
}

func newRequest(t testing.TB) Request {
	t.Helper()
	_, r, err := MakeKey()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// trust takes certificates of this authority alone.
func (a *Authority) trust(t testing.TB) *Trust {
	t.Helper()
	anchors, err := a.Anchors()
	if err != nil {
		t.Fatal(err)
	}
	trust := NewTrust(nil, a.config.Now)
	trust.SetAnchors(anchors)
	return trust
}

func TestServerCertificate(t *testing.T) {
	h, dir := newHouse(t), t.TempDir()
	a, err := Open(t.Context(), h.config(dir))
	if err != nil {
		t.Fatal(err)
	}
	read := func(names ...string) *x509.Certificate {
		t.Helper()
		certPath, keyPath, err := a.ServerCertificate(dir, names)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tls.LoadX509KeyPair(certPath, keyPath); err != nil {
			t.Fatal(err)
		}
		chain, err := ReadCertificates(certPath)
		if err != nil || len(chain) != 2 {
			t.Fatalf("got a chain of %d, %v, want leaf and authority", len(chain), err)
		}
		return chain[0]
	}
	first := read("localhost", "127.0.0.1")
	for _, name := range []string{"localhost", "127.0.0.1"} {
		if err := first.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if !read("localhost").Equal(first) {
		t.Error("a good certificate was made anew")
	}
	if read("localhost", "iot.example.com").Equal(first) {
		t.Error("a certificate that lacks a name was kept")
	}
	second := read("iot.example.com")
	h.now = h.now.Add(serverLife - renewBefore + time.Hour)
	if read("iot.example.com").Equal(second) {
		t.Error("a certificate about to end was kept")
	}
}

func TestIssueDevice(t *testing.T) {
	a := newAuthority(t)
	trust := a.trust(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	for name, key := range map[string]crypto.Signer{"P-256": ecKey(t, elliptic.P256()), "P-384": ecKey(t, elliptic.P384()), "RSA": rsaKey, "Ed25519": edKey} {
		// What the request asks for must not matter.
		r, err := ParseRequest(request(t, key, &x509.CertificateRequest{
			Subject: pkix.Name{CommonName: "victim"}, DNSNames: []string{"postern.example.com"}, URIs: []*url.URL{{Scheme: "urn", Opaque: "postern:x:y"}},
		}))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		issued, err := a.IssueDevice(device, r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		chain, err := a.Chain(issued)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		leaf := chain[0]
		if leaf.Subject.CommonName != string(device.ID) || len(leaf.URIs) != 1 || leaf.URIs[0].String() != "urn:postern:"+string(device.Domain)+":"+string(device.ID) || leaf.DNSNames != nil || leaf.IsCA {
			t.Errorf("%s: it says %v, %v, %v", name, leaf.Subject, leaf.URIs, leaf.DNSNames)
		}
		if _, err := verifyChain(chain, pool(a.Root()), time.Now()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if by, refused := trust.Vouch(chain[:1]); refused != "" || by.Certificate != issued.ID || !by.Ends.After(issued.NotAfter) || by.Ends.After(issued.NotAfter.Add(time.Second)) {
			t.Errorf("%s: vouched for %s until %s, %s", name, by.Certificate, by.Ends, refused)
		}
		if life := time.Until(leaf.NotAfter); life > DeviceLife || life < DeviceLife-time.Minute {
			t.Errorf("%s: valid for %s", name, life)
		}
	}
}

func pool(roots ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, r := range roots {
		p.AddCert(r)
	}
	return p
}

func TestIssueRefuses(t *testing.T) {
	a := newAuthority(t)
	good := request(t, ecKey(t, elliptic.P256()), &x509.CertificateRequest{})
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(good)
	tampered := bytes.Clone(block.Bytes)
	tampered[len(tampered)-1] ^= 1
	for name, csr := range map[string][]byte{
		"nothing":            nil,
		"text":               []byte("please"),
		"a certificate":      EncodePEM(a.Root()),
		"two requests":       append(bytes.Clone(good), good...),
		"damaged DER":        pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: block.Bytes[:40]}),
		"a broken signature": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: tampered}),
		"RSA of 1024 bits":   request(t, weak, &x509.CertificateRequest{}),
		"P-224":              request(t, ecKey(t, elliptic.P224()), &x509.CertificateRequest{}),
	} {
		var invalid *registry.InvalidError
		if _, err := ParseRequest(csr); !errors.As(err, &invalid) || invalid.Field != "csr" {
			t.Errorf("%s: got %v, want the request refused", name, err)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	a := newAuthority(f)
	f.Add(request(f, ecKey(f, elliptic.P256()), &x509.CertificateRequest{}))
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, csr []byte) {
		r, err := ParseRequest(csr)
		var invalid *registry.InvalidError
		if err != nil {
			if !errors.As(err, &invalid) {
				t.Errorf("got %v, want the request refused", err)
			}
			return
		}
		if issued, err := a.IssueDevice(device, r); err != nil || issued.Subject != "CN="+string(device.ID) {
			t.Errorf("a request that was taken: %v, %v", issued.Subject, err)
		}
	})
}

// leaf signs a client certificate with changes.
func (a *Authority) leaf(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	return leafOf(t, a.issuer().Certificate, a.issuer().Key, change)
}

func leafOf(t *testing.T, parent *x509.Certificate, signer crypto.Signer, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key := ecKey(t, elliptic.P256())
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "device"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	change(template)
	c, err := sign(template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key}
}

func TestHandshake(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	trust := a.trust(t)
	dir := t.TempDir()
	certPath, keyPath, err := a.ServerCertificate(dir, []string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	files := &ServerFiles{Cert: certPath, Key: keyPath}
	if err := files.Load(); err != nil {
		t.Fatal(err)
	}
	good := a.leaf(t, func(*x509.Certificate) {})
	for name, test := range map[string]struct {
		shown   []tls.Certificate
		require bool
		want    registry.Reason // "": let through
	}{
		"none":                   {},
		"none where required":    {require: true, want: "handshake"},
		"a good one":             {shown: []tls.Certificate{good}},
		"a good one, required":   {shown: []tls.Certificate{good}, require: true},
		"an expired one":         {shown: []tls.Certificate{a.leaf(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })}, want: registry.ReasonCertificateExpired},
		"one not yet valid":      {shown: []tls.Certificate{a.leaf(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })}, want: registry.ReasonCertificateExpired},
		"one of a server":        {shown: []tls.Certificate{a.leaf(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })}, want: registry.ReasonCertificateUntrusted},
		"one of another CA":      {shown: []tls.Certificate{stranger.leaf(t, func(*x509.Certificate) {})}, want: registry.ReasonCertificateUntrusted},
		"a good one, TLS 1.2 up": {shown: []tls.Certificate{good}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var refused *UntrustedError
			server := TLS{GetCertificate: files.Certificate, Trust: trust, Require: test.require, Refused: func(e *UntrustedError) { refused = e }}.Config()
			client := &tls.Config{RootCAs: pool(a.Root()), ServerName: "localhost"}
			if test.shown != nil { // whatever the server asks for
				client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &test.shown[0], nil }
			}
			err := shake(t, server, client)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want == "handshake" && err == nil:
				t.Error("let through")
			case test.want != "" && test.want != "handshake" && (err == nil || refused == nil || refused.Reason != test.want):
				t.Errorf("got %v, %v, want %s", err, refused, test.want)
			}
		})
	}
}

// A session that is resumed is looked at again: its certificate may have ended
// since.
func TestResumedHandshakeIsVerified(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	certPath, keyPath, err := a.ServerCertificate(dir, []string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	files := &ServerFiles{Cert: certPath, Key: keyPath}
	if err := files.Load(); err != nil {
		t.Fatal(err)
	}
	ahead := time.Duration(0)
	trust := a.trust(t)
	trust.now = func() time.Time { return time.Now().Add(ahead) }
	server := TLS{GetCertificate: files.Certificate, Trust: trust}.Config()
	client := &tls.Config{
		RootCAs: pool(a.Root()), ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(4),
		Certificates: []tls.Certificate{a.leaf(t, func(c *x509.Certificate) {})},
	}
	for range 2 {
		if err := shake(t, server, client); err != nil {
			t.Fatal(err)
		}
	}
	ahead = 2 * time.Hour
	if err := shake(t, server, client); err == nil {
		t.Error("a certificate that has ended came in by a resumed session")
	}
}

// shake makes one connection, a byte each way, and returns the server's error.
func shake(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	outcome := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			outcome <- err
			return
		}
		defer c.Close()
		if _, err = io.CopyN(c, c, 1); err != nil {
			outcome <- err
			return
		}
		outcome <- nil
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(conn, client)
	defer c.Close()
	if _, err := c.Write([]byte("x")); err == nil {
		io.ReadFull(c, make([]byte, 1)) // the server says how it went
	}
	return <-outcome
}

func TestLooseKeysAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.key")
	if err := WriteKey(path, ecKey(t, elliptic.P256())); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKey(path); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: got %v, want it refused with what to do", mode, err)
		}
	}
}
