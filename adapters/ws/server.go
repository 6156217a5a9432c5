package ws

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/httpd"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

// Prefix is the beginning of the paths that Server serves.
const Prefix = "/ws/"

const via = "ws"

// A Server is the WebSocket door: an http.Handler for the paths below Prefix,
// to be mounted before anything that cleans paths. Gateway and Log are
// required.
type Server struct {
	Gateway *adapters.Gateway
	Log     *slog.Logger

	MaxPayload   int           // bytes of a message; default 1 MiB
	PingInterval time.Duration // default 30 s; a peer silent for 2.5 of them is gone
	WriteTimeout time.Duration // for a peer to take what is written; default 10 s
	InFlight     int           // unanswered messages of one socket; default 256, the reader waits beyond
	MaxQueued    int           // messages waiting for one slow peer; default 1024, it is cut off beyond
	MaxSockets   int           // at once; default 50,000

	once    sync.Once
	hub     *hub
	mu      sync.Mutex
	sockets map[*socket]struct{}
	opening int
	closing bool
	work    sync.WaitGroup
}

// maxQueuedBytes bounds what waits for one slow peer besides MaxQueued: four
// of the largest messages by default.
const maxQueuedBytes = 4 << 20

func (s *Server) setUp() {
	s.once.Do(func() {
		s.hub = &hub{bus: s.Gateway.Bus, feeds: map[messaging.Filter]*feed{}}
		s.sockets = map[*socket]struct{}{}
		setDefault(&s.MaxPayload, 1<<20)
		setDefault(&s.PingInterval, 30*time.Second)
		setDefault(&s.WriteTimeout, 10*time.Second)
		setDefault(&s.InFlight, 256)
		setDefault(&s.MaxQueued, 1024)
		setDefault(&s.MaxSockets, 50_000)
	})
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// ServeHTTP upgrades the request and serves the socket until it ends.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.setUp()
	if err := s.enter(); err != nil {
		httpd.Refuse(w, r, s.Log, via, err)
		return
	}
	defer s.work.Done()
	sock, err := s.open(r)
	if err == nil {
		err = sock.upgrade(w, r)
	}
	s.mu.Lock()
	s.opening--
	if err == nil {
		s.sockets[sock] = struct{}{}
	}
	closing := s.closing
	s.mu.Unlock()
	if err != nil {
		if sock != nil {
			sock.release()
		}
		if !errors.Is(err, errHijacked) {
			httpd.Refuse(w, r, s.Log, via, err)
		}
		return
	}
	if closing {
		sock.end(websocket.CloseGoingAway, goingAway)
	}
	sock.serve()
	s.mu.Lock()
	delete(s.sockets, sock)
	s.mu.Unlock()
}

const goingAway = "the server goes away"

// enter makes room for one more socket and counts it in work.
func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return messaging.ErrUnavailable
	case len(s.sockets)+s.opening >= s.MaxSockets:
		return adapters.ErrLimited
	}
	s.opening++
	s.work.Add(1)
	return nil
}

// open decides everything that can be decided before the upgrade. The socket
// that it returns, if any, must be released.
func (s *Server) open(r *http.Request) (*socket, error) {
	if r.Method != http.MethodGet || !websocket.IsWebSocketUpgrade(r) {
		return nil, httpd.ErrUpgrade
	}
	evidence := httpd.ReadEvidence(r, via, true)
	if evidence.Bearer != "" {
		return nil, &authn.RefusedError{Reason: registry.ReasonUnknownDevice} // a person
	}
	session, err := s.Gateway.Open(r.Context(), evidence.Credential)
	if err != nil {
		return nil, err
	}
	sock := newSocket(s, session)
	if sock.topic, err = httpd.Topic(r.URL, Prefix); err == nil {
		_, err = messaging.ParseTopic(sock.topic)
	}
	if err != nil {
		return sock, err
	}
	query := r.URL.Query() // what does not parse was refused as evidence or says nothing
	sock.echo, sock.acks = query.Get("echo") == "1", query.Get("ack") == "1"
	session.Watch(sock.revoked, sock.changed)
	return sock, sock.settle(r.Context())
}

// Shutdown ends all sockets with 1001 and waits until they are gone. When ctx
// is done first, it cuts them off. Call it once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.setUp()
	s.mu.Lock()
	s.closing = true
	for sock := range s.sockets {
		sock.end(websocket.CloseGoingAway, goingAway)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.work.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for sock := range s.sockets {
		sock.wire.Load().Close()
	}
	s.mu.Unlock()
	<-done
	return context.Cause(ctx)
}
