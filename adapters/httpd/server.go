package httpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/messaging/senml"
	"github.com/postern-io/postern/registry"
)

// Prefix is the beginning of the paths that Server serves.
const Prefix = "/http/"

const via = "http"

// People publish for persons. Errors are those of adapters.Session.PublishWait.
type People interface {
	// PublishAs publishes m to topic for the person who holds the access
	// token or API key, which came from that address, if that person may. It
	// stamps the message.
	PublishAs(ctx context.Context, token, ip, topic string, m *messaging.Message) (seq uint64, err error)
}

// A Server is the publish door: an http.Handler for the paths below Prefix.
// Gateway and Log are required. The http.Server around it bounds the headers:
// set its ReadHeaderTimeout and MaxHeaderBytes.
type Server struct {
	Gateway *adapters.Gateway
	Log     *slog.Logger
	// People answer requests with a Bearer token; nil refuses them.
	People People

	MaxPayload  int           // bytes of a body; default 1 MiB
	BodyTimeout time.Duration // for a whole body to come; default 10 s
	MaxRequests int           // at once, beyond which 429 answers; default 4096, more than one device's sessions

	pool pool

	mu      sync.Mutex
	active  int
	closing bool
	idle    chan struct{} // closed when closing and active is 0
}

func (s *Server) maxPayload() int64          { return int64(orDefault(s.MaxPayload, 1<<20)) }
func (s *Server) bodyTimeout() time.Duration { return orDefault(s.BodyTimeout, 10*time.Second) }

func orDefault[T int | time.Duration](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}

// ServeHTTP publishes the body of a POST and answers 202 once it is stored or,
// on a live channel, on the bus.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	seq, err := s.serve(w, r)
	if err != nil {
		Refuse(w, r, s.Log, via, err)
		return
	}
	if seq > 0 {
		w.Header()["Nats-Sequence"] = []string{strconv.FormatUint(seq, 10)}
	}
	w.WriteHeader(http.StatusAccepted)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) (uint64, error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	// A body that nobody reads to its end is thrown away by net/http, which
	// waits for it: so the deadline stands from the beginning, whatever comes
	// of the request. A writer without deadlines, as in a test, bounds itself.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.bodyTimeout()))
	if r.Method != http.MethodPost {
		return 0, errMethod
	}
	evidence := ReadEvidence(r, via, false)
	if evidence.Bearer != "" && len(evidence.Chain) == 0 {
		return s.servePerson(w, r, evidence)
	}
	session, release, err := s.session(r, evidence)
	if err != nil {
		return 0, err
	}
	defer release()
	return s.publish(w, r, session.PublishWait)
}

// session returns the device's session, from the pool if it is there.
func (s *Server) session(r *http.Request, e Evidence) (session *adapters.Session, release func(), err error) {
	key, ok := shownBy(r, e)
	if ok {
		if h := s.pool.take(key); h != nil {
			return h.session, func() { s.pool.release(key, h) }, nil
		}
	}
	if session, err = s.Gateway.Open(r.Context(), e.Credential); err != nil {
		return nil, nil, err
	}
	if !ok {
		return session, session.Close, nil
	}
	h := s.pool.put(key, session)
	return session, func() { s.pool.release(key, h) }, nil
}

func (s *Server) servePerson(w http.ResponseWriter, r *http.Request, e Evidence) (uint64, error) {
	if s.People == nil || len(r.Header["Authorization"]) > 1 || r.URL.Query().Has(queryKey) {
		return 0, &authn.RefusedError{Reason: registry.ReasonConflictingEvidence}
	}
	return s.publish(w, r, func(ctx context.Context, topic string, m *messaging.Message) (uint64, error) {
		return s.People.PublishAs(ctx, e.Bearer, e.Remote.String(), topic, m)
	})
}

// publish reads and checks the message before anything is decided on it or
// reaches the bus.
func (s *Server) publish(w http.ResponseWriter, r *http.Request, publish func(context.Context, string, *messaging.Message) (uint64, error)) (uint64, error) {
	topic, err := Topic(r.URL, Prefix)
	if err != nil {
		return 0, err
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return 0, errEncoding // RFC 9110 section 8.4
	}
	payload, err := s.body(w, r)
	if err != nil {
		return 0, err
	}
	contentType := r.Header.Get("Content-Type")
	if err := senml.Check(contentType, payload); err != nil {
		return 0, fmt.Errorf("%w: %w", adapters.ErrInvalidContent, err)
	}
	// 202 says that the bus has it, which is QoS 1 to whoever asks for that.
	return publish(r.Context(), topic, &messaging.Message{Payload: payload, ContentType: contentType, QoS: 1})
}

// body reads the whole body within its limits.
func (s *Server) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := s.maxPayload()
	if r.ContentLength > limit {
		return nil, messaging.ErrTooLarge
	}
	var payload []byte
	var err error
	if n := r.ContentLength; n >= 0 && n <= 64<<10 {
		payload = make([]byte, n)
		_, err = io.ReadFull(r.Body, payload)
	} else {
		// A longer body grows as it comes: a claim costs no memory.
		payload, err = io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, messaging.ErrTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errSlow
	case err != nil:
		return nil, errBroken
	case len(payload) == 0:
		return nil, errEmpty
	}
	// The answer may take longer than the body, and the server watches the
	// connection meanwhile.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return payload, nil
}

func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return messaging.ErrUnavailable
	case s.active >= orDefault(s.MaxRequests, 4096):
		return adapters.ErrLimited
	}
	s.active++
	return nil
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if s.closing && s.active == 0 {
		close(s.idle)
	}
}

// Shutdown answers 503 from now on and waits for the requests in progress, or
// until ctx is done. Call it once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	s.idle = make(chan struct{})
	if s.active == 0 {
		close(s.idle)
	}
	s.mu.Unlock()
	defer func() { s.pool.close(time.Now()) }()
	select {
	case <-s.idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
