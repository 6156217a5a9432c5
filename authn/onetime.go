package authn

import (
	"context"
	"errors"
	"time"

	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
)

// Keys keeps one-time keys by their hash.
type Keys interface {
	InsertKey(ctx context.Context, k registry.OneTimeKey) error
	// OneTimeKey looks at a key without using it.
	OneTimeKey(ctx context.Context, hash [32]byte, purpose registry.KeyPurpose, now time.Time) (registry.OneTimeKey, error)
	// UseKey uses a key up; of many callers one gets it. A key that is unknown,
	// used, expired or for another purpose is registry.ErrNotFound.
	UseKey(ctx context.Context, hash [32]byte, purpose registry.KeyPurpose, now time.Time) (registry.OneTimeKey, error)
	CountKeyFailure(ctx context.Context, hash [32]byte) (int, error)
	DropKeys(ctx context.Context, user registry.UserID, purpose registry.KeyPurpose) error
}

// newKey makes a one-time key of 256 random bits for a user and returns it, the
// only time.
func (u *Users) newKey(ctx context.Context, user registry.UserID, purpose registry.KeyPurpose, data string, life time.Duration) (string, error) {
	text := token.New(keyPrefix)
	now := u.Now()
	return text, u.Keys.InsertKey(ctx, registry.OneTimeKey{Hash: token.Hash(text), Purpose: purpose, User: user, Data: data, Created: now, Expires: now.Add(life)})
}

// keyPrefix tells people and scanners what the string is.
const keyPrefix = "pok_"

// keyInvalid turns "there is none" into a refusal and leaves the rest.
func keyInvalid(err error) error {
	if errors.Is(err, registry.ErrNotFound) {
		return &RefusedError{Reason: registry.ReasonKeyInvalid}
	}
	return err
}
