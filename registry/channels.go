package registry

import "context"

// Channel returns the channel with that id if it is in the domain.
func (r *Registry) Channel(ctx context.Context, domain DomainID, id ChannelID) (Channel, error) {
	return channelIn(ctx, r.Store, domain, id)
}

// Channels lists the channels of q.Domain.
func (r *Registry) Channels(ctx context.Context, q Query) (List[Channel], error) {
	if err := q.Check(); err != nil {
		return List[Channel]{}, err
	}
	return r.Store.Channels(ctx, q)
}

// CreateChannels creates all the channels, at most MaxBulk, or none, from
// their ID, Name, Route, Store, Status, Tags and Metadata.
func (r *Registry) CreateChannels(ctx context.Context, by UserID, domain DomainID, channels []Channel) ([]Channel, error) {
	if err := checkBulk(len(channels)); err != nil {
		return nil, err
	}
	now := r.now()
	made := make([]Channel, len(channels))
	for i, c := range channels {
		id, err := r.id(string(c.ID))
		if err != nil {
			return nil, err
		}
		c.ID, c.Domain = ChannelID(id), domain
		c.CreatedAt, c.UpdatedAt, c.UpdatedBy = now, now, by
		if c.Status == "" {
			c.Status = Enabled
		}
		if err := c.settle(); err != nil {
			return nil, err
		}
		made[i] = c
	}

	err := r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		changes := make([]Change, 0, len(made))
		for _, c := range made {
			if err := freeChannelRef(ctx, tx, domain, "id", string(c.ID), ""); err != nil {
				return nil, err
			}
			if err := freeChannelRef(ctx, tx, domain, "route", c.Route, ""); err != nil {
				return nil, err
			}
			if err := tx.InsertChannel(ctx, c); err != nil {
				return nil, err
			}
			changes = append(changes, Change{Domain: domain, Channel: c.ID})
		}
		return changes, nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// UpdateChannel changes what edit changes: Name, Route, Store, Status, Tags,
// Metadata.
func (r *Registry) UpdateChannel(ctx context.Context, by UserID, domain DomainID, id ChannelID, edit func(*Channel) error) (Channel, error) {
	var c Channel
	err := r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		old, err := channelIn(ctx, tx, domain, id)
		if err != nil {
			return nil, err
		}
		c = old
		if err := edit(&c); err != nil {
			return nil, err
		}
		c.ID, c.Domain, c.CreatedAt = old.ID, old.Domain, old.CreatedAt
		c.UpdatedBy, c.UpdatedAt = by, r.now()
		if err := c.settle(); err != nil {
			return nil, err
		}
		if err := freeChannelRef(ctx, tx, domain, "route", c.Route, id); err != nil {
			return nil, err
		}
		return []Change{{Domain: domain, Channel: id}}, tx.UpdateChannel(ctx, c)
	})
	if err != nil {
		return Channel{}, err
	}
	return c, nil
}

// DeleteChannel removes the channel with its connections.
func (r *Registry) DeleteChannel(ctx context.Context, domain DomainID, id ChannelID) error {
	return r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		if _, err := channelIn(ctx, tx, domain, id); err != nil {
			return nil, err
		}
		return []Change{{Domain: domain, Channel: id, Gone: true}}, tx.DeleteChannel(ctx, id)
	})
}

// channelIn finds a channel; in another domain it does not exist.
func channelIn(ctx context.Context, from ChannelReader, domain DomainID, id ChannelID) (Channel, error) {
	c, err := from.Channel(ctx, id)
	if err == nil && c.Domain != domain {
		err = ErrNotFound
	}
	if err != nil {
		return Channel{}, err
	}
	return c, nil
}

// freeChannelRef is freeRef for the channels of a domain. The lock on the
// domain makes it hold.
func freeChannelRef(ctx context.Context, tx Tx, domain DomainID, field, ref string, self ChannelID) error {
	if ref == "" {
		return nil
	}
	other, err := tx.ChannelByRef(ctx, domain, ref)
	if err == nil && other.ID != self {
		return &ExistsError{Field: field}
	}
	return notFoundIsFine(err)
}

func (c *Channel) settle() error {
	c.Route, c.Tags = canonicalRoute(c.Route), unique(c.Tags)
	if err := checkName(c.Name, false); err != nil {
		return err
	}
	if c.Route != "" {
		if err := CheckRoute(c.Route); err != nil {
			return err
		}
	}
	if err := checkStatus(c.Status, Enabled, Disabled); err != nil {
		return err
	}
	if err := checkTags(c.Tags); err != nil {
		return err
	}
	return checkMetadata(c.Metadata)
}
