package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"
)

// A ForeignList is the CRL of an imported authority, the last that was taken. All
// nodes share it, so that one that starts without a network knows it.
type ForeignList struct {
	Authority  AuthorityID
	Domain     DomainID
	Number     string // decimal; "" when it has none
	ThisUpdate time.Time
	NextUpdate time.Time
	Lines      int
	FetchedAt  time.Time // when it was last seen to be the newest
	Sum        string    // SHA-256 of DER, hexadecimal
	DER        []byte    // nil where only what is said about it is asked for
}

// Due reports whether it is time to fetch the next: at half the life of this one
// or after an hour, whichever comes first.
func (l ForeignList) Due(now time.Time) bool {
	return now.Sub(l.FetchedAt) >= time.Hour || !now.Before(l.ThisUpdate.Add(l.NextUpdate.Sub(l.ThisUpdate)/2)) && now.Sub(l.FetchedAt) >= listAgain
}

// listAgain is how soon a list that is past half its life is asked for again:
// its successor may not be out yet.
const listAgain = 5 * time.Minute

// What the lists may cost in memory, some 50 bytes a line.
const (
	MaxListLines  = 1_000_000 // of one list
	maxTotalLines = 2_000_000 // of all, on the platform
)

// PutForeignList takes a list whose signature was checked, unless the one in use
// is newer. The same list again only notes that it is still the newest.
func (r *Registry) PutForeignList(ctx context.Context, domain DomainID, l ForeignList) (ForeignList, error) {
	sum := sha256.Sum256(l.DER)
	l.Domain, l.FetchedAt, l.Sum = domain, r.now(), hex.EncodeToString(sum[:])
	if l.Lines > MaxListLines {
		return ForeignList{}, &InvalidError{Field: "crl", Reason: "has more than 1000000 lines"}
	}
	err := r.lockedDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		if err := tx.Lock(ctx, lockForeign); err != nil {
			return nil, err
		}
		a, err := tx.ImportedAuthority(ctx, domain, l.Authority)
		if err != nil {
			return nil, err
		}
		if a.Status == ImportUnproved {
			return nil, &InvalidError{Field: "authority", Reason: "is not proved; prove it first"}
		}
		last, err := tx.ForeignListHead(ctx, l.Authority)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		known := err == nil
		switch {
		case known && last.Sum == l.Sum:
			return nil, tx.TouchForeignList(ctx, l.Authority, l.FetchedAt)
		case known && l.olderThan(last):
			return nil, &InvalidError{Field: "crl", Reason: "is older than the one in use, of " + last.ThisUpdate.Format(time.RFC3339)}
		}
		heads, err := tx.ForeignLists(ctx)
		if err != nil {
			return nil, err
		}
		total := l.Lines
		for _, h := range heads {
			if h.Authority != l.Authority {
				total += h.Lines
			}
		}
		if total > maxTotalLines {
			return nil, &InvalidError{Field: "crl", Reason: "does not fit: all lists together may have 2000000 lines"}
		}
		return []Change{{Domain: domain, Authority: l.Authority}}, tx.PutForeignList(ctx, l)
	})
	if err != nil {
		return ForeignList{}, err
	}
	return l, nil
}

// olderThan goes by the time and, of the same time, by the number (RFC 5280
// §5.2.3).
func (l ForeignList) olderThan(last ForeignList) bool {
	if !l.ThisUpdate.Equal(last.ThisUpdate) {
		return l.ThisUpdate.Before(last.ThisUpdate)
	}
	return len(l.Number) < len(last.Number) || len(l.Number) == len(last.Number) && l.Number < last.Number
}

// ForeignList returns the list of an authority of the domain, without its DER.
func (r *Registry) ForeignList(ctx context.Context, domain DomainID, authority AuthorityID) (ForeignList, error) {
	l, err := r.Store.ForeignListHead(ctx, authority)
	if err == nil && l.Domain != domain {
		err = ErrNotFound
	}
	if err != nil {
		return ForeignList{}, err
	}
	return l, nil
}
