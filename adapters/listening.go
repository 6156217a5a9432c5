package adapters

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

const (
	// MaxHeard is how many bytes of a payload a listener is given.
	MaxHeard = 64 << 10
	// maxWaiting and maxWaitingBytes bound what waits for a slow reader: at
	// maxListeners of them that is 200 MiB at the very worst.
	maxWaiting      = 256
	maxWaitingBytes = 1 << 20
	// maxListeners bounds those of a node, maxOwnListeners those of one person:
	// a browser opens six connections to a server, and has windows.
	maxListeners    = 200
	maxOwnListeners = 10
	// lookEvery is how often a listener is looked at for what no notice tells:
	// the end of a sign-in, of a key, of a proxy's word.
	lookEvery = time.Minute
)

// A Listening is what somebody wants to hear.
type Listening struct {
	// Who tells who asks. It is called again whenever the answer may have
	// changed; an error ends the listening.
	Who             func(context.Context) (authn.Person, error)
	Domain, Channel string // by id or by route
	Subtopic        string // a filter with the wildcards of topics; "" is all
	Publisher       string // a message's Publisher; "" is anybody
}

// Heard is a message as a listener is given it.
type Heard struct {
	messaging.Message // of its Payload the first MaxHeard bytes
	Size              int
	Text              bool // the whole payload is UTF-8
	Dropped           int  // how many before this one the listener was too slow for
}

// Listen lets a person who may do authz.Listen hear a channel until the Listener
// is closed or its ground goes away.
//
// Errors are those of Who, authz and messaging.ParseFilter, ErrLimited when too
// many listen already, and messaging.ErrUnavailable.
func (p *Persons) Listen(ctx context.Context, what Listening) (*Listener, error) {
	who, err := what.Who(ctx)
	if err != nil {
		return nil, err
	}
	grant, err := p.allow(ctx, who, authz.Listen, what.Domain, what.Channel)
	if err != nil {
		return nil, err
	}
	topic := messaging.Topic{Domain: string(grant.Domain), Channel: string(grant.Channel), Subtopic: what.Subtopic}
	if topic.Subtopic == "" {
		topic.Subtopic = "#"
	}
	filter, err := messaging.ParseFilter(topic.String())
	if err != nil {
		return nil, err
	}
	l := &Listener{persons: p, what: what, user: who.User.ID, domain: grant.Domain, channel: grant.Channel, wake: make(chan struct{}, 1)}
	// A change since the decision has missed this listener, so the first Next
	// looks again.
	l.doubt.Store(true)
	if err := p.listeners.add(l); err != nil {
		return nil, err
	}
	if l.heard, err = p.Bus.Subscribe(filter, l.deliver); err != nil {
		p.listeners.remove(l)
		return nil, err
	}
	return l, nil
}

// Changed takes the notice of changes. Whom they may concern is given nothing
// more before it is certain that they still may listen. What authn and authz
// remember of the changes is forgotten before this is called.
func (p *Persons) Changed(changes []registry.Change) {
	for _, l := range p.listeners.all() {
		for _, c := range changes {
			if l.concerns(c) {
				l.look()
				break
			}
		}
	}
}

// ChangedAll is Changed for the moment after notices may have been lost.
func (p *Persons) ChangedAll() {
	for _, l := range p.listeners.all() {
		l.look()
	}
}

// Close ends all listening, at once and for good.
func (p *Persons) Close() {
	for _, l := range p.listeners.close() {
		l.look()
	}
}

// Measure registers what is known of listeners.
func (p *Persons) Measure(reg prometheus.Registerer) {
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "postern_listeners", Help: "People who listen to a channel on this node.",
		}, func() float64 { return float64(len(p.listeners.all())) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "postern_listener_dropped_total", Help: "Messages that listening people were too slow for.",
		}, func() float64 { return float64(p.listeners.dropped.Load()) }),
	)
}

// A Listener is a person who hears a channel. Next is for one goroutine, the
// rest is safe for concurrent use.
type Listener struct {
	persons *Persons
	what    Listening
	user    registry.UserID
	domain  registry.DomainID
	channel registry.ChannelID
	heard   *messaging.Subscription

	doubt atomic.Bool   // something changed since it was last certain
	wake  chan struct{} // there is something to do for Next

	mu      sync.Mutex
	waiting []Heard
	bytes   int // of their payloads
	dropped int // before the first of them
	timer   *time.Timer
	closed  bool
}

// Next waits for a message. It returns the error of ctx when that ends first;
// any other error is the end: ReasonOf tells why. Nothing that was said after a
// change is returned before it is certain that the person may still hear it.
func (l *Listener) Next(ctx context.Context) (Heard, error) {
	for {
		h, there := l.take()
		if l.doubt.Swap(false) { // after the take: what came meanwhile waits
			if err := l.check(ctx); err != nil {
				return Heard{}, err
			}
		}
		if there {
			return h, nil
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return Heard{}, ctx.Err()
		}
	}
}

// Close ends the listening. It may be called again.
func (l *Listener) Close() {
	l.mu.Lock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	l.mu.Unlock()
	_ = l.heard.Close() // never fails
	l.persons.listeners.remove(l)
}

func (l *Listener) concerns(c registry.Change) bool {
	switch {
	case c.User != "":
		return c.User == l.user
	case c.Device != "":
		return false
	case c.Channel != "":
		return c.Channel == l.channel
	}
	return c.Domain == l.domain
}

func (l *Listener) look() {
	l.doubt.Store(true)
	l.rouse()
}

func (l *Listener) rouse() {
	select {
	case l.wake <- struct{}{}:
	default: // it is roused already
	}
}

// check decides anew. When that cannot be done the listening ends: on doubt no.
func (l *Listener) check(ctx context.Context) error {
	if l.persons.listeners.isClosed() {
		return messaging.ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recheckTimeout)
	defer cancel()
	who, err := l.what.Who(ctx)
	if err != nil {
		return err
	}
	if who.User.ID != l.user {
		return &authn.RefusedError{Reason: registry.ReasonConflictingEvidence, User: l.user}
	}
	if _, err := l.persons.allow(ctx, who, authz.Listen, string(l.domain), string(l.channel)); err != nil {
		return err
	}
	next := lookEvery
	if !who.Ends.IsZero() {
		next = max(min(next, who.Ends.Sub(l.persons.Now())), time.Millisecond)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
	if !l.closed {
		l.timer = time.AfterFunc(next, l.look)
	}
	return nil
}

// deliver keeps a message until the reader comes for it; what does not fit
// pushes out the oldest.
func (l *Listener) deliver(m *messaging.Message) {
	if l.what.Publisher != "" && m.Publisher != l.what.Publisher {
		return
	}
	h := Heard{Message: *m, Size: len(m.Payload), Text: utf8.Valid(m.Payload)}
	if len(h.Payload) > MaxHeard {
		cut := h.Payload[:MaxHeard]
		for i := 1; h.Text && i <= utf8.UTFMax; i++ { // not within a character
			if utf8.RuneStart(m.Payload[MaxHeard+1-i]) {
				cut = m.Payload[:MaxHeard+1-i]
				break
			}
		}
		h.Payload = bytes.Clone(cut) // lets go of the rest
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, h)
	l.bytes += len(h.Payload)
	for len(l.waiting) > maxWaiting || l.bytes > maxWaitingBytes {
		l.shift()
		l.dropped++
		l.persons.listeners.dropped.Add(1)
	}
	l.rouse()
}

func (l *Listener) take() (Heard, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return Heard{}, false
	}
	h := l.shift()
	h.Dropped, l.dropped = l.dropped, 0
	return h, true
}

func (l *Listener) shift() Heard {
	h := l.waiting[0]
	l.waiting[0] = Heard{} // lets go of the payload
	l.waiting = l.waiting[1:]
	l.bytes -= len(h.Payload)
	return h
}

// listeners are those of this node.
type listeners struct {
	dropped atomic.Uint64

	mu     sync.Mutex
	set    map[*Listener]struct{}
	closed bool
}

func (t *listeners) add(l *Listener) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return messaging.ErrUnavailable
	}
	own := 0
	for other := range t.set {
		if other.user == l.user {
			own++
		}
	}
	if len(t.set) >= maxListeners || own >= maxOwnListeners {
		return ErrLimited
	}
	if t.set == nil {
		t.set = make(map[*Listener]struct{})
	}
	t.set[l] = struct{}{}
	return nil
}

func (t *listeners) remove(l *Listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.set, l)
}

func (t *listeners) all() []*Listener {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*Listener, 0, len(t.set))
	for l := range t.set {
		all = append(all, l)
	}
	return all
}

func (t *listeners) close() []*Listener {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	return t.all()
}

func (t *listeners) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}
