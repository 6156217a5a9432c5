package store

import (
	"context"
	"errors"
	"time"

	"github.com/postern-io/postern/registry"
)

const throttleColumns = "name, failures, since, blocked_until"

func scanThrottle(r row) (t registry.Throttle, err error) {
	err = r.Scan(&t.Key, &t.Failures, timeOf{&t.Since}, timeOf{&t.BlockedUntil})
	return t, err
}

// Throttle returns the counter of that key; without failures it is zero but
// for the key.
func (s reads) Throttle(ctx context.Context, key string) (registry.Throttle, error) {
	t, err := one(ctx, s.db, scanThrottle, "SELECT "+throttleColumns+" FROM throttles WHERE name = $1", key)
	if errors.Is(err, registry.ErrNotFound) {
		return registry.Throttle{Key: key}, nil
	}
	return t, err
}

// CountFailure adds one failed sign-in to the counter and returns it. A counter
// that began more than window ago starts anew. Of callers at once none is lost.
func (s signIns) CountFailure(ctx context.Context, key string, now time.Time, window time.Duration) (registry.Throttle, error) {
	return one(ctx, s.db, scanThrottle, `INSERT INTO throttles (name, failures, since, blocked_until) VALUES ($1, 1, $2, 0)
		ON CONFLICT (name) DO UPDATE SET
			failures = CASE WHEN throttles.since < $3 THEN 1 ELSE throttles.failures + 1 END,
			since = CASE WHEN throttles.since < $3 THEN $2 ELSE throttles.since END
		RETURNING `+throttleColumns, key, micros(now), micros(now.Add(-window)))
}

// BlockUntil keeps a key out until the given time; it never shortens a block.
func (s signIns) BlockUntil(ctx context.Context, key string, until time.Time) error {
	return run(ctx, s.db, "UPDATE throttles SET blocked_until = $2 WHERE name = $1 AND blocked_until < $2", key, micros(until))
}

// ForgetFailures removes the counter of a key.
func (s signIns) ForgetFailures(ctx context.Context, key string) error {
	return run(ctx, s.db, "DELETE FROM throttles WHERE name = $1", key)
}
