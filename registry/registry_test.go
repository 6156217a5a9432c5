package registry_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// TestChangesAreAnnouncedAfterTheyAreStored: each change is told once, when it
// can be read, with what it concerned; a refused one is not told.
func TestChangesAreAnnouncedAfterTheyAreStored(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h, err := registry.NewSecretHasher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	var told []registry.Change
	r := &registry.Registry{Store: s, Hasher: h, Now: time.Now, NewID: uuid.NewString}
	ctx, cancel := context.WithCancel(t.Context())
	r.OnChange = func(ctx context.Context, changes []registry.Change) {
		if ctx.Err() != nil {
			t.Error("the announcement is cancelled with the caller")
		}
		for _, c := range changes {
			// In a transaction, this would wait for itself.
			if _, err := s.Domain(ctx, c.Domain); c.Domain != "" && err != nil && !c.Gone {
				t.Errorf("%+v is told and cannot be read: %v", c, err)
			}
		}
		told = append(told, changes...)
	}
	expect := func(name string, err error, want ...registry.Change) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.Equal(told, want) {
			t.Errorf("%s: told %+v, want %+v", name, told, want)
		}
		told = nil
	}

	ann, err := r.CreateUser(ctx, "", registry.User{Username: "ann", Role: registry.Owner})
	expect("a user", err, registry.Change{User: ann.ID})
	d, err := r.CreateDomain(ctx, ann.ID, registry.Domain{Name: "one"})
	expect("a domain", err, registry.Change{Domain: d.ID, User: ann.ID}, registry.Change{Domain: d.ID})
	devices, err := r.CreateDevices(ctx, "", d.ID, []registry.NewDevice{{}, {}})
	if err != nil {
		t.Fatal(err)
	}
	one, two := devices[0].ID, devices[1].ID
	expect("two devices", err, registry.Change{Domain: d.ID, Device: one}, registry.Change{Domain: d.ID, Device: two})
	channels, err := r.CreateChannels(ctx, "", d.ID, []registry.Channel{{}})
	if err != nil {
		t.Fatal(err)
	}
	c := channels[0].ID
	expect("a channel", err, registry.Change{Domain: d.ID, Channel: c})
	expect("a connection", r.Connect(ctx, d.ID, []registry.DeviceID{one}, []registry.ChannelID{c}, registry.Publish),
		registry.Change{Domain: d.ID, Device: one, Channel: c})
	_, err = r.RotateSecret(ctx, "", d.ID, one, registry.Secret{}, 0)
	expect("a rotation", err, registry.Change{Domain: d.ID, Device: one})
	_, err = r.UpdateDomain(ctx, "", d.ID, func(d *registry.Domain) error { d.Status = registry.Disabled; return nil })
	expect("a status", err, registry.Change{Domain: d.ID})
	expect("sessions", r.RevokeSessions(ctx, ann.ID, ""), registry.Change{User: ann.ID})
	expect("a removal", r.DeleteDevice(ctx, d.ID, one), registry.Change{Domain: d.ID, Device: one, Gone: true})

	refusal := errors.New("no")
	if _, err := r.UpdateDevice(ctx, "", d.ID, two, func(*registry.Device) error { return refusal }); !errors.Is(err, refusal) {
		t.Errorf("the edit's own error: got %v", err)
	}
	if _, err := r.UpdateUser(ctx, "", ann.ID, func(u *registry.User) error { u.Role = registry.Viewer; return nil }); !errors.Is(err, registry.ErrLastOwner) {
		t.Errorf("the last owner: got %v", err)
	}
	if _, err := r.CreateDevices(ctx, "", "no such domain", []registry.NewDevice{{}}); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("no domain: got %v", err)
	}
	expect("refused changes", nil)

	// The caller goes away between the commit and the announcement.
	done := r.OnChange
	r.OnChange = func(ctx context.Context, changes []registry.Change) { cancel(); done(ctx, changes) }
	expect("a change whose caller went away", r.DeleteDevice(ctx, d.ID, two), registry.Change{Domain: d.ID, Device: two, Gone: true})
}

// TestEditsCannotChangeWhoANounIs: an edit function gets the row, and may try.
func TestEditsCannotChangeWhoANounIs(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r := &registry.Registry{Store: s, Now: time.Now, NewID: uuid.NewString}
	u, err := r.CreateUser(t.Context(), "", registry.User{Username: "ann", Email: "ann@example.com", EmailVerified: true})
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.UpdateUser(t.Context(), "", u.ID, func(u *registry.User) error {
		u.ID, u.CreatedAt, u.Provider, u.Email = "x", time.Time{}, "y", "bob@example.com"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != u.ID || !got.CreatedAt.Equal(u.CreatedAt) || got.Provider != u.Provider {
		t.Errorf("got %+v", got)
	}
	if got.EmailVerified {
		t.Error("a new address is taken for verified")
	}
}
