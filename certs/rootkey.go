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

	"github.com/postern-io/postern/registry"
)

// openRoot reads the root with its key from where that is kept, or makes both
// when neither is there.
func (a *Authority) openRoot() (*x509.Certificate, crypto.Signer, error) {
	if a.config.RootKey == "" {
		return openRoot(a.path("ca.crt"), a.path("ca.key"), a.config.Passphrase, a.config.Now())
	}
	passphrase := a.config.RootPassphrase
	if passphrase == "" {
		passphrase = a.config.Passphrase
	}
	return readRoot(a.path("ca.crt"), a.config.RootKey, passphrase)
}

// readRoot reads a root and its key, which must belong together.
func readRoot(certPath, keyPath, passphrase string) (*x509.Certificate, crypto.Signer, error) {
	key, err := readKey(keyPath, passphrase)
	if err != nil {
		return nil, nil, err
	}
	roots, err := ReadCertificates(certPath)
	if err != nil {
		return nil, nil, err
	}
	return roots[0], key, belongTo(key, roots[0], keyPath, certPath)
}

func belongTo(key crypto.Signer, c *x509.Certificate, keyPath, certPath string) error {
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(c.PublicKey) {
		return fmt.Errorf("%s is not the key of %s", keyPath, certPath)
	}
	return nil
}

// KeyEncrypted reports whether the private key in a PEM file has a passphrase.
// It is an error that wraps fs.ErrNotExist when there is no such file, and an
// error when others than its owner may read it.
func KeyEncrypted(path string) (bool, error) {
	data, err := ReadPrivate(path)
	if err != nil {
		return false, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return false, fmt.Errorf("%s holds no PEM key", path)
	}
	return block.Type == encryptedKey, nil
}

// NeedsPassphrase reports whether the key of an issuing authority was sealed
// with a passphrase besides the key of the server.
func NeedsPassphrase(a registry.Authority) bool { return len(a.Key) > 0 && a.Key[0] == 2 }

// MoveRootKey takes the key of the root off a machine: it writes ca.key of dir,
// encrypted with the passphrase, to a new file, reads that again, and only then
// removes ca.key. The passphrase that ca.key has may be empty, that of the file
// may not. On an error ca.key stays and the file does not.
func MoveRootKey(dir, passphrase, to, toPassphrase string) error {
	certPath, keyPath := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	if toPassphrase == "" {
		return errors.New("a key that leaves the machine needs a passphrase")
	}
	_, key, err := readRoot(certPath, keyPath, passphrase)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrRootAway
	}
	if err != nil {
		return err
	}
	data, err := encodeKey(key, toPassphrase)
	if err != nil {
		return fmt.Errorf("encode key for %s: %w", filepath.Base(to), err)
	}
	if err := writeStick(to, data); err != nil {
		return err
	}
	if _, _, err := readRoot(certPath, to, toPassphrase); err != nil {
		return errors.Join(fmt.Errorf("the copy does not do, so the key stays where it is: %w", err), os.Remove(to))
	}
	if err := os.Remove(keyPath); err != nil {
		return err
	}
	syncDir(dir)
	return nil
}

// writeStick writes a new file where there may be neither links nor modes, as
// on most sticks. What could not be written whole is removed.
func writeStick(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(path))
	}
	syncDir(filepath.Dir(path))
	return nil
}

// syncDir forces names in a directory to the disk. Not every system has a call
// for it, and the file is read again after, so it may fail.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = errors.Join(d.Sync(), d.Close())
	}
}
