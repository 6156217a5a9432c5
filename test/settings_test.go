package test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postern-io/postern/authn/ldap/slapdtest"
	"github.com/postern-io/postern/authn/oidc/oidctest"
	"github.com/postern-io/postern/test/sampleidp"
)

const sharedSecret = "c0ffee5badc0de9d8e7f60514233241516f7e8d9cabb0a1b2c3d4e5f60718293"

// adjust changes settings of signing in as an owner.
func (s *server) adjust(token string, changes map[string]any, more ...string) {
	s.t.Helper()
	body := map[string]any{"revision": s.want(200, "GET", "/settings/authentication", token, nil)["revision"], "changes": changes}
	if len(more) > 0 {
		body["confirm"] = more[0]
	}
	s.want(200, "PATCH", "/settings/authentication", token, body)
}

// tried is what a test of a way to sign in says, one step a line.
func (s *server) tried(token, way string, changes map[string]any) (ok bool, says string) {
	s.t.Helper()
	out := s.want(200, "POST", "/settings/authentication/test", token, map[string]any{"way": way, "changes": changes})
	for _, step := range out["steps"].([]any) {
		says += step.(map[string]any)["says"].(string) + "\n"
	}
	return out["ok"].(bool), says
}

// Two nodes: what is changed at the one counts at the other at once, without a
// restart. People sign in by what was not there before, and by a password no
// longer.
func TestSettingsWhileRunning(t *testing.T) {
	t.Parallel()
	shared := []string{
		"POSTERN_DATABASE_URL=" + postgres.URL(t), "POSTERN_NATS_URL=" + outside(t), "POSTERN_SECRET_KEY=" + strings.Repeat("0f", 32),
		"POSTERN_OWNER_EMAIL=owner@example.com", "POSTERN_OWNER_PASSWORD=" + ownerPassword,
	}
	two := reserve(t)
	one := newServer(t, append(shared, "POSTERN_PUBLIC_URL="+two.base())...)
	two.up(append(shared, "POSTERN_PUBLIC_URL="+two.base())...)
	token := one.signIn("owner", ownerPassword)

	// By JWT, as seed 3 has it.
	idp := httptest.NewServer(sampleidp.Handler(sharedSecret, two.base(), map[string]sampleidp.Person{
		"rene": {Password: "p", Claims: map[string]any{"email": "rene@example.com", "groups": []string{"roots"}}},
	}))
	t.Cleanup(idp.Close)
	jwt := map[string]any{
		"auth-jwt-enabled": "true", "auth-jwt-idp-uri": idp.URL + "/", "auth-jwt-shared-secret": sharedSecret, "auth-jwt-title": "the weir",
		"auth-jwt-group-sync": "true", "auth-jwt-role-map": `{"roots":"owner"}`, "auth-jwt-allow-owner-mapping": "true",
	}
	if ok, says := one.tried(token, "jwt", jwt); !ok || !strings.Contains(says, "The identity provider answers.") {
		t.Errorf("the test of the JWT settings says %s", says)
	}
	if _, _, page := visit(t, two.browser(), two.base()+"/sign-in"); strings.Contains(page, "the weir") {
		t.Error("a test has changed something")
	}
	one.adjust(token, jwt)
	b := two.browser()
	two.eventually("the other node's sign-in page has the button", func() error {
		if _, _, page := visit(t, b, two.base()+"/sign-in?return_to=/x"); !strings.Contains(page, "the weir") {
			return errors.New(page)
		}
		return nil
	})
	_, to, _ := visit(t, b, two.base()+"/auth/sso?return_to=/x")
	q := mustURL(t, to).Query()
	q.Set("name", "rene")
	q.Set("password", "p")
	_, back, _ := post(t, b, idp.URL+"/", q)
	if _, next, body := visit(t, b, back); next != "/x" {
		t.Fatalf("the sign-in leads to %q: %s", next, body)
	}
	want(t, "the role", profile(t, b, two.base())["role"], "owner")

	// By OpenID Connect, beside it.
	op := oidctest.Start(t, oidctest.Config{Clients: []oidctest.Client{{ID: "us", Secret: clientSecret, RedirectURIs: []string{two.base() + "/oauth/callback/oidc"}}}})
	oidc := map[string]any{"auth-oidc-client-id": "us", "auth-oidc-client-secret": clientSecret, "auth-oidc-issuer": op.Issuer, "auth-oidc-role-map": `{"operators":"editor"}`}
	if ok, says := one.tried(token, "oidc", map[string]any{"auth-oidc-client-id": "us", "auth-oidc-issuer": op.Issuer + "/other"}); ok {
		t.Errorf("another issuer: the test says %s", says)
	}
	if ok, says := one.tried(token, "oidc", oidc); !ok || !strings.Contains(says, "same issuer") {
		t.Errorf("the test of the OpenID settings says %s", says)
	}
	one.adjust(token, oidc)
	alice := two.browser()
	two.eventually("the other node leads there", func() error {
		if _, to, _ = visit(t, alice, two.base()+"/oauth/login/oidc?return_to=/x"); !strings.HasPrefix(to, op.Issuer) {
			return errors.New(to)
		}
		return nil
	})
	if _, next, body := visit(t, alice, oidctest.Login(t, oidctest.NewBrowser(), to, "alice").String()); next != "/x" {
		t.Fatalf("the callback leads to %q: %s", next, body)
	}
	want(t, "the role", profile(t, alice, two.base())["role"], "editor")
	_, waiting, _ := visit(t, alice, two.base()+"/oauth/login/oidc")

	// By no password any more, at once and on both. Who is signed in stays so.
	refusal, out := one.rest("PATCH", "/settings/authentication", token, map[string]any{"revision": 2, "changes": map[string]any{"auth-local-enabled": "false"}})
	if refusal != http.StatusBadRequest || out["field"] != "confirm" {
		t.Errorf("an owner who loses the own way in: %d %v", refusal, out)
	}
	one.adjust(token, map[string]any{"auth-local-enabled": "false"}, "owner")
	if status, body := one.issue("owner", ownerPassword); status != http.StatusUnauthorized {
		t.Errorf("a password where passwords were just switched off: %d %s", status, body)
	}
	begin := time.Now()
	var asked time.Time // that a password takes its time to be looked at is another matter
	two.eventually("the other node refuses passwords", func() error {
		asked = time.Now()
		if status, body := two.issue("owner", ownerPassword); status != http.StatusUnauthorized {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	if took := asked.Sub(begin); took > time.Second {
		t.Errorf("the other node took %s", took)
	}
	for _, node := range []*server{one, two} {
		if _, _, page := visit(t, node.browser(), node.base()+"/sign-in"); strings.Contains(page, `type="password"`) {
			t.Error("the sign-in page still asks for a password")
		}
		node.want(200, "GET", "/users/profile", token, nil)
	}
	one.adjust(token, map[string]any{"auth-oidc-client-id": nil})
	two.eventually("the other node has no such way any more", func() error {
		if _, _, page := visit(t, two.browser(), two.base()+"/sign-in"); strings.Contains(page, "/oauth/login/oidc") {
			return errors.New(page)
		}
		return nil
	})
	if status, _, _ := visit(t, alice, oidctest.Login(t, oidctest.NewBrowser(), waiting, "alice").String()); status != http.StatusUnauthorized {
		t.Errorf("a flow of a provider that is gone: %d, want 401", status)
	}
	want(t, "who signed in by it", profile(t, alice, two.base())["role"], "editor")

	// A start takes what is stored.
	if err := two.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	two.start()
	if status, body := two.issue("owner", ownerPassword); status != http.StatusUnauthorized {
		t.Errorf("a password, after a start: %d %s", status, body)
	}
	if _, _, page := visit(t, two.browser(), two.base()+"/sign-in"); !strings.Contains(page, "the weir") {
		t.Error("after a start, the sign-in page has no button")
	}
	for _, node := range []*server{one, two} {
		if log := node.logged(); strings.Contains(log, sharedSecret) || strings.Contains(log, clientSecret) {
			t.Error("C35: a secret stands in the log")
		}
	}
}

// A directory is tried step by step, and people sign in by it without a restart.
func TestSettingsOfADirectory(t *testing.T) {
	t.Parallel()
	directory := slapdtest.Start(t)
	s := newServer(t, "POSTERN_AUTH_LDAP_CA_FILE="+directory.CAFile, "POSTERN_OWNER_EMAIL=owner@example.com", "POSTERN_OWNER_PASSWORD="+ownerPassword)
	token := s.signIn("owner", ownerPassword)
	right := map[string]any{
		"auth-ldap-server": directory.LDAPSURL, "auth-ldap-bind-dn": directory.BindDN, "auth-ldap-bind-password": directory.BindPassword,
		"auth-ldap-base-dn": slapdtest.BaseDN, "auth-ldap-authentication-filter": slapdtest.AuthenticationFilter,
	}
	edited := func(name, value string) map[string]any {
		changes := map[string]any{name: value}
		for k, v := range right {
			if k != name {
				changes[k] = v
			}
		}
		return changes
	}
	port := freePorts(t, 1)[0]
	for _, test := range []struct {
		name, value string
		ok          bool
		words       string
	}{
		{"auth-ldap-server", directory.LDAPSURL, true, "The base DN is there"},
		{"auth-ldap-server", "ldaps://127.0.0.1:" + port, false, "nothing listens there"},
		{"auth-ldap-server", "ldaps://no-such-host.invalid", false, "cannot be reached"},
		{"auth-ldap-server", strings.Replace(directory.URL, "ldap:", "ldaps:", 1), false, "No TLS"},
		{"auth-ldap-server-name", "other.example", false, "another name"},
		{"auth-ldap-bind-password", "wrong", false, "refused the service account"},
		{"auth-ldap-base-dn", "dc=other,dc=org", false, "no such base DN"},
	} {
		ok, says := s.tried(token, "ldap", edited(test.name, test.value))
		if ok != test.ok || !strings.Contains(says, test.words) {
			t.Errorf("%s=%s: the test says %v, %s", test.name, test.value, ok, says)
		}
		if strings.Contains(says, directory.BindPassword) {
			t.Error("the password is in what the test says")
		}
	}
	right["auth-providers"] = "ldap,local"
	s.adjust(token, right)
	if status, body := s.issue("alice", slapdtest.AlicePassword); status != http.StatusCreated {
		t.Errorf("alice: %d %s", status, body)
	}
	s.signIn("owner", ownerPassword)
	s.adjust(token, map[string]any{"auth-providers": nil})
	if status, _ := s.issue("alice", slapdtest.AlicePassword); status != http.StatusUnauthorized {
		t.Errorf("alice, with the directory off: %d", status)
	}
}

// TestAuthenticationPages changes how people sign in, in a browser, as viewer,
// editor, admin and owner.
func TestAuthenticationPages(t *testing.T) {
	t.Parallel()
	s := newSite(t, "POSTERN_AUTH_JWT_ATTRIBUTE_LASTNAME=surname")
	idp := httptest.NewServer(sampleidp.Handler(sharedSecret, s.base(), map[string]sampleidp.Person{
		"rene": {Password: "p", Claims: map[string]any{"email": "rene@example.com", "groups": []string{"extHR", "roots"}}},
	}))
	t.Cleanup(idp.Close)
	s.browse(t, "authentication", "IDP="+idp.URL+"/", "SECRET="+sharedSecret)
	if log := s.logged(); strings.Contains(log, sharedSecret) {
		t.Error("C35: the signing key stands in the log")
	}
}
