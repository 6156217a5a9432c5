package api

import (
	"context"
	"strings"
	"unicode"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

func (s *Server) viewSpecification(context.Context, *call) (answer, error) {
	return ok(Specification)
}

func (s *Server) issueToken(ctx context.Context, c *call) (answer, error) {
	var in SignIn
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if in.Username == "" || len(in.Username) > registry.MaxName || strings.ContainsFunc(in.Username, unicode.IsControl) {
		return answer{}, &registry.InvalidError{Field: "username", Reason: "must be a username or an e-mail address"}
	}
	t, err := s.issue(ctx, in, c.where())
	if err != nil {
		return answer{}, factorProblem(err)
	}
	return created(tokensOf(t), "")
}

func (s *Server) refreshToken(ctx context.Context, c *call) (answer, error) {
	text, err := bearer(c.request)
	if err != nil {
		return answer{}, err
	}
	t, err := s.Users.Refresh(ctx, text, c.where())
	if err != nil {
		return answer{}, err
	}
	return created(tokensOf(t), "")
}

func (s *Server) revokeToken(ctx context.Context, c *call) (answer, error) {
	text, err := bearer(c.request)
	if err != nil {
		return answer{}, err
	}
	return done(s.Users.Revoke(ctx, text, c.where()))
}

// where tells authn where a sign-in comes from.
func (c *call) where() authn.Client {
	return adapters.ClientOf(c.request, c.from, "api", c.id)
}

func tokensOf(t authn.Tokens) Tokens {
	return Tokens{AccessToken: t.Access, RefreshToken: t.Refresh, AccessType: Bearer,
		ExpiresIn: int(t.ExpiresIn.Seconds())}
}
