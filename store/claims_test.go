package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// A factory is a domain that makes devices by claims, and its clock.
type factory struct {
	t *testing.T
	*registry.Registry
	store   *store.Store
	domain  registry.DomainID
	channel registry.ChannelID
	sign    func(serial string, ends time.Time) func(registry.Device) (registry.Certificate, error)
	now     time.Time
	told    []registry.Change
}

func newFactory(t *testing.T, s *store.Store) *factory {
	t.Helper()
	f := &factory{t: t, Registry: newRegistry(t, s), store: s, now: noon}
	f.Now = func() time.Time { return f.now }
	f.domain = newDomain(t, f.Registry, "factory").ID
	f.channel = f.newChannel("")
	f.sign = authority(t, f.Registry, "a")
	f.OnChange = func(_ context.Context, changes []registry.Change) { f.told = append(f.told, changes...) }
	return f
}

func (f *factory) newChannel(id registry.ChannelID) registry.ChannelID {
	f.t.Helper()
	return must[[]registry.Channel](f.t)(f.CreateChannels(f.t.Context(), "", f.domain, []registry.Channel{{ID: id}}))[0].ID
}

func (f *factory) make(n int, c registry.Claim) []registry.NewClaim {
	f.t.Helper()
	return must[[]registry.NewClaim](f.t)(f.CreateClaims(f.t.Context(), "", f.domain, n, c))
}

// use shows a token, with a request unless that is empty.
func (f *factory) use(token registry.Secret, request string) (registry.Claimed, error) {
	return f.UseClaim(f.t.Context(), registry.ClaimUse{Token: token, Request: request, Sign: f.sign("of "+request, f.now.Add(30*24*time.Hour))})
}

func (f *factory) refuses(name string, token registry.Secret, request string, want registry.Reason) {
	f.t.Helper()
	_, err := f.use(token, request)
	var refused *registry.ClaimError
	if !errors.As(err, &refused) || refused.Reason != want {
		f.t.Errorf("%s: got %v, want %s", name, err, want)
	}
}

func (f *factory) devices() int {
	f.t.Helper()
	return must[registry.List[registry.Device]](f.t)(f.Devices(f.t.Context(), registry.Query{Domain: f.domain, Limit: 1, Order: registry.ByCreated})).Total
}

func TestClaims(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, f := t.Context(), newFactory(t, s)
		other := f.newChannel("")
		template := registry.Claim{Name: "pump", Tags: []string{"a", "b", "a"}, Metadata: registry.Metadata{"site": "north"},
			Rights: []registry.ClaimRights{{Channel: f.channel, Rights: registry.Publish}, {Channel: other, Rights: registry.Publish | registry.Subscribe}}}
		made := f.make(3, template)
		for i, m := range made {
			if !registry.IsClaimToken(m.Token.Reveal()) || m.Hash != f.Hasher.Hash(m.Token) || !m.Expires.Equal(noon.Add(registry.DefaultClaimLife)) || i > 0 && m.Token.Equal(made[0].Token) {
				t.Errorf("made %+v", m)
			}
		}
		list := must[registry.List[registry.Claim]](t)(f.Claims(ctx, registry.ClaimQuery{Domain: f.domain, Limit: 2}))
		if list.Total != 3 || len(list.Items) != 2 || len(list.Items[1].Rights) != 2 || list.Items[0].Name != "pump" || !slices.Equal(list.Items[0].Tags, []string{"a", "b"}) {
			t.Errorf("listed %+v", list)
		}

		got := must[registry.Claimed](t)(f.use(made[0].Token, "csr"))
		d := must[registry.Device](t)(f.Device(ctx, f.domain, got.Device.ID))
		if d.Name != "pump" || d.Status != registry.Enabled || d.Metadata["site"] != "north" || !slices.Equal(d.Tags, []string{"a", "b"}) {
			t.Errorf("became %+v", d)
		}
		if c := must[registry.Certificate](t)(s.Certificate(ctx, got.Certificate.ID)); c.Device != d.ID || !got.Secret.IsZero() || len(must[[]registry.DeviceSecret](t)(s.DeviceSecrets(ctx, d.ID))) != 0 {
			t.Errorf("got %+v, %+v", got, c)
		}
		for channel, want := range map[registry.ChannelID]registry.Rights{f.channel: registry.Publish, other: registry.Publish | registry.Subscribe} {
			if rights := must[registry.Rights](t)(f.Rights(ctx, d.ID, channel)); rights != want {
				t.Errorf("rights %v, want %v", rights, want)
			}
			if !slices.Contains(f.told, registry.Change{Domain: f.domain, Device: d.ID, Channel: channel}) {
				t.Errorf("nobody was told of the connection to %s", channel)
			}
		}
		if !slices.Contains(f.told, registry.Change{Domain: f.domain, Device: d.ID}) {
			t.Error("nobody was told of the device")
		}
		again := must[registry.Claimed](t)(f.use(made[0].Token, "csr"))
		if again.Certificate.ID != got.Certificate.ID || again.Device.ID != d.ID || f.devices() != 1 {
			t.Errorf("again: %+v", again)
		}
		f.refuses("used, with another request", made[0].Token, "other", registry.ReasonClaimUsed)
		f.refuses("used, without one", made[0].Token, "", registry.ReasonClaimUsed)
		f.refuses("never made", registry.SecretOf("pct_"+strings.Repeat("A", 43)), "csr", registry.ReasonClaimUnknown)

		secret := must[registry.Claimed](t)(f.use(made[1].Token, ""))
		found := must[[]registry.DeviceSecret](t)(s.DevicesBySecret(ctx, f.Hasher.Hash(secret.Secret)))
		if len(found) != 1 || found[0].Device != secret.Device.ID || secret.Device.ID == d.ID || secret.Certificate.ID != "" {
			t.Errorf("with a secret: %+v, %+v", secret, found)
		}
		f.refuses("used for a secret, which is not told twice", made[1].Token, "", registry.ReasonClaimUsed)

		if err := f.DeleteClaim(ctx, newDomain(t, f.Registry, "away").ID, made[2].ID); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("revoked from another domain: %v", err)
		}
		if err := f.DeleteClaim(ctx, f.domain, made[2].ID); err != nil {
			t.Error(err)
		}
		f.refuses("revoked", made[2].Token, "csr", registry.ReasonClaimUnknown)

		must[registry.Certificate](t)(f.RevokeCertificate(ctx, f.domain, got.Certificate.ID, registry.KeyCompromise))
		f.refuses("used for a certificate that is revoked", made[0].Token, "csr", registry.ReasonClaimUsed)

		if err := f.DeleteDevice(ctx, f.domain, secret.Device.ID); err != nil {
			t.Fatal(err)
		}
		f.refuses("used for a device that is gone", made[1].Token, "", registry.ReasonClaimUnknown)
		if f.devices() != 1 {
			t.Errorf("%d devices: a refusal left one", f.devices())
		}
	})
}

func TestBoundClaims(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, f := t.Context(), newFactory(t, s)
		born := must[[]registry.NewDevice](t)(f.CreateDevices(ctx, "", f.domain, []registry.NewDevice{{}, {}}))
		d, other := born[0], born[1]
		made := f.make(4, registry.Claim{Device: d.ID})
		_, err := f.UseClaim(ctx, registry.ClaimUse{Token: made[0].Token, Device: other.ID, Request: "r", Sign: f.sign("x", noon.Add(time.Hour))})
		var refused *registry.ClaimError
		if !errors.As(err, &refused) || refused.Reason != registry.ReasonConflictingEvidence {
			t.Errorf("as another device: %v", err)
		}
		got := must[registry.Claimed](t)(f.UseClaim(ctx, registry.ClaimUse{Token: made[0].Token, Device: d.ID, Request: "r", Sign: f.sign("1", noon.Add(time.Hour))}))
		if got.Device.ID != d.ID || got.Certificate.Device != d.ID || len(must[[]registry.DeviceSecret](t)(s.DeviceSecrets(ctx, d.ID))) != 1 {
			t.Errorf("enrolled %+v", got)
		}
		f.told = nil
		fresh := must[registry.Claimed](t)(f.use(made[1].Token, ""))
		secrets := must[[]registry.DeviceSecret](t)(s.DeviceSecrets(ctx, d.ID))
		if len(secrets) != 1 || secrets[0].Hash != f.Hasher.Hash(fresh.Secret) || !slices.Contains(f.told, registry.Change{Domain: f.domain, Device: d.ID}) {
			t.Errorf("a new secret: %+v, told %v", secrets, f.told)
		}

		setStatus(t, f.Registry, f.domain, d.ID, registry.Disabled)
		if _, err := f.use(made[2].Token, "q"); !errors.Is(err, registry.ErrDisabled) {
			t.Errorf("a disabled device: %v", err)
		}
		if _, err := f.use(made[0].Token, "r"); !errors.Is(err, registry.ErrDisabled) {
			t.Errorf("a disabled device, again: %v", err)
		}
		setStatus(t, f.Registry, f.domain, d.ID, registry.Enabled)
		if _, err := f.use(made[2].Token, "q"); err != nil {
			t.Errorf("the refusal used it up: %v", err)
		}
		if err := f.DeleteDevice(ctx, f.domain, d.ID); err != nil {
			t.Fatal(err)
		}
		f.refuses("of a device that is gone", made[3].Token, "x", registry.ReasonClaimUnknown)
	})
}

// What goes away takes with it what was promised.
func TestClaimsOfWhatIsGone(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, f := t.Context(), newFactory(t, s)
		kept := f.newChannel("")
		made := f.make(2, registry.Claim{Rights: []registry.ClaimRights{{Channel: f.channel, Rights: registry.Publish}, {Channel: kept, Rights: registry.Subscribe}}})
		if err := f.DeleteChannel(ctx, f.domain, f.channel); err != nil {
			t.Fatal(err)
		}
		f.newChannel(f.channel) // the id comes back
		got := must[registry.Claimed](t)(f.use(made[0].Token, ""))
		if rights := must[registry.Rights](t)(f.Rights(ctx, got.Device.ID, f.channel)); rights != 0 {
			t.Errorf("on a successor of the channel: %v", rights)
		}
		if rights := must[registry.Rights](t)(f.Rights(ctx, got.Device.ID, kept)); rights != registry.Subscribe {
			t.Errorf("on the other: %v", rights)
		}

		for status, want := range map[registry.Status]error{registry.Frozen: registry.ErrFrozen, registry.Disabled: registry.ErrDisabled} {
			setStatus(t, f.Registry, f.domain, "", status)
			if _, err := f.use(made[1].Token, "csr"); !errors.Is(err, want) {
				t.Errorf("%s: %v", status, err)
			}
			f.refuses(string(status)+" and used", made[0].Token, "", registry.ReasonClaimUsed)
			if status == registry.Frozen {
				if _, err := f.CreateClaims(ctx, "", f.domain, 1, registry.Claim{}); !errors.Is(err, registry.ErrFrozen) {
					t.Errorf("made in a frozen domain: %v", err)
				}
			}
			setStatus(t, f.Registry, f.domain, "", registry.Enabled)
		}

		f.now = made[1].Expires
		f.refuses("ended", made[1].Token, "csr", registry.ReasonClaimExpired)
		for status, want := range map[string]int{"": 2, "open": 0, "used": 1, "expired": 1} {
			if got := must[registry.List[registry.Claim]](t)(f.Claims(ctx, registry.ClaimQuery{Domain: f.domain, Status: status, Limit: 10})); got.Total != want {
				t.Errorf("%q: %d, want %d", status, got.Total, want)
			}
		}
		if err := f.Purge(ctx); err != nil {
			t.Fatal(err)
		}
		f.refuses("ended less than a day ago", made[1].Token, "csr", registry.ReasonClaimExpired)
		f.now = f.now.Add(25 * time.Hour)
		if err := f.Purge(ctx); err != nil {
			t.Fatal(err)
		}
		f.refuses("purged", made[1].Token, "csr", registry.ReasonClaimUnknown)

		last := f.make(1, registry.Claim{Rights: []registry.ClaimRights{{Channel: kept, Rights: registry.Publish}}})
		if err := f.DeleteDomain(ctx, f.domain); err != nil {
			t.Fatal(err)
		}
		f.refuses("of a domain that is gone", last[0].Token, "csr", registry.ReasonClaimUnknown)
	})
}

func TestClaimRules(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		f := newFactory(t, s)
		d := newDevice(t, f.Registry, f.domain)
		right := registry.ClaimRights{Channel: f.channel, Rights: registry.Publish}
		for _, c := range []struct {
			name  string
			n     int
			claim registry.Claim
			field string
		}{
			{"none", 0, registry.Claim{}, "count"},
			{"more than a thousand", 1001, registry.Claim{}, "count"},
			{"an end that is past", 1, registry.Claim{Expires: noon}, "expires_at"},
			{"an end beyond a year", 1, registry.Claim{Expires: noon.Add(registry.MaxClaimLife + time.Second)}, "expires_at"},
			{"no right", 1, registry.Claim{Rights: []registry.ClaimRights{{Channel: f.channel}}}, "types"},
			{"a right that is none", 1, registry.Claim{Rights: []registry.ClaimRights{{Channel: f.channel, Rights: 4}}}, "types"},
			{"a channel twice", 1, registry.Claim{Rights: []registry.ClaimRights{right, right}}, "channels"},
			{"a channel that is no id", 1, registry.Claim{Rights: []registry.ClaimRights{{Channel: "x", Rights: registry.Publish}}}, "channels"},
			{"too many channels", 1, registry.Claim{Rights: make([]registry.ClaimRights, 33)}, "channels"},
			{"a device that is no id", 1, registry.Claim{Device: "x"}, "client_id"},
			{"a device and a name", 1, registry.Claim{Device: d.ID, Name: "x"}, "client_id"},
			{"a device and rights", 1, registry.Claim{Device: d.ID, Rights: []registry.ClaimRights{right}}, "client_id"},
			{"a name too long", 1, registry.Claim{Name: strings.Repeat("x", 255)}, "name"},
			{"an empty tag", 1, registry.Claim{Tags: []string{""}}, "tags"},
			{"metadata too deep for any store", 1, registry.Claim{Metadata: registry.Metadata{"a": "\x00"}}, "metadata"},
		} {
			_, err := f.CreateClaims(t.Context(), "", f.domain, c.n, c.claim)
			var invalid *registry.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != c.field {
				t.Errorf("%s: got %v, want one about %s", c.name, err, c.field)
			}
		}
		away := newDomain(t, f.Registry, "away")
		theirs := newDevice(t, f.Registry, away.ID)
		for name, c := range map[string]registry.Claim{
			"another domain's device":  {Device: theirs.ID},
			"a channel that is not":    {Rights: []registry.ClaimRights{{Channel: registry.ChannelID(theirs.ID), Rights: registry.Publish}}},
			"another domain's channel": {Rights: []registry.ClaimRights{{Channel: must[[]registry.Channel](t)(f.CreateChannels(t.Context(), "", away.ID, []registry.Channel{{}}))[0].ID, Rights: registry.Publish}}},
		} {
			if _, err := f.CreateClaims(t.Context(), "", f.domain, 2, c); !errors.Is(err, registry.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := must[registry.List[registry.Claim]](t)(f.Claims(t.Context(), registry.ClaimQuery{Domain: f.domain, Limit: 1})); got.Total != 0 {
			t.Errorf("a refusal left %d claims", got.Total)
		}
		for _, q := range []registry.ClaimQuery{{Limit: 0}, {Limit: 101}, {Limit: 1, Offset: -1}, {Limit: 1, Status: "good"}} {
			if _, err := f.Claims(t.Context(), q); !errors.As(err, new(*registry.InvalidError)) {
				t.Errorf("%+v: %v", q, err)
			}
		}
		if got := f.make(registry.MaxBulk, registry.Claim{Rights: []registry.ClaimRights{right}}); len(got) != registry.MaxBulk {
			t.Errorf("made %d", len(got))
		}
	})
}

// Of many who show one token at once, one becomes the device.
func TestClaimRace(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		f := newFactory(t, s)
		f.OnChange = nil
		token := f.make(1, registry.Claim{})[0].Token
		var mu sync.Mutex
		won := 0
		var group errgroup.Group
		for i := range 8 {
			group.Go(func() error {
				_, err := f.use(token, fmt.Sprint("csr ", i))
				mu.Lock()
				defer mu.Unlock()
				var refused *registry.ClaimError
				switch {
				case err == nil:
					won++
				case !errors.As(err, &refused) || refused.Reason != registry.ReasonClaimUsed:
					return err
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
		if won != 1 || f.devices() != 1 {
			t.Errorf("%d won, and there are %d devices", won, f.devices())
		}
	})
}

// A meanwhile is a store in which something happens once, right after a claim
// was looked up.
type meanwhile struct {
	registry.Store
	do func()
}

func (m *meanwhile) ClaimByHash(ctx context.Context, hash registry.SecretHash) (registry.Claim, error) {
	c, err := m.Store.ClaimByHash(ctx, hash)
	if do := m.do; do != nil {
		m.do = nil
		do()
	}
	return c, err
}

// Whoever looked a claim up before another used it is late all the same.
func TestClaimUsedMeanwhile(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		f := newFactory(t, s)
		token := f.make(1, registry.Claim{})[0].Token
		f.Store = &meanwhile{s, func() {
			if _, err := f.use(token, "theirs"); err != nil {
				t.Error(err)
			}
		}}
		f.refuses("late", token, "ours", registry.ReasonClaimUsed)
		token = f.make(1, registry.Claim{})[0].Token
		f.Store = &meanwhile{s, func() {
			if err := f.DeleteDomain(t.Context(), f.domain); err != nil {
				t.Error(err)
			}
		}}
		f.refuses("of a domain that went away", token, "ours", registry.ReasonClaimUnknown)
	})
}
