package adapters

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

// recheckTimeout bounds the look at the store that a change notice causes.
const recheckTimeout = 5 * time.Second

// A Gateway lets devices in, whichever door they came by, and ends their
// sessions when the ground for them goes away. All fields but Metrics are
// required; it is safe for concurrent use.
type Gateway struct {
	Devices  *authn.Devices
	Channels *authz.Channels
	Bus      *messaging.Bus
	Log      *slog.Logger
	Metrics  *Metrics // nil: nothing is counted
	Now      func() time.Time

	// MaxSessions bounds the open sessions of one device; 0 means 1,000.
	MaxSessions int

	epoch    atomic.Uint64 // counts change notices
	sessions sessions
	traffic  traffic
	refusals refusals
}

// Open recognises the device behind c and returns its session, which the door
// must Close.
//
// Errors are those of authn.Devices.Authenticate, and ErrLimited when the
// device has too many sessions. Whatever comes of it is counted and logged
// here; a door only answers.
func (g *Gateway) Open(ctx context.Context, c authn.Credential) (*Session, error) {
	s, err := g.open(ctx, c)
	g.Metrics.connect(c.Via, err)
	if err != nil {
		g.noteConnect(c, err)
		g.logRefusal(ctx, c, err)
	}
	return s, err
}

func (g *Gateway) open(ctx context.Context, c authn.Credential) (*Session, error) {
	epoch := g.epoch.Load()
	id, err := g.Devices.Authenticate(ctx, &c)
	if err != nil {
		return nil, err
	}
	s := g.newSession(c, id)
	if !g.sessions.add(s, g.maxSessions()) {
		return nil, &fullError{s.device}
	}
	// A change that came between the decision and the registration has missed
	// this session; one that comes from here on will find it.
	if g.epoch.Load() != epoch {
		if id, err = g.Devices.Authenticate(ctx, &c); err != nil || id.Device.ID != s.device.ID {
			s.Close()
			if err == nil {
				err = &authn.RefusedError{Reason: registry.ReasonConflictingEvidence}
			}
			return nil, err
		}
	}
	s.expireWith(id.Expires)
	return s, nil
}

// SharedCertificates returns the certificates that sessions of this node use at
// more than one address at once: a key that was copied, or a device that changed
// its address and left a connection behind.
func (g *Gateway) SharedCertificates() []registry.CertificateID {
	at := map[registry.CertificateID]netip.Addr{}
	shared := map[registry.CertificateID]bool{}
	for _, s := range g.sessions.all() {
		switch first, seen := at[s.named]; {
		case s.named == "" || s.chain == nil:
		case !seen:
			at[s.named] = s.remote
		case first != s.remote:
			shared[s.named] = true
		}
	}
	return slices.Sorted(maps.Keys(shared))
}

func (g *Gateway) maxSessions() int {
	if g.MaxSessions > 0 {
		return g.MaxSessions
	}
	return 1000
}

func (g *Gateway) newSession(c authn.Credential, id authn.Identity) *Session {
	key, now := uuid.NewString(), g.Now()
	return &Session{
		gateway: g,
		id:      key,
		device:  id.Device,
		secret:  id.Secret,
		via:     c.Via,
		remote:  c.Remote,
		chain:   c.Chain,
		named:   id.Certificate,
		vouched: id.Authority,
		opened:  now,
		lane:    g.Bus.Lane(key),
		counted: g.Metrics.door(c.Via),
		traffic: g.traffic.of(id.Device.Domain, now),
	}
}

// A refusal is the client's mistake, not ours: it is information.
func (g *Gateway) logRefusal(ctx context.Context, c authn.Credential, err error) {
	level, device := slog.LevelInfo, ""
	if k := KindOf(err); k == Unavailable || k == Internal {
		level = slog.LevelWarn
	}
	var refused *authn.RefusedError
	if errors.As(err, &refused) {
		device = string(refused.Device)
	}
	attrs := []slog.Attr{
		slog.String("adapter", c.Via), slog.String("remote", c.Remote.String()),
		slog.String("device", device), slog.String("reason", string(ReasonOf(err))),
	}
	if level == slog.LevelWarn { // the reason alone does not say what is wrong
		attrs = append(attrs, slog.Any("err", err))
	}
	g.Log.LogAttrs(ctx, level, "connect refused", attrs...)
}

// Changed takes the notice of changes: what was remembered of them is
// forgotten, and every session that they may concern is looked at again before
// it returns.
func (g *Gateway) Changed(ctx context.Context, changes []registry.Change) {
	for _, c := range changes {
		g.Devices.Changed(c)
	}
	g.epoch.Add(1)
	// Before the channels are forgotten: a device that is gone shall hear that
	// its session is over, not that it may not use a channel.
	for _, c := range changes {
		for _, s := range g.goneWith(c) {
			s.drop(&RevokedError{Reason: registry.ReasonDeviceDeleted})
		}
		if c.Gone && c.Device != "" && c.Channel == "" && c.Authority == "" {
			g.refusals.forget(c.Device)
		}
	}
	for _, c := range changes {
		g.Channels.Changed(c)
	}
	for _, c := range changes {
		g.look(ctx, c)
	}
}

// goneWith returns the sessions whose device is gone with c. That needs no look
// at the store, which would be one for each device of a domain, one after
// another, and too slow for a thousand of them.
func (g *Gateway) goneWith(c registry.Change) []*Session {
	switch {
	case !c.Gone, c.Channel != "", c.User != "", c.Authority != "":
		return nil
	case c.Device != "":
		return g.sessions.ofDevice(c.Device)
	}
	return g.sessions.inDomain(c.Domain)
}

// look looks again at the sessions that c concerns and that are not over by it.
func (g *Gateway) look(ctx context.Context, c registry.Change) {
	switch {
	case c.Channel != "" && c.Device != "":
		for _, s := range g.sessions.ofDevice(c.Device) {
			s.changed()
		}
	case c.Channel != "":
		for _, s := range g.sessions.onChannel(c.Channel) {
			s.changed()
		}
	case c.Authority != "" && c.Device == "": // an imported one; of ours none ends by such a change
		for _, s := range g.sessions.inDomain(c.Domain) {
			if s.vouched == c.Authority {
				s.recheck(ctx)
			}
		}
	case c.Gone, c.User != "":
		// those of the gone have ended; people do not hold device sessions
	case c.Device != "": // or a certificate of it, or who means it
		for _, s := range g.sessions.ofDevice(c.Device) {
			s.recheck(ctx)
		}
	case c.Domain != "":
		for _, s := range g.sessions.inDomain(c.Domain) {
			s.changed()
		}
	}
}

// ChangedAll is for the moment after notices may have been lost: everything
// remembered is forgotten and every session is looked at again. While the store
// is away the sessions stay as they are.
func (g *Gateway) ChangedAll(ctx context.Context) {
	g.Devices.ChangedAll()
	g.Channels.ChangedAll()
	g.epoch.Add(1)
	for _, s := range g.sessions.all() {
		if ctx.Err() != nil {
			return
		}
		s.recheckUnlessAway(ctx)
		s.changed()
	}
}
