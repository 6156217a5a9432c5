package authn

import (
	"context"
	"crypto/x509"
	"errors"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"

	"github.com/postern-io/postern/registry"
)

// An Importer knows whom imported authorities mean, and takes in whom they mean
// for the first time. An error says nothing about the certificate.
type Importer interface {
	// Principal returns who an authority means by a name, or
	// registry.ErrNotFound.
	Principal(ctx context.Context, authority registry.AuthorityID, name string) (registry.Principal, error)
	// Adopt makes a device of the domain the authority's, or says why not.
	Adopt(ctx context.Context, domain registry.DomainID, authority registry.AuthorityID, device registry.DeviceID) (refused registry.Reason, err error)
	// Arrive makes a device of a name, or says why not.
	Arrive(ctx context.Context, domain registry.DomainID, authority registry.AuthorityID, name string) (device registry.DeviceID, refused registry.Reason, err error)
}

// What one authority may have taken in on one node: each costs a transaction. A
// line of a factory is slower, a site after an outage is not new.
const (
	arrivalsPerSecond = 50
	arrivalsBurst     = 500
)

// principals keeps the answers of an Importer.
type principals struct {
	imports   Importer
	memory    *memory // whose epoch counts the changes heard of
	known     *otter.Cache[principal, meant]
	strangers *otter.Cache[principal, stranger]
	arrivals  *otter.Cache[registry.AuthorityID, *rate.Limiter]
	bindings  atomic.Uint64 // counts what was unbound
	load      otter.Loader[principal, meant]
}

type principal struct {
	authority registry.AuthorityID
	name      string
}

// meant is a binding, and what bindings was when it was read.
type meant struct {
	device   registry.DeviceID
	bindings uint64
}

// stranger is why a principal was turned away, and the epoch of that answer.
type stranger struct {
	reason registry.Reason
	epoch  uint64
}

func newPrincipals(imports Importer, m *memory, size int) *principals {
	p := &principals{imports: imports, memory: m}
	p.known = otter.Must(&otter.Options[principal, meant]{
		MaximumSize:       size,
		RefreshCalculator: otter.RefreshWriting[principal, meant](refreshAfter),
		Logger:            &otter.NoopLogger{},
	})
	p.strangers = otter.Must(&otter.Options[principal, stranger]{
		MaximumSize:      10_000,
		ExpiryCalculator: otter.ExpiryWriting[principal, stranger](absentFor),
	})
	p.arrivals = otter.Must(&otter.Options[registry.AuthorityID, *rate.Limiter]{
		MaximumSize:      10_000,
		ExpiryCalculator: otter.ExpiryAccessing[registry.AuthorityID, *rate.Limiter](10 * time.Minute),
	})
	p.load = otter.LoaderFunc[principal, meant](func(ctx context.Context, k principal) (meant, error) {
		bindings := p.bindings.Load() // before the look: what is unbound during it makes the answer old
		found, err := imports.Principal(ctx, k.authority, k.name)
		if errors.Is(err, registry.ErrNotFound) {
			return meant{}, otter.ErrNotFound
		}
		return meant{found.Device, bindings}, err
	})
	return p
}

// of returns the device of a principal, "" for none. ask stands before a
// question to the store and may forbid it.
func (p *principals) of(ctx context.Context, k principal, ask func() error) (registry.DeviceID, error) {
	m, known := p.known.GetIfPresent(k)
	if known && m.bindings != p.bindings.Load() {
		p.known.Invalidate(k)
		known = false
	}
	if !known {
		if err := ask(); err != nil {
			return "", err
		}
	}
	m, err := p.known.Get(ctx, k, p.load)
	if errors.Is(err, otter.ErrNotFound) {
		return "", nil
	}
	return m.device, err
}

func (p *principals) forgetAll() {
	p.bindings.Add(1)
	p.known.InvalidateAll()
}

// byImported returns the one device that a certificate of an imported authority
// names. Where it names it is the authority's own way, and only what the
// authority may say counts: devices of its domain that are no other authority's.
func (l *lookup) byImported(a *registry.ImportedAuthority) (*record, *registry.DeviceSecret, error) {
	if l.d.principals == nil {
		l.trace.add("certificates of imported authorities are not taken", "")
		return nil, nil, &RefusedError{Reason: registry.ReasonUnknownCertificate}
	}
	cn, count := commonName(l.c.Chain[0])
	if count > 1 {
		l.trace.add("the certificate has several common names", "")
		return nil, nil, &RefusedError{Reason: registry.ReasonAmbiguousCredential}
	}
	urns := urnNames(l.c.Chain[0])
	rec, held, err := l.sourceOf(a, cn, urns)
	if err != nil {
		return nil, nil, err
	}
	if rec == nil {
		l.trace.add("the certificate of an imported authority names no device", "")
		return nil, nil, &RefusedError{Reason: registry.ReasonUnknownCertificate}
	}
	id := rec.device.ID
	if rec.device.Domain != a.Domain {
		l.trace.add("the imported authority is another domain's than device", id)
		return nil, nil, &RefusedError{Reason: registry.ReasonForeignDomain, Device: id}
	}
	for _, u := range urns {
		if named, err := registry.ParseID(u.device); err != nil || u.domain != a.Domain || registry.DeviceID(named) != id {
			l.trace.add("the certificate names two devices", "")
			return nil, nil, &RefusedError{Reason: registry.ReasonAmbiguousCredential}
		}
	}
	if a.Source != registry.NameCommon {
		if err := l.owned(a, id); err != nil {
			return nil, nil, err
		}
	}
	l.trace.add("the certificate of an imported authority names device", id)
	var cnSecret registry.Secret
	if held != nil {
		cnSecret = registry.SecretOf(cn)
	}
	return l.confirm(rec, held, cnSecret)
}

// sourceOf returns the record of the device that stands where certificates of
// the authority name one, nil when none does.
func (l *lookup) sourceOf(a *registry.ImportedAuthority, cn string, urns []urn) (*record, *registry.DeviceSecret, error) {
	switch {
	case a.Source == registry.NameURI && len(urns) > 0:
		rec, err := l.byID(urns[0].device)
		return rec, nil, err
	case a.Source == registry.NameURI, cn == "":
		return nil, nil, nil
	case a.Source == registry.NameSecret:
		return l.commonNameSecret(cn)
	case a.Source == registry.NameID:
		rec, err := l.commonNameID(cn)
		return rec, nil, err
	}
	id, err := l.meant(a, cn)
	if err != nil {
		return nil, nil, err
	}
	rec, err := l.record(id)
	return rec, nil, err
}

// owned reports, as an error, that a device is not the authority's. The first
// time that nobody has it, it becomes the authority's.
func (l *lookup) owned(a *registry.ImportedAuthority, id registry.DeviceID) error {
	found, err := l.principal(a, string(id), id, func() (registry.DeviceID, registry.Reason, error) {
		refused, err := l.d.principals.imports.Adopt(l.ctx, a.Domain, a.ID, id)
		return id, refused, err
	})
	if err == nil && found != id {
		err = &RefusedError{Reason: registry.ReasonForeignAuthority, Device: id}
	}
	return err
}

// meant returns whom the authority means by a name. The first time, a device is
// made where the authority may register some.
func (l *lookup) meant(a *registry.ImportedAuthority, name string) (registry.DeviceID, error) {
	return l.principal(a, name, "", func() (registry.DeviceID, registry.Reason, error) {
		if !a.Arrival.Register {
			return "", registry.ReasonUnknownCertificate, nil
		}
		return l.d.principals.imports.Arrive(l.ctx, a.Domain, a.ID, name)
	})
}

// principal returns the device of a principal, which first makes when there is
// none. about is the device in question, as far as it is known.
func (l *lookup) principal(a *registry.ImportedAuthority, name string, about registry.DeviceID, first func() (registry.DeviceID, registry.Reason, error)) (registry.DeviceID, error) {
	p, k := l.d.principals, principal{a.ID, name}
	epoch := p.memory.epoch.Load()
	if s, ok := p.strangers.GetIfPresent(k); ok && s.epoch == epoch {
		l.trace.add("turned away a moment ago: "+string(s.reason), about)
		return "", &RefusedError{Reason: s.reason, Device: about}
	}
	id, err := p.of(l.ctx, k, l.admit)
	if err != nil || id != "" {
		return id, err
	}
	limit, _ := p.arrivals.ComputeIfAbsent(a.ID, func() (*rate.Limiter, bool) {
		return rate.NewLimiter(arrivalsPerSecond, arrivalsBurst), false
	})
	if !limit.AllowN(l.now, 1) {
		l.trace.add("the imported authority names new devices too fast", "")
		return "", &LimitedError{RetryAfter: time.Second}
	}
	id, refused, err := first()
	switch {
	case err != nil:
		return "", err
	case refused != "":
		p.strangers.Set(k, stranger{refused, epoch})
		l.trace.add("the imported authority may not say so: "+string(refused), about)
		return "", &RefusedError{Reason: refused, Device: about}
	}
	l.trace.add("named for the first time by an imported authority: device", id)
	return id, nil
}

// stillMeans reports, as an error, that an authority no longer means a device
// that was let in with a certificate of it.
func (p *principals) stillMeans(ctx context.Context, a *registry.ImportedAuthority, leaf *x509.Certificate, id registry.DeviceID) error {
	name := string(id)
	if a.Source == registry.NameCommon {
		name, _ = commonName(leaf)
	}
	found, err := p.of(ctx, principal{a.ID, name}, func() error { return nil })
	if err == nil && found != id {
		err = &RefusedError{Reason: registry.ReasonUnknownCertificate, Device: id}
	}
	return err
}
