package adaptertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/postern-io/postern/certs"
)

// A PKI is an authority that the doors trust and one that they do not.
type PKI struct {
	ca, stranger issuer
	server       tls.Certificate
	trust        *certs.Trust
}

type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newPKI(t testing.TB, now func() time.Time) *PKI {
	t.Helper()
	p := &PKI{ca: newIssuer(t, "Postern test"), stranger: newIssuer(t, "somebody else")}
	p.trust = certs.NewTrust(nil, now)
	p.trust.SetAnchors([]*x509.Certificate{p.ca.cert})
	p.server = p.ca.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return p
}

func newIssuer(t testing.TB, name string) issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return issuer{cert, key}
}

// issue fills in what the template leaves out.
func (i issuer) issue(t testing.TB, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	template.SerialNumber = serial
	template.KeyUsage = x509.KeyUsageDigitalSignature
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	if template.ExtKeyUsage == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, key.Public(), i.key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Issue returns a device certificate of the trusted authority.
func (p *PKI) Issue(t testing.TB, template *x509.Certificate) *tls.Certificate {
	t.Helper()
	c := p.ca.issue(t, template)
	return &c
}

// Named returns a valid certificate with a common name.
func (p *PKI) Named(t testing.TB, commonName string) *tls.Certificate {
	t.Helper()
	return p.Issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: commonName}})
}

// URN returns a valid certificate that names a device by its subject
// alternative name.
func (p *PKI) URN(t testing.TB, d Device) *tls.Certificate {
	t.Helper()
	return p.Issue(t, &x509.Certificate{URIs: []*url.URL{certs.DeviceURN(d.Domain, d.ID)}})
}

// Strange returns a certificate like Named's by an authority that nobody here
// trusts.
func (p *PKI) Strange(t testing.TB, commonName string) *tls.Certificate {
	t.Helper()
	c := p.stranger.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: commonName}})
	return &c
}

// client returns what a client needs to trust the server. It shows its
// certificate whatever the server asks for, as an attacker would.
func (p *PKI) client() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(p.ca.cert)
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

// Server returns the configuration of a TLS listener as the doors have it.
func (p *PKI) Server(require bool) *tls.Config {
	return certs.TLS{GetCertificate: p.shown, Trust: p.trust, Require: require}.Config()
}

func (p *PKI) shown(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &p.server, nil }

// Bare returns the same as crypto/tls alone does it, to compare with.
func (p *PKI) Bare() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{p.server},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: certs.Pool([]*x509.Certificate{p.ca.cert}),
	}
}
