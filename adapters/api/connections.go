package api

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

func (s *Server) connect(ctx context.Context, c *call) (answer, error) {
	var in Connect
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	err := change(ctx, c, in, s.Registry.Connect)
	return answer{status: http.StatusCreated}, err
}

func (s *Server) disconnect(ctx context.Context, c *call) (answer, error) {
	var in Connect
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	return done(change(ctx, c, in, s.Registry.Disconnect))
}

func (s *Server) connectChannel(ctx context.Context, c *call) (answer, error) {
	in, err := c.toChannel()
	if err == nil {
		err = change(ctx, c, in, s.Registry.Connect)
	}
	return answer{status: http.StatusCreated}, err
}

func (s *Server) disconnectChannel(ctx context.Context, c *call) (answer, error) {
	in, err := c.toChannel()
	if err == nil {
		err = change(ctx, c, in, s.Registry.Disconnect)
	}
	return done(err)
}

// setConnections makes each connection named be just what is said.
func (s *Server) setConnections(ctx context.Context, c *call) (answer, error) {
	var in Connections
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	all := make([]registry.Connection, len(in.Connections))
	for i, one := range in.Connections {
		rights, err := rightsOf(one.Types)
		if err != nil {
			return answer{}, err
		}
		device, err := registry.ParseID(one.ClientID)
		if err != nil {
			return answer{}, &registry.InvalidError{Field: "client_id", Reason: "must be an id"}
		}
		channel, err := registry.ParseID(one.ChannelID)
		if err != nil {
			return answer{}, &registry.InvalidError{Field: "channel_id", Reason: "must be an id"}
		}
		all[i] = registry.Connection{Device: registry.DeviceID(device), Channel: registry.ChannelID(channel), Rights: rights}
	}
	return done(s.Registry.SetConnections(ctx, c.domain, all))
}

// toChannel reads a change of connections with the channel of the path.
func (c *call) toChannel() (Connect, error) {
	var in ConnectChannel
	if err := c.body(&in); err != nil {
		return Connect{}, err
	}
	if c.channel() == "" {
		return Connect{}, registry.ErrNotFound
	}
	return Connect{ClientIDs: in.ClientIDs, ChannelIDs: []string{string(c.channel())}, Types: in.Types}, nil
}

type changeConnections func(context.Context, registry.DomainID, []registry.DeviceID, []registry.ChannelID, registry.Rights) error

func change(ctx context.Context, c *call, in Connect, do changeConnections) error {
	rights, err := rightsOf(in.Types)
	if err != nil {
		return err
	}
	devices, err := ids[registry.DeviceID]("client_ids", in.ClientIDs)
	if err != nil {
		return err
	}
	channels, err := ids[registry.ChannelID]("channel_ids", in.ChannelIDs)
	if err != nil {
		return err
	}
	return do(ctx, c.domain, devices, channels, rights)
}

func ids[ID ~string](field string, texts []string) ([]ID, error) {
	out := make([]ID, len(texts))
	for i, text := range texts {
		id, err := registry.ParseID(text)
		if err != nil {
			return nil, &registry.InvalidError{Field: field, Reason: "must be ids"}
		}
		out[i] = ID(id)
	}
	return out, nil
}

func (s *Server) listClientConnections(ctx context.Context, c *call) (answer, error) {
	d, err := s.Registry.Device(ctx, c.domain, c.client())
	if err != nil {
		return answer{}, err
	}
	return s.listConnections(ctx, c, registry.Query{Device: d.ID})
}

func (s *Server) listChannelConnections(ctx context.Context, c *call) (answer, error) {
	ch, err := s.Registry.Channel(ctx, c.domain, c.channel())
	if err != nil {
		return answer{}, err
	}
	return s.listConnections(ctx, c, registry.Query{Channel: ch.ID})
}

func (s *Server) listConnections(ctx context.Context, c *call, of registry.Query) (answer, error) {
	q, err := c.page()
	if err != nil {
		return answer{}, err
	}
	q.Domain, q.Device, q.Channel = c.domain, of.Device, of.Channel
	list, err := s.Registry.Connections(ctx, q)
	if err != nil {
		return answer{}, err
	}
	return ok(ConnectionPage{Total: list.Total, Offset: q.Offset, Limit: q.Limit, Connections: each(list.Items, connectionOf)})
}

// listMatrix shows who is connected to what, of the clients and channels named.
func (s *Server) listMatrix(ctx context.Context, c *call) (answer, error) {
	v := c.request.URL.Query()
	devices, err := ids[registry.DeviceID]("client", v["client"])
	if err != nil {
		return answer{}, err
	}
	channels, err := ids[registry.ChannelID]("channel", v["channel"])
	if err != nil {
		return answer{}, err
	}
	all, err := s.Registry.Between(ctx, c.domain, devices, channels)
	if err != nil {
		return answer{}, err
	}
	return ok(ConnectionPage{Total: len(all), Limit: len(all), Connections: each(all, connectionOf)})
}

func (s *Server) explain(ctx context.Context, c *call) (answer, error) {
	var in Question
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	q := adapters.Question{Topic: in.Topic, Action: registry.Publish}
	if in.Action != "" {
		var err error
		if q.Action, err = rightsOf([]string{string(in.Action)}); err != nil {
			return answer{}, &registry.InvalidError{Field: "action", Reason: "must be publish or subscribe"}
		}
	}
	switch shown := in.Credential; {
	case in.ClientID != "" && shown != (ShownCredential{}), in.ClientID == "" && shown == (ShownCredential{}):
		return answer{}, &registry.InvalidError{Field: "client_id", Reason: "or else a credential must be given"}
	case in.ClientID != "":
		id, err := registry.ParseID(in.ClientID)
		if err != nil {
			return answer{}, &registry.InvalidError{Field: "client_id", Reason: "must be an id"}
		}
		d, err := s.Registry.Device(ctx, c.domain, registry.DeviceID(id))
		if err != nil {
			return answer{}, err
		}
		q.Device = &d
	default:
		q.Credential = &authn.Credential{Via: "explain"}
		q.Credential.ShowDeviceID(shown.Username)
		q.Credential.ShowSecret(shown.Secret)
		q.Credential.Remote, _ = netip.ParseAddr(c.from) // the zero address is a source like any other
	}
	e, err := s.Explain.Explain(ctx, q)
	if err != nil {
		return answer{}, err
	}
	if e.Device != "" {
		// A credential may be another domain's; here that is nobody's.
		_, err := s.Registry.Device(ctx, c.domain, e.Device)
		if adapters.KindOf(err) == adapters.NotFound {
			e = adapters.Explanation{Reason: registry.ReasonUnknownDevice, Steps: []string{"no such client in this domain"}}
		} else if err != nil {
			return answer{}, err
		}
	}
	return ok(Explanation{Allowed: e.Allowed, Reason: string(e.Reason), ClientID: string(e.Device),
		Steps: each(e.Steps, func(s string) string { return s }), Cached: e.Cached})
}
