package authz

import (
	"context"
	"sync/atomic"

	"github.com/maypok86/otter/v2"

	"github.com/postern-io/postern/registry"
)

// A Finder reads what Channels decides on. Each method returns
// registry.ErrNotFound when there is none, and any other error when it cannot
// tell.
type Finder interface {
	// DomainByRef returns the domain with this id or route.
	DomainByRef(ctx context.Context, ref string) (registry.Domain, error)
	// ChannelByRef returns the channel of a domain with this id or route.
	ChannelByRef(ctx context.Context, domain registry.DomainID, ref string) (registry.Channel, error)
	// Rights returns what a device may do on a channel; 0 when not connected.
	Rights(ctx context.Context, device registry.DeviceID, channel registry.ChannelID) (registry.Rights, error)
}

// Channels decides what devices may do on topics. It is safe for concurrent
// use; a decision from memory does not allocate.
type Channels struct {
	epoch    atomic.Uint64
	domains  *directory[string, registry.DomainID, registry.Domain]
	channels *directory[channelName, channelID, registry.Channel]
	rights   *otter.Cache[connection, registry.Rights]
	load     otter.Loader[connection, registry.Rights]
}

type channelName struct {
	domain registry.DomainID
	name   string
}

// A channelID is "<domain>/<channel>": the store looks channels up in their
// domain.
type channelID string

type connection struct {
	device  registry.DeviceID
	channel registry.ChannelID
}

// NewChannels returns a Channels that keeps up to size connections in memory
// (200,000 when size is 0).
func NewChannels(find Finder, size int) *Channels {
	if size <= 0 {
		size = 200_000
	}
	c := &Channels{}
	c.domains = newDirectory(size, &c.epoch,
		func(ctx context.Context, name string) (registry.DomainID, error) {
			d, err := find.DomainByRef(ctx, name)
			return d.ID, err
		},
		func(ctx context.Context, id registry.DomainID) (*registry.Domain, error) {
			d, err := find.DomainByRef(ctx, string(id))
			return &d, err
		},
		func(d *registry.Domain, name string) bool { return string(d.ID) == name || d.Route == name },
	)
	c.channels = newDirectory(size, &c.epoch,
		func(ctx context.Context, n channelName) (channelID, error) {
			ch, err := find.ChannelByRef(ctx, n.domain, n.name)
			return channelKey(ch.Domain, ch.ID), err
		},
		func(ctx context.Context, id channelID) (*registry.Channel, error) {
			ch, err := find.ChannelByRef(ctx, registry.DomainID(id[:36]), string(id[37:]))
			return &ch, err
		},
		func(ch *registry.Channel, n channelName) bool {
			return ch.Domain == n.domain && (string(ch.ID) == n.name || ch.Route == n.name)
		},
	)
	c.rights = otter.Must(&otter.Options[connection, registry.Rights]{
		MaximumSize:       size,
		RefreshCalculator: otter.RefreshWriting[connection, registry.Rights](refreshAfter),
		Logger:            &otter.NoopLogger{},
	})
	c.load = otter.LoaderFunc[connection, registry.Rights](func(ctx context.Context, k connection) (registry.Rights, error) {
		return find.Rights(ctx, k.device, k.channel)
	})
	return c
}

func channelKey(d registry.DomainID, c registry.ChannelID) channelID {
	return channelID(string(d) + "/" + string(c))
}

// A Grant is a favourable decision: the ids behind the names of a topic.
type Grant struct {
	Domain  registry.DomainID
	Channel registry.ChannelID
	Store   bool // see registry.Channel
	Rights  registry.Rights
	Epoch   uint64 // the grant may be remembered while Channels.Epoch is this
}

// Epoch moves whenever anything is forgotten. Who remembers a Grant and asks
// again once the epoch has moved sees every change.
func (c *Channels) Epoch() uint64 { return c.epoch.Load() }

// Allow decides whether a device may use a channel with all of want. The domain
// and the channel are named by id or by route.
//
// Errors: a *DeniedError (ErrDenied) with the reason; anything else means the
// store did not answer.
func (c *Channels) Allow(ctx context.Context, device *registry.Device, domain, channel string, want registry.Rights) (Grant, error) {
	return c.allow(ctx, device, domain, channel, want, nil)
}

// Explain decides like Allow and returns every step taken.
func (c *Channels) Explain(ctx context.Context, device *registry.Device, domain, channel string, want registry.Rights) (Grant, []string, error) {
	var t trace
	g, err := c.allow(ctx, device, domain, channel, want, &t)
	return g, t.steps, err
}

func (c *Channels) allow(ctx context.Context, device *registry.Device, domain, channel string, want registry.Rights, t *trace) (Grant, error) {
	grant, err := c.open(ctx, device.Domain, domain, channel, t)
	if err != nil {
		return Grant{}, err
	}
	grant.Rights, err = c.rights.Get(ctx, connection{device.ID, grant.Channel}, c.load)
	switch {
	case err != nil:
		return Grant{}, err
	case grant.Rights == 0:
		return t.deny(registry.ReasonNotConnected, "the device is not connected to channel", channel)
	case !grant.Rights.Has(want):
		return t.deny(registry.ReasonRightMissing, "the device is connected without this right to channel", channel)
	}
	t.add("the device is connected with this right to channel", channel)
	return grant, nil
}

// Open finds a channel that is in use: it and its domain are there and enabled.
// The grant holds no rights; whoever speaks there needs a reason of his own.
// The errors are those of Allow.
func (c *Channels) Open(ctx context.Context, domain, channel string) (Grant, error) {
	return c.open(ctx, "", domain, channel, nil)
}

// open is Open for somebody who lives in home, when it is not empty.
func (c *Channels) open(ctx context.Context, home registry.DomainID, domain, channel string, t *trace) (Grant, error) {
	epoch := c.epoch.Load() // before any look, so that a change during it makes the grant old
	dom, err := c.domains.find(ctx, domain)
	if err != nil {
		return Grant{}, err
	}
	switch {
	case dom == nil:
		return t.deny(registry.ReasonDomainUnknown, "there is no domain", domain)
	case home != "" && dom.ID != home:
		return t.deny(registry.ReasonForeignDomain, "the device does not live in domain", domain)
	case dom.Status == registry.Frozen:
		return t.deny(registry.ReasonDomainFrozen, "frozen: domain", domain)
	case dom.Status != registry.Enabled:
		return t.deny(registry.ReasonDomainDisabled, "not enabled: domain", domain)
	}
	t.add("enabled: domain", domain)

	ch, err := c.channels.find(ctx, channelName{dom.ID, channel})
	if err != nil {
		return Grant{}, err
	}
	switch {
	case ch == nil:
		return t.deny(registry.ReasonChannelUnknown, "there is no channel", channel)
	case ch.Status != registry.Enabled:
		return t.deny(registry.ReasonChannelDisabled, "not enabled: channel", channel)
	}
	t.add("enabled: channel", channel)
	return Grant{Domain: dom.ID, Channel: ch.ID, Store: ch.Store, Epoch: epoch}, nil
}

// Changed forgets what a change concerns.
func (c *Channels) Changed(ch registry.Change) {
	if ch.Gone && ch.User == "" {
		c.forgetRights(ch)
	}
	switch {
	case ch.Device != "" && ch.Channel != "":
		c.rights.Invalidate(connection{ch.Device, ch.Channel})
	case ch.Channel != "":
		c.channels.forget(channelKey(ch.Domain, ch.Channel))
	case ch.User != "", ch.Device != "" && !ch.Gone:
		return // a device's own state is authn's, a membership's is People's
	case ch.Device == "" && ch.Domain != "":
		c.domains.forget(ch.Domain)
	}
	c.epoch.Add(1)
}

// forgetRights drops every connection of what is gone. It looks at all that are
// remembered, which is some milliseconds for a rare event.
func (c *Channels) forgetRights(gone registry.Change) {
	for k := range c.rights.Keys() {
		if gone.Device == "" && gone.Channel == "" || k.device == gone.Device || k.channel == gone.Channel {
			c.rights.Invalidate(k)
		}
	}
}

// ChangedAll forgets everything: notices may have been lost.
func (c *Channels) ChangedAll() {
	c.domains.forgetAll()
	c.channels.forgetAll()
	c.rights.InvalidateAll()
	c.epoch.Add(1)
}

// trace collects the steps of a decision for explain; nil, it costs nothing.
type trace struct{ steps []string }

func (t *trace) add(step, name string) {
	if t != nil {
		t.steps = append(t.steps, step+" "+name)
	}
}

func (t *trace) deny(r registry.Reason, step, name string) (Grant, error) {
	t.add(step, name)
	return Grant{}, &DeniedError{r}
}
