package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// TestTransactionsThatCross: of two transactions that wait for each other's rows
// PostgreSQL takes one back. That one is run again, and nobody is told.
func TestTransactionsThatCross(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), postgres.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r := newRegistry(t, s)
	var domains [2]registry.Domain
	var holds [2]chan struct{}
	for i := range domains {
		domains[i] = must[registry.Domain](t)(r.CreateDomain(t.Context(), "", registry.Domain{Name: fmt.Sprint("before ", i)}))
		holds[i] = make(chan struct{})
	}
	var runs [2]int
	both, ctx := errgroup.WithContext(t.Context())
	for i := range domains {
		both.Go(func() error {
			return s.Update(ctx, func(tx registry.Tx) error {
				runs[i]++
				mine, err := tx.LockDomain(ctx, domains[i].ID)
				if err != nil {
					return err
				}
				if runs[i] == 1 {
					close(holds[i])
					select {
					case <-holds[1-i]:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				if _, err := tx.LockDomain(ctx, domains[1-i].ID); err != nil {
					return err
				}
				mine.Name = fmt.Sprint("after ", i)
				return tx.UpdateDomain(ctx, mine)
			})
		})
	}
	if err := both.Wait(); err != nil {
		t.Fatal(err)
	}
	if runs[0]+runs[1] != 3 {
		t.Errorf("the transactions ran %d and %d times, want one of them twice", runs[0], runs[1])
	}
	for i, d := range domains {
		if got := must[registry.Domain](t)(s.Domain(t.Context(), d.ID)); got.Name != fmt.Sprint("after ", i) {
			t.Errorf("domain %d is named %q", i, got.Name)
		}
	}
}

// TestOutage: with PostgreSQL gone nothing is "not found", and when it comes
// back the store does too, by itself.
func TestOutage(t *testing.T) {
	t.Parallel()
	var server postgrestest.Server
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := store.Open(t.Context(), server.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r := newRegistry(t, s)
	d := must[registry.Domain](t)(r.CreateDomain(t.Context(), "", registry.Domain{Name: "one"}))

	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"ready": s.Ready(t.Context()),
		"read":  func() error { _, err := s.Domain(t.Context(), d.ID); return err }(),
		"probe": func() error { _, err := s.DevicesBySecret(t.Context(), registry.SecretHash{}); return err }(),
		"write": func() error { return r.DeleteDomain(t.Context(), d.ID) }(),
	} {
		if !errors.Is(err, registry.ErrUnavailable) || errors.Is(err, registry.ErrNotFound) {
			t.Errorf("%s while it is down: got %v, want ErrUnavailable", name, err)
		}
	}

	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("ready after the outage: %v", err)
	}
	same(t, must[registry.Domain](t)(s.Domain(t.Context(), d.ID)), d)
}
