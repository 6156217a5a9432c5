package registry

import (
	"context"
	"time"
)

// UpdatePassword is UpdateUser for a change after which old sign-ins are good
// for nothing: with it all sessions of the account end but the one named, which
// may be empty. With keys its API keys end, too.
func (r *Registry) UpdatePassword(ctx context.Context, by, id UserID, except SessionID, keys bool, edit func(*User) error) (User, error) {
	return r.updateUser(ctx, by, id, edit, func(tx Tx, now time.Time) error {
		if keys {
			if err := tx.RevokeAPIKeys(ctx, id, now); err != nil {
				return err
			}
		}
		return tx.RevokeSessions(ctx, id, except, now)
	})
}

// MakeOwner makes an account an enabled owner, whom no group of a provider takes
// the role again. With dropFactors its second factors are gone. It is for who
// owns the host, not for a door.
func (r *Registry) MakeOwner(ctx context.Context, id UserID, dropFactors bool) (User, error) {
	return r.updateUser(ctx, "", id, func(u *User) error {
		u.Role, u.RoleSource, u.Status = Owner, "", Enabled
		return nil
	}, func(tx Tx, _ time.Time) error {
		if !dropFactors {
			return nil
		}
		return tx.DropFactors(ctx, id)
	})
}
