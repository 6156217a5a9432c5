package api

import (
	"context"

	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/registry"
)

func (s *Server) createDomain(ctx context.Context, c *call) (answer, error) {
	var in NewDomain
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	d, err := s.Registry.CreateDomain(ctx, c.by(), registry.Domain{
		ID: registry.DomainID(in.ID), Name: in.Name, Route: in.Route, Tags: in.Tags, Metadata: registry.Metadata(in.Metadata),
	})
	if err != nil {
		return answer{}, err
	}
	return created(domainOf(d), "/domains/"+string(d.ID))
}

// listDomains shows everything to whom the platform gave a role, and to others
// the domains that they are members of.
func (s *Server) listDomains(ctx context.Context, c *call) (answer, error) {
	q, err := c.query()
	if err != nil {
		return answer{}, err
	}
	if !authz.DomainView.AllowedTo(c.role) {
		q.User = c.by()
	}
	list, err := s.Registry.Domains(ctx, q)
	if err != nil {
		return answer{}, err
	}
	return ok(DomainPage{Total: list.Total, Offset: q.Offset, Limit: q.Limit, Domains: each(list.Items, domainOf)})
}

func (s *Server) viewDomain(ctx context.Context, c *call) (answer, error) {
	d, err := s.Registry.Domain(ctx, c.domain)
	if err != nil {
		return answer{}, err
	}
	return ok(domainOf(d))
}

func (s *Server) updateDomain(ctx context.Context, c *call) (answer, error) {
	var in DomainPatch
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	return s.editDomain(ctx, c, func(d *registry.Domain) error {
		if in.Name != nil {
			d.Name = *in.Name
		}
		if in.Route != nil {
			d.Route = *in.Route
		}
		if in.Tags != nil {
			d.Tags = in.Tags
		}
		if in.Metadata != nil {
			d.Metadata = registry.Metadata(in.Metadata)
		}
		return nil
	})
}

func (s *Server) deleteDomain(ctx context.Context, c *call) (answer, error) {
	return done(s.Registry.DeleteDomain(ctx, c.domain))
}

func (s *Server) enableDomain(ctx context.Context, c *call) (answer, error) {
	return s.setDomainStatus(ctx, c, registry.Enabled)
}

func (s *Server) disableDomain(ctx context.Context, c *call) (answer, error) {
	return s.setDomainStatus(ctx, c, registry.Disabled)
}

func (s *Server) freezeDomain(ctx context.Context, c *call) (answer, error) {
	return s.setDomainStatus(ctx, c, registry.Frozen)
}

// setDomainStatus changes the status; out of the frozen state leads only who
// could have put the domain there.
func (s *Server) setDomainStatus(ctx context.Context, c *call, status registry.Status) (answer, error) {
	return s.editDomain(ctx, c, func(d *registry.Domain) error {
		if d.Status == registry.Frozen {
			if err := s.People.Allow(ctx, c.person.User, authz.DomainFreeze, ""); err != nil {
				return err
			}
		}
		d.Status = status
		return nil
	})
}

func (s *Server) editDomain(ctx context.Context, c *call, edit func(*registry.Domain) error) (answer, error) {
	d, err := s.Registry.UpdateDomain(ctx, c.by(), c.domain, edit)
	if err != nil {
		return answer{}, err
	}
	return ok(domainOf(d))
}

func (s *Server) listMembers(ctx context.Context, c *call) (answer, error) {
	q, err := c.page()
	if err != nil {
		return answer{}, err
	}
	q.Domain = c.domain
	list, err := s.Registry.Members(ctx, q)
	if err != nil {
		return answer{}, err
	}
	return ok(MemberPage{Total: list.Total, Offset: q.Offset, Limit: q.Limit,
		Members: each(list.Items, func(m registry.Member) Member { return memberOf(m.User, m.Role) })})
}

func (s *Server) addMember(ctx context.Context, c *call) (answer, error) {
	var in NewMember
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	role, err := registry.ParseRole(string(in.Role))
	if err != nil {
		return answer{}, err
	}
	id, err := registry.ParseID(in.UserID)
	if err != nil {
		return answer{}, &registry.InvalidError{Field: "user_id", Reason: "must be an id"}
	}
	if err := authz.Manage(c.role, role); err != nil {
		return answer{}, err
	}
	if err := s.Registry.AddMember(ctx, registry.Membership{Domain: c.domain, User: registry.UserID(id), Role: role}); err != nil {
		return answer{}, err
	}
	u, err := s.Registry.User(ctx, registry.UserID(id))
	if err != nil {
		return answer{}, err
	}
	return created(memberOf(u, role), "")
}

func (s *Server) updateMember(ctx context.Context, c *call) (answer, error) {
	var in RoleChange
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	role, err := registry.ParseRole(string(in.Role))
	if err != nil {
		return answer{}, err
	}
	err = s.Registry.UpdateMember(ctx, c.domain, c.user, func(m *registry.Membership) error {
		err := authz.Manage(c.role, m.Role, role)
		m.Role = role
		return err
	})
	if err != nil {
		return answer{}, err
	}
	u, err := s.Registry.User(ctx, c.user)
	if err != nil {
		return answer{}, err
	}
	return ok(memberOf(u, role))
}

func (s *Server) removeMember(ctx context.Context, c *call) (answer, error) {
	return done(s.Registry.RemoveMember(ctx, c.domain, c.user, func(m registry.Membership) error {
		return authz.Manage(c.role, m.Role)
	}))
}
