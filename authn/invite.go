package authn

import (
	"context"
	"strings"
	"time"

	"github.com/postern-io/postern/registry"
)

const (
	// inviteLife is how long an invitation is good (ASVS 6.4.1, C12).
	inviteLife = 24 * time.Hour
	verifyLife = 24 * time.Hour
)

// Invite makes an account without a password and has its person sent a key to
// choose one. Whether the caller may is authz's business.
//
// Errors: those of Register; *registry.InvalidError also without an e-mail
// address, and without mail.
func (u *Users) Invite(ctx context.Context, by registry.UserID, n NewUser, from Client) (registry.User, error) {
	switch {
	case u.Mail == nil:
		return registry.User{}, &registry.InvalidError{Field: "password", Reason: "must be given: mail is not configured on this server, so nobody can be invited to choose one"}
	case n.Email == "":
		return registry.User{}, &registry.InvalidError{Field: "email", Reason: "must be given for an invitation"}
	}
	user, err := u.Accounts.CreateUser(ctx, by, registry.User{
		ID: n.ID, Username: n.Username, Email: n.Email, FirstName: n.FirstName, LastName: n.LastName, Role: n.Role,
		Tags: n.Tags, Metadata: n.Metadata, ProfilePicture: n.ProfilePicture, Provider: registry.LocalProvider,
	})
	if err != nil {
		return registry.User{}, err
	}
	// The account is there, whatever becomes of the letter: InviteAgain.
	u.postLater(user.ID, LetterInvite, u.invitation(user))
	return user, u.invited(ctx, by, user.ID, from)
}

func (u *Users) invitation(user registry.User) func(context.Context) (Letter, error) {
	return func(ctx context.Context) (Letter, error) {
		return u.keyLetter(ctx, user, LetterInvite, registry.KeyInvite, inviteLife)
	}
}

func (u *Users) invited(ctx context.Context, by, user registry.UserID, from Client) error {
	at := newAttempt("user.invite", registry.LocalProvider, from)
	at.event.Actor, at.event.Object = by, string(user)
	return u.settled(ctx, at, nil)
}

// InviteAgain sends another invitation; the one before is void.
//
// Errors: ErrNoMail, a *LimitedError when the line of letters is full, and
// *registry.InvalidError for an account that has a way in, is not enabled, or
// has no address.
func (u *Users) InviteAgain(ctx context.Context, by registry.UserID, user registry.User, from Client) error {
	if u.Mail == nil {
		return ErrNoMail
	}
	links, err := u.Links.Identities(ctx, user.ID)
	if err != nil {
		return err
	}
	if len(links) > 0 || !invitable(user) || user.Email == "" {
		return &registry.InvalidError{Field: "user", Reason: "cannot be invited: an invitation is for an enabled account with an e-mail address and no way to sign in yet"}
	}
	if err := u.Mail.Post(u.invitation(user)); err != nil {
		return err
	}
	return u.invited(ctx, by, user.ID, from)
}

func invitable(user registry.User) bool {
	return user.Status == registry.Enabled && user.Provider == registry.LocalProvider && user.PasswordHash == ""
}

// AcceptInvite sets the first password of an account for whoever holds the key
// of its invitation, once. It signs nobody in. Errors are those of Reset.
func (u *Users) AcceptInvite(ctx context.Context, key, pass string, from Client) error {
	at := newAttempt("user.invite.accept", registry.LocalProvider, from)
	user, err := u.choose(ctx, registry.KeyInvite, key, pass, from, invitable)
	at.event.Actor = user.ID
	return u.settled(ctx, at, err)
}

// AskToVerify has a person sent a key that proves their address. It does nothing
// without mail, without an address, and when the address is proved already; what
// is too much is logged, because the account is there and may ask again.
func (u *Users) AskToVerify(ctx context.Context, user registry.User, from Client) {
	if u.Mail == nil || user.Email == "" || user.EmailVerified {
		return
	}
	if err := u.mayMail(ctx, user.Email, from.IP); err != nil {
		u.Log.Warn("letter not sent", "kind", LetterVerify, "user", user.ID, "err", err)
		return
	}
	u.postLater(user.ID, LetterVerify, func(ctx context.Context) (Letter, error) {
		return u.keyLetter(ctx, user, LetterVerify, registry.KeyVerify, verifyLife)
	})
}

// EmailChanged does what a new address asks for: a notice to the old one (C18)
// and a key to the new one. old and next may have the same address; then it is
// AskToVerify.
func (u *Users) EmailChanged(ctx context.Context, old, next registry.User, from Client) {
	if !strings.EqualFold(old.Email, next.Email) {
		u.Notify(old, LetterEmail)
	}
	u.AskToVerify(ctx, next, from)
}

// VerifyEmail marks the address of an account as proved for whoever holds the
// key that was sent there, if the account still has that address.
//
// Errors: a *RefusedError with ReasonKeyInvalid, a *LimitedError.
func (u *Users) VerifyEmail(ctx context.Context, text string, from Client) error {
	at := newAttempt("email.verify", registry.LocalProvider, from)
	user, err := u.verifyEmail(ctx, text, from)
	at.event.Actor = user
	return u.settled(ctx, at, err)
}

func (u *Users) verifyEmail(ctx context.Context, text string, from Client) (registry.UserID, error) {
	key, user, err := u.keyShown(ctx, registry.KeyVerify, text, from)
	if err != nil {
		return "", err
	}
	if _, err := u.Keys.UseKey(ctx, key.Hash, registry.KeyVerify, u.Now()); err != nil {
		return "", keyInvalid(err)
	}
	_, err = u.Accounts.UpdateUser(ctx, user.ID, user.ID, func(row *registry.User) error {
		if !strings.EqualFold(row.Email, key.Data) {
			return &RefusedError{Reason: registry.ReasonKeyInvalid, User: row.ID}
		}
		row.EmailVerified = true
		return nil
	})
	return user.ID, err
}
