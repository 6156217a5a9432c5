package store

import (
	"context"

	"github.com/postern-io/postern/registry"
)

// DropFactors implements registry.SessionRevoker.
func (s writes) DropFactors(ctx context.Context, user registry.UserID) error {
	for _, table := range []string{"totps", "recovery_codes", "passkeys"} {
		if err := run(ctx, s.db, "DELETE FROM "+table+" WHERE account = $1", string(user)); err != nil {
			return err
		}
	}
	return nil
}
