package authz

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postern-io/postern/registry"
)

const (
	here    = "dddddddd-0000-4000-8000-000000000001"
	there   = "dddddddd-0000-4000-8000-000000000002"
	pump    = "aaaaaaaa-0000-4000-8000-000000000001"
	data    = "cccccccc-0000-4000-8000-000000000001"
	orders  = "cccccccc-0000-4000-8000-000000000002"
	unknown = "cccccccc-0000-4000-8000-000000000009"
)

// site is a Finder over maps: the domain "here" with the channels "data" (the
// pump may publish) and "orders" (the pump may subscribe).
type site struct {
	domains  map[registry.DomainID]*registry.Domain
	channels map[registry.ChannelID]*registry.Channel
	rights   map[connection]registry.Rights
	away     bool
	asked    atomic.Int64
}

var errAway = errors.New("store away")

func newSite() *site {
	return &site{
		domains: map[registry.DomainID]*registry.Domain{
			here:  {ID: here, Route: "plant", Status: registry.Enabled},
			there: {ID: there, Route: "other", Status: registry.Enabled},
		},
		channels: map[registry.ChannelID]*registry.Channel{
			data:   {ID: data, Domain: here, Route: "data", Store: true, Status: registry.Enabled},
			orders: {ID: orders, Domain: here, Route: "orders", Status: registry.Enabled},
		},
		rights: map[connection]registry.Rights{
			{pump, data}:   registry.Publish,
			{pump, orders}: registry.Subscribe,
		},
	}
}

func (s *site) DomainByRef(_ context.Context, ref string) (registry.Domain, error) {
	s.asked.Add(1)
	if s.away {
		return registry.Domain{}, errAway
	}
	for _, d := range s.domains {
		if string(d.ID) == ref || d.Route == ref {
			return *d, nil
		}
	}
	return registry.Domain{}, registry.ErrNotFound
}

func (s *site) ChannelByRef(_ context.Context, domain registry.DomainID, ref string) (registry.Channel, error) {
	s.asked.Add(1)
	if s.away {
		return registry.Channel{}, errAway
	}
	for _, c := range s.channels {
		if c.Domain == domain && (string(c.ID) == ref || c.Route == ref) {
			return *c, nil
		}
	}
	return registry.Channel{}, registry.ErrNotFound
}

func (s *site) Rights(_ context.Context, d registry.DeviceID, c registry.ChannelID) (registry.Rights, error) {
	s.asked.Add(1)
	if s.away {
		return 0, errAway
	}
	return s.rights[connection{d, c}], nil
}

var thePump = &registry.Device{ID: pump, Domain: here, Status: registry.Enabled}

func TestAllow(t *testing.T) {
	for name, test := range map[string]struct {
		domain, channel string
		want            registry.Rights
		change          func(*site)
		why             registry.Reason
	}{
		"it allows what the connection holds, by ids":     {domain: here, channel: data, want: registry.Publish},
		"it allows what the connection holds, by routes":  {domain: "plant", channel: "data", want: registry.Publish},
		"it refuses the other right":                      {domain: here, channel: data, want: registry.Subscribe, why: registry.ReasonRightMissing},
		"it refuses both rights when one is held":         {domain: here, channel: orders, want: registry.Publish | registry.Subscribe, why: registry.ReasonRightMissing},
		"it refuses an unknown channel":                   {domain: here, channel: unknown, want: registry.Publish, why: registry.ReasonChannelUnknown},
		"it refuses an unknown domain":                    {domain: unknown, channel: data, want: registry.Publish, why: registry.ReasonDomainUnknown},
		"it refuses a channel of this domain in another":  {domain: there, channel: data, want: registry.Publish, why: registry.ReasonForeignDomain},
		"it refuses a device that is not connected":       {domain: here, channel: data, want: registry.Publish, change: func(s *site) { clear(s.rights) }, why: registry.ReasonNotConnected},
		"it refuses in a disabled domain":                 {domain: here, channel: data, want: registry.Publish, change: func(s *site) { s.domains[here].Status = registry.Disabled }, why: registry.ReasonDomainDisabled},
		"it refuses in a frozen domain":                   {domain: here, channel: orders, want: registry.Subscribe, change: func(s *site) { s.domains[here].Status = registry.Frozen }, why: registry.ReasonDomainFrozen},
		"it refuses on a disabled channel":                {domain: here, channel: data, want: registry.Publish, change: func(s *site) { s.channels[data].Status = registry.Disabled }, why: registry.ReasonChannelDisabled},
		"it does not take an empty name for no route set": {domain: here, channel: "", want: registry.Publish, why: registry.ReasonChannelUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite()
			if test.change != nil {
				test.change(s)
			}
			c := NewChannels(s, 0)
			for _, from := range []string{"store", "memory"} {
				g, err := c.Allow(t.Context(), thePump, test.domain, test.channel, test.want)
				var denied *DeniedError
				switch {
				case test.why != "":
					if !errors.As(err, &denied) || denied.Reason != test.why || !errors.Is(err, ErrDenied) {
						t.Errorf("from %s: got %v, want %s", from, err, test.why)
					}
				case err != nil || g.Domain != here || g.Channel != data || !g.Store:
					t.Errorf("from %s: got %+v, %v", from, g, err)
				}
			}
		})
	}
}

func TestChangesAreSeenAtOnce(t *testing.T) {
	s := newSite()
	c := NewChannels(s, 0)
	for name, step := range map[string]struct {
		apply, undo func()
		notice      registry.Change
	}{
		"connection removed": {func() { delete(s.rights, connection{pump, data}) }, func() { s.rights[connection{pump, data}] = registry.Publish }, registry.Change{Domain: here, Device: pump, Channel: data}},
		"channel disabled":   {func() { s.channels[data].Status = registry.Disabled }, func() { s.channels[data].Status = registry.Enabled }, registry.Change{Domain: here, Channel: data}},
		"channel renamed":    {func() { s.channels[data].Route = "moved" }, func() { s.channels[data].Route = "data" }, registry.Change{Domain: here, Channel: data}},
		"domain frozen":      {func() { s.domains[here].Status = registry.Frozen }, func() { s.domains[here].Status = registry.Enabled }, registry.Change{Domain: here}},
		"domain renamed":     {func() { s.domains[here].Route = "moved" }, func() { s.domains[here].Route = "plant" }, registry.Change{Domain: here}},
	} {
		allow := func() error {
			_, err := c.Allow(t.Context(), thePump, "plant", "data", registry.Publish)
			return err
		}
		if err := allow(); err != nil {
			t.Fatalf("%s: before: %v", name, err)
		}
		epoch := c.Epoch()
		step.apply()
		c.Changed(step.notice)
		if c.Epoch() == epoch {
			t.Errorf("%s: the epoch stands still", name)
		}
		if err := allow(); !errors.Is(err, ErrDenied) {
			t.Errorf("%s: got %v, want denied", name, err)
		}
		step.undo()
		c.Changed(step.notice)
		if err := allow(); err != nil {
			t.Errorf("%s undone: %v", name, err)
		}
	}
}

// Callers bring their own ids, so a channel or a device may come back under the
// id of one that is gone: it must not inherit its connections.
func TestReturnOfAnID(t *testing.T) {
	for name, gone := range map[string]registry.Change{
		"channel": {Domain: here, Channel: data, Gone: true},
		"device":  {Domain: here, Device: pump, Gone: true},
		"domain":  {Domain: here, Gone: true},
	} {
		s := newSite()
		c := NewChannels(s, 0)
		if _, err := c.Allow(t.Context(), thePump, here, data, registry.Publish); err != nil {
			t.Fatal(err)
		}
		clear(s.rights)
		c.Changed(gone)
		if _, err := c.Allow(t.Context(), thePump, here, data, registry.Publish); !errors.Is(err, ErrDenied) {
			t.Errorf("%s: got %v, want denied", name, err)
		}
	}
}

// A route may move from one channel to another; who remembered the first must
// come out at the second.
func TestRouteMoves(t *testing.T) {
	s := newSite()
	c := NewChannels(s, 0)
	if g, err := c.Allow(t.Context(), thePump, here, "data", registry.Publish); err != nil || g.Channel != data {
		t.Fatal(g, err)
	}
	s.channels[data].Route, s.channels[orders].Route = "", "data"
	c.Changed(registry.Change{Domain: here, Channel: data})
	c.Changed(registry.Change{Domain: here, Channel: orders})
	g, err := c.Allow(t.Context(), thePump, here, "data", registry.Subscribe)
	if err != nil || g.Channel != orders {
		t.Errorf("got %v, %v, want channel %s", g.Channel, err, orders)
	}
}

func TestStoreAway(t *testing.T) {
	s := newSite()
	c := NewChannels(s, 0)
	if _, err := c.Allow(t.Context(), thePump, here, data, registry.Publish); err != nil {
		t.Fatal(err)
	}
	s.away = true
	if _, err := c.Allow(t.Context(), thePump, here, data, registry.Publish); err != nil {
		t.Errorf("what is known: %v", err)
	}
	if _, err := c.Allow(t.Context(), thePump, here, orders, registry.Subscribe); !errors.Is(err, errAway) || errors.Is(err, ErrDenied) {
		t.Errorf("what is not known: got %v, want that nothing can be said", err)
	}
}

func TestAbsenceIsRemembered(t *testing.T) {
	s := newSite()
	c := NewChannels(s, 0)
	c.Allow(t.Context(), thePump, here, unknown, registry.Publish)
	asked := s.asked.Load()
	c.Allow(t.Context(), thePump, here, unknown, registry.Publish)
	if got := s.asked.Load(); got != asked {
		t.Errorf("the store was asked %d times more for a channel that is not there", got-asked)
	}
	s.channels[unknown] = &registry.Channel{ID: unknown, Domain: here, Status: registry.Enabled}
	s.rights[connection{pump, unknown}] = registry.Publish
	c.Changed(registry.Change{Domain: here, Channel: unknown})
	if _, err := c.Allow(t.Context(), thePump, here, unknown, registry.Publish); err != nil {
		t.Errorf("a channel just made: %v", err)
	}
}

func TestExplainTellsEachStep(t *testing.T) {
	c := NewChannels(newSite(), 0)
	_, steps, err := c.Explain(t.Context(), thePump, "plant", "data", registry.Subscribe)
	if !errors.Is(err, ErrDenied) || len(steps) != 3 || !strings.Contains(steps[2], "without this right") {
		t.Errorf("got %q, %v", steps, err)
	}
}

func TestDecisionFromMemoryDoesNotAllocate(t *testing.T) {
	c := NewChannels(newSite(), 0)
	allow := func() {
		if _, err := c.Allow(context.Background(), thePump, "plant", "data", registry.Publish); err != nil {
			t.Fatal(err)
		}
	}
	allow()
	if n := testing.AllocsPerRun(1000, allow); n > 0 {
		t.Errorf("%v allocations per decision, want 0", n)
	}
}

func BenchmarkAllow(b *testing.B) {
	c := NewChannels(newSite(), 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Allow(b.Context(), thePump, here, data, registry.Publish); err != nil {
			b.Fatal(err)
		}
	}
}
