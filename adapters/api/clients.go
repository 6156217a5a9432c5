package api

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/registry"
)

func (s *Server) createClient(ctx context.Context, c *call) (answer, error) {
	var in NewClient
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	made, err := s.Registry.CreateDevices(ctx, c.by(), c.domain, []registry.NewDevice{deviceFrom(in)})
	if err != nil {
		return answer{}, err
	}
	return created(newbornOf(made[0]), "/"+string(c.domain)+"/clients/"+string(made[0].ID))
}

func (s *Server) createClients(ctx context.Context, c *call) (answer, error) {
	var in NewClients
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	made, err := s.Registry.CreateDevices(ctx, c.by(), c.domain, each(in, deviceFrom))
	if err != nil {
		return answer{}, err
	}
	return ok(ClientPage{Total: len(made), Limit: len(made), Clients: each(made, newbornOf)})
}

func deviceFrom(in NewClient) registry.NewDevice {
	return registry.NewDevice{
		Device: registry.Device{ID: registry.DeviceID(in.ID), Name: in.Name, Identity: in.Credentials.Identity,
			Status: registry.Status(in.Status), Tags: in.Tags, Metadata: registry.Metadata(in.Metadata)},
		Secret: registry.SecretOf(in.Credentials.Secret),
	}
}

func (s *Server) listClients(ctx context.Context, c *call) (answer, error) {
	q, err := c.query()
	if err != nil {
		return answer{}, err
	}
	if q.After, err = parsePlace(c.request.URL.Query().Get("after")); err != nil {
		return answer{}, err
	}
	list, err := s.Registry.Devices(ctx, q)
	if err != nil {
		return answer{}, err
	}
	page := ClientPage{Total: list.Total, Offset: q.Offset, Limit: q.Limit, Clients: each(list.Items, clientOf)}
	if n := len(list.Items); q.Order == registry.ByCreated && n > 0 && q.Offset+n < list.Total {
		page.Next = placeText(registry.Place{At: list.Items[n-1].CreatedAt, ID: string(list.Items[n-1].ID)})
	}
	return ok(page)
}

// placeText writes a place for the query value after: microseconds since 1970 and an
// id. Callers are promised nothing about it.
func placeText(p registry.Place) string {
	return strconv.FormatInt(p.At.UnixMicro(), 10) + "." + p.ID
}

func parsePlace(text string) (*registry.Place, error) {
	if text == "" {
		return nil, nil
	}
	at, id, _ := strings.Cut(text, ".")
	micros, err := strconv.ParseInt(at, 10, 64)
	if err == nil {
		id, err = registry.ParseID(id)
	}
	if err != nil {
		return nil, &registry.InvalidError{Field: "after", Reason: "must be what a page named as next"}
	}
	return &registry.Place{At: time.UnixMicro(micros), ID: id}, nil
}

func (s *Server) viewClient(ctx context.Context, c *call) (answer, error) {
	d, err := s.Registry.Device(ctx, c.domain, c.client())
	if err != nil {
		return answer{}, err
	}
	return ok(clientOf(d))
}

func (s *Server) updateClient(ctx context.Context, c *call) (answer, error) {
	var in ClientPatch
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	return s.editClient(ctx, c, func(d *registry.Device) {
		if in.Name != nil {
			d.Name = *in.Name
		}
		if in.Metadata != nil {
			d.Metadata = registry.Metadata(in.Metadata)
		}
		if in.Credentials.Identity != nil {
			d.Identity = *in.Credentials.Identity
		}
	})
}

func (s *Server) updateClientTags(ctx context.Context, c *call) (answer, error) {
	var in TagsChange
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	return s.editClient(ctx, c, func(d *registry.Device) { d.Tags = in.Tags })
}

func (s *Server) enableClient(ctx context.Context, c *call) (answer, error) {
	return s.editClient(ctx, c, func(d *registry.Device) { d.Status = registry.Enabled })
}

func (s *Server) disableClient(ctx context.Context, c *call) (answer, error) {
	return s.editClient(ctx, c, func(d *registry.Device) { d.Status = registry.Disabled })
}

func (s *Server) editClient(ctx context.Context, c *call, edit func(*registry.Device)) (answer, error) {
	d, err := s.Registry.UpdateDevice(ctx, c.by(), c.domain, c.client(), func(d *registry.Device) error { edit(d); return nil })
	if err != nil {
		return answer{}, err
	}
	return ok(clientOf(d))
}

func (s *Server) rotateSecret(ctx context.Context, c *call) (answer, error) {
	var in SecretRotation
	if err := c.optionalBody(&in); err != nil {
		return answer{}, err
	}
	var overlap time.Duration
	if in.Overlap != "" {
		var err error
		if overlap, err = time.ParseDuration(in.Overlap); err != nil {
			return answer{}, &registry.InvalidError{Field: "overlap", Reason: "must be a duration such as 90m or 24h"}
		}
	}
	d, err := s.Registry.RotateSecret(ctx, c.by(), c.domain, c.client(), registry.SecretOf(in.Secret), overlap)
	if err != nil {
		return answer{}, err
	}
	return ok(newbornOf(d))
}

func (s *Server) listSecrets(ctx context.Context, c *call) (answer, error) {
	held, err := s.Registry.Secrets(ctx, c.domain, c.client())
	if err != nil {
		return answer{}, err
	}
	return ok(SecretPage{Total: len(held), Limit: len(held), Secrets: each(held, secretOf)})
}

func (s *Server) endSecret(ctx context.Context, c *call) (answer, error) {
	id := c.pathID("secret")
	if id == "" {
		return answer{}, registry.ErrNotFound
	}
	return done(s.Registry.EndSecret(ctx, c.domain, c.client(), registry.SecretID(id)))
}

func (s *Server) deleteClient(ctx context.Context, c *call) (answer, error) {
	return done(s.Registry.DeleteDevice(ctx, c.domain, c.client()))
}

func (s *Server) listClientSessions(ctx context.Context, c *call) (answer, error) {
	d, err := s.Registry.Device(ctx, c.domain, c.client())
	if err != nil {
		return answer{}, err
	}
	open, err := s.Live.Sessions(ctx, d.ID)
	if err != nil {
		return answer{}, err
	}
	return ok(ClientSessionPage{Total: len(open), Limit: len(open), Sessions: each(open, func(i adapters.SessionInfo) ClientSession {
		return ClientSession{ID: i.ID, Via: i.Via, Remote: i.Remote, Certificate: i.Certificate, OpenedAt: i.Opened}
	})})
}

func (s *Server) endClientSession(ctx context.Context, c *call) (answer, error) {
	d, err := s.Registry.Device(ctx, c.domain, c.client())
	if err != nil {
		return answer{}, err
	}
	id := c.pathID("session")
	if id == "" {
		return answer{}, registry.ErrNotFound
	}
	return done(s.Live.EndSession(ctx, d.ID, id))
}
