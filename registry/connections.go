package registry

import "context"

// Rights returns what the device may do on the channel by its connection.
func (r *Registry) Rights(ctx context.Context, device DeviceID, channel ChannelID) (Rights, error) {
	return r.Store.Rights(ctx, device, channel)
}

// Connections lists connections of q.Domain, of q.Device or of q.Channel.
func (r *Registry) Connections(ctx context.Context, q Query) (List[Connection], error) {
	if err := q.Check(); err != nil {
		return List[Connection]{}, err
	}
	return r.Store.Connections(ctx, q)
}

// Between returns the connections of a domain that are between these devices
// and these channels, by channel. The number of both multiplied must not pass
// MaxBulk.
func (r *Registry) Between(ctx context.Context, domain DomainID, devices []DeviceID, channels []ChannelID) ([]Connection, error) {
	switch {
	case len(devices) == 0:
		return nil, &InvalidError{Field: "client", Reason: "must be given"}
	case len(channels) == 0:
		return nil, &InvalidError{Field: "channel", Reason: "must be given"}
	case len(devices) > MaxPage || len(channels) > MaxPage || len(devices)*len(channels) > MaxBulk:
		return nil, &InvalidError{Field: "client", Reason: "must be at most 100, as channel, and both together make at most 1000 pairs"}
	}
	return r.Store.ConnectionsBetween(ctx, domain, devices, channels)
}

// Connect gives each device each of the rights on each channel, all or none.
// Rights that are there stay. Devices and channels must be of the domain;
// their number multiplied must not pass MaxBulk.
func (r *Registry) Connect(ctx context.Context, domain DomainID, devices []DeviceID, channels []ChannelID, rights Rights) error {
	return r.connections(ctx, domain, devices, channels, rights, Tx.AddRights)
}

// SetConnections makes each connection be just what is said, all or none: rights
// that are not named end, and without any the connection does. Devices and
// channels must be of the domain, each pair named once, and at most MaxBulk of
// them. What is not named stays.
func (r *Registry) SetConnections(ctx context.Context, domain DomainID, all []Connection) error {
	if len(all) == 0 || len(all) > MaxBulk {
		return &InvalidError{Field: "connections", Reason: "must be between 1 and 1000"}
	}
	pairs := make(map[Connection]bool, len(all)) // without rights
	for _, c := range all {
		if c.Rights&^(Publish|Subscribe) != 0 {
			return &InvalidError{Field: "types", Reason: "must be publish, subscribe, both or none"}
		}
		pairs[Connection{Device: c.Device, Channel: c.Channel}] = true
	}
	if len(pairs) != len(all) {
		return &InvalidError{Field: "connections", Reason: "must name each pair of client and channel once"}
	}
	return r.each(ctx, domain, all, Tx.SetRights)
}

// Disconnect takes each of the rights on each channel from each device. A
// right that is not there is not missed.
func (r *Registry) Disconnect(ctx context.Context, domain DomainID, devices []DeviceID, channels []ChannelID, rights Rights) error {
	return r.connections(ctx, domain, devices, channels, rights, Tx.RemoveRights)
}

func (r *Registry) connections(ctx context.Context, domain DomainID, devices []DeviceID, channels []ChannelID, rights Rights,
	change func(Tx, context.Context, Connection) error) error {
	switch {
	case rights == 0 || rights&^(Publish|Subscribe) != 0:
		return &InvalidError{Field: "types", Reason: "must be publish, subscribe or both"}
	case len(devices) == 0:
		return &InvalidError{Field: "client_ids", Reason: "must not be empty"}
	case len(channels) == 0:
		return &InvalidError{Field: "channel_ids", Reason: "must not be empty"}
	case len(devices) > MaxBulk || len(channels) > MaxBulk || len(devices)*len(channels) > MaxBulk:
		return &InvalidError{Field: "client_ids", Reason: "must make at most 1000 connections with channel_ids"}
	}
	all := make([]Connection, 0, len(devices)*len(channels))
	for _, d := range devices {
		for _, c := range channels {
			all = append(all, Connection{Device: d, Channel: c, Rights: rights})
		}
	}
	return r.each(ctx, domain, all, change)
}

// each changes every one of the connections, which must be between devices and
// channels of the domain, or none.
func (r *Registry) each(ctx context.Context, domain DomainID, all []Connection, change func(Tx, context.Context, Connection) error) error {
	return r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		devices, channels := map[DeviceID]bool{}, map[ChannelID]bool{} // those seen
		changes := make([]Change, 0, len(all))
		for _, c := range all {
			if !devices[c.Device] {
				if _, err := deviceIn(ctx, tx, domain, c.Device); err != nil {
					return nil, err
				}
				devices[c.Device] = true
			}
			if !channels[c.Channel] {
				if _, err := channelIn(ctx, tx, domain, c.Channel); err != nil {
					return nil, err
				}
				channels[c.Channel] = true
			}
			c.Domain = domain
			if err := change(tx, ctx, c); err != nil {
				return nil, err
			}
			changes = append(changes, Change{Domain: domain, Device: c.Device, Channel: c.Channel})
		}
		return changes, nil
	})
}
