package test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/postern-io/postern/authn/header/nginxtest"
	"github.com/postern-io/postern/authn/ldap/slapdtest"
	"github.com/postern-io/postern/authn/oidc/oidctest"
	"github.com/postern-io/postern/test/sampleidp"
)

const ownerPassword = "nine grey herons over the weir"

// base is the server as people reach it.
func (s *server) base() string { return "https://localhost:" + s.https }

// browser returns a browser of its own that trusts the server, follows nothing
// by itself, and keeps cookies.
func (s *server) browser() *http.Client {
	s.t.Helper()
	pem, err := os.ReadFile(filepath.Join(s.dir, "data", "ca.crt"))
	if err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &http.Client{Jar: jar, Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// visit gets a page and returns its status, where it leads, and its text.
func visit(t *testing.T, c *http.Client, address string, edits ...func(*http.Request)) (status int, next, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range edits {
		e(r)
	}
	return answer(t, c, r)
}

func post(t *testing.T, c *http.Client, address string, form url.Values) (status int, next, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return answer(t, c, r)
}

func answer(t *testing.T, c *http.Client, r *http.Request) (status int, next, body string) {
	t.Helper()
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Location"), string(text)
}

// profile is who the browser is, by its cookie or what a proxy adds.
func profile(t *testing.T, c *http.Client, base string, edits ...func(*http.Request)) map[string]any {
	t.Helper()
	status, _, body := visit(t, c, base+"/api/users/profile", edits...)
	if status != http.StatusOK {
		t.Fatalf("the profile: %d %s", status, body)
	}
	var p map[string]any
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// issue signs in by name and password through the API.
func (s *server) issue(name, password string) (status int, body string) {
	s.t.Helper()
	in, err := json.Marshal(map[string]string{"username": name, "password": password})
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), "POST", s.base()+"/api/users/tokens/issue", strings.NewReader(string(in)))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	status, _, body = answer(s.t, s.browser(), r)
	return status, body
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// Seed 1's LDAP section, with just its variables, against a real OpenLDAP.
func TestSeed1LDAP(t *testing.T) {
	t.Parallel()
	directory := slapdtest.Start(t)
	s := reserve(t)
	s.up("AUTHENTICATION_MODE=ldap", "LDAP_ADMIN_USERNAME=admin",
		"LDAP_SERVER="+directory.LDAPSURL, "POSTERN_AUTH_LDAP_CA_FILE="+directory.CAFile,
		"LDAP_BIND_DN="+directory.BindDN, "LDAP_BIND_PASSWORD="+directory.BindPassword, "LDAP_BASE_DN="+slapdtest.BaseDN,
		"LDAP_AUTHENTICATION_FILTER="+slapdtest.AuthenticationFilter, "LDAP_AUTHORIZATION_FILTER="+slapdtest.AuthorizationFilter,
		`LDAP_ROLES_MAPPING={"`+slapdtest.AdminsDN+`":["Admin"],"`+slapdtest.GroupDN+`":["Editor","Viewer"]}`)
	role := func(name, password string) string {
		status, body := s.issue(name, password)
		if status != http.StatusCreated {
			t.Fatalf("%s: %d %s", name, status, body)
		}
		var tokens struct {
			Access string `json:"access_token"`
		}
		if err := json.Unmarshal([]byte(body), &tokens); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(profile(t, s.browser(), s.base(), bearer(tokens.Access))["role"])
	}
	want(t, "the role of alice", role("alice", slapdtest.AlicePassword), "editor")
	want(t, "the role of the owner", role("admin", slapdtest.AdminPassword), "owner")
	for name, password := range map[string]string{
		"alice": "wrong", "*": slapdtest.AlicePassword, "alice)(uid=*": slapdtest.AlicePassword, "bob": slapdtest.BobPassword, "nobody": "x",
	} {
		if status, body := s.issue(name, password); status != http.StatusUnauthorized || !strings.Contains(body, "Name or password is wrong") {
			t.Errorf("%s: %d %s, want it refused like all others", name, status, body)
		}
	}

	// C65: away is not wrong.
	directory.Pause(t)
	begin := time.Now()
	if status, body := s.issue("alice", slapdtest.AlicePassword); status != http.StatusServiceUnavailable {
		t.Errorf("a directory that hangs: %d %s, want 503", status, body)
	}
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("a directory that hangs held the answer up for %s", took)
	}
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// Seed 2, with just its variables and who the proxy is, through a real nginx.
func TestSeed2Header(t *testing.T) {
	t.Parallel()
	s := newServer(t, "IDP_HEADER_AUTH_ENABLED=true", "IDP_HEADER_AUTH_PRINCIPAL_HEADER=remote-user",
		"IDP_HEADER_AUTH_GROUP_HEADER=remote-groups", "IDP_HEADER_AUTH_CLIENTIP_HEADER=x-forwarded-for",
		"IDP_HEADER_AUTH_FAIL_IF_HEADER_MISSING=false", "POSTERN_AUTH_HEADER_TRUSTED_PROXIES=127.0.0.1/32",
		"POSTERN_OWNER_EMAIL=jane@example.com", "POSTERN_OWNER_PASSWORD="+ownerPassword)
	proxy := nginxtest.Start(t, nginxtest.Config{Upstream: "http://127.0.0.1:" + s.http, People: map[string]nginxtest.Person{
		"header-user": {Password: "one", Groups: "administrator"}, "guest": {Password: "two", Groups: "others"},
	}})
	as := func(name, password string) func(*http.Request) {
		return func(r *http.Request) {
			r.SetBasicAuth(name, password)
			r.Header.Set("Remote-User", "jane")
			r.Header.Set("Remote-Groups", "administrator")
		}
	}
	p := profile(t, s.browser(), proxy, as("header-user", "one"))
	want(t, "the name", p["credentials"].(map[string]any)["username"], "header-user")
	want(t, "the role", p["role"], "admin")
	guest := profile(t, s.browser(), proxy, as("guest", "two"))
	if guest["role"] == "admin" || guest["id"] == p["id"] {
		t.Errorf("O8: a guest is %v", guest)
	}
	if status, _, body := visit(t, s.browser(), proxy+"/api/users", as("header-user", "one")); status != http.StatusOK {
		t.Errorf("an administrator may not list users: %d %s", status, body)
	}

	// O7, C58: not the local owner.
	local, body := s.issue("jane", ownerPassword)
	if local != http.StatusCreated {
		t.Fatalf("the local owner: %d %s", local, body)
	}
	_, _, list := visit(t, s.browser(), proxy+"/api/users?name=jane", as("header-user", "one"))
	var page struct {
		Users []struct{ ID string } `json:"users"`
	}
	if err := json.Unmarshal([]byte(list), &page); err != nil || len(page.Users) != 1 {
		t.Fatalf("%v: %s", err, list)
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", proxy+"/api/users/"+page.Users[0].ID+"/disable", nil)
	if err != nil {
		t.Fatal(err)
	}
	as("header-user", "one")(r)
	if status, _, body := answer(t, s.browser(), r); status != http.StatusForbidden {
		t.Errorf("O7: a header administrator disables a local owner: %d %s", status, body)
	}
}

// Seed 2's warning: the same header from anybody else says nothing, and a start
// that would believe everybody is refused.
func TestHeaderFromAnybody(t *testing.T) {
	t.Parallel()
	s := newServer(t, "IDP_HEADER_AUTH_ENABLED=true", "POSTERN_AUTH_HEADER_TRUSTED_PROXIES=192.0.2.1")
	if status, _, body := visit(t, s.browser(), s.base()+"/api/users/profile", func(r *http.Request) {
		r.Header.Set("Remote-User", "admin")
		r.Header.Set("Remote-Groups", "administrator")
	}); status != http.StatusUnauthorized {
		t.Errorf("a header from anybody: %d %s", status, body)
	}
	strict := newServer(t, "IDP_HEADER_AUTH_ENABLED=true", "POSTERN_AUTH_HEADER_TRUSTED_PROXIES=192.0.2.1", "IDP_HEADER_AUTH_FAIL_IF_HEADER_MISSING=true",
		"POSTERN_OWNER_EMAIL=jane@example.com", "POSTERN_OWNER_PASSWORD="+ownerPassword)
	if status, body := strict.issue("jane", ownerPassword); status != http.StatusUnauthorized {
		t.Errorf("O6: a password without the header: %d %s", status, body)
	}
	refusedStart(t, "TRUSTED_PROXIES", "IDP_HEADER_AUTH_ENABLED=true")
}

// refusedStart starts a server that must not run, and looks for words in what it
// says.
func refusedStart(t *testing.T, words string, env ...string) {
	t.Helper()
	s := reserve(t)
	out, err := s.serveOnce(env...)
	if err == nil || !strings.Contains(out, words) {
		t.Errorf("with %v: %v, said %s; want a refusal that speaks of %s", env, err, out, words)
	}
}

// Seed 3, flow A: the sample application signs somebody in.
func TestSeed3JWT(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("4f", 7) + "0123456789abcdefe1d7c3b5a99788665544332211f0d2"
	s := reserve(t)
	idp := httptest.NewServer(sampleidp.Handler(secret, s.base(), map[string]sampleidp.Person{
		"rene": {Password: "p", Claims: map[string]any{"email": "rene@example.com", "first_name": "René", "last_name": "M", "groups": []string{"extHR"}, "plan": "gold"}},
	}))
	t.Cleanup(idp.Close)
	s.up("MB_JWT_ENABLED=true", "MB_JWT_IDENTITY_PROVIDER_URI="+idp.URL+"/", "MB_JWT_SHARED_SECRET="+secret,
		"MB_JWT_GROUP_SYNC=true", `MB_JWT_GROUP_MAPPINGS={"extHR":"editor"}`)
	signIn := func(b *http.Client, from string) (status int, next string) {
		_, to, _ := visit(t, b, s.base()+from)
		u, err := url.Parse(to)
		if err != nil || u.Host != strings.TrimPrefix(idp.URL, "http://") {
			t.Fatalf("it leads to %q, %v", to, err)
		}
		q := u.Query()
		q.Set("name", "rene")
		q.Set("password", "p")
		_, back, body := post(t, b, idp.URL+"/", q)
		if back == "" {
			t.Fatalf("the application says %s", body)
		}
		status, next, _ = visit(t, b, back)
		return status, next
	}
	b := s.browser()
	status, next := signIn(b, "/auth/sso?redirect=/question/1-superb-question")
	want(t, "the way back", next, "/question/1-superb-question")
	want(t, "its status", status, 303)
	p := profile(t, b, s.base())
	want(t, "the role", p["role"], "editor")
	want(t, "the first name", p["first_name"], "René")
	want(t, "B8: the attributes", p["attributes"], map[string]any{"plan": "gold"})
	for _, c := range b.Jar.Cookies(mustURL(t, s.base())) {
		if c.Name != "__Host-at" && c.Name != "__Host-flow" && c.Name != "__Host-resumable" {
			t.Errorf("C54: a cookie %s", c.Name)
		}
	}
	if _, next := signIn(s.browser(), "/auth/sso?return_to=//evil.example"); next != "/" {
		t.Errorf("C43: it leads to %s", next)
	}

	// A token that nobody here asked for, and one that was used.
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"email": "eve@example.com", "exp": time.Now().Add(time.Minute).Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	if status, _, _ := visit(t, s.browser(), s.base()+"/auth/sso?jwt="+token+"&return_to=/"); status != http.StatusUnauthorized {
		t.Errorf("C42: got %d, want 401", status)
	}
	if log := s.logged(); strings.Contains(log, token) || strings.Contains(log, secret) {
		t.Error("C35: a token or the secret is in the log")
	}
	refusedStart(t, "POSTERN_AUTH_JWT_SHARED_SECRET", "MB_JWT_ENABLED=true", "MB_JWT_IDENTITY_PROVIDER_URI="+idp.URL, "MB_JWT_SHARED_SECRET=secret")
	refusedStart(t, "no owner could sign in", "MB_JWT_ENABLED=true", "MB_JWT_IDENTITY_PROVIDER_URI="+idp.URL, "MB_JWT_SHARED_SECRET="+secret, "MB_ENABLE_PASSWORD_LOGIN=false")
}

// Seed 3, flow B: with PKCE, and passwords switched off, which is taken because a
// group makes owners.
func TestSeed3PKCE(t *testing.T) {
	t.Parallel()
	const secret = "c0ffee5badc0de9d8e7f60514233241516f7e8d9cabb0a1b2c3d4e5f60718293"
	s := reserve(t)
	idp := httptest.NewServer(sampleidp.Handler(secret, s.base(), map[string]sampleidp.Person{"rene": {Password: "p", Claims: map[string]any{"email": "rene@example.com", "groups": "root"}}}))
	t.Cleanup(idp.Close)
	s.up("MB_ENABLE_PASSWORD_LOGIN=false", "MB_JWT_GROUP_SYNC=true", `MB_JWT_GROUP_MAPPINGS={"root":"owner"}`, "POSTERN_AUTH_JWT_ALLOW_OWNER_MAPPING=true",
		"MB_JWT_ENABLED=true", "MB_JWT_IDENTITY_PROVIDER_URI="+idp.URL+"/", "MB_JWT_SHARED_SECRET="+secret,
		"MB_JWT_TOKEN_URI="+idp.URL+"/token", "POSTERN_AUTH_JWT_CLIENT_ID=postern")
	b := s.browser()
	_, to, _ := visit(t, b, s.base()+"/auth/sso?return_to=/x")
	q := mustURL(t, to).Query()
	want(t, "C29: the challenge method", q.Get("code_challenge_method"), "S256")
	q.Set("name", "rene")
	q.Set("password", "p")
	_, back, _ := post(t, b, idp.URL+"/", q)
	if status, _, _ := visit(t, s.browser(), back); status != http.StatusUnauthorized {
		t.Errorf("C28: another browser: got %d, want 401", status)
	}
	_, to, _ = visit(t, b, s.base()+"/auth/sso?return_to=/x")
	q = mustURL(t, to).Query()
	q.Set("name", "rene")
	q.Set("password", "p")
	_, back, _ = post(t, b, idp.URL+"/", q)
	_, next, body := visit(t, b, back)
	if next != "/x" {
		t.Fatalf("it leads to %q: %s", next, body)
	}
	p := profile(t, b, s.base())
	want(t, "the e-mail", p["email"], "rene@example.com")
	want(t, "the role", p["role"], "owner")
	if status, body := s.issue("rene@example.com", "p"); status != http.StatusUnauthorized {
		t.Errorf("B12: a password, with passwords off: %d %s", status, body)
	}
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

const clientSecret = "a-client-secret-of-forty-characters-or-so"

// Seed 4, with its four variables, at a certified provider.
func TestSeed4ExternalOIDC(t *testing.T) {
	t.Parallel()
	s := reserve(t)
	op := oidctest.Start(t, oidctest.Config{Clients: []oidctest.Client{{ID: "lab", Secret: clientSecret, RedirectURIs: []string{s.base() + "/api/auth/oidc/callback"}}}})
	s.up("LAB_EXTERNAL_OIDC_AUTH_URL="+op.Issuer+"/auth", "LAB_EXTERNAL_OIDC_TOKEN_URL="+op.Issuer+"/token",
		"LAB_EXTERNAL_OIDC_CLIENT_ID=lab", "LAB_EXTERNAL_OIDC_CLIENT_SECRET="+clientSecret)
	b := s.browser()
	if _, _, body := visit(t, b, s.base()+"/api/auth/oidc/enabled"); !strings.Contains(body, `"enabled":true`) {
		t.Errorf("it is not enabled: %s", body)
	}
	status, to, body := visit(t, b, s.base()+"/api/auth/oidc/login")
	if status != http.StatusSeeOther {
		t.Fatalf("login: %d %s", status, body)
	}
	back := oidctest.Login(t, oidctest.NewBrowser(), to, "alice")
	if status, _, _ := visit(t, s.browser(), back.String()); status != http.StatusUnauthorized {
		t.Errorf("C28: another browser: %d", status)
	}
	status, next, body := visit(t, b, back.String())
	if status != http.StatusUnauthorized { // the flow is used up by the other browser's try
		t.Errorf("a state that was used: %d to %s: %s", status, next, body)
	}
	_, to, _ = visit(t, b, s.base()+"/api/auth/oidc/login")
	status, next, body = visit(t, b, oidctest.Login(t, oidctest.NewBrowser(), to, "alice").String())
	if status != http.StatusSeeOther || next != "/" {
		t.Fatalf("the callback: %d to %q: %s", status, next, body)
	}
	p := profile(t, b, s.base())
	want(t, "the e-mail", p["email"], "alice@example.com")
	want(t, "the provider", p["provider"], "lab")

	// C27: the same address, unverified.
	other := s.browser()
	_, to, _ = visit(t, other, s.base()+"/api/auth/oidc/login")
	status, _, body = visit(t, other, oidctest.Login(t, oidctest.NewBrowser(), to, "mallory").String())
	if status != http.StatusUnauthorized || !strings.Contains(body, "Sign in as you did before") {
		t.Errorf("mallory: %d %s", status, body)
	}

	// C49: signing out ends the session, not the cookie alone.
	stolen := cookie(b, s.base(), "__Host-at")
	if status, next, _ := post(t, b, s.base()+"/auth/sign-out", nil); status != http.StatusSeeOther || next != "/sign-in?signed_out=lab" {
		t.Errorf("sign-out: %d to %s", status, next)
	}
	if _, _, page := visit(t, b, s.base()+"/sign-in?signed_out=lab"); !strings.Contains(page, "/session/end") {
		t.Errorf("C68: no way to sign out at the provider: %s", page)
	}
	if status, _, _ := visit(t, s.browser(), s.base()+"/api/users/profile", bearer(stolen)); status != http.StatusUnauthorized {
		t.Errorf("the cookie after sign-out: %d", status)
	}

	// C65: the provider away, passwords stay.
	op.Stop()
	if status, _, body := visit(t, s.browser(), s.base()+"/api/auth/oidc/callback?code=x&state=y"); status != http.StatusUnauthorized {
		t.Errorf("a callback of nobody: %d %s", status, body)
	}
	if status, body := s.issue("nobody", "x"); status != http.StatusUnauthorized {
		t.Errorf("passwords, with the provider away: %d %s", status, body)
	}
}

func cookie(b *http.Client, base, name string) string {
	u, _ := url.Parse(base) // a constant of the test
	for _, c := range b.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// Seed 5: Google by its variables, which a certified provider stands in for;
// both callbacks; errors to the UI.
func TestSeed5Google(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/oauth/callback/google", "/google-callback"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			s := reserve(t)
			back := s.base() + path
			op := oidctest.Start(t, oidctest.Config{Clients: []oidctest.Client{{ID: "mg", Secret: clientSecret, RedirectURIs: []string{back}}}})
			s.up("MG_GOOGLE_CLIENT_ID=mg", "MG_GOOGLE_CLIENT_SECRET="+clientSecret, "MG_GOOGLE_REDIRECT_URL="+back,
				"MG_GOOGLE_STATE=pGXVNhEeKfycuBzk5InlSfMlEU9UrhlkTUOSqhsgDzXP2Y4RsN", "MG_USERS_UI_REDIRECT_URL=http://localhost:9090",
				"POSTERN_AUTH_GOOGLE_ISSUER="+op.Issuer)
			b := s.browser()
			_, to, body := visit(t, b, s.base()+"/oauth/login/google")
			if to == "" {
				t.Fatalf("login: %s", body)
			}
			landing := oidctest.Login(t, oidctest.NewBrowser(), to, "alice")
			want(t, "the callback", landing.Path, path)
			r, err := http.NewRequestWithContext(t.Context(), "GET", landing.String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := b.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			want(t, "where it ends", resp.Header.Get("Location"), "http://localhost:9090")
			for _, line := range resp.Header.Values("Set-Cookie") {
				if !strings.Contains(line, "HttpOnly") || !strings.Contains(line, "Secure") || !strings.Contains(line, "SameSite=") {
					t.Errorf("C54: %s", strings.SplitN(line, "=", 2)[0])
				}
			}
			want(t, "the e-mail", profile(t, b, s.base())["email"], "alice@example.com")

			_, to, _ = visit(t, b, s.base()+"/oauth/login/google")
			_, next, _ := visit(t, b, oidctest.Login(t, oidctest.NewBrowser(), to, "").String())
			if u := mustURL(t, next); u.Host != "localhost:9090" || u.Query().Get("error") == "" || u.Query().Get("error_code") != "provider_refused" {
				t.Errorf("G6: a refusal leads to %s", next)
			}
		})
	}
}

// Any provider by its issuer, with roles from its groups.
func TestOIDCByIssuer(t *testing.T) {
	t.Parallel()
	s := reserve(t)
	op := oidctest.Start(t, oidctest.Config{Clients: []oidctest.Client{{ID: "us", Secret: clientSecret, RedirectURIs: []string{s.base() + "/oauth/callback/oidc"}}}})
	s.up("OIDC_DISCOVERY_URL="+op.Issuer+"/.well-known/openid-configuration", "OIDC_CLIENT_ID=us", "OIDC_CLIENT_SECRET="+clientSecret,
		`OIDC_ROLES_MAPPING={"operators":"Admin"}`, "UPDATE_ROLES_ON_LOGIN=1")
	b := s.browser()
	if _, _, page := visit(t, b, s.base()+"/sign-in?return_to=/x"); !strings.Contains(page, `href="/oauth/login/oidc?return_to=%2Fx"`) {
		t.Errorf("the sign-in page has no button: %s", page)
	}
	_, to, _ := visit(t, b, s.base()+"/oauth/login/oidc?return_to=/x")
	status, next, body := visit(t, b, oidctest.Login(t, oidctest.NewBrowser(), to, "alice").String())
	if next != "/x" {
		t.Fatalf("the callback: %d to %q: %s", status, next, body)
	}
	want(t, "the role", profile(t, b, s.base())["role"], "admin")
}

// REQUIRE_USER_AUTHENTICATION=0 is for this machine alone.
func TestOpenHouse(t *testing.T) {
	t.Parallel()
	s := newServer(t, "REQUIRE_USER_AUTHENTICATION=0")
	if status, _, body := visit(t, s.browser(), s.base()+"/api/users"); status != http.StatusOK {
		t.Errorf("from here: %d %s", status, body)
	}
	if status, _, _ := visit(t, s.browser(), s.base()+"/api/users", func(r *http.Request) { r.Host = "evil.example" }); status != http.StatusUnauthorized {
		t.Errorf("by another name: %d, want 401", status)
	}
	refusedStart(t, "loopback", "REQUIRE_USER_AUTHENTICATION=0", "POSTERN_HTTP_ADDR=:0")
}

// Seed 2 with a proxy that proves itself by a certificate: it may come from
// anywhere, and its authority vouches for no device, whatever name it writes.
func TestProxyByCertificate(t *testing.T) {
	t.Parallel()
	ssl, err := filepath.Abs("../docker/ssl")
	if err != nil {
		t.Fatal(err)
	}
	crt := t.TempDir()
	mk := func(target string) {
		t.Helper()
		if out, err := (&server{t: t, dir: crt}).run("make -s -C " + ssl + " CRT_LOCATION=" + crt + " " + target); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	mk("ca")
	s := newServer(t, "IDP_HEADER_AUTH_ENABLED=true", "POSTERN_AUTH_HEADER_PROXY_CLIENT_CA="+crt+"/ca.crt")
	g := s.quick()
	mk("client_cert CLIENT_SECRET=" + g.sensor.secret + " CRT_FILE_NAME=proxy")
	curl := "curl -sS --cacert data/ca.crt "
	proxy := curl + "--cert " + crt + "/proxy.crt --key " + crt + "/proxy.key "
	headers := "-H 'Remote-User: header-user' -H 'Remote-Groups: administrator' "
	if out, err := s.run(proxy + headers + s.base() + "/api/users/profile"); err != nil || !strings.Contains(out, `"role":"admin"`) {
		t.Errorf("the proxy: %s, %v", out, err)
	}
	if out, err := s.run(curl + headers + s.base() + "/api/users/profile"); err != nil || !strings.Contains(out, "unauthenticated") {
		t.Errorf("without the certificate: %s, %v", out, err)
	}
	publish := "-o /dev/null -w '%{http_code}' -d x " + s.base() + "/http/" + g.topic
	if out, err := s.run(curl + "-H 'Authorization: Client " + g.sensor.secret + "' " + publish); err != nil || out != "202" {
		t.Fatalf("the device: %s, %v", out, err)
	}
	if out, err := s.run(proxy + publish); err != nil || out != "401" {
		t.Errorf("the proxy's certificate opens a device door: %s, %v", out, err)
	}
	if out, err := s.run(proxy + "-H 'Authorization: Client " + g.sensor.secret + "' " + publish); err != nil || out != "202" {
		t.Errorf("a device behind the proxy: %s, %v", out, err)
	}
	refusedStart(t, "every device would be a proxy", "IDP_HEADER_AUTH_ENABLED=true", "POSTERN_AUTH_HEADER_PROXY_CLIENT_CA="+crt+"/ca.crt", "POSTERN_CLIENT_CA="+crt+"/ca.crt")
}
