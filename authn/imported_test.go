package authn

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// A plant is a registry with two domains, and certificates that it says are of
// imported authorities.
type plant struct {
	*registry.Registry
	t          testing.TB
	devices    *Devices
	home, away registry.DomainID
	by         map[*x509.Certificate]*registry.ImportedAuthority
	asked      atomic.Int64 // questions about principals
	down       bool
}

func newPlant(t testing.TB) *plant {
	t.Helper()
	s, err := store.Open(t.Context(), "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	hasher, err := registry.NewSecretHasher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	p := &plant{t: t, by: map[*x509.Certificate]*registry.ImportedAuthority{}}
	p.Registry = &registry.Registry{Store: s, Hasher: hasher, Now: func() time.Time { return start }, NewID: uuid.NewString}
	p.devices = NewDevices(Config{Find: s, Hasher: hasher, Voucher: p, Imports: p, Now: func() time.Time { return start }})
	p.OnChange = func(_ context.Context, changes []registry.Change) {
		for _, c := range changes {
			p.devices.Changed(c)
		}
	}
	for name, id := range map[string]*registry.DomainID{"home": &p.home, "away": &p.away} {
		d, err := p.CreateDomain(t.Context(), "", registry.Domain{Name: name, Route: name})
		if err != nil {
			t.Fatal(err)
		}
		*id = d.ID
	}
	return p
}

func (p *plant) Vouch(chain []*x509.Certificate) (registry.Vouched, registry.Reason) {
	return registry.Vouched{Certificate: "shown", Ends: start.Add(time.Hour), Authority: p.by[chain[0]]}, ""
}

func (p *plant) Principal(ctx context.Context, a registry.AuthorityID, name string) (registry.Principal, error) {
	p.asked.Add(1)
	if p.down {
		return registry.Principal{}, errAway
	}
	return p.Registry.Principal(ctx, a, name)
}

// authority imports one that vouches.
func (p *plant) authority(id registry.AuthorityID, domain registry.DomainID, source registry.NameSource, arrival registry.Arrival) *registry.ImportedAuthority {
	p.t.Helper()
	a, err := p.ImportAuthority(p.t.Context(), "", domain, registry.ImportedAuthority{
		ID: id, Name: string(id), DER: []byte(id), KeyHash: string(id), Source: source, Arrival: arrival})
	if err == nil {
		a, err = p.ProveAuthority(p.t.Context(), "", domain, id, func(registry.ImportedAuthority) error { return nil })
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return &a
}

func (p *plant) device(domain registry.DomainID) registry.NewDevice {
	p.t.Helper()
	made, err := p.CreateDevices(p.t.Context(), "", domain, []registry.NewDevice{{}})
	if err != nil {
		p.t.Fatal(err)
	}
	return made[0]
}

// shown is a certificate of an imported authority with these common names.
func (p *plant) shown(a *registry.ImportedAuthority, names ...string) Credential {
	c := &x509.Certificate{}
	for _, n := range names {
		c.Subject.Names = append(c.Subject.Names, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: n})
	}
	p.by[c] = a
	return Credential{Via: "mqtt", Chain: []*x509.Certificate{c}}
}

func withURN(c Credential, domain registry.DomainID, device string) Credential {
	c.Chain[0].URIs = append(c.Chain[0].URIs, &url.URL{Scheme: "urn", Opaque: "postern:" + string(domain) + ":" + device})
	return c
}

func TestImportedNames(t *testing.T) {
	p := newPlant(t)
	d, other, foreign := p.device(p.home), p.device(p.home), p.device(p.away)
	id := string(d.ID)
	bySecret := p.authority("s", p.home, registry.NameSecret, registry.Arrival{})
	byID := p.authority("i", p.home, registry.NameID, registry.Arrival{})
	byURI := p.authority("u", p.home, registry.NameURI, registry.Arrival{})
	byName := p.authority("n", p.home, registry.NameCommon, registry.Arrival{})
	for _, a := range []registry.AuthorityID{"s", "i", "u"} { // all of them mean d
		if _, err := p.Bind(t.Context(), p.home, a, "", d.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Bind(t.Context(), p.home, "n", "pump 7", d.ID); err != nil {
		t.Fatal(err)
	}
	with := func(c Credential, edit func(*Credential)) Credential { edit(&c); return c }
	for _, c := range []struct {
		name string
		c    Credential
		want registry.Reason
	}{
		{"takes a secret as the common name", p.shown(bySecret, d.Secret.Reveal()), ""},
		{"does not take an id for a secret", p.shown(bySecret, id), registry.ReasonUnknownCertificate},
		{"takes an id as the common name", p.shown(byID, id), ""},
		{"takes an id in capitals", p.shown(byID, strings.ToUpper(id)), ""},
		{"does not take a secret for an id", p.shown(byID, d.Secret.Reveal()), registry.ReasonUnknownCertificate},
		{"does not take a URN for a common name", withURN(p.shown(byID), p.home, id), registry.ReasonUnknownCertificate},
		{"takes a URN", withURN(p.shown(byURI), p.home, id), ""},
		{"takes a URN beside any common name", withURN(p.shown(byURI, "pump"), p.home, strings.ToUpper(id)), ""},
		{"does not take a common name for a URN", p.shown(byURI, id), registry.ReasonUnknownCertificate},
		{"refuses a URN that names nobody", withURN(p.shown(byURI), p.home, uuid.NewString()), registry.ReasonUnknownDevice},
		{"refuses a URN in another domain", withURN(p.shown(byURI), p.away, id), registry.ReasonAmbiguousCredential},
		{"refuses two URNs", withURN(withURN(p.shown(byURI), p.home, id), p.home, string(other.ID)), registry.ReasonAmbiguousCredential},
		{"refuses a URN that contradicts the common name", withURN(p.shown(byID, id), p.home, string(other.ID)), registry.ReasonAmbiguousCredential},
		{"takes a name that is bound", p.shown(byName, "pump 7"), ""},
		{"does not take an id for a name", p.shown(byName, id), registry.ReasonUnknownCertificate},
		{"does not take the same name in another case", p.shown(byName, "PUMP 7"), registry.ReasonUnknownCertificate},
		{"refuses a name that is not bound", p.shown(byName, "pump 8"), registry.ReasonUnknownCertificate},
		{"refuses two common names", p.shown(byName, "pump 7", "pump 7"), registry.ReasonAmbiguousCredential},
		{"refuses none", p.shown(byName), registry.ReasonUnknownCertificate},
		{"refuses an empty one", p.shown(byID, ""), registry.ReasonUnknownCertificate},
		{"refuses a device of another domain by its id", p.shown(byID, string(foreign.ID)), registry.ReasonForeignDomain},
		{"refuses a device of another domain by its secret", p.shown(bySecret, foreign.Secret.Reveal()), registry.ReasonForeignDomain},
		{"refuses a device of another domain by its URN", withURN(p.shown(byURI), p.away, string(foreign.ID)), registry.ReasonForeignDomain},
		{"takes the device's id beside it", with(p.shown(byName, "pump 7"), func(c *Credential) { c.ShowDeviceID(id) }), ""},
		{"refuses another id beside it", with(p.shown(byName, "pump 7"), func(c *Credential) { c.ShowDeviceID(string(other.ID)) }), registry.ReasonConflictingEvidence},
		{"takes the device's secret beside it", with(p.shown(byName, "pump 7"), func(c *Credential) { c.ShowSecret(d.Secret.Reveal()) }), ""},
		{"refuses another secret beside it", with(p.shown(byID, id), func(c *Credential) { c.ShowSecret(other.Secret.Reveal()) }), registry.ReasonConflictingEvidence},
	} {
		who, err := p.devices.Authenticate(t.Context(), &c.c)
		if c.want == "" {
			if err != nil || who.Device.ID != d.ID || who.Authority == "" || !who.Expires.Equal(start.Add(time.Hour)) {
				t.Errorf("it %s: got %+v, %v", c.name, who, err)
			}
			continue
		}
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Reason != c.want {
			t.Errorf("it %s: got %v, want %s", c.name, err, c.want)
		}
	}
}

// TestFirstUse: a device becomes the authority's that names it first.
func TestFirstUse(t *testing.T) {
	p := newPlant(t)
	one, two := p.authority("one", p.home, registry.NameID, registry.Arrival{}), p.authority("two", p.home, registry.NameID, registry.Arrival{})
	d := p.device(p.home)
	first, second := p.shown(one, string(d.ID)), p.shown(two, string(d.ID))
	allowed := func(c Credential) {
		t.Helper()
		if who, err := p.devices.Authenticate(t.Context(), &c); err != nil || who.Device.ID != d.ID {
			t.Errorf("got %+v, %v", who, err)
		}
	}
	refused := func(c Credential, why registry.Reason) {
		t.Helper()
		_, err := p.devices.Authenticate(t.Context(), &c)
		wantRefused(t, err, why)
	}
	allowed(first)
	refused(second, registry.ReasonForeignAuthority)
	before := p.asked.Load()
	refused(second, registry.ReasonForeignAuthority)
	allowed(first)
	if asked := p.asked.Load() - before; asked != 1 { // the one that was taken is read once
		t.Errorf("asked %d times, want 1", asked)
	}
	// A person says otherwise, and is heard at once; so is the taking back.
	if _, err := p.Bind(t.Context(), p.home, "two", "", d.ID); err != nil {
		t.Fatal(err)
	}
	allowed(second)
	if err := p.Unbind(t.Context(), p.home, "two", string(d.ID)); err != nil {
		t.Fatal(err)
	}
	_, err := p.devices.Recheck(t.Context(), d.ID, "", second.Chain)
	wantRefused(t, err, registry.ReasonUnknownCertificate)
	refused(second, registry.ReasonForeignAuthority)
	allowed(first)
	if ends, err := p.devices.Recheck(t.Context(), d.ID, "", first.Chain); err != nil || !ends.Equal(start.Add(time.Hour)) {
		t.Errorf("recheck: %v, %v", ends, err)
	}
	// Without the store the answer is known or "later", never "no".
	p.down = true
	allowed(first)
	unread := p.shown(one, string(p.device(p.home).ID))
	if _, err := p.devices.Authenticate(t.Context(), &unread); !errors.Is(err, errAway) {
		t.Errorf("store away: %v", err)
	}
	p.down = false

	// Who comes back by the same id is not whom the authority meant.
	if err := p.DeleteDevice(t.Context(), p.home, d.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := p.CreateDevices(t.Context(), "", p.home, []registry.NewDevice{{Device: registry.Device{ID: d.ID}}}); err != nil {
		t.Fatal(err)
	}
	_, err = p.devices.Recheck(t.Context(), d.ID, "", first.Chain)
	wantRefused(t, err, registry.ReasonUnknownCertificate)
	allowed(second) // and now it comes first
	refused(first, registry.ReasonForeignAuthority)
}

func TestArrivals(t *testing.T) {
	p := newPlant(t)
	factory := p.authority("factory", p.home, registry.NameCommon, registry.Arrival{Register: true, MaxPending: 2, Approve: "pump-*"})
	twin := p.authority("twin", p.away, registry.NameCommon, registry.Arrival{Register: true})
	enter := func(a *registry.ImportedAuthority, name string) (registry.DeviceID, registry.Reason) {
		t.Helper()
		c := p.shown(a, name)
		who, err := p.devices.Authenticate(t.Context(), &c)
		var refused *RefusedError
		switch {
		case err == nil:
			return who.Device.ID, ""
		case errors.As(err, &refused):
			return refused.Device, refused.Reason
		}
		t.Fatal(err)
		return "", ""
	}
	waits, why := enter(factory, "valve-1")
	if why != registry.ReasonDevicePending || waits == "" {
		t.Fatalf("arrived: %s, %q", waits, why)
	}
	if again, why := enter(factory, "valve-1"); again != waits || why != registry.ReasonDevicePending {
		t.Errorf("came again: %s, %q", again, why)
	}
	other, why := enter(twin, "valve-1")
	if other == waits || why != registry.ReasonDevicePending {
		t.Errorf("the same name of another authority: %s, %q", other, why)
	}
	enter(factory, "valve-2")
	if _, why := enter(factory, "valve-3"); why != registry.ReasonTooManyPending {
		t.Errorf("one too many: %q", why)
	}
	if id, why := enter(factory, "pump-1"); why != "" || id == "" {
		t.Errorf("by the rule: %q", why)
	}
	// The proof itself is a certificate of the authority, and names nobody.
	if _, why := enter(factory, factory.Nonce); why != registry.ReasonUnknownCertificate {
		t.Errorf("the proof: %q", why)
	}
	c := p.shown(factory, "valve-1")
	_, err := p.devices.Recheck(t.Context(), waits, "", c.Chain)
	wantRefused(t, err, registry.ReasonDevicePending)
	if _, err := p.UpdateDevice(t.Context(), "", p.home, waits, func(d *registry.Device) error { d.Status = registry.Enabled; return nil }); err != nil {
		t.Fatal(err)
	}
	if id, why := enter(factory, "valve-1"); why != "" || id != waits {
		t.Errorf("approved: %s, %q", id, why)
	}
	if id, why := enter(factory, "valve-3"); why != registry.ReasonDevicePending || id == "" {
		t.Errorf("after room was made: %q", why)
	}
	// What is disabled is refused for good, and says so.
	if _, err := p.UpdateDevice(t.Context(), "", p.home, waits, func(d *registry.Device) error { d.Status = registry.Disabled; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, why := enter(factory, "valve-1"); why != registry.ReasonDeviceDisabled {
		t.Errorf("disabled: %q", why)
	}
}

// TestArrivalsAreSlowed: names come no faster than they can be written down.
func TestArrivalsAreSlowed(t *testing.T) {
	p := newPlant(t)
	a := p.authority("a", p.home, registry.NameID, registry.Arrival{})
	c := p.shown(a, string(p.device(p.home).ID))
	if _, err := p.devices.Authenticate(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	limit, _ := p.devices.principals.arrivals.GetIfPresent("a")
	limit.AllowN(start, arrivalsBurst-1)
	if _, err := p.devices.Authenticate(t.Context(), &c); err != nil {
		t.Errorf("one that is known: %v", err)
	}
	c = p.shown(a, string(p.device(p.home).ID))
	_, err := p.devices.Authenticate(t.Context(), &c)
	var limited *LimitedError
	if !errors.As(err, &limited) || limited.RetryAfter <= 0 {
		t.Errorf("got %v, want a limit", err)
	}
}

func TestImportedDoesNotAllocate(t *testing.T) {
	if raceDetector {
		t.Skip("with the race detector sync.Pool drops at random what it is given")
	}
	p := newPlant(t)
	d := p.device(p.home)
	byID, byName := p.authority("i", p.home, registry.NameID, registry.Arrival{}), p.authority("n", p.home, registry.NameCommon, registry.Arrival{})
	if _, err := p.Bind(t.Context(), p.home, "n", "pump", d.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Bind(t.Context(), p.home, "i", "", d.ID); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Credential{"by id": p.shown(byID, string(d.ID)), "by name": p.shown(byName, "pump")} {
		if _, err := p.devices.Authenticate(t.Context(), &c); err != nil {
			t.Fatal(name, err)
		}
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := p.devices.Authenticate(context.Background(), &c); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations per decision, want 0", name, n)
		}
	}
}

func BenchmarkImportedDecision(b *testing.B) {
	p := newPlant(b)
	d := p.device(p.home)
	a := p.authority("n", p.home, registry.NameCommon, registry.Arrival{})
	if _, err := p.Bind(b.Context(), p.home, "n", "pump", d.ID); err != nil {
		b.Fatal(err)
	}
	c := p.shown(a, "pump")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.devices.Authenticate(b.Context(), &c); err != nil {
			b.Fatal(err)
		}
	}
}
