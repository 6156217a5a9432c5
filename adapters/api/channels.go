package api

import (
	"context"

	"github.com/postern-io/postern/registry"
)

func (s *Server) createChannel(ctx context.Context, c *call) (answer, error) {
	var in NewChannel
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	made, err := s.Registry.CreateChannels(ctx, c.by(), c.domain, []registry.Channel{channelFrom(in)})
	if err != nil {
		return answer{}, err
	}
	return created(channelOf(made[0]), "/"+string(c.domain)+"/channels/"+string(made[0].ID))
}

func (s *Server) createChannels(ctx context.Context, c *call) (answer, error) {
	var in NewChannels
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	made, err := s.Registry.CreateChannels(ctx, c.by(), c.domain, each(in, channelFrom))
	if err != nil {
		return answer{}, err
	}
	return ok(ChannelPage{Total: len(made), Limit: len(made), Channels: each(made, channelOf)})
}

// channelFrom reads a channel; unless it says otherwise it is stored.
func channelFrom(in NewChannel) registry.Channel {
	return registry.Channel{ID: registry.ChannelID(in.ID), Name: in.Name, Route: in.Route, Store: in.Store == nil || *in.Store,
		Status: registry.Status(in.Status), Tags: in.Tags, Metadata: registry.Metadata(in.Metadata)}
}

func (s *Server) listChannels(ctx context.Context, c *call) (answer, error) {
	q, err := c.query()
	if err != nil {
		return answer{}, err
	}
	list, err := s.Registry.Channels(ctx, q)
	if err != nil {
		return answer{}, err
	}
	return ok(ChannelPage{Total: list.Total, Offset: q.Offset, Limit: q.Limit, Channels: each(list.Items, channelOf)})
}

func (s *Server) viewChannel(ctx context.Context, c *call) (answer, error) {
	ch, err := s.Registry.Channel(ctx, c.domain, c.channel())
	if err != nil {
		return answer{}, err
	}
	return ok(channelOf(ch))
}

func (s *Server) updateChannel(ctx context.Context, c *call) (answer, error) {
	var in ChannelPatch
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	return s.editChannel(ctx, c, func(ch *registry.Channel) {
		if in.Name != nil {
			ch.Name = *in.Name
		}
		if in.Route != nil {
			ch.Route = *in.Route
		}
		if in.Store != nil {
			ch.Store = *in.Store
		}
		if in.Metadata != nil {
			ch.Metadata = registry.Metadata(in.Metadata)
		}
	})
}

func (s *Server) updateChannelTags(ctx context.Context, c *call) (answer, error) {
	var in TagsChange
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	return s.editChannel(ctx, c, func(ch *registry.Channel) { ch.Tags = in.Tags })
}

func (s *Server) enableChannel(ctx context.Context, c *call) (answer, error) {
	return s.editChannel(ctx, c, func(ch *registry.Channel) { ch.Status = registry.Enabled })
}

func (s *Server) disableChannel(ctx context.Context, c *call) (answer, error) {
	return s.editChannel(ctx, c, func(ch *registry.Channel) { ch.Status = registry.Disabled })
}

func (s *Server) editChannel(ctx context.Context, c *call, edit func(*registry.Channel)) (answer, error) {
	ch, err := s.Registry.UpdateChannel(ctx, c.by(), c.domain, c.channel(), func(ch *registry.Channel) error { edit(ch); return nil })
	if err != nil {
		return answer{}, err
	}
	return ok(channelOf(ch))
}

func (s *Server) deleteChannel(ctx context.Context, c *call) (answer, error) {
	return done(s.Registry.DeleteChannel(ctx, c.domain, c.channel()))
}
