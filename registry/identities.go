package registry

import (
	"context"
	"time"
)

// Identities returns what lets the user in at other providers.
func (r *Registry) Identities(ctx context.Context, user UserID) ([]LinkedIdentity, error) {
	return r.Store.Identities(ctx, user)
}

// CreateUserFor creates an account together with the identity that it is for.
// Of two at once for one identity the second gets an *ExistsError for
// "identity".
func (r *Registry) CreateUserFor(ctx context.Context, u User, i LinkedIdentity) (User, error) {
	u, err := r.newUser("", u)
	if err != nil {
		return User{}, err
	}
	i.User, i.CreatedAt, i.LastUsed = u.ID, u.CreatedAt, u.CreatedAt
	err = r.update(ctx, func(tx Tx) ([]Change, error) {
		if err := tx.InsertUser(ctx, u); err != nil {
			return nil, err
		}
		return []Change{{User: u.ID}}, tx.InsertIdentity(ctx, i)
	})
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// Link gives an account one more identity; an *ExistsError for "identity" when
// it is somebody's already.
func (r *Registry) Link(ctx context.Context, i LinkedIdentity) error {
	i.CreatedAt = r.now()
	i.LastUsed = i.CreatedAt
	return r.update(ctx, func(tx Tx) ([]Change, error) {
		return []Change{{User: i.User}}, tx.InsertIdentity(ctx, i)
	})
}

// Unlink takes an identity from an account. An account keeps one way in: the
// last identity of an account without a password stays (*InvalidError).
func (r *Registry) Unlink(ctx context.Context, user UserID, provider, subject string) error {
	return r.update(ctx, func(tx Tx) ([]Change, error) {
		u, err := tx.LockUser(ctx, user)
		if err != nil {
			return nil, err
		}
		all, err := tx.Identities(ctx, user)
		if err != nil {
			return nil, err
		}
		if len(all) == 1 && u.PasswordHash == "" {
			return nil, &InvalidError{Field: "identity", Reason: "is the only way into this account; set a password or link another first"}
		}
		return []Change{{User: user}}, tx.DeleteIdentity(ctx, user, provider, subject)
	})
}

// Unproved reports whether nobody but its maker ever vouched for an account: it
// has a password, an e-mail address that was never verified, and no role.
// Whoever proves to own that address replaces it (Replace). Whether the account
// belongs to a domain is asked there.
func (u User) Unproved() bool {
	return u.Provider == LocalProvider && u.PasswordHash != "" && u.Email != "" && !u.EmailVerified && u.Role == NoRole && u.Status == Enabled
}

// Replace gives an unproved account to the identity that owns its e-mail
// address. Nothing of the one who made it stays: password, sessions, keys,
// factors, names (users.md §2.4, C26). It returns an *ExistsError for "email"
// when the account is not, or no longer, unproved, or belongs to a domain.
func (r *Registry) Replace(ctx context.Context, id UserID, next User, i LinkedIdentity) (User, error) {
	var u User
	err := r.update(ctx, func(tx Tx) ([]Change, error) {
		if err := tx.Lock(ctx, lockOwners); err != nil {
			return nil, err
		}
		old, err := tx.LockUser(ctx, id)
		if err != nil {
			return nil, err
		}
		member, err := tx.BelongsToDomains(ctx, id)
		if err != nil {
			return nil, err
		}
		if !old.Unproved() || member {
			return nil, &ExistsError{Field: "email"}
		}
		now := r.now()
		next.ID = id
		if u, err = r.newUser("", next); err != nil {
			return nil, err
		}
		i.User, i.CreatedAt, i.LastUsed = id, now, now
		if err := tx.DropCredentials(ctx, id); err != nil {
			return nil, err
		}
		if err := tx.RevokeSessions(ctx, id, "", now); err != nil {
			return nil, err
		}
		if err := tx.UpdateUser(ctx, u); err != nil {
			return nil, err
		}
		return []Change{{User: id}}, tx.InsertIdentity(ctx, i)
	})
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// SweepAudit removes what the audit trail kept for longer than keep.
func (r *Registry) SweepAudit(ctx context.Context, keep time.Duration) error {
	return r.Store.Update(ctx, func(tx Tx) error { return tx.PurgeAudit(ctx, r.now().Add(-keep)) })
}
