package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postern-io/postern/registry"
)

const totpColumns = "account, sealed, created_at, confirmed_at, last_step"

func scanTOTP(r row) (t registry.TOTP, err error) {
	err = r.Scan(&t.User, &t.Sealed, timeOf{&t.CreatedAt}, timeOf{&t.ConfirmedAt}, &t.LastStep)
	return t, err
}

// TOTP returns the code generator of a user, confirmed or not.
func (s reads) TOTP(ctx context.Context, user registry.UserID) (registry.TOTP, error) {
	return one(ctx, s.db, scanTOTP, "SELECT "+totpColumns+" FROM totps WHERE account = $1", string(user))
}

// InsertTOTP keeps a code generator that is not confirmed yet in the place of
// an earlier one. One that is confirmed stays, and is a *registry.ExistsError.
func (s signIns) InsertTOTP(ctx context.Context, t registry.TOTP) error {
	err := exec(ctx, s.db, "INSERT INTO totps ("+totpColumns+`) VALUES ($1, $2, $3, 0, 0)
		ON CONFLICT (account) DO UPDATE SET sealed = $2, created_at = $3, last_step = 0 WHERE totps.confirmed_at = 0`,
		string(t.User), t.Sealed, micros(t.CreatedAt))
	if errors.Is(err, registry.ErrNotFound) && t.User != "" { // no row was concerned, or there is no such user
		if _, err := reads(s).TOTP(ctx, t.User); err != nil {
			return err
		}
		return &registry.ExistsError{Field: "totp"}
	}
	return err
}

// UseTOTPStep notes that the code of a time step was taken. Of any number of
// callers at once, on any node, one takes a step; the others, and whoever shows
// an earlier step, get registry.ErrNotFound (RFC 6238 §5.2).
func (s signIns) UseTOTPStep(ctx context.Context, user registry.UserID, step int64) error {
	return exec(ctx, s.db, "UPDATE totps SET last_step = $2 WHERE account = $1 AND confirmed_at > 0 AND last_step < $2", string(user), step)
}

// ConfirmTOTP makes the generator with this sealed secret a factor. A user
// without another factor gets the recovery codes, which replace all that there
// were; first says so. It is registry.ErrNotFound when there is no such
// generator to confirm (any more).
func (s *Store) ConfirmTOTP(ctx context.Context, t registry.TOTP, codes [][32]byte) (first bool, err error) {
	err = s.factors(ctx, t.User, func(tx querier) error {
		if first, err = noFactor(ctx, tx, t.User); err != nil {
			return err
		}
		if err := exec(ctx, tx, "UPDATE totps SET confirmed_at = $3, last_step = $4 WHERE account = $1 AND confirmed_at = 0 AND sealed = $2",
			string(t.User), t.Sealed, micros(t.ConfirmedAt), t.LastStep); err != nil || !first {
			return err
		}
		return replaceCodes(ctx, tx, t.User, codes)
	})
	return first, err
}

// DeleteTOTP removes the code generator, and the recovery codes when it was the
// last factor.
func (s *Store) DeleteTOTP(ctx context.Context, user registry.UserID) error {
	return s.factors(ctx, user, func(tx querier) error {
		if err := exec(ctx, tx, "DELETE FROM totps WHERE account = $1", string(user)); err != nil {
			return err
		}
		return dropIdleCodes(ctx, tx, user)
	})
}

// RecoveryCodes counts the codes that are unused.
func (s reads) RecoveryCodes(ctx context.Context, user registry.UserID) (int, error) {
	return count(ctx, s.db, "SELECT COUNT(*) FROM recovery_codes WHERE account = $1 AND used_at = 0", string(user))
}

// ReplaceRecoveryCodes replaces all codes of a user who has a factor; else it is
// registry.ErrNotFound.
func (s *Store) ReplaceRecoveryCodes(ctx context.Context, user registry.UserID, codes [][32]byte) error {
	return s.factors(ctx, user, func(tx querier) error {
		switch none, err := noFactor(ctx, tx, user); {
		case err != nil:
			return err
		case none:
			return registry.ErrNotFound
		}
		return replaceCodes(ctx, tx, user, codes)
	})
}

// UseRecoveryCode uses a code up: of any number of callers at once one gets it,
// the others registry.ErrNotFound.
func (s signIns) UseRecoveryCode(ctx context.Context, user registry.UserID, code [32]byte, at time.Time) error {
	return exec(ctx, s.db, "UPDATE recovery_codes SET used_at = $3 WHERE account = $1 AND hash = $2 AND used_at = 0",
		string(user), code[:], micros(at))
}

const passkeyColumns = "id, account, name, credential, created_at, last_used"

func scanPasskey(r row) (p registry.Passkey, err error) {
	err = r.Scan(&p.ID, &p.User, &p.Name, &p.Credential, timeOf{&p.CreatedAt}, timeOf{&p.LastUsed})
	return p, err
}

// Passkeys returns the passkeys of a user, the oldest first.
func (s reads) Passkeys(ctx context.Context, user registry.UserID) ([]registry.Passkey, error) {
	return collect(ctx, s.db, scanPasskey, "SELECT "+passkeyColumns+" FROM passkeys WHERE account = $1 ORDER BY created_at, id", string(user))
}

// InsertPasskey adds a passkey to a user who has fewer than most, which is a
// *registry.InvalidError otherwise. A credential that somebody has already is a
// *registry.ExistsError (WebAuthn §7.1 step 26). With recovery codes it does as
// ConfirmTOTP.
func (s *Store) InsertPasskey(ctx context.Context, p registry.Passkey, most int, codes [][32]byte) (first bool, err error) {
	err = s.factors(ctx, p.User, func(tx querier) error {
		n, err := count(ctx, tx, "SELECT COUNT(*) FROM passkeys WHERE account = $1", string(p.User))
		if err != nil {
			return err
		}
		if n >= most {
			return &registry.InvalidError{Field: "passkey", Reason: fmt.Sprintf("is one too many; delete one of the %d first", most)}
		}
		if first, err = noFactor(ctx, tx, p.User); err != nil {
			return err
		}
		if err := exec(ctx, tx, "INSERT INTO passkeys ("+passkeyColumns+") VALUES ($1, $2, $3, $4, $5, $6)",
			p.ID, string(p.User), p.Name, p.Credential, micros(p.CreatedAt), micros(p.LastUsed)); err != nil || !first {
			return err
		}
		return replaceCodes(ctx, tx, p.User, codes)
	})
	return first, err
}

// UsePasskey keeps what a use of the passkey changed, its signature counter
// above all, unless it was used otherwise since it was read as before: then it
// is registry.ErrNotFound, because one counter must not be taken twice.
func (s signIns) UsePasskey(ctx context.Context, p registry.Passkey, before string) error {
	return exec(ctx, s.db, "UPDATE passkeys SET credential = $3, last_used = $4 WHERE id = $1 AND account = $2 AND credential = $5",
		p.ID, string(p.User), p.Credential, micros(p.LastUsed), before)
}

// DeletePasskey removes a passkey, and the recovery codes when it was the last
// factor.
func (s *Store) DeletePasskey(ctx context.Context, user registry.UserID, id string) error {
	return s.factors(ctx, user, func(tx querier) error {
		if err := exec(ctx, tx, "DELETE FROM passkeys WHERE account = $1 AND id = $2", string(user), id); err != nil {
			return err
		}
		return dropIdleCodes(ctx, tx, user)
	})
}

// DropFactors removes all second factors of a user, whether there are any or
// not.
func (s *Store) DropFactors(ctx context.Context, user registry.UserID) error {
	return s.factors(ctx, user, func(tx querier) error { return writes{tx}.DropFactors(ctx, user) })
}

// DropFactors implements registry.SessionRevoker.
func (s writes) DropFactors(ctx context.Context, user registry.UserID) error {
	for _, table := range []string{"totps", "recovery_codes", "passkeys"} {
		if err := run(ctx, s.db, "DELETE FROM "+table+" WHERE account = $1", string(user)); err != nil {
			return err
		}
	}
	return nil
}

// factors changes the factors of a user, one transaction at a time: the row of
// the user is the lock.
func (s *Store) factors(ctx context.Context, user registry.UserID, do func(querier) error) error {
	return s.begin(ctx, func(tx querier) error {
		if err := exec(ctx, tx, "UPDATE users SET updated_at = updated_at WHERE id = $1", string(user)); err != nil {
			return err
		}
		return do(tx)
	})
}

// noFactor reports whether a user has neither a confirmed generator nor a
// passkey.
func noFactor(ctx context.Context, tx querier, user registry.UserID) (bool, error) {
	n, err := count(ctx, tx, `SELECT (SELECT COUNT(*) FROM totps WHERE account = $1 AND confirmed_at > 0)
		+ (SELECT COUNT(*) FROM passkeys WHERE account = $1)`, string(user))
	return n == 0, err
}

func replaceCodes(ctx context.Context, tx querier, user registry.UserID, codes [][32]byte) error {
	if err := run(ctx, tx, "DELETE FROM recovery_codes WHERE account = $1", string(user)); err != nil {
		return err
	}
	for _, code := range codes {
		if err := exec(ctx, tx, "INSERT INTO recovery_codes (account, hash, used_at) VALUES ($1, $2, 0)", string(user), code[:]); err != nil {
			return err
		}
	}
	return nil
}

// dropIdleCodes drops recovery codes that recover nothing (any more).
func dropIdleCodes(ctx context.Context, tx querier, user registry.UserID) error {
	none, err := noFactor(ctx, tx, user)
	if err != nil || !none {
		return err
	}
	return replaceCodes(ctx, tx, user, nil)
}
