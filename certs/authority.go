package certs

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/postern-io/postern/registry"
)

const (
	rootLife    = 10 * 365 * 24 * time.Hour
	issuingLife = 5 * 365 * 24 * time.Hour
	serverLife  = 397 * 24 * time.Hour // what browsers accept
	// renewBefore is how long before its end a start makes a new server
	// certificate.
	renewBefore = 30 * 24 * time.Hour
	// backdate forgives clocks that run behind ours.
	backdate = 5 * time.Minute
)

// Keeper keeps the issuing authorities, for all nodes.
type Keeper interface {
	// Authorities returns them, the one that signs first.
	Authorities(ctx context.Context) ([]registry.Authority, error)
	// EstablishAuthority returns the one that signs, or has found make it.
	EstablishAuthority(ctx context.Context, found func() (registry.Authority, error)) (registry.Authority, error)
	// RotateAuthority has found make one that signs in its place.
	RotateAuthority(ctx context.Context, found func() (registry.Authority, error)) (registry.Authority, error)
	// RenewRootList keeps a new CRL of the root above one.
	RenewRootList(ctx context.Context, id registry.AuthorityID, list []byte) error
}

// Config is what Open needs. Dir, Keeper, Key and Now are required.
type Config struct {
	Dir        string // where the root is: ca.crt and, unless it was taken off the machine, ca.key
	Keeper     Keeper
	Key        []byte // 32 bytes or more that all nodes share: they seal the issuing key
	Passphrase string // if set, it is needed besides
	URL        string // of /pki/ for strangers, without a final slash; "": certificates do not say where to ask
	Now        func() time.Time

	// RootKey is the file of the root's key when that is kept elsewhere, such as
	// on a stick: it is read there and not copied. "": ca.key in Dir.
	RootKey string
	// RootPassphrase opens that file; "": Passphrase does.
	RootPassphrase string
}

// An Authority is our own: a root, and below it issuing authorities, of which
// one signs certificates. It is safe for concurrent use.
type Authority struct {
	config Config
	root   *x509.Certificate
	seal   seal

	mu      sync.RWMutex
	issuers []*Issuer // the first signs
}

// Open reads the authority, or founds it at the first start: a root in
// config.Dir and an issuing authority with the Keeper. A node that joins others
// takes theirs, and leaves the root's certificate in ca.crt, for clients to
// trust.
func Open(ctx context.Context, config Config) (*Authority, error) {
	a := &Authority{config: config, seal: seal{key: config.Key, passphrase: config.Passphrase}}
	// The root's key is hardly ever read; that others can read it must not wait
	// until then.
	if err := checkPrivate(a.path("ca.key")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	signs, err := config.Keeper.EstablishAuthority(ctx, a.found)
	if err != nil {
		return nil, err
	}
	if a.root, err = x509.ParseCertificate(signs.Root); err != nil {
		return nil, fmt.Errorf("read the root in the database: %w", err)
	}
	path := a.path("ca.crt")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		err = writeNew(path, EncodePEM(a.root), 0o644)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	if err := a.Reload(ctx); err != nil {
		return nil, err
	}
	return a, a.renewRootLists(ctx)
}

func (a *Authority) path(name string) string { return filepath.Join(a.config.Dir, name) }

// Reload reads the issuing authorities again, after another node has made one.
func (a *Authority) Reload(ctx context.Context) error {
	all, err := a.config.Keeper.Authorities(ctx)
	if err != nil {
		return err
	}
	issuers := make([]*Issuer, len(all))
	for i, kept := range all {
		if issuers[i], err = a.opened(kept); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.issuers = issuers
	return nil
}

// Issuers returns the issuing authorities, the one that signs first. It is shared: do
// not write to it.
func (a *Authority) Issuers() []*Issuer {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.issuers
}

func (a *Authority) issuer() *Issuer { return a.Issuers()[0] }

// Root returns the root, which clients trust.
func (a *Authority) Root() *x509.Certificate { return a.root }

// Anchors returns all that may stand above a device's certificate: the issuing
// authorities, their roots, and the root in the directory, which signed devices
// itself before there were issuing authorities.
func (a *Authority) Anchors() ([]*x509.Certificate, error) {
	anchors := []*x509.Certificate{a.root}
	for _, i := range a.Issuers() {
		anchors = append(anchors, i.Certificate, i.Root)
	}
	kept, err := ReadCertificates(a.path("ca.crt"))
	return append(anchors, kept...), err
}

// ErrRootAway is returned when something needs the root's key, and it is not on
// this machine.
var ErrRootAway = errors.New("the key of the root, ca.key, is not in the data directory: put it back until this is done")

// Rotate makes a new issuing authority, which signs from now on. It needs the
// key of the root (ErrRootAway).
func (a *Authority) Rotate(ctx context.Context) error {
	if _, err := a.config.Keeper.RotateAuthority(ctx, a.found); err != nil {
		return err
	}
	return a.Reload(ctx)
}

// found makes an issuing authority, and the root above it when there is none.
func (a *Authority) found() (registry.Authority, error) {
	root, rootKey, err := a.openRoot()
	if err != nil {
		return registry.Authority{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return registry.Authority{}, err
	}
	ends := a.config.Now().Add(issuingLife)
	if ends.After(root.NotAfter) {
		ends = root.NotAfter
	}
	number := serial()
	c, err := sign(&x509.Certificate{
		SerialNumber:          number,
		Subject:               pkix.Name{CommonName: fmt.Sprintf("Postern Issuing CA %.8x", number), Organization: []string{"Postern"}},
		NotBefore:             a.config.Now().Add(-backdate),
		NotAfter:              ends,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature, // OCSP answers too
	}, root, key.Public(), rootKey)
	if err != nil {
		return registry.Authority{}, err
	}
	id := registry.AuthorityID(registry.Fingerprint(c))
	sealed, err := a.seal.close(id, key)
	if err != nil {
		return registry.Authority{}, err
	}
	list, err := RootList(root, rootKey, a.config.Now())
	return registry.Authority{ID: id, DER: c.Raw, Root: root.Raw, RootList: list, Key: sealed}, err
}

func (a *Authority) opened(kept registry.Authority) (*Issuer, error) {
	i := &Issuer{ID: kept.ID, Retired: !kept.RetiredAt.IsZero()}
	var err error
	if i.Certificate, err = x509.ParseCertificate(kept.DER); err != nil {
		return nil, fmt.Errorf("read issuing authority %s: %w", kept.ID, err)
	}
	if i.Root, err = x509.ParseCertificate(kept.Root); err != nil {
		return nil, fmt.Errorf("read the root of issuing authority %s: %w", kept.ID, err)
	}
	if i.rootList, err = x509.ParseRevocationList(kept.RootList); err != nil {
		return nil, fmt.Errorf("read the revocation list of the root of issuing authority %s: %w", kept.ID, err)
	}
	if i.Key, err = a.seal.open(kept.ID, kept.Key); err != nil {
		return nil, fmt.Errorf("open the key of issuing authority %s: %w", kept.ID, err)
	}
	return i, nil
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
		NotBefore:    a.config.Now().Add(-backdate),
		NotAfter:     a.config.Now().Add(serverLife),
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
	issuer := a.issuer()
	leaf, err := sign(template, issuer.Certificate, key.Public(), issuer.Key)
	if err != nil {
		return "", "", err
	}
	// The old key goes first: a start that dies in between makes both anew.
	if err := os.Remove(keyPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", "", err
	}
	if err := replace(certPath, EncodePEM(leaf, issuer.Certificate), 0o644); err != nil {
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
	return c.CheckSignatureFrom(a.issuer().Certificate) == nil && a.config.Now().Add(renewBefore).Before(c.NotAfter)
}
