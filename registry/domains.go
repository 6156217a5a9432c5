package registry

import (
	"context"
	"fmt"
	"strings"
)

// Domain returns the domain with that id.
func (r *Registry) Domain(ctx context.Context, id DomainID) (Domain, error) {
	return r.Store.Domain(ctx, id)
}

// DomainByRef returns the domain with that id or route.
func (r *Registry) DomainByRef(ctx context.Context, ref string) (Domain, error) {
	return r.Store.DomainByRef(ctx, ref)
}

// Domains lists domains; with q.User set, those of which the user is a member.
func (r *Registry) Domains(ctx context.Context, q Query) (List[Domain], error) {
	if err := q.Check(); err != nil {
		return List[Domain]{}, err
	}
	return r.Store.Domains(ctx, q)
}

// CreateDomain creates a domain from d's ID, Name, Route, Tags and Metadata,
// and makes its creator its owner. Without an id one is made; without a route
// one is made from the name.
func (r *Registry) CreateDomain(ctx context.Context, by UserID, d Domain) (Domain, error) {
	id, err := r.id(string(d.ID))
	if err != nil {
		return Domain{}, err
	}
	d.ID, d.Status = DomainID(id), Enabled
	d.CreatedBy, d.CreatedAt = by, r.now()
	d.UpdatedBy, d.UpdatedAt = by, d.CreatedAt
	madeRoute := d.Route == ""
	if madeRoute {
		d.Route = routeFrom(d.Name)
	}
	switch {
	case d.Route == "":
		d.Route = id
	case madeRoute && reserved[d.Route]:
		d.Route += "-1"
	}
	if err := d.settle(); err != nil {
		return Domain{}, err
	}

	route := d.Route
	err = r.update(ctx, func(tx Tx) ([]Change, error) {
		if err := tx.Lock(ctx, lockRoutes); err != nil {
			return nil, err
		}
		// A route made here must not be in anybody's way; one that the
		// caller chose is refused instead.
		d.Route = route
		if _, err := tx.DomainByRef(ctx, route); err == nil && madeRoute {
			d.Route = fmt.Sprintf("%.27s-%.8s", route, d.ID)
		}
		if err := freeRef(ctx, tx, "id", id, ""); err != nil {
			return nil, err
		}
		if err := freeRef(ctx, tx, "route", d.Route, ""); err != nil {
			return nil, err
		}
		if err := tx.InsertDomain(ctx, d); err != nil {
			return nil, err
		}
		if by != "" {
			if err := tx.InsertMembership(ctx, Membership{Domain: d.ID, User: by, Role: Owner}); err != nil {
				return nil, err
			}
		}
		return []Change{{Domain: d.ID, User: by}, {Domain: d.ID}}, nil
	})
	if err != nil {
		return Domain{}, err
	}
	return d, nil
}

// UpdateDomain changes what edit changes: Name, Route, Tags, Metadata, Status.
// A frozen domain takes no change but of its status.
func (r *Registry) UpdateDomain(ctx context.Context, by UserID, id DomainID, edit func(*Domain) error) (Domain, error) {
	var d Domain
	err := r.update(ctx, func(tx Tx) ([]Change, error) {
		if err := tx.Lock(ctx, lockRoutes); err != nil {
			return nil, err
		}
		old, err := tx.LockDomain(ctx, id)
		if err != nil {
			return nil, err
		}
		d = old
		if err := edit(&d); err != nil {
			return nil, err
		}
		if old.Status == Frozen && d.Status == Frozen {
			return nil, ErrFrozen
		}
		d.ID, d.CreatedBy, d.CreatedAt = old.ID, old.CreatedBy, old.CreatedAt
		d.UpdatedBy, d.UpdatedAt = by, r.now()
		if err := d.settle(); err != nil {
			return nil, err
		}
		if err := freeRef(ctx, tx, "route", d.Route, id); err != nil {
			return nil, err
		}
		return []Change{{Domain: id}}, tx.UpdateDomain(ctx, d)
	})
	if err != nil {
		return Domain{}, err
	}
	return d, nil
}

// DeleteDomain removes the domain and all in it, at once. A frozen domain
// stays.
func (r *Registry) DeleteDomain(ctx context.Context, id DomainID) error {
	return r.inDomain(ctx, id, func(tx Tx) ([]Change, error) {
		changes, err := r.cease(ctx, tx, id, "")
		if err != nil {
			return nil, err
		}
		return append(changes, Change{Domain: id, Gone: true}), tx.DeleteDomain(ctx, id)
	})
}

// settle checks the fields that a caller writes and brings them into the form
// that is stored.
func (d *Domain) settle() error {
	d.Route, d.Tags = canonicalRoute(d.Route), unique(d.Tags)
	if err := checkName(d.Name, true); err != nil {
		return err
	}
	if err := CheckRoute(d.Route); err != nil {
		return err
	}
	if reserved[strings.ToLower(d.Route)] {
		return &InvalidError{Field: "route", Reason: "must be none of the words of the API's own paths, such as " + d.Route}
	}
	if err := checkStatus(d.Status, Enabled, Disabled, Frozen); err != nil {
		return err
	}
	if err := checkTags(d.Tags); err != nil {
		return err
	}
	return checkMetadata(d.Metadata)
}

// freeRef refuses an id or a route that already names another domain. Both name
// a domain in a topic, and a route may be a UUID: without this rule a newcomer
// could stand in for an existing domain.
func freeRef(ctx context.Context, tx Tx, field, ref string, self DomainID) error {
	other, err := tx.DomainByRef(ctx, ref)
	if err == nil && other.ID != self {
		return &ExistsError{Field: field}
	}
	return notFoundIsFine(err)
}
