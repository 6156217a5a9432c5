package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/postern-io/postern/certs"
)

// identityFiles are the files of one client: NAME.crt (the certificate with its
// issuing authority), NAME.key, or both with the root in NAME.p12, and beside
// them ca.crt. The certificate is written last: where it is, all is.
type identityFiles struct {
	dir, name string
	force     bool
}

func (f identityFiles) path(ending string) string { return filepath.Join(f.dir, f.name+ending) }

// free refuses what would be written over.
func (f identityFiles) free(endings ...string) error {
	if f.force {
		return nil
	}
	for _, ending := range endings {
		if _, err := os.Stat(f.path(ending)); err == nil {
			return fmt.Errorf("%s exists; --force replaces it: %w", f.path(ending), fs.ErrExist)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// leftKey returns the key of a run that was cut before the certificate came;
// nil for none.
func (f identityFiles) leftKey() (*certs.MadeKey, error) {
	key, err := certs.ReadKey(f.path(".key"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return certs.AdoptKey(key), nil
}

// good returns the certificate that is there, with its key, and is not at its
// end; nil for none.
func (f identityFiles) good(now time.Time) *x509.Certificate {
	chain, err := certs.ReadCertificates(f.path(".crt"))
	if err != nil || !now.Before(chain[0].NotAfter) {
		return nil
	}
	key, err := certs.ReadKey(f.path(".key"))
	if err != nil || !certs.AdoptKey(key).Holds(chain[0]) {
		return nil
	}
	return chain[0]
}

// authority writes ca.crt, which all clients of a directory share.
func (f identityFiles) authority(root string) error {
	path := filepath.Join(f.dir, "ca.crt")
	err := writeOut(path, []byte(root), 0o644, false)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	old, readErr := os.ReadFile(path)
	switch {
	case readErr != nil:
		return readErr
	case bytes.Equal(bytes.TrimSpace(old), bytes.TrimSpace([]byte(root))):
		return nil
	case f.force:
		return writeOut(path, []byte(root), 0o644, true)
	}
	return fmt.Errorf("the root of this server is another one: %w", err)
}

func parseChain(text string) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read the certificate that came: %w", err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("the answer holds no certificate")
	}
	return chain, nil
}
