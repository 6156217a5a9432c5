package signin

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/password"
	"github.com/postern-io/postern/authn/sso"
	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

const (
	passphrase = "nine grey herons over the weir"
	secret     = "c0ffee5badc0de9d8e7f60514233241516f7e8d9cabb0a1b2c3d4e5f60718293"
)

// A site is this door on a real store, with an account jane and a JWT provider.
type site struct {
	t    testing.TB
	door *Server
	http *httptest.Server
	db   *store.Store
	log  *strings.Builder
	jane registry.User
}

func newSite(t testing.TB, change ...func(*site)) *site {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, db: db, log: new(strings.Builder)}
	r := &registry.Registry{Store: db, Now: time.Now, NewID: uuid.NewString}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	company, err := sso.New(sso.Config{IdentityProviderURI: "https://idp.example/", SharedSecret: secret, AllowIdPInitiated: true, Seen: db, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	users := authn.NewUsers(authn.UsersConfig{
		Accounts: r, Arrivals: r, Live: r, Find: db, Links: db, Store: db, Flows: db, Keys: db, Throttles: db, Audit: db,
		Providers: []authn.Provider{{Key: registry.LocalProvider}, {Key: sso.Key, Title: "Acme", Redirect: company, Stateless: true, Unsolicited: company, Rules: authn.Rules{Provision: true}}},
		Passwords: password.NewHasher(), Now: time.Now, Log: log,
		Tokens: &token.Signer{Issuer: "https://postern.example", Audience: "postern", Life: 15 * time.Minute, Now: time.Now, Keys: token.Keys{Active: key}},
	})
	r.OnChange = func(_ context.Context, changes []registry.Change) {
		for _, c := range changes {
			users.Changed(c)
		}
	}
	if s.jane, err = users.Register(t.Context(), "", authn.NewUser{Username: "jane", Email: "jane@example.com", Password: passphrase}); err != nil {
		t.Fatal(err)
	}
	s.door = &Server{Users: users, Cookies: Cookies{Secure: true}, Log: log, NewID: uuid.NewString}
	for _, c := range change {
		c(s)
	}
	s.http = httptest.NewTLSServer(s.door.Handler())
	t.Cleanup(s.http.Close)
	return s
}

// browser has cookies of its own and follows nothing by itself.
func (s *site) browser() *http.Client {
	jar, _ := cookiejar.New(nil) // errs for no options
	c := *s.http.Client()
	c.Jar = jar
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

type answer struct {
	status int
	next   string
	body   string
	header http.Header
}

func (s *site) send(b *http.Client, method, path string, form url.Values, edits ...func(*http.Request)) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.http.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, e := range edits {
		e(r)
	}
	resp, err := b.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var body strings.Builder
	if _, err := io.Copy(&body, resp.Body); err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header.Get("Location"), body.String(), resp.Header}
}

func (s *site) cookie(b *http.Client, name string) string {
	u, err := url.Parse(s.http.URL + refreshPath)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range b.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func jane() url.Values {
	return url.Values{"username": {"jane"}, "password": {passphrase}, "return_to": {"/devices"}}
}

func TestPasswordForm(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser()
	page := s.send(b, "GET", "/sign-in?return_to=/devices", nil)
	for _, part := range []string{`type="password"`, `autocomplete="current-password"`, `autocomplete="username"`, `name="return_to" value="/devices"`, `href="/oauth/login/jwt?return_to=%2Fdevices"`, "Sign in with Acme"} {
		if !strings.Contains(page.body, part) {
			t.Errorf("C07: the page has no %s:\n%s", part, page.body)
		}
	}
	in := s.send(b, "POST", "/sign-in", jane())
	if in.status != 303 || in.next != "/devices" {
		t.Fatalf("got %d to %q: %s", in.status, in.next, in.body)
	}
	p, err := s.door.Users.Verify(t.Context(), s.cookie(b, "__Host-at"))
	if err != nil || p.User.ID != s.jane.ID || p.Session.Kind != "browser" {
		t.Errorf("got %+v, %v", p, err)
	}
	for name, form := range map[string]url.Values{
		"a wrong password": {"username": {"jane"}, "password": {"wrong"}}, "an unknown name": {"username": {"john"}, "password": {passphrase}},
	} {
		out := s.send(s.browser(), "POST", "/sign-in", form)
		if out.status != 401 || !strings.Contains(out.body, "That did not work") || len(out.header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s: got %d %s", name, out.status, out.body)
		}
	}
	if out := s.send(s.browser(), "POST", "/sign-in", url.Values{"username": {"jane"}, "password": {passphrase}, "return_to": {"https://evil.example"}}); out.next != "/" {
		t.Errorf("C43: it leads to %q", out.next)
	}
}

// C54: what a cookie of ours is.
func TestCookies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		secure               bool
		access, ref, resumes string
	}{
		{true, "__Host-at=[^;]+; Path=/; Max-Age=900; HttpOnly; Secure; SameSite=Lax", "__Secure-rt=[^;]+; Path=/auth/refresh; Max-Age=86400; HttpOnly; Secure; SameSite=Strict", "__Host-resumable=1; Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Lax"},
		{false, "at=[^;]+; Path=/; Max-Age=900; HttpOnly; SameSite=Lax", "rt=[^;]+; Path=/auth/refresh; Max-Age=86400; HttpOnly; SameSite=Strict", "resumable=1; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"},
	} {
		s := newSite(t, func(s *site) { s.door.Cookies.Secure = test.secure })
		sent := strings.Join(s.send(s.browser(), "POST", "/sign-in", jane()).header.Values("Set-Cookie"), "\n")
		if !regexp.MustCompile("^" + test.access + "\n" + test.ref + "\n" + test.resumes + "$").MatchString(sent) {
			t.Errorf("secure %v: got\n%s", test.secure, sent)
		}
	}
	s := newSite(t)
	twice := s.send(s.browser(), "POST", "/auth/sign-out", url.Values{}, func(r *http.Request) {
		r.AddCookie(&http.Cookie{Name: "__Host-at", Value: "a"})
		r.AddCookie(&http.Cookie{Name: "__Host-at", Value: "b"})
	})
	if twice.status != 303 {
		t.Errorf("two cookies of one name: %d", twice.status)
	}
}

func TestRefreshAndSignOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser()
	s.send(b, "POST", "/sign-in", jane())
	first := s.cookie(b, "__Secure-rt")
	if out := s.send(b, "POST", "/auth/refresh", url.Values{}); out.status != 204 || s.cookie(b, "__Secure-rt") == first {
		t.Errorf("refresh: got %d", out.status)
	}
	access := s.cookie(b, "__Host-at")
	if out := s.send(b, "POST", "/auth/sign-out", url.Values{}); out.status != 303 || out.next != "/sign-in?signed_out=local" || s.cookie(b, "__Host-at") != "" || s.cookie(b, "__Secure-rt") != "" {
		t.Errorf("sign-out: got %d to %q", out.status, out.next)
	}
	if _, err := s.door.Users.Verify(t.Context(), access); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("C49: the access token after sign-out: %v", err)
	}
	if out := s.send(b, "POST", "/auth/refresh", url.Values{}); out.status != 401 {
		t.Errorf("refresh after sign-out: %d", out.status)
	}
}

// C55: nothing is changed for another site.
func TestOtherSites(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, rt := range routes {
		method, path, _ := strings.Cut(rt.pattern, " ")
		if method != "POST" || rt.foreign {
			continue
		}
		for name, edit := range map[string]func(*http.Request){
			"another site":   func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
			"the same site":  func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
			"another origin": func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		} {
			out := s.send(s.browser(), "POST", strings.ReplaceAll(path, "{provider}", "jwt"), jane(), edit)
			if out.status != 403 || len(out.header.Values("Set-Cookie")) > 0 {
				t.Errorf("%s from %s: got %d", path, name, out.status)
			}
		}
	}
}

// C56.
func TestHeaders(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, path := range []string{"/sign-in", "/sign-in/second-factor", "/oauth/callback/none", "/auth/sso?jwt=x"} {
		h := s.send(s.browser(), "GET", path, nil).header
		for key, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
			"Strict-Transport-Security": "max-age=31536000",
		} {
			if h.Get(key) != want {
				t.Errorf("%s: %s: %q", path, key, h.Get(key))
			}
		}
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
}

func (s *site) assertion(claims jwt.MapClaims) string {
	s.t.Helper()
	claims["jti"] = uuid.NewString()
	claims["exp"] = time.Now().Add(time.Minute).Unix()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// C42: whoever comes with a token that nobody asked for is shown whose it is,
// and signs in only by a click here.
func TestGoOn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	text := s.assertion(jwt.MapClaims{"email": "<b>rene</b>@example.com"})
	page := s.send(s.browser(), "GET", "/auth/sso?return_to=/q&jwt="+text, nil)
	if page.status != 200 || !strings.Contains(page.body, "Continue as &lt;b&gt;rene") || len(page.header.Values("Set-Cookie")) > 0 {
		t.Fatalf("got %d %s", page.status, page.body)
	}
	text = s.assertion(jwt.MapClaims{"email": "rene@example.com"})
	form := url.Values{"jwt": {text}, "return_to": {"/q"}}
	foreign := s.send(s.browser(), "POST", "/auth/sso", form, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
	if foreign.status != 200 || !strings.Contains(foreign.body, "Continue as rene@example.com") || len(foreign.header.Values("Set-Cookie")) > 0 {
		t.Errorf("a form of another site: got %d %s", foreign.status, foreign.body)
	}
	b := s.browser()
	if in := s.send(b, "POST", "/auth/sso", form); in.status != 303 || in.next != "/q" || s.cookie(b, "__Host-at") == "" {
		t.Errorf("after the click: got %d to %q: %s", in.status, in.next, in.body)
	}
	if again := s.send(s.browser(), "POST", "/auth/sso", form); again.status != 401 {
		t.Errorf("C41: a second time: got %d", again.status)
	}
	s.door.Users.Providers()[1].Unsolicited = nil
	form.Set("jwt", s.assertion(jwt.MapClaims{"email": "rene@example.com"}))
	if out := s.send(s.browser(), "POST", "/auth/sso", form); out.status != 401 {
		t.Errorf("where nobody may begin elsewhere: got %d", out.status)
	}
	if out := s.send(s.browser(), "POST", "/auth/sso", form, func(r *http.Request) { r.Header.Set("Origin", "https://idp.example") }); out.status != 403 {
		t.Errorf("and by a form of the other site: got %d", out.status)
	}
	if strings.Contains(s.log.String(), text) {
		t.Error("C35: a token is in the log")
	}
}

// A form of the company's application, for a sign-in that began here: the page
// in between brings the cookie back.
func TestPostedAnswer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.door.Users.Providers()[1].Unsolicited = nil
	b := s.browser()
	begun := s.send(b, "GET", "/auth/sso?return_to=/q", nil)
	u, err := url.Parse(begun.next)
	if err != nil || begun.status != 303 || u.Host != "idp.example" || u.Query().Get("return_to") != "/q" {
		t.Fatalf("it leads to %q, %v", begun.next, err)
	}
	form := url.Values{"jwt": {s.assertion(jwt.MapClaims{"email": "rene@example.com"})}, "return_to": {"/q"}, "state": {u.Query().Get("state")}}
	if page := s.send(b, "POST", "/auth/sso", form, func(r *http.Request) { r.Header.Set("Origin", "https://idp.example") }); page.status != 200 || !strings.Contains(page.body, `name="state"`) {
		t.Errorf("from the application: got %d %s", page.status, page.body)
	}
	if in := s.send(b, "POST", "/auth/sso", form); in.status != 303 || in.next != "/q" {
		t.Errorf("from the page: got %d to %q", in.status, in.next)
	}
}

// Linking asks for a sign-in of the last minutes and never signs anybody in.
func TestLink(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser()
	if out := s.send(b, "POST", "/auth/link/jwt", url.Values{}); out.status != 401 {
		t.Errorf("nobody: got %d", out.status)
	}
	s.send(b, "POST", "/sign-in", jane())
	twice := s.send(b, "POST", "/auth/link/jwt", url.Values{}, func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "__Host-at", Value: "x"}) })
	if twice.status != 401 {
		t.Errorf("with a second cookie of that name: got %d", twice.status)
	}
	now := time.Now()
	if err := s.db.InsertSession(t.Context(), registry.UserSession{ID: "old", User: s.jane.ID, Provider: "local", Kind: "browser",
		CreatedAt: now, LastSeen: now, Expires: now.Add(time.Hour), AuthenticatedAt: now.Add(-authn.FreshFor)}); err != nil {
		t.Fatal(err)
	}
	old := s.browser()
	old.Jar.SetCookies(must(url.Parse(s.http.URL)), []*http.Cookie{{Name: "__Host-at", Value: must(s.door.Users.Tokens.Issue(s.jane.ID, "old")), Secure: true, Path: "/"}})
	if out := s.send(old, "POST", "/auth/link/jwt", url.Values{}); out.status != 403 {
		t.Errorf("C52: with an old sign-in: got %d", out.status)
	}
	// A browser's policy may forbid a form to lead elsewhere; a page may.
	left := s.send(b, "POST", "/auth/link/jwt", url.Values{}, func(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "navigate") })
	if refresh := left.header.Get("Refresh"); left.status != 200 || left.next != "" || !strings.HasPrefix(refresh, "0; url=https://idp.example/?") {
		t.Errorf("from a form of a page: got %d, refresh %q", left.status, refresh)
	}
	begun := s.send(b, "POST", "/auth/link/jwt", url.Values{})
	u, err := url.Parse(begun.next)
	if err != nil || begun.status != 303 {
		t.Fatalf("got %d to %q, %v", begun.status, begun.next, err)
	}
	back := url.Values{"jwt": {s.assertion(jwt.MapClaims{"sub": "77", "email": "other@example.com"})}, "state": {u.Query().Get("state")}, "return_to": {"/"}}
	if out := s.send(b, "GET", "/auth/sso?"+back.Encode(), nil); out.status != 303 {
		t.Fatalf("got %d %s", out.status, out.body)
	}
	other := s.browser()
	begun = s.send(other, "GET", "/auth/sso", nil)
	u, _ = url.Parse(begun.next)
	back = url.Values{"jwt": {s.assertion(jwt.MapClaims{"sub": "77", "email": "other@example.com"})}, "state": {u.Query().Get("state")}, "return_to": {"/"}}
	s.send(other, "GET", "/auth/sso?"+back.Encode(), nil)
	if p, err := s.door.Users.Verify(t.Context(), s.cookie(other, "__Host-at")); err != nil || p.User.ID != s.jane.ID {
		t.Errorf("the linked identity signs in as %v, %v", p.User.Username, err)
	}
}

// B6 and what else goes wrong, with and without pages elsewhere.
func TestProblems(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, test := range []struct {
		method, path string
		want         int
		says         string
	}{
		{"GET", "/oauth/login/none", 404, "no such way"},
		{"GET", "/oauth/callback/none?state=x", 401, "Begin again"},
		{"GET", "/auth/sso?jwt=x&state=y", 401, "Begin again"},
		{"GET", "/api/auth/oidc/login", 400, "not configured"},
		{"POST", "/sign-in", 400, "not what is expected"},
		{"POST", "/sign-in/second-factor", 401, "signed out"},
	} {
		var form url.Values
		if test.method == "POST" {
			form = url.Values{}
		}
		out := s.send(s.browser(), test.method, test.path, form)
		if out.status != test.want || !strings.Contains(out.body, test.says) {
			t.Errorf("%s %s: got %d %s", test.method, test.path, out.status, out.body)
		}
	}
	s.door.Users.SetProviders(s.door.Users.Providers()[:1]...)
	if out := s.send(s.browser(), "GET", "/auth/sso", nil); out.status != 400 {
		t.Errorf("B6: not enabled: got %d", out.status)
	}
	ui := newSite(t, func(s *site) { s.door.ErrorUI = "https://ui.example/login?x=1" })
	out := ui.send(ui.browser(), "GET", "/oauth/callback/jwt?state=x&jwt=canary", nil)
	u, err := url.Parse(out.next)
	if err != nil || out.status != 303 || u.Host != "ui.example" || u.Query().Get("x") != "1" || u.Query().Get("error_code") != "try_again" || u.Query().Get("error") == "" || strings.Contains(out.next, "canary") {
		t.Errorf("G6: got %d to %q", out.status, out.next)
	}
}

// A second factor between the password and the session.
func TestSecondFactorPage(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(s *site) { s.door.Users.Factors = oneCode{} })
	b := s.browser()
	more := s.send(b, "POST", "/sign-in", jane())
	if more.status != 303 || more.next != "/sign-in/second-factor?return_to=%2Fdevices" || s.cookie(b, "__Host-at") != "" {
		t.Fatalf("got %d to %q", more.status, more.next)
	}
	ticket := s.cookie(b, "__Host-2f")
	if ticket == "" || strings.Contains(more.next, ticket) {
		t.Fatal("the ticket is not in a cookie alone")
	}
	if out := s.send(b, "POST", "/sign-in/second-factor", url.Values{"code": {"000000"}, "return_to": {"/devices"}}); out.status != 401 || s.cookie(b, "__Host-at") != "" ||
		!strings.Contains(out.body, "One more step") || !strings.Contains(out.body, `value="/devices"`) {
		t.Errorf("a wrong code is not asked for again: got %d %s", out.status, out.body)
	}
	if out := s.send(b, "POST", "/sign-in/second-factor/passkey", url.Values{}); out.status != 404 || !strings.Contains(out.body, "no passkey") {
		t.Errorf("a passkey of who has none: got %d", out.status)
	}
	if out := s.send(s.browser(), "POST", "/sign-in/second-factor/passkey", url.Values{}); out.status != 401 {
		t.Errorf("a passkey of nobody: got %d", out.status)
	}
	if out := s.send(b, "POST", "/sign-in/second-factor", url.Values{"code": {"123456"}, "return_to": {"/devices"}}); out.status != 303 || out.next != "/devices" || s.cookie(b, "__Host-2f") != "" {
		t.Errorf("the code: got %d to %q", out.status, out.next)
	}
	p, err := s.door.Users.Verify(t.Context(), s.cookie(b, "__Host-at"))
	if err != nil || p.Session.AMR != "pwd otp mfa" {
		t.Errorf("got %q, %v", p.Session.AMR, err)
	}
	late := s.browser()
	late.Jar.SetCookies(must(url.Parse(s.http.URL)), []*http.Cookie{{Name: "__Host-2f", Value: ticket, Secure: true, Path: "/"}})
	if out := s.send(late, "POST", "/sign-in/second-factor", url.Values{"code": {"123456"}}); out.status != 401 {
		t.Errorf("the ticket a second time: got %d", out.status)
	}
}

// A passkey is asked for by a page whose form the script fills.
func TestPasskeyPage(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(s *site) { s.door.Users.Factors = onePasskey{} })
	b := s.browser()
	more := s.send(b, "POST", "/sign-in", jane())
	if more.next != "/sign-in/second-factor?passkey&return_to=%2Fdevices" {
		t.Fatalf("it leads to %q", more.next)
	}
	if page := s.send(b, "GET", more.next, nil); !strings.Contains(page.body, "Use a passkey") {
		t.Errorf("no passkey is offered: %s", page.body)
	}
	page := s.send(b, "POST", "/sign-in/second-factor/passkey", url.Values{"return_to": {"/devices"}})
	if page.status != 200 || !strings.Contains(page.body, `data-options="{&#34;publicKey&#34;:{}}"`) || !strings.Contains(page.body, `value="/devices"`) {
		t.Errorf("got %d %s", page.status, page.body)
	}
	if in := s.send(b, "POST", "/sign-in/second-factor", url.Values{"passkey": {`{"signed":true}`}, "return_to": {"/devices"}}); in.status != 303 || in.next != "/devices" {
		t.Errorf("got %d to %q", in.status, in.next)
	}
}

// onePasskey is a passkey that everybody has.
type onePasskey struct{}

func (onePasskey) Methods(context.Context, registry.UserID) ([]string, error) {
	return []string{"passkey"}, nil
}

func (onePasskey) Challenge(context.Context, registry.User) (json.RawMessage, error) {
	return json.RawMessage(`{"publicKey":{}}`), nil
}

func (onePasskey) Check(_ context.Context, _ registry.UserID, p authn.Proof) (string, error) {
	if string(p.Passkey) != `{"signed":true}` || p.Code != "" || p.RecoveryCode != "" {
		return "", &authn.RefusedError{Reason: registry.ReasonSecondFactorWrong}
	}
	return "pop", nil
}

// Five wrong codes end a ticket.
func TestSecondFactorIsNotGuessed(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(s *site) { s.door.Users.Factors = oneCode{} })
	b := s.browser()
	s.send(b, "POST", "/sign-in", jane())
	for range 5 {
		s.send(b, "POST", "/sign-in/second-factor", url.Values{"code": {"000000"}})
	}
	if out := s.send(b, "POST", "/sign-in/second-factor", url.Values{"code": {"123456"}}); out.status == 303 {
		t.Error("the right code after five wrong ones is taken")
	}
}

// oneCode is a second factor that everybody has.
type oneCode struct{}

func (oneCode) Methods(context.Context, registry.UserID) ([]string, error) {
	return []string{"totp"}, nil
}

func (oneCode) Challenge(context.Context, registry.User) (json.RawMessage, error) {
	return nil, registry.ErrNotFound
}

func (oneCode) Check(_ context.Context, _ registry.UserID, p authn.Proof) (string, error) {
	if p.Code != "123456" {
		return "", &authn.RefusedError{Reason: registry.ReasonSecondFactorWrong}
	}
	return "otp", nil
}

// C67: what is served is what Patterns says, and nothing beside it.
func TestPatterns(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if len(Patterns()) != len(routes) {
		t.Errorf("%d patterns of %d routes", len(Patterns()), len(routes))
	}
	for _, path := range []string{"/", "/sign-in/", "/auth/", "/oauth/login/", "/api/auth/oidc/", "/pages/style.css"} {
		if out := s.send(s.browser(), "GET", path, nil); out.status != 404 {
			t.Errorf("%s: got %d", path, out.status)
		}
	}
}

func FuzzCallback(f *testing.F) {
	f.Add("jwt", "state=x&jwt=a.b.c")
	f.Add("local", "code=%00&code=2")
	door := newSite(f).door.Handler()
	f.Fuzz(func(t *testing.T, provider, query string) {
		r := httptest.NewRequest("GET", "/oauth/callback/"+url.PathEscape(provider), nil)
		r.URL.RawQuery, r.TLS = query, &tls.ConnectionState{}
		w := httptest.NewRecorder()
		door.ServeHTTP(w, r)
		if w.Code < 300 || w.Code >= 500 || len(w.Result().Cookies()) > 0 {
			t.Errorf("%q %q: got %d", provider, query, w.Code)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
