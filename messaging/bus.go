package messaging

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Config says which NATS a Bus uses and how. The zero value with a DataDir
// runs an embedded server with no listener.
type Config struct {
	// URL of an outside NATS (nats:// or tls://; several divided by commas).
	// Empty means the embedded server.
	URL string
	// CredsFile holds the user JWT and nkey for URL; "" when URL carries a
	// user and password or none is asked for.
	CredsFile string
	// TLS for URL, when its own settings are needed.
	TLS *tls.Config

	Embedded EmbeddedConfig
	Stream   StreamConfig

	// MaxPayload is the largest payload in bytes; default 1 MiB. The embedded
	// server is set to take it with its headers; an outside one must be.
	MaxPayload int
	// AckTimeout bounds the wait for the bus; default 5 s.
	AckTimeout time.Duration
	// Connections to NATS, default 2. Lanes and channels are spread over them.
	Connections int
	// InFlight is how many publishes may wait for their answer on one
	// connection, default 4096; Publish waits for room beyond it. The stream
	// itself queues 10,000 before it refuses, so two connections stay below.
	InFlight int

	// OnSlow is told that messages for a filter may be lost because this
	// process did not keep up: the server has cut a connection, for the
	// times-th time, and every subscription on it misses what is said until
	// it is back. It must not block. May be nil.
	OnSlow func(f Filter, times int)
	// OnReconnect is called when the connection that carries notices was lost
	// and is back: what was noticed meanwhile is gone, so caches must be
	// emptied. May be nil.
	OnReconnect func()

	Log *slog.Logger     // default discards
	Now func() time.Time // default time.Now
}

// A StreamConfig bounds the stream of stored messages.
type StreamConfig struct {
	MaxBytes int64         // refuses new messages beyond; 0 means what the disk gives
	MaxAge   time.Duration // drops messages beyond; 0 keeps them
	Replicas int           // default 1
}

func (c Config) withDefaults() Config {
	if c.MaxPayload <= 0 {
		c.MaxPayload = 1 << 20
	}
	if c.AckTimeout <= 0 {
		c.AckTimeout = 5 * time.Second
	}
	if c.Connections <= 0 {
		c.Connections = 2
	}
	if c.InFlight <= 0 {
		c.InFlight = 4096
	}
	if c.Stream.Replicas <= 0 {
		c.Stream.Replicas = 1
	}
	if c.OnSlow == nil {
		c.OnSlow = func(Filter, int) {}
	}
	if c.OnReconnect == nil {
		c.OnReconnect = func() {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// A Bus is the way to and from NATS. Its methods are safe for concurrent use.
type Bus struct {
	config   Config
	embedded *embedded // nil with an outside NATS

	publishers []*publisher  // lanes are spread over them
	receivers  []*receiver   // channels are spread over them
	control    *nats.Conn    // notices and the stream's management
	user       *url.Userinfo // of Config.URL
	js         jetstream.JetStream

	stop    context.CancelFunc
	work    sync.WaitGroup
	rebuilt chan struct{} // asks keep to look after the stream
	closing sync.Once
}

// Open starts or reaches NATS and makes sure of the stream. It tries until ctx
// is done; the error then wraps ErrUnavailable. Whoever opens a Bus closes it.
func Open(ctx context.Context, config Config) (*Bus, error) {
	b := &Bus{config: config.withDefaults(), rebuilt: make(chan struct{}, 1), user: userOf(config.URL)}
	if b.config.URL == "" {
		e, err := startEmbedded(b.config)
		if err != nil {
			return nil, err
		}
		b.embedded = e
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	if err := b.connect(ctx); err != nil {
		b.close(context.WithoutCancel(ctx))
		return nil, err
	}
	if err := b.ensureStream(ctx); err != nil {
		b.close(context.WithoutCancel(ctx))
		return nil, err
	}
	b.work.Go(func() { b.keep(running) })
	return b, nil
}

func (b *Bus) connect(ctx context.Context) error {
	var err error
	b.control, err = b.dial(ctx, "postern control", nats.ReconnectHandler(func(*nats.Conn) {
		select {
		case b.rebuilt <- struct{}{}:
		default: // one look answers for several reconnects
		}
		b.config.OnReconnect()
	}))
	if err != nil {
		return err
	}
	if b.js, err = jetstream.New(b.control); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	for range b.config.Connections {
		p, err := b.newPublisher(ctx)
		if err != nil {
			return err
		}
		b.publishers = append(b.publishers, p)
		r, err := b.newReceiver(ctx)
		if err != nil {
			return err
		}
		b.receivers = append(b.receivers, r)
	}
	return nil
}

// dial connects once, trying until ctx is done.
func (b *Bus) dial(ctx context.Context, name string, more ...nats.Option) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name(name),
		nats.CustomInboxPrefix(inboxPrefix),
		// Nothing waits in memory for a connection to come back: whoever
		// published is told, and repeats it if it matters.
		nats.ReconnectBufSize(-1),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 500*time.Millisecond),
		nats.ReconnectOnFlusherError(),
		nats.PingInterval(20 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.SkipSubjectValidation(), // Subject makes them valid
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				b.config.Log.Warn("lost connection to NATS", "connection", name, "err", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.config.Log.Warn("NATS reported an error", "connection", name, "err", err)
		}),
	}
	url := b.config.URL
	if b.embedded != nil {
		url = ""
		options = append(options, b.embedded.options()...)
	}
	if b.config.CredsFile != "" {
		options = append(options, nats.UserCredentials(b.config.CredsFile))
	}
	if b.config.TLS != nil {
		options = append(options, nats.Secure(b.config.TLS))
	}
	options = append(options, more...)
	retry := time.NewTicker(500 * time.Millisecond)
	defer retry.Stop()
	for {
		nc, err := nats.Connect(url, options...)
		if err == nil {
			return nc, nil
		}
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrSecureConnWanted) {
			return nil, fmt.Errorf("connect to NATS: %w", err) // waiting will not mend it
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to NATS: %w: %w", ErrUnavailable, err)
		case <-retry.C:
		}
	}
}

// newLink returns a link that its owner completes and starts.
func (b *Bus) newLink(name string) *link {
	l := &link{
		name:    name,
		dial:    func(ctx context.Context) (*handshake, error) { return b.dialLink(ctx, name) },
		log:     b.config.Log,
		timeout: b.config.AckTimeout,
		slow:    func() {},
	}
	if b.embedded != nil {
		l.slows = b.embedded.server.NumSlowConsumersClients
	}
	return l
}

// keep sweeps publishes that were not answered in time, and looks after the
// stream when a connection came back.
func (b *Bus) keep(ctx context.Context) {
	sweep := time.NewTicker(max(b.config.AckTimeout/20, time.Millisecond))
	defer sweep.Stop()
	alive := time.NewTicker(20 * time.Second)
	defer alive.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			for _, p := range b.publishers {
				p.sweep(time.Now())
			}
		case <-alive.C:
			for _, p := range b.publishers {
				p.link.tick()
			}
			for _, r := range b.receivers {
				r.link.tick()
			}
		case <-b.rebuilt:
			b.work.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, 2*b.config.AckTimeout)
				defer cancel()
				if err := b.ensureStream(ctx); err != nil && ctx.Err() == nil {
					b.config.Log.Error("the stream did not come back with NATS", "err", err)
				}
			})
		}
	}
}

// Ready returns nil when every connection stands and the stream answers and
// has room; the error wraps ErrUnavailable otherwise.
func (b *Bus) Ready(ctx context.Context) error {
	for _, p := range b.publishers {
		if !p.link.connected() {
			return errNotConnected
		}
	}
	for _, r := range b.receivers {
		if !r.link.connected() {
			return errNotConnected
		}
	}
	stream, err := b.js.Stream(ctx, streamName)
	if err != nil {
		return fmt.Errorf("%w: stream %s: %w", ErrUnavailable, streamName, err)
	}
	info := stream.CachedInfo()
	if limit := info.Config.MaxBytes; limit > 0 && info.State.Bytes >= uint64(limit) {
		return fmt.Errorf("%w: stream %s is full", ErrUnavailable, streamName)
	}
	return nil
}

// Close waits until what was published is answered or ctx is done, fails what
// is left, closes the connections and stops the embedded server. No done and
// no deliver runs after it returns. It may be called again.
func (b *Bus) Close(ctx context.Context) error {
	var err error
	b.closing.Do(func() { err = b.close(ctx) })
	return err
}

func (b *Bus) close(ctx context.Context) error {
	var err error
	for _, p := range b.publishers {
		if e := p.close(ctx); e != nil {
			err = e
		}
	}
	for _, r := range b.receivers {
		r.link.close()
	}
	if b.control != nil {
		b.control.Close()
	}
	b.stop()
	b.work.Wait()
	if b.embedded != nil {
		b.embedded.stop()
	}
	return err
}

func spread(key string, n int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // a hash never fails
	return int(h.Sum32() % uint32(n))
}
