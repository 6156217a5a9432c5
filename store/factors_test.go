package store_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// winners counts how many of 20 callers at once succeed; the others must get
// registry.ErrNotFound.
func winners(t *testing.T, use func() error) (won int) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			switch err := use(); {
			case err == nil:
				mu.Lock()
				won++
				mu.Unlock()
			case !errors.Is(err, registry.ErrNotFound):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return won
}

func TestFactors(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		ann := must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "ann"})).ID
		bob := must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: "bob"})).ID
		none := func(name string, err error) {
			t.Helper()
			if !errors.Is(err, registry.ErrNotFound) {
				t.Errorf("%s: got %v, want not found", name, err)
			}
		}
		made := registry.TOTP{User: ann, Sealed: []byte("old"), CreatedAt: noon}
		if err := s.InsertTOTP(ctx, made); err != nil {
			t.Fatal(err)
		}
		none("a user that there is not", s.InsertTOTP(ctx, registry.TOTP{User: "nobody", Sealed: []byte("x"), CreatedAt: noon}))
		none("a step of an unconfirmed one", s.UseTOTPStep(ctx, ann, 7))
		none("codes without a factor", s.ReplaceRecoveryCodes(ctx, ann, [][32]byte{{1}}))
		next := registry.TOTP{User: ann, Sealed: []byte("new"), CreatedAt: noon.Add(time.Minute)}
		if err := s.InsertTOTP(ctx, next); err != nil {
			t.Fatal(err)
		}
		same(t, must[registry.TOTP](t)(s.TOTP(ctx, ann)), next)
		made.ConfirmedAt, made.LastStep = noon, 5
		_, err := s.ConfirmTOTP(ctx, made, [][32]byte{{1}})
		none("to confirm one that was replaced", err)
		next.ConfirmedAt, next.LastStep = noon.Add(2*time.Minute), 5
		if first, err := s.ConfirmTOTP(ctx, next, [][32]byte{{1}, {2}}); !first || err != nil {
			t.Fatalf("confirm: %v, %v", first, err)
		}
		same(t, must[registry.TOTP](t)(s.TOTP(ctx, ann)), next)
		if err := s.InsertTOTP(ctx, made); !errors.Is(err, registry.ErrExists) {
			t.Errorf("over a confirmed one: got %v", err)
		}
		same(t, must[registry.TOTP](t)(s.TOTP(ctx, ann)), next)
		none("the step of the confirmation", s.UseTOTPStep(ctx, ann, 5))
		if won := winners(t, func() error { return s.UseTOTPStep(ctx, ann, 6) }); won != 1 {
			t.Errorf("C20: %d take one step", won)
		}
		none("another user's recovery code", s.UseRecoveryCode(ctx, bob, [32]byte{1}, noon))
		if won := winners(t, func() error { return s.UseRecoveryCode(ctx, ann, [32]byte{1}, noon) }); won != 1 {
			t.Errorf("C21: %d take one recovery code", won)
		}
		if n := must[int](t)(s.RecoveryCodes(ctx, ann)); n != 1 {
			t.Errorf("%d codes are left, want 1", n)
		}

		key := registry.Passkey{ID: "k1", User: ann, Name: "phone", Credential: `{"n":0}`, CreatedAt: noon}
		if first, err := s.InsertPasskey(ctx, key, 2, [][32]byte{{9}}); first || err != nil {
			t.Errorf("a second factor beside the first: %v, %v", first, err)
		}
		if err := s.UseRecoveryCode(ctx, ann, [32]byte{9}, noon); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("it replaced the codes: %v", err)
		}
		theirs := key
		theirs.User = bob
		if _, err := s.InsertPasskey(ctx, theirs, 2, nil); !errors.Is(err, registry.ErrExists) {
			t.Errorf("a credential that somebody has: got %v", err)
		}
		more := key
		more.ID, more.CreatedAt = "k2", noon.Add(time.Second)
		if _, err := s.InsertPasskey(ctx, more, 2, nil); err != nil {
			t.Fatal(err)
		}
		more.ID = "k3"
		if _, err := s.InsertPasskey(ctx, more, 2, nil); !errors.As(err, new(*registry.InvalidError)) {
			t.Errorf("one too many: got %v", err)
		}
		used := key
		used.Credential, used.LastUsed = `{"n":1}`, noon.Add(time.Hour)
		if won := winners(t, func() error { return s.UsePasskey(ctx, used, key.Credential) }); won != 1 {
			t.Errorf("C23: %d take one value of the counter", won)
		}
		same(t, must[[]registry.Passkey](t)(s.Passkeys(ctx, ann))[0], used)
		none("bob deletes ann's", s.DeletePasskey(ctx, bob, "k1"))

		// The codes go with the last factor, however the removals meet.
		if err := s.DeletePasskey(ctx, ann, "k1"); err != nil {
			t.Fatal(err)
		}
		if n := must[int](t)(s.RecoveryCodes(ctx, ann)); n != 1 {
			t.Errorf("%d codes are left beside other factors, want 1", n)
		}
		var wg sync.WaitGroup
		for _, remove := range []func() error{func() error { return s.DeleteTOTP(ctx, ann) }, func() error { return s.DeletePasskey(ctx, ann, "k2") }} {
			wg.Go(func() {
				if err := remove(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := must[int](t)(s.RecoveryCodes(ctx, ann)); n != 0 {
			t.Errorf("C21: %d codes outlive the last factor", n)
		}
		none("a generator that has gone", s.DeleteTOTP(ctx, ann))

		if _, err := s.InsertPasskey(ctx, theirs, 2, [][32]byte{{3}}); err != nil {
			t.Fatal(err)
		}
		if err := s.DropFactors(ctx, bob); err != nil {
			t.Fatal(err)
		}
		if n, keys := must[int](t)(s.RecoveryCodes(ctx, bob)), must[[]registry.Passkey](t)(s.Passkeys(ctx, bob)); n != 0 || len(keys) != 0 {
			t.Errorf("after all were dropped: %d codes, %v", n, keys)
		}
		none("factors of nobody", s.DropFactors(ctx, "nobody"))
	})
}
