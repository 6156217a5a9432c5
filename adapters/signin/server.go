package signin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

const (
	maxBody = 32 << 10
	maxTime = 20 * time.Second
)

// A Server signs browsers in. Its fields are set before Handler is called and
// not changed after.
type Server struct {
	Users   *authn.Users
	Cookies Cookies
	Log     *slog.Logger
	NewID   func() string // ids of requests

	// UI is where a sign-in ends when the pages are at another address, and
	// ErrorUI where one that failed does, told in ?error=. Empty: our own pages.
	UI, ErrorUI string
	// Asset is where a page finds a style sheet or a script of ours by its name;
	// nil: below /assets.
	Asset func(name string) string
	// ClientIP tells where a request comes from; nil takes the peer address.
	ClientIP func(*http.Request) string
}

// A route is one path of this door.
type route struct {
	pattern string
	do      func(*Server, *visit) error
	foreign bool // a POST from another site is not refused at once
}

// routes is all of the door.
var routes = []route{
	{"GET /sign-in", (*Server).signInPage, false},
	{"POST /sign-in", (*Server).signIn, false},
	{"GET /sign-in/second-factor", (*Server).factorPage, false},
	{"POST /sign-in/second-factor", (*Server).factor, false},
	{"POST /sign-in/second-factor/passkey", (*Server).passkey, false},
	{"POST /auth/refresh", (*Server).refresh, false},
	{"POST /auth/sign-out", (*Server).signOut, false},
	{"POST /auth/link/{provider}", (*Server).link, false},

	{"GET /oauth/login/{provider}", (*Server).begin, false},
	{"GET /oauth/callback/{provider}", (*Server).complete, false},
	{"GET /google-callback", (*Server).completeGoogle, false}, // seed 5 names both
	{"GET /auth/sso", (*Server).company, false},
	{"POST /auth/sso", (*Server).companyForm, true},
	{"GET /api/auth/oidc/enabled", (*Server).labEnabled, false}, // seed 4
	{"GET /api/auth/oidc/login", (*Server).labLogin, false},
	{"GET /api/auth/oidc/callback", (*Server).labCallback, false},
}

// Patterns returns the paths of this door, as http.ServeMux takes them.
func Patterns() []string {
	all := make([]string, len(routes))
	for i, rt := range routes {
		all[i] = rt.pattern
	}
	return all
}

// Handler returns the handler of all of Patterns. It is safe for concurrent use.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes {
		mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(rt, w, r) })
	}
	return mux
}

// A visit is one request on its way.
type visit struct {
	ctx     context.Context
	w       http.ResponseWriter
	r       *http.Request
	id      string
	foreign error // why the request is another site's; nil when it is not
}

func (s *Server) serve(rt route, w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), maxTime)
	defer cancel()
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	v := &visit{ctx: ctx, w: w, r: r, id: s.NewID(), foreign: new(http.CrossOriginProtection).Check(r)}
	header(w, r, v.id)
	err := errForeign
	if v.foreign == nil || rt.foreign {
		err = rt.do(s, v)
	}
	if err != nil {
		s.fail(v, err)
	}
}

// header sets what every answer has (C56). A page of ours runs no script but
// that of passkeys, and what a sign-in brings along is told to nobody.
func header(w http.ResponseWriter, r *http.Request, id string) {
	adapters.Guard(w, r, id, "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
}

func (s *Server) where(v *visit) authn.Client {
	ip := ""
	if s.ClientIP != nil {
		ip = s.ClientIP(v.r)
	}
	return adapters.ClientOf(v.r, ip, "browser", v.id)
}

var (
	errForeign    = errors.New("a request of another site")
	errNotSet     = errors.New("this way to sign in is not configured")
	errNoSession  = errors.New("nobody is signed in")
	errStale      = errors.New("signed in too long ago for this")
	errMalformed  = errors.New("malformed form")
	errNoProvider = errors.New("no such provider")
)

// landed ends a sign-in: cookies, and back to where the person came from.
func (s *Server) landed(v *visit, l authn.Landing) {
	if !l.Linked {
		s.Cookies.keep(v.w, l.Tokens, s.Users.RefreshIdle)
	}
	to := authn.LocalPath(l.BackTo)
	if to == "/" && s.UI != "" {
		to = s.UI
	}
	redirect(v, to)
}

// redirect sends the browser on. Not http.Redirect, which cleans paths and puts
// the address into a body.
func redirect(v *visit, to string) {
	v.w.Header().Set("Location", to)
	v.w.WriteHeader(http.StatusSeeOther)
}

// fail tells the person what went wrong: at the UI when that is elsewhere, else
// on the sign-in page.
func (s *Server) fail(v *visit, err error) {
	p := problemOf(err)
	log := s.Log.With("request", v.id, "method", v.r.Method, "path", v.r.URL.Path, "status", p.status)
	switch {
	case p.status >= 500 && p.word == "internal":
		log.Error("sign-in failed", "err", err)
	case p.status >= 500:
		log.Warn("sign-in not possible", "err", err)
	default:
		log.Debug("sign-in refused", "err", err)
	}
	if s.ErrorUI != "" && v.r.Method == http.MethodGet {
		if u, err := url.Parse(s.ErrorUI); err == nil {
			q := u.Query()
			q.Set("error", p.message)
			q.Set("error_code", p.word)
			q.Set("request_id", v.id)
			u.RawQuery = q.Encode()
			redirect(v, u.String())
			return
		}
	}
	s.show(v, p.status, "sign-in", s.signInView(v, p.message))
}

// A problem is how an error looks to a person.
type problem struct {
	status  int
	word    string
	message string
}

// reasons are the refusals that a person can do something about. All others
// look alike: nobody learns whether there is such an account.
var reasons = map[registry.Reason]problem{
	registry.ReasonNotProvisioned:      {401, "not_provisioned", "There is no account for you here yet. Ask an administrator for one."},
	registry.ReasonLinkRequired:        {401, "link_required", "There is an account with this e-mail address. Sign in as you did before, then link this way to sign in."},
	registry.ReasonNotAuthorized:       {401, "not_authorized", "Your directory does not let you in here. Ask an administrator."},
	registry.ReasonNoMappedRole:        {401, "not_authorized", "Your directory does not let you in here. Ask an administrator."},
	registry.ReasonEmailMissing:        {400, "email_missing", "Your identity provider did not say your e-mail address, which is needed here."},
	registry.ReasonFlowUnknown:         {401, "try_again", "This sign-in was not begun in this browser, or took too long. Begin again."},
	registry.ReasonAssertionUnexpected: {401, "try_again", "This sign-in was not begun in this browser. Begin again."},
	registry.ReasonKeyInvalid:          {401, "try_again", "This took too long, or too many second factors were wrong. Sign in again."},
	registry.ReasonSecondFactorWrong:   {401, "unauthenticated", "The second factor is wrong, or was used before."},
	registry.ReasonProviderRefused:     {401, "provider_refused", "Your identity provider did not let you in."},
}

var errorProblems = []struct {
	err error
	problem
}{
	{errForeign, problem{403, "cross_origin", "Changes from another site are refused."}},
	{errNotSet, problem{400, "not_enabled", "This way to sign in is not configured here."}},
	{errNoProvider, problem{404, "not_found", "There is no such way to sign in here."}},
	{errNoSession, problem{401, "signed_out", "You are signed out. Sign in."}},
	{errStale, problem{403, "reauth_required", "Sign in again first: this asks for a sign-in of the last 15 minutes."}},
	{errMalformed, problem{400, "malformed_request", "The form is not what is expected here."}},
	{authn.ErrProvider, problem{503, "provider_unavailable", "The identity provider does not answer. Try again later, or sign in another way."}},
}

func problemOf(err error) problem {
	for _, e := range errorProblems {
		if errors.Is(err, e.err) {
			return e.problem
		}
	}
	var refused *authn.RefusedError
	if errors.As(err, &refused) {
		if p, known := reasons[refused.Reason]; known {
			return p
		}
	}
	switch adapters.KindOf(err) {
	case adapters.Unauthenticated:
		return problem{401, "unauthenticated", "That did not work. Check what you typed, or ask an administrator."}
	case adapters.Limited:
		return problem{429, "too_many_requests", "Too many attempts. Try again later."}
	case adapters.Unavailable:
		return problem{503, "unavailable", "This cannot be answered now. Try again later."}
	case adapters.NotFound:
		return errorProblems[2].problem
	}
	return problem{500, "internal", "Something went wrong here. The log has more under the request id."}
}
