// Package certstest makes issuing authorities for tests, with a root above them
// and the chain that a foreign client checks.
package certstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

// NewIssuer returns an issuing authority with that key (nil: a new one on
// P-256) under a root of its own. Both are valid for a day, since an hour ago.
func NewIssuer(t testing.TB, key crypto.Signer) *certs.Issuer {
	t.Helper()
	i, _ := NewIssuerAndRoot(t, key)
	return i
}

// NewIssuerAndRoot returns the root's key too.
func NewIssuerAndRoot(t testing.TB, key crypto.Signer) (*certs.Issuer, crypto.Signer) {
	t.Helper()
	if key == nil {
		key = NewKey(t)
	}
	rootKey := NewKey(t)
	template := func(name string, serial int64, pathLen int) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name, Organization: []string{"Postern"}},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, MaxPathLen: pathLen, MaxPathLenZero: pathLen == 0,
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}
	}
	own := template("test root", 1, 1)
	root := Sign(t, own, own, rootKey.Public(), rootKey)
	issuing := template("test issuing", 2, 0)
	c := Sign(t, issuing, root, key.Public(), rootKey)
	return &certs.Issuer{ID: registry.AuthorityID(registry.Fingerprint(c)), Certificate: c, Root: root, Key: key}, rootKey
}

// NewKey returns a new key on P-256.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Sign signs a certificate.
func Sign(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Issue has the issuer sign a certificate for a new key: for localhost,
// as server and as client, valid since an hour ago and for an hour.
// The serial number is of 16 bytes.
func Issue(t testing.TB, i *certs.Issuer) (*x509.Certificate, tls.Certificate) {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		t.Fatal(err)
	}
	key := NewKey(t)
	c := Sign(t, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "leaf"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, i.Certificate, key.Public(), i.Key)
	return c, tls.Certificate{Certificate: [][]byte{c.Raw, i.Certificate.Raw}, PrivateKey: key}
}

// Record is what the registry keeps of a certificate that the issuer signed.
func Record(i *certs.Issuer, c *x509.Certificate) registry.Certificate {
	return registry.Certificate{
		ID: registry.CertificateID(registry.Fingerprint(c)), Authority: i.ID, Serial: certs.SerialText(c.SerialNumber),
		Subject: c.Subject.String(), Key: "ECDSA P-256", NotBefore: c.NotBefore, NotAfter: c.NotAfter, DER: c.Raw,
	}
}
