package authn

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-io/postern/registry"
)

const (
	idA     = "aaaaaaaa-0000-4000-8000-000000000001"
	idB     = "bbbbbbbb-0000-4000-8000-000000000002"
	domainX = "dddddddd-0000-4000-8000-000000000001"
)

// fleet is a Finder over maps. Its device A holds the secrets a1 and a2 (a2
// expired), B holds b.
type fleet struct {
	mu      sync.Mutex
	hasher  *registry.SecretHasher
	devices map[registry.DeviceID]registry.Device
	secrets map[registry.DeviceID][]registry.DeviceSecret
	away    bool
	asked   atomic.Int64
	gate    chan struct{} // when set, Device waits for it
}

var (
	start    = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	secretA  = registry.NewSecret()
	secretA2 = registry.NewSecret()
	secretB  = registry.NewSecret()
	errAway  = errors.New("store away")
)

func newFleet(t testing.TB) *fleet {
	hasher, err := registry.NewSecretHasher([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{hasher: hasher, devices: map[registry.DeviceID]registry.Device{}, secrets: map[registry.DeviceID][]registry.DeviceSecret{}}
	f.put(idA, registry.DeviceSecret{ID: "a1", Hash: hasher.Hash(secretA)}, registry.DeviceSecret{ID: "a2", Hash: hasher.Hash(secretA2), Expires: start.Add(-time.Second)})
	f.put(idB, registry.DeviceSecret{ID: "b", Hash: hasher.Hash(secretB)})
	return f
}

func (f *fleet) put(id registry.DeviceID, secrets ...registry.DeviceSecret) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.devices[id] = registry.Device{ID: id, Domain: domainX, Status: registry.Enabled}
	f.secrets[id] = secrets
}

func (f *fleet) status(id registry.DeviceID, s registry.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.devices[id]
	d.Status = s
	f.devices[id] = d
}

func (f *fleet) DevicesBySecret(_ context.Context, hash registry.SecretHash) ([]registry.DeviceSecret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked.Add(1)
	if f.away {
		return nil, errAway
	}
	var held []registry.DeviceSecret
	for id, secrets := range f.secrets {
		for _, s := range secrets {
			if s.Hash == hash {
				s.Device = id
				held = append(held, s)
			}
		}
	}
	return held, nil
}

func (f *fleet) Device(_ context.Context, id registry.DeviceID) (registry.Device, error) {
	if f.gate != nil {
		<-f.gate
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked.Add(1)
	d, ok := f.devices[id]
	switch {
	case f.away:
		return d, errAway
	case !ok:
		return d, registry.ErrNotFound
	}
	return d, nil
}

func (f *fleet) DeviceSecrets(_ context.Context, id registry.DeviceID) ([]registry.DeviceSecret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked.Add(1)
	if f.away {
		return nil, errAway
	}
	return f.secrets[id], nil
}

func (f *fleet) authn(c Config) *Devices {
	c.Find, c.Hasher = f, f.hasher
	c.Now = func() time.Time { return start }
	if c.Voucher == nil {
		c.Voucher = vouching{}
	}
	return NewDevices(c)
}

// vouching finds every certificate good, until it ends, but those it names.
type vouching map[*x509.Certificate]registry.Reason

func (v vouching) Vouch(chain []*x509.Certificate) (registry.Vouched, registry.Reason) {
	return registry.Vouched{Certificate: "shown", Ends: chain[0].NotAfter}, v[chain[0]]
}

func show(id string, secrets ...registry.Secret) Credential {
	c := Credential{Via: "mqtt", Remote: netip.MustParseAddr("192.0.2.7")}
	c.ShowDeviceID(id)
	for _, s := range secrets {
		c.ShowSecret(s.Reveal())
	}
	return c
}

func (c Credential) with(cert *x509.Certificate) Credential {
	c.Chain = []*x509.Certificate{cert}
	return c
}

// cert is a leaf as the TLS handshake hands it over.
func cert(t testing.TB, cns []string, uris ...string) *x509.Certificate {
	c := &x509.Certificate{}
	c.Subject.Names = append(c.Subject.Names, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "x,CN=" + idB})
	for _, cn := range cns {
		c.Subject.Names = append(c.Subject.Names, pkix.AttributeTypeAndValue{Type: oidCommonName, Value: cn})
		c.Subject.CommonName = cn
	}
	for _, u := range uris {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		c.URIs = append(c.URIs, parsed)
	}
	return c
}

func TestAuthenticate(t *testing.T) {
	a, b := secretA.Reveal(), secretB.Reveal()
	for name, test := range map[string]struct {
		c    Credential
		want registry.DeviceID
		why  registry.Reason
	}{
		"it knows a device by id and secret":            {c: show(idA, secretA), want: idA},
		"it knows a device by secret alone":             {c: show("", secretB), want: idB},
		"it takes an id in upper case":                  {c: show(strings.ToUpper(idA), secretA), want: idA},
		"it takes the same secret shown twice":          {c: show(idA, secretA, secretA), want: idA},
		"it refuses nothing":                            {c: show(""), why: registry.ReasonNoCredential},
		"it refuses an id alone":                        {c: show(idA), why: registry.ReasonNoCredential},
		"it refuses another device's secret":            {c: show(idA, secretB), why: registry.ReasonWrongSecret},
		"it refuses an unknown id":                      {c: show("cccccccc-0000-4000-8000-000000000009", secretA), why: registry.ReasonUnknownDevice},
		"it refuses an id that is none":                 {c: show("admin' OR 1=1", secretA), why: registry.ReasonUnknownDevice},
		"it refuses an unknown secret":                  {c: show("", registry.NewSecret()), why: registry.ReasonWrongSecret},
		"it refuses a prefix of a secret":               {c: show("", registry.SecretOf(a[:42])), why: registry.ReasonWrongSecret},
		"it refuses an expired secret":                  {c: show(idA, secretA2), why: registry.ReasonSecretExpired},
		"it refuses two different secrets":              {c: show(idA, secretA, secretB), why: registry.ReasonConflictingEvidence},
		"it knows a certificate whose CN is a secret":   {c: show("").with(cert(t, []string{a})), want: idA},
		"it knows a certificate whose CN is an id":      {c: show("").with(cert(t, []string{idA})), want: idA},
		"it knows a certificate by its URN":             {c: show("").with(cert(t, nil, "urn:postern:"+domainX+":"+idA)), want: idA},
		"it knows a URN beside a CN that is a title":    {c: show("").with(cert(t, []string{"pump 7"}, "urn:postern:"+domainX+":"+idA)), want: idA},
		"it ignores foreign URNs":                       {c: show("").with(cert(t, []string{a}, "urn:uuid:"+idB)), want: idA},
		"it takes cert, id and secret that agree":       {c: show(idA, secretA).with(cert(t, []string{a})), want: idA},
		"it takes a secret beside a CN that is the id":  {c: show(idA, secretA).with(cert(t, []string{idA})), want: idA},
		"it refuses certificate A with password B":      {c: show("", secretB).with(cert(t, []string{a})), why: registry.ReasonConflictingEvidence},
		"it refuses certificate A with user name B":     {c: show(idB).with(cert(t, []string{a})), why: registry.ReasonConflictingEvidence},
		"it refuses another of A's secrets beside CN":   {c: show(idA, secretA2).with(cert(t, []string{a})), why: registry.ReasonConflictingEvidence},
		"it refuses a wrong secret beside a CN id":      {c: show("", registry.NewSecret()).with(cert(t, []string{idA})), why: registry.ReasonConflictingEvidence},
		"it refuses a CN that is a prefix":              {c: show("").with(cert(t, []string{a[:42]})), why: registry.ReasonUnknownCertificate},
		"it refuses a CN that continues a secret":       {c: show("").with(cert(t, []string{a + "x"})), why: registry.ReasonUnknownCertificate},
		"it refuses a CN with a blank before":           {c: show("").with(cert(t, []string{" " + a})), why: registry.ReasonUnknownCertificate},
		"it does not read a CN out of another field":    {c: show("").with(cert(t, nil)), why: registry.ReasonUnknownCertificate},
		"it refuses two common names":                   {c: show("").with(cert(t, []string{b, a})), why: registry.ReasonAmbiguousCredential},
		"it refuses CN of A with URN of B":              {c: show("").with(cert(t, []string{a}, "urn:postern:"+domainX+":"+idB)), why: registry.ReasonAmbiguousCredential},
		"it refuses a URN of another domain":            {c: show("").with(cert(t, nil, "urn:postern:"+idB+":"+idA)), why: registry.ReasonUnknownCertificate},
		"it refuses a URN that names nobody":            {c: show("").with(cert(t, []string{a}, "urn:postern:"+domainX+":pump")), why: registry.ReasonUnknownDevice},
		"it refuses a certificate of an expired secret": {c: show("").with(cert(t, []string{secretA2.Reveal()})), why: registry.ReasonSecretExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newFleet(t).authn(Config{})
			for _, from := range []string{"store", "memory"} {
				id, err := d.Authenticate(t.Context(), &test.c)
				var refused *RefusedError
				switch {
				case test.why != "":
					if !errors.As(err, &refused) || refused.Reason != test.why || !errors.Is(err, ErrUnauthenticated) {
						t.Errorf("from %s: got %v, want refusal %s", from, err, test.why)
					}
				case err != nil || id.Device.ID != test.want:
					t.Errorf("from %s: got %v, %v, want device %s", from, id, err, test.want)
				}
			}
		})
	}
}

func TestRequireCertificate(t *testing.T) {
	d := newFleet(t).authn(Config{RequireCertificate: true})
	c := show(idA, secretA)
	_, err := d.Authenticate(t.Context(), &c)
	wantRefused(t, err, registry.ReasonCertificateRequired)
	c = c.with(cert(t, []string{idA}))
	if _, err := d.Authenticate(t.Context(), &c); err != nil {
		t.Error(err)
	}
}

func TestChangesAreSeenAtOnce(t *testing.T) {
	f := newFleet(t)
	d := f.authn(Config{})
	byID, alone := show(idA, secretA), show("", secretA)
	for _, c := range []*Credential{&byID, &alone} {
		if _, err := d.Authenticate(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	f.status(idA, registry.Disabled)
	d.Changed(registry.Change{Domain: domainX, Device: idA})
	for _, c := range []*Credential{&byID, &alone} {
		_, err := d.Authenticate(t.Context(), c)
		wantRefused(t, err, registry.ReasonDeviceDisabled)
	}

	rotated := registry.NewSecret()
	fresh := show("", rotated)
	_, err := d.Authenticate(t.Context(), &fresh) // remembers that nobody holds it
	wantRefused(t, err, registry.ReasonWrongSecret)
	f.put(idA, registry.DeviceSecret{ID: "a3", Hash: f.hasher.Hash(rotated)})
	d.Changed(registry.Change{Domain: domainX, Device: idA})
	if _, err := d.Authenticate(t.Context(), &fresh); err != nil {
		t.Errorf("the new secret: %v", err)
	}
	_, err = d.Authenticate(t.Context(), &alone)
	wantRefused(t, err, registry.ReasonWrongSecret)

	// The secret moves to another device: memory still says A.
	f.put(idA)
	f.put(idB, registry.DeviceSecret{ID: "b2", Hash: f.hasher.Hash(rotated)})
	d.Changed(registry.Change{Domain: domainX, Device: idA})
	d.Changed(registry.Change{Domain: domainX, Device: idB})
	if id, err := d.Authenticate(t.Context(), &fresh); err != nil || id.Device.ID != idB {
		t.Errorf("a secret that moved: got %v, %v, want %s", id, err, idB)
	}
}

// A change that comes while the store is being asked must not leave the old
// answer in memory.
func TestChangeDuringLoad(t *testing.T) {
	f := newFleet(t)
	f.gate = make(chan struct{})
	d := f.authn(Config{})
	c := show(idA, secretA)
	loaded := make(chan error)
	go func() { _, err := d.Authenticate(context.Background(), &c); loaded <- err }()
	f.gate <- struct{}{} // the load is past its gate, or about to read
	d.Changed(registry.Change{Device: idA})
	f.status(idA, registry.Disabled)
	d.Changed(registry.Change{Device: idA})
	close(f.gate)
	<-loaded
	_, err := d.Authenticate(t.Context(), &c)
	wantRefused(t, err, registry.ReasonDeviceDisabled)
}

func TestStoreAway(t *testing.T) {
	f := newFleet(t)
	d := f.authn(Config{})
	known, unknown := show(idA, secretA), show(idB, secretB)
	if _, err := d.Authenticate(t.Context(), &known); err != nil {
		t.Fatal(err)
	}
	f.away = true
	if _, err := d.Authenticate(t.Context(), &known); err != nil {
		t.Errorf("known device with the store away: %v", err)
	}
	if _, err := d.Authenticate(t.Context(), &unknown); !errors.Is(err, errAway) || errors.Is(err, ErrUnauthenticated) {
		t.Errorf("unknown device with the store away: got %v, want that nothing can be said", err)
	}
}

func TestGuessingIsLimited(t *testing.T) {
	f := newFleet(t)
	d := f.authn(Config{Limits: Limits{SourcePerSecond: 1, SourceBurst: 10, DevicePerSecond: 1, DeviceBurst: 3}})
	known := show(idB, secretB)
	if _, err := d.Authenticate(t.Context(), &known); err != nil {
		t.Fatal(err)
	}
	guess := func(id string) error {
		c := show(id, registry.NewSecret())
		_, err := d.Authenticate(t.Context(), &c)
		return err
	}
	for range 3 {
		wantRefused(t, guess("cccccccc-0000-4000-8000-000000000003"), registry.ReasonUnknownDevice)
	}
	for i := range 20 {
		guess(fmt.Sprintf("cccccccc-0000-4000-8000-0000000001%02d", i))
	}
	asked := f.asked.Load()
	var limited *LimitedError
	if err := guess("cccccccc-0000-4000-8000-000000000004"); !errors.As(err, &limited) || limited.RetryAfter < time.Second {
		t.Errorf("after too many guesses: got %v, want to be limited for a second or more", err)
	}
	if f.asked.Load() != asked {
		t.Error("a limited attempt still asked the store")
	}
	if _, err := d.Authenticate(t.Context(), &known); err != nil {
		t.Errorf("a known device behind the same address: %v", err)
	}
	elsewhere := show(idA, secretA)
	elsewhere.Remote = netip.MustParseAddr("198.51.100.1")
	if _, err := d.Authenticate(t.Context(), &elsewhere); err != nil {
		t.Errorf("another source: %v", err)
	}
}

func TestRecheck(t *testing.T) {
	f := newFleet(t)
	d := f.authn(Config{})
	until := start.Add(time.Hour)
	f.put(idA, registry.DeviceSecret{ID: "old", Expires: until}, registry.DeviceSecret{ID: "gone", Expires: start})
	if expires, err := d.Recheck(t.Context(), idA, "old", nil); err != nil || !expires.Equal(until) {
		t.Errorf("got %v, %v, want good until %v", expires, err, until)
	}
	_, err := d.Recheck(t.Context(), idA, "gone", nil)
	wantRefused(t, err, registry.ReasonSecretExpired)
	_, err = d.Recheck(t.Context(), idA, "never", nil)
	wantRefused(t, err, registry.ReasonSecretRevoked)
	if _, err := d.Recheck(t.Context(), idA, "", nil); err != nil {
		t.Errorf("a session without a secret: %v", err)
	}
	_, err = d.Recheck(t.Context(), "cccccccc-0000-4000-8000-000000000003", "", nil)
	wantRefused(t, err, registry.ReasonDeviceDeleted)
}

func TestDecisionFromMemoryDoesNotAllocate(t *testing.T) {
	if raceDetector {
		t.Skip("with the race detector sync.Pool drops at random what it is given")
	}
	d := newFleet(t).authn(Config{Limits: DefaultLimits})
	for name, c := range map[string]Credential{"by id": show(idA, secretA), "by secret": show("", secretA)} {
		d.Authenticate(t.Context(), &c)
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := d.Authenticate(context.Background(), &c); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations per decision, want 0", name, n)
		}
	}
}

func TestExplainNamesNoSecret(t *testing.T) {
	d := newFleet(t).authn(Config{})
	c := show(idA, secretB)
	_, steps, err := d.Explain(t.Context(), &c)
	wantRefused(t, err, registry.ReasonWrongSecret)
	told := strings.Join(steps, "\n") + fmt.Sprintf("%v %+v %#v %v", c, c, c, err)
	if len(steps) == 0 || strings.Contains(told, secretB.Reveal()) {
		t.Errorf("steps %q must exist and hold no secret", told)
	}
}

func wantRefused(t *testing.T, err error, why registry.Reason) {
	t.Helper()
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Reason != why {
		t.Errorf("got %v, want refusal %s", err, why)
	}
}

func BenchmarkDecision(b *testing.B) {
	d := newFleet(b).authn(Config{Limits: DefaultLimits})
	c := show(idA, secretA)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Authenticate(b.Context(), &c); err != nil {
			b.Fatal(err)
		}
	}
}
