package messaging

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// queued is how many messages one receiver holds for its subscribers
	// before it loses some: a quarter of a second at full load.
	queued = 1 << 16
	// remembered is how many subjects a receiver keeps parsed.
	remembered = 4096
)

// A receiver owns one connection and the goroutine that delivers what comes by
// it. All filters of a channel use the same one, so that whoever listens on
// two of them hears each message in one order.
type receiver struct {
	conn    *nats.Conn
	now     func() time.Time
	timeout time.Duration
	ch      chan *nats.Msg
	work    sync.WaitGroup
	closed  chan struct{}

	mu   sync.RWMutex
	subs map[*nats.Subscription]*Subscription
}

// A Subscription is a standing wish for the messages of a Filter.
type Subscription struct {
	filter  Filter
	deliver func(*Message)
	r       *receiver
	parts   []*nats.Subscription
	ended   atomic.Bool
}

func (b *Bus) newReceiver(ctx context.Context) (*receiver, error) {
	r := &receiver{
		now:     b.config.Now,
		timeout: b.config.AckTimeout,
		ch:      make(chan *nats.Msg, queued),
		closed:  make(chan struct{}),
		subs:    map[*nats.Subscription]*Subscription{},
	}
	conn, err := b.dial(ctx, "postern subscribe",
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) && sub != nil {
				if s := r.subscription(sub); s != nil {
					dropped, _ := sub.Dropped() // fails when just closed, and is 0 then
					b.config.OnSlow(s.filter, dropped)
				}
				return
			}
			b.config.Log.Warn("NATS reported an error", "connection", "postern subscribe", "err", err)
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(r.closed) }))
	if err != nil {
		return nil, err
	}
	r.conn = conn
	r.work.Go(r.run)
	return r, nil
}

// Subscribe calls deliver with every message that f matches, in the order of
// the bus, from one goroutine that it shares with other subscriptions: deliver
// must not block, nor call Subscribe or Close. When Subscribe returns, the
// server knows of it: what is published from then on is delivered, messages of
// this process included. Shared subscriptions with the same group and filter
// take turns, over all nodes. The error wraps ErrUnavailable.
//
// A subscription outlives a lost connection, but not what was said meanwhile.
func (b *Bus) Subscribe(f Filter, deliver func(*Message)) (*Subscription, error) {
	r := b.receivers[spread(f.Domain+"/"+f.Channel, len(b.receivers))]
	s := &Subscription{filter: f, deliver: deliver, r: r}
	if !r.conn.IsConnected() { // no need to wait for the flush to find out
		return nil, fmt.Errorf("subscribe: %w: not connected", ErrUnavailable)
	}
	if err := r.add(s); err != nil {
		return nil, fmt.Errorf("subscribe: %w: %w", ErrUnavailable, err)
	}
	if err := r.conn.FlushTimeout(r.timeout); err != nil {
		_ = s.Close() // the first error tells more
		return nil, fmt.Errorf("subscribe: %w: %w", ErrUnavailable, err)
	}
	return s, nil
}

// add holds the lock until the map knows what nats.go knows, so that no
// message is looked up too early.
func (r *receiver) add(s *Subscription) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, subject := range s.filter.Subjects() {
		var part *nats.Subscription
		var err error
		if s.filter.Group == "" {
			part, err = r.conn.ChanSubscribe(subject, r.ch)
		} else {
			part, err = r.conn.ChanQueueSubscribe(subject, s.filter.queue(), r.ch)
		}
		if err != nil {
			r.drop(s)
			return err
		}
		s.parts = append(s.parts, part)
		r.subs[part] = s
	}
	return nil
}

// drop forgets s. r.mu is held.
func (r *receiver) drop(s *Subscription) {
	for _, part := range s.parts {
		delete(r.subs, part)
		_ = part.Unsubscribe() // fails only when the connection is gone, and s with it
	}
}

// Close ends the subscription. No deliver begins after it returns; one that
// runs may still be running. It may be called again.
func (s *Subscription) Close() error {
	if s.ended.Swap(true) {
		return nil
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.drop(s)
	return nil
}

// queue names the NATS queue group. NATS joins groups of one name over
// subjects that overlap; in MQTT the filter is part of a group's identity
// (section 4.8.2), so it is part of the name.
func (f Filter) queue() string {
	sum := sha256.Sum256([]byte(f.String()))
	return "postern-" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

func (r *receiver) subscription(part *nats.Subscription) *Subscription {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.subs[part]
}

func (r *receiver) run() {
	topics := make(map[string]Topic)
	for msg := range r.ch {
		s := r.subscription(msg.Sub)
		if s == nil || s.ended.Load() {
			continue
		}
		topic, ok := topics[msg.Subject]
		if !ok {
			var err error
			if topic, err = ParseSubject(msg.Subject); err != nil {
				continue // a service wrote where no topic is
			}
			if len(topics) >= remembered {
				clear(topics)
			}
			topics[msg.Subject] = topic
		}
		if m := readMessage(topic, msg, r.now()); m != nil {
			s.deliver(m)
		}
	}
}

func (r *receiver) close() {
	r.conn.Close()
	<-r.closed // nats.go writes to r.ch until then
	close(r.ch)
	r.work.Wait()
}

// Notify tells every node, this one included, something on a subject of
// Postern's own. It returns when the server has it; the error wraps
// ErrUnavailable.
func (b *Bus) Notify(ctx context.Context, subject string, data []byte) error {
	if err := b.control.Publish(subject, data); err != nil {
		return fmt.Errorf("notify %s: %w: %w", subject, ErrUnavailable, err)
	}
	ctx, cancel := context.WithTimeout(ctx, b.config.AckTimeout)
	defer cancel()
	if err := b.control.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("notify %s: %w: %w", subject, ErrUnavailable, err)
	}
	return nil
}

// OnNotice calls f with what Notify was given on any node, in the order of
// each node, from a goroutine of its own. Notices are lost while the
// connection is; Config.OnReconnect tells. Call the returned function to end
// it.
func (b *Bus) OnNotice(subject string, f func(data []byte)) (stop func(), err error) {
	sub, err := b.control.Subscribe(subject, func(msg *nats.Msg) { f(msg.Data) })
	if err == nil {
		err = b.control.FlushTimeout(b.config.AckTimeout)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w: %w", subject, ErrUnavailable, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // fails only when the connection is gone
}
