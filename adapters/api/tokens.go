package api

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

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
	t, err := s.Users.Issue(ctx, in.Username, in.Password, c.where())
	if err != nil {
		return answer{}, err
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

// Mail comes with password recovery, an issue of its own. Until then these two
// say so, whoever asks and whatever the address.

func (s *Server) requestPasswordReset(_ context.Context, c *call) (answer, error) {
	var in ResetRequest
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	return answer{}, errNoMail
}

func (s *Server) resetPassword(_ context.Context, c *call) (answer, error) {
	var in Reset
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	return answer{}, errNoMail
}

// where tells authn where a sign-in comes from. What a stranger says of
// himself is cut to text that a database takes.
func (c *call) where() authn.Client {
	agent := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return -1
		}
		return r
	}, c.request.UserAgent())
	for len(agent) > maxUserAgent {
		_, size := utf8.DecodeLastRuneInString(agent)
		agent = agent[:len(agent)-size]
	}
	return authn.Client{IP: c.from, UserAgent: agent, Kind: "api", Request: c.id}
}

const maxUserAgent = 256 // bytes

func tokensOf(t authn.Tokens) Tokens {
	return Tokens{AccessToken: t.Access, RefreshToken: t.Refresh, AccessType: Bearer,
		ExpiresIn: int(t.ExpiresIn.Seconds())}
}
