package store_test

import (
	"fmt"
	"path/filepath"
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
			if err := r.Connect(b.Context(), d.ID, ids, []registry.ChannelID{ch[0].ID}, registry.Publish); err != nil {
				b.Fatal(err)
			}
		}
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
