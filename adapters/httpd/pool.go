package httpd

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/postern-io/postern/adapters"
)

// A pool keeps the sessions of devices that publish again and again open
// between their requests. A session that is open is revoked like any other, so
// this remembers no decision that has ceased to hold; it saves making the same
// one again.
type pool struct {
	mu    sync.Mutex
	held  map[shown]*held
	sweep *time.Timer // nil while held is empty
}

// shown is all that a request shows, where that is one header. Two requests
// that show the same from the same place are let in alike.
//
// Requests with a certificate are not pooled: each TLS connection brings its
// own copy, and a device that connects for each message would hold as many
// sessions as it makes connections in maxIdle. There the handshake costs a
// hundred times the decision.
type shown struct {
	header string // holds the secret, as long as the session is held
	remote netip.Addr
}

type held struct {
	session *adapters.Session
	users   int
	idle    time.Time // since when, if there are no users
}

const (
	// maxIdle is how long a session waits for its device's next request.
	maxIdle = 10 * time.Second
	// maxHeld bounds the sessions in the pool; others end with their request.
	maxHeld = 10_000
)

// shownBy reports what r shows, and whether that is all of it.
func shownBy(r *http.Request, e Evidence) (shown, bool) {
	headers := r.Header["Authorization"]
	if len(headers) != 1 || r.URL.RawQuery != "" || len(e.Chain) > 0 {
		return shown{}, false
	}
	return shown{headers[0], e.Remote}, true
}

// take returns the session that is held for s, or nil.
func (p *pool) take(s shown) *held {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.held[s]
	if h != nil {
		h.users++
	}
	return h
}

// put holds a new session for s with one user. When there is no room, or
// another request was first, the session is the user's alone.
func (p *pool) put(s shown, session *adapters.Session) *held {
	h := &held{session: session, users: 1}
	p.mu.Lock()
	if p.held == nil {
		p.held = map[shown]*held{}
	}
	if p.held[s] == nil && len(p.held) < maxHeld {
		p.held[s] = h
		if p.sweep == nil {
			p.sweep = time.AfterFunc(maxIdle, p.end)
		}
	}
	p.mu.Unlock()
	// From here on a session that is revoked leaves the pool; one that was
	// before is dropped at once.
	session.Watch(func(error) { p.drop(s, h) }, nil)
	return h
}

// drop forgets h. Its users find out by themselves.
func (p *pool) drop(s shown, h *held) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[s] == h {
		delete(p.held, s)
		if h.users == 0 {
			h.session.Close()
		}
	}
}

// release gives h back. A session that is not held any more ends with its last
// user.
func (p *pool) release(s shown, h *held) {
	p.mu.Lock()
	h.users--
	h.idle = time.Now()
	last := h.users == 0 && p.held[s] != h
	p.mu.Unlock()
	if last {
		h.session.Close()
	}
}

// end closes the sessions that nobody has used for maxIdle.
func (p *pool) end() { p.close(time.Now().Add(-maxIdle)) }

// close closes the sessions that have been idle since before.
func (p *pool) close(before time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s, h := range p.held {
		if h.users == 0 && !h.idle.After(before) {
			delete(p.held, s)
			h.session.Close()
		}
	}
	switch {
	case p.sweep == nil:
	case len(p.held) > 0:
		p.sweep.Reset(maxIdle)
	default:
		p.sweep.Stop()
		p.sweep = nil
	}
}
