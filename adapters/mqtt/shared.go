package mqtt

import (
	"slices"
	"sync"

	"github.com/postern-io/postern/messaging"
)

// A group is a shared subscription (MQTT 5.0 §4.8.2): its members on this node
// take turns, and over all nodes the bus does, by a queue group.
type group struct {
	srv  *Server
	bus  *messaging.Subscription
	refs int        // guarded by hub.mu
	open sync.Mutex // held while bus is being made

	mu      sync.Mutex
	members []*subscription
	turn    int
}

func (h *hub) join(sub *subscription) error {
	h.mu.Lock()
	g := h.groups[sub.filter]
	if g == nil {
		g = &group{srv: h.srv}
		h.groups[sub.filter] = g
	}
	g.refs++
	h.mu.Unlock()

	g.mu.Lock()
	g.members = append(g.members, sub)
	g.mu.Unlock()
	if err := g.listen(h.srv.Bus, sub.filter); err != nil {
		h.leave(sub)
		return err
	}
	return nil
}

func (g *group) listen(bus *messaging.Bus, f messaging.Filter) (err error) {
	g.open.Lock()
	defer g.open.Unlock()
	if g.bus == nil {
		g.bus, err = bus.Subscribe(f, g.deliver)
	}
	return err
}

func (h *hub) leave(sub *subscription) {
	h.mu.Lock()
	g := h.groups[sub.filter]
	if g == nil {
		h.mu.Unlock()
		return
	}
	g.mu.Lock()
	if i := slices.Index(g.members, sub); i >= 0 {
		g.members = slices.Delete(g.members, i, i+1)
		g.refs--
	}
	g.mu.Unlock()
	last := g.refs == 0
	if last {
		delete(h.groups, sub.filter)
	}
	h.mu.Unlock()
	if last {
		g.open.Lock()
		defer g.open.Unlock()
		closeBus(h.srv, g.bus)
	}
}

// deliver gives m to one member.
func (g *group) deliver(m *messaging.Message) {
	sub := g.choose(m.QoS)
	if sub == nil {
		g.srv.Metrics.lost(lostShared)
		return
	}
	f := newFan(g.srv.now())
	defer f.free()
	t := target{session: sub.session, prefix: sub.prefix, qos: sub.qos, asIs: sub.asIs}
	if sub.id > 0 {
		t.ids = []uint32{sub.id}
	}
	t.deliver(f, m, expiry(m, f.now))
}

// choose returns the next member that can take a message now; when none can, the
// next whose session can keep it.
func (g *group) choose(qos byte) *subscription {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(g.members)
	for _, can := range [...]func(*session, byte) bool{(*session).ready, (*session).keeps} {
		for i := range n {
			at := (g.turn + i) % n
			if sub := g.members[at]; can(sub.session, min(qos, sub.qos)) {
				g.turn = at + 1
				return sub
			}
		}
	}
	return nil
}

// ready reports whether the session can be sent a message now.
func (s *session) ready(qos byte) bool {
	c := s.conn.Load()
	if c == nil || c.out.full() {
		return false
	}
	if qos == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.len() == 0 && s.window.room() > 0
}

// keeps reports whether the session can hold a message until it can be sent.
func (s *session) keeps(qos byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return qos > 0 && !s.ended && s.queue.len() < s.srv.limits.Queue
}
