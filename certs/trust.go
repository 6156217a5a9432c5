package certs

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/postern-io/postern/registry"
)

// Revocations tells which certificates of ours are revoked.
type Revocations interface {
	// RevokedCertificates returns all that are revoked and have not ended.
	RevokedCertificates(ctx context.Context, now time.Time) ([]registry.CertificateID, error)
	// Certificate returns one, or registry.ErrNotFound.
	Certificate(ctx context.Context, id registry.CertificateID) (registry.Certificate, error)
}

// A Trust says which certificates of devices are good: those that chain to one
// of its anchors, are in their time, made for clients (EKU clientAuth), and not
// revoked. What is revoked it knows by heart, so that neither a handshake nor a
// session waits for the database. It is safe for concurrent use.
type Trust struct {
	revocations Revocations
	now         func() time.Time
	view        atomic.Pointer[view]
	verified    *otter.Cache[[sha256.Size]byte, *vouched]

	learning  sync.Mutex // what is learned later was read later
	importing sync.Mutex // the same for imported authorities
	anchoring sync.Mutex // one view is made after another
	mu        sync.RWMutex
	revoked   map[registry.CertificateID]struct{}
	lists     map[registry.AuthorityID]*foreignList // of imported authorities
	doubted   map[registry.AuthorityID]error
}

// A view is the set of anchors at one time.
type view struct {
	own      []*x509.Certificate
	all      []*imported
	anchors  *x509.CertPool       // both
	named    *x509.CertPool       // in the request for a certificate; nil: nobody is
	imported map[string]*imported // by their certificate in DER
}

// vouched is a chain whose signatures were verified. Signatures do not age, but
// only the anchors of its time stand behind it.
type vouched struct {
	id       registry.CertificateID
	by       *view
	from, to time.Time // when all of the chain is valid

	authority *registry.ImportedAuthority // nil: ours, or the operator's
	serial    serialKey                   // in the list of the imported authority
}

// maxVerified bounds the chains that are remembered: each costs some 200 bytes,
// and one that is not costs a signature or two, as every full handshake does.
const maxVerified = 100_000

// NewTrust returns a Trust without anchors, which trusts nobody. revocations may
// be nil, for authorities that revoke elsewhere.
func NewTrust(revocations Revocations, now func() time.Time) *Trust {
	t := &Trust{revocations: revocations, now: now}
	t.verified = otter.Must(&otter.Options[[sha256.Size]byte, *vouched]{MaximumSize: maxVerified})
	t.setView(nil, nil)
	return t
}

// SetAnchors says whose certificates are taken from now on, beside those of
// imported authorities (LoadImported). An anchor that is no root, such as an
// issuing authority, needs nobody above it.
func (t *Trust) SetAnchors(anchors []*x509.Certificate) {
	t.anchoring.Lock()
	defer t.anchoring.Unlock()
	t.setView(anchors, t.view.Load().all)
}

// An UntrustedError says why a client certificate was refused.
type UntrustedError struct {
	Reason registry.Reason
	Err    error
}

func (e *UntrustedError) Error() string { return string(e.Reason) + ": " + e.Err.Error() }
func (e *UntrustedError) Unwrap() error { return e.Err }

// Vouch returns what the certificate of a device is called, who vouches for it
// and until when. The chain is what was shown, the device's own certificate
// first. A certificate that is not good now has a reason instead.
func (t *Trust) Vouch(chain []*x509.Certificate) (registry.Vouched, registry.Reason) {
	v, ends, err := t.verify(chain, t.now())
	if err != nil {
		return registry.Vouched{}, err.Reason
	}
	return registry.Vouched{Certificate: v.id, Ends: ends, Authority: v.authority}, ""
}

var (
	errRevoked    = errors.New("the certificate is revoked")
	errOutOfTime  = errors.New("the certificate, or an authority above it, is not valid at this time")
	errNoneShown  = errors.New("no certificate was shown")
	errTooManyUp  = fmt.Errorf("the chain has more than %d certificates", maxChain)
	errUnreadable = errors.New("the certificate has no content")
	errWeakKey    = fmt.Errorf("the certificate's key is weak: RSA below %d bits, or ECDSA below P-256", minRSA)
)

// minRSA is the shortest RSA key of a device, in bits (NIST SP 800-131A).
const minRSA = 2048

// weak reports whether somebody may know the private key by now.
func weak(key crypto.PublicKey) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() < minRSA
	case *ecdsa.PublicKey:
		return k.Curve.Params().BitSize < 256
	}
	return false
}

// maxChain bounds the signatures that a stranger makes us verify.
const maxChain = 6

// verify returns a chain that is good now, and when the first of what it rests
// on ends.
func (t *Trust) verify(chain []*x509.Certificate, now time.Time) (v *vouched, ends time.Time, _ *UntrustedError) {
	switch {
	case len(chain) == 0:
		return nil, ends, &UntrustedError{registry.ReasonCertificateUntrusted, errNoneShown}
	case len(chain) > maxChain:
		return nil, ends, &UntrustedError{registry.ReasonCertificateUntrusted, errTooManyUp}
	case len(chain[0].Raw) == 0:
		return nil, ends, &UntrustedError{registry.ReasonCertificateUntrusted, errUnreadable}
	}
	by, sum := t.view.Load(), sha256.Sum256(chain[0].Raw)
	v, known := t.verified.GetIfPresent(sum)
	if !known || v.by != by || now.Before(v.from) || !now.Before(v.to) {
		var err *UntrustedError
		if v, err = by.verify(chain, now); err != nil {
			return nil, ends, err
		}
		v.id = registry.CertificateID(hex.EncodeToString(sum[:]))
		t.verified.Set(sum, v)
	}
	if v.authority != nil {
		ends, err := t.obey(v, now)
		return v, ends, err
	}
	t.mu.RLock()
	_, revoked := t.revoked[v.id]
	t.mu.RUnlock()
	if revoked {
		return nil, ends, &UntrustedError{registry.ReasonCertificateRevoked, errRevoked}
	}
	return v, v.to, nil
}

func (w *view) verify(chain []*x509.Certificate, now time.Time) (*vouched, *UntrustedError) {
	paths, err := verifyChain(chain, w.anchors, now)
	if err != nil {
		return nil, err
	}
	if weak(chain[0].PublicKey) {
		return nil, &UntrustedError{registry.ReasonCertificateUntrusted, errWeakKey}
	}
	paths, by := w.nearest(paths)
	v := &vouched{by: w}
	if by != nil {
		if err := v.imports(by, paths[0]); err != nil {
			return nil, err
		}
	}
	for _, path := range paths { // the one that lasts longest
		from, to := path[0].NotBefore, path[0].NotAfter
		for _, c := range path[1:] {
			if c.NotBefore.After(from) {
				from = c.NotBefore
			}
			if c.NotAfter.Before(to) {
				to = c.NotAfter
			}
		}
		if to.After(v.to) {
			v.from, v.to = from, to.Add(time.Second) // NotAfter is the last good second (RFC 5280 §4.1.2.5)
		}
	}
	if now.Before(v.from) || !now.Before(v.to) {
		return nil, &UntrustedError{registry.ReasonCertificateExpired, errOutOfTime}
	}
	return v, nil
}

// Load reads all that is revoked. On an error what was known stays.
func (t *Trust) Load(ctx context.Context) error {
	if t.revocations == nil {
		return nil
	}
	t.learning.Lock()
	defer t.learning.Unlock()
	ids, err := t.revocations.RevokedCertificates(ctx, t.now())
	if err != nil {
		return fmt.Errorf("read what is revoked: %w", err)
	}
	revoked := make(map[registry.CertificateID]struct{}, len(ids))
	for _, id := range ids {
		revoked[id] = struct{}{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.revoked = revoked
	return nil
}

// Changed looks at a certificate of which a change was announced. While that
// cannot be read it is refused: on doubt, no. Call it before the sessions of its
// device are looked at.
func (t *Trust) Changed(ctx context.Context, id registry.CertificateID) error {
	if t.revocations == nil {
		return nil
	}
	t.learning.Lock()
	defer t.learning.Unlock()
	c, err := t.revocations.Certificate(ctx, id)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil && c.RevokedAt.IsZero() {
		delete(t.revoked, id)
		return nil
	}
	if t.revoked == nil {
		t.revoked = make(map[registry.CertificateID]struct{})
	}
	t.revoked[id] = struct{}{}
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return fmt.Errorf("read certificate %s: %w", id, err)
	}
	return nil
}
