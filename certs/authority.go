package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/postern-io/postern/registry"
)

const (
	rootLife   = 10 * 365 * 24 * time.Hour
	serverLife = 397 * 24 * time.Hour // what browsers accept
	// DeviceLife is how long a device certificate is valid.
	DeviceLife = 30 * 24 * time.Hour
	// renewBefore is how long before its end a start makes a new server
	// certificate.
	renewBefore = 30 * 24 * time.Hour
	// backdate forgives clocks that run behind ours.
	backdate = 5 * time.Minute
)

// An Authority signs certificates. It is safe for concurrent use.
type Authority struct {
	Root *x509.Certificate
	key  crypto.Signer
	now  func() time.Time
}

// Open reads the authority in dir (ca.crt, ca.key), or makes one.
func Open(dir string, now func() time.Time) (*Authority, error) {
	certPath, keyPath := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	key, err := ReadKey(keyPath)
	if errors.Is(err, fs.ErrNotExist) {
		return create(certPath, keyPath, now)
	}
	if err != nil {
		return nil, err
	}
	roots, err := ReadCertificates(certPath)
	if err != nil {
		return nil, err
	}
	a := &Authority{Root: roots[0], key: key, now: now}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(a.Root.PublicKey) {
		return nil, fmt.Errorf("%s is not the key of %s", keyPath, certPath)
	}
	return a, nil
}

// Chain returns the authority's certificate.
func (a *Authority) Chain() []*x509.Certificate { return []*x509.Certificate{a.Root} }

func create(certPath, keyPath string, now func() time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Postern CA", Organization: []string{"Postern"}},
		NotBefore:             now().Add(-backdate),
		NotAfter:              now().Add(rootLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLen:            1,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	root, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	// The certificate first: a key without one would look like a whole authority.
	if err := replace(certPath, EncodePEM(root), 0o644); err != nil {
		return nil, err
	}
	if err := WriteKey(keyPath, key); err != nil {
		return nil, err
	}
	return &Authority{Root: root, key: key, now: now}, nil
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// serial returns 127 random bits (RFC 5280 §4.1.2.2: positive, at most 20 bytes).
func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return n.Add(n, big.NewInt(1))
}

// ServerCertificate returns the paths of a certificate and key for names (host
// names and addresses) in dir (server.crt, server.key). It makes them when they
// are missing, about to end, signed by another authority or lack a name.
func (a *Authority) ServerCertificate(dir string, names []string) (certPath, keyPath string, err error) {
	certPath, keyPath = filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	if certs, err := ReadCertificates(certPath); err == nil && a.serves(certs[0], names) {
		if _, err := ReadKey(keyPath); err == nil {
			return certPath, keyPath, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", "", err
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: names[0], Organization: []string{"Postern"}},
		NotBefore:    a.now().Add(-backdate),
		NotAfter:     a.now().Add(serverLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	leaf, err := sign(template, a.Root, key.Public(), a.key)
	if err != nil {
		return "", "", err
	}
	// The old key goes first: a start that dies in between makes both anew.
	if err := os.Remove(keyPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", "", err
	}
	if err := replace(certPath, EncodePEM(leaf, a.Root), 0o644); err != nil {
		return "", "", err
	}
	return certPath, keyPath, WriteKey(keyPath, key)
}

func (a *Authority) serves(c *x509.Certificate, names []string) bool {
	for _, n := range names {
		if c.VerifyHostname(n) != nil {
			return false
		}
	}
	return c.CheckSignatureFrom(a.Root) == nil && a.now().Add(renewBefore).Before(c.NotAfter)
}

// IssueDevice signs a certificate for a device from a PKCS#10 request in PEM.
// The request proves possession of its key and proposes nothing else: the name
// is the device's URN and id, the use is client authentication, and the life is
// DeviceLife. Keys are ECDSA on P-256, P-384 or P-521, Ed25519, or RSA of 2048
// to 4096 bits.
//
// A request that will not do is a *registry.InvalidError.
func (a *Authority) IssueDevice(d registry.Device, request []byte) (*x509.Certificate, error) {
	invalid := func(reason string) error { return &registry.InvalidError{Field: "csr", Reason: reason} }
	block, rest := pem.Decode(request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, invalid("must be one PKCS#10 request in PEM (-----BEGIN CERTIFICATE REQUEST-----)")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, invalid("is not a PKCS#10 request (RFC 2986)")
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, invalid("is not signed with its own key")
	}
	if err := acceptable(csr.PublicKey); err != nil {
		return nil, err
	}
	return sign(&x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: string(d.ID)},
		NotBefore:    a.now().Add(-backdate),
		NotAfter:     a.now().Add(DeviceLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:         []*url.URL{DeviceURN(d.Domain, d.ID)},
	}, a.Root, csr.PublicKey, a.key)
}

func acceptable(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= 2048 && bits <= 4096 {
			return nil
		}
	}
	return &registry.InvalidError{Field: "csr", Reason: "must have an ECDSA (P-256, P-384, P-521), Ed25519 or RSA (2048 to 4096 bits) key"}
}

// DeviceURN is the name of a device in a certificate.
func DeviceURN(domain registry.DomainID, device registry.DeviceID) *url.URL {
	return &url.URL{Scheme: "urn", Opaque: "postern:" + string(domain) + ":" + string(device)}
}
