package adapters

import (
	"context"
	"crypto/x509"
	"net/netip"
	"sync"
	"time"

	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

const (
	// maxRoutes bounds the topics that one session remembers: devices repeat
	// themselves, and who does not gains nothing from a longer memory.
	maxRoutes = 64
	// decideTimeout bounds the look at the store for a topic not yet decided.
	decideTimeout = 5 * time.Second
)

// A Session is a device that was let in. It is safe for concurrent use; the
// order of Publish calls is the order on the bus.
type Session struct {
	gateway *Gateway
	id      string
	device  *registry.Device
	secret  registry.SecretID
	via     string
	remote  netip.Addr
	chain   []*x509.Certificate
	named   registry.CertificateID // of the first of chain; "" without one
	vouched registry.AuthorityID   // the imported authority of the certificate; "" for any other
	opened  time.Time
	lane    *messaging.Lane
	counted *doorMetrics
	traffic *domainTraffic

	mu       sync.Mutex
	routes   map[string]route
	channels []registry.ChannelID // that it has subscribed in
	expiry   *time.Timer
	onDrop   func(error)
	onChange func()
	dropped  error
	closed   bool
	told     time.Time // when a refusal was last logged
	untold   int       // refusals since
}

// A route is where a topic leads, and the decision that it may be used.
type route struct {
	topic messaging.Topic // by ids
	grant authz.Grant
}

// ID returns the id of the session, a UUID.
func (s *Session) ID() string { return s.id }

// DeviceID returns the device.
func (s *Session) DeviceID() registry.DeviceID { return s.device.ID }

// DomainID returns the domain that the device lives in.
func (s *Session) DomainID() registry.DomainID { return s.device.Domain }

// Publish decides whether the device may publish to topic, stamps m with who,
// how and when, and puts it on the bus. m is the caller's again when Publish
// returns.
//
// done is called exactly once: before Publish returns, with the error, when the
// message is refused, of which nothing has reached the bus; otherwise from a
// goroutine of the bus, in the order of the publishes, once the message is in
// the stream (seq is its number) or, on a live channel, on the bus (seq is 0).
// done must not block.
func (s *Session) Publish(topic string, m *messaging.Message, done func(seq uint64, err error)) {
	to, err := s.route(context.Background(), topic)
	if err != nil {
		s.refused("publish", topic, err)
		done(0, err)
		return
	}
	m.Topic = to.topic
	m.Publisher = string(s.device.ID)
	m.Protocol = s.via
	m.Session = s.id
	m.Created = s.gateway.Now()
	s.lane.Publish(m, to.grant.Store, s.counting(m.Created, to.grant.Store, done))
}

// PublishWait is Publish for a caller that waits for the answer, at most until
// ctx ends. An ended ctx says nothing about whether the message is stored.
func (s *Session) PublishWait(ctx context.Context, topic string, m *messaging.Message) (seq uint64, err error) {
	return published(ctx, func(done func(uint64, error)) { s.Publish(topic, m, done) })
}

// route returns where topic leads, from memory while nothing has changed.
func (s *Session) route(ctx context.Context, topic string) (route, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped != nil {
		return route{}, s.dropped
	}
	if r, ok := s.routes[topic]; ok && r.grant.Epoch == s.gateway.Channels.Epoch() {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(ctx, decideTimeout)
	defer cancel()
	r, err := s.decide(ctx, topic)
	if err != nil {
		return route{}, err
	}
	if s.routes == nil {
		s.routes = make(map[string]route)
	}
	if len(s.routes) >= maxRoutes {
		clear(s.routes)
	}
	s.routes[topic] = r
	return r, nil
}

func (s *Session) decide(ctx context.Context, topic string) (route, error) {
	t, err := messaging.ParseTopic(topic)
	if err != nil {
		return route{}, err
	}
	grant, err := s.gateway.Channels.Allow(ctx, s.device, t.Domain, t.Channel, registry.Publish)
	if err != nil {
		return route{}, err
	}
	t.Domain, t.Channel = string(grant.Domain), string(grant.Channel)
	return route{t, grant}, nil
}

// CanPublish decides whether the device may publish to topic, for wills and for
// doors that must answer before a message comes.
func (s *Session) CanPublish(ctx context.Context, topic string) error {
	_, err := s.route(ctx, topic)
	s.refused("publish", topic, err)
	return err
}

// CanSubscribe decides whether the device may subscribe with filter, and
// returns the filter by ids. While the session is open, its onChange is called
// whenever the answer may have changed.
func (s *Session) CanSubscribe(ctx context.Context, filter string) (messaging.Filter, error) {
	f, err := messaging.ParseFilter(filter)
	if err != nil {
		s.refused("subscribe", filter, err)
		return messaging.Filter{}, err
	}
	grant, err := s.gateway.Channels.Allow(ctx, s.device, f.Domain, f.Channel, registry.Subscribe)
	if err != nil {
		s.refused("subscribe", filter, err)
		return messaging.Filter{}, err
	}
	s.gateway.sessions.subscribe(s, grant.Channel)
	// A change between the decision and the line above has missed this session.
	if s.gateway.Channels.Epoch() != grant.Epoch {
		if grant, err = s.gateway.Channels.Allow(ctx, s.device, f.Domain, f.Channel, registry.Subscribe); err != nil {
			s.refused("subscribe", filter, err)
			return messaging.Filter{}, err
		}
	}
	f.Domain, f.Channel = string(grant.Domain), string(grant.Channel)
	return f, nil
}

// refusalEvery is how often one session's refusals come to the log: a device
// that keeps trying must not fill the disk. The metrics count all of them.
const refusalEvery = 10 * time.Second

// refused counts a refusal and, now and then, logs it. What the device named is
// not in the line: it is the device's own text, and explain tells it.
func (s *Session) refused(action, topic string, err error) {
	if err == nil {
		return
	}
	s.counted.refused(err)
	s.gateway.note(s.device.Domain, s.traffic, Refusal{Device: s.device.ID, Via: s.via, Action: action, Remote: s.remote.String(), Topic: topic}, err)
	now := s.gateway.Now()
	s.mu.Lock()
	if !s.told.IsZero() && now.Sub(s.told) < refusalEvery {
		s.untold++
		s.mu.Unlock()
		return
	}
	untold := s.untold
	s.told, s.untold = now, 0
	s.mu.Unlock()
	s.gateway.Log.Info(action+" refused", "adapter", s.via, "device", s.device.ID, "session", s.id, "reason", ReasonOf(err), "unlogged", untold)
}

// Watch says what to do when the session is revoked (onDrop, at most once) and
// when its rights may have changed (onChange: check every subscription again).
// Both are called from the goroutine that heard of the change and must not
// block; Close may be called from them. A session that was revoked before Watch
// is dropped at once.
func (s *Session) Watch(onDrop func(error), onChange func()) {
	s.mu.Lock()
	s.onDrop, s.onChange = onDrop, onChange
	dropped := s.dropped
	s.mu.Unlock()
	if dropped != nil && onDrop != nil {
		onDrop(dropped)
	}
}

// Close ends the session for the gateway. It may be called more than once.
func (s *Session) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	if s.expiry != nil {
		s.expiry.Stop()
	}
	s.mu.Unlock()
	s.traffic.roll(s.gateway.Now())
	s.gateway.sessions.remove(s)
}

// drop ends the session because of err.
func (s *Session) drop(err error) {
	s.mu.Lock()
	if s.dropped != nil || s.closed {
		s.mu.Unlock()
		return
	}
	s.dropped = err
	onDrop := s.onDrop
	s.mu.Unlock()
	s.gateway.Log.Info("session revoked", "adapter", s.via, "device", s.device.ID, "session", s.id, "reason", ReasonOf(err))
	s.counted.revoked(err)
	s.traffic.dropped(s.gateway.Now())
	if onDrop != nil {
		onDrop(err)
	}
}

func (s *Session) changed() {
	s.mu.Lock()
	onChange := s.onChange
	s.mu.Unlock()
	if onChange != nil {
		onChange()
	}
}

// recheck ends the session unless the device, and the secret and certificate it
// was opened with, are still good. When the store does not answer, the session ends too: a
// change is known to have happened, and on doubt we refuse.
func (s *Session) recheck(ctx context.Context) {
	if err := s.check(ctx); err != nil {
		s.drop(err)
	}
}

// recheckUnlessAway is recheck for when no change is known: an answer that does
// not come ends nothing.
func (s *Session) recheckUnlessAway(ctx context.Context) {
	if err := s.check(ctx); err != nil && KindOf(err) == Revoked {
		s.drop(err)
	}
}

func (s *Session) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recheckTimeout)
	defer cancel()
	expires, err := s.gateway.Devices.Recheck(ctx, s.device.ID, s.secret, s.chain)
	switch k := KindOf(err); {
	case err == nil:
		s.expireWith(expires)
		return nil
	case k == Unauthenticated:
		return &RevokedError{Reason: ReasonOf(err)}
	}
	return err
}

// expireWith arranges a look at the session when what it was
// opened with ends.
func (s *Session) expireWith(expires time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expiry != nil {
		s.expiry.Stop()
		s.expiry = nil
	}
	if expires.IsZero() || s.closed {
		return
	}
	s.expiry = time.AfterFunc(expires.Sub(s.gateway.Now()), func() { s.recheck(context.Background()) })
}
