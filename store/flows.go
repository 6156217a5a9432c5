package store

import (
	"context"
	"fmt"
	"time"

	"github.com/postern-io/postern/registry"
)

const flowColumns = "state, provider, browser, nonce, verifier, back_to, account, expires"

func scanFlow(r row) (f registry.SignInFlow, err error) {
	var state, browser []byte
	if err = r.Scan(&state, &f.Provider, &browser, &f.Nonce, &f.Verifier, &f.BackTo, &f.User, timeOf{&f.Expires}); err != nil {
		return f, err
	}
	if len(state) != len(f.State) || len(browser) != len(f.Browser) {
		return f, fmt.Errorf("flow at %s: hashes of %d and %d bytes", f.Provider, len(state), len(browser))
	}
	f.State, f.Browser = [32]byte(state), [32]byte(browser)
	return f, nil
}

// InsertFlow keeps a sign-in that goes to another site.
func (s signIns) InsertFlow(ctx context.Context, f registry.SignInFlow) error {
	return exec(ctx, s.db, "INSERT INTO flows ("+flowColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		f.State[:], f.Provider, f.Browser[:], f.Nonce, f.Verifier, f.BackTo, string(f.User), micros(f.Expires))
}

// TakeFlow returns a flow and forgets it: of any number of callers at once one
// gets it, the others registry.ErrNotFound. Expiry is the caller's to check.
func (s signIns) TakeFlow(ctx context.Context, state [32]byte) (registry.SignInFlow, error) {
	return one(ctx, s.db, scanFlow, "DELETE FROM flows WHERE state = $1 RETURNING "+flowColumns, state[:])
}

// TakeFlowOf is TakeFlow for a site that does not bring the state back: it takes
// the flow that the same browser began last, to the same provider and path.
func (s signIns) TakeFlowOf(ctx context.Context, provider string, browser [32]byte, backTo string) (registry.SignInFlow, error) {
	return one(ctx, s.db, scanFlow, `DELETE FROM flows WHERE state = (SELECT state FROM flows
		WHERE browser = $1 AND provider = $2 AND back_to = $3 ORDER BY expires DESC LIMIT 1) RETURNING `+flowColumns,
		browser[:], provider, backTo)
}

const keyColumns = "hash, purpose, account, data, created, expires, failures, used_at"

func scanKey(r row) (k registry.OneTimeKey, err error) {
	var hash []byte
	if err = r.Scan(&hash, &k.Purpose, &k.User, &k.Data, timeOf{&k.Created}, timeOf{&k.Expires}, &k.Failures, timeOf{&k.UsedAt}); err != nil {
		return k, err
	}
	if len(hash) != len(k.Hash) {
		return k, fmt.Errorf("one-time key of user %s: a hash of %d bytes", k.User, len(hash))
	}
	k.Hash = [32]byte(hash)
	return k, nil
}

// InsertKey keeps a one-time key.
func (s signIns) InsertKey(ctx context.Context, k registry.OneTimeKey) error {
	return exec(ctx, s.db, "INSERT INTO one_time_keys ("+keyColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		k.Hash[:], string(k.Purpose), string(k.User), k.Data, micros(k.Created), micros(k.Expires), k.Failures, micros(k.UsedAt))
}

// OneTimeKey returns a key of that purpose which is unused and has not expired
// at now, without using it; else registry.ErrNotFound.
func (s reads) OneTimeKey(ctx context.Context, hash [32]byte, purpose registry.KeyPurpose, now time.Time) (registry.OneTimeKey, error) {
	return one(ctx, s.db, scanKey, "SELECT "+keyColumns+" FROM one_time_keys WHERE hash = $1 AND purpose = $2 AND used_at = 0 AND expires > $3",
		hash[:], string(purpose), micros(now))
}

// UseKey uses a key up: of any number of callers at once, on any node, one gets
// it. The others, and whoever shows a key of another purpose or one that has
// expired, get registry.ErrNotFound.
func (s signIns) UseKey(ctx context.Context, hash [32]byte, purpose registry.KeyPurpose, now time.Time) (registry.OneTimeKey, error) {
	return one(ctx, s.db, scanKey, "UPDATE one_time_keys SET used_at = $3 WHERE hash = $1 AND purpose = $2 AND used_at = 0 AND expires > $3 RETURNING "+keyColumns,
		hash[:], string(purpose), micros(now))
}

// CountKeyFailure notes that a key came with a wrong answer and returns how
// often that was.
func (s signIns) CountKeyFailure(ctx context.Context, hash [32]byte) (int, error) {
	return one(ctx, s.db, func(r row) (n int, err error) { err = r.Scan(&n); return n, err },
		"UPDATE one_time_keys SET failures = failures + 1 WHERE hash = $1 RETURNING failures", hash[:])
}

// DropKeys removes the unused keys of a user for one purpose: a new one makes
// the old ones worthless.
func (s signIns) DropKeys(ctx context.Context, user registry.UserID, purpose registry.KeyPurpose) error {
	return run(ctx, s.db, "DELETE FROM one_time_keys WHERE account = $1 AND purpose = $2 AND used_at = 0", string(user), string(purpose))
}
