package authn

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/postern-io/postern/registry"
)

// A Finder reads devices from where they are kept. Each method returns
// registry.ErrNotFound when there is none, and any other error when it cannot
// tell; the two are never mixed up, because the first refuses a device and the
// second asks it to try later.
type Finder interface {
	// DevicesBySecret returns the secrets of this hash, expired ones included,
	// none when nobody holds it.
	DevicesBySecret(ctx context.Context, hash registry.SecretHash) ([]registry.DeviceSecret, error)
	// Device returns the device of this id.
	Device(ctx context.Context, id registry.DeviceID) (registry.Device, error)
	// DeviceSecrets returns the secrets that a device holds, expired ones
	// included.
	DeviceSecrets(ctx context.Context, id registry.DeviceID) ([]registry.DeviceSecret, error)
}

// A Voucher says whether the certificate of a device is good, which the room of
// certificates knows: what it is called, who vouches for it and until when, or why
// it is not. It does not wait.
type Voucher interface {
	Vouch(chain []*x509.Certificate) (by registry.Vouched, refused registry.Reason)
}

// Devices tells which device stands at the door. It is safe for concurrent use;
// a decision from memory takes about a microsecond and does not allocate.
type Devices struct {
	hasher     *registry.SecretHasher
	now        func() time.Time
	x509       bool
	voucher    Voucher
	memory     *memory
	principals *principals // nil: imported authorities mean nobody
	wrong      *failures
	secrets    touched[registry.SecretID]
	certs      touched[registry.CertificateID]
}

// Config is what NewDevices needs. Find and Hasher have no default.
type Config struct {
	Find               Finder
	Hasher             *registry.SecretHasher
	Voucher            Voucher          // nil: no certificate is good
	Imports            Importer         // nil: imported authorities mean nobody
	Limits             Limits           // zero: no limits
	CacheSize          int              // devices kept in memory; default 100,000
	RequireCertificate bool             // AUTH=x509: a secret alone is not enough
	Now                func() time.Time // default time.Now
}

// NewDevices returns a Devices with empty caches.
func NewDevices(c Config) *Devices {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.CacheSize <= 0 {
		c.CacheSize = 100_000
	}
	d := &Devices{
		hasher:  c.Hasher,
		now:     c.Now,
		x509:    c.RequireCertificate,
		voucher: c.Voucher,
		memory:  newMemory(c.Find, c.CacheSize),
		wrong:   newFailures(c.Limits),
	}
	if c.Imports != nil {
		d.principals = newPrincipals(c.Imports, d.memory, c.CacheSize)
	}
	return d
}

// An Identity is a device that was recognised, and the record it was recognised
// by. Device is shared: do not write to it.
type Identity struct {
	Device *registry.Device
	Secret registry.SecretID // the secret that was shown; "" when the certificate named the device
	// Certificate is the one that was shown; "" when none was.
	Certificate registry.CertificateID
	// Authority is the imported one that vouched for it; "" for any other.
	Authority registry.AuthorityID
	// Expires is when the first of both stops being good, zero when neither does.
	Expires time.Time
}

// Authenticate returns the one enabled device that everything in c names.
//
// Errors: a *RefusedError (ErrUnauthenticated) with the reason; a *LimitedError
// (ErrLimited) when too many attempts failed before; anything else means the
// store did not answer and says nothing about the credential.
func (d *Devices) Authenticate(ctx context.Context, c *Credential) (Identity, error) {
	return d.authenticate(ctx, c, nil)
}

func (d *Devices) authenticate(ctx context.Context, c *Credential, t *trace) (Identity, error) {
	switch {
	case c.conflict:
		return d.refuse(c, registry.ReasonConflictingEvidence, "")
	case len(c.Chain) == 0 && c.Secret.IsZero():
		return d.refuse(c, registry.ReasonNoCredential, "")
	case len(c.Chain) == 0 && d.x509:
		return d.refuse(c, registry.ReasonCertificateRequired, "")
	}
	by, reason := d.vouch(c.Chain)
	if reason != "" {
		t.add("the certificate is not good: "+string(reason), "")
		return d.refuse(c, reason, "")
	}
	look := lookup{d: d, ctx: ctx, c: c, trace: t, now: d.now(), imported: by.Authority}
	rec, held, err := look.named()
	if refused, ok := err.(*RefusedError); ok {
		return d.refuse(c, refused.Reason, refused.Device)
	}
	switch {
	case err != nil:
		return Identity{}, err
	case rec.device.Status != registry.Enabled:
		t.add("not enabled: device", rec.device.ID)
		return d.refuse(c, notEnabled(rec.device.Status), rec.device.ID)
	}
	id := Identity{Device: &rec.device, Certificate: by.Certificate, Expires: by.Ends}
	if by.Authority != nil {
		id.Authority = by.Authority.ID
	}
	if by.Certificate != "" {
		d.certs.mark(by.Certificate, look.now)
	}
	if held != nil {
		id.Secret, id.Expires = held.ID, first(held.Expires, by.Ends)
		d.secrets.mark(held.ID, look.now)
	}
	t.add("enabled: device", rec.device.ID)
	return id, nil
}

// notEnabled is why a device of that status is refused.
func notEnabled(s registry.Status) registry.Reason {
	if s == registry.Pending {
		return registry.ReasonDevicePending
	}
	return registry.ReasonDeviceDisabled
}

// vouch is the Voucher's word, and nothing when no certificate was shown.
func (d *Devices) vouch(chain []*x509.Certificate) (by registry.Vouched, refused registry.Reason) {
	switch {
	case len(chain) == 0:
		return by, ""
	case d.voucher == nil:
		return by, registry.ReasonCertificateUntrusted
	}
	return d.voucher.Vouch(chain)
}

// first returns the earlier of two times, of which zero is never.
func first(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Recheck tells whether a device that was let in with a secret (the empty
// SecretID: without one) and a certificate (an empty chain: without) would still
// be, and until when. The errors are those of Authenticate.
func (d *Devices) Recheck(ctx context.Context, id registry.DeviceID, secret registry.SecretID, chain []*x509.Certificate) (expires time.Time, err error) {
	by, reason := d.vouch(chain)
	if reason != "" {
		return time.Time{}, &RefusedError{Reason: reason, Device: id}
	}
	if by.Authority != nil && d.principals != nil {
		if err := d.principals.stillMeans(ctx, by.Authority, chain[0], id); err != nil {
			return time.Time{}, err
		}
	}
	rec, err := d.memory.records.Get(ctx, id, d.memory.loadRecord)
	switch {
	case err != nil:
		return time.Time{}, err
	case rec.absent:
		return time.Time{}, &RefusedError{Reason: registry.ReasonDeviceDeleted, Device: id}
	case rec.device.Status != registry.Enabled:
		return time.Time{}, &RefusedError{Reason: notEnabled(rec.device.Status), Device: id}
	case secret == "":
		return by.Ends, nil
	}
	for i := range rec.secrets {
		s := &rec.secrets[i]
		switch {
		case s.ID != secret:
		case !s.Valid(d.now()):
			return time.Time{}, &RefusedError{Reason: registry.ReasonSecretExpired, Device: id}
		default:
			return first(s.Expires, by.Ends), nil
		}
	}
	return time.Time{}, &RefusedError{Reason: registry.ReasonSecretRevoked, Device: id}
}

func (d *Devices) refuse(c *Credential, r registry.Reason, id registry.DeviceID) (Identity, error) {
	d.wrong.count(d.now(), c)
	return Identity{}, &RefusedError{Reason: r, Device: id}
}

// Changed forgets what a change concerns. Call it before the sessions of the
// device are looked at, so that none can be opened on what was known before.
func (d *Devices) Changed(c registry.Change) {
	unbound := false
	switch {
	case c.Device != "" && c.Channel == "":
		d.memory.forget(c.Device)
		unbound = c.Gone || c.Authority != ""
	case c.Authority != "":
		d.memory.epoch.Add(1) // whom it turned away a moment ago it may mean now
		unbound = c.Gone
	case c.Gone && c.User == "" && c.Channel == "" && c.Domain != "":
		d.memory.forgetAll() // every device of the domain went with it
		unbound = true
	}
	if unbound && d.principals != nil {
		d.principals.bindings.Add(1)
	}
}

// ChangedAll forgets everything: notices may have been lost.
func (d *Devices) ChangedAll() {
	d.memory.forgetAll()
	if d.principals != nil {
		d.principals.forgetAll()
	}
}

// DomainOf returns the domain of a device that is known in memory, as one is that
// was just refused.
func (d *Devices) DomainOf(id registry.DeviceID) (registry.DomainID, bool) {
	rec, ok := d.memory.records.GetIfPresent(id)
	if !ok || rec.absent {
		return "", false
	}
	return rec.device.Domain, true
}

// Cached reports whether the device is known in memory, for explain.
func (d *Devices) Cached(id registry.DeviceID) bool {
	_, ok := d.memory.records.GetIfPresent(id)
	return ok
}
