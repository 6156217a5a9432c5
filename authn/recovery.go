package authn

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/postern-io/postern/authn/password"
	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
)

// recoveryLife is how long a recovery key is good (ASVS 6.4.1, C15).
const recoveryLife = 15 * time.Minute

// letterThrottles bound what strangers may have sent: to one address, and from
// one source.
var letterThrottles = []throttle{
	{func(address, _ string) string { return "letter:" + address }, 5},
	{func(_, ip string) string { return "letter-source:" + ip }, 30},
}

// keyThrottles bound wrong one-time keys. They cannot be guessed; this keeps the
// trail from being filled.
var keyThrottles = []throttle{
	{func(_, ip string) string { return "key-source:" + ip }, 30},
}

// mayMail counts a letter that a stranger asks for; a *LimitedError when it was
// one too many.
func (u *Users) mayMail(ctx context.Context, address, ip string) error {
	if err := u.throttledBy(ctx, letterThrottles, address, ip); err != nil {
		return err
	}
	return u.failedBy(ctx, letterThrottles, address, ip)
}

// RequestReset has a recovery key sent to an address, if it is that of an
// account with a password. Whether it is shows neither in what it returns nor in
// the time that it takes: the account is looked up when the letter is written
// (C16).
//
// Errors: ErrNoMail; a *LimitedError for the address, the source or the line of
// letters; or that the store did not answer.
func (u *Users) RequestReset(ctx context.Context, email string, from Client) error {
	if u.Mail == nil {
		return ErrNoMail
	}
	if err := u.mayMail(ctx, email, from.IP); err != nil {
		return err
	}
	return u.Mail.Post(func(ctx context.Context) (Letter, error) { return u.recoveryLetter(ctx, email, from) })
}

func (u *Users) recoveryLetter(ctx context.Context, email string, from Client) (Letter, error) {
	user, err := u.byEmail(ctx, email)
	if err != nil {
		return Letter{}, err
	}
	at := newAttempt("password.recovery.request", registry.LocalProvider, from)
	if !strings.EqualFold(user.Email, email) || !u.recoverable(user) {
		u.Log.Info("no recovery key sent", "user", user.ID, "source", from.IP)
		return Letter{}, nil
	}
	l, err := u.keyLetter(ctx, user, LetterRecovery, registry.KeyRecovery, recoveryLife)
	if err != nil {
		return Letter{}, err
	}
	// Who asked is a stranger; whom it is about is known.
	at.event.Object = string(user.ID)
	return l, u.settled(ctx, at, nil)
}

// recoverable reports whether somebody may get a new password by mail: it must
// be good for something, and an account of another provider must not get a
// second way in by itself.
func (u *Users) recoverable(user registry.User) bool {
	_, local := u.provider(registry.LocalProvider)
	return local && user.Status == registry.Enabled && ownsPassword(user)
}

func ownsPassword(user registry.User) bool {
	return user.PasswordHash != "" || user.Provider == registry.LocalProvider
}

// Reset gives whoever holds a recovery key a new password and ends every
// sign-in, every API key and every other key of the account. It signs nobody in
// and leaves second factors as they are (C14, C15, C19).
//
// Errors: a *RefusedError with ReasonKeyInvalid for a key that is unknown, used,
// too old, for something else or for an address that the account no longer has;
// *registry.InvalidError for a password that is not good enough, after which the
// key is still good; a *LimitedError.
func (u *Users) Reset(ctx context.Context, key, pass string, from Client) error {
	at := newAttempt("password.recovery", registry.LocalProvider, from)
	user, err := u.choose(ctx, registry.KeyRecovery, key, pass, from, u.recoverable)
	if err == nil {
		u.Notify(user, LetterPassword)
	}
	at.event.Actor = user.ID
	return u.settled(ctx, at, err)
}

// choose sets the password that the holder of a key chose, if may still holds of
// the account. The key came to the account's address, which is proved by that.
func (u *Users) choose(ctx context.Context, purpose registry.KeyPurpose, text, pass string, from Client, may func(registry.User) bool) (registry.User, error) {
	key, user, err := u.keyShown(ctx, purpose, text, from)
	if err != nil {
		return registry.User{}, err
	}
	if err := u.Policy.Check(pass, user.Username, user.Email, user.FirstName, user.LastName); err != nil {
		return registry.User{}, err
	}
	hash, err := u.Passwords.Hash(ctx, pass)
	if errors.Is(err, password.ErrBusy) {
		return registry.User{}, &LimitedError{RetryAfter: time.Second}
	}
	if err != nil {
		return registry.User{}, err
	}
	if _, err := u.Keys.UseKey(ctx, key.Hash, purpose, u.Now()); err != nil {
		return registry.User{}, keyInvalid(err)
	}
	user, err = u.Accounts.UpdatePassword(ctx, user.ID, user.ID, "", true, func(row *registry.User) error {
		if !strings.EqualFold(row.Email, key.Data) || !may(*row) {
			return &RefusedError{Reason: registry.ReasonKeyInvalid, User: row.ID}
		}
		row.PasswordHash, row.MustChange, row.LoopbackOnly, row.EmailVerified = hash, false, false, true
		return nil
	})
	if err != nil {
		return registry.User{}, err
	}
	return user, u.voidKeys(ctx, user.ID)
}

// voidKeys makes worthless what was handed out under an old password.
func (u *Users) voidKeys(ctx context.Context, user registry.UserID) error {
	for _, purpose := range []registry.KeyPurpose{registry.KeyRecovery, registry.KeyInvite, registry.KeyFactor} {
		if err := u.Keys.DropKeys(ctx, user, purpose); err != nil {
			return err
		}
	}
	return nil
}

// keyShown looks at a one-time key that somebody shows and returns it with its
// account, which is enabled, without using it. Whether the account still has the
// address that the key went to is asked where the account is changed.
func (u *Users) keyShown(ctx context.Context, purpose registry.KeyPurpose, text string, from Client) (registry.OneTimeKey, registry.User, error) {
	if err := u.throttledBy(ctx, keyThrottles, "", from.IP); err != nil {
		return registry.OneTimeKey{}, registry.User{}, err
	}
	key, err := u.Keys.OneTimeKey(ctx, token.Hash(text), purpose, u.Now())
	var user registry.User
	if err == nil {
		user, err = u.Find.User(ctx, key.User)
	}
	if err == nil && user.Status != registry.Enabled {
		err = registry.ErrNotFound
	}
	if errors.Is(err, registry.ErrNotFound) {
		if err := u.failedBy(ctx, keyThrottles, "", from.IP); err != nil {
			return registry.OneTimeKey{}, registry.User{}, err
		}
		return registry.OneTimeKey{}, registry.User{}, &RefusedError{Reason: registry.ReasonKeyInvalid, User: user.ID}
	}
	return key, user, err
}
