package pages

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/registry"
)

const (
	maxBody = 32 << 20 // a file of devices
	// maxForm bounds the forms of who is not signed in.
	maxForm = 64 << 10
	maxTime = 30 * time.Second
)

// Roles tells what somebody is in a domain, as *authz.People does.
type Roles interface {
	Role(ctx context.Context, u registry.User, domain registry.DomainID) (registry.Role, error)
}

// A Server shows pages. Its fields are set before Handler is called and not
// changed after.
type Server struct {
	API       http.Handler // everything under /api
	Roles     Roles
	Resumable string // name of the cookie that says that a session may be resumed
	Log       *slog.Logger
	NewID     func() string // ids of requests
	// MQTT and MQTTS are the addresses of those doors, such as ":1883", for the
	// commands that a page shows. Empty: closed.
	MQTT, MQTTS string

	assets  *assets
	pages   templates
	streams streams
	pace    time.Duration // of live pages, for tests; 0: that of the API
}

// Handler returns the handler of all of Patterns. It is safe for concurrent use.
func (s *Server) Handler() http.Handler {
	s.assets = loadAssets()
	s.pages = parse(s.assets)
	s.streams.ended = make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle("GET /assets/{name}", s.assets)
	for _, rt := range routes {
		mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(rt, false, w, r) })
	}
	for _, rt := range entrances {
		mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(rt, true, w, r) })
	}
	return mux
}

// Asset is the path of a style sheet or a script of ours by its name, for other
// doors with pages. Handler was called before.
func (s *Server) Asset(name string) string { return s.assets.path(name) }

// A visit is one request on its way.
type visit struct {
	s  *Server
	w  http.ResponseWriter
	r  *http.Request
	id string

	open   bool // nobody needs to be signed in
	me     me
	domain domain // of the path
}

func (s *Server) serve(rt route, open bool, w http.ResponseWriter, r *http.Request) {
	if !rt.stream {
		ctx, cancel := context.WithTimeout(r.Context(), maxTime)
		defer cancel()
		r = r.WithContext(ctx)
	}
	limit := int64(maxBody)
	if open {
		limit = maxForm
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	v := &visit{s: s, w: w, r: r, id: s.NewID(), open: open}
	header(w, r, v.id)
	if err := s.visit(rt, v); err != nil {
		s.fail(v, err)
	}
}

// visit finds out who asks, and in which domain, and shows the page. A panic is
// an error like any other that we did not expect.
func (s *Server) visit(rt route, v *visit) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p) // an answer that is broken off on purpose
		default:
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if err := new(http.CrossOriginProtection).Check(v.r); err != nil {
		return &Refusal{Status: http.StatusForbidden, Word: "cross_origin", Message: "Changes from another site are refused."}
	}
	if v.open {
		return rt.do(v)
	}
	if err := v.identify(); err != nil {
		return err
	}
	if v.r.PathValue("domain") != "" {
		if err := v.enter(); err != nil {
			return err
		}
	}
	return rt.do(v)
}

// header sets what every page has (C56).
func header(w http.ResponseWriter, r *http.Request, id string) {
	adapters.Guard(w, r, id, "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
	w.Header().Set("Referrer-Policy", "same-origin") // where to go back to, after signing in again
}

// me is who asks.
type me struct {
	ID, Name string
	Role     registry.Role // on the platform

	roleHere registry.Role // in the domain of the path; without one, on the platform
}

// identify asks the API who this is.
func (v *visit) identify() error {
	var u user
	if err := v.ask(http.MethodGet, "/users/profile", nil, &u); err != nil {
		return err
	}
	role, err := registry.ParseRole(string(u.Role))
	if err != nil {
		role = registry.NoRole
	}
	v.me = me{ID: u.ID, Name: u.Credentials.Username, Role: role, roleHere: role}
	return nil
}

// enter finds the domain of the path, and the role in it.
func (v *visit) enter() error {
	if err := v.ask(http.MethodGet, "/domains/"+url.PathEscape(v.r.PathValue("domain")), nil, &v.domain); err != nil {
		return err
	}
	role, err := v.s.Roles.Role(v.r.Context(), registry.User{ID: registry.UserID(v.me.ID), Role: v.me.Role, Status: registry.Enabled}, registry.DomainID(v.domain.ID))
	if err != nil {
		return err
	}
	v.me.roleHere = role
	return nil
}

// Why tells why somebody of this role may not do an action; "" when they may.
// The API decides; this only keeps a button from promising too much.
func (m me) Why(action string) string {
	a, role, where := authz.Action(action), m.Role, ""
	if a.InDomain() {
		role, where = m.roleHere, " here"
	}
	for least := registry.Viewer; least <= registry.Owner; least++ {
		switch {
		case !a.AllowedTo(least):
		case role >= least:
			return ""
		case role == registry.NoRole:
			return fmt.Sprintf("You need the role %s%s; you have none.", least, where)
		default:
			return fmt.Sprintf("You need the role %s%s; you are %s.", least, where, role)
		}
	}
	return "Nobody may do this."
}

// fail shows what went wrong, or sends the person to where it can be mended.
func (s *Server) fail(v *visit, err error) {
	if errors.Is(v.r.Context().Err(), context.Canceled) {
		return // who asked has left
	}
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		s.Log.Error("page failed", "request", v.id, "method", v.r.Method, "path", v.r.URL.Path, "err", err)
		refusal = &Refusal{Status: http.StatusInternalServerError, Word: "internal", Message: "Something went wrong here. The log has more under the request id.", RequestID: v.id}
	}
	back := v.page()
	switch {
	case v.open: // there is nowhere to be sent to
	case refusal.Status == http.StatusUnauthorized && v.partial(): // it would take another page for the piece
	case refusal.Status == http.StatusUnauthorized && v.resumable():
		v.show(http.StatusUnauthorized, "resume", page{Title: "One moment", Data: back})
		return
	case refusal.Status == http.StatusUnauthorized:
		v.redirect("/sign-in?return_to=" + url.QueryEscape(back))
		return
	case refusal.Word == "password_change_required" || refusal.Word == "second_factor_enrolment_required":
		if v.r.URL.Path != "/settings/account" {
			v.redirect("/settings/account?first=" + url.QueryEscape(refusal.Word))
			return
		}
	case refusal.Word == "reauth_required":
		v.redirect("/sign-in?again&return_to=" + url.QueryEscape(back))
		return
	}
	if refusal.RetryAfter != "" {
		v.w.Header().Set("Retry-After", refusal.RetryAfter)
	}
	v.show(refusal.Status, "error", page{Title: refusal.title(), Data: refusal})
}

// page is the address of the page that the person sees: this one, or the one
// that the form stands on.
func (v *visit) page() string {
	if v.r.Method == http.MethodGet {
		return v.r.URL.RequestURI()
	}
	from, err := url.Parse(v.r.Referer())
	if err != nil || from.Host != v.r.Host {
		return "/"
	}
	return authn.LocalPath(from.RequestURI())
}

func (v *visit) resumable() bool {
	_, err := v.r.Cookie(v.s.Resumable)
	return err == nil
}

// redirect sends the browser on with a GET.
func (v *visit) redirect(to string) {
	v.w.Header().Set("Location", to)
	v.w.WriteHeader(http.StatusSeeOther)
}
