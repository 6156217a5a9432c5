// Command mqttpeer runs one MQTT broker for the measurements in bench, in a
// process of its own so that its memory and its processor time are its own:
// Postern as cmd/postern builds it, mochi-mqtt with nothing around it, or
// nats-server's MQTT. It prints how to reach it as one line of JSON and ends
// with its standard input.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	_ "net/http/pprof" // for -bench profiles, on loopback
	"os"
	"time"

	"github.com/google/uuid"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/mqtt"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// A Peer says how to reach a broker.
type Peer struct {
	Addr           string
	Pprof          string
	User, Password string
	Live, Stored   string // topics; where a broker has but one kind, both are alike
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: mqttpeer postern|mochi|nats")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "mqttpeer:", err)
		os.Exit(1)
	}
}

func run(name string) error {
	dir, err := os.MkdirTemp("", "mqttpeer")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	start := map[string]func(string) (Peer, error){"postern": postern, "mochi": bare, "nats": natsServer}[name]
	if start == nil {
		return fmt.Errorf("no broker is called %q", name)
	}
	peer, err := start(dir)
	if err != nil {
		return err
	}
	debug, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(debug, nil) }() // ends with the process
	peer.Pprof = debug.Addr().String()
	if err := json.NewEncoder(os.Stdout).Encode(peer); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// bare is mochi-mqtt as its own documentation starts it.
func bare(string) (Peer, error) {
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(auth.AllowHook), nil); err != nil {
		return Peer{}, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Peer{}, err
	}
	if err := s.AddListener(listeners.NewNet("tcp", l)); err != nil {
		return Peer{}, err
	}
	return Peer{Addr: l.Addr().String(), Live: "m/bench/c/live", Stored: "m/bench/c/live"}, s.Serve()
}

func natsServer(dir string) (Peer, error) {
	o := &server.Options{
		ServerName: "bench", Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
		MQTT: server.MQTTOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT},
	}
	s, err := server.NewServer(o)
	if err != nil {
		return Peer{}, err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return Peer{}, fmt.Errorf("nats-server did not start")
	}
	// The option is set to the port that was picked.
	return Peer{Addr: fmt.Sprintf("127.0.0.1:%d", o.MQTT.Port), Live: "m/bench/c/live", Stored: "m/bench/c/live"}, nil
}

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

// postern builds the house as cmd/postern does, with a domain, two channels and
// a device.
func postern(dir string) (Peer, error) {
	ctx := context.Background()
	bus, err := messaging.Open(ctx, messaging.Config{Embedded: messaging.EmbeddedConfig{DataDir: dir}})
	if err != nil {
		return Peer{}, err
	}
	st, err := store.Open(ctx, "sqlite::memory:")
	if err != nil {
		return Peer{}, err
	}
	hasher, err := registry.NewSecretHasher(make([]byte, 32))
	if err != nil {
		return Peer{}, err
	}
	reg := &registry.Registry{Store: st, Hasher: hasher, Now: time.Now, NewID: uuid.NewString}
	metrics := prometheus.NewRegistry()
	gateway := &adapters.Gateway{
		Devices:  authn.NewDevices(authn.Config{Find: finder{st}, Hasher: hasher, Now: time.Now}),
		Channels: authz.NewChannels(st, 0),
		Bus:      bus, Log: slog.New(slog.DiscardHandler), Now: time.Now, MaxSessions: 1 << 20,
	}
	gateway.Metrics = adapters.NewMetrics(metrics, gateway)
	reg.OnChange = gateway.Changed
	peer, err := inhabit(ctx, reg)
	if err != nil {
		return Peer{}, err
	}
	door := &mqtt.Server{Gateway: gateway, Bus: bus, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	mqtt.NewMetrics(metrics, door)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Peer{}, err
	}
	peer.Addr = l.Addr().String()
	go func() { _ = door.Serve(l) }() // ends with the process
	return peer, nil
}

func inhabit(ctx context.Context, reg *registry.Registry) (Peer, error) {
	d, err := reg.CreateDomain(ctx, "", registry.Domain{Name: "bench", Route: "bench"})
	if err != nil {
		return Peer{}, err
	}
	channels, err := reg.CreateChannels(ctx, "", d.ID, []registry.Channel{{Name: "live"}, {Name: "stored", Store: true}})
	if err != nil {
		return Peer{}, err
	}
	devices, err := reg.CreateDevices(ctx, "", d.ID, []registry.NewDevice{{Device: registry.Device{Name: "device"}}})
	if err != nil {
		return Peer{}, err
	}
	rights := registry.Publish | registry.Subscribe
	if err := reg.Connect(ctx, d.ID, []registry.DeviceID{devices[0].ID}, []registry.ChannelID{channels[0].ID, channels[1].ID}, rights); err != nil {
		return Peer{}, err
	}
	topic := func(c registry.Channel) string {
		return messaging.Topic{Domain: string(d.ID), Channel: string(c.ID), Subtopic: "bench"}.String()
	}
	return Peer{
		User: string(devices[0].ID), Password: devices[0].Secret.Reveal(), Live: topic(channels[0]), Stored: topic(channels[1]),
	}, nil
}
