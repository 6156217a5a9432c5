package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// BenchmarkLists measures pages of one domain of 100,000 devices. The promise
// is 200 ms for each.
func BenchmarkLists(b *testing.B) {
	const devices = 100_000
	for _, kind := range []struct{ name, url string }{
		{"SQLite", filepath.Join(b.TempDir(), "postern.db")},
		{"PostgreSQL", postgres.URL(b)},
	} {
		s, err := store.Open(b.Context(), kind.url)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		h, err := registry.NewSecretHasher(make([]byte, 32))
		if err != nil {
			b.Fatal(err)
		}
		r := &registry.Registry{Store: s, Hasher: h, Now: time.Now, NewID: uuid.NewString}
		d, err := r.CreateDomain(b.Context(), "", registry.Domain{Name: "big"})
		if err != nil {
			b.Fatal(err)
		}
		ch, err := r.CreateChannels(b.Context(), "", d.ID, []registry.Channel{{Name: "c"}})
		if err != nil {
			b.Fatal(err)
		}
		var all []registry.DeviceID
		for i := 0; i < devices; i += registry.MaxBulk {
			batch := make([]registry.NewDevice, registry.MaxBulk)
			for j := range batch {
				batch[j].Name = fmt.Sprintf("device %06d", i+j)
				batch[j].Tags = []string{fmt.Sprint("batch", i/registry.MaxBulk)}
				batch[j].Metadata = registry.Metadata{"serial": fmt.Sprint(i + j), "site": map[string]any{"hall": "north", "row": (i + j) % 50}}
			}
			made, err := r.CreateDevices(b.Context(), "", d.ID, batch)
			if err != nil {
				b.Fatal(err)
			}
			ids := make([]registry.DeviceID, len(made))
			for i, d := range made {
				ids[i] = d.ID
			}
			all = append(all, ids...)
			if err := r.Connect(b.Context(), d.ID, ids, []registry.ChannelID{ch[0].ID}, registry.Publish); err != nil {
				b.Fatal(err)
			}
		}
		authority(b, r, "a")
		if err := s.Update(b.Context(), func(tx registry.Tx) error {
			for i := range devices { // as registry.IssueCertificate, which does not do many at once
				c := registry.Certificate{
					ID: registry.CertificateID(fmt.Sprint(i)), Authority: "a", Serial: fmt.Sprint(i), Domain: d.ID, Device: all[i], DER: make([]byte, 500),
					NotAfter: time.Now().Add(time.Duration(10+i%20) * 24 * time.Hour), CreatedAt: time.Now(), LastUsed: time.Now(),
				}
				if err := tx.InsertCertificate(b.Context(), c); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		b.Run(kind.name+"/health", func(b *testing.B) {
			for b.Loop() {
				if _, err := r.Health(b.Context(), d.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
		for _, c := range []struct {
			name string
			q    registry.Query
		}{
			{"first page", registry.Query{}},
			{"last page", registry.Query{Offset: devices - 100}},
			{"newest", registry.Query{Descending: true}},
			{"by name", registry.Query{Order: registry.ByName}},
			{"by name, last page", registry.Query{Order: registry.ByName, Offset: devices - 100}},
			{"name contains", registry.Query{Name: "099999"}},
			{"tag", registry.Query{Tag: "batch99"}},
			{"metadata", registry.Query{Metadata: registry.Metadata{"serial": "99999"}}},
			{"metadata of many", registry.Query{Metadata: registry.Metadata{"site": map[string]any{"row": 7}}}},
			{"channel", registry.Query{Channel: ch[0].ID}},
			{"channel, last page", registry.Query{Channel: ch[0].ID, Offset: devices - 100}},
		} {
			b.Run(kind.name+"/"+c.name, func(b *testing.B) {
				c.q.Domain, c.q.Status, c.q.Limit = d.ID, registry.Enabled, registry.MaxPage
				if c.q.Order == "" {
					c.q.Order = registry.ByCreated
				}
				for b.Loop() {
					if _, err := r.Devices(b.Context(), c.q); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
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
		// A list that is walked misses nothing while what was told goes and more comes.
		names := func(items []registry.Device) (all string) {
			for _, d := range items {
				all += d.Name[:1]
			}
			return all
		}
		now := r.Now()
		r.Now = func() time.Time { return now.Add(time.Second) } // the new one is the youngest
		for _, backwards := range []bool{false, true} {
			q := page(registry.Query{Domain: d.ID, Order: registry.ByCreated, Descending: backwards})
			want := names(must[registry.List[registry.Device]](t)(r.Devices(ctx, q)).Items)
			if !backwards {
				want += "z"
			}
			walked, totals := "", []int{}
			for q.Limit = 1; ; {
				got := must[registry.List[registry.Device]](t)(r.Devices(ctx, q))
				totals = append(totals, got.Total)
				if len(got.Items) == 0 {
					break
				}
				at := got.Items[0]
				walked += at.Name[:1]
				q.After = &registry.Place{At: at.CreatedAt, ID: string(at.ID)}
				if len(walked) == 2 {
					made := must[[]registry.NewDevice](t)(r.CreateDevices(ctx, "", d.ID, []registry.NewDevice{dev("z", "", nil)}))
					defer r.DeleteDevice(ctx, d.ID, made[0].ID) // if it is still there
				}
				if at.Name == "z" {
					if err := r.DeleteDevice(ctx, d.ID, at.ID); err != nil {
						t.Fatal(err)
					}
				}
			}
			wantTotals := map[bool][]int{false: {4, 3, 3, 2, 1, 0}, true: {4, 3, 2, 1, 0}}[backwards]
			if walked != want || !slices.Equal(totals, wantTotals) {
				t.Errorf("walked, backwards %v: got %q with totals %v, want %q with %v", backwards, walked, totals, want, wantTotals)
			}
		}
		linked := page(registry.Query{Domain: d.ID, Channel: ch[0].ID, Order: registry.ByCreated, After: &registry.Place{At: made[0].CreatedAt.Add(-time.Second)}})
		if got := must[registry.List[registry.Device]](t)(r.Devices(ctx, linked)); got.Total != 2 || len(got.Items) != 2 {
			t.Errorf("after a time before, by channel: %+v", got)
		}
		for _, q := range []registry.Query{{Order: registry.ByCreated, Offset: 1}, {Order: registry.ByName}} {
			q.Domain, q.After = d.ID, &registry.Place{}
			if _, err := r.Devices(ctx, page(q)); !errors.As(err, new(*registry.InvalidError)) {
				t.Errorf("after with %+v: %v", q, err)
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
