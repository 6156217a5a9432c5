package messaging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A link is a connection to NATS for the data path. nats.go, which the control
// connection uses, decodes headers into a map and hands each message from
// goroutine to goroutine; at the rates of DESIGN's chapter 10 that costs more
// than all the rest. A link frames and parses the client protocol itself,
// writes in batches, and calls its owner from its read loop. Which server to
// talk to it asks the control connection, so the choice of servers, their
// discovery and failover remain with nats.go.
type link struct {
	name    string
	dial    func(ctx context.Context) (*handshake, error)
	log     *slog.Logger
	timeout time.Duration // for the server to answer

	// received is called from the read loop with slices that are valid until
	// it returns. down is called when the connection is lost, before the next
	// is tried; up when another stands and knows the subscriptions.
	received func(sub *subject, topic, header, payload []byte)
	down, up func()
	// slow is called when the server hung up because we read too slowly. An
	// outside server says so, if it still can; the one in this process counts.
	slow  func()
	slows func() uint64 // nil for an outside server

	stop context.CancelFunc
	work sync.WaitGroup

	heard atomic.Bool // something came since the last tick

	mu       sync.Mutex
	writing  sync.Cond     // signalled when there is something to write, room, or an end
	conn     net.Conn      // nil while there is none
	local    bool          // the server is in this process: what it has read, it has
	limit    int           // the server's max_payload
	buf      []byte        // waits for the flusher
	flushed  []byte        // the flusher's, swapped with buf
	flushing bool          // the flusher writes
	waiting  []func(error) // for what is in buf to be written
	inflight []func(error) // for what is being written
	pongs    []func(error) // what the PINGs on their way are for, in order

	subsMu  sync.RWMutex // taken after mu, if both
	lastSub uint64
	subs    map[uint64]*subject
}

// A subject is a subscription of a link.
type subject struct {
	name, queue string
	id          uint64
	owner       *Subscription // for a receiver's
}

const (
	// maxBuffered bounds what waits for the flusher; publish waits for room.
	maxBuffered = 1 << 20
	// reconnectPause is the mean pause between two tries, as in nats.go.
	reconnectPause = 250 * time.Millisecond
)

var errNotConnected = fmt.Errorf("%w: not connected to NATS", ErrUnavailable)

// start connects for the first time and keeps the connection from then on.
func (l *link) start(ctx context.Context) error {
	l.writing.L = &l.mu
	l.subs = map[uint64]*subject{}
	h, err := l.dial(ctx)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.attach(h)
	l.work.Go(func() { l.run(running, h) })
	return nil
}

// close ends the connection and waits for its goroutines.
func (l *link) close() {
	if l.stop == nil {
		return
	}
	l.stop()
	l.mu.Lock()
	if l.conn != nil {
		l.conn.Close()
	}
	l.mu.Unlock()
	l.work.Wait()
}

func (l *link) connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn != nil
}

// run reads until the connection is lost, and makes another.
func (l *link) run(ctx context.Context, h *handshake) {
	for {
		var flusher sync.WaitGroup
		conn := h.conn
		slows := l.countSlows()
		flusher.Go(func() { l.flush(conn) })
		err := (&reader{link: l, conn: conn, buf: h.rest}).run()
		l.detach(conn)
		flusher.Wait()
		if l.countSlows() > slows {
			l.slow()
		}
		if ctx.Err() == nil {
			l.log.Warn("lost connection to NATS", "connection", l.name, "err", err)
		}
		l.down()
		if h = l.redial(ctx); h == nil {
			return
		}
		l.attach(h)
		if ctx.Err() != nil {
			h.conn.Close() // close came before attach, and saw no connection
		}
		l.up()
	}
}

func (l *link) countSlows() uint64 {
	if l.slows == nil {
		return 0
	}
	return l.slows()
}

// redial tries until it succeeds, or returns nil when ctx is done.
func (l *link) redial(ctx context.Context) *handshake {
	for ctx.Err() == nil {
		pause := time.NewTimer(reconnectPause/2 + rand.N(reconnectPause))
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
		try, cancel := context.WithTimeout(ctx, l.timeout)
		h, err := l.dial(try)
		cancel()
		if err == nil {
			return h
		}
		l.log.Debug("cannot connect to NATS", "connection", l.name, "err", err)
	}
	return nil
}

func (l *link) attach(h *handshake) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.local, l.limit = h.conn, h.local, h.maxPayload
	l.heard.Store(true)
	l.subsMu.RLock()
	for _, s := range l.subs {
		l.buf = s.appendTo(l.buf)
	}
	l.subsMu.RUnlock()
	l.writing.Broadcast()
}

// detach forgets what waits for conn: nothing is kept for the next one.
func (l *link) detach(conn net.Conn) {
	conn.Close()
	l.mu.Lock()
	l.conn = nil
	l.buf = l.buf[:0]
	lost := append(l.pongs, l.waiting...)
	l.pongs, l.waiting = nil, nil
	l.writing.Broadcast()
	l.mu.Unlock()
	for _, f := range lost {
		f(errNotConnected)
	}
}

// flush writes what is gathered, all at once, while conn stands.
func (l *link) flush(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for l.conn == conn && len(l.buf) == 0 {
			l.writing.Wait()
		}
		if l.conn != conn {
			return
		}
		l.mu.Unlock()
		runtime.Gosched() // more of a burst may follow, and share the write
		l.mu.Lock()
		if l.conn != conn {
			return
		}
		out := l.buf
		l.buf = l.flushed[:0]
		l.flushing, l.inflight, l.waiting = true, l.waiting, nil
		l.writing.Broadcast() // there is room
		l.mu.Unlock()
		_, err := conn.Write(out)
		l.mu.Lock()
		written := l.inflight
		l.flushing, l.inflight = false, nil
		if l.flushed = out; cap(out) > 4*maxBuffered {
			l.flushed = nil
		}
		if len(written) > 0 {
			l.mu.Unlock()
			for _, f := range written {
				if err != nil {
					f(errNotConnected)
				} else {
					f(nil)
				}
			}
			l.mu.Lock()
		}
		if err != nil {
			conn.Close() // the reader sees it and detaches
			l.waitFor(conn)
		}
	}
}

// waitFor waits until conn is detached. l.mu is held.
func (l *link) waitFor(conn net.Conn) {
	for l.conn == conn {
		l.writing.Wait()
	}
}

// publish gathers one message. reply and header may be empty. It waits for
// room when the server is slower than we are.
func (l *link) publish(prefix, subject string, reply, header, payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.ready(len(header) + len(payload)); err != nil {
		return err
	}
	b := l.buf
	if len(header) > 0 {
		b = append(b, 'H')
	}
	b = append(b, "PUB "...)
	b = append(b, prefix...)
	b = append(b, subject...)
	b = append(b, ' ')
	if len(reply) > 0 {
		b = append(b, reply...)
		b = append(b, ' ')
	}
	if len(header) > 0 {
		b = strconv.AppendInt(b, int64(len(header)), 10)
		b = append(b, ' ')
	}
	b = strconv.AppendInt(b, int64(len(header)+len(payload)), 10)
	b = append(b, "\r\n"...)
	b = append(b, header...)
	b = append(b, payload...)
	b = append(b, "\r\n"...)
	l.gathered(b)
	return nil
}

// ready waits for room for n bytes more. l.mu is held.
func (l *link) ready(n int) error {
	conn := l.conn
	for l.conn != nil && len(l.buf) > maxBuffered {
		l.writing.Wait()
	}
	switch {
	case l.conn == nil || l.conn != conn:
		return errNotConnected
	case n > l.limit: // the server would hang up on all of us
		return ErrTooLarge
	}
	return nil
}

// gathered takes the buffer back, and wakes the flusher if it may sleep.
func (l *link) gathered(b []byte) {
	idle := len(l.buf) == 0
	l.buf = b
	if idle {
		l.writing.Broadcast()
	}
}

// taken calls f once the server has all that was published so far, possibly
// before it returns. f must not block. A server in this process has what it
// has read from the pipe; another one says so by a PONG.
func (l *link) taken(f func(error)) {
	l.mu.Lock()
	var err error
	switch {
	case l.conn == nil:
		err = errNotConnected
	case !l.local:
		l.ping(f)
		f = nil
	case len(l.buf) > 0:
		l.waiting = append(l.waiting, f)
		f = nil
	case l.flushing:
		l.inflight = append(l.inflight, f)
		f = nil
	}
	l.mu.Unlock()
	if f != nil {
		f(err)
	}
}

// ping asks for a PONG, for which f is called. l.mu is held.
func (l *link) ping(f func(error)) {
	l.pongs = append(l.pongs, f)
	l.gathered(append(l.buf, "PING\r\n"...))
}

// sync waits until the server has handled all that was sent before.
func (l *link) sync() error {
	answer := make(chan error, 1)
	l.mu.Lock()
	if l.conn == nil {
		l.mu.Unlock()
		return errNotConnected
	}
	l.ping(func(err error) { answer <- err })
	l.mu.Unlock()
	timeout := time.NewTimer(l.timeout)
	defer timeout.Stop()
	select {
	case err := <-answer:
		return err
	case <-timeout.C:
		return fmt.Errorf("%w: no answer within %v", ErrUnavailable, l.timeout)
	}
}

// pong answers the oldest ping.
func (l *link) pong() error {
	l.mu.Lock()
	if len(l.pongs) == 0 {
		l.mu.Unlock()
		return errors.New("a PONG that nobody asked for")
	}
	f := l.pongs[0]
	l.pongs = l.pongs[1:]
	l.mu.Unlock()
	f(nil)
	return nil
}

// answerPing is for the server's PING.
func (l *link) answerPing() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		l.gathered(append(l.buf, "PONG\r\n"...))
	}
}

// tick is called every so often: a server that said nothing since the last
// time, though it was asked, is gone.
func (l *link) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.conn == nil || l.local:
	case !l.heard.Swap(false):
		l.conn.Close()
	default:
		l.ping(func(error) {})
	}
}

// subscribe adds a subscription. While there is no connection it fails.
func (l *link) subscribe(name, queue string, owner *Subscription) (*subject, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return nil, errNotConnected
	}
	l.subsMu.Lock()
	l.lastSub++
	s := &subject{name: name, queue: queue, id: l.lastSub, owner: owner}
	l.subs[s.id] = s
	l.subsMu.Unlock()
	l.gathered(s.appendTo(l.buf))
	return s, nil
}

func (s *subject) appendTo(b []byte) []byte {
	b = append(b, "SUB "...)
	b = append(b, s.name...)
	b = append(b, ' ')
	if s.queue != "" {
		b = append(b, s.queue...)
		b = append(b, ' ')
	}
	b = strconv.AppendUint(b, s.id, 10)
	return append(b, "\r\n"...)
}

func (l *link) unsubscribe(s *subject) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subsMu.Lock()
	delete(l.subs, s.id)
	l.subsMu.Unlock()
	if l.conn != nil {
		l.gathered(append(strconv.AppendUint(append(l.buf, "UNSUB "...), s.id, 10), "\r\n"...))
	}
}

func (l *link) subscription(id uint64) *subject {
	l.subsMu.RLock()
	defer l.subsMu.RUnlock()
	return l.subs[id]
}

// filters returns those of a receiver's subscriptions, each once.
func (l *link) filters() []Filter {
	l.subsMu.RLock()
	defer l.subsMu.RUnlock()
	once := make(map[Filter]bool, len(l.subs))
	for _, s := range l.subs {
		if s.owner != nil {
			once[s.owner.filter] = true
		}
	}
	return slices.Collect(maps.Keys(once))
}
