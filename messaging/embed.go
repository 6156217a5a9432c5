package messaging

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// An EmbeddedConfig describes the NATS server in this process.
type EmbeddedConfig struct {
	DataDir string // the stream and the services' passwords live below it
	// Addr is where services connect, "127.0.0.1:4222"; port 0 picks a free
	// one; "" opens no listener. It speaks plain TCP, so anything but
	// loopback belongs on a trusted network.
	Addr string
	// Sync is how often the stream is forced to the disk; default 1 s. A
	// message outlives the process at any setting, and loss of power when it
	// is older than this.
	Sync time.Duration
	// SyncAlways forces each message to the disk before it is acknowledged.
	SyncAlways bool
}

// headerRoom is what headers may take besides the payload.
const headerRoom = 64 << 10

// An embedded is the server, and what this process signs in with.
type embedded struct {
	server   *server.Server
	password string
}

func startEmbedded(config Config) (*embedded, error) {
	dir := config.Embedded.DataDir
	if dir == "" {
		return nil, fmt.Errorf("start NATS: no data directory")
	}
	secrets, err := readSecrets(dir)
	if err != nil {
		return nil, err
	}
	store := filepath.Join(dir, "nats")
	if err := os.MkdirAll(store, 0o700); err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	e := &embedded{password: rand.Text()}
	options := &server.Options{
		ServerName:      "postern",
		DontListen:      true,
		NoSigs:          true,
		NoSystemAccount: false,
		JetStream:       true,
		StoreDir:        store,
		SyncInterval:    config.Embedded.Sync,
		SyncAlways:      config.Embedded.SyncAlways,
		MaxPayload:      int32(config.MaxPayload + headerRoom),
		// What one slow connection, a service's or ours, may leave waiting.
		// At three quarters of it the server slows down whoever publishes
		// live messages to it, at the whole it cuts the connection; one that
		// reads nothing at all is cut after ten seconds. So a burst is
		// outlived, and nobody's slowness grows without bound here.
		MaxPending:             256 << 20,
		DisableJetStreamBanner: true,
		Users:                  users(e.password, secrets),
	}
	if options.SyncInterval <= 0 {
		options.SyncInterval = time.Second
	}
	if addr := config.Embedded.Addr; addr != "" {
		if options.Host, options.Port, err = hostPort(addr); err != nil {
			return nil, fmt.Errorf("start NATS on %q: %w", addr, err)
		}
		// The server would try for a minute what a taken port never grants.
		probe, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("start NATS on %q: %w", addr, err)
		}
		probe.Close()
		options.DontListen = false
	}
	e.server, err = server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	e.server.SetLoggerV2(serverLog{config.Log}, false, false, false)
	e.server.Start()
	// A stream of many gigabytes takes its time to recover; the caller's
	// context bounds what comes after.
	if !e.server.ReadyForConnections(time.Minute) {
		e.stop()
		return nil, fmt.Errorf("start NATS: %w: the server did not come up; is %q taken?", ErrUnavailable, config.Embedded.Addr)
	}
	return e, nil
}

func hostPort(addr string) (string, int, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, err
	}
	if port == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(port), nil
}

// users are the three who may sign in. Postern itself does so within the
// process alone, with a password that nobody else ever learns.
func users(own string, secrets serviceSecrets) []*server.User {
	inProcess := map[string]struct{}{jwt.ConnectionTypeInProcess: {}}
	return []*server.User{
		{Username: ownUser, Password: own, AllowedConnectionTypes: inProcess},
		{Username: listenUser, Password: secrets.Listen, Permissions: &server.Permissions{
			Subscribe: &server.SubjectPermission{Allow: []string{"m.>"}},
			Publish:   &server.SubjectPermission{Deny: []string{">"}},
		}},
		{Username: commandUser, Password: secrets.Command, Permissions: &server.Permissions{
			// The inbox is for the stream's acknowledgement of a command.
			Subscribe: &server.SubjectPermission{Allow: []string{"m.>", "_INBOX.>"}},
			Publish:   &server.SubjectPermission{Allow: []string{storedPrefix + "m.>"}},
		}},
	}
}

const ownUser = "postern"

// options are how this process reaches the server: by a pipe.
func (e *embedded) options() []nats.Option {
	return []nats.Option{nats.InProcessServer(e.server), nats.UserInfo(ownUser, e.password)}
}

func (e *embedded) stop() {
	e.server.Shutdown()
	e.server.WaitForShutdown()
}

// Addr returns where the embedded server listens for services, or nil.
func (b *Bus) Addr() net.Addr {
	if b.embedded == nil {
		return nil
	}
	return b.embedded.server.Addr()
}

// A serverLog hands the server's warnings and errors to our log. Its notices
// tell of starting and stopping, which we tell ourselves.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(string, ...any) {}
func (l serverLog) Debugf(string, ...any)  {}
func (l serverLog) Tracef(string, ...any)  {}
func (l serverLog) Warnf(format string, args ...any) {
	if strings.HasPrefix(format, "Plaintext passwords detected") {
		return // they are random, and kept in a file of mode 0600
	}
	l.print(slog.LevelWarn, format, args)
}
func (l serverLog) Errorf(format string, args ...any) {
	l.print(slog.LevelError, format, args)
}
func (l serverLog) Fatalf(format string, args ...any) {
	l.print(slog.LevelError, format, args)
}
func (l serverLog) print(level slog.Level, format string, args []any) {
	l.log.Log(context.Background(), level, "nats-server: "+fmt.Sprintf(format, args...))
}
