package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postern-io/postern/registry"
)

const sessionColumns = "id, account, provider, kind, ip, user_agent, created_at, last_seen, expires, revoked_at, authenticated_at, amr"

func scanSession(r row) (s registry.UserSession, err error) {
	err = r.Scan(&s.ID, &s.User, &s.Provider, &s.Kind, &s.IP, &s.UserAgent,
		timeOf{&s.CreatedAt}, timeOf{&s.LastSeen}, timeOf{&s.Expires}, timeOf{&s.RevokedAt},
		timeOf{&s.AuthenticatedAt}, &s.AMR)
	return s, err
}

// Session returns a sign-in, revoked and expired ones included.
func (s reads) Session(ctx context.Context, id registry.SessionID) (registry.UserSession, error) {
	return one(ctx, s.db, scanSession, "SELECT "+sessionColumns+" FROM sessions WHERE id = $1", string(id))
}

// UserSessions returns the sign-ins of a user that are live at now, the newest
// first, at most 1000.
func (s reads) UserSessions(ctx context.Context, user registry.UserID, now time.Time) ([]registry.UserSession, error) {
	return collect(ctx, s.db, scanSession, "SELECT "+sessionColumns+` FROM sessions
		WHERE account = $1 AND revoked_at = 0 AND expires > $2 ORDER BY created_at DESC, id LIMIT 1000`,
		string(user), micros(now))
}

// RefreshToken returns the record of a refresh token, used ones included.
func (s reads) RefreshToken(ctx context.Context, hash [32]byte) (registry.RefreshToken, error) {
	return one(ctx, s.db, scanRefresh, "SELECT "+refreshColumns+" FROM refresh_tokens WHERE hash = $1", hash[:])
}

// InsertSession adds a sign-in.
func (s signIns) InsertSession(ctx context.Context, u registry.UserSession) error {
	return exec(ctx, s.db, "INSERT INTO sessions ("+sessionColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
		string(u.ID), string(u.User), u.Provider, u.Kind, u.IP, u.UserAgent,
		micros(u.CreatedAt), micros(u.LastSeen), micros(u.Expires), micros(u.RevokedAt),
		micros(u.AuthenticatedAt), u.AMR)
}

// TouchSession notes that a sign-in was used.
func (s signIns) TouchSession(ctx context.Context, id registry.SessionID, at time.Time) error {
	return run(ctx, s.db, "UPDATE sessions SET last_seen = $2 WHERE id = $1 AND last_seen < $2", string(id), micros(at))
}

// RevokeSession implements registry.SessionRevoker.
func (s writes) RevokeSession(ctx context.Context, user registry.UserID, id registry.SessionID, at time.Time) error {
	return exec(ctx, s.db, "UPDATE sessions SET revoked_at = $3 WHERE id = $1 AND account = $2 AND revoked_at = 0",
		string(id), string(user), micros(at))
}

// RevokeSessions implements registry.SessionRevoker.
func (s writes) RevokeSessions(ctx context.Context, user registry.UserID, except registry.SessionID, at time.Time) error {
	return run(ctx, s.db, "UPDATE sessions SET revoked_at = $3 WHERE account = $1 AND id <> $2 AND revoked_at = 0",
		string(user), string(except), micros(at))
}

const refreshColumns = "hash, session, parent, created, expires, used_at"

func scanRefresh(r row) (t registry.RefreshToken, err error) {
	var hash, parent []byte
	if err = r.Scan(&hash, &t.Session, &parent, timeOf{&t.Created}, timeOf{&t.Expires}, timeOf{&t.UsedAt}); err != nil {
		return t, err
	}
	if len(hash) != len(t.Hash) || len(parent) != len(t.Parent) {
		return t, fmt.Errorf("refresh token of session %s: hashes of %d and %d bytes", t.Session, len(hash), len(parent))
	}
	t.Hash, t.Parent = [32]byte(hash), [32]byte(parent)
	return t, nil
}

// InsertRefreshToken adds a link to a session's chain.
func (s signIns) InsertRefreshToken(ctx context.Context, t registry.RefreshToken) error {
	return exec(ctx, s.db, "INSERT INTO refresh_tokens ("+refreshColumns+") VALUES ($1, $2, $3, $4, $5, $6)",
		t.Hash[:], string(t.Session), t.Parent[:], micros(t.Created), micros(t.Expires), micros(t.UsedAt))
}

// UseRefreshToken marks the token used at now. Of any number of callers at
// once, on any node, exactly one gets first; the others get the token with the
// time of its first use. Expiry and revocation are the caller's to check.
func (s signIns) UseRefreshToken(ctx context.Context, hash [32]byte, now time.Time) (t registry.RefreshToken, first bool, err error) {
	t, err = one(ctx, s.db, scanRefresh,
		"UPDATE refresh_tokens SET used_at = $2 WHERE hash = $1 AND used_at = 0 RETURNING "+refreshColumns, hash[:], micros(now))
	if errors.Is(err, registry.ErrNotFound) {
		t, err = reads(s).RefreshToken(ctx, hash)
		return t, false, err
	}
	return t, err == nil, err
}

// PurgeExpired implements registry.Purger.
func (s writes) PurgeExpired(ctx context.Context, endedBefore time.Time) error {
	for _, statement := range []string{
		"DELETE FROM refresh_tokens WHERE expires < $1",
		"DELETE FROM sessions WHERE expires < $1 OR revoked_at > 0 AND revoked_at < $1",
		"DELETE FROM device_secrets WHERE expires > 0 AND expires < $1",
		"DELETE FROM flows WHERE expires < $1",
		"DELETE FROM seen_assertions WHERE expires < $1",
		"DELETE FROM one_time_keys WHERE expires < $1",
		"DELETE FROM api_keys WHERE expires > 0 AND expires < $1 OR revoked_at > 0 AND revoked_at < $1",
		"DELETE FROM claims WHERE expires < $1",
		"DELETE FROM throttles WHERE since < $1 AND blocked_until < $1",
	} {
		if err := run(ctx, s.db, statement, micros(endedBefore)); err != nil {
			return err
		}
	}
	return nil
}
