package mqtt

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/mqtt/wire"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

// lingerTime is how long a connection that we end may still talk, so that what
// it sends does not reset the connection before it has read why.
const lingerTime = 250 * time.Millisecond

var errEnded = errors.New("connection ended by the server")

// A conn is one network connection. Unless said otherwise its fields belong to
// the goroutine that reads it, and those set by CONNECT do not change.
type conn struct {
	*wire.Conn // what the engine reads
	srv        *Server
	raw        net.Conn
	engineID   string // the engine's client identifier, one for each connection
	out        *outbox

	credential authn.Credential // what was shown before CONNECT
	connect    connect
	version    byte
	gateway    *adapters.Session // nil until the device is let in
	session    *session
	present    bool // Session Present
	will       *will
	window     int // messages the client takes unacknowledged
	maxPacket  int // bytes it takes; 0: any

	acks       acks
	unanswered atomic.Int32 // against Receive Maximum
	aliases    []string
	topics     topics
	message    messaging.Message // used again for every publish that is not kept
	finish     func(uint64, error)
	failed     atomic.Pointer[error] // what finish was told

	greeting    bool        // the engine's next word is the CONNACK that lets the client in
	established atomic.Bool // the engine has written it
	ended       atomic.Bool
	rechecking  atomic.Bool
	codes       []byte          // of the SUBACK or UNSUBACK being made
	news        []*subscription // to be told what is retained after SUBACK

	// Guarded by sessions.mu: another connection has the session.
	lost, lostClean bool
}

func (s *Server) newConn(raw net.Conn, credential authn.Credential) *conn {
	c := &conn{srv: s, raw: raw, credential: credential}
	c.credential.Via = "mqtt"
	if !c.credential.Remote.IsValid() {
		c.credential.Remote = addrOf(raw)
	}
	c.out = &outbox{Conn: raw, limit: s.limits.Pending, writeTime: s.limits.WriteTime, drained: c.drained}
	c.Conn = wire.New(c.out, s.limits.wire(), c)
	c.acks.init(c)
	c.finish = func(_ uint64, err error) {
		if err != nil {
			c.failed.Store(&err)
		}
	}
	return c
}

func addrOf(c net.Conn) netip.Addr {
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{} // a pipe has none
	}
	return a.Addr().Unmap()
}

// Take deals with the packets of the hot path; the rest is the engine's.
func (c *conn) Take(p *wire.Packet) (taken bool, err error) {
	if c.ended.Load() {
		return true, errEnded
	}
	switch p.Type {
	case wire.Publish:
		return true, c.publish(p)
	case wire.Puback, wire.Pubcomp:
		c.session.acknowledged(p.ID)
	case wire.Pubrec:
		c.pubrec(p)
	case wire.Pubrel:
		c.pubrel(p)
	default:
		return false, nil
	}
	return true, nil
}

// Refused counts a packet that ended the connection.
func (c *conn) Refused(r *wire.Refusal) {
	c.srv.Metrics.refused(r)
	c.srv.Gateway.Metrics.Refused("mqtt", &registry.InvalidError{Field: "packet", Reason: r.Reason})
}

// Write queues what the engine says.
func (c *conn) Write(b []byte) (int, error) {
	if c.greeting {
		c.greeting = false
		return c.out.greet(b)
	}
	return c.out.Write(b)
}

// end ends the connection with a reason code, from any goroutine. It does not
// wait.
func (c *conn) end(code byte) {
	if c.ended.Swap(true) {
		return
	}
	if c.out.hasGreeted() {
		_, _ = c.out.Write(wire.AppendDisconnect(nil, c.version, code)) // it ends in any case
	}
	_ = c.out.Close()
}

// revoked is called when the ground for the session went away.
func (c *conn) revoked(err error) {
	code := codeAdministrative
	if adapters.KindOf(err) != adapters.Revoked {
		code = answerTo(err).end
	}
	c.end(code)
}

// changed is called when the device's rights may have changed. Looking at them
// may wait for the store, so it does not happen here; one look serves for all
// changes before it.
func (c *conn) changed() {
	if c.rechecking.Swap(true) {
		return
	}
	c.srv.run(func(ctx context.Context) {
		c.rechecking.Store(false)
		ctx, cancel := context.WithTimeout(ctx, decideTime)
		defer cancel()
		if err := c.session.recheck(ctx, c.gateway); err != nil {
			c.end(answerTo(err).end)
		}
	})
}

// drained is called when the client has caught up.
func (c *conn) drained() {
	if c.established.Load() {
		c.session.pump()
	}
}

// deliver sends a QoS 0 message. A reader that is too slow loses it.
func (c *conn) deliver(f *fan, it *item) {
	fr := f.frame(it, c.version)
	switch {
	case c.tooLarge(fr):
		c.srv.Metrics.lost(lostTooLarge)
	case !c.out.send(fr, 0):
		c.srv.Metrics.lost(lostSlow)
	default:
		c.srv.Metrics.delivered()
	}
}

func (c *conn) tooLarge(f frame) bool { return c.maxPacket > 0 && len(f.b) > c.maxPacket }

// close lets the last words out, gives the client a moment to read them, and
// closes the socket.
func (c *conn) close() {
	_ = c.out.Close()
	c.out.work.Wait()
	if c.raw.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, c.raw, 64<<10) // its end is all that matters
	}
	_ = c.raw.Close() // nothing is left that could be lost
}

// topics keeps the strings of topics that were used lately.
type topics struct {
	last  string
	known map[string]string
}

const maxTopics = 64

func (t *topics) string(b []byte) string {
	if t.last == string(b) {
		return t.last
	}
	s, ok := t.known[string(b)]
	if !ok {
		s = string(b)
		if t.known == nil || len(t.known) >= maxTopics {
			t.known = make(map[string]string, 4)
		}
		t.known[s] = s
	}
	t.last = s
	return s
}
