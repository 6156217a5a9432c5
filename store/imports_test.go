package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// imported returns an authority for a domain; nobody looks at its certificate
// here.
func imported(id string, source registry.NameSource) registry.ImportedAuthority {
	return registry.ImportedAuthority{ID: registry.AuthorityID(id), Name: id, DER: []byte(id), KeyHash: "key of " + id, Source: source}
}

// vouching imports an authority and lets it vouch.
func vouching(t *testing.T, r *registry.Registry, domain registry.DomainID, a registry.ImportedAuthority) registry.ImportedAuthority {
	t.Helper()
	must[registry.ImportedAuthority](t)(r.ImportAuthority(t.Context(), "u", domain, a))
	return must[registry.ImportedAuthority](t)(r.ProveAuthority(t.Context(), "u", domain, a.ID, func(registry.ImportedAuthority) error { return nil }))
}

func TestImportedAuthorities(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		var told []registry.Change
		r.OnChange = func(_ context.Context, changes []registry.Change) { told = append(told, changes...) }
		home, away := newDomain(t, r, "home"), newDomain(t, r, "away")
		ch := must[[]registry.Channel](t)(r.CreateChannels(ctx, "", home.ID, []registry.Channel{{Name: "c"}}))[0]
		want := imported("a", registry.NameCommon)
		want.LongestLife, want.ListURL, want.StaleList = 90*time.Minute, "http://example.com/a.crl", registry.StaleWarn
		want.Arrival = registry.Arrival{Register: true, Approve: "pump-*", Tags: []string{"x"}, Grants: []registry.ChannelGrant{{Channel: ch.ID, Rights: registry.Publish}}}
		a := must[registry.ImportedAuthority](t)(r.ImportAuthority(ctx, "u", home.ID, want))
		if a.Status != registry.ImportUnproved || len(a.Nonce) < 50 || a.Arrival.MaxPending != 1000 || a.Vouches() {
			t.Errorf("imported: %+v", a)
		}
		same(t, must[registry.ImportedAuthority](t)(r.ImportedAuthority(ctx, home.ID, "a")), a)
		if all := must[[]registry.ImportedAuthority](t)(s.ImportedAuthorities(ctx, "")); len(all) != 0 {
			t.Errorf("an unproved one vouches: %+v", all)
		}

		// Who is unproved claims nothing, and the first that proves it has it.
		other := imported("a", registry.NameID)
		must[registry.ImportedAuthority](t)(r.ImportAuthority(ctx, "u", away.ID, other))
		failed := errors.New("no proof")
		if _, err := r.ProveAuthority(ctx, "u", home.ID, "a", func(registry.ImportedAuthority) error { return failed }); !errors.Is(err, failed) {
			t.Errorf("without proof: %v", err)
		}
		told = nil
		proved := must[registry.ImportedAuthority](t)(r.ProveAuthority(ctx, "p", home.ID, "a", func(got registry.ImportedAuthority) error { same(t, got, a); return nil }))
		if !proved.Vouches() || !proved.ProvedAt.Equal(noon) || proved.UpdatedBy != "p" || len(told) != 1 || told[0] != (registry.Change{Domain: home.ID, Authority: "a"}) {
			t.Errorf("proved: %+v, told %+v", proved, told)
		}
		same(t, must[[]registry.ImportedAuthority](t)(s.ImportedAuthorities(ctx, "")), []registry.ImportedAuthority{proved})
		exists := func(what string, err error) {
			t.Helper()
			var e *registry.ExistsError
			if !errors.As(err, &e) || e.Field != "authority" {
				t.Errorf("%s: %v", what, err)
			}
		}
		_, err := r.ProveAuthority(ctx, "u", away.ID, "a", func(registry.ImportedAuthority) error { return nil })
		exists("proved in two domains", err)
		_, err = r.OverrideProof(ctx, "u", away.ID, "a", "I know it")
		exists("overridden in two domains", err)
		again := imported("a2", registry.NameID)
		again.KeyHash = a.KeyHash
		_, err = r.ImportAuthority(ctx, "u", away.ID, again)
		exists("another certificate of a key that vouches", err)
		// The database decides too.
		err = s.Update(ctx, func(tx registry.Tx) error {
			x, err := tx.ImportedAuthority(ctx, away.ID, "a")
			if err != nil {
				return err
			}
			x.Status = registry.ImportEnabled
			return tx.UpdateImported(ctx, x)
		})
		exists("the index", err)
		_, err = r.ImportAuthority(ctx, "u", home.ID, imported("a", registry.NameID))
		if !errors.Is(err, registry.ErrExists) {
			t.Errorf("imported twice: %v", err)
		}

		// Switching, and what is not there.
		off := must[registry.ImportedAuthority](t)(r.DisableAuthority(ctx, "u", home.ID, "a"))
		if off.Vouches() || len(must[[]registry.ImportedAuthority](t)(s.ImportedAuthorities(ctx, ""))) != 0 {
			t.Errorf("disabled: %+v", off)
		}
		_, err = r.ProveAuthority(ctx, "u", away.ID, "a", func(registry.ImportedAuthority) error { return nil })
		exists("the key of one that is disabled", err)
		if on := must[registry.ImportedAuthority](t)(r.EnableAuthority(ctx, "u", home.ID, "a")); !on.Vouches() {
			t.Errorf("enabled: %+v", on)
		}
		for name, do := range map[string]func() error{
			"enable unproved":  func() error { _, err := r.EnableAuthority(ctx, "u", away.ID, "a"); return err },
			"disable unproved": func() error { _, err := r.DisableAuthority(ctx, "u", away.ID, "a"); return err },
			"prove again":      func() error { _, err := r.ProveAuthority(ctx, "u", home.ID, "a", nil); return err },
			"override again":   func() error { _, err := r.OverrideProof(ctx, "u", home.ID, "a", "why not"); return err },
			"override mutely":  func() error { _, err := r.OverrideProof(ctx, "u", away.ID, "a", " "); return err },
		} {
			var invalid *registry.InvalidError
			if err := do(); !errors.As(err, &invalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		edited := must[registry.ImportedAuthority](t)(r.UpdateImported(ctx, "e", home.ID, "a", func(a *registry.ImportedAuthority) error {
			a.Name, a.LongestLife, a.Arrival, a.Source, a.Status = "new", 0, registry.Arrival{}, registry.NameID, registry.ImportUnproved
			return nil
		}))
		if edited.Name != "new" || edited.Source != registry.NameCommon || !edited.Vouches() || edited.Arrival.Register {
			t.Errorf("edited: %+v", edited)
		}
		same(t, must[registry.ImportedAuthority](t)(r.ImportedAuthority(ctx, home.ID, "a")), edited)
		if err := r.DeleteImported(ctx, home.ID, "b"); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("deleted what is not there: %v", err)
		}
		told = nil
		if err := r.DeleteImported(ctx, home.ID, "a"); err != nil || len(told) != 1 {
			t.Errorf("deleted: %v, told %+v", err, told)
		}
		overridden := must[registry.ImportedAuthority](t)(r.OverrideProof(ctx, "boss", away.ID, "a", "bought with the plant"))
		if !overridden.Vouches() || overridden.OverrideBy != "boss" || overridden.OverrideWhy != "bought with the plant" || !overridden.ProvedAt.IsZero() {
			t.Errorf("overridden: %+v", overridden)
		}
		// A domain takes all with it.
		if err := r.DeleteDomain(ctx, away.ID); err != nil {
			t.Fatal(err)
		}
		if all := must[[]registry.ImportedAuthority](t)(s.ImportedAuthorities(ctx, "")); len(all) != 0 {
			t.Errorf("left behind: %+v", all)
		}
	})
}

func TestImportRefusals(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		home, away := newDomain(t, r, "home"), newDomain(t, r, "away")
		theirs := must[[]registry.Channel](t)(r.CreateChannels(ctx, "", away.ID, []registry.Channel{{Name: "c"}}))[0]
		factory := func(edit func(*registry.Arrival)) func(*registry.ImportedAuthority) {
			return func(a *registry.ImportedAuthority) { a.Arrival.Register = true; edit(&a.Arrival) }
		}
		for _, c := range []struct {
			name, field string
			edit        func(*registry.ImportedAuthority)
		}{
			{"refuses one without a name", "name", func(a *registry.ImportedAuthority) { a.Name = " " }},
			{"refuses an unknown source", "source", func(a *registry.ImportedAuthority) { a.Source = "dn" }},
			{"refuses an unknown policy", "stale_list", func(a *registry.ImportedAuthority) { a.StaleList = "shrug" }},
			{"refuses a negative life", "longest_life", func(a *registry.ImportedAuthority) { a.LongestLife = -1 }},
			{"refuses an empty certificate", "certificate", func(a *registry.ImportedAuthority) { a.DER = nil }},
			{"refuses a huge certificate", "certificate", func(a *registry.ImportedAuthority) { a.DER = make([]byte, 1<<20) }},
			{"refuses a list in a file", "crl_url", func(a *registry.ImportedAuthority) { a.ListURL = "file:///etc/passwd" }},
			{"refuses a password in a URL", "crl_url", func(a *registry.ImportedAuthority) { a.ListURL = "http://u:p@example.com/" }},
			{"refuses a relative URL", "crl_url", func(a *registry.ImportedAuthority) { a.ListURL = "/a.crl" }},
			{"refuses a long URL", "crl_url", func(a *registry.ImportedAuthority) { a.ListURL = "http://e/" + strings.Repeat("x", 2048) }},
			{"refuses a rule without registering", "register", func(a *registry.ImportedAuthority) { a.Arrival.Approve = "*" }},
			{"refuses registering where names lead to devices", "register", func(a *registry.ImportedAuthority) { a.Source, a.Arrival.Register = registry.NameID, true }},
			{"refuses too many waiting", "max_pending", factory(func(v *registry.Arrival) { v.MaxPending = 1 << 20 })},
			{"refuses a broken pattern", "approve", factory(func(v *registry.Arrival) { v.Approve = "[" })},
			{"refuses tags for nobody", "approve", factory(func(v *registry.Arrival) { v.Tags = []string{"x"} })},
			{"refuses an empty tag", "tags", factory(func(v *registry.Arrival) { v.Approve, v.Tags = "*", []string{""} })},
			{"refuses a grant of nothing", "types", factory(func(v *registry.Arrival) {
				v.Approve, v.Grants = "*", []registry.ChannelGrant{{Channel: theirs.ID}}
			})},
			{"refuses channels of another domain", "channels", factory(func(v *registry.Arrival) {
				v.Approve, v.Grants = "*", []registry.ChannelGrant{{Channel: theirs.ID, Rights: registry.Publish}}
			})},
			{"refuses channels that are not there", "channels", factory(func(v *registry.Arrival) {
				v.Approve, v.Grants = "*", []registry.ChannelGrant{{Channel: "none", Rights: registry.Publish}}
			})},
			{"refuses too many channels", "channels", factory(func(v *registry.Arrival) { v.Approve, v.Grants = "*", make([]registry.ChannelGrant, 33) })},
		} {
			a := imported("a", registry.NameCommon)
			c.edit(&a)
			_, err := r.ImportAuthority(ctx, "u", home.ID, a)
			var invalid *registry.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != c.field {
				t.Errorf("it %s: got %v", c.name, err)
			}
		}
		for i := range registry.MaxImported {
			must[registry.ImportedAuthority](t)(r.ImportAuthority(ctx, "u", home.ID, imported(fmt.Sprint(i), registry.NameID)))
		}
		var invalid *registry.InvalidError
		if _, err := r.ImportAuthority(ctx, "u", home.ID, imported("more", registry.NameID)); !errors.As(err, &invalid) {
			t.Errorf("more than %d: %v", registry.MaxImported, err)
		}
	})
}

func TestPrincipals(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		var told []registry.Change
		r.OnChange = func(_ context.Context, changes []registry.Change) { told = append(told, changes...) }
		home, away := newDomain(t, r, "home"), newDomain(t, r, "away")
		d, other, theirs := newDevice(t, r, home.ID), newDevice(t, r, home.ID), newDevice(t, r, away.ID)
		vouching(t, r, home.ID, imported("a", registry.NameID))
		vouching(t, r, home.ID, imported("b", registry.NameID))
		free := vouching(t, r, home.ID, imported("f", registry.NameCommon))
		must[registry.ImportedAuthority](t)(r.ImportAuthority(ctx, "", home.ID, imported("u", registry.NameID)))
		vouching(t, r, home.ID, imported("off", registry.NameID))
		must[registry.ImportedAuthority](t)(r.DisableAuthority(ctx, "", home.ID, "off"))

		for _, c := range []struct {
			name      string
			domain    registry.DomainID
			authority registry.AuthorityID
			device    registry.DeviceID
			want      registry.Reason
		}{
			{"adopts a device of the domain", home.ID, "a", d.ID, ""},
			{"finds it adopted", home.ID, "a", d.ID, ""},
			{"refuses what another authority has", home.ID, "b", d.ID, registry.ReasonForeignAuthority},
			{"refuses a device of another domain", home.ID, "a", theirs.ID, registry.ReasonForeignDomain},
			{"refuses the authority of another domain", away.ID, "a", theirs.ID, registry.ReasonCertificateUntrusted},
			{"refuses an unproved authority", home.ID, "u", other.ID, registry.ReasonCertificateUntrusted},
			{"refuses a disabled authority", home.ID, "off", other.ID, registry.ReasonCertificateUntrusted},
			{"refuses an authority that is gone", home.ID, "none", other.ID, registry.ReasonCertificateUntrusted},
			{"refuses a domain that is gone", "none", "a", other.ID, registry.ReasonDomainUnknown},
		} {
			if got, err := r.Adopt(ctx, c.domain, c.authority, c.device); err != nil || got != c.want {
				t.Errorf("it %s: got %q, %v, want %q", c.name, got, err, c.want)
			}
		}
		// A person may say that a second authority means it too.
		must[registry.Principal](t)(r.Bind(ctx, home.ID, "b", "", d.ID))
		if got, err := r.Adopt(ctx, home.ID, "b", d.ID); err != nil || got != "" {
			t.Errorf("bound and then refused: %q, %v", got, err)
		}
		p := must[registry.Principal](t)(r.Bind(ctx, home.ID, "f", "pump 7", d.ID))
		same(t, must[registry.Principal](t)(r.Principal(ctx, "f", "pump 7")), p)
		list := must[registry.List[registry.Principal]](t)(r.Principals(ctx, home.ID, "f", registry.Query{Limit: 10}))
		same(t, list, registry.List[registry.Principal]{Total: 1, Items: []registry.Principal{p}})
		for name, c := range map[string]struct {
			domain    registry.DomainID
			authority registry.AuthorityID
			text      string
			device    registry.DeviceID
			want      string
		}{
			"a name twice":             {home.ID, "f", "pump 7", other.ID, "name already exists"},
			"a foreign device":         {home.ID, "f", "x", theirs.ID, "not found"},
			"a foreign authority":      {away.ID, "f", "x", theirs.ID, "not found"},
			"an unproved authority":    {home.ID, "u", "", other.ID, "authority is not proved; prove it first"},
			"no name":                  {home.ID, "f", "", other.ID, "name must not be empty"},
			"the nonce":                {home.ID, "f", free.Nonce, other.ID, "name is the nonce of the proof, which names no device"},
			"a name beside the device": {home.ID, "a", "x", other.ID, "name must be the client's id, or be left out: certificates of this authority lead to a client by themselves"},
		} {
			if _, err := r.Bind(ctx, c.domain, c.authority, c.text, c.device); err == nil || err.Error() != c.want {
				t.Errorf("bound %s: %v", name, err)
			}
		}
		if err := r.Unbind(ctx, away.ID, "f", "pump 7"); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("unbound from another domain: %v", err)
		}
		told = nil
		if err := r.Unbind(ctx, home.ID, "f", "pump 7"); err != nil || len(told) != 1 || told[0] != (registry.Change{Domain: home.ID, Device: d.ID, Authority: "f"}) {
			t.Errorf("unbound: %v, told %+v", err, told)
		}
		if _, err := r.Principal(ctx, "f", "pump 7"); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("still bound: %v", err)
		}
		// With the device goes what it was called.
		if err := r.DeleteDevice(ctx, home.ID, d.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Principal(ctx, "a", string(d.ID)); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("left behind: %v", err)
		}
		for status, want := range map[registry.Status]registry.Reason{registry.Frozen: registry.ReasonDomainFrozen, registry.Disabled: registry.ReasonDomainDisabled} {
			must[registry.Domain](t)(r.UpdateDomain(ctx, "", home.ID, func(d *registry.Domain) error { d.Status = status; return nil }))
			if got, err := r.Adopt(ctx, home.ID, "a", other.ID); err != nil || got != want {
				t.Errorf("in a domain that is %s: %q, %v", status, got, err)
			}
		}
	})
}

func TestArrival(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		home := newDomain(t, r, "home")
		ch := must[[]registry.Channel](t)(r.CreateChannels(ctx, "", home.ID, []registry.Channel{{Name: "c"}, {Name: "short-lived"}}))
		grants := []registry.ChannelGrant{{Channel: ch[0].ID, Rights: registry.Publish}, {Channel: ch[1].ID, Rights: registry.Publish}}
		a := imported("a", registry.NameCommon)
		a.Arrival = registry.Arrival{Register: true, MaxPending: 2, Approve: "pump-*", Tags: []string{"new"}, Grants: grants}
		a = vouching(t, r, home.ID, a)
		b := imported("b", registry.NameCommon)
		b.Arrival.Register = true
		vouching(t, r, home.ID, b)
		vouching(t, r, home.ID, imported("closed", registry.NameCommon))
		arrive := func(authority registry.AuthorityID, name string) registry.DeviceID {
			t.Helper()
			id, refused, err := r.Arrive(ctx, home.ID, authority, name)
			if err != nil || refused != "" {
				t.Fatalf("%s of %s: %q, %v", name, authority, refused, err)
			}
			return id
		}
		refused := func(authority registry.AuthorityID, name string, want registry.Reason) {
			t.Helper()
			if id, got, err := r.Arrive(ctx, home.ID, authority, name); err != nil || got != want || id != "" {
				t.Errorf("%q of %s: %q, %q, %v, want %q", name, authority, id, got, err, want)
			}
		}
		first := arrive("a", "valve-1")
		d := must[registry.Device](t)(r.Device(ctx, home.ID, first))
		if d.Status != registry.Pending || d.Name != "valve-1" || d.Identity != "valve-1" || len(must[[]registry.DeviceSecret](t)(s.DeviceSecrets(ctx, first))) != 0 {
			t.Errorf("arrived: %+v", d)
		}
		if again := arrive("a", "valve-1"); again != first {
			t.Errorf("two devices of one name")
		}
		if twin := arrive("b", "valve-1"); twin == first {
			t.Error("two authorities with one name share a device")
		}
		second := arrive("a", "valve-2")
		refused("a", "valve-3", registry.ReasonTooManyPending)
		refused("closed", "valve-1", registry.ReasonUnknownCertificate)
		refused("a", a.Nonce, registry.ReasonUnknownCertificate)
		refused("a", "", registry.ReasonUnknownCertificate)
		refused("a", "line\nbreak", registry.ReasonUnknownCertificate)
		refused("a", strings.Repeat("x", 300), registry.ReasonUnknownCertificate)
		// Whoever is approved makes room for the next.
		must[registry.Device](t)(r.UpdateDevice(ctx, "u", home.ID, second, func(d *registry.Device) error { d.Status = registry.Enabled; return nil }))
		arrive("a", "valve-3")

		// The rule is for those that match, though the room is full, and what
		// went since is left out.
		if err := r.DeleteChannel(ctx, home.ID, ch[1].ID); err != nil {
			t.Fatal(err)
		}
		pump := must[registry.Device](t)(r.Device(ctx, home.ID, arrive("a", "pump-1")))
		if pump.Status != registry.Enabled || len(pump.Tags) != 1 || pump.Tags[0] != "new" {
			t.Errorf("by the rule: %+v", pump)
		}
		if got := must[registry.Rights](t)(s.Rights(ctx, pump.ID, ch[0].ID)); got != registry.Publish {
			t.Errorf("by the rule: rights %v", got.Names())
		}
		must[registry.Domain](t)(r.UpdateDomain(ctx, "", home.ID, func(d *registry.Domain) error { d.Status = registry.Frozen; return nil }))
		refused("a", "pump-2", registry.ReasonDomainFrozen)
	})
}

// TestArrivalIsOne: nodes that hear the same name at once make one device.
func TestArrivalIsOne(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		r := newRegistry(t, s)
		home := newDomain(t, r, "home")
		a := imported("a", registry.NameCommon)
		a.Arrival = registry.Arrival{Register: true, MaxPending: 3}
		vouching(t, r, home.ID, a)
		var nodes errgroup.Group
		ids := make([]registry.DeviceID, 8)
		for i := range ids {
			nodes.Go(func() (err error) {
				ids[i], _, err = r.Arrive(t.Context(), home.ID, "a", "one")
				return err
			})
		}
		if err := nodes.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if id == "" || id != ids[0] {
				t.Fatalf("one name, devices %v", ids)
			}
		}
		made := 0
		for range 8 {
			nodes.Go(func() error { _, _, err := r.Arrive(t.Context(), home.ID, "a", uuid.NewString()); return err })
		}
		if err := nodes.Wait(); err != nil {
			t.Fatal(err)
		}
		if made = must[registry.List[registry.Device]](t)(r.Devices(t.Context(), registry.Query{Domain: home.ID, Status: registry.Pending, Limit: 10, Order: registry.ByCreated})).Total; made != 3 {
			t.Errorf("%d devices wait, want 3", made)
		}
	})
}

func TestForeignLists(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		var told []registry.Change
		r.OnChange = func(_ context.Context, changes []registry.Change) { told = append(told, changes...) }
		home, away := newDomain(t, r, "home"), newDomain(t, r, "away")
		vouching(t, r, home.ID, imported("a", registry.NameID))
		vouching(t, r, home.ID, imported("b", registry.NameID))
		must[registry.ImportedAuthority](t)(r.ImportAuthority(ctx, "", home.ID, imported("u", registry.NameID)))
		list := func(authority registry.AuthorityID, number string, at time.Time, lines int) registry.ForeignList {
			return registry.ForeignList{Authority: authority, Number: number, ThisUpdate: at, NextUpdate: at.Add(time.Hour), Lines: lines, DER: []byte(number + at.String())}
		}
		if _, err := r.ForeignList(ctx, home.ID, "a"); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("before the first: %v", err)
		}
		told = nil
		l := must[registry.ForeignList](t)(r.PutForeignList(ctx, home.ID, list("a", "9", noon, 3)))
		same(t, must[registry.ForeignList](t)(s.ForeignList(ctx, "a")), l)
		if len(told) != 1 || told[0] != (registry.Change{Domain: home.ID, Authority: "a"}) {
			t.Errorf("told %+v", told)
		}
		told = nil
		r.Now = func() time.Time { return noon.Add(time.Minute) }
		must[registry.ForeignList](t)(r.PutForeignList(ctx, home.ID, list("a", "9", noon, 3)))
		head := must[registry.ForeignList](t)(r.ForeignList(ctx, home.ID, "a"))
		if len(told) != 0 || !head.FetchedAt.Equal(noon.Add(time.Minute)) || head.DER != nil {
			t.Errorf("the same again: told %+v, %+v", told, head)
		}
		if _, err := r.ForeignList(ctx, away.ID, "a"); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("in another domain: %v", err)
		}
		for name, l := range map[string]registry.ForeignList{
			"older":                  list("a", "10", noon.Add(-time.Second), 1),
			"of a number before":     list("a", "8", noon, 1),
			"of an unproved one":     list("u", "1", noon, 1),
			"longer than any may be": list("b", "1", noon, registry.MaxListLines+1),
		} {
			var invalid *registry.InvalidError
			if _, err := r.PutForeignList(ctx, home.ID, l); !errors.As(err, &invalid) {
				t.Errorf("a list %s: %v", name, err)
			}
		}
		if _, err := r.PutForeignList(ctx, home.ID, list("none", "1", noon, 1)); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("of nobody: %v", err)
		}
		must[registry.ForeignList](t)(r.PutForeignList(ctx, home.ID, list("a", "10", noon, registry.MaxListLines)))
		must[registry.ForeignList](t)(r.PutForeignList(ctx, home.ID, list("b", "1", noon, registry.MaxListLines)))
		vouching(t, r, home.ID, imported("c", registry.NameID))
		var invalid *registry.InvalidError
		if _, err := r.PutForeignList(ctx, home.ID, list("c", "1", noon, 1)); !errors.As(err, &invalid) {
			t.Errorf("beyond all lists together: %v", err)
		}
		must[registry.ForeignList](t)(r.PutForeignList(ctx, home.ID, list("b", "2", noon, 1))) // its own lines do not count twice
		if heads := must[[]registry.ForeignList](t)(s.ForeignLists(ctx)); len(heads) != 2 {
			t.Errorf("lists %+v", heads)
		}
		if err := r.DeleteImported(ctx, home.ID, "a"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ForeignList(ctx, "a"); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("left behind: %v", err)
		}
	})
}

func TestForeignListIsDue(t *testing.T) {
	t.Parallel()
	l := registry.ForeignList{ThisUpdate: noon, NextUpdate: noon.Add(10 * time.Hour), FetchedAt: noon}
	short := registry.ForeignList{ThisUpdate: noon, NextUpdate: noon.Add(20 * time.Minute), FetchedAt: noon}
	again := short
	again.FetchedAt = noon.Add(12 * time.Minute)
	for _, c := range []struct {
		name  string
		l     registry.ForeignList
		after time.Duration
		want  bool
	}{
		{"waits within the hour", l, 59 * time.Minute, false},
		{"asks after an hour", l, time.Hour, true},
		{"waits in the first half of its life", short, 9 * time.Minute, false},
		{"asks at half its life", short, 10 * time.Minute, true},
		{"does not hurry when the next is late", again, 13 * time.Minute, false},
		{"asks again for one that is late", again, 17 * time.Minute, true},
		{"asks for the first", registry.ForeignList{}, 0, true},
	} {
		if got := c.l.Due(noon.Add(c.after)); got != c.want {
			t.Errorf("it %s: got %v", c.name, got)
		}
	}
}
