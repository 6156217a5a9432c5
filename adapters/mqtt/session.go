package mqtt

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/mqtt/wire"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

// A sessionKey is whose session it is. The client identifier is scoped to the
// device: nobody can reach another device's session.
type sessionKey struct {
	device registry.DeviceID
	client string
}

// A session is the state of a client that may outlive its connection (MQTT 5.0
// §4.1): subscriptions, messages under way in both directions, a will that
// waits.
type session struct {
	srv *Server
	key sessionKey

	conn atomic.Pointer[conn] // that it can be written to now; nil: none

	mu       sync.Mutex
	window   window
	queue    queue
	received map[uint16]*received // QoS 2 from the client, until PUBREL
	ended    bool

	subsMu sync.Mutex // held over calls to the bus; taken before mu
	subs   map[string]*subscription
	closed bool // no subscription may be added

	// Guarded by sessions.mu.
	owner   *conn // that it belongs to, even before CONNACK
	expires time.Duration
	until   time.Time // while there is no owner
	will    *pendingWill
}

// A received is a QoS 2 message from the client between PUBLISH and PUBREL.
type received struct {
	stored  bool  // PUBREC was or may be sent
	waiting *conn // that repeated the message while it was being stored
	counted *conn // whose Receive Maximum it counts against
}

// A pendingWill waits for its delay; the gateway session it will be published
// with stays open so long.
type pendingWill struct {
	will    *will
	gateway *adapters.Session
	at      time.Time
}

func (s *Server) newSession(key sessionKey) *session { return &session{srv: s, key: key} }

// deliver hands the session a message that one of its subscriptions matched.
func (s *session) deliver(f *fan, it *item) {
	if it.qos == 0 {
		if c := s.conn.Load(); c != nil {
			c.deliver(f, it)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	c := s.conn.Load()
	if c == nil || s.queue.len() > 0 || len(s.window.again) > 0 || s.window.room() <= 0 || c.out.full() {
		s.wait(it)
		return
	}
	s.transmit(c, f, it)
}

// wait queues it. A full queue loses the newest. s.mu is held.
func (s *session) wait(it *item) {
	if s.queue.len() >= s.srv.limits.Queue {
		s.srv.Metrics.lost(lostQueue)
		return
	}
	s.queue.push(*it)
}

// transmit sends it for the first time. s.mu is held and the window has room.
func (s *session) transmit(c *conn, f *fan, it *item) {
	fr := f.frame(it, c.version)
	if c.tooLarge(fr) { // [MQTT-3.1.2-25]: as if it had been sent
		s.srv.Metrics.lost(lostTooLarge)
		return
	}
	id := s.window.add(it)
	if !c.out.send(fr, id) {
		s.window.remove(s.window.find(id))
		s.queue.pushFront(*it)
		return
	}
	s.srv.Metrics.delivered()
}

// pump sends what waits, as far as the window and the socket allow.
func (s *session) pump() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pumpLocked()
}

func (s *session) pumpLocked() {
	c := s.conn.Load()
	if c == nil || s.queue.len() == 0 && len(s.window.again) == 0 {
		return
	}
	f := newFan(s.srv.now())
	defer f.free()
	for len(s.window.again) > 0 && s.window.room() > 0 {
		u := s.window.find(s.window.again[0])
		if u != nil && !s.repeat(c, f, u) {
			return
		}
		s.window.again = s.window.again[1:]
	}
	for s.queue.len() > 0 && s.window.room() > 0 && !c.out.full() {
		it := s.queue.pop()
		if it.expired(f.now) { // [MQTT-3.3.2-5]
			s.srv.Metrics.lost(lostExpired)
			continue
		}
		f.arena, f.forms = f.arena[:0], f.forms[:0]
		s.transmit(c, f, &it)
	}
}

// repeat sends what the last connection left unfinished [MQTT-4.4.0-1].
func (s *session) repeat(c *conn, f *fan, u *sent) bool {
	if u.state == compDue {
		_, err := c.out.Write(wire.AppendAck(nil, c.version, wire.Pubrel, u.id, 0))
		return err == nil
	}
	u.item.dup = true // [MQTT-3.3.1-1]
	f.arena, f.forms = f.arena[:0], f.forms[:0]
	return c.out.send(f.frame(&u.item, c.version), u.id)
}

// prepare makes ready for c, whose CONNACK is out: what was left unfinished goes
// first, then what waited. Its caller holds sessions.mu, and calls pump next.
func (s *session) prepare(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.window.limit = c.window
	s.window.again = s.window.unfinished()
	s.conn.Store(c)
}

// acknowledged takes a PUBACK or PUBCOMP, or a PUBREC that says no.
func (s *session) acknowledged(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.window.find(id); u != nil {
		s.window.remove(u)
		s.pumpLocked()
	}
}

// recorded takes a PUBREC and reports whether there is such a message.
func (s *session) recorded(id uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.window.find(id)
	if u == nil {
		return false
	}
	u.state = compDue
	u.item = item{} // the payload is not needed any more
	return true
}

// published reports whether m came from the connection that the session has now.
func (s *session) published(m *messaging.Message) bool {
	c := s.conn.Load()
	return c != nil && c.gateway.ID() == m.Session
}

// end forgets the session and frees its interest. It may be called again.
func (s *session) end() {
	s.subsMu.Lock()
	s.closed = true
	for raw, sub := range s.subs {
		s.srv.hub.unsubscribe(sub)
		delete(s.subs, raw)
	}
	s.subsMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.queue, s.window, s.received = queue{}, window{}, nil
}

// A queue is what waits for a session, oldest first.
type queue struct {
	items []item
	head  int
}

func (q *queue) len() int { return len(q.items) - q.head }

func (q *queue) push(it item) { q.items = append(q.items, it) }

func (q *queue) pushFront(it item) {
	if q.head > 0 {
		q.head--
		q.items[q.head] = it
		return
	}
	q.items = append([]item{it}, q.items...)
}

func (q *queue) pop() item {
	it := q.items[q.head]
	q.items[q.head] = item{}
	q.head++
	switch {
	case q.head == len(q.items):
		q.items, q.head = q.items[:0], 0
	case q.head >= 64 && q.head > len(q.items)/2:
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return it
}

// keep drops what does not pass.
func (q *queue) keep(pass func(*item) bool) {
	kept := q.items[:0]
	for i := q.head; i < len(q.items); i++ {
		if pass(&q.items[i]) {
			kept = append(kept, q.items[i])
		}
	}
	clear(q.items[len(kept):])
	q.items, q.head = kept, 0
}
