package authn

import (
	"context"
	"crypto/subtle"
	"time"

	"github.com/postern-io/postern/registry"
)

// lookup is one authentication under way.
type lookup struct {
	d     *Devices
	ctx   context.Context
	c     *Credential
	trace *trace
	now   time.Time

	imported *registry.ImportedAuthority // who vouches for the certificate; nil for our own and the operator's
}

// named returns the one device that all evidence names, and the secret it
// showed.
func (l *lookup) named() (*record, *registry.DeviceSecret, error) {
	if l.imported != nil {
		return l.byImported(l.imported)
	}
	if len(l.c.Chain) > 0 {
		return l.byCertificate()
	}
	if l.c.DeviceID == "" {
		return l.bySecret(l.c.Secret)
	}
	rec, err := l.byID(l.c.DeviceID)
	if err != nil {
		return nil, nil, err
	}
	secret, err := l.holds(rec, l.c.Secret)
	return rec, secret, err
}

// byID returns the record of a claimed device id.
func (l *lookup) byID(claimed string) (*record, error) {
	id, err := registry.ParseID(claimed)
	if err != nil {
		l.trace.add("the device id is not a UUID", "")
		return nil, &RefusedError{Reason: registry.ReasonUnknownDevice}
	}
	rec, err := l.record(registry.DeviceID(id))
	if err == nil && rec == nil {
		l.trace.add("there is no device", registry.DeviceID(id))
		err = &RefusedError{Reason: registry.ReasonUnknownDevice}
	}
	return rec, err
}

// bySecret returns the record of the device that holds s. An owner in memory
// may have given the secret up since; then the store is asked once.
func (l *lookup) bySecret(s registry.Secret) (*record, *registry.DeviceSecret, error) {
	hash := l.d.hasher.Hash(s)
	rec, held, err := l.owner(hash)
	if gone(err) && l.d.memory.forgetOwners(hash) {
		rec, held, err = l.owner(hash)
	}
	return rec, held, err
}

// gone reports whether nobody holds a secret, as far as is known.
func gone(err error) bool {
	refused, ok := err.(*RefusedError)
	return ok && refused.Reason == registry.ReasonWrongSecret
}

func (l *lookup) owner(hash registry.SecretHash) (*record, *registry.DeviceSecret, error) {
	owners, err := l.d.memory.ownersOf(l.ctx, hash, l.admit)
	switch {
	case err != nil:
		return nil, nil, err
	case len(owners) == 0:
		l.trace.add("no device holds this secret", "")
		return nil, nil, &RefusedError{Reason: registry.ReasonWrongSecret}
	case len(owners) > 1:
		l.trace.add("several devices hold this secret", "")
		return nil, nil, &RefusedError{Reason: registry.ReasonAmbiguousCredential}
	}
	rec, err := l.record(owners[0])
	if err != nil {
		return nil, nil, err
	}
	if rec == nil {
		l.trace.add("gone: device", owners[0])
		return nil, nil, &RefusedError{Reason: registry.ReasonWrongSecret}
	}
	held, err := l.held(rec, hash)
	return rec, held, err
}

// holds returns which of the device's secrets s is.
func (l *lookup) holds(rec *record, s registry.Secret) (*registry.DeviceSecret, error) {
	return l.held(rec, l.d.hasher.Hash(s))
}

func (l *lookup) held(rec *record, hash registry.SecretHash) (*registry.DeviceSecret, error) {
	for i := range rec.secrets {
		s := &rec.secrets[i]
		if subtle.ConstantTimeCompare(s.Hash[:], hash[:]) != 1 {
			continue
		}
		if !s.Valid(l.now) {
			l.trace.add("the secret has expired; it was one of device", rec.device.ID)
			return nil, &RefusedError{Reason: registry.ReasonSecretExpired, Device: rec.device.ID}
		}
		l.trace.add("the secret is one of device", rec.device.ID)
		return s, nil
	}
	l.trace.add("the secret is none of device", rec.device.ID)
	return nil, &RefusedError{Reason: registry.ReasonWrongSecret, Device: rec.device.ID}
}

// record returns what is known of a device, nil when there is none.
func (l *lookup) record(id registry.DeviceID) (*record, error) {
	if _, ok := l.d.memory.records.GetIfPresent(id); !ok {
		if err := l.admit(); err != nil {
			return nil, err
		}
	}
	rec, err := l.d.memory.records.Get(l.ctx, id, l.d.memory.loadRecord)
	if err != nil {
		return nil, err
	}
	if rec.absent {
		return nil, nil
	}
	return rec, nil
}

// admit stands before every question to the store.
func (l *lookup) admit() error {
	if wait, blocked := l.d.wrong.blocked(l.now, l.c); blocked {
		return &LimitedError{RetryAfter: wait}
	}
	return nil
}

// byCertificate returns the one device that a verified certificate names: by a
// common name that is a secret or an id, and by URN. Names are compared whole.
func (l *lookup) byCertificate() (*record, *registry.DeviceSecret, error) {
	var (
		found  *record
		secret *registry.DeviceSecret
		named  bool // some name resolved
	)
	agree := func(rec *record) error {
		if named && found.device.ID != rec.device.ID {
			l.trace.add("the certificate names two devices", "")
			return &RefusedError{Reason: registry.ReasonAmbiguousCredential}
		}
		found, named = rec, true
		return nil
	}

	cn, count := commonName(l.c.Chain[0])
	if count > 1 {
		l.trace.add("the certificate has several common names", "")
		return nil, nil, &RefusedError{Reason: registry.ReasonAmbiguousCredential}
	}
	var cnSecret registry.Secret
	if cn != "" {
		rec, held, err := l.commonNameSecret(cn)
		if err != nil {
			return nil, nil, err
		}
		if rec != nil {
			cnSecret, secret = registry.SecretOf(cn), held
			if err := agree(rec); err != nil {
				return nil, nil, err
			}
		}
		if rec, err = l.commonNameID(cn); err != nil {
			return nil, nil, err
		} else if rec != nil {
			if err := agree(rec); err != nil {
				return nil, nil, err
			}
		}
	}
	for _, u := range urnNames(l.c.Chain[0]) {
		rec, err := l.byID(u.device)
		if err != nil {
			return nil, nil, err
		}
		if rec.device.Domain != u.domain {
			l.trace.add("the certificate names a device in a domain that is not its own", "")
			return nil, nil, &RefusedError{Reason: registry.ReasonUnknownCertificate, Device: rec.device.ID}
		}
		if err := agree(rec); err != nil {
			return nil, nil, err
		}
	}
	if !named {
		l.trace.add("the certificate names no device", "")
		return nil, nil, &RefusedError{Reason: registry.ReasonUnknownCertificate}
	}
	l.trace.add("the certificate names device", found.device.ID)
	return l.confirm(found, secret, cnSecret)
}

// commonNameSecret returns the device of which cn is a secret, nil for none.
// An expired secret is refused as such.
func (l *lookup) commonNameSecret(cn string) (*record, *registry.DeviceSecret, error) {
	s := registry.SecretOf(cn)
	if s.Check() != nil {
		return nil, nil, nil
	}
	rec, held, err := l.bySecret(s)
	if gone(err) {
		return nil, nil, nil
	}
	return rec, held, err
}

// commonNameID returns the device of which cn is the id, nil for none.
func (l *lookup) commonNameID(cn string) (*record, error) {
	id, err := registry.ParseID(cn)
	if err != nil {
		return nil, nil
	}
	return l.record(registry.DeviceID(id))
}

// confirm checks that what was shown beside the certificate says the same.
func (l *lookup) confirm(rec *record, secret *registry.DeviceSecret, cnSecret registry.Secret) (*record, *registry.DeviceSecret, error) {
	conflict := func(what string) (*record, *registry.DeviceSecret, error) {
		l.trace.add("the "+what+" contradicts the certificate, which names device", rec.device.ID)
		return nil, nil, &RefusedError{Reason: registry.ReasonConflictingEvidence, Device: rec.device.ID}
	}
	if l.c.DeviceID != "" {
		if id, err := registry.ParseID(l.c.DeviceID); err != nil || registry.DeviceID(id) != rec.device.ID {
			return conflict("device id")
		}
	}
	switch {
	case l.c.Secret.IsZero():
	case !cnSecret.IsZero():
		if !l.c.Secret.Equal(cnSecret) {
			return conflict("secret")
		}
	default:
		held, err := l.holds(rec, l.c.Secret)
		if err != nil {
			return conflict("secret")
		}
		secret = held
	}
	return rec, secret, nil
}
