package store

import (
	"context"
	"time"

	"github.com/postern-io/postern/registry"
)

const identityColumns = "provider, subject, account, email, created_at, last_used"

func scanIdentity(r row) (i registry.LinkedIdentity, err error) {
	err = r.Scan(&i.Provider, &i.Subject, &i.User, &i.Email, timeOf{&i.CreatedAt}, timeOf{&i.LastUsed})
	return i, err
}

// Identity implements registry.IdentityReader.
func (s reads) Identity(ctx context.Context, provider, subject string) (registry.LinkedIdentity, error) {
	return one(ctx, s.db, scanIdentity, "SELECT "+identityColumns+" FROM identities WHERE provider = $1 AND subject = $2", provider, subject)
}

// Identities implements registry.IdentityReader.
func (s reads) Identities(ctx context.Context, user registry.UserID) ([]registry.LinkedIdentity, error) {
	return collect(ctx, s.db, scanIdentity, "SELECT "+identityColumns+" FROM identities WHERE account = $1 ORDER BY created_at, provider, subject", string(user))
}

// InsertIdentity implements registry.IdentityWriter.
func (s writes) InsertIdentity(ctx context.Context, i registry.LinkedIdentity) error {
	return exec(ctx, s.db, "INSERT INTO identities ("+identityColumns+") VALUES ($1, $2, $3, $4, $5, $6)",
		i.Provider, i.Subject, string(i.User), i.Email, micros(i.CreatedAt), micros(i.LastUsed))
}

// DeleteIdentity implements registry.IdentityWriter.
func (s writes) DeleteIdentity(ctx context.Context, user registry.UserID, provider, subject string) error {
	return exec(ctx, s.db, "DELETE FROM identities WHERE account = $1 AND provider = $2 AND subject = $3", string(user), provider, subject)
}

// DropCredentials implements registry.IdentityWriter.
func (s writes) DropCredentials(ctx context.Context, user registry.UserID) error {
	for _, table := range []string{"identities", "one_time_keys", "api_keys", "totps", "recovery_codes", "passkeys"} {
		if err := run(ctx, s.db, "DELETE FROM "+table+" WHERE account = $1", string(user)); err != nil {
			return err
		}
	}
	return nil
}

// BelongsToDomains implements registry.IdentityWriter.
func (s writes) BelongsToDomains(ctx context.Context, user registry.UserID) (bool, error) {
	n, err := count(ctx, s.db, "SELECT COUNT(*) FROM memberships WHERE account = $1", string(user))
	return n > 0, err
}

// TouchIdentity notes that an identity was used.
func (s signIns) TouchIdentity(ctx context.Context, provider, subject string, at time.Time) error {
	return run(ctx, s.db, "UPDATE identities SET last_used = $3 WHERE provider = $1 AND subject = $2 AND last_used < $3", provider, subject, micros(at))
}

// MarkSeen remembers an assertion by its hash until the given time. Of any
// number of callers at once, on any node, exactly one is first.
func (s signIns) MarkSeen(ctx context.Context, hash [32]byte, until time.Time) (first bool, err error) {
	res, err := s.db.ExecContext(ctx, "INSERT INTO seen_assertions (hash, expires) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING", hash[:], micros(until))
	if err != nil {
		return false, mapError(err)
	}
	n, err := res.RowsAffected()
	return n == 1, mapError(err)
}
