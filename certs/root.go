package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"os"
	"time"
)

// openRoot reads the root, or makes it.
func openRoot(certPath, keyPath, passphrase string, now time.Time) (*x509.Certificate, crypto.Signer, error) {
	key, err := readKey(keyPath, passphrase)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(certPath); err == nil {
			return nil, nil, ErrRootAway
		}
		// The key first: a certificate alone looks like a root whose key was
		// taken off the machine.
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		if err := writeKey(keyPath, key, passphrase); err != nil {
			return nil, nil, err
		}
		root, err := newRoot(certPath, key, now)
		return root, key, err
	}
	if err != nil {
		return nil, nil, err
	}
	roots, err := ReadCertificates(certPath)
	if errors.Is(err, fs.ErrNotExist) { // a first start that ended in between
		root, err := newRoot(certPath, key, now)
		return root, key, err
	}
	if err != nil {
		return nil, nil, err
	}
	return roots[0], key, belongTo(key, roots[0], keyPath, certPath)
}

func newRoot(path string, key crypto.Signer, now time.Time) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Postern CA", Organization: []string{"Postern"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(rootLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLen:            1,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	root, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return root, replace(path, EncodePEM(root), 0o644)
}
