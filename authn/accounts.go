package authn

import (
	"context"
	"errors"

	"github.com/postern-io/postern/registry"
)

// NewUser is an account to be made. Without a password the person cannot sign
// in with one.
type NewUser struct {
	ID             registry.UserID
	Username       string
	Email          string
	FirstName      string
	LastName       string
	Password       string
	Role           registry.Role
	Tags           []string
	Metadata       registry.Metadata
	ProfilePicture string
}

// Register makes an account with a password that the policy allows. Whether the
// caller may, and may grant the role, is authz's business.
//
// Errors: *registry.InvalidError, *registry.ExistsError, or that the store did
// not answer.
func (u *Users) Register(ctx context.Context, by registry.UserID, n NewUser) (registry.User, error) {
	user, err := u.account(ctx, n)
	if err != nil {
		return registry.User{}, err
	}
	return u.Accounts.CreateUser(ctx, by, user)
}

// A FirstOwner makes the owner of a platform that has none.
type FirstOwner interface {
	CreateFirstOwner(ctx context.Context, u registry.User) (registry.User, error)
}

// SetUp makes the first owner. It is *registry.ExistsError when there is one.
func (u *Users) SetUp(ctx context.Context, first FirstOwner, n NewUser) (registry.User, error) {
	user, err := u.account(ctx, n)
	if err != nil {
		return registry.User{}, err
	}
	return first.CreateFirstOwner(ctx, user)
}

// SetUpConfigured is SetUp with what the operator configured. The passwords that
// other products have by default are taken, but open nothing except their own
// change, and nothing at all from elsewhere than this machine (C11).
func (u *Users) SetUpConfigured(ctx context.Context, first FirstOwner, n NewUser) (registry.User, error) {
	if !wellKnown(n.Password) {
		return u.SetUp(ctx, first, n)
	}
	user, err := u.hashed(ctx, n)
	if err != nil {
		return registry.User{}, err
	}
	user.MustChange, user.LoopbackOnly = true, true
	return first.CreateFirstOwner(ctx, user)
}

// wellKnown reports whether a password is the default of Mage or ML Lab, or of
// Magistrala.
func wellKnown(pass string) bool { return pass == "admin" || pass == "12345678" }

func (u *Users) account(ctx context.Context, n NewUser) (registry.User, error) {
	if err := u.Policy.Check(n.Password, n.Username, n.Email, n.FirstName, n.LastName); err != nil {
		return registry.User{}, err
	}
	return u.hashed(ctx, n)
}

func (u *Users) hashed(ctx context.Context, n NewUser) (registry.User, error) {
	hash, err := u.Passwords.Hash(ctx, n.Password)
	if err != nil {
		return registry.User{}, err
	}
	return registry.User{
		ID: n.ID, Username: n.Username, Email: n.Email, FirstName: n.FirstName, LastName: n.LastName, Role: n.Role,
		Tags: n.Tags, Metadata: n.Metadata, ProfilePicture: n.ProfilePicture, PasswordHash: hash, Provider: "local",
	}, nil
}

// ChangePassword gives a person who knows the old password a new one, which
// nothing more is asked of, and ends all other sessions of the account. Who
// signed in with a key from the host a short time ago need not know the old one.
//
// Errors: a *RefusedError when old is wrong, *registry.InvalidError when next is
// not good enough, a *LimitedError after too many failures.
func (u *Users) ChangePassword(ctx context.Context, p Person, old, next string) (registry.User, error) {
	at := newAttempt("password.change", p.Session.Provider, Client{IP: p.Session.IP, UserAgent: p.Session.UserAgent})
	at.event.Actor = p.User.ID
	user, err := u.changePassword(ctx, p, old, next)
	if err == nil {
		u.Notify(user, LetterPassword)
	}
	return user, u.settled(ctx, at, err)
}

func (u *Users) changePassword(ctx context.Context, p Person, old, next string) (registry.User, error) {
	if err := u.throttled(ctx, p.User.Username, p.Session.IP); err != nil {
		return registry.User{}, err
	}
	if !p.Fresh || p.Session.Provider != RecoveryProvider {
		ok, _, err := u.Passwords.Verify(ctx, p.User.PasswordHash, old)
		if err != nil {
			return registry.User{}, err
		}
		if !ok {
			err := u.failed(ctx, p.User.Username, p.Session.IP)
			return registry.User{}, errors.Join(err, &RefusedError{Reason: registry.ReasonWrongPassword, User: p.User.ID})
		}
	}
	if err := u.Policy.Check(next, p.User.Username, p.User.Email, p.User.FirstName, p.User.LastName); err != nil {
		return registry.User{}, err
	}
	hash, err := u.Passwords.Hash(ctx, next)
	if err != nil {
		return registry.User{}, err
	}
	user, err := u.Accounts.UpdatePassword(ctx, p.User.ID, p.User.ID, p.Session.ID, false, func(user *registry.User) error {
		user.PasswordHash, user.MustChange, user.LoopbackOnly = hash, false, false
		return nil
	})
	if err != nil {
		return registry.User{}, err
	}
	return user, u.voidKeys(ctx, user.ID)
}

// SetPassword gives somebody else a password that opens nothing but its own
// change (C13), and ends every session and API key of the account. may is asked
// with the account as it is at that moment.
//
// Errors: may's; *registry.InvalidError for a password that is not good enough,
// for the caller's own account and for one of another provider, which must not
// get a second way in by the way.
func (u *Users) SetPassword(ctx context.Context, by, id registry.UserID, pass string, may func(registry.User) error, from Client) (registry.User, error) {
	at := newAttempt("password.set", registry.LocalProvider, from)
	at.event.Actor, at.event.Object = by, string(id)
	user, err := u.setPassword(ctx, by, id, pass, may)
	if err == nil {
		u.Notify(user, LetterPassword)
	}
	return user, u.settled(ctx, at, err)
}

func (u *Users) setPassword(ctx context.Context, by, id registry.UserID, pass string, may func(registry.User) error) (registry.User, error) {
	user, err := u.Find.User(ctx, id)
	if err != nil {
		return registry.User{}, err
	}
	if err := may(user); err != nil {
		return registry.User{}, err
	}
	switch {
	case by == id:
		return registry.User{}, &registry.InvalidError{Field: "user", Reason: "is yourself; change your own password with the old one"}
	case !ownsPassword(user):
		return registry.User{}, &registry.InvalidError{Field: "user", Reason: "signs in at " + user.Provider + " and has no password here"}
	}
	if err := u.Policy.Check(pass, user.Username, user.Email, user.FirstName, user.LastName); err != nil {
		return registry.User{}, err
	}
	hash, err := u.Passwords.Hash(ctx, pass)
	if err != nil {
		return registry.User{}, err
	}
	user, err = u.Accounts.UpdatePassword(ctx, by, id, "", true, func(row *registry.User) error {
		row.PasswordHash, row.MustChange, row.LoopbackOnly = hash, true, false
		return may(*row)
	})
	if err != nil {
		return registry.User{}, err
	}
	return user, u.voidKeys(ctx, user.ID)
}
