package mqtt

import (
	"sync"
	"time"

	"github.com/postern-io/postern/messaging"
)

// A hub knows who on this node listens to what. It keeps one bus subscription
// for each channel with a listener and finds the listeners of a message in an
// index of its own.
type hub struct {
	srv *Server

	mu       sync.Mutex
	channels map[channelKey]*channel
	groups   map[messaging.Filter]*group
}

// A channelKey names a channel by ids.
type channelKey struct{ domain, channel string }

// A subscription is one filter of one session.
type subscription struct {
	session *session
	raw     string           // as the client wrote it
	filter  messaging.Filter // by ids
	prefix  string           // m/<domain>/c/<channel> as the client wrote it
	id      uint32           // subscription identifier; 0: none
	qos     byte
	noLocal bool
	asIs    bool // Retain As Published
}

func (s *subscription) key() channelKey { return channelKey{s.filter.Domain, s.filter.Channel} }

// A channel is one that somebody here listens to.
type channel struct {
	srv  *Server
	bus  *messaging.Subscription
	refs int        // guarded by hub.mu
	open sync.Mutex // held while bus is being made

	mu    sync.Mutex
	index index
}

// subscribe adds sub. When it returns, what is published is delivered. The error
// is the bus's.
func (h *hub) subscribe(sub *subscription) error {
	if sub.filter.Group != "" {
		return h.join(sub)
	}
	h.mu.Lock()
	ch := h.channels[sub.key()]
	if ch == nil {
		ch = &channel{srv: h.srv}
		h.channels[sub.key()] = ch
	}
	ch.refs++
	h.mu.Unlock()

	// Added first: a message that comes while the bus is being asked is heard.
	ch.mu.Lock()
	ch.index.add(sub)
	ch.mu.Unlock()
	if err := ch.listen(h.srv.Bus, sub.key()); err != nil {
		h.unsubscribe(sub)
		return err
	}
	return nil
}

// listen asks the bus for the channel, unless that was done.
func (ch *channel) listen(bus *messaging.Bus, key channelKey) (err error) {
	ch.open.Lock()
	defer ch.open.Unlock()
	if ch.bus == nil {
		ch.bus, err = bus.Subscribe(messaging.Filter{Domain: key.domain, Channel: key.channel, Subtopic: "#"}, ch.deliver)
	}
	return err
}

// unsubscribe removes sub, and the bus subscription with the last one. It is
// not called from deliver.
func (h *hub) unsubscribe(sub *subscription) {
	if sub.filter.Group != "" {
		h.leave(sub)
		return
	}
	h.mu.Lock()
	ch := h.channels[sub.key()]
	if ch == nil {
		h.mu.Unlock()
		return
	}
	ch.mu.Lock()
	if ch.index.remove(sub) {
		ch.refs--
	}
	ch.mu.Unlock()
	last := ch.refs == 0
	if last {
		delete(h.channels, sub.key())
	}
	h.mu.Unlock()
	if last {
		ch.open.Lock()
		defer ch.open.Unlock()
		closeBus(h.srv, ch.bus)
	}
}

func closeBus(srv *Server, sub *messaging.Subscription) {
	if sub == nil {
		return
	}
	if err := sub.Close(); err != nil {
		srv.Log.Warn("end a bus subscription", "err", err)
	}
}

// deliver hands m to everybody who listens. It runs in the bus's goroutine and
// does not block.
func (ch *channel) deliver(m *messaging.Message) {
	now := ch.srv.now()
	if m.Retain {
		ch.srv.retained.published(m)
	}
	ch.mu.Lock()
	targets := ch.index.match(m.Topic.Subtopic)
	ch.mu.Unlock()
	if len(targets) == 0 {
		return
	}
	f := newFan(now)
	defer f.free()
	until := expiry(m, now)
	for i := range targets {
		targets[i].deliver(f, m, until)
	}
}

// A target is a session that wants a message, with the sum of its filters that
// match: one copy, at the highest QoS, with all identifiers [MQTT-3.3.4-2].
type target struct {
	session *session
	prefix  string
	ids     []uint32
	qos     byte
	noLocal bool
	asIs    bool
}

func (t *target) deliver(f *fan, m *messaging.Message, until time.Time) {
	if t.noLocal && t.session.published(m) { // [MQTT-3.8.3-3]
		return
	}
	it := item{message: m, expires: until, prefix: t.prefix, ids: t.ids, qos: min(t.qos, m.QoS), retain: t.asIs && m.Retain}
	t.session.deliver(f, &it)
}

// counts returns how many channels and groups have listeners.
func (h *hub) counts() (channels, groups int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.channels), len(h.groups)
}
