package store

import (
	"context"
	"fmt"
	"time"

	"github.com/postern-io/postern/registry"
)

const apiKeyColumns = "id, hash, account, name, prefix, role, created_at, expires, last_used, revoked_at"

func scanAPIKey(r row) (k registry.APIKey, err error) {
	var hash []byte
	if err = r.Scan(&k.ID, &hash, &k.User, &k.Name, &k.Prefix, &k.Role,
		timeOf{&k.CreatedAt}, timeOf{&k.Expires}, timeOf{&k.LastUsed}, timeOf{&k.RevokedAt}); err != nil {
		return k, err
	}
	if len(hash) != len(k.Hash) {
		return k, fmt.Errorf("API key %s: a hash of %d bytes", k.ID, len(hash))
	}
	k.Hash = [32]byte(hash)
	return k, nil
}

// APIKeyByPrefix returns a key, revoked and expired ones included.
func (s reads) APIKeyByPrefix(ctx context.Context, prefix string) (registry.APIKey, error) {
	return one(ctx, s.db, scanAPIKey, "SELECT "+apiKeyColumns+" FROM api_keys WHERE prefix = $1", prefix)
}

// APIKeys returns the keys of a user that are not revoked, expired ones
// included, the newest first, at most 1000.
func (s reads) APIKeys(ctx context.Context, user registry.UserID) ([]registry.APIKey, error) {
	return collect(ctx, s.db, scanAPIKey, "SELECT "+apiKeyColumns+` FROM api_keys
		WHERE account = $1 AND revoked_at = 0 ORDER BY created_at DESC, id LIMIT 1000`, string(user))
}

// HighestMembership returns the highest role that the user has in any domain.
func (s reads) HighestMembership(ctx context.Context, user registry.UserID) (registry.Role, error) {
	n, err := count(ctx, s.db, "SELECT COALESCE(MAX(role), 0) FROM memberships WHERE account = $1", string(user))
	return registry.Role(n), err
}

// TouchAPIKey notes that a key was used.
func (s signIns) TouchAPIKey(ctx context.Context, id registry.APIKeyID, at time.Time) error {
	return run(ctx, s.db, "UPDATE api_keys SET last_used = $2 WHERE id = $1 AND last_used < $2", string(id), micros(at))
}

// LiveAPIKeys implements registry.APIKeyWriter.
func (s writes) LiveAPIKeys(ctx context.Context, user registry.UserID, now time.Time) (int, error) {
	return count(ctx, s.db, "SELECT COUNT(*) FROM api_keys WHERE account = $1 AND revoked_at = 0 AND (expires = 0 OR expires > $2)", string(user), micros(now))
}

// InsertAPIKey implements registry.APIKeyWriter.
func (s writes) InsertAPIKey(ctx context.Context, k registry.APIKey) error {
	return exec(ctx, s.db, "INSERT INTO api_keys ("+apiKeyColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		string(k.ID), k.Hash[:], string(k.User), k.Name, k.Prefix, int(k.Role),
		micros(k.CreatedAt), micros(k.Expires), micros(k.LastUsed), micros(k.RevokedAt))
}

// RevokeAPIKey implements registry.APIKeyWriter.
func (s writes) RevokeAPIKey(ctx context.Context, user registry.UserID, id registry.APIKeyID, at time.Time) error {
	return exec(ctx, s.db, "UPDATE api_keys SET revoked_at = $3 WHERE id = $1 AND account = $2 AND revoked_at = 0",
		string(id), string(user), micros(at))
}

// RevokeAPIKeys implements registry.SessionRevoker.
func (s writes) RevokeAPIKeys(ctx context.Context, user registry.UserID, at time.Time) error {
	return run(ctx, s.db, "UPDATE api_keys SET revoked_at = $2 WHERE account = $1 AND revoked_at = 0", string(user), micros(at))
}
