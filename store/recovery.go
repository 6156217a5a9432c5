package store

import (
	"context"
	"time"

	"github.com/postern-io/postern/registry"
)

// RevokeAPIKeys implements registry.SessionRevoker.
func (s writes) RevokeAPIKeys(ctx context.Context, user registry.UserID, at time.Time) error {
	return run(ctx, s.db, "UPDATE api_keys SET revoked_at = $2 WHERE account = $1 AND revoked_at = 0", string(user), micros(at))
}

// DropFactors implements registry.SessionRevoker.
func (s writes) DropFactors(ctx context.Context, user registry.UserID) error {
	for _, table := range []string{"totps", "recovery_codes", "passkeys"} {
		if err := run(ctx, s.db, "DELETE FROM "+table+" WHERE account = $1", string(user)); err != nil {
			return err
		}
	}
	return nil
}
