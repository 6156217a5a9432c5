package registry

import (
	"context"
	"errors"
	"time"
)

// An Authority is an issuing authority of our own. All nodes share it: what one
// signs the others trust, and each can say what was revoked.
type Authority struct {
	ID        AuthorityID
	DER       []byte // its certificate
	Root      []byte // of the root that signed it
	RootList  []byte // CRL of that root, which says that this one is not revoked
	Key       []byte // sealed; what opens it is not in the database
	CreatedAt time.Time
	RetiredAt time.Time // zero: it signs new certificates; otherwise only lists of what was revoked
	Revision  int64     // counts the revocations of its certificates
}

// A RevocationList is a CRL (RFC 5280 §5) as it was last signed.
type RevocationList struct {
	Authority  AuthorityID
	Number     int64
	Revision   int64 // of the authority when it was made
	ThisUpdate time.Time
	NextUpdate time.Time
	DER        []byte
}

// fresh reports whether the list says all there is to say. It is made anew at
// half its life, so that whoever fetches one can keep it for a while.
func (l RevocationList) fresh(a Authority, now time.Time) bool {
	return l.Revision == a.Revision && now.Before(l.ThisUpdate.Add(l.NextUpdate.Sub(l.ThisUpdate)/2))
}

// A Revocation is one line of such a list.
type Revocation struct {
	Serial string // hexadecimal
	At     time.Time
	Reason RevocationReason
}

// Authorities returns our issuing authorities: the one that signs, then those
// before it, the newest first.
func (r *Registry) Authorities(ctx context.Context) ([]Authority, error) {
	return r.Store.Authorities(ctx)
}

// EstablishAuthority returns the authority that signs, or has found make one. Of
// several nodes that start at once, one makes it.
func (r *Registry) EstablishAuthority(ctx context.Context, found func() (Authority, error)) (Authority, error) {
	var a Authority
	err := r.update(ctx, func(tx Tx) ([]Change, error) {
		if err := tx.Lock(ctx, lockAuthority); err != nil {
			return nil, err
		}
		all, err := tx.Authorities(ctx)
		if err != nil {
			return nil, err
		}
		for _, a = range all {
			if a.RetiredAt.IsZero() {
				return nil, nil
			}
		}
		return r.insertAuthority(ctx, tx, found, &a)
	})
	if err != nil {
		return Authority{}, err
	}
	return a, nil
}

// RotateAuthority has found make a new authority that signs from now on. The one
// before signs no more certificates; those it signed stay good.
func (r *Registry) RotateAuthority(ctx context.Context, found func() (Authority, error)) (Authority, error) {
	var a Authority
	err := r.update(ctx, func(tx Tx) ([]Change, error) {
		if err := tx.Lock(ctx, lockAuthority); err != nil {
			return nil, err
		}
		if err := tx.RetireAuthorities(ctx, r.now()); err != nil {
			return nil, err
		}
		return r.insertAuthority(ctx, tx, found, &a)
	})
	if err != nil {
		return Authority{}, err
	}
	return a, nil
}

func (r *Registry) insertAuthority(ctx context.Context, tx Tx, found func() (Authority, error), a *Authority) (_ []Change, err error) {
	if *a, err = found(); err != nil {
		return nil, err
	}
	a.CreatedAt = r.now()
	return []Change{{Authority: a.ID}}, tx.InsertAuthority(ctx, *a)
}

// RenewRootList keeps a new CRL of the root above an authority.
func (r *Registry) RenewRootList(ctx context.Context, id AuthorityID, list []byte) error {
	return r.update(ctx, func(tx Tx) ([]Change, error) {
		return []Change{{Authority: id}}, tx.PutRootList(ctx, id, list)
	})
}

// RevocationList returns the CRL of an authority that lists every revocation
// stored so far. When the last one does not, sign makes the next, with the next
// number; of several nodes one does.
func (r *Registry) RevocationList(ctx context.Context, id AuthorityID, sign func(number int64, lines []Revocation) (RevocationList, error)) (RevocationList, error) {
	l, fresh, err := r.lastList(ctx, r.Store, id)
	if err != nil || fresh {
		return l, err
	}
	err = r.update(ctx, func(tx Tx) ([]Change, error) {
		if err := tx.Lock(ctx, lockLists); err != nil {
			return nil, err
		}
		last, fresh, err := r.lastList(ctx, tx, id)
		if l = last; err != nil || fresh {
			return nil, err
		}
		a, err := tx.Authority(ctx, id)
		if err != nil {
			return nil, err
		}
		// Once ended a certificate stays for one more list (RFC 5280 §3.3);
		// whoever got that one has it.
		lines, err := tx.Revocations(ctx, id, last.ThisUpdate)
		if err != nil {
			return nil, err
		}
		if l, err = sign(last.Number+1, lines); err != nil {
			return nil, err
		}
		l.Authority, l.Number, l.Revision = id, last.Number+1, a.Revision
		return nil, tx.PutRevocationList(ctx, l)
	})
	if err != nil {
		return RevocationList{}, err
	}
	return l, nil
}

// lastList returns the last list, zero when there was none.
func (r *Registry) lastList(ctx context.Context, from AuthorityReader, id AuthorityID) (l RevocationList, fresh bool, err error) {
	a, err := from.Authority(ctx, id)
	if err != nil {
		return l, false, err
	}
	l, err = from.LastRevocationList(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return RevocationList{}, false, nil
	}
	return l, err == nil && l.fresh(a, r.now()), err
}
