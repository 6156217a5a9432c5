package messaging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// inboxPrefix is our own, so that a service which may hear _INBOX.> hears no
// acknowledgement of ours.
const inboxPrefix = "_POSTERN"

// A publisher owns one connection to NATS and the ring of what waits on it.
type publisher struct {
	conn    *nats.Conn
	timeout time.Duration
	limit   int // of a payload, in bytes
	inbox   string
	ring    *ring
	closed  chan struct{} // closed by nats.go after its last callback

	marker marker
	ended  atomic.Bool

	// mu keeps the order of slots the order on the wire. It is held while
	// the ring is full, so nothing that makes room may take it.
	mu     sync.Mutex
	header *headerWriter
	msg    nats.Msg
	reply  []byte
}

// A marker is a message to ourselves behind live ones: the server handles one
// connection's messages in order, so the marker's return says that it has
// routed all before it. One is on its way at a time.
type marker struct {
	mu      sync.Mutex
	sent    bool
	through uint64 // slots before it are covered by the one on its way
	want    uint64 // slots before it wait for the next
}

func (b *Bus) newPublisher(ctx context.Context) (*publisher, error) {
	p := &publisher{
		timeout: b.config.AckTimeout,
		limit:   b.config.MaxPayload,
		ring:    newRing(b.config.InFlight),
		header:  newHeaderWriter(),
		closed:  make(chan struct{}),
	}
	conn, err := b.dial(ctx, "postern publish",
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.config.Log.Warn("lost connection to NATS", "connection", "postern publish", "err", err)
			p.disconnected()
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(p.closed) }))
	if err != nil {
		return nil, err
	}
	p.conn = conn
	p.inbox = conn.NewInbox() + "."
	sub, err := conn.Subscribe(p.inbox+"*", p.answered)
	if err == nil {
		// The ring bounds what can be pending.
		err = sub.SetPendingLimits(-1, -1)
	}
	if err == nil {
		err = conn.FlushTimeout(p.timeout)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("listen for acknowledgements: %w: %w", ErrUnavailable, err)
	}
	return p, nil
}

// A Lane is an ordered path onto the bus. Its methods are safe for concurrent
// use; order means the order of the calls.
type Lane struct {
	p *publisher

	// Devices repeat themselves: the subjects of the last topic. Guarded by
	// p.mu.
	topic        Topic
	live, stored string
}

// Lane returns a path for the messages of one publisher. Messages on lanes of
// one key keep their order on the bus.
func (b *Bus) Lane(key string) *Lane {
	return &Lane{p: b.publishers[spread(key, len(b.publishers))]}
}

// Publish hands m to the bus: to the stream with store set, to whoever listens
// now otherwise. Unless it is nil, done is called exactly once, possibly
// before Publish returns: with the stream's sequence number when the message
// is stored; with 0 when the server has taken a live one; with ErrUnavailable
// or ErrTooLarge when not. Within a lane done is called in the order of
// Publish. It runs on a goroutine that many share: it must neither block nor
// call Publish. The bus does not keep m, but it must not change before Publish
// returns.
//
// Publish waits while Config.InFlight messages await their answer, which ends
// after Config.AckTimeout at the latest. Without done a live message waits for
// nothing, takes no such place, and its failure goes unsaid.
func (l *Lane) Publish(m *Message, store bool, done func(seq uint64, err error)) {
	if id, err := l.p.publish(l, m, store, done); err != nil && done != nil {
		l.p.ring.answer(id, 0, err) // outside of p.mu, because done may run here
	}
}

var nothing = func(uint64, error) {}

// publish returns the slot that it took, if it took one, and why nothing will
// answer it.
func (p *publisher) publish(l *Lane, m *Message, store bool, done func(uint64, error)) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.topic != m.Topic || l.live == "" {
		l.topic, l.live = m.Topic, m.Topic.Subject()
		l.stored = storedPrefix + l.live
	}
	p.msg = nats.Msg{Subject: l.live, Header: p.header.header(m), Data: m.Payload}
	if !store && done == nil {
		return 0, p.send(m)
	}
	if done == nil {
		done = nothing
	}
	id := p.ring.take(done, time.Now().Add(p.timeout), !store)
	if !store {
		if err := p.send(m); err != nil {
			return id, err
		}
		return id, p.mark(id + 1)
	}
	p.msg.Subject = l.stored
	p.reply = strconv.AppendUint(append(p.reply[:0], p.inbox...), id, 10)
	p.msg.Reply = string(p.reply)
	return id, p.send(m)
}

// send puts p.msg on the wire. p.mu is held.
func (p *publisher) send(m *Message) error {
	if p.ended.Load() {
		return ErrUnavailable
	}
	if len(m.Payload) > p.limit {
		return ErrTooLarge
	}
	return sendError(p.conn.PublishMsg(&p.msg))
}

func sendError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrMaxPayload):
		return ErrTooLarge
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// mark sees to it that a marker follows the slots before want. It is called
// after the last of them is on the wire.
func (p *publisher) mark(want uint64) error {
	p.marker.mu.Lock()
	defer p.marker.mu.Unlock()
	p.marker.want = max(p.marker.want, want)
	if p.marker.sent || p.marker.want == p.marker.through {
		return nil
	}
	if err := p.conn.Publish(p.inbox+markerToken, nil); err != nil {
		return sendError(err)
	}
	p.marker.sent, p.marker.through = true, p.marker.want
	return nil
}

// marked is called when a marker has come back.
func (p *publisher) marked() {
	p.marker.mu.Lock()
	through, sent := p.marker.through, p.marker.sent
	p.marker.sent = false
	p.marker.mu.Unlock()
	if sent { // not one from before a disconnect
		p.ring.answerLive(through)
	}
	// When this fails, the connection is lost and disconnected answers.
	_ = p.mark(0)
}

const markerToken = "L"

// answered takes what the server sends to our inbox.
func (p *publisher) answered(msg *nats.Msg) {
	token := msg.Subject[len(p.inbox):]
	if token == markerToken {
		p.marked()
		return
	}
	id, err := strconv.ParseUint(token, 10, 64)
	if err != nil {
		return // nobody else knows our inbox
	}
	seq, err := readAck(msg)
	p.ring.answer(id, seq, err)
}

// disconnected fails all that waits. Messages that the server took before may
// be in the stream; their answers are lost.
func (p *publisher) disconnected() {
	p.marker.mu.Lock()
	p.marker.sent = false
	p.marker.mu.Unlock()
	p.ring.failAll(ErrUnavailable)
}

func (p *publisher) sweep(now time.Time) {
	p.ring.sweep(now, fmt.Errorf("%w: no answer within %v", ErrUnavailable, p.timeout))
}

// close refuses new messages, waits for the old ones and fails what is left.
func (p *publisher) close(ctx context.Context) error {
	p.ended.Store(true)
	var err error
	if p.conn.IsConnected() {
		err = p.ring.wait(ctx)
	}
	p.conn.Close()
	<-p.closed
	p.ring.failAll(ErrUnavailable)
	_ = p.ring.wait(context.WithoutCancel(ctx)) // done functions do not block
	return err
}

// readAck reads a PubAck. The usual one is {"stream":"messages","seq":17} and
// is read without a JSON decoder; anything else goes the long way.
func readAck(msg *nats.Msg) (uint64, error) {
	if msg.Header != nil && msg.Header.Get("Status") == "503" {
		return 0, fmt.Errorf("%w: nobody stores for this subject", ErrUnavailable)
	}
	const before = `{"stream":"` + streamName + `","seq":`
	if rest, ok := bytes.CutPrefix(msg.Data, []byte(before)); ok {
		var seq uint64
		for i, c := range rest {
			if c < '0' || c > '9' {
				if i > 0 && (c == '}' || c == ',') {
					return seq, nil
				}
				break
			}
			seq = seq*10 + uint64(c-'0')
		}
	}
	return readOddAck(msg.Data)
}
