package api

import (
	"context"
	"strings"
	"unicode"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/registry"
)

// maxKey bounds what is taken for a one-time key.
const maxKey = 256

func checkKey(text string) error {
	if text == "" || len(text) > maxKey {
		return &registry.InvalidError{Field: "token", Reason: "must be the key of the link"}
	}
	return nil
}

// requestPasswordReset answers the same for every address.
func (s *Server) requestPasswordReset(ctx context.Context, c *call) (answer, error) {
	var in ResetRequest
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if len(in.Email) > registry.MaxName || !strings.Contains(in.Email, "@") || strings.ContainsFunc(in.Email, unicode.IsControl) {
		return answer{}, &registry.InvalidError{Field: "email", Reason: "must be an e-mail address"}
	}
	if err := s.Users.RequestReset(ctx, in.Email, c.where()); err != nil {
		return answer{}, err
	}
	return created(Message{Message: "If there is an account with this address, a mail with a link is on its way."}, "")
}

// resetPassword takes the key as Bearer, as Magistrala's clients send it, or in
// the body.
func (s *Server) resetPassword(ctx context.Context, c *call) (answer, error) {
	var in Reset
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if s.Users.Mail == nil {
		return answer{}, authn.ErrNoMail
	}
	if text, err := bearer(c.request); err == nil {
		in.Token = text
	}
	if err := checkKey(in.Token); err != nil {
		return answer{}, err
	}
	if in.Password != in.ConfirmPassword {
		return answer{}, &registry.InvalidError{Field: "confirm_password", Reason: "must be the password once more"}
	}
	if err := s.Users.Reset(ctx, in.Token, in.Password, c.where()); err != nil {
		return answer{}, err
	}
	return created(Message{Message: "The password is changed. Sign in with it."}, "")
}

// verifyEmail is no GET, unlike Magistrala's: programs that look at links before
// people do would use the key up, and a page of another site could, too.
func (s *Server) verifyEmail(ctx context.Context, c *call) (answer, error) {
	var in OneTimeKey
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if err := checkKey(in.Token); err != nil {
		return answer{}, err
	}
	return done(s.Users.VerifyEmail(ctx, in.Token, c.where()))
}

func (s *Server) acceptInvitation(ctx context.Context, c *call) (answer, error) {
	var in Acceptance
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if err := checkKey(in.Token); err != nil {
		return answer{}, err
	}
	return done(s.Users.AcceptInvite(ctx, in.Token, in.Password, c.where()))
}

func (s *Server) inviteUser(ctx context.Context, c *call) (answer, error) {
	u, err := s.Registry.User(ctx, c.user)
	if err != nil {
		return answer{}, err
	}
	if err := authz.Manage(c.role, u.Role); err != nil {
		return answer{}, err
	}
	return done(s.Users.InviteAgain(ctx, c.by(), u, c.where()))
}

// setPassword gives somebody a password that they must change (C13).
func (s *Server) setPassword(ctx context.Context, c *call) (answer, error) {
	var in SecretChange
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	u, err := s.Users.SetPassword(ctx, c.by(), c.user, in.NewSecret, func(u registry.User) error {
		return authz.Manage(c.role, u.Role)
	}, c.where())
	if err != nil {
		return answer{}, err
	}
	return ok(userOf(u))
}

// recoverToken signs in with a key from the host.
func (s *Server) recoverToken(ctx context.Context, c *call) (answer, error) {
	var in OneTimeKey
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if err := checkKey(in.Token); err != nil {
		return answer{}, err
	}
	t, err := s.Users.Recover(ctx, in.Token, c.where())
	if err != nil {
		return answer{}, err
	}
	return created(tokensOf(t), "")
}

// updateEmail has the new address proved and the old one told.
func (s *Server) updateEmail(ctx context.Context, c *call) (answer, error) {
	var in EmailChange
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	var old registry.User
	u, err := s.edit(ctx, c, func(u *registry.User) error {
		old = *u
		u.Email = in.Email
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	s.Users.EmailChanged(ctx, old, u, c.where())
	return ok(userOf(u))
}

func (s *Server) updateUserRole(ctx context.Context, c *call) (answer, error) {
	var in RoleChange
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	role, err := registry.ParseRole(string(in.Role))
	if err != nil {
		return answer{}, err
	}
	var old registry.Role
	u, err := s.edit(ctx, c, func(u *registry.User) error {
		old, u.Role = u.Role, role
		u.RoleSource = "" // a person gave it: no provider takes it back at the next sign-in
		return authz.Manage(c.role, role)
	})
	if err != nil {
		return answer{}, err
	}
	if u.Role != old {
		s.Users.Notify(u, authn.LetterRole)
	}
	return ok(userOf(u))
}
