package registry

import (
	"context"
	"errors"
	"time"
)

// A Registry is where every change of a noun is checked, stored and then
// announced. It is safe for concurrent use.
//
// Changes take the person who makes them (by, empty for the server itself) and
// an edit function that alters the row while no other writer can: a caller who
// must decide by the present state, as authz does by a user's role, decides
// there.
type Registry struct {
	Store  Store
	Hasher *SecretHasher
	Now    func() time.Time
	NewID  func() string // a new canonical UUID

	// OnChange is called after a change was stored, before its method
	// returns, with what it concerned. It must not block for long. The
	// context it gets is not cancelled when the caller goes away: what is
	// stored must be announced. It may be nil.
	OnChange func(ctx context.Context, changes []Change)
}

// update runs one transaction and announces the changes it returns.
func (r *Registry) update(ctx context.Context, do func(Tx) ([]Change, error)) error {
	var changes []Change
	err := r.Store.Update(ctx, func(tx Tx) (err error) {
		changes, err = do(tx)
		return err
	})
	if err != nil {
		return err
	}
	if r.OnChange != nil && len(changes) > 0 {
		r.OnChange(context.WithoutCancel(ctx), changes)
	}
	return nil
}

// inDomain runs one transaction that changes something inside a domain: the
// domain is locked, so it cannot be frozen or removed meanwhile.
func (r *Registry) inDomain(ctx context.Context, id DomainID, do func(Tx) ([]Change, error)) error {
	return r.update(ctx, func(tx Tx) ([]Change, error) {
		d, err := tx.LockDomain(ctx, id)
		if err != nil {
			return nil, err
		}
		if d.Status == Frozen {
			return nil, ErrFrozen
		}
		return do(tx)
	})
}

// id returns the canonical form of an id that the caller brought, or a new one.
func (r *Registry) id(brought string) (string, error) {
	if brought == "" {
		return r.NewID(), nil
	}
	return ParseID(brought)
}

// now is cut to the microseconds that the store keeps, so that what a create
// returns equals what a later read returns.
func (r *Registry) now() time.Time { return r.Now().UTC().Truncate(time.Microsecond) }

func notFoundIsFine(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
