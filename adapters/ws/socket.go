package ws

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/httpd"
	"github.com/postern-io/postern/messaging"
)

const (
	// closeGrace is how long a peer has to take and answer a close frame:
	// a session that is revoked must be gone within a second.
	closeGrace = 500 * time.Millisecond
	// settleTimeout bounds the look at what a device may do.
	settleTimeout = 5 * time.Second
)

// errHijacked says that the upgrade failed after the connection was taken from
// the HTTP server: there is nothing left to answer on.
var errHijacked = errors.New("the connection is gone")

// A socket is one peer. Its reader runs on the request's goroutine, its writer
// on another, and both end before serve returns.
type socket struct {
	server  *Server
	session *adapters.Session
	topic   string // as the peer wrote it
	echo    bool
	acks    bool

	conn *websocket.Conn
	wire atomic.Pointer[wire] // nil before the upgrade

	out   outbox
	slots chan struct{} // holds a token for each unanswered message
	look  chan struct{} // holds a token when rights must be looked at again

	// Owned by the goroutine that settles: the request's, then the writer's.
	filter messaging.Filter
	feed   *feed // nil while the device does not listen

	ending sync.Once
	ended  chan struct{} // closed when the socket shall end
	last   farewell      // set before ended is closed; code 0 sends nothing
}

func newSocket(s *Server, session *adapters.Session) *socket {
	return &socket{
		server:  s,
		session: session,
		out:     outbox{maxMessages: s.MaxQueued, wake: make(chan struct{}, 1)},
		slots:   make(chan struct{}, s.InFlight),
		look:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
	}
}

// settle brings the socket to what the device may do now: it listens exactly
// if it may. An error says that it may do nothing, or that nobody can tell.
func (s *socket) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	filter, hear := s.session.CanSubscribe(ctx, s.topic)
	if hear != nil {
		s.stopListening()
		if adapters.KindOf(hear) != adapters.Denied {
			return hear
		}
		return s.session.CanPublish(ctx, s.topic)
	}
	if s.feed != nil && s.filter != filter {
		s.stopListening() // a route leads elsewhere now
	}
	if s.feed == nil {
		s.filter = filter
		return s.server.hub.join(filter, s)
	}
	return nil
}

func (s *socket) stopListening() {
	if s.feed != nil {
		s.server.hub.leave(s.filter, s.feed, s)
		s.feed = nil
		s.out.dropMessages()
	}
}

// release gives back what the socket holds.
func (s *socket) release() {
	s.stopListening()
	s.session.Close()
}

func (s *socket) upgrade(w http.ResponseWriter, r *http.Request) error {
	h := &hijacker{ResponseWriter: w, timeout: s.server.WriteTimeout, silence: s.server.PingInterval * 5 / 2}
	upgrader := websocket.Upgrader{
		WriteBufferPool: &writeBuffers,
		CheckOrigin:     func(*http.Request) bool { return true }, // doc.go says why
		Error:           func(http.ResponseWriter, *http.Request, int, error) {},
	}
	conn, err := upgrader.Upgrade(h, r, nil)
	switch {
	case err == nil:
	case h.wire != nil:
		h.wire.Close()
		return errHijacked
	default:
		return httpd.ErrHandshake
	}
	s.conn = conn
	s.wire.Store(h.wire)
	conn.SetReadLimit(int64(s.server.MaxPayload))
	conn.SetPongHandler(func(string) error { h.wire.heard(); return nil })
	return nil
}

// writeBuffers are shared, because most sockets are idle.
var writeBuffers sync.Pool

// end makes the socket end with a close frame; the first call counts. It does
// not block.
func (s *socket) end(code int, reason string) {
	s.ending.Do(func() {
		s.last = farewell{code, reason}
		close(s.ended)
		if w := s.wire.Load(); w != nil {
			w.finish(closeGrace)
		}
	})
}

func (s *socket) fail(err error) {
	f := farewellFor(err)
	if f.code == websocket.CloseInternalServerErr {
		s.server.Log.Error("socket failed", "adapter", via, "session", s.session.ID(), "err", err)
	}
	s.end(f.code, f.reason)
}

// revoked and changed are called by the gateway, and must not block.
func (s *socket) revoked(err error) { s.fail(err) }
func (s *socket) changed() {
	select {
	case s.look <- struct{}{}:
	default: // one look sees all changes
	}
}

// serve runs the socket until it ends.
func (s *socket) serve() {
	wire := s.wire.Load()
	var writer sync.WaitGroup
	writer.Go(func() { s.write(wire) })
	err := s.read(wire)
	s.end(0, "") // the peer is gone, or knows why
	writer.Wait()
	var closed *websocket.CloseError
	if !errors.As(err, &closed) {
		// To close while the peer still sends would reset the connection,
		// and the peer would not read our last word.
		wire.finish(closeGrace)
		_, _ = io.Copy(io.Discard, wire.Conn)
	}
	wire.Close()
	s.release()
}

// read publishes what the peer sends, until the connection ends.
func (s *socket) read(wire *wire) error {
	published := s.published // one for all frames
	for frame := uint64(1); ; frame++ {
		wire.heard()
		kind, payload, err := s.conn.ReadMessage()
		if err != nil {
			if errors.Is(err, websocket.ErrReadLimit) { // the library has said 1009
				s.session.Refused("publish", s.topic, messaging.ErrTooLarge)
			}
			return err
		}
		m := &messaging.Message{Payload: payload, QoS: 1}
		if kind == websocket.TextMessage {
			if !utf8.Valid(payload) { // RFC 6455 section 8.1
				s.end(websocket.CloseInvalidFramePayloadData, "a text frame is not UTF-8")
			}
			m.MQTT = &messaging.MQTTProperties{PayloadFormat: 1}
		}
		if !s.takeSlot() {
			continue // on its way out: only the peer's close frame counts now
		}
		done := published
		if s.acks {
			done = func(seq uint64, err error) { s.acknowledge(frame, seq, err) }
		}
		s.session.Publish(s.topic, m, done)
	}
}

// takeSlot waits for room, and reports whether the socket is still to live.
func (s *socket) takeSlot() bool {
	select {
	case <-s.ended:
		return false
	default:
	}
	select {
	case s.slots <- struct{}{}:
		return true
	case <-s.ended:
		return false
	}
}

func (s *socket) published(_ uint64, err error) {
	<-s.slots
	if err != nil {
		s.fail(err)
	}
}

// acknowledge keeps the slot until the writer has sent the acknowledgement.
func (s *socket) acknowledge(frame, seq uint64, err error) {
	if err != nil {
		s.published(seq, err)
		return
	}
	s.out.push(item{ack: frame, seq: seq})
}

func (s *socket) deliver(m *messaging.Message) {
	if m.Session == s.session.ID() && !s.echo {
		return
	}
	if !s.out.push(item{m: m}) {
		s.session.Refused("subscribe", s.topic, adapters.ErrLimited)
		s.end(websocket.CloseTryAgainLater, "too slow")
	}
}

// write sends what waits, keeps the connection alive, looks at the rights
// again when they may have changed, and says goodbye.
func (s *socket) write(wire *wire) {
	ping := time.NewTicker(s.server.PingInterval)
	defer ping.Stop()
	var items []item
	for {
		select {
		case <-s.ended: // before anything else is written
			s.sayGoodbye(wire)
			return
		default:
		}
		select {
		case <-s.ended:
		case <-s.out.wake:
			runtime.Gosched() // more of a burst may follow, and share the write
			items = s.out.take(items)
			if err := s.send(wire, items); err != nil {
				wire.Close()
				s.end(0, "")
			}
		case <-s.look:
			if err := s.settle(context.Background()); err != nil {
				s.fail(err)
			}
		case <-ping.C:
			if err := s.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(s.server.WriteTimeout)); err != nil {
				s.end(0, "")
			}
		}
	}
}

func (s *socket) send(wire *wire, items []item) error {
	if err := wire.batch(true); err != nil {
		return err
	}
	for _, i := range items {
		if err := s.sendOne(i); err != nil {
			return err
		}
	}
	return wire.batch(false)
}

func (s *socket) sendOne(i item) error {
	switch {
	case i.m == nil:
		<-s.slots
		return s.conn.WriteMessage(websocket.TextMessage, ackFrame(i.ack, i.seq))
	case !s.acks && isText(i.m):
		return s.conn.WriteMessage(websocket.TextMessage, i.m.Payload)
	}
	return s.conn.WriteMessage(websocket.BinaryMessage, i.m.Payload)
}

func ackFrame(frame, seq uint64) []byte {
	b := strconv.AppendUint([]byte(`{"ack":`), frame, 10)
	if seq > 0 {
		b = strconv.AppendUint(append(b, `,"sequence":`...), seq, 10)
	}
	return append(b, '}')
}

// isText tells the kind of the original. A publisher may claim what is not so,
// hence the look at the bytes.
func isText(m *messaging.Message) bool {
	claimed := m.Text() || strings.HasPrefix(m.ContentType, "text/") || strings.HasPrefix(m.ContentType, "application/json") ||
		strings.HasPrefix(m.ContentType, "application/senml+json")
	return claimed && utf8.Valid(m.Payload)
}

// sayGoodbye sends the close frame. The reader takes the peer's answer, or
// gives up when the wire's last moment has passed.
func (s *socket) sayGoodbye(wire *wire) {
	if s.last.code == 0 {
		return
	}
	wire.finish(closeGrace)
	frame := websocket.FormatCloseMessage(s.last.code, s.last.reason)
	if err := s.conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(closeGrace)); err != nil {
		wire.Close()
	}
}
