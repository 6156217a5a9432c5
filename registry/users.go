package registry

import (
	"context"
	"time"
)

// LocalProvider is the provider of accounts that have a password here.
const LocalProvider = "local"

// DeletedFor is how long a deleted user is kept: until then an administrator
// may enable the account again, and its names stay taken.
const DeletedFor = 30 * 24 * time.Hour

// User returns the user with that id, deleted ones included.
func (r *Registry) User(ctx context.Context, id UserID) (User, error) {
	return r.Store.User(ctx, id)
}

// Users lists people.
func (r *Registry) Users(ctx context.Context, q Query) (List[User], error) {
	if err := q.Check(); err != nil {
		return List[User]{}, err
	}
	return r.Store.Users(ctx, q)
}

// CreateUser creates an account from the fields of u; id, provider and status
// are filled in when empty. Whether a password is good enough is authn's
// business, which hashes it into u.PasswordHash.
func (r *Registry) CreateUser(ctx context.Context, by UserID, u User) (User, error) {
	return r.createUser(ctx, by, u, false)
}

// CreateFirstOwner is CreateUser for an owner on a platform that has none. It
// returns an *ExistsError for "owner" when there is one, also when another
// node makes one at the same moment.
func (r *Registry) CreateFirstOwner(ctx context.Context, u User) (User, error) {
	u.Role, u.Status = Owner, Enabled
	return r.createUser(ctx, "", u, true)
}

func (r *Registry) createUser(ctx context.Context, by UserID, u User, first bool) (User, error) {
	u, err := r.newUser(by, u)
	if err != nil {
		return User{}, err
	}
	err = r.update(ctx, func(tx Tx) ([]Change, error) {
		if first {
			if err := tx.Lock(ctx, lockOwners); err != nil {
				return nil, err
			}
			if n, err := otherOwners(ctx, tx, ""); err != nil {
				return nil, err
			} else if n > 0 {
				return nil, &ExistsError{Field: "owner"}
			}
		}
		return []Change{{User: u.ID}}, tx.InsertUser(ctx, u)
	})
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// newUser fills in what a new account has.
func (r *Registry) newUser(by UserID, u User) (User, error) {
	id, err := r.id(string(u.ID))
	if err != nil {
		return User{}, err
	}
	u.ID, u.DeletedAt = UserID(id), time.Time{}
	u.CreatedAt, u.UpdatedBy = r.now(), by
	u.UpdatedAt = u.CreatedAt
	if u.Status == "" {
		u.Status = Enabled
	}
	if u.Provider == "" {
		u.Provider = LocalProvider
	}
	return u, u.settle()
}

// HasOwner reports whether the platform has an enabled owner.
func (r *Registry) HasOwner(ctx context.Context) (bool, error) {
	n, err := otherOwners(ctx, r.Store, "")
	return n > 0, err
}

// UpdateUser changes what edit changes of an account: names, e-mail, role,
// status, password hash, tags, metadata, picture, attributes. A new e-mail address is not
// verified. An account that leaves the enabled state loses its sessions; the
// status Deleted keeps it for DeletedFor. The last enabled owner stays one
// (ErrLastOwner), whoever else tries the same at the same time.
func (r *Registry) UpdateUser(ctx context.Context, by UserID, id UserID, edit func(*User) error) (User, error) {
	return r.updateUser(ctx, by, id, edit, nil)
}

// updateUser is UpdateUser; also, unless it is nil, happens with the change or
// not at all.
func (r *Registry) updateUser(ctx context.Context, by UserID, id UserID, edit func(*User) error, also func(Tx, time.Time) error) (User, error) {
	var u User
	err := r.update(ctx, func(tx Tx) ([]Change, error) {
		// Taken first and by every change of a user, so that the order of
		// locks is always the same: owners, then the row.
		if err := tx.Lock(ctx, lockOwners); err != nil {
			return nil, err
		}
		old, err := tx.LockUser(ctx, id)
		if err != nil {
			return nil, err
		}
		u = old
		if err := edit(&u); err != nil {
			return nil, err
		}
		now := r.now()
		u.ID, u.CreatedAt, u.Provider = old.ID, old.CreatedAt, old.Provider
		u.UpdatedBy, u.UpdatedAt = by, now
		if u.Email != old.Email && u.EmailVerified == old.EmailVerified {
			u.EmailVerified = false
		}
		switch {
		case u.Status != Deleted:
			u.DeletedAt = time.Time{}
		case old.Status != Deleted:
			u.DeletedAt = now
		}
		if err := u.settle(); err != nil {
			return nil, err
		}
		if old.rules() && !u.rules() {
			if n, err := otherOwners(ctx, tx, id); err != nil {
				return nil, err
			} else if n == 0 {
				return nil, ErrLastOwner
			}
		}
		if err := tx.UpdateUser(ctx, u); err != nil {
			return nil, err
		}
		if old.Status == Enabled && u.Status != Enabled {
			if err := tx.RevokeSessions(ctx, id, "", now); err != nil {
				return nil, err
			}
		}
		if also != nil {
			if err := also(tx, now); err != nil {
				return nil, err
			}
		}
		return []Change{{User: id}}, nil
	})
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// RevokeSession ends one sign-in of the user; ErrNotFound when the user has no
// such live session.
func (r *Registry) RevokeSession(ctx context.Context, user UserID, id SessionID) error {
	return r.update(ctx, func(tx Tx) ([]Change, error) {
		return []Change{{User: user}}, tx.RevokeSession(ctx, user, id, r.now())
	})
}

// RevokeSessions ends all sign-ins of the user but the one named, which may be
// empty.
func (r *Registry) RevokeSessions(ctx context.Context, user UserID, except SessionID) error {
	return r.update(ctx, func(tx Tx) ([]Change, error) {
		return []Change{{User: user}}, tx.RevokeSessions(ctx, user, except, r.now())
	})
}

// Purge removes what has had its time: users deleted DeletedFor ago,
// certificates that ended CertificatesKept ago, and sessions, refresh tokens, replaced secrets and sign-in counters that ended a
// day ago. The day lets a late refusal still say "expired", not "unknown".
func (r *Registry) Purge(ctx context.Context) error {
	now := r.now()
	return r.update(ctx, func(tx Tx) ([]Change, error) {
		if err := tx.PurgeUsers(ctx, now.Add(-DeletedFor)); err != nil {
			return nil, err
		}
		if err := tx.PurgeCertificates(ctx, now.Add(-CertificatesKept)); err != nil {
			return nil, err
		}
		return nil, tx.PurgeExpired(ctx, now.Add(-24*time.Hour))
	})
}

// rules reports whether the user counts as an owner of the platform.
func (u User) rules() bool { return u.Role == Owner && u.Status == Enabled }

// otherOwners counts the enabled owners beside the one named.
func otherOwners(ctx context.Context, from UserReader, but UserID) (int, error) {
	owners, err := from.Users(ctx, Query{MinRole: Owner, Status: Enabled, Limit: 2, Order: ByCreated})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, u := range owners.Items {
		if u.ID != but {
			n++
		}
	}
	return n, nil
}

func (u *User) settle() error {
	u.Tags = unique(u.Tags)
	if err := checkUsername(u.Username); err != nil {
		return err
	}
	if err := checkEmail(u.Email); err != nil {
		return err
	}
	for _, f := range []struct{ field, text string }{
		{"first_name", u.FirstName}, {"last_name", u.LastName}, {"provider", u.Provider},
	} {
		if err := checkText(f.field, f.text, MaxName); err != nil {
			return err
		}
	}
	if err := checkText("profile_picture", u.ProfilePicture, 2048); err != nil {
		return err
	}
	if u.Role > Owner {
		return &InvalidError{Field: "role", Reason: "must be viewer, editor, admin or owner"}
	}
	if err := checkStatus(u.Status, Enabled, Disabled, Deleted); err != nil {
		return err
	}
	if err := checkTags(u.Tags); err != nil {
		return err
	}
	if err := checkAttributes(u.Attributes); err != nil {
		return err
	}
	return checkMetadata(u.Metadata)
}
