package store_test

import (
	"crypto/sha256"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

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
