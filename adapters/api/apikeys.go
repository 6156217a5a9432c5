package api

import (
	"context"

	"github.com/postern-io/postern/registry"
)

func (s *Server) createAPIKey(ctx context.Context, c *call) (answer, error) {
	if c.person.Session.ID == "" { // who comes by a proxy
		return answer{}, errPersonOnly
	}
	var in NewAPIKey
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	role, err := registry.ParseRole(string(in.Role))
	if err != nil {
		return answer{}, err
	}
	k, text, err := s.Users.CreateAPIKey(ctx, c.person, in.Name, role, in.ExpiresAt)
	if err != nil {
		return answer{}, err
	}
	body := apiKeyOf(k)
	body.Secret = text.Reveal()
	return created(body, "/users/keys/"+string(k.ID))
}

func (s *Server) listAPIKeys(ctx context.Context, c *call) (answer, error) {
	user, err := s.sessionsOf(ctx, c)
	if err != nil {
		return answer{}, err
	}
	keys, err := s.Users.UserAPIKeys(ctx, user)
	if err != nil {
		return answer{}, err
	}
	return ok(APIKeyPage{Total: len(keys), Limit: len(keys), Keys: each(keys, apiKeyOf)})
}

func (s *Server) revokeAPIKey(ctx context.Context, c *call) (answer, error) {
	user, err := s.sessionsOf(ctx, c)
	if err != nil {
		return answer{}, err
	}
	return done(s.Users.RevokeAPIKey(ctx, user, registry.APIKeyID(c.pathID("key"))))
}

func apiKeyOf(k registry.APIKey) APIKey {
	return APIKey{
		ID: string(k.ID), Name: k.Name, Prefix: k.Prefix, Role: Role(k.Role.String()),
		CreatedAt: k.CreatedAt, ExpiresAt: k.Expires, LastUsed: unlessZero(k.LastUsed),
	}
}

// endSessions signs a person out everywhere, or everywhere else.
func (s *Server) endSessions(ctx context.Context, c *call) (answer, error) {
	user, err := s.sessionsOf(ctx, c)
	if err != nil {
		return answer{}, err
	}
	switch c.request.URL.Query().Get("keep") {
	case "":
		return done(s.Users.EndAllSessions(ctx, user))
	case "current":
		return done(s.Users.EndOtherSessions(ctx, user, c.person.Session.ID))
	}
	return answer{}, &registry.InvalidError{Field: "keep", Reason: "must be current"}
}
