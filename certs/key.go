package certs

import (
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
type MadeKey struct{ key *ecdsa.PrivateKey }

// MakeKey returns a new key on P-256 and the request for it.
func MakeKey() (*MadeKey, Request, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, Request{}, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, Request{}, err
	}
	request, err := ParseRequestDER(der)
	return &MadeKey{key}, request, err
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
