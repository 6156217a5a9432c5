package store_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
	"github.com/postern-io/postern/store/postgrestest"
)

var postgres postgrestest.Server

func TestMain(m *testing.M) {
	code := m.Run()
	if err := postgres.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// everywhere tells a story on each kind of database.
func everywhere(t *testing.T, story func(t *testing.T, s *store.Store)) {
	t.Parallel()
	for _, kind := range []struct {
		name string
		url  func(t *testing.T) string
	}{
		{"SQLite in memory", func(*testing.T) string { return "sqlite::memory:" }},
		{"SQLite file", func(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "new", "p o%#.db") }},
		{"PostgreSQL", func(t *testing.T) string { return postgres.URL(t) }},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			s, err := store.Open(t.Context(), kind.url(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			story(t, s)
		})
	}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newRegistry(t *testing.T, s registry.Store) *registry.Registry {
	t.Helper()
	h, err := registry.NewSecretHasher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return &registry.Registry{Store: s, Hasher: h, Now: func() time.Time { return noon }, NewID: uuid.NewString}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestReady(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		if err := s.Ready(t.Context()); err != nil {
			t.Errorf("open: got %v", err)
		}
		s.Close()
		if err := s.Ready(t.Context()); !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("closed: got %v, want ErrUnavailable", err)
		}
		if _, err := s.Device(t.Context(), "x"); !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("read when closed: got %v, want ErrUnavailable", err)
		}
		if err := s.Update(t.Context(), func(registry.Tx) error { return nil }); !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("update when closed: got %v, want ErrUnavailable", err)
		}
	})
}

func TestCancelledIsUnavailable(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Device(ctx, "x"); !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable and never ErrNotFound", err)
		}
	})
}

func TestOpenRefusals(t *testing.T) {
	t.Parallel()
	if _, err := store.Open(t.Context(), "postgres://postgres@127.0.0.1:1/none?sslmode=disable&connect_timeout=2"); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("nobody listening: got %v, want ErrUnavailable", err)
	}
	for _, url := range []string{"", "sqlite:///tmp/a?b"} {
		if _, err := store.Open(t.Context(), url); err == nil {
			t.Errorf("opened %q", url)
		}
	}
}

func TestOpenTwiceKeepsEverything(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		url    string
		atOnce int // a SQLite file is opened by one server after the other
	}{
		"SQLite":     {filepath.Join(t.TempDir(), "postern.db"), 1},
		"PostgreSQL": {postgres.URL(t), 3},
	} {
		t.Run(name, func(t *testing.T) {
			var stores [3]*store.Store
			var nodes errgroup.Group
			nodes.SetLimit(c.atOnce)
			for i := range stores {
				nodes.Go(func() (err error) {
					if stores[i], err = store.Open(t.Context(), c.url); err != nil {
						return err
					}
					t.Cleanup(func() { stores[i].Close() })
					return nil
				})
			}
			if err := nodes.Wait(); err != nil {
				t.Fatal(err)
			}
			d := must[registry.Domain](t)(newRegistry(t, stores[0]).CreateDomain(t.Context(), "", registry.Domain{Name: "Acme"}))
			got := must[registry.Domain](t)(stores[2].Domain(t.Context(), d.ID))
			if got.Name != d.Name || !got.CreatedAt.Equal(d.CreatedAt) || got.Tags == nil {
				t.Errorf("got %+v, want %+v", got, d)
			}
		})
	}
}

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

		// Across domains equal secrets are allowed; both are found.
		must[[]registry.NewDevice](t)(r.CreateDevices(ctx, "", other.ID, []registry.NewDevice{{Secret: secret}}))
		if got := must[[]registry.DeviceSecret](t)(s.DevicesBySecret(ctx, r.Hasher.Hash(secret))); len(got) != 2 {
			t.Errorf("got %d devices by a secret of two, want 2", len(got))
		}
	})
}

func page(q registry.Query) registry.Query {
	if q.Limit == 0 {
		q.Limit = registry.MaxPage
	}
	if q.Order == "" {
		q.Order = registry.ByName
	}
	return q
}

func TestLists(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		d := must[registry.Domain](t)(r.CreateDomain(ctx, "", registry.Domain{Name: "one"}))
		other := must[registry.Domain](t)(r.CreateDomain(ctx, "", registry.Domain{Name: "two"}))
		dev := func(name string, status registry.Status, meta registry.Metadata, tags ...string) registry.NewDevice {
			return registry.NewDevice{Device: registry.Device{Name: name, Status: status, Metadata: meta, Tags: tags}}
		}
		made := must[[]registry.NewDevice](t)(r.CreateDevices(ctx, "", d.ID, []registry.NewDevice{
			dev("a Pump", "", registry.Metadata{"site": map[string]any{"n": 1.0, "z": "x"}, "k": []any{"v", "w"}}, `q"t`, "wet"),
			dev("b pump_2", "", registry.Metadata{"site": map[string]any{"n": 2.0}}, "wet"),
			dev("c valve", registry.Disabled, nil, "we"),
			dev("d ÄRGER", "", registry.Metadata{"wet": "n"}),
		}))
		must[[]registry.NewDevice](t)(r.CreateDevices(ctx, "", other.ID, []registry.NewDevice{dev("a pump", "", nil, "wet")}))
		ch := must[[]registry.Channel](t)(r.CreateChannels(ctx, "", d.ID, []registry.Channel{{Name: "x"}, {Name: "y"}}))
		if err := r.Connect(ctx, d.ID, []registry.DeviceID{made[0].ID, made[1].ID}, []registry.ChannelID{ch[0].ID}, registry.Publish); err != nil {
			t.Fatal(err)
		}
		if err := r.Connect(ctx, d.ID, []registry.DeviceID{made[1].ID}, []registry.ChannelID{ch[0].ID, ch[1].ID}, registry.Subscribe); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name string
			q    registry.Query
			want string
		}{
			{"all of the domain", registry.Query{}, "abcd"},
			{"backwards", registry.Query{Descending: true}, "dcba"},
			{"by status", registry.Query{Status: registry.Disabled}, "c"},
			{"by part of the name in other case", registry.Query{Name: "PUMP"}, "ab"},
			{"by name with a wildcard in it", registry.Query{Name: "p_2"}, "b"},
			{"by name beyond ASCII", registry.Query{Name: "ärger"}, "d"},
			{"by id", registry.Query{ID: string(made[2].ID)}, "c"},
			{"by tag, whole", registry.Query{Tag: "wet"}, "ab"},
			{"by tag with a quote", registry.Query{Tag: `q"t`}, "a"},
			{"by nested metadata", registry.Query{Metadata: registry.Metadata{"site": map[string]any{"n": 2.0}}}, "b"},
			{"by metadata in a list", registry.Query{Metadata: registry.Metadata{"k": []any{"w"}}}, "a"},
			{"by metadata that nobody has", registry.Query{Metadata: registry.Metadata{"n": "wet"}}, ""},
			{"by channel", registry.Query{Channel: ch[0].ID}, "ab"},
			{"by channel and right", registry.Query{Channel: ch[0].ID, Rights: registry.Subscribe}, "b"},
			{"by both rights", registry.Query{Rights: registry.Publish | registry.Subscribe}, "b"},
			{"a page", registry.Query{Limit: 2, Offset: 1}, "bc"},
			{"beyond the end", registry.Query{Offset: 9}, ""},
		} {
			c.q.Domain = d.ID
			got := must[registry.List[registry.Device]](t)(r.Devices(ctx, page(c.q)))
			names := ""
			for _, d := range got.Items {
				names += d.Name[:1]
			}
			if names != c.want {
				t.Errorf("%s: got %q, want %q", c.name, names, c.want)
			}
			if c.q.Limit == 0 && c.q.Offset == 0 && got.Total != len(c.want) || c.q.Offset > 0 && got.Total != 4 {
				t.Errorf("%s: total %d", c.name, got.Total)
			}
		}
		got := must[registry.List[registry.Channel]](t)(r.Channels(ctx, page(registry.Query{Domain: d.ID, Device: made[0].ID})))
		if got.Total != 1 || got.Items[0].Name != "x" {
			t.Errorf("channels by client: got %+v", got)
		}
		conns := must[registry.List[registry.Connection]](t)(r.Connections(ctx, page(registry.Query{Domain: d.ID, Device: made[1].ID})))
		if conns.Total != 2 {
			t.Errorf("connections: got %+v", conns)
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

func TestSessions(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		u := must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "ann"}))
		session := func(id string) registry.UserSession {
			return registry.UserSession{ID: registry.SessionID(id), User: u.ID, Provider: "local", Kind: "api", IP: "::1",
				UserAgent: "test", CreatedAt: noon, LastSeen: noon, Expires: noon.Add(time.Hour)}
		}
		for _, id := range []string{"a", "b", "c"} {
			if err := s.InsertSession(ctx, session(id)); err != nil {
				t.Fatal(err)
			}
		}
		same(t, must[registry.UserSession](t)(s.Session(ctx, "a")), session("a"))
		live := func(at time.Time) string {
			ids := ""
			for _, x := range must[[]registry.UserSession](t)(s.UserSessions(ctx, u.ID, at)) {
				ids += string(x.ID)
			}
			return ids
		}
		if got := live(noon); got != "abc" {
			t.Errorf("live: %q", got)
		}
		if got := live(noon.Add(time.Hour)); got != "" {
			t.Errorf("live after the end: %q", got)
		}
		if err := r.RevokeSession(ctx, u.ID, "a"); err != nil {
			t.Fatal(err)
		}
		if err := r.RevokeSession(ctx, u.ID, "a"); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("revoked twice: %v", err)
		}
		if err := r.RevokeSession(ctx, "somebody else", "b"); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("another user's session: %v", err)
		}
		if err := r.RevokeSessions(ctx, u.ID, "c"); err != nil {
			t.Fatal(err)
		}
		if got := live(noon); got != "c" {
			t.Errorf("live after revoking all others: %q", got)
		}
		if err := s.TouchSession(ctx, "c", noon.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if got := must[registry.UserSession](t)(s.Session(ctx, "c")); !got.LastSeen.Equal(noon.Add(time.Minute)) {
			t.Errorf("last seen: %v", got.LastSeen)
		}
		if _, err := r.UpdateUser(ctx, "", u.ID, func(u *registry.User) error { u.Status = registry.Disabled; return nil }); err != nil {
			t.Fatal(err)
		}
		if got := live(noon); got != "" {
			t.Errorf("live of a disabled user: %q", got)
		}
	})
}

func TestRefreshTokenHasOneWinner(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		u := must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "ann"}))
		if err := s.InsertSession(ctx, registry.UserSession{ID: "s", User: u.ID, CreatedAt: noon, Expires: noon.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		token := registry.RefreshToken{Hash: sha256.Sum256([]byte("t")), Session: "s", Created: noon, Expires: noon.Add(time.Hour)}
		if err := s.InsertRefreshToken(ctx, token); err != nil {
			t.Fatal(err)
		}
		var firsts, seconds int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				got, first, err := s.UseRefreshToken(ctx, token.Hash, noon)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil:
					t.Error(err)
				case got.Session != "s" || !got.UsedAt.Equal(noon):
					t.Errorf("got %+v", got)
				case first:
					firsts++
				default:
					seconds++
				}
			})
		}
		wg.Wait()
		if firsts != 1 || seconds != 19 {
			t.Errorf("%d winners and %d others, want 1 and 19", firsts, seconds)
		}
		if _, _, err := s.UseRefreshToken(ctx, [32]byte{}, noon); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("unknown token: %v", err)
		}
	})
}

func TestThrottleLosesNoFailure(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := s.CountFailure(ctx, "ann", noon, time.Minute); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := must[registry.Throttle](t)(s.Throttle(ctx, "ann")); got.Failures != 20 || !got.Since.Equal(noon) {
			t.Errorf("got %+v", got)
		}
		if err := s.BlockUntil(ctx, "ann", noon.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if err := s.BlockUntil(ctx, "ann", noon); err != nil {
			t.Fatal(err)
		}
		got := must[registry.Throttle](t)(s.CountFailure(ctx, "ann", noon.Add(2*time.Minute), time.Minute))
		if got.Failures != 1 || !got.Since.Equal(noon.Add(2*time.Minute)) || !got.BlockedUntil.Equal(noon.Add(time.Hour)) {
			t.Errorf("after the window: %+v", got)
		}
		if err := s.ForgetFailures(ctx, "ann"); err != nil {
			t.Fatal(err)
		}
		if got := must[registry.Throttle](t)(s.Throttle(ctx, "ann")); got != (registry.Throttle{Key: "ann"}) {
			t.Errorf("forgotten: %+v", got)
		}
	})
}

func TestPurge(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		now := noon
		r.Now = func() time.Time { return now }
		u := must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "ann"}))
		keep := must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "bob"}))
		if err := s.InsertSession(ctx, registry.UserSession{ID: "s", User: keep.ID, CreatedAt: now, Expires: now.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.UpdateUser(ctx, "", u.ID, func(u *registry.User) error { u.Status = registry.Deleted; return nil }); err != nil {
			t.Fatal(err)
		}
		now = noon.Add(registry.DeletedFor)
		if err := r.Purge(ctx); err != nil {
			t.Fatal(err)
		}
		if got := must[registry.User](t)(s.User(ctx, u.ID)); !got.DeletedAt.Equal(noon) {
			t.Errorf("deleted at %v", got.DeletedAt)
		}
		if _, err := s.Session(ctx, "s"); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("expired session: %v", err)
		}
		now = now.Add(time.Second)
		if err := r.Purge(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := s.User(ctx, u.ID); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("after 30 days: %v", err)
		}
		must[registry.User](t)(s.User(ctx, keep.ID))
	})
}

// TestLastOwner is C61: of all owners who demote, disable or delete each other
// at once, one stays.
func TestLastOwner(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		var owners []registry.UserID
		for i := range 6 {
			u := must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: fmt.Sprint("owner", i), Role: registry.Owner}))
			owners = append(owners, u.ID)
		}
		edits := []func(*registry.User) error{
			func(u *registry.User) error { u.Role = registry.Viewer; return nil },
			func(u *registry.User) error { u.Status = registry.Disabled; return nil },
			func(u *registry.User) error { u.Status = registry.Deleted; return nil },
		}
		var mu sync.Mutex
		var refused int
		var wg sync.WaitGroup
		for i, id := range owners {
			wg.Go(func() {
				_, err := r.UpdateUser(ctx, "", id, edits[i%len(edits)])
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, registry.ErrLastOwner) {
					refused++
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if refused != 1 {
			t.Errorf("%d of 6 were refused, want 1", refused)
		}
		if has, err := r.HasOwner(ctx); !has || err != nil {
			t.Errorf("has owner: %v, %v", has, err)
		}
		if _, err := r.CreateFirstOwner(ctx, registry.User{Username: "again"}); !errors.Is(err, registry.ErrExists) {
			t.Errorf("a first owner beside another: %v", err)
		}
	})
}

func TestFirstOwnerIsOne(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		r := newRegistry(t, s)
		errs := make([]error, 5)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				_, errs[i] = r.CreateFirstOwner(t.Context(), registry.User{Username: fmt.Sprint("node", i)})
			})
		}
		wg.Wait()
		won := slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, registry.ErrExists) })
		if len(won) != 1 || won[0] != nil {
			t.Errorf("got %v, want one winner", won)
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

func TestFrozenDomainRefusesEveryChange(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		u := must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "ann"}))
		d := must[registry.Domain](t)(r.CreateDomain(ctx, u.ID, registry.Domain{Name: "one"}))
		dev := must[[]registry.NewDevice](t)(r.CreateDevices(ctx, "", d.ID, []registry.NewDevice{{}}))[0].ID
		ch := must[[]registry.Channel](t)(r.CreateChannels(ctx, "", d.ID, []registry.Channel{{}}))[0].ID
		set := func(status registry.Status) error {
			_, err := r.UpdateDomain(ctx, "", d.ID, func(d *registry.Domain) error { d.Status = status; return nil })
			return err
		}
		if err := set(registry.Frozen); err != nil {
			t.Fatal(err)
		}
		for name, try := range map[string]func() error{
			"create device": func() error { _, err := r.CreateDevices(ctx, "", d.ID, []registry.NewDevice{{}}); return err },
			"update device": func() error {
				_, err := r.UpdateDevice(ctx, "", d.ID, dev, func(*registry.Device) error { return nil })
				return err
			},
			"rotate secret":  func() error { _, err := r.RotateSecret(ctx, "", d.ID, dev, registry.Secret{}, 0); return err },
			"delete device":  func() error { return r.DeleteDevice(ctx, d.ID, dev) },
			"create channel": func() error { _, err := r.CreateChannels(ctx, "", d.ID, []registry.Channel{{}}); return err },
			"update channel": func() error {
				_, err := r.UpdateChannel(ctx, "", d.ID, ch, func(*registry.Channel) error { return nil })
				return err
			},
			"delete channel": func() error { return r.DeleteChannel(ctx, d.ID, ch) },
			"connect": func() error {
				return r.Connect(ctx, d.ID, []registry.DeviceID{dev}, []registry.ChannelID{ch}, registry.Publish)
			},
			"disconnect": func() error {
				return r.Disconnect(ctx, d.ID, []registry.DeviceID{dev}, []registry.ChannelID{ch}, registry.Publish)
			},
			"add member": func() error {
				return r.AddMember(ctx, registry.Membership{Domain: d.ID, User: u.ID, Role: registry.Viewer})
			},
			"update member": func() error { return r.UpdateMember(ctx, d.ID, u.ID, func(*registry.Membership) error { return nil }) },
			"remove member": func() error { return r.RemoveMember(ctx, d.ID, u.ID, nil) },
			"rename": func() error {
				_, err := r.UpdateDomain(ctx, "", d.ID, func(d *registry.Domain) error { d.Name = "x"; return nil })
				return err
			},
			"delete domain": func() error { return r.DeleteDomain(ctx, d.ID) },
		} {
			if err := try(); !errors.Is(err, registry.ErrFrozen) {
				t.Errorf("%s: got %v, want ErrFrozen", name, err)
			}
		}
		if err := set(registry.Enabled); err != nil {
			t.Errorf("thaw: %v", err)
		}
		if err := r.DeleteDevice(ctx, d.ID, dev); err != nil {
			t.Errorf("after the thaw: %v", err)
		}
	})
}
