package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

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
