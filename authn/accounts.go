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

func (u *Users) account(ctx context.Context, n NewUser) (registry.User, error) {
	if err := u.Policy.Check(n.Password, n.Username, n.Email, n.FirstName, n.LastName); err != nil {
		return registry.User{}, err
	}
	hash, err := u.Passwords.Hash(ctx, n.Password)
	if err != nil {
		return registry.User{}, err
	}
	return registry.User{
		ID: n.ID, Username: n.Username, Email: n.Email, FirstName: n.FirstName, LastName: n.LastName, Role: n.Role,
		Tags: n.Tags, Metadata: n.Metadata, ProfilePicture: n.ProfilePicture, PasswordHash: hash, Provider: "local",
	}, nil
}

// ChangePassword gives a person who knows the old password a new one and ends
// all other sessions of the account.
//
// Errors: a *RefusedError when old is wrong, *registry.InvalidError when next is
// not good enough, a *LimitedError after too many failures.
func (u *Users) ChangePassword(ctx context.Context, p Person, old, next string) (registry.User, error) {
	if err := u.throttled(ctx, p.User.Username, p.Session.IP); err != nil {
		return registry.User{}, err
	}
	ok, _, err := u.Passwords.Verify(ctx, p.User.PasswordHash, old)
	if err != nil {
		return registry.User{}, err
	}
	if !ok {
		err := u.failed(ctx, p.User.Username, p.Session.IP)
		return registry.User{}, errors.Join(err, &RefusedError{Reason: registry.ReasonWrongPassword})
	}
	if err := u.Policy.Check(next, p.User.Username, p.User.Email, p.User.FirstName, p.User.LastName); err != nil {
		return registry.User{}, err
	}
	hash, err := u.Passwords.Hash(ctx, next)
	if err != nil {
		return registry.User{}, err
	}
	user, err := u.Accounts.UpdateUser(ctx, p.User.ID, p.User.ID, func(user *registry.User) error {
		user.PasswordHash = hash
		return nil
	})
	if err != nil {
		return registry.User{}, err
	}
	return user, u.Live.RevokeSessions(ctx, p.User.ID, p.Session.ID)
}
