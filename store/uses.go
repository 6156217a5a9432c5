package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/postern-io/postern/registry"
)

// TouchSecret notes that the secrets were used at the given time. Secrets that
// are gone are passed over, and a later time is never put back.
func (s *Store) TouchSecret(ctx context.Context, ids []registry.SecretID, at time.Time) error {
	return touch(ctx, s, "device_secrets", "last_used", ids, at)
}

// TouchCertificates notes that the certificates were used at the given time. It
// is as TouchSecret.
func (s *Store) TouchCertificates(ctx context.Context, ids []registry.CertificateID, at time.Time) error {
	return touch(ctx, s, "certificates", "last_used", ids, at)
}

// MarkShared notes that the certificates were in use at two addresses at once.
// It is as TouchSecret.
func (s *Store) MarkShared(ctx context.Context, ids []registry.CertificateID, at time.Time) error {
	return touch(ctx, s, "certificates", "shared_at", ids, at)
}

// touchedAtOnce bounds how many rows one transaction touches, and so how long a
// change in their domains waits for it.
const touchedAtOnce = 1000

// touch sets a time of the rows. It locks their domains first, as every change
// inside a domain does: rows that it holds are never waited for by one who holds
// what it waits for, such as the removal of the domain. Domains are locked in
// order, so that two nodes do not wait for each other.
func touch[ID ~string](ctx context.Context, s *Store, table, column string, ids []ID, at time.Time) error {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	for some := range slices.Chunk(ids, touchedAtOnce) {
		var older filter
		older.add(column+" < ?", micros(at)) // $1
		older.in("id", anys(some)...)
		err := s.begin(ctx, func(tx querier) error {
			domains, err := collect(ctx, tx, func(r row) (id registry.DomainID, err error) {
				err = r.Scan(&id)
				return id, err
			}, "SELECT DISTINCT domain FROM "+table+older.where()+" ORDER BY domain", older.args...)
			if err != nil {
				return err
			}
			for _, id := range domains {
				// Not found: a certificate outlives its domain.
				if _, err := (writes{tx}).LockDomain(ctx, id); err != nil && !errors.Is(err, registry.ErrNotFound) {
					return err
				}
			}
			return run(ctx, tx, "UPDATE "+table+" SET "+column+" = $1"+older.where(), older.args...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
