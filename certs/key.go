package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/postern-io/postern/registry"
)

// A MadeKey is a key that was made for somebody who asked for a certificate
// without one. It is kept nowhere: its PEM or PKCS12 is shown once.
type MadeKey struct{ key crypto.Signer }

// MakeKey returns a new key on P-256 and the request for it.
func MakeKey() (*MadeKey, Request, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, Request{}, err
	}
	made := &MadeKey{key}
	der, err := made.request()
	if err != nil {
		return nil, Request{}, err
	}
	request, err := ParseRequestDER(der)
	return made, request, err
}

// AdoptKey returns a key that was made elsewhere, such as on the machine that
// asks for the certificate.
func AdoptKey(key crypto.Signer) *MadeKey { return &MadeKey{key} }

func (k *MadeKey) request() ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k.key)
}

// SigningRequest returns a PKCS#10 request for the key, in PEM.
func (k *MadeKey) SigningRequest() (string, error) {
	der, err := k.request()
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), err
}

// Holds reports whether the certificate is for this key.
func (k *MadeKey) Holds(c *x509.Certificate) bool {
	public, ok := k.key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}

// PEM returns the key as PKCS#8.
func (k *MadeKey) PEM() (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), err
}

// CheckPassword tells whether a file that carries a key about may have this
// password: 8 to 256 bytes.
func CheckPassword(password string) error {
	if len(password) < 8 || len(password) > 256 {
		return &registry.InvalidError{Field: "password", Reason: "must be 8 to 256 bytes long"}
	}
	return nil
}

// PKCS12 returns the key with its certificate and those above it, the
// certificate first, as one file (RFC 7292, PBES2 with AES-256), as browsers,
// Windows and openssl pkcs12 read it.
func (k *MadeKey) PKCS12(chain []*x509.Certificate, password string) ([]byte, error) {
	if err := CheckPassword(password); err != nil {
		return nil, err
	}
	return pkcs12.Modern.Encode(k.key, chain[0], chain[1:], password)
}
