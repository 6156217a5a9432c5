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

	"github.com/postern-io/postern/registry"
)

var device = registry.Device{ID: "aaaaaaaa-0000-4000-8000-000000000001", Domain: "dddddddd-0000-4000-8000-000000000001"}

func newAuthority(t testing.TB) *Authority {
	t.Helper()
	a, err := Open(t.TempDir(), time.Now)
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
	dir := t.TempDir()
	first, err := Open(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, time.Now)
	if err != nil || !again.Root.Equal(first.Root) || !first.Root.IsCA {
		t.Fatalf("got another authority, %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, time.Now); err == nil {
		t.Error("an authority without its certificate was opened or replaced")
	}
	if err := replace(filepath.Join(dir, "ca.crt"), EncodePEM(newAuthority(t).Root), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, time.Now); err == nil || !strings.Contains(err.Error(), "is not the key of") {
		t.Errorf("a key of another certificate: got %v", err)
	}
}

func TestServerCertificate(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	a, err := Open(dir, func() time.Time { return now })
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
	now = now.Add(serverLife - renewBefore + time.Hour)
	if read("iot.example.com").Equal(second) {
		t.Error("a certificate about to end was kept")
	}
}

func TestIssueDevice(t *testing.T) {
	a := newAuthority(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	for name, key := range map[string]crypto.Signer{"P-256": ecKey(t, elliptic.P256()), "P-384": ecKey(t, elliptic.P384()), "RSA": rsaKey, "Ed25519": edKey} {
		// What the request asks for must not matter.
		leaf, err := a.IssueDevice(device, request(t, key, &x509.CertificateRequest{
			Subject: pkix.Name{CommonName: "victim"}, DNSNames: []string{"postern.example.com"}, URIs: []*url.URL{{Scheme: "urn", Opaque: "postern:x:y"}},
		}))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if leaf.Subject.CommonName != string(device.ID) || len(leaf.URIs) != 1 || leaf.URIs[0].String() != "urn:postern:"+string(device.Domain)+":"+string(device.ID) || leaf.DNSNames != nil || leaf.IsCA {
			t.Errorf("%s: it says %v, %v, %v", name, leaf.Subject, leaf.URIs, leaf.DNSNames)
		}
		if err := verify([]*x509.Certificate{leaf}, pool(a.Root), time.Now()); err != nil {
			t.Errorf("%s: %v", name, err)
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
		"a certificate":      EncodePEM(a.Root),
		"two requests":       append(bytes.Clone(good), good...),
		"damaged DER":        pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: block.Bytes[:40]}),
		"a broken signature": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: tampered}),
		"RSA of 1024 bits":   request(t, weak, &x509.CertificateRequest{}),
		"P-224":              request(t, ecKey(t, elliptic.P224()), &x509.CertificateRequest{}),
	} {
		var invalid *registry.InvalidError
		if _, err := a.IssueDevice(device, csr); !errors.As(err, &invalid) || invalid.Field != "csr" {
			t.Errorf("%s: got %v, want the request refused", name, err)
		}
	}
}

func FuzzIssueDevice(f *testing.F) {
	a := newAuthority(f)
	f.Add(request(f, ecKey(f, elliptic.P256()), &x509.CertificateRequest{}))
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, csr []byte) {
		leaf, err := a.IssueDevice(device, csr)
		var invalid *registry.InvalidError
		switch {
		case err == nil && leaf.Subject.CommonName != string(device.ID):
			t.Errorf("a request named its own device: %v", leaf.Subject)
		case err != nil && !errors.As(err, &invalid):
			t.Errorf("got %v, want the request refused", err)
		}
	})
}

// leaf signs a client certificate with changes.
func (a *Authority) leaf(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key := ecKey(t, elliptic.P256())
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "device"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	change(template)
	c, err := sign(template, a.Root, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key}
}

func TestHandshake(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
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
			server := TLS{GetCertificate: files.Certificate, Roots: []*x509.Certificate{a.Root}, Require: test.require, Refused: func(e *UntrustedError) { refused = e }}.Config()
			client := &tls.Config{RootCAs: pool(a.Root), ServerName: "localhost", Certificates: test.shown}
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
	server := TLS{GetCertificate: files.Certificate, Roots: []*x509.Certificate{a.Root}, Now: func() time.Time { return time.Now().Add(ahead) }}.Config()
	client := &tls.Config{
		RootCAs: pool(a.Root), ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(4),
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
