package adaptertest

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// A World is a house with a few inhabitants.
type World struct {
	Registry *registry.Registry
	Gateway  *adapters.Gateway
	Bus      *messaging.Bus
	Clock    *Clock
	PKI      *PKI
	Log      *slog.Logger
	X509     bool // AUTH=x509

	Domain  registry.Domain
	Channel registry.Channel // stored
	Live    registry.Channel // not stored
	Foreign registry.Channel // of another domain
	Nats    *nats.Conn       // may do everything

	other   registry.Domain
	outside chan *nats.Msg // all of m.> and in.>
	server  *server.Server
}

// A Clock is moved by hand, from the present.
type Clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

// Advance moves the clock forward.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// finder lets authn read the store.
type finder struct{ *store.Store }

func (f finder) SecretOwners(ctx context.Context, hash registry.SecretHash) ([]registry.DeviceID, error) {
	secrets, err := f.DevicesBySecret(ctx, hash)
	if err != nil {
		return nil, err
	}
	var owners []registry.DeviceID
	for _, s := range secrets {
		owners = append(owners, s.Device)
	}
	return owners, nil
}

// NewWorld builds a world that ends with the test; x509 asks for AUTH=x509.
func NewWorld(t testing.TB, x509 bool) *World {
	t.Helper()
	return newWorld(t, x509, (*World).openBus)
}

// NewLaptop builds a world with the embedded NATS server, as a first start has
// it, for measuring. Nobody looks on, so Nats is nil and Run has no use for it.
func NewLaptop(t testing.TB) *World {
	t.Helper()
	return newWorld(t, false, func(w *World, t testing.TB, ctx context.Context) {
		t.Helper()
		var err error
		w.Bus, err = messaging.Open(ctx, messaging.Config{Embedded: messaging.EmbeddedConfig{DataDir: t.TempDir()}, Log: w.Log})
		must(t, err)
	})
}

func newWorld(t testing.TB, x509 bool, openBus func(*World, testing.TB, context.Context)) *World {
	t.Helper()
	clock := &Clock{}
	w := &World{Clock: clock, PKI: newPKI(t, clock.Now), X509: x509, outside: make(chan *nats.Msg, 1<<16)}
	w.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	openBus(w, t, ctx)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.Bus.Close(ctx); err != nil {
			t.Errorf("close the bus: %v", err)
		}
	})

	st, err := store.Open(ctx, "sqlite::memory:")
	must(t, err)
	t.Cleanup(func() { _ = st.Close() }) // in memory: nothing to lose
	hasher, err := registry.NewSecretHasher(make([]byte, 32))
	must(t, err)
	w.Registry = &registry.Registry{Store: st, Hasher: hasher, Now: w.Clock.Now, NewID: uuid.NewString}
	w.Gateway = &adapters.Gateway{
		Devices:  authn.NewDevices(authn.Config{Find: finder{st}, Hasher: hasher, Voucher: w.PKI.trust, RequireCertificate: x509, Now: w.Clock.Now}),
		Channels: authz.NewChannels(st, 0),
		Bus:      w.Bus,
		Log:      slog.New(slog.DiscardHandler), // refusals are what we are here for
		Now:      w.Clock.Now,
	}
	w.Registry.OnChange = w.Gateway.Changed

	w.Domain = w.domain(t, "home")
	w.other = w.domain(t, "elsewhere")
	w.Channel = w.NewChannel(t, w.Domain, registry.Channel{Name: "stored", Route: "stored", Store: true})
	w.Live = w.NewChannel(t, w.Domain, registry.Channel{Name: "live", Route: "live"})
	w.Foreign = w.NewChannel(t, w.other, registry.Channel{Name: "foreign", Store: true})
	return w
}

// openBus runs a NATS server on which the test, too, may do everything.
func (w *World) openBus(t testing.TB, ctx context.Context) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	w.server = s
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	w.Bus, err = messaging.Open(ctx, messaging.Config{URL: s.ClientURL(), Log: w.Log})
	must(t, err)
	w.Nats, err = nats.Connect(s.ClientURL())
	must(t, err)
	t.Cleanup(w.Nats.Close)
	for _, subject := range []string{"m.>", "in.>"} {
		_, err := w.Nats.ChanSubscribe(subject, w.outside)
		must(t, err)
	}
	must(t, w.Nats.Flush())
}

// StopNATS takes the bus away for good.
func (w *World) StopNATS() {
	w.server.Shutdown()
	w.server.WaitForShutdown()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *World) domain(t testing.TB, route string) registry.Domain {
	t.Helper()
	d, err := w.Registry.CreateDomain(t.Context(), "", registry.Domain{Name: route, Route: route})
	must(t, err)
	return d
}

// NewChannel makes a channel.
func (w *World) NewChannel(t testing.TB, d registry.Domain, c registry.Channel) registry.Channel {
	t.Helper()
	made, err := w.Registry.CreateChannels(t.Context(), "", d.ID, []registry.Channel{c})
	must(t, err)
	return made[0]
}

// A Device is a device and its secret in plain text.
type Device struct {
	registry.Device
	Secret string
}

// NewDevice makes a device with rights on Channel and Live; 0 connects it to
// neither.
func (w *World) NewDevice(t testing.TB, rights registry.Rights) Device {
	t.Helper()
	made, err := w.Registry.CreateDevices(t.Context(), "", w.Domain.ID, []registry.NewDevice{{Device: registry.Device{Name: "device"}}})
	must(t, err)
	d := Device{made[0].Device, made[0].Secret.Reveal()}
	if rights != 0 {
		must(t, w.Registry.Connect(t.Context(), w.Domain.ID, []registry.DeviceID{d.ID}, []registry.ChannelID{w.Channel.ID, w.Live.ID}, rights))
	}
	return d
}

// Rotate gives d a new secret and returns d with it.
func (w *World) Rotate(t testing.TB, d Device, overlap time.Duration) Device {
	t.Helper()
	made, err := w.Registry.RotateSecret(t.Context(), "", w.Domain.ID, d.ID, registry.Secret{}, overlap)
	must(t, err)
	d.Secret = made.Secret.Reveal()
	return d
}

// Disable disables d.
func (w *World) Disable(t testing.TB, d Device) {
	t.Helper()
	_, err := w.Registry.UpdateDevice(t.Context(), "", w.Domain.ID, d.ID, func(d *registry.Device) error {
		d.Status = registry.Disabled
		return nil
	})
	must(t, err)
}

// Topic returns the topic of a channel by ids; subtopic may be "".
func Topic(c registry.Channel, subtopic string) string {
	return messaging.Topic{Domain: string(c.Domain), Channel: string(c.ID), Subtopic: subtopic}.String()
}

// Serve starts door on a plain or TLS listener and returns how to reach it.
func (w *World) Serve(t testing.TB, door Door, secure bool) Wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	at := Wire{Addr: l.Addr().String()}
	if secure {
		at.TLS = w.PKI.client()
		l = tls.NewListener(l, w.PKI.Server(w.X509))
	}
	door.Serve(t, w, l)
	return at
}
