package certs

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"time"

	"github.com/postern-io/postern/registry"
)

// An authority of somebody else may sign a key that we would not.
func TestWeakKeysAreRefused(t *testing.T) {
	a := newAuthority(t)
	trust := a.trust(t)
	rsaKey := func(bits int) crypto.PublicKey {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return key.Public()
	}
	for name, test := range map[string]struct {
		key  crypto.PublicKey
		want registry.Reason
	}{
		"RSA 1024": {rsaKey(1024), registry.ReasonCertificateUntrusted},
		"RSA 2048": {rsaKey(2048), ""},
		"P-224":    {ecKey(t, elliptic.P224()).Public(), registry.ReasonCertificateUntrusted},
		"P-256":    {ecKey(t, elliptic.P256()).Public(), ""},
	} {
		issuer := a.issuer()
		c, err := sign(&x509.Certificate{
			SerialNumber: serial(), Subject: pkix.Name{CommonName: "device"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, issuer.Certificate, test.key, issuer.Key)
		if err != nil {
			t.Fatal(err)
		}
		if _, refused := trust.Vouch([]*x509.Certificate{c}); refused != test.want {
			t.Errorf("%s: got %q, want %q", name, refused, test.want)
		}
	}
}
