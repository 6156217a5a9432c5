package registry

import (
	"context"
	"errors"
	"path"
	"slices"
)

// Principal returns who an authority means by a name, or ErrNotFound.
func (r *Registry) Principal(ctx context.Context, authority AuthorityID, name string) (Principal, error) {
	return r.Store.Principal(ctx, authority, name)
}

// Principals lists those of an authority of the domain, by name.
func (r *Registry) Principals(ctx context.Context, domain DomainID, authority AuthorityID, q Query) (List[Principal], error) {
	q.Order = ByName
	if err := q.Check(); err != nil {
		return List[Principal]{}, err
	}
	if _, err := r.Store.ImportedAuthority(ctx, domain, authority); err != nil {
		return List[Principal]{}, err
	}
	return r.Store.Principals(ctx, authority, q)
}

// Bind says that an authority means a device by a name. A name that is bound
// already is an *ExistsError. A device may be bound to several authorities; it is
// a person who says so.
func (r *Registry) Bind(ctx context.Context, domain DomainID, authority AuthorityID, name string, device DeviceID) (Principal, error) {
	var p Principal
	err := r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		a, err := tx.ImportedAuthority(ctx, domain, authority)
		if err != nil {
			return nil, err
		}
		if _, err := deviceIn(ctx, tx, domain, device); err != nil {
			return nil, err
		}
		switch {
		case a.Status == ImportUnproved:
			return nil, &InvalidError{Field: "authority", Reason: "is not proved; prove it first"}
		case a.Source != NameCommon && name == "":
			name = string(device)
		case a.Source != NameCommon && name != string(device):
			return nil, &InvalidError{Field: "name", Reason: "must be the client's id, or be left out: certificates of this authority lead to a client by themselves"}
		}
		if err := a.checkPrincipal(name); err != nil {
			return nil, err
		}
		p = Principal{Authority: authority, Name: name, Domain: domain, Device: device, CreatedAt: r.now()}
		return []Change{{Domain: domain, Device: device}}, tx.InsertPrincipal(ctx, p)
	})
	if err != nil {
		return Principal{}, err
	}
	return p, nil
}

// checkPrincipal tells whether a name can be bound. The nonce cannot: whoever
// has the proof has a certificate of that name.
func (a ImportedAuthority) checkPrincipal(name string) error {
	if err := checkName(name, true); err != nil {
		return err
	}
	if name == a.Nonce {
		return &InvalidError{Field: "name", Reason: "is the nonce of the proof, which names no device"}
	}
	return nil
}

// Unbind takes a binding back. Sessions that were opened by it end.
func (r *Registry) Unbind(ctx context.Context, domain DomainID, authority AuthorityID, name string) error {
	return r.lockedDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		p, err := tx.Principal(ctx, authority, name)
		if err == nil && p.Domain != domain {
			err = ErrNotFound
		}
		if err != nil {
			return nil, err
		}
		return []Change{{Domain: domain, Device: p.Device, Authority: authority}}, tx.DeletePrincipal(ctx, authority, name)
	})
}

// Adopt is for the first time that a certificate of an authority leads to a
// device: from now on the device is the authority's. It is refused, with a
// reason, when the device is in another domain, or another authority's already.
func (r *Registry) Adopt(ctx context.Context, domain DomainID, authority AuthorityID, device DeviceID) (refused Reason, err error) {
	_, refused, err = r.first(ctx, domain, authority, func(tx Tx, _ ImportedAuthority) (Principal, Reason, []Change, error) {
		p := Principal{Authority: authority, Name: string(device), Domain: domain, Device: device, CreatedAt: r.now()}
		_, err := deviceIn(ctx, tx, domain, device)
		if errors.Is(err, ErrNotFound) {
			return p, ReasonForeignDomain, nil, nil
		}
		if err != nil {
			return p, "", nil, err
		}
		there, err := tx.PrincipalsOf(ctx, device)
		if err != nil {
			return p, "", nil, err
		}
		foreign := func(o Principal) bool { return o.Authority != authority }
		switch {
		case slices.ContainsFunc(there, func(o Principal) bool { return !foreign(o) && o.Name == p.Name }): // another node was first
			return p, "", nil, nil
		case slices.ContainsFunc(there, foreign):
			return p, ReasonForeignAuthority, nil, nil
		}
		return p, "", []Change{{Domain: domain, Device: device}}, tx.InsertPrincipal(ctx, p)
	})
	return refused, err
}

// Arrive is for a name that an authority says for the first time. Where the
// authority may register devices, one is made and bound to the name: it waits
// for approval, or is approved at once by the authority's rule.
func (r *Registry) Arrive(ctx context.Context, domain DomainID, authority AuthorityID, name string) (device DeviceID, refused Reason, err error) {
	p, refused, err := r.first(ctx, domain, authority, func(tx Tx, a ImportedAuthority) (Principal, Reason, []Change, error) {
		p, err := tx.Principal(ctx, authority, name)
		if err == nil || !errors.Is(err, ErrNotFound) { // another node was first
			return p, "", nil, err
		}
		if !a.Arrival.Register || a.checkPrincipal(name) != nil {
			return p, ReasonUnknownCertificate, nil, nil
		}
		return r.arrive(ctx, tx, a, name)
	})
	return p.Device, refused, err
}

func (r *Registry) arrive(ctx context.Context, tx Tx, a ImportedAuthority, name string) (p Principal, refused Reason, changes []Change, err error) {
	now := r.now()
	d := Device{ID: DeviceID(r.NewID()), Domain: a.Domain, Name: name, Identity: name, Status: Pending, CreatedAt: now, UpdatedAt: now}
	approved := false
	if a.Arrival.Approve != "" {
		if approved, err = path.Match(a.Arrival.Approve, name); err != nil {
			return p, "", nil, err
		}
	}
	if approved {
		d.Status, d.Tags = Enabled, a.Arrival.Tags
	} else {
		waiting, err := tx.PendingOf(ctx, a.ID)
		if err != nil {
			return p, "", nil, err
		}
		if waiting >= a.Arrival.MaxPending {
			return p, ReasonTooManyPending, nil, nil
		}
	}
	if err := d.settle(); err != nil {
		return p, "", nil, err
	}
	p = Principal{Authority: a.ID, Name: name, Domain: a.Domain, Device: d.ID, CreatedAt: now}
	if err := tx.InsertDevice(ctx, d); err != nil {
		return p, "", nil, err
	}
	if err := tx.InsertPrincipal(ctx, p); err != nil {
		return p, "", nil, err
	}
	changes = []Change{{Domain: a.Domain, Device: d.ID}}
	if !approved {
		return p, "", changes, nil
	}
	for _, g := range a.Arrival.Grants {
		if _, err := tx.Channel(ctx, g.Channel); errors.Is(err, ErrNotFound) {
			continue // it went after the rule was made
		} else if err != nil {
			return p, "", nil, err
		}
		if err := tx.AddRights(ctx, Connection{Domain: a.Domain, Device: d.ID, Channel: g.Channel, Rights: g.Rights}); err != nil {
			return p, "", nil, err
		}
		changes = append(changes, Change{Domain: a.Domain, Device: d.ID, Channel: g.Channel})
	}
	return p, "", changes, nil
}

// first runs do in a domain in which devices may be let in, for an authority
// that vouches now. It is no caller's change, so what does not fit is a reason
// for refusing and no error.
func (r *Registry) first(ctx context.Context, domain DomainID, authority AuthorityID, do func(Tx, ImportedAuthority) (Principal, Reason, []Change, error)) (p Principal, refused Reason, err error) {
	err = r.update(ctx, func(tx Tx) (changes []Change, err error) {
		d, err := tx.LockDomain(ctx, domain)
		switch {
		case errors.Is(err, ErrNotFound):
			refused = ReasonDomainUnknown
			return nil, nil
		case err != nil:
			return nil, err
		case d.Status == Frozen:
			refused = ReasonDomainFrozen
			return nil, nil
		case d.Status != Enabled:
			refused = ReasonDomainDisabled
			return nil, nil
		}
		a, err := tx.ImportedAuthority(ctx, domain, authority)
		if errors.Is(err, ErrNotFound) || err == nil && !a.Vouches() {
			refused = ReasonCertificateUntrusted
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		p, refused, changes, err = do(tx, a)
		return changes, err
	})
	if err != nil {
		return Principal{}, "", err
	}
	return p, refused, nil
}
