package api

import (
	"context"

	"github.com/postern-io/postern/registry"
)

// listIdentities tells what lets an account in at other providers.
func (s *Server) listIdentities(ctx context.Context, c *call) (answer, error) {
	user, err := s.sessionsOf(ctx, c)
	if err != nil {
		return answer{}, err
	}
	links, err := s.Registry.Identities(ctx, user)
	if err != nil {
		return answer{}, err
	}
	return ok(IdentityPage{Total: len(links), Limit: len(links), Identities: each(links, func(l registry.LinkedIdentity) Identity {
		return Identity{Provider: l.Provider, Subject: l.Subject, Email: l.Email, CreatedAt: l.CreatedAt, LastUsed: l.LastUsed}
	})})
}

// unlinkIdentity takes one of the caller's own away; linking goes through a
// browser (adapters/signin).
func (s *Server) unlinkIdentity(ctx context.Context, c *call) (answer, error) {
	var in IdentityName
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	return done(s.Registry.Unlink(ctx, c.by(), in.Provider, in.Subject))
}
