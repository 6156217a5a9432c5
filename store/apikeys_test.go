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

func TestAPIKeys(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		u := must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "ann"}))
		k := must[registry.APIKey](t)(r.CreateAPIKey(ctx, registry.APIKey{
			Hash: sha256.Sum256([]byte("k")), User: u.ID, Name: "report", Prefix: "abcdefgh", Role: registry.Editor, Expires: noon.Add(time.Hour)}))
		if got := must[registry.APIKey](t)(s.APIKeyByPrefix(ctx, "abcdefgh")); got != k {
			t.Errorf("got %+v, want %+v", got, k)
		}
		if _, err := r.CreateAPIKey(ctx, registry.APIKey{User: u.ID, Name: "same", Prefix: "abcdefgh", Expires: noon.Add(time.Hour)}); !errors.Is(err, registry.ErrExists) {
			t.Errorf("the same prefix: %v", err)
		}
		if _, err := r.CreateAPIKey(ctx, registry.APIKey{User: "nobody", Name: "x", Prefix: "bbbbbbbb"}); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("for nobody: %v", err)
		}
		for _, at := range []time.Time{noon.Add(time.Minute), noon} { // the later stays
			if err := s.TouchAPIKey(ctx, k.ID, at); err != nil {
				t.Fatal(err)
			}
		}
		if list := must[[]registry.APIKey](t)(s.APIKeys(ctx, u.ID)); len(list) != 1 || !list[0].LastUsed.Equal(noon.Add(time.Minute)) {
			t.Errorf("the list: %+v", list)
		}
		if got := must[registry.Role](t)(s.HighestMembership(ctx, u.ID)); got != registry.NoRole {
			t.Errorf("the highest role without a domain: %v", got)
		}
		must[registry.Domain](t)(r.CreateDomain(ctx, u.ID, registry.Domain{Name: "hers"}))
		if got := must[registry.Role](t)(s.HighestMembership(ctx, u.ID)); got != registry.Owner {
			t.Errorf("the highest role: %v", got)
		}
		if err := r.RevokeAPIKey(ctx, u.ID, k.ID); err != nil {
			t.Fatal(err)
		}
		if err := r.RevokeAPIKey(ctx, u.ID, k.ID); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("revoked twice: %v", err)
		}
		if list := must[[]registry.APIKey](t)(s.APIKeys(ctx, u.ID)); len(list) != 0 {
			t.Errorf("revoked, and listed: %+v", list)
		}
		if got := must[registry.APIKey](t)(s.APIKeyByPrefix(ctx, "abcdefgh")); !got.RevokedAt.Equal(noon) {
			t.Errorf("revoked at %v", got.RevokedAt)
		}
	})
}

// The bound holds when many make keys at once.
func TestTooManyAPIKeys(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		u := must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "ann"}))
		var wg sync.WaitGroup
		for n := range registry.MaxAPIKeys + 5 {
			wg.Go(func() {
				_, err := r.CreateAPIKey(ctx, registry.APIKey{User: u.ID, Name: "k", Prefix: string(rune('A'+n)) + "bcdefgh", Expires: noon.Add(time.Hour)})
				if err != nil && !errors.As(err, new(*registry.InvalidError)) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if list := must[[]registry.APIKey](t)(s.APIKeys(ctx, u.ID)); len(list) != registry.MaxAPIKeys {
			t.Errorf("%d keys, want %d", len(list), registry.MaxAPIKeys)
		}
	})
}

func TestAuditIsKeptAsLongAsSaid(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		for id, at := range map[registry.AuditID]time.Time{"old": noon.Add(-48*time.Hour - time.Second), "new": noon.Add(-48 * time.Hour)} {
			if err := s.InsertAudit(ctx, registry.AuditEvent{ID: id, At: at, Action: "sign-in", Outcome: registry.AuditDone}); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.SweepAudit(ctx, 48*time.Hour); err != nil {
			t.Fatal(err)
		}
		list := must[registry.List[registry.AuditEvent]](t)(s.Audit(ctx, registry.AuditQuery{Limit: 10}))
		if len(list.Items) != 1 || list.Items[0].ID != "new" {
			t.Errorf("got %+v", list.Items)
		}
	})
}
