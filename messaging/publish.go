package messaging

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nuid"
)

// inboxPrefix is our own, so that a service which may hear _INBOX.> hears no
// acknowledgement of ours.
const inboxPrefix = "_POSTERN"

// A publisher owns one link to NATS and the ring of what waits on it.
type publisher struct {
	link    *link
	timeout time.Duration
	limit   int // of a payload, in bytes
	inbox   string
	ring    *ring
	marker  marker
	ended   atomic.Bool
	clock   atomic.Int64 // Unix nanoseconds, as of the last sweep: enough for deadlines

	// mu keeps the order of slots the order on the wire. It is held while
	// the ring is full, so nothing that makes room may take it.
	mu      sync.Mutex
	headers headerWriter
	header  []byte
	reply   []byte
}

// A marker asks the link to tell when the server has the live messages before
// it. One is on its way at a time, and covers all that came before it.
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
		inbox:   inboxPrefix + "." + nuid.Next() + ".",
	}
	p.clock.Store(time.Now().UnixNano())
	p.link = b.newLink("postern publish")
	p.link.received = p.answered
	p.link.down = p.disconnected
	p.link.up = func() {}
	err := p.link.start(ctx)
	if err == nil {
		_, err = p.link.subscribe(p.inbox+"*", "", nil)
	}
	if err == nil {
		err = p.link.sync()
	}
	if err != nil {
		p.link.close()
		return nil, fmt.Errorf("listen for acknowledgements: %w: %w", ErrUnavailable, err)
	}
	return p, nil
}

// A Lane is an ordered path onto the bus. Its methods are safe for concurrent
// use; order means the order of the calls.
type Lane struct {
	p *publisher

	// Devices repeat themselves: the subject of the last topic, and the
	// headers of the last author. Guarded by p.mu.
	topic   Topic
	subject string
	author  author
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
	p := l.p
	id, err := p.publish(l, m, store, done)
	switch {
	case !store && done == nil: // nobody asked
	case err != nil:
		p.ring.answer(id, 0, err) // outside of p.mu, because done may run here
	case !store:
		p.mark(id + 1)
	}
}

var nothing = func(uint64, error) {}

// publish returns the slot that it took, if it took one, and why nothing will
// answer it.
func (p *publisher) publish(l *Lane, m *Message, store bool, done func(uint64, error)) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.topic != m.Topic || l.subject == "" {
		l.topic, l.subject = m.Topic, m.Topic.Subject()
	}
	p.header = p.headers.appendTo(p.header[:0], &l.author, m)
	var id uint64
	prefix, reply := "", []byte(nil)
	if store || done != nil {
		if done == nil {
			done = nothing
		}
		id = p.ring.take(done, p.clock.Load()+int64(p.timeout), !store)
	}
	if store {
		p.reply = strconv.AppendUint(append(p.reply[:0], p.inbox...), id, 10)
		prefix, reply = storedPrefix, p.reply
	}
	switch {
	case p.ended.Load():
		return id, ErrUnavailable
	case len(m.Payload) > p.limit:
		return id, ErrTooLarge
	}
	return id, p.link.publish(prefix, l.subject, reply, p.header, m.Payload)
}

// mark sees to it that a marker follows the slots before want. It is called
// after the last of them is with the link.
func (p *publisher) mark(want uint64) {
	p.marker.mu.Lock()
	p.marker.want = max(p.marker.want, want)
	ask := !p.marker.sent && p.marker.want > p.marker.through
	if ask {
		p.marker.sent, p.marker.through = true, p.marker.want
	}
	p.marker.mu.Unlock()
	if ask {
		p.link.taken(p.marked)
	}
}

// marked is called when the server has what was before the marker, or when the
// connection was lost: then disconnected answers.
func (p *publisher) marked(err error) {
	p.marker.mu.Lock()
	through := p.marker.through
	p.marker.sent = false
	p.marker.mu.Unlock()
	if err == nil {
		p.ring.answerLive(through)
		p.mark(0)
	}
}

// answered takes what the server sends to our inbox.
func (p *publisher) answered(_ *subject, topic, header, payload []byte) {
	id, ok := number(bytes.TrimPrefix(topic, []byte(p.inbox)))
	if !ok {
		return // nobody else knows our inbox
	}
	seq, err := readAck(header, payload)
	p.ring.answer(id, seq, err)
}

// disconnected fails all that waits. Messages that the server took before may
// be in the stream; their answers are lost.
func (p *publisher) disconnected() { p.ring.failAll(ErrUnavailable) }

func (p *publisher) sweep(now time.Time) {
	p.clock.Store(now.UnixNano())
	p.ring.sweep(now.UnixNano(), fmt.Errorf("%w: no answer within %v", ErrUnavailable, p.timeout))
}

// close refuses new messages, waits for the old ones and fails what is left.
func (p *publisher) close(ctx context.Context) error {
	p.ended.Store(true)
	var err error
	if p.link.connected() {
		err = p.ring.wait(ctx)
	}
	p.link.close()
	p.ring.failAll(ErrUnavailable)
	_ = p.ring.wait(context.WithoutCancel(ctx)) // done functions do not block
	return err
}
