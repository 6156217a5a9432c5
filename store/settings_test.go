package store_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

func put(items ...registry.Setting) func(registry.Settings, registry.WayReader) (registry.SettingsChange, error) {
	return func(registry.Settings, registry.WayReader) (registry.SettingsChange, error) {
		return registry.SettingsChange{Put: items}, nil
	}
}

func TestSettingsAreChangedAllOrNotAtAll(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		r := newRegistry(t, s)
		told := 0
		r.OnChange = func(_ context.Context, changes []registry.Change) {
			for _, c := range changes {
				if c.Settings {
					told++
				}
			}
		}
		all, err := r.ChangeSettings(t.Context(), "ann", 0, put(registry.Setting{Name: "auth-b", Value: "2"}, registry.Setting{Name: "auth-a", Value: "x", Sealed: true}))
		if err != nil || all.Revision != 1 || len(all.Items) != 2 || all.Items[0] != (registry.Setting{Name: "auth-a", Value: "x", Sealed: true, UpdatedBy: "ann", UpdatedAt: noon}) || all.UpdatedBy != "ann" || !all.UpdatedAt.Equal(noon) {
			t.Fatalf("got %+v, %v", all, err)
		}
		if _, err := r.ChangeSettings(t.Context(), "bob", 0, put(registry.Setting{Name: "auth-c", Value: "3"})); !errors.Is(err, registry.ErrStale) {
			t.Errorf("who looked before ann changed them: got %v, want ErrStale", err)
		}
		for name, wrong := range map[string]registry.Setting{
			"a name that is none": {Name: "auth b"}, "a value that is too long": {Name: "auth-d", Value: strings.Repeat("x", registry.MaxSetting+1)},
		} {
			var invalid *registry.InvalidError
			if _, err := r.ChangeSettings(t.Context(), "ann", 1, put(registry.Setting{Name: "auth-b", Value: "9"}, wrong)); !errors.As(err, &invalid) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		no := errors.New("no")
		if _, err := r.ChangeSettings(t.Context(), "ann", 1, func(now registry.Settings, _ registry.WayReader) (registry.SettingsChange, error) {
			return registry.SettingsChange{Drop: []string{"auth-a"}}, no
		}); !errors.Is(err, no) {
			t.Errorf("a decision against it: got %v", err)
		}
		if all, err := r.ChangeSettings(t.Context(), "ann", 1, put()); err != nil || all.Revision != 1 {
			t.Errorf("nothing to change: got %+v, %v", all, err)
		}
		if all, err := r.Settings(t.Context()); err != nil || all.Revision != 1 || len(all.Items) != 2 || all.Items[1].Value != "2" {
			t.Errorf("after what was refused: got %+v, %v", all, err)
		}
		all, err = r.ChangeSettings(t.Context(), "bob", 1, func(registry.Settings, registry.WayReader) (registry.SettingsChange, error) {
			return registry.SettingsChange{Put: []registry.Setting{{Name: "auth-b", Value: "4"}}, Drop: []string{"auth-a", "auth-never"}}, nil
		})
		if err != nil || all.Revision != 2 || len(all.Items) != 1 || all.Items[0].Value != "4" || all.Items[0].UpdatedBy != "bob" {
			t.Errorf("got %+v, %v", all, err)
		}
		if told != 2 {
			t.Errorf("%d changes were told, want 2", told)
		}
	})
}

// Of many who change what they all looked at, one does.
func TestSettingsOfOneRevision(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		r := newRegistry(t, s)
		var done, stale atomic.Int32
		var group errgroup.Group
		for range 8 {
			group.Go(func() error {
				_, err := r.ChangeSettings(t.Context(), "ann", 0, put(registry.Setting{Name: "auth-a", Value: "1"}))
				switch {
				case err == nil:
					done.Add(1)
				case errors.Is(err, registry.ErrStale):
					stale.Add(1)
				default:
					return err
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		if done.Load() != 1 || stale.Load() != 7 {
			t.Errorf("%d changed, %d were told; want 1 and 7", done.Load(), stale.Load())
		}
	})
}
