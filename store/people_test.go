package store_test

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

func TestIdentities(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		link := registry.LinkedIdentity{Provider: "oidc", Subject: "1", Email: "ann@example.com"}
		u := must[registry.User](t)(r.CreateUserFor(ctx, registry.User{Username: "ann", Provider: "oidc", RoleSource: "oidc", Attributes: map[string]string{"plan": "gold"}}, link))
		same(t, must[registry.User](t)(s.User(ctx, u.ID)), u)
		if got := must[registry.LinkedIdentity](t)(s.Identity(ctx, "oidc", "1")); got.User != u.ID || got.Email != link.Email || !got.CreatedAt.Equal(noon) {
			t.Errorf("got %+v", got)
		}
		for _, other := range [][2]string{{"oidc", "2"}, {"lab", "1"}, {"OIDC", "1"}} {
			if _, err := s.Identity(ctx, other[0], other[1]); !errors.Is(err, registry.ErrNotFound) {
				t.Errorf("%v: %v", other, err)
			}
		}
		var exists *registry.ExistsError
		if _, err := r.CreateUserFor(ctx, registry.User{Username: "second"}, link); !errors.As(err, &exists) || exists.Field != "identity" {
			t.Errorf("the same identity again: %v", err)
		}
		if _, err := s.UserByLogin(ctx, "second"); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("half of it was kept: %v", err)
		}
		if err := s.TouchIdentity(ctx, "oidc", "1", noon.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		second := link
		second.Provider, second.User = "lab", u.ID
		if err := r.Link(ctx, second); err != nil {
			t.Fatal(err)
		}
		all := must[[]registry.LinkedIdentity](t)(r.Identities(ctx, u.ID))
		if len(all) != 2 || !all[1].LastUsed.Equal(noon.Add(time.Hour)) && !all[0].LastUsed.Equal(noon.Add(time.Hour)) {
			t.Errorf("got %+v", all)
		}
		if err := r.Unlink(ctx, u.ID, "lab", "1"); err != nil {
			t.Fatal(err)
		}
		if err := r.Unlink(ctx, u.ID, "oidc", "1"); err == nil {
			t.Error("the only way in is taken away")
		}
	})
}

func TestFlowHasOneTaker(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		flow := func(state, backTo string, life time.Duration) registry.SignInFlow {
			return registry.SignInFlow{State: sha256.Sum256([]byte(state)), Provider: "jwt", Browser: sha256.Sum256([]byte("b")), Nonce: "n", Verifier: "v", BackTo: backTo, Expires: noon.Add(life)}
		}
		f := flow("s", "/x", time.Minute)
		if err := s.InsertFlow(ctx, f); err != nil {
			t.Fatal(err)
		}
		if n := winners(t, func() error {
			got, err := s.TakeFlow(ctx, f.State)
			if err == nil && got != f {
				t.Errorf("got %+v, want %+v", got, f)
			}
			return err
		}); n != 1 {
			t.Errorf("%d took it, want 1", n)
		}
		for _, f := range []registry.SignInFlow{flow("old", "/y", time.Minute), flow("new", "/y", 2*time.Minute), flow("other", "/z", time.Hour)} {
			if err := s.InsertFlow(ctx, f); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.TakeFlowOf(ctx, "jwt", sha256.Sum256([]byte("another browser")), "/y"); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("another browser: %v", err)
		}
		if got := must[registry.SignInFlow](t)(s.TakeFlowOf(ctx, "jwt", f.Browser, "/y")); got.State != sha256.Sum256([]byte("new")) {
			t.Error("it takes another than the last")
		}
	})
}

// C15: a key is used once, for its purpose, in its time.
func TestOneTimeKey(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		u := must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "ann"}))
		k := registry.OneTimeKey{Hash: sha256.Sum256([]byte("k")), Purpose: registry.KeyRecovery, User: u.ID, Data: "d", Created: noon, Expires: noon.Add(time.Minute)}
		if err := s.InsertKey(ctx, k); err != nil {
			t.Fatal(err)
		}
		same(t, must[registry.OneTimeKey](t)(s.OneTimeKey(ctx, k.Hash, registry.KeyRecovery, noon)), k)
		for name, try := range map[string]func() error{
			"another purpose": func() error { _, err := s.UseKey(ctx, k.Hash, registry.KeyVerify, noon); return err },
			"too late":        func() error { _, err := s.UseKey(ctx, k.Hash, registry.KeyRecovery, noon.Add(time.Minute)); return err },
			"another key":     func() error { _, err := s.UseKey(ctx, [32]byte{}, registry.KeyRecovery, noon); return err },
		} {
			if err := try(); !errors.Is(err, registry.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := must[int](t)(s.CountKeyFailure(ctx, k.Hash)); n != 1 {
			t.Errorf("%d failures", n)
		}
		if n := winners(t, func() error { _, err := s.UseKey(ctx, k.Hash, registry.KeyRecovery, noon); return err }); n != 1 {
			t.Errorf("%d used it, want 1", n)
		}
		other := k
		other.Hash = sha256.Sum256([]byte("other"))
		if err := s.InsertKey(ctx, other); err != nil {
			t.Fatal(err)
		}
		if err := s.DropKeys(ctx, u.ID, registry.KeyRecovery); err != nil {
			t.Fatal(err)
		}
		if _, err := s.OneTimeKey(ctx, other.Hash, registry.KeyRecovery, noon); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("a dropped key: %v", err)
		}
	})
}

// C41: of all nodes that see an assertion one is first, and a restart changes
// nothing.
func TestAssertionIsSeenOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		hash := sha256.Sum256([]byte("a"))
		if n := winners(t, func() error {
			first, err := s.MarkSeen(ctx, hash, noon.Add(time.Hour))
			if err == nil && !first {
				return registry.ErrNotFound
			}
			return err
		}); n != 1 {
			t.Errorf("%d were first, want 1", n)
		}
		if first := must[bool](t)(s.MarkSeen(ctx, sha256.Sum256([]byte("b")), noon)); !first {
			t.Error("another assertion was seen")
		}
		r.Now = func() time.Time { return noon.Add(26 * time.Hour) }
		if err := r.Purge(ctx); err != nil {
			t.Fatal(err)
		}
		if first := must[bool](t)(s.MarkSeen(ctx, hash, noon.Add(time.Hour))); !first {
			t.Error("it is kept for ever")
		}
	})
}

func TestAuditTrail(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		var all []registry.AuditEvent
		for i, e := range []registry.AuditEvent{
			{Action: "sign-in", Outcome: registry.AuditRefused, Reason: registry.ReasonWrongPassword, Actor: "ann", ActorName: "Ann", Provider: "local", IP: "::1", UserAgent: "x", Request: "r1"},
			{Action: "user.role", Outcome: registry.AuditDone, Actor: "bob", Object: "ann", Details: registry.Metadata{"steps": []any{"a", "b"}}},
			{Action: "user.state", Outcome: registry.AuditDone, Actor: "bob", Object: "carl", Domain: "d"},
			{Action: "userx", Outcome: registry.AuditDone, Actor: "bob"},
		} {
			e.ID, e.At = registry.AuditID(uuid.NewString()), noon.Add(time.Duration(i)*time.Minute)
			if e.Details == nil {
				e.Details = registry.Metadata{}
			}
			if err := s.InsertAudit(ctx, e); err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
		same(t, must[registry.List[registry.AuditEvent]](t)(s.Audit(ctx, registry.AuditQuery{ID: all[1].ID, Limit: 1})).Items, all[1:2])
		for name, test := range map[string]struct {
			q    registry.AuditQuery
			want int
		}{
			"all": {registry.AuditQuery{}, 4}, "an action": {registry.AuditQuery{Action: "user.role"}, 1}, "actions that begin so": {registry.AuditQuery{Action: "user."}, 2},
			"a wildcard is none": {registry.AuditQuery{Action: "%."}, 0}, "an actor": {registry.AuditQuery{Actor: "bob"}, 3}, "an object": {registry.AuditQuery{Object: "ann"}, 1},
			"an outcome": {registry.AuditQuery{Outcome: registry.AuditRefused}, 1}, "a domain": {registry.AuditQuery{Domain: "d"}, 1}, "a provider": {registry.AuditQuery{Provider: "local"}, 1},
			"an address": {registry.AuditQuery{IP: "::1"}, 1}, "a request": {registry.AuditQuery{Request: "r1"}, 1},
			"from": {registry.AuditQuery{From: noon.Add(time.Minute)}, 3}, "to": {registry.AuditQuery{To: noon.Add(time.Minute)}, 1},
		} {
			test.q.Limit = 100
			if got := must[registry.List[registry.AuditEvent]](t)(s.Audit(ctx, test.q)); got.Total != test.want || len(got.Items) != test.want {
				t.Errorf("%s: %d of %d, want %d", name, len(got.Items), got.Total, test.want)
			}
		}
		if got := must[registry.List[registry.AuditEvent]](t)(s.Audit(ctx, registry.AuditQuery{Limit: 1, Offset: 1})); got.Total != 4 || got.Items[0].ID != all[2].ID {
			t.Errorf("the second newest: %+v", got)
		}
		r.Now = func() time.Time { return noon.Add(24*time.Hour + 2*time.Minute) }
		if err := r.SweepAudit(ctx, 24*time.Hour); err != nil {
			t.Fatal(err)
		}
		if got := must[registry.List[registry.AuditEvent]](t)(s.Audit(ctx, registry.AuditQuery{Limit: 100})); got.Total != 2 {
			t.Errorf("after a day: %d", got.Total)
		}
	})
}
