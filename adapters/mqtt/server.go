package mqtt

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	engine "github.com/mochi-mqtt/server/v2"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/messaging"
)

// A Server speaks MQTT to devices. Gateway and Bus are required; the fields must
// not change once it serves. All methods are safe for concurrent use.
type Server struct {
	Gateway *adapters.Gateway
	Bus     *messaging.Bus
	Log     *slog.Logger // default discards
	Metrics *Metrics     // nil: nothing is counted
	Now     func() time.Time
	Limits  Limits

	start     sync.Once
	limits    Limits
	now       func() time.Time
	engine    *engine.Server
	hub       hub
	sessions  sessions
	retained  retained
	ctx       context.Context // ends with Shutdown
	cancel    context.CancelFunc
	connCount atomic.Uint64

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	work      sync.WaitGroup // everything that run started
}

func (s *Server) init() {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	s.now = s.Now
	if s.now == nil {
		s.now = time.Now
	}
	s.limits = s.Limits.withDefaults()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.hub = hub{srv: s, channels: make(map[channelKey]*channel), groups: make(map[messaging.Filter]*group)}
	s.sessions = sessions{srv: s, all: make(map[sessionKey]*session), waiting: make(map[*session]struct{})}
	s.retained = retained{srv: s, channels: make(map[channelKey]map[string]*kept)}
	s.listeners = make(map[net.Listener]struct{})
	s.conns = make(map[*conn]struct{})
	var err error
	if s.engine, err = newEngine(s); err != nil {
		panic(fmt.Sprintf("mqtt: hook: %v", err)) // the hook has no error to give
	}
	s.run(s.sweep)
}

// run starts f on a goroutine that Shutdown waits for, and reports false when
// the server is closing. ctx ends with Shutdown.
func (s *Server) run(f func(ctx context.Context)) bool {
	if !s.enter() {
		return false
	}
	go func() {
		defer s.work.Done()
		f(s.ctx)
	}()
	return true
}

// enter makes Shutdown wait for work.Done.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.work.Add(1)
	}
	return !s.closing
}

// sweep looks every second for what has run out.
func (s *Server) sweep(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			now := s.now()
			s.sessions.sweep(now)
			if n%60 == 0 {
				s.retained.sweep(now)
			}
		}
	}
}

// Serve accepts connections from l, plain or TLS, until Shutdown, and then
// returns nil. It closes l. A *tls.Conn is shaken hands with on a goroutine of
// its own; its configuration must verify the certificate that it asks for.
func (s *Server) Serve(l net.Listener) error {
	s.start.Do(s.init)
	defer l.Close() // the second time it says so, which is of no interest
	if !s.listen(l) {
		return nil
	}
	var pause time.Duration
	for {
		raw, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			if !s.run(func(context.Context) { s.ServeConn(raw, authn.Credential{}) }) {
				_ = raw.Close() // going down
			}
			continue
		case s.isClosing():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept MQTT: %w", err)
		}
		// Out of file descriptors, for instance: wait for some to come back.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.Log.Warn("accept failed", "adapter", "mqtt", "err", err, "retry", pause)
		select {
		case <-s.ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func (s *Server) listen(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// connections returns how many are open.
func (s *Server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// ServeConn serves one connection and returns when it has ended and is closed.
// shown is what was shown before MQTT began; the certificate of a *tls.Conn is
// added to it.
func (s *Server) ServeConn(raw net.Conn, shown authn.Credential) {
	s.start.Do(s.init)
	c := s.newConn(raw, shown)
	if !s.track(c) {
		_ = raw.Close() // refused: too many, or going down
		return
	}
	defer s.untrack(c)
	defer c.close()
	if err := c.handshake(); err != nil {
		s.Log.Info("TLS handshake failed", "adapter", "mqtt", "remote", c.credential.Remote, "err", err)
		return
	}
	s.establish(c)
	if c.session != nil {
		s.sessions.detach(c)
	}
}

func (s *Server) track(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || s.limits.Connections > 0 && len(s.conns) >= s.limits.Connections {
		return false
	}
	c.engineID = strconv.FormatUint(s.connCount.Add(1), 36)
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) untrack(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// handshake completes TLS, if it is that, within the time a CONNECT may take.
func (c *conn) handshake() error {
	t, ok := c.raw.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.srv.ctx, c.srv.limits.ConnectTime)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	c.credential.Chain = t.ConnectionState().PeerCertificates
	return nil
}

// panicked deals with a panic that was caught. The packet itself may hold a
// secret, so its hash is logged: enough to tell one cause from another.
func (s *Server) panicked(c *conn, v any) {
	s.Metrics.panicked()
	sum := sha256.Sum256(c.Packet())
	s.Log.Error("connection ended by a panic", "adapter", "mqtt", "remote", c.credential.Remote,
		"panic", fmt.Sprint(v), "packet_sha256", hex.EncodeToString(sum[:]), "stack", string(debug.Stack()))
}

// Shutdown stops accepting, tells every client that the server is going down
// (0x8B), publishes the wills that waited, and returns when all is done or ctx
// is. Then it closes what is left and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.start.Do(s.init)
	s.mu.Lock()
	s.closing = true
	for l := range s.listeners {
		_ = l.Close() // Serve does too; once is enough
	}
	for c := range s.conns {
		c.end(codeShuttingDown)
	}
	s.mu.Unlock()
	s.cancel()

	done := make(chan struct{})
	go func() { // ends with the connections, which are closed below at the latest
		s.work.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
		s.closeConns()
		<-done
	}
	s.sessions.closeAll()
	return err
}

func (s *Server) closeConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.raw.Close() // there is nobody left to tell
	}
}
