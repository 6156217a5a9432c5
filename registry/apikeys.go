package registry

import (
	"context"
	"fmt"
	"time"
)

// MaxAPIKeys is how many keys a person may have at once that are neither
// revoked nor expired.
const MaxAPIKeys = 50

// CreateAPIKey keeps a key for k.User; id and time of creation are filled in.
// It returns an *InvalidError when the name will not do or there are MaxAPIKeys
// already, and ErrNotFound when there is no such user.
func (r *Registry) CreateAPIKey(ctx context.Context, k APIKey) (APIKey, error) {
	if k.Name == "" {
		return APIKey{}, &InvalidError{Field: "name", Reason: "must say what the key is for"}
	}
	if err := checkText("name", k.Name, MaxName); err != nil {
		return APIKey{}, err
	}
	k.ID, k.CreatedAt, k.LastUsed, k.RevokedAt = APIKeyID(r.NewID()), r.now(), time.Time{}, time.Time{}
	k.Expires = k.Expires.UTC().Truncate(time.Microsecond)
	err := r.update(ctx, func(tx Tx) ([]Change, error) {
		if _, err := tx.LockUser(ctx, k.User); err != nil {
			return nil, err
		}
		n, err := tx.LiveAPIKeys(ctx, k.User, k.CreatedAt)
		if err != nil {
			return nil, err
		}
		if n >= MaxAPIKeys {
			return nil, &InvalidError{Field: "user", Reason: fmt.Sprintf("has %d keys already; revoke one first", MaxAPIKeys)}
		}
		return []Change{{User: k.User}}, tx.InsertAPIKey(ctx, k)
	})
	if err != nil {
		return APIKey{}, err
	}
	return k, nil
}

// RevokeAPIKey ends a key of the user; ErrNotFound when the user has no such
// key, or it is revoked already.
func (r *Registry) RevokeAPIKey(ctx context.Context, user UserID, id APIKeyID) error {
	return r.update(ctx, func(tx Tx) ([]Change, error) {
		return []Change{{User: user}}, tx.RevokeAPIKey(ctx, user, id, r.now())
	})
}
