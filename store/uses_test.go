package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// TestUseInAChangingDomain: whoever changes or removes the devices of a domain
// does so in another order than their uses are noted in. Neither may wait for the
// other with what the other waits for: here nothing resolves it, and the wait
// ends with an error.
func TestUseInAChangingDomain(t *testing.T) {
	t.Parallel()
	url := postgres.URL(t)
	s, err := store.Open(t.Context(), url+"&deadlock_timeout=1h&lock_timeout=3s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r := newRegistry(t, s)
	made := 0
	r.NewID = func() string { made++; return fmt.Sprintf("00000000-0000-4000-8000-%012d", made) } // in the order of the rows
	d := must[registry.Domain](t)(r.CreateDomain(t.Context(), "", registry.Domain{Name: "Acme"}))
	var ids []registry.SecretID
	for _, made := range must[[]registry.NewDevice](t)(r.CreateDevices(t.Context(), "", d.ID, make([]registry.NewDevice, 2))) {
		ids = append(ids, must[[]registry.DeviceSecret](t)(s.DeviceSecrets(t.Context(), made.ID))[0].ID)
	}
	both, ctx := errgroup.WithContext(t.Context())
	both.Go(func() error {
		return s.Update(ctx, func(tx registry.Tx) error {
			if _, err := tx.LockDomain(ctx, d.ID); err != nil {
				return err
			}
			if err := tx.ExpireSecret(ctx, ids[1], noon.Add(time.Hour)); err != nil {
				return err
			}
			both.Go(func() error { return s.TouchSecret(ctx, ids, noon) })
			if err := awaitLock(ctx, url); err != nil {
				return err
			}
			return tx.ExpireSecret(ctx, ids[0], noon.Add(time.Hour))
		})
	})
	if err := both.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, made := range must[registry.List[registry.Device]](t)(s.Devices(t.Context(), registry.Query{Domain: d.ID, Limit: 2})).Items {
		if got := must[[]registry.DeviceSecret](t)(s.DeviceSecrets(t.Context(), made.ID))[0]; !got.LastUsed.Equal(noon) || got.Expires.IsZero() {
			t.Errorf("got %+v, want it used at %v, and ending", got, noon)
		}
	}
}

// awaitLock returns when a transaction of the database waits for another, or with
// an error after half a minute.
func awaitLock(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer db.Close()
	for waits := 0; waits == 0; {
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waits); err != nil {
			return err
		}
	}
	return nil
}
