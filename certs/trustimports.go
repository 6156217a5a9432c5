package certs

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postern-io/postern/registry"
)

// ImportedReader reads what is kept of imported authorities.
type ImportedReader interface {
	// ImportedAuthorities returns, for the empty domain, all that may vouch.
	ImportedAuthorities(ctx context.Context, domain registry.DomainID) ([]registry.ImportedAuthority, error)
	// ForeignLists returns all lists without their DER.
	ForeignLists(ctx context.Context) ([]registry.ForeignList, error)
	ForeignList(ctx context.Context, authority registry.AuthorityID) (registry.ForeignList, error)
}

var (
	errTooLong    = errors.New("the certificate lives longer than its authority may give")
	errStale      = errors.New("the authority's list of what is revoked is past its time, or was never got")
	errDoubted    = errors.New("a change of the authority could not be read yet")
	errAnAnchor   = errors.New("the certificate is that of an authority, not of a device")
	errUnreadList = errors.New("the authority's list could not be read")
)

// LoadImported reads which imported authorities vouch and what they revoked. On
// an error what was known stays, but for an authority whose list cannot be read:
// it vouches for nobody until it can.
func (t *Trust) LoadImported(ctx context.Context, from ImportedReader) error {
	t.importing.Lock()
	defer t.importing.Unlock()
	all, err := from.ImportedAuthorities(ctx, "")
	if err != nil {
		return fmt.Errorf("read imported authorities: %w", err)
	}
	heads, err := from.ForeignLists(ctx)
	if err != nil {
		return fmt.Errorf("read the lists of imported authorities: %w", err)
	}
	t.mu.RLock()
	known := t.lists
	t.mu.RUnlock()
	var (
		errs    []error
		lists   = make(map[registry.AuthorityID]*foreignList, len(heads))
		doubted = make(map[registry.AuthorityID]error)
	)
	for _, head := range heads {
		if !slices.ContainsFunc(all, func(a registry.ImportedAuthority) bool { return a.ID == head.Authority }) {
			continue
		}
		if l := known[head.Authority]; l != nil && l.sum == head.Sum {
			lists[head.Authority] = l
			continue
		}
		l, err := from.ForeignList(ctx, head.Authority) // one at a time: it may be large
		if err == nil {
			lists[head.Authority], err = readList(l)
		}
		if err != nil {
			errs = append(errs, err)
			doubted[head.Authority] = errUnreadList
		}
	}
	t.mu.Lock()
	t.lists, t.doubted = lists, doubted
	t.mu.Unlock()
	return errors.Join(append(errs, t.setImported(all))...)
}

// Doubt says that a change of an imported authority is known, and not what: it
// vouches for nobody until LoadImported.
func (t *Trust) Doubt(id registry.AuthorityID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.doubted == nil {
		t.doubted = make(map[registry.AuthorityID]error)
	}
	t.doubted[id] = errDoubted
}

// imported is an imported authority that vouches.
type imported struct {
	authority registry.ImportedAuthority
	cert      *x509.Certificate
}

func (t *Trust) setImported(all []registry.ImportedAuthority) error {
	var (
		errs []error
		good []*imported
	)
	for _, a := range all {
		c, err := x509.ParseCertificate(a.DER)
		if err != nil {
			errs = append(errs, fmt.Errorf("read imported authority %s: %w", a.ID, err))
			continue
		}
		good = append(good, &imported{a, c})
	}
	t.anchoring.Lock()
	defer t.anchoring.Unlock()
	t.setView(t.view.Load().own, good)
	return errors.Join(errs...)
}

// maxNamed bounds what the request for a certificate names, which TLS bounds too,
// at 64 KiB (RFC 8446 §4.2.4). Beyond, it names nobody, and clients offer what
// they have.
const maxNamed = 16 << 10

// setView makes a view, unless it would be that which is there: with the view
// go all chains that were verified. The caller holds anchoring.
func (t *Trust) setView(own []*x509.Certificate, all []*imported) {
	if old := t.view.Load(); old != nil && slices.EqualFunc(old.own, own, (*x509.Certificate).Equal) && slices.EqualFunc(old.all, all, (*imported).same) {
		return
	}
	w := &view{own: own, all: all, anchors: Pool(own), imported: make(map[string]*imported, len(all))}
	size := 0
	for _, c := range own {
		size += len(c.RawSubject) + 2
	}
	for _, i := range all {
		if slices.ContainsFunc(own, i.cert.Equal) { // the operator trusts it for more
			continue
		}
		w.anchors.AddCert(i.cert)
		w.imported[string(i.cert.Raw)] = i
		size += len(i.cert.RawSubject) + 2
	}
	if size <= maxNamed {
		w.named = w.anchors
	}
	t.view.Store(w)
}

func (i *imported) same(j *imported) bool {
	return i.authority.ID == j.authority.ID && i.authority.Domain == j.authority.Domain && i.authority.UpdatedAt.Equal(j.authority.UpdatedAt) && bytes.Equal(i.cert.Raw, j.cert.Raw)
}

// Own returns what SetAnchors was given.
func (t *Trust) Own() []*x509.Certificate { return slices.Clone(t.view.Load().own) }

// Anchors returns all authorities whose certificates are taken, imported ones
// among them.
func (t *Trust) Anchors() []*x509.Certificate {
	w := t.view.Load()
	all := slices.Clone(w.own)
	for _, i := range w.all {
		all = append(all, i.cert)
	}
	return all
}

// by returns which of the imported authorities stands at the top of a path, nil
// for one of our own or the operator's.
func (w *view) by(path []*x509.Certificate) *imported {
	return w.imported[string(path[len(path)-1].Raw)]
}

// nearest leaves of several paths those that count. One of our own, or of the
// operator's, goes before all imported ones, so that an import changes nothing
// for who was trusted before. Of the imported ones it is the one nearest to the device.
func (w *view) nearest(paths [][]*x509.Certificate) ([][]*x509.Certificate, *imported) {
	var own [][]*x509.Certificate
	var best *imported
	length := 0
	for _, path := range paths {
		i := w.by(path)
		switch {
		case i == nil:
			own = append(own, path)
		case best == nil, len(path) < length, len(path) == length && i.authority.ID < best.authority.ID:
			best, length = i, len(path)
		}
	}
	if best == nil || len(own) > 0 {
		return own, nil
	}
	return slices.DeleteFunc(slices.Clone(paths), func(path []*x509.Certificate) bool { return w.by(path) != best || len(path) != length }), best
}

// imports completes what is known of a chain that an imported authority vouches
// for.
func (v *vouched) imports(by *imported, path []*x509.Certificate) *UntrustedError {
	if len(path) < 2 {
		return &UntrustedError{registry.ReasonCertificateUntrusted, errAnAnchor}
	}
	leaf := path[0]
	if most := by.authority.LongestLife; most > 0 && leaf.NotAfter.Sub(leaf.NotBefore) > most {
		return &UntrustedError{registry.ReasonCertificateTooLong, errTooLong}
	}
	v.authority = &by.authority
	// The list of an authority names what it signed itself: the device's
	// certificate or an authority between.
	v.serial = keyOf(path[len(path)-2].SerialNumber.Bytes())
	return nil
}

// obey asks the list of an imported authority. ends is when what it says ends.
func (t *Trust) obey(v *vouched, now time.Time) (ends time.Time, _ *UntrustedError) {
	a := v.authority
	t.mu.RLock()
	list, doubted := t.lists[a.ID], t.doubted[a.ID]
	t.mu.RUnlock()
	if doubted != nil {
		return ends, &UntrustedError{registry.ReasonCertificateUntrusted, doubted}
	}
	if list != nil {
		if _, revoked := list.revoked[v.serial]; revoked {
			return ends, &UntrustedError{registry.ReasonCertificateRevoked, errRevoked}
		}
	}
	switch {
	case a.StaleList == registry.StaleWarn, list == nil && a.ListURL == "":
		return v.to, nil
	case list == nil || !now.Before(list.next):
		return ends, &UntrustedError{registry.ReasonListStale, errStale}
	case list.next.Before(v.to):
		return list.next, nil
	}
	return v.to, nil
}
