package messaging

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// remembered is how many subjects a receiver keeps parsed.
const remembered = 4096

// A receiver owns one link, whose read loop delivers what comes by it. All
// filters of a channel use the same one, so that whoever listens on two of
// them hears each message in one order.
//
// A receiver that is slower than the bus is not a queue that grows in this
// process: the server holds what waits (embed.go bounds it), slows the
// publishers down, and at its bound cuts the connection, which counts as one
// slow event and comes back by itself.
type receiver struct {
	link   *link
	cuts   atomic.Int64
	topics map[string]Topic // the read loop's
	reader headerReader     // the read loop's
}

// A Subscription is a standing wish for the messages of a Filter.
type Subscription struct {
	filter  Filter
	deliver func(*Message)
	r       *receiver
	parts   []*subject
	ended   atomic.Bool
}

func (b *Bus) newReceiver(ctx context.Context) (*receiver, error) {
	r := &receiver{topics: make(map[string]Topic), reader: headerReader{now: b.config.Now}}
	r.link = b.newLink("postern subscribe")
	r.link.received = r.received
	r.link.down = func() {}
	r.link.up = func() {}
	r.link.slow = func() {
		times := int(r.cuts.Add(1))
		for _, f := range r.link.filters() {
			b.config.OnSlow(f, times)
		}
	}
	if err := r.link.start(ctx); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w: %w", ErrUnavailable, err)
	}
	return r, nil
}

// Subscribe calls deliver with every message that f matches, in the order of
// the bus, from one goroutine that it shares with other subscriptions: deliver
// must not block, nor call Subscribe. When Subscribe returns, the server knows
// of it: what is published from then on is delivered, messages of this process
// included. Shared subscriptions with the same group and filter take turns,
// over all nodes. The error wraps ErrUnavailable.
//
// A subscription outlives a lost connection, but not what was said meanwhile.
func (b *Bus) Subscribe(f Filter, deliver func(*Message)) (*Subscription, error) {
	r := b.receivers[spread(f.Domain+"/"+f.Channel, len(b.receivers))]
	s := &Subscription{filter: f, deliver: deliver, r: r}
	queue := ""
	if f.Group != "" {
		queue = f.queue()
	}
	for _, name := range f.Subjects() {
		part, err := r.link.subscribe(name, queue, s)
		if err != nil {
			_ = s.Close() // the first error tells more
			return nil, fmt.Errorf("subscribe: %w", err)
		}
		s.parts = append(s.parts, part)
	}
	if err := r.link.sync(); err != nil {
		_ = s.Close() // the first error tells more
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return s, nil
}

// Close ends the subscription. No deliver begins after it returns; one that
// runs may still be running. It may be called again.
func (s *Subscription) Close() error {
	if s.ended.Swap(true) {
		return nil
	}
	for _, part := range s.parts {
		s.r.link.unsubscribe(part)
	}
	return nil
}

// queue names the NATS queue group. NATS joins groups of one name over
// subjects that overlap; in MQTT the filter is part of a group's identity
// (section 4.8.2), so it is part of the name.
func (f Filter) queue() string {
	sum := sha256.Sum256([]byte(f.String()))
	return "postern-" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

func (r *receiver) received(sub *subject, name, header, payload []byte) {
	s := sub.owner
	if s.ended.Load() {
		return
	}
	topic, ok := r.topics[string(name)]
	if !ok {
		var err error
		if topic, err = ParseSubject(string(name)); err != nil {
			return // a service wrote where no topic is
		}
		if len(r.topics) >= remembered {
			clear(r.topics)
		}
		r.topics[string(name)] = topic
	}
	if m := r.reader.message(topic, header, payload); m != nil {
		s.deliver(m)
	}
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
