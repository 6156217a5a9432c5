package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

func TestRowsComeBackAsWritten(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		meta := registry.Metadata{"a": []any{"<ü>", true, nil}, "n": map[string]any{"deep": "x"}}
		u := must[registry.User](t)(r.CreateUser(ctx, "", registry.User{
			Username: "Ann", Email: "Ann@Example.com", FirstName: "Änn", Role: registry.Admin,
			Tags: []string{"b", "a", "b"}, Metadata: meta, PasswordHash: "$argon2id$x", ProfilePicture: "https://example.com/p.png",
		}))
		same(t, must[registry.User](t)(s.User(ctx, u.ID)), u)
		same(t, must[registry.User](t)(s.UserByLogin(ctx, "aNN")), u)
		same(t, must[registry.User](t)(s.UserByLogin(ctx, "ann@EXAMPLE.com")), u)

		d := must[registry.Domain](t)(r.CreateDomain(ctx, u.ID, registry.Domain{Name: "Acme, Inc. 42", Tags: []string{"x"}, Metadata: meta}))
		if d.Route != "acme-inc-42" {
			t.Errorf("route made from the name: got %q", d.Route)
		}
		same(t, must[registry.Domain](t)(s.DomainByRef(ctx, d.Route)), d)
		same(t, must[registry.Domain](t)(s.DomainByRef(ctx, string(d.ID))), d)
		if m := must[registry.Membership](t)(s.Membership(ctx, d.ID, u.ID)); m.Role != registry.Owner {
			t.Errorf("the creator is %v, want owner", m.Role)
		}

		made := must[[]registry.NewDevice](t)(r.CreateDevices(ctx, u.ID, d.ID, []registry.NewDevice{{Device: registry.Device{
			Name: "pump", Identity: "SN 1", Status: registry.Disabled, Metadata: meta}}}))[0]
		made.Tags = []string{}
		same(t, must[registry.Device](t)(s.Device(ctx, made.ID)), made.Device)
		found := must[[]registry.DeviceSecret](t)(s.DevicesBySecret(ctx, r.Hasher.Hash(made.Secret)))
		if len(found) != 1 || found[0].Device != made.ID || !found[0].LastUsed.IsZero() || !found[0].Created.Equal(noon) {
			t.Errorf("by secret: got %+v", found)
		}
		if err := s.TouchSecret(ctx, []registry.SecretID{found[0].ID, found[0].ID, "gone"}, noon); err != nil {
			t.Error(err)
		}
		if got := must[[]registry.DeviceSecret](t)(s.DeviceSecrets(ctx, made.ID)); !got[0].LastUsed.Equal(noon) {
			t.Errorf("last used: got %v", got[0].LastUsed)
		}

		c := must[[]registry.Channel](t)(r.CreateChannels(ctx, u.ID, d.ID, []registry.Channel{{Name: "c", Route: "temp", Store: true, Metadata: meta, Tags: []string{"t"}}}))[0]
		same(t, must[registry.Channel](t)(s.ChannelByRef(ctx, d.ID, "temp")), c)
		same(t, must[registry.Channel](t)(s.ChannelByRef(ctx, d.ID, string(c.ID))), c)
		if err := r.Connect(ctx, d.ID, []registry.DeviceID{made.ID}, []registry.ChannelID{c.ID}, registry.Publish); err != nil {
			t.Fatal(err)
		}
		if got := must[registry.Rights](t)(s.Rights(ctx, made.ID, c.ID)); got != registry.Publish {
			t.Errorf("rights: got %v", got.Names())
		}
		if got, err := s.Rights(ctx, made.ID, "none"); got != 0 || err != nil {
			t.Errorf("not connected: got %v, %v; want no rights and no error", got, err)
		}
	})
}

func same[T any](t *testing.T, got, want T) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Errorf("\ngot  %s\nwant %s", g, w)
	}
}

func TestUniqueness(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		d := must[registry.Domain](t)(r.CreateDomain(ctx, "", registry.Domain{Name: "one", Route: "one"}))
		other := must[registry.Domain](t)(r.CreateDomain(ctx, "", registry.Domain{Name: "two"}))
		secret := registry.NewSecret()
		dev := must[[]registry.NewDevice](t)(r.CreateDevices(ctx, "", d.ID, []registry.NewDevice{{Secret: secret}}))[0]
		must[[]registry.Channel](t)(r.CreateChannels(ctx, "", d.ID, []registry.Channel{{Route: "temp"}, {}, {}}))
		must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "ann", Email: "ann@example.com"}))
		must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "no mail"}))
		must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "no mail either"}))

		for _, c := range []struct {
			name, field string
			try         func() error
		}{
			{"a route", "route", func() error {
				_, err := r.CreateDomain(ctx, "", registry.Domain{Name: "x", Route: "one"})
				return err
			}},
			{"an id", "id", func() error {
				_, err := r.CreateDomain(ctx, "", registry.Domain{Name: "x", ID: d.ID})
				return err
			}},
			{"a route that is another domain's id", "route", func() error {
				_, err := r.CreateDomain(ctx, "", registry.Domain{Name: "x", Route: string(d.ID)})
				return err
			}},
			{"an updated route", "route", func() error {
				_, err := r.UpdateDomain(ctx, "", d.ID, func(d *registry.Domain) error { d.Route = other.Route; return nil })
				return err
			}},
			{"a secret in the domain", "secret", func() error {
				_, err := r.CreateDevices(ctx, "", d.ID, []registry.NewDevice{{}, {Secret: secret}})
				return err
			}},
			{"a device id", "id", func() error {
				_, err := r.CreateDevices(ctx, "", d.ID, []registry.NewDevice{{Device: registry.Device{ID: dev.ID}}})
				return err
			}},
			{"a channel route", "route", func() error {
				_, err := r.CreateChannels(ctx, "", d.ID, []registry.Channel{{Route: "new"}, {Route: "temp"}})
				return err
			}},
			{"a username in other case", "username", func() error {
				_, err := r.CreateUser(ctx, "", registry.User{Username: "ANN"})
				return err
			}},
			{"an e-mail in other case", "email", func() error {
				_, err := r.CreateUser(ctx, "", registry.User{Username: "bob", Email: "ANN@example.com"})
				return err
			}},
		} {
			var exists *registry.ExistsError
			if err := c.try(); !errors.As(err, &exists) || exists.Field != c.field || !errors.Is(err, registry.ErrExists) {
				t.Errorf("%s taken: got %v, want ExistsError{%s}", c.name, err, c.field)
			}
		}
		if n := must[registry.List[registry.Device]](t)(r.Devices(ctx, page(registry.Query{Domain: d.ID}))).Total; n != 1 {
			t.Errorf("after refused bulk: %d devices, want 1", n)
		}

		// A secret names one device, whatever the domain.
		if _, err := r.CreateDevices(ctx, "", other.ID, []registry.NewDevice{{Secret: secret}}); !errors.Is(err, registry.ErrExists) {
			t.Errorf("the same secret in another domain: got %v, want exists", err)
		}
		if got := must[[]registry.DeviceSecret](t)(s.DevicesBySecret(ctx, r.Hasher.Hash(secret))); len(got) != 1 {
			t.Errorf("got %d devices by one secret, want 1", len(got))
		}
	})
}

func TestConnectAndDisconnect(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		d := must[registry.Domain](t)(r.CreateDomain(ctx, "", registry.Domain{Name: "one"}))
		other := must[registry.Domain](t)(r.CreateDomain(ctx, "", registry.Domain{Name: "two"}))
		dev := must[[]registry.NewDevice](t)(r.CreateDevices(ctx, "", d.ID, []registry.NewDevice{{}}))[0].ID
		ch := must[[]registry.Channel](t)(r.CreateChannels(ctx, "", d.ID, []registry.Channel{{}}))[0].ID
		foreign := must[[]registry.Channel](t)(r.CreateChannels(ctx, "", other.ID, []registry.Channel{{}}))[0].ID
		rights := func() registry.Rights { return must[registry.Rights](t)(s.Rights(ctx, dev, ch)) }

		devs, chans := []registry.DeviceID{dev}, []registry.ChannelID{ch}
		for _, step := range []struct {
			do   func(context.Context, registry.DomainID, []registry.DeviceID, []registry.ChannelID, registry.Rights) error
			with registry.Rights
			want registry.Rights
		}{
			{r.Connect, registry.Publish, registry.Publish},
			{r.Connect, registry.Publish, registry.Publish},
			{r.Connect, registry.Subscribe, registry.Publish | registry.Subscribe},
			{r.Disconnect, registry.Publish, registry.Subscribe},
			{r.Disconnect, registry.Publish | registry.Subscribe, 0},
			{r.Disconnect, registry.Publish, 0},
		} {
			if err := step.do(ctx, d.ID, devs, chans, step.with); err != nil {
				t.Fatal(err)
			}
			if got := rights(); got != step.want {
				t.Errorf("got %v, want %v", got.Names(), step.want.Names())
			}
		}
		if err := r.Connect(ctx, d.ID, devs, []registry.ChannelID{ch, foreign}, registry.Publish); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("with another domain's channel: got %v, want ErrNotFound", err)
		}
		if rights() != 0 {
			t.Error("a refused connect left a part of it")
		}
		if err := r.Connect(ctx, d.ID, devs, chans, 0); err == nil {
			t.Error("connected with no rights")
		}
		// The database itself refuses a connection across domains.
		err := s.Update(ctx, func(tx registry.Tx) error {
			return tx.AddRights(ctx, registry.Connection{Domain: d.ID, Device: dev, Channel: foreign, Rights: registry.Publish})
		})
		if !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("stored across domains: %v", err)
		}
	})
}

// TestConnectionsBetween answers a page of the matrix: of the named alone, and
// of the domain.
func TestConnectionsBetween(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		d := must[registry.Domain](t)(r.CreateDomain(ctx, "", registry.Domain{Name: "one"}))
		other := must[registry.Domain](t)(r.CreateDomain(ctx, "", registry.Domain{Name: "two"}))
		var devices []registry.DeviceID
		for _, made := range must[[]registry.NewDevice](t)(r.CreateDevices(ctx, "", d.ID, make([]registry.NewDevice, 3))) {
			devices = append(devices, made.ID)
		}
		var channels []registry.ChannelID
		for _, made := range must[[]registry.Channel](t)(r.CreateChannels(ctx, "", d.ID, make([]registry.Channel, 3))) {
			channels = append(channels, made.ID)
		}
		if err := r.Connect(ctx, d.ID, devices, channels, registry.Publish); err != nil {
			t.Fatal(err)
		}
		if err := r.Connect(ctx, d.ID, devices[:1], channels[:1], registry.Subscribe); err != nil {
			t.Fatal(err)
		}
		got := must[[]registry.Connection](t)(r.Between(ctx, d.ID, devices[:2], channels[:1]))
		if len(got) != 2 {
			t.Fatalf("got %+v, want two", got)
		}
		for _, c := range got {
			want := registry.Publish
			if c.Device == devices[0] {
				want |= registry.Subscribe
			}
			if c.Domain != d.ID || c.Channel != channels[0] || c.Rights != want {
				t.Errorf("got %+v", c)
			}
		}
		if got := must[[]registry.Connection](t)(r.Between(ctx, other.ID, devices, channels)); len(got) != 0 {
			t.Errorf("of another domain: %+v", got)
		}
		for _, wrong := range []struct {
			devices  int
			channels int
		}{{0, 1}, {1, 0}, {101, 1}, {1, 101}, {100, 11}} {
			_, err := r.Between(ctx, d.ID, make([]registry.DeviceID, wrong.devices), make([]registry.ChannelID, wrong.channels))
			if !errors.As(err, new(*registry.InvalidError)) {
				t.Errorf("%+v: got %v", wrong, err)
			}
		}
	})
}

// TestSetConnections makes connections be just what is said, all or none.
func TestSetConnections(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		d := must[registry.Domain](t)(r.CreateDomain(ctx, "", registry.Domain{Name: "one"}))
		other := must[registry.Domain](t)(r.CreateDomain(ctx, "", registry.Domain{Name: "two"}))
		device := must[[]registry.NewDevice](t)(r.CreateDevices(ctx, "", d.ID, make([]registry.NewDevice, 1)))[0].ID
		foreign := must[[]registry.NewDevice](t)(r.CreateDevices(ctx, "", other.ID, make([]registry.NewDevice, 1)))[0].ID
		var channels []registry.ChannelID
		for _, made := range must[[]registry.Channel](t)(r.CreateChannels(ctx, "", d.ID, make([]registry.Channel, 4))) {
			channels = append(channels, made.ID)
		}
		both := registry.Publish | registry.Subscribe
		if err := r.Connect(ctx, d.ID, []registry.DeviceID{device}, channels[:3], both); err != nil {
			t.Fatal(err)
		}
		var changed []registry.Change
		r.OnChange = func(_ context.Context, all []registry.Change) { changed = append(changed, all...) }
		if err := r.SetConnections(ctx, d.ID, []registry.Connection{
			{Device: device, Channel: channels[1], Rights: registry.Subscribe},
			{Device: device, Channel: channels[2]},
			{Device: device, Channel: channels[3], Rights: registry.Publish},
		}); err != nil {
			t.Fatal(err)
		}
		if len(changed) != 3 {
			t.Errorf("%d changes were announced, want 3", len(changed))
		}
		rights := func(t *testing.T) (all []registry.Rights) {
			for _, c := range channels {
				all = append(all, must[registry.Rights](t)(s.Rights(ctx, device, c)))
			}
			return all
		}
		want := []registry.Rights{both, registry.Subscribe, 0, registry.Publish}
		same(t, rights(t), want)
		if n := must[registry.List[registry.Connection]](t)(r.Connections(ctx, registry.Query{Domain: d.ID, Limit: 10, Order: registry.ByCreated})).Total; n != 3 {
			t.Errorf("%d connections are left, want 3", n)
		}
		good := registry.Connection{Device: device, Channel: channels[0], Rights: registry.Publish}
		for name, refused := range map[string][]registry.Connection{
			"none":                       {},
			"too many":                   make([]registry.Connection, registry.MaxBulk+1),
			"the same twice":             {good, {Device: device, Channel: channels[0]}},
			"a right that is none":       {good, {Device: device, Channel: channels[1], Rights: 4}},
			"a device of another domain": {good, {Device: foreign, Channel: channels[1]}},
			"no such channel":            {good, {Device: device, Channel: "none"}},
		} {
			if err := r.SetConnections(ctx, d.ID, refused); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
		same(t, rights(t), want)
	})
}

func TestDeleteCascades(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		u := must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "ann"}))
		d := must[registry.Domain](t)(r.CreateDomain(ctx, u.ID, registry.Domain{Name: "one"}))
		devs := must[[]registry.NewDevice](t)(r.CreateDevices(ctx, "", d.ID, []registry.NewDevice{{}, {}}))
		chans := must[[]registry.Channel](t)(r.CreateChannels(ctx, "", d.ID, []registry.Channel{{}, {}}))
		if err := r.Connect(ctx, d.ID, []registry.DeviceID{devs[0].ID, devs[1].ID}, []registry.ChannelID{chans[0].ID, chans[1].ID}, registry.Publish); err != nil {
			t.Fatal(err)
		}
		total := func() int {
			return must[registry.List[registry.Connection]](t)(s.Connections(ctx, page(registry.Query{Domain: d.ID}))).Total
		}
		if err := r.DeleteDevice(ctx, d.ID, devs[0].ID); err != nil {
			t.Fatal(err)
		}
		if n := total(); n != 2 {
			t.Errorf("after the device: %d connections, want 2", n)
		}
		if got := must[[]registry.DeviceSecret](t)(s.DevicesBySecret(ctx, r.Hasher.Hash(devs[0].Secret))); len(got) != 0 {
			t.Error("a deleted device is found by its secret")
		}
		if err := r.DeleteChannel(ctx, d.ID, chans[0].ID); err != nil {
			t.Fatal(err)
		}
		if n := total(); n != 1 {
			t.Errorf("after the channel: %d connections, want 1", n)
		}
		if err := r.DeleteDomain(ctx, d.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Device(ctx, devs[1].ID); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("device of a deleted domain: %v", err)
		}
		if _, err := s.Membership(ctx, d.ID, u.ID); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("membership of a deleted domain: %v", err)
		}
	})
}

func TestMembers(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		ann := must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "ann"}))
		bob := must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "bob"}))
		d := must[registry.Domain](t)(r.CreateDomain(ctx, ann.ID, registry.Domain{Name: "one"}))
		must[registry.Domain](t)(r.CreateDomain(ctx, bob.ID, registry.Domain{Name: "two"}))
		m := registry.Membership{Domain: d.ID, User: bob.ID, Role: registry.Viewer}
		if err := r.AddMember(ctx, m); err != nil {
			t.Fatal(err)
		}
		if err := r.AddMember(ctx, m); !errors.Is(err, registry.ErrExists) {
			t.Errorf("added twice: %v", err)
		}
		if err := r.UpdateMember(ctx, d.ID, bob.ID, func(m *registry.Membership) error { m.Role = registry.Editor; return nil }); err != nil {
			t.Fatal(err)
		}
		got := must[registry.List[registry.Member]](t)(r.Members(ctx, registry.Query{Domain: d.ID, Limit: 10, Order: registry.ByCreated, Descending: true}))
		if got.Total != 2 || got.Items[0].User.Username != "ann" || got.Items[0].Role != registry.Owner ||
			got.Items[1].User.Username != "bob" || got.Items[1].Role != registry.Editor {
			t.Errorf("members: %+v", got)
		}
		if n := must[registry.List[registry.Domain]](t)(r.Domains(ctx, page(registry.Query{User: ann.ID}))).Total; n != 1 {
			t.Errorf("domains of ann: %d, want 1", n)
		}
		if err := r.RemoveMember(ctx, d.ID, bob.ID, nil); err != nil {
			t.Fatal(err)
		}
		if err := r.RemoveMember(ctx, d.ID, bob.ID, nil); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("removed twice: %v", err)
		}
	})
}

func TestRotateSecret(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		now := noon
		r.Now = func() time.Time { return now }
		d := must[registry.Domain](t)(r.CreateDomain(ctx, "", registry.Domain{Name: "one"}))
		dev := must[[]registry.NewDevice](t)(r.CreateDevices(ctx, "", d.ID, []registry.NewDevice{{}}))[0]
		valid := func(x registry.Secret) bool {
			got := must[[]registry.DeviceSecret](t)(s.DevicesBySecret(ctx, r.Hasher.Hash(x)))
			return len(got) == 1 && got[0].Valid(now)
		}
		second := must[registry.NewDevice](t)(r.RotateSecret(ctx, "", d.ID, dev.ID, registry.Secret{}, time.Hour)).Secret
		now = now.Add(time.Minute)
		if !valid(dev.Secret) || !valid(second) {
			t.Error("during the overlap both must be valid")
		}
		now = noon.Add(time.Hour)
		if valid(dev.Secret) || !valid(second) {
			t.Error("after the overlap the new one alone must be valid")
		}
		third := must[registry.NewDevice](t)(r.RotateSecret(ctx, "", d.ID, dev.ID, registry.Secret{}, time.Hour)).Secret
		fourth := must[registry.NewDevice](t)(r.RotateSecret(ctx, "", d.ID, dev.ID, registry.Secret{}, time.Hour)).Secret
		if valid(second) || !valid(third) || !valid(fourth) {
			t.Error("a device may hold two live secrets, never three")
		}
		fifth := must[registry.NewDevice](t)(r.RotateSecret(ctx, "", d.ID, dev.ID, registry.SecretOf("brought-by-caller-1"), 0)).Secret
		if valid(third) || valid(fourth) || !valid(fifth) {
			t.Error("without overlap the old ones must end at once")
		}
		for _, bad := range []registry.Secret{registry.SecretOf("short"), registry.SecretOf("has a space in it so no")} {
			if _, err := r.RotateSecret(ctx, "", d.ID, dev.ID, bad, 0); err == nil {
				t.Error("took a bad secret")
			}
		}
	})
}
