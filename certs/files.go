package certs

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/youmark/pkcs8"
)

// WriteKey keeps a private key as PKCS#8 PEM in a new file of mode 0600.
func WriteKey(path string, key crypto.PrivateKey) error { return writeKey(path, key, "") }

// writeKey is WriteKey, encrypted (PBES2, AES-256, PBKDF2) with a passphrase if
// there is one, as openssl pkey reads it.
func writeKey(path string, key crypto.PrivateKey, passphrase string) error {
	data, err := encodeKey(key, passphrase)
	if err != nil {
		return fmt.Errorf("encode key for %s: %w", filepath.Base(path), err)
	}
	return writeNew(path, data, 0o600)
}

func encodeKey(key crypto.PrivateKey, passphrase string) ([]byte, error) {
	block := &pem.Block{Type: "PRIVATE KEY"}
	var err error
	if passphrase == "" {
		block.Bytes, err = x509.MarshalPKCS8PrivateKey(key)
	} else {
		block.Type = encryptedKey
		block.Bytes, err = pkcs8.MarshalPrivateKey(key, []byte(passphrase), &pkcs8.Opts{
			Cipher:  pkcs8.AES256CBC,
			KDFOpts: pkcs8.PBKDF2Opts{SaltSize: 16, IterationCount: 600_000, HMACHash: crypto.SHA256},
		})
	}
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(block), nil
}

const encryptedKey = "ENCRYPTED PRIVATE KEY"

// ReadKey reads a private key that WriteKey or openssl wrote. It refuses a file
// that others than its owner may read.
func ReadKey(path string) (crypto.Signer, error) { return readKey(path, "") }

func readKey(path, passphrase string) (crypto.Signer, error) {
	data, err := ReadPrivate(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM key", path)
	}
	var key any
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case encryptedKey:
		if passphrase == "" {
			return nil, fmt.Errorf("the key %s has a passphrase: set POSTERN_CA_PASSPHRASE to it", path)
		}
		key, err = pkcs8.ParsePKCS8PrivateKey(block.Bytes, []byte(passphrase))
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s holds a key that cannot sign", path)
	}
	return signer, nil
}

// ReadPrivate reads a file that must be its owner's alone.
func ReadPrivate(path string) ([]byte, error) {
	if err := checkPrivate(path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func checkPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s can be read by others (mode %04o): run chmod 600 %s", path, mode, path)
	}
	return nil
}

// WritePrivate writes a new file that is its owner's alone. It is an error that
// wraps fs.ErrExist when there is one already.
func WritePrivate(path string, data []byte) error { return writeNew(path, data, 0o600) }

// writeNew writes a file whole or not at all: beside its place, synced, then
// linked, which fails when there is one.
func writeNew(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Link(f.Name(), path)
}

// replace writes a file whole or leaves the old one.
func replace(path string, data []byte, mode fs.FileMode) error {
	next := path + ".next"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeNew(next, data, mode); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// ReadCertificates reads all certificates of a PEM file.
func ReadCertificates(path string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read certificate %s: %w", path, err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	return certs, nil
}

// EncodePEM returns certificates as PEM, in their order.
func EncodePEM(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// ReplacePrivate writes a file that is its owner's alone, whole or not at all,
// in the place of an older one.
func ReplacePrivate(path string, data []byte) error { return replace(path, data, 0o600) }
