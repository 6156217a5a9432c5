package mqtt

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// sessions holds every session of this node, with a connection or without.
type sessions struct {
	srv *Server

	mu      sync.Mutex
	all     map[sessionKey]*session
	waiting map[*session]struct{} // without a connection
}

// attach gives c the session of its client identifier: the one there is, unless
// c wants a clean start, or a new one. A connection that has it now loses it
// [MQTT-3.1.4-3].
func (t *sessions) attach(c *conn, key sessionKey) (s *session, present bool) {
	t.mu.Lock()
	old := t.all[key]
	var replaced *conn
	var will *pendingWill
	if old != nil {
		replaced = old.owner
		old.owner = c
		old.conn.Store(nil)
		will, old.will = old.will, nil
		delete(t.waiting, old)
	}
	s, present = old, old != nil
	// Of two connections the older is closed, and with it ends a session that
	// was not to outlive it.
	if old == nil || c.connect.clean || replaced != nil && old.expires <= 0 { // [MQTT-3.1.2-4]
		s, present = t.srv.newSession(key), false
		s.owner = c
		t.all[key] = s
	}
	s.expires = c.connect.expiry
	if replaced != nil {
		replaced.lost = true
		replaced.lostClean = !present
	}
	t.mu.Unlock()

	if replaced != nil {
		replaced.end(codeTakenOver)
	}
	if !present && old != nil {
		old.end()
	}
	if will != nil { // cancelled by the return, due when the session ended
		if !present {
			will.publish(t.srv)
		}
		will.gateway.Close()
	}
	return s, present
}

// establish lets the session of c write to it, unless another connection has the
// session by now.
func (t *sessions) establish(c *conn) {
	t.mu.Lock()
	if !c.lost {
		c.session.prepare(c)
	}
	t.mu.Unlock()
	c.session.pump()
}

// detach is called when c has ended, once. It deals with the session and with
// the will.
func (t *sessions) detach(c *conn) {
	s := c.session
	now := t.srv.now()
	w := c.will
	var over, keep bool
	var evicted []*session
	var wills []*pendingWill
	t.mu.Lock()
	switch {
	case c.lost:
		if w != nil && w.delay > 0 && !c.lostClean {
			w = nil // [MQTT-3.1.3-9]: the client is back in its session
		}
	default:
		s.owner = nil
		s.conn.CompareAndSwap(c, nil)
		s.expires = c.connect.expiry // DISCONNECT may have changed it
		if over = s.expires <= 0; over {
			delete(t.all, s.key)
		} else {
			s.until = now.Add(s.expires)
			t.waiting[s] = struct{}{}
			evicted = t.trim(&wills)
		}
		if w != nil && w.delay > 0 && !over {
			s.will = &pendingWill{will: w, gateway: c.gateway, at: now.Add(min(w.delay, s.expires))}
			w, keep = nil, true
		}
	}
	t.mu.Unlock()

	if w != nil {
		w.publish(t.srv, c.gateway)
	}
	if !keep {
		c.gateway.Close()
	}
	if over {
		s.end()
	}
	t.finish(evicted, wills)
}

// sweep ends sessions whose time is over and publishes wills whose delay is.
func (t *sessions) sweep(now time.Time) {
	var over []*session
	var wills []*pendingWill
	t.mu.Lock()
	for s := range t.waiting {
		if s.will != nil && !now.Before(s.will.at) {
			wills, s.will = append(wills, s.will), nil
		}
		if !now.Before(s.until) {
			over = append(over, s)
			t.forget(s, &wills)
		}
	}
	t.mu.Unlock()
	t.finish(over, wills)
}

// forget takes s out. t.mu is held.
func (t *sessions) forget(s *session, wills *[]*pendingWill) {
	if s.will != nil { // [MQTT-3.1.3-9]: the session ends before its delay
		*wills, s.will = append(*wills, s.will), nil
	}
	delete(t.waiting, s)
	delete(t.all, s.key)
}

func (t *sessions) finish(over []*session, wills []*pendingWill) {
	for _, w := range wills {
		w.publish(t.srv)
		w.gateway.Close()
	}
	for _, s := range over {
		s.end()
	}
}

// trim keeps the number of waiting sessions in its bound: past it, those that
// would end first go, some at a time so that looking for them is rare. t.mu is
// held.
func (t *sessions) trim(wills *[]*pendingWill) []*session {
	limit := t.srv.limits.Sessions
	if len(t.waiting) <= limit {
		return nil
	}
	over := slices.SortedFunc(maps.Keys(t.waiting), func(a, b *session) int { return a.until.Compare(b.until) })
	over = over[:len(over)-limit+limit/50]
	for _, s := range over {
		t.forget(s, wills)
	}
	return over
}

// closeAll ends every session; the node is going down and they with it.
func (t *sessions) closeAll() {
	t.mu.Lock()
	var over []*session
	var wills []*pendingWill
	for _, s := range t.all {
		over = append(over, s)
		t.forget(s, &wills)
	}
	t.mu.Unlock()
	t.finish(over, wills)
}

func (t *sessions) count() (all, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all), len(t.waiting)
}
