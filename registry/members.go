package registry

import (
	"context"
	"errors"
)

// Membership returns the user's membership of the domain.
func (r *Registry) Membership(ctx context.Context, domain DomainID, user UserID) (Membership, error) {
	return r.Store.Membership(ctx, domain, user)
}

// Members lists the members of q.Domain.
func (r *Registry) Members(ctx context.Context, q Query) (List[Member], error) {
	if err := q.Check(); err != nil {
		return List[Member]{}, err
	}
	return r.Store.Members(ctx, q)
}

// AddMember gives a user a role in the domain. It returns an *ExistsError when
// the user is a member already.
func (r *Registry) AddMember(ctx context.Context, m Membership) error {
	if err := m.check(); err != nil {
		return err
	}
	return r.inDomain(ctx, m.Domain, func(tx Tx) ([]Change, error) {
		if _, err := tx.User(ctx, m.User); err != nil {
			return nil, err
		}
		switch _, err := tx.Membership(ctx, m.Domain, m.User); {
		case err == nil:
			return nil, &ExistsError{Field: "user_id"}
		case !errors.Is(err, ErrNotFound):
			return nil, err
		}
		return []Change{{Domain: m.Domain, User: m.User}}, tx.InsertMembership(ctx, m)
	})
}

// UpdateMember gives a member another role; edit sees the present one.
func (r *Registry) UpdateMember(ctx context.Context, domain DomainID, user UserID, edit func(*Membership) error) error {
	return r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		m, err := tx.Membership(ctx, domain, user)
		if err != nil {
			return nil, err
		}
		if err := edit(&m); err != nil {
			return nil, err
		}
		m.Domain, m.User = domain, user
		if err := m.check(); err != nil {
			return nil, err
		}
		return []Change{{Domain: domain, User: user}}, tx.UpdateMembership(ctx, m)
	})
}

// RemoveMember ends a membership; check, which may be nil, sees it first and
// may refuse.
func (r *Registry) RemoveMember(ctx context.Context, domain DomainID, user UserID, check func(Membership) error) error {
	return r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		m, err := tx.Membership(ctx, domain, user)
		if err != nil {
			return nil, err
		}
		if check != nil {
			if err := check(m); err != nil {
				return nil, err
			}
		}
		return []Change{{Domain: domain, User: user}}, tx.DeleteMembership(ctx, domain, user)
	})
}

func (m Membership) check() error {
	if m.Role < Viewer || m.Role > Owner {
		return &InvalidError{Field: "role", Reason: "must be viewer, editor, admin or owner"}
	}
	return nil
}
