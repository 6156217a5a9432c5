package api

import (
	"bytes"
	"context"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/factor"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

// Specification is openapi.yaml.
//
//go:embed openapi.yaml
var Specification []byte

const (
	// maxBody holds a bulk creation with ample metadata.
	maxBody = 4 << 20
	// maxTime bounds what one request may wait for the database.
	maxTime = 30 * time.Second
)

// LiveSessions knows which devices are connected, on every node.
type LiveSessions interface {
	Sessions(ctx context.Context, device registry.DeviceID) ([]adapters.SessionInfo, error)
	// EndSession returns registry.ErrNotFound when there is no such session.
	EndSession(ctx context.Context, device registry.DeviceID, id string) error
}

// LiveTraffic knows what devices do now, on every node.
type LiveTraffic interface {
	// Traffic has one point for each step that began after since.
	Traffic(ctx context.Context, domain registry.DomainID, since time.Time) (adapters.Traffic, error)
	// Refusals are the latest ones, the last first.
	Refusals(ctx context.Context, q adapters.RefusalQuery) ([]adapters.Refusal, error)
}

// An Explainer takes a decision and tells every step of it.
type Explainer interface {
	Explain(ctx context.Context, q adapters.Question) (adapters.Explanation, error)
}

// An Issuer signs certificates of devices.
type Issuer interface {
	IssueDevice(d registry.Device, request certs.Request) (registry.Certificate, error)
	// IssueForSecret is the same with a secret of the device as the only name.
	IssueForSecret(secret registry.Secret, request certs.Request) (registry.Certificate, error)
	// Chain is the certificate with the issuing authority behind it.
	Chain(c registry.Certificate) ([]*x509.Certificate, error)
	Root() *x509.Certificate
}

// A SetUpper makes the first owner for whoever holds the one-time token. A
// wrong token is authn.ErrUnauthenticated.
type SetUpper interface {
	Complete(ctx context.Context, token string, owner authn.NewUser) (registry.User, error)
}

// A Server answers the management API. Its fields are set before Handler is
// called and not changed after.
type Server struct {
	Registry *registry.Registry
	Users    *authn.Users
	People   *authz.People
	Live     LiveSessions
	Traffic  LiveTraffic
	Explain  Explainer
	Certs    Issuer
	Claims   *authn.Claims
	Imports  certs.Imports
	SetUp    SetUpper
	Messages Messenger
	Audit    AuditTrail      // nil: nothing is written
	Factors  *factor.Factors // the same that Users asks
	SignIn   SignInSettings
	Log      *slog.Logger
	NewID    func() string // ids of requests

	// SelfRegister lets strangers create accounts, which have no role.
	SelfRegister bool
	// Open makes everybody an owner who comes from this machine and sends no
	// token (seed 1's REQUIRE_USER_AUTHENTICATION=0).
	Open bool
	// AppKey is the public key of our own application. Empty: none is right.
	AppKey string
	// Cookie names the cookie that may hold an access token. Empty: none.
	Cookie string
	// ClientIP tells where a request comes from; nil takes the peer address.
	ClientIP func(*http.Request) string
	// Observe is told of every request, for metrics; it may be nil.
	Observe func(route string, status int, took time.Duration)
}

// Handler returns the handler of everything under /api. It is safe for
// concurrent use.
func (s *Server) Handler() http.Handler {
	// {domain} stands where other paths have a word, which one ServeMux
	// cannot tell apart; so there are two.
	platform, domains := http.NewServeMux(), http.NewServeMux()
	for _, rt := range routes {
		mux := platform
		if strings.HasPrefix(rt.pattern, "/{domain}") {
			mux = domains
		}
		mux.Handle(rt.method+" "+rt.pattern, s.serve(rt))
	}
	return http.StripPrefix("/api", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux := domains
		switch first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); first {
		case "users", "domains", "password", "setup", "openapi.yaml", "audit", "config", "sessions", "claim", "settings":
			mux = platform
		}
		if _, pattern := mux.Handler(r); pattern == "" {
			s.serve(route{do: func(*Server, context.Context, *call) (answer, error) {
				return answer{}, noRoute(mux, r)
			}, need: anybody, pattern: "none"})(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
}

// noRoute tells a wrong path from a wrong method, which only the mux knows.
func noRoute(mux *http.ServeMux, r *http.Request) error {
	for _, method := range []string{"GET", "POST", "PATCH", "PUT", "DELETE"} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := mux.Handler(other); pattern != "" {
			return errMethod
		}
	}
	return registry.ErrNotFound
}

// serve makes an http.HandlerFunc of a route.
func (s *Server) serve(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now() // for the log and the metrics only
		ctx, cancel := context.WithTimeout(r.Context(), maxTime)
		defer cancel()
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		id := s.NewID()
		header(w, r, id)

		a, err := s.call(ctx, rt, r, id)
		status := a.status
		if err == nil && a.stream == nil {
			err = write(w, a)
		}
		if err != nil {
			status = s.fail(w, r, rt, id, err)
		}
		took := time.Since(start)
		s.Log.Debug("api request", "request", id, "method", r.Method, "route", rt.pattern, "status", status, "took", took)
		if s.Observe != nil {
			s.Observe(rt.method+" "+rt.pattern, status, took)
		}
		if err == nil && a.stream != nil {
			a.stream(r.Context(), w)
		}
	}
}

// call runs a route's checks and its handler. A panic of either is an error
// like any other that we did not expect.
func (s *Server) call(ctx context.Context, rt route, r *http.Request, id string) (a answer, err error) {
	c := &call{request: r, id: id, from: s.from(r), route: rt}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
		s.tell(ctx, rt, c, a, err)
	}()
	if err := s.admit(ctx, rt, c); err != nil {
		return answer{}, err
	}
	return rt.do(s, ctx, c)
}

// header sets what every answer has: nothing of it may be framed or run.
func header(w http.ResponseWriter, r *http.Request, id string) {
	adapters.Guard(w, r, id, "default-src 'none'; frame-ancestors 'none'")
}

func (s *Server) from(r *http.Request) string {
	if s.ClientIP != nil {
		return s.ClientIP(r)
	}
	return adapters.PeerIP(r)
}

// An answer is what a handler has to say when all went well.
type answer struct {
	status   int
	body     any    // JSON; nil for none
	location string // of a created noun, below /api

	stream func(context.Context, http.ResponseWriter) // writes all of it, for as long as it goes on
}

func ok(body any) (answer, error) { return answer{status: http.StatusOK, body: body}, nil }

func created(body any, location string) (answer, error) {
	return answer{status: http.StatusCreated, body: body, location: location}, nil
}

// done passes err on, and is 204 without one.
func done(err error) (answer, error) { return answer{status: http.StatusNoContent}, err }

// write sends an answer; an error means that nothing was sent yet.
func write(w http.ResponseWriter, a answer) error {
	if a.location != "" {
		w.Header().Set("Location", "/api"+a.location)
	}
	if text, isText := a.body.([]byte); isText {
		w.Header().Set("Content-Type", "application/yaml")
		w.WriteHeader(a.status)
		w.Write(text) // who went away misses it
		return nil
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return nil
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(a.body); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	w.Write(b.Bytes()) // who went away misses it
	return nil
}

// fail answers an error in the one form that errors have, logs what is ours,
// and returns the status.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, rt route, id string, err error) int {
	p := problemOf(r.Method, err)
	log := s.Log.With("request", id, "method", r.Method, "path", r.URL.Path, "status", p.status)
	switch {
	case errors.Is(err, context.Canceled):
		log.Debug("api client went away")
	case p.status == http.StatusInternalServerError:
		log.Error("api request failed", "err", err)
	case p.status == http.StatusServiceUnavailable:
		log.Warn("api request not answered", "err", err)
	default:
		log.Debug("api request refused", "err", err)
	}
	if p.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="postern"`)
	}
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int((p.retryAfter+time.Second-1)/time.Second)))
	}
	refusal := Error{Error: p.word, Message: p.message, RequestID: id, Field: fieldOf(err)}
	var more *authn.SecondFactorError
	if errors.As(err, &more) {
		refusal.Ticket, refusal.Methods = more.Ticket, methodsOf(more)
	}
	var body any = refusal
	switch {
	case rt.rules&seedForm != 0:
		p.status, body = seedError(p)
	case rt.rules&oauthForm != 0:
		p.status, body = oauthError(w, p, err)
	}
	if e := write(w, answer{status: p.status, body: body}); e != nil {
		log.Error("api answer failed", "err", e)
	}
	return p.status
}
