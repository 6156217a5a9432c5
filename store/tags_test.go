package store_test

import (
	"path/filepath"
	"testing"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// TestTagsOfBefore opens a database whose devices and channels had tags before
// those stood by themselves.
func TestTagsOfBefore(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct{ name, url string }{
		{"SQLite", filepath.Join(t.TempDir(), "postern.db")},
		{"PostgreSQL", postgres.URL(t)},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			err := store.MigrateTo(t.Context(), kind.url, 7,
				`INSERT INTO domains VALUES ('d', 'One', 'one', 'one', 'enabled', '[]', '{}', '', 1, '', 1)`,
				`INSERT INTO devices VALUES ('a', 'd', 'A', 'a', '', 'enabled', '["wet","q\"t","ä"]', '{}', 1, '', 1)`,
				`INSERT INTO devices VALUES ('b', 'd', 'B', 'b', '', 'enabled', '[]', '{}', 1, '', 1)`,
				`INSERT INTO channels VALUES ('c', 'd', 'C', 'c', '', TRUE, 'enabled', '["ä","q\"t","wet"]', '{}', 1, '', 1)`)
			if err != nil {
				t.Fatal(err)
			}
			s := must[*store.Store](t)(store.Open(t.Context(), kind.url))
			t.Cleanup(func() { s.Close() })
			r := newRegistry(t, s)
			for _, tag := range []string{"wet", `q"t`, "ä", "we"} {
				q := page(registry.Query{Domain: "d", Tag: tag})
				devices, channels := must[registry.List[registry.Device]](t)(r.Devices(t.Context(), q)), must[registry.List[registry.Channel]](t)(r.Channels(t.Context(), q))
				want := 1
				if tag == "we" {
					want = 0
				}
				if devices.Total != want || channels.Total != want {
					t.Errorf("%q: %d devices and %d channels, want %d", tag, devices.Total, channels.Total, want)
				}
			}
		})
	}
}

// TestTagsFollow changes and deletes what has tags.
func TestTagsFollow(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		d := must[registry.Domain](t)(r.CreateDomain(ctx, "", registry.Domain{Name: "one"}))
		made := must[[]registry.NewDevice](t)(r.CreateDevices(ctx, "", d.ID, []registry.NewDevice{{Device: registry.Device{Tags: []string{"old", "both"}}}, {Device: registry.Device{Tags: []string{"old"}}}}))
		found := func(tag string) int {
			return must[registry.List[registry.Device]](t)(r.Devices(ctx, page(registry.Query{Domain: d.ID, Tag: tag}))).Total
		}
		must[registry.Device](t)(r.UpdateDevice(ctx, "", d.ID, made[0].ID, func(d *registry.Device) error { d.Tags = []string{"both", "new"}; return nil }))
		if found("old") != 1 || found("both") != 1 || found("new") != 1 {
			t.Errorf("after a change: old %d, both %d, new %d, want 1 of each", found("old"), found("both"), found("new"))
		}
		if err := r.DeleteDevice(ctx, d.ID, made[1].ID); err != nil || found("old") != 0 {
			t.Errorf("after a deletion: %d, %v", found("old"), err)
		}
	})
}
