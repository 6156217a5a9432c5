package api

import (
	"context"
	"errors"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/registry"
)

// registerUser is open to strangers when self-registration is on; then the
// account has no role. Administrators may give one, and may leave the password to
// the person, who is invited to choose it.
func (s *Server) registerUser(ctx context.Context, c *call) (answer, error) {
	switch err := s.identify(ctx, c); {
	case errors.Is(err, errNoToken) && s.SelfRegister:
	case err != nil:
		return answer{}, err
	}
	if err := (route{}).open(c.person); err != nil {
		return answer{}, err
	}
	admin := s.People.Allow(ctx, c.person.User, authz.UserRegister, "")
	if admin != nil && !s.SelfRegister {
		return answer{}, admin
	}
	var in NewUser
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	role, err := registry.ParseRole(string(in.Role))
	if err != nil {
		return answer{}, err
	}
	if role != registry.NoRole {
		if err := authz.Manage(c.person.User.Role, role); err != nil {
			return answer{}, err
		}
	}
	n := authn.NewUser{
		ID: registry.UserID(in.ID), Username: in.Credentials.Username, Email: in.Email, Password: in.Credentials.Secret,
		FirstName: in.FirstName, LastName: in.LastName, Role: role,
		Tags: in.Tags, Metadata: registry.Metadata(in.Metadata), ProfilePicture: in.ProfilePicture,
	}
	var u registry.User
	if admin == nil && n.Password == "" {
		u, err = s.Users.Invite(ctx, c.by(), n, c.where())
	} else if u, err = s.Users.Register(ctx, c.by(), n); err == nil && admin != nil {
		s.Users.AskToVerify(ctx, u, c.where())
	}
	if err != nil {
		return answer{}, err
	}
	return created(userOf(u), "/users/"+string(u.ID))
}

func (s *Server) viewProfile(_ context.Context, c *call) (answer, error) {
	return ok(userOf(c.person.User))
}

func (s *Server) viewUser(ctx context.Context, c *call) (answer, error) {
	u, err := s.Registry.User(ctx, c.user)
	if err != nil {
		return answer{}, err
	}
	return ok(userOf(u))
}

func (s *Server) listUsers(ctx context.Context, c *call) (answer, error) {
	q, err := c.query()
	if err != nil {
		return answer{}, err
	}
	if q.MinRole, err = registry.ParseRole(c.request.URL.Query().Get("min_role")); err != nil {
		return answer{}, &registry.InvalidError{Field: "min_role", Reason: "must be viewer, editor, admin or owner"}
	}
	return s.users(ctx, q, userOf)
}

func (s *Server) searchUsers(ctx context.Context, c *call) (answer, error) {
	q, err := c.page()
	if err != nil {
		return answer{}, err
	}
	if q.Name = c.request.URL.Query().Get("username"); q.Name == "" {
		return answer{}, &registry.InvalidError{Field: "username", Reason: "must be a part of a name"}
	}
	q.Status, q.Order, q.Descending = registry.Enabled, registry.ByName, false
	return s.users(ctx, q, nameOf)
}

func (s *Server) users(ctx context.Context, q registry.Query, show func(registry.User) User) (answer, error) {
	list, err := s.Registry.Users(ctx, q)
	if err != nil {
		return answer{}, err
	}
	return ok(UserPage{Total: list.Total, Offset: q.Offset, Limit: q.Limit, Users: each(list.Items, show)})
}

func (s *Server) updateUser(ctx context.Context, c *call) (answer, error) {
	var in UserPatch
	return s.editUser(ctx, c, &in, func(u *registry.User) error {
		if in.FirstName != nil {
			u.FirstName = *in.FirstName
		}
		if in.LastName != nil {
			u.LastName = *in.LastName
		}
		if in.Metadata != nil {
			u.Metadata = registry.Metadata(in.Metadata)
		}
		return nil
	})
}

func (s *Server) updateUsername(ctx context.Context, c *call) (answer, error) {
	var in UsernameChange
	return s.editUser(ctx, c, &in, func(u *registry.User) error { u.Username = in.Username; return nil })
}

func (s *Server) updateUserTags(ctx context.Context, c *call) (answer, error) {
	var in TagsChange
	return s.editUser(ctx, c, &in, func(u *registry.User) error { u.Tags = in.Tags; return nil })
}

func (s *Server) updatePicture(ctx context.Context, c *call) (answer, error) {
	var in PictureChange
	return s.editUser(ctx, c, &in, func(u *registry.User) error { u.ProfilePicture = in.ProfilePicture; return nil })
}

func (s *Server) enableUser(ctx context.Context, c *call) (answer, error) {
	return s.editUser(ctx, c, nil, func(u *registry.User) error { u.Status = registry.Enabled; return nil })
}

func (s *Server) disableUser(ctx context.Context, c *call) (answer, error) {
	return s.editUser(ctx, c, nil, func(u *registry.User) error { u.Status = registry.Disabled; return nil })
}

func (s *Server) deleteUser(ctx context.Context, c *call) (answer, error) {
	_, err := s.editUser(ctx, c, nil, func(u *registry.User) error {
		if u.Status == registry.Deleted {
			return registry.ErrNotFound
		}
		u.Status = registry.Deleted
		return nil
	})
	return done(err)
}

// editUser changes the account of the path, reading the body into in unless
// that is nil. Whether the caller may touch it is decided by the role that it
// has at that moment.
func (s *Server) editUser(ctx context.Context, c *call, in any, edit func(*registry.User) error) (answer, error) {
	if in != nil {
		if err := c.body(in); err != nil {
			return answer{}, err
		}
	}
	u, err := s.edit(ctx, c, edit)
	if err != nil {
		return answer{}, err
	}
	return ok(userOf(u))
}

func (s *Server) edit(ctx context.Context, c *call, edit func(*registry.User) error) (registry.User, error) {
	return s.Registry.UpdateUser(ctx, c.by(), c.user, func(u *registry.User) error {
		if !c.self {
			if err := authz.Manage(c.role, u.Role); err != nil {
				return err
			}
		}
		return edit(u)
	})
}

func (s *Server) changePassword(ctx context.Context, c *call) (answer, error) {
	var in PasswordChange
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	u, err := s.Users.ChangePassword(ctx, c.person, in.OldSecret, in.NewSecret)
	if errors.Is(err, authn.ErrUnauthenticated) {
		// Not 401: the caller is signed in, and a client would throw its
		// tokens away.
		return answer{}, errors.Join(errOldPassword, err)
	}
	if err != nil {
		return answer{}, err
	}
	return ok(userOf(u))
}

func (s *Server) listSessions(ctx context.Context, c *call) (answer, error) {
	user, err := s.sessionsOf(ctx, c)
	if err != nil {
		return answer{}, err
	}
	sessions, err := s.Users.Sessions(ctx, user)
	if err != nil {
		return answer{}, err
	}
	return ok(SessionPage{Total: len(sessions), Limit: len(sessions), Sessions: each(sessions, func(u registry.UserSession) Session {
		return Session{ID: string(u.ID), Kind: u.Kind, Provider: u.Provider, IP: u.IP, UserAgent: u.UserAgent,
			CreatedAt: u.CreatedAt, LastSeen: u.LastSeen, ExpiresAt: u.Expires, Current: u.ID == c.person.Session.ID}
	})})
}

func (s *Server) endSession(ctx context.Context, c *call) (answer, error) {
	user, err := s.sessionsOf(ctx, c)
	if err != nil {
		return answer{}, err
	}
	return done(s.Users.EndSession(ctx, user, registry.SessionID(c.pathID("session"))))
}

// sessionsOf tells whose sign-ins a request is about: the caller's, or with
// ?user= those of somebody whom the caller manages.
func (s *Server) sessionsOf(ctx context.Context, c *call) (registry.UserID, error) {
	text := c.request.URL.Query().Get("user")
	if text == "" {
		return c.by(), nil
	}
	id, err := registry.ParseID(text)
	if err != nil {
		return "", &registry.InvalidError{Field: "user", Reason: "must be an id"}
	}
	if registry.UserID(id) == c.by() {
		return c.by(), nil
	}
	if err := s.People.Allow(ctx, c.person.User, authz.UserSessions, ""); err != nil {
		return "", err
	}
	u, err := s.Registry.User(ctx, registry.UserID(id))
	if err != nil {
		return "", err
	}
	return u.ID, authz.Manage(c.role, u.Role)
}
