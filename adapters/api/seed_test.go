package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
)

func (s *site) register(name string) registry.User {
	s.t.Helper()
	u, err := s.api.Users.Register(s.t.Context(), "", authn.NewUser{Username: name, Email: name + "@example.com", Password: goodPassword, Role: registry.Editor})
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

// app adds the key of the application.
func (s *site) app(r *http.Request) { r.Header.Set("X-API-KEY", s.api.AppKey) }

// M7–M9: sign in, use the token, sign out, as the seed's page does.
func TestSeedSession(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	u := s.register("mage")
	for _, session := range []object{{"email": "mage@example.com"}, {"username": "mage"}, {"email": "mage"}, {"email": "mage", "username": "mage"}} {
		session["password"] = goodPassword
		w := s.do("POST", "/sessions", "", object{"session": session}, s.app)
		in := decode[SeedSession](t, w)
		if w.Code != 200 || in.Session.Token == "" || in.Session.User.ID != string(u.ID) || !in.Session.Expires.After(time.Now()) {
			t.Fatalf("%v: got %d %s", session, w.Code, w.Body)
		}
		with := func(r *http.Request) { s.app(r); r.Header.Set("OAUTH-TOKEN", in.Session.Token) }
		for _, c := range []struct{ method, path string }{{"GET", "/users/profile"}, {"GET", "/sessions/mine"}, {"PUT", "/sessions/" + uuid.NewString()}} {
			if w := s.do(c.method, c.path, "", object{"session": object{"token": "x"}}, with); w.Code != 200 || strings.Contains(w.Body.String(), in.Session.Token) {
				t.Errorf("%s %s: got %d %s", c.method, c.path, w.Code, w.Body)
			}
		}
		if w := s.do("GET", "/sessions/mine", "", nil, with); w.Code != 401 {
			t.Errorf("C49: after signing out: got %d", w.Code)
		}
	}
	w := s.do("POST", "/sessions", "", object{"api_key": s.api.AppKey, "session": object{"username": "mage", "password": goodPassword}})
	in := decode[SeedSession](t, w)
	if w.Code != 200 {
		t.Fatalf("with the key in the body: %d %s", w.Code, w.Body)
	}
	if w := s.do("DELETE", "/sessions/x", in.Session.Token, nil, s.app); w.Code != 200 || s.do("GET", "/users/profile", in.Session.Token, nil).Code != 401 {
		t.Errorf("DELETE: got %d %s", w.Code, w.Body)
	}
	if e := s.audited("sign-out"); e.Actor != u.ID {
		t.Errorf("the sign-out in the audit trail: %+v", e)
	}
}

// M10, C64: each row of the seed's table, by its real number and in its form.
func TestSeedErrors(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.register("mage")
	expired, err := (&token.Signer{Issuer: "http://test", Audience: "test", Life: -time.Minute, Now: time.Now, Keys: token.Keys{Active: signingKey}}).Issue("u", "s")
	if err != nil {
		t.Fatal(err)
	}
	key := s.apiKey("owner", registry.Owner)
	good := object{"session": object{"username": "mage", "password": goodPassword}}
	for _, c := range []struct {
		name, method, path, token string
		body                      any
		edits                     []func(*http.Request)
		status                    int
		word, message             string
	}{
		{"expired OAuth token", "GET", "/sessions/x", expired, nil, []func(*http.Request){s.app}, 401, "expired_oauth_token", "Expired OAuth token"},
		{"invalid OAuth token", "GET", "/sessions/x", "x", nil, []func(*http.Request){s.app}, 401, "invalid_oauth_token", "Invalid OAuth token"},
		{"no OAuth token", "PUT", "/sessions/x", "", good, []func(*http.Request){s.app}, 401, "invalid_oauth_token", "Invalid OAuth token"},
		{"two tokens", "GET", "/sessions/x", s.owner, nil, []func(*http.Request){s.app, set("OAUTH-TOKEN", s.viewer)}, 401, "invalid_oauth_token", "Invalid OAuth token"},
		{"record invalid", "POST", "/sessions", "", object{"session": object{}}, []func(*http.Request){s.app}, 402, "record_invalid", "Record invalid"},
		{"two names that differ", "POST", "/sessions", "", object{"session": object{"email": "a", "username": "b"}}, []func(*http.Request){s.app}, 402, "record_invalid", "Record invalid"},
		{"no JSON", "POST", "/sessions", "", "{", []func(*http.Request){s.app}, 402, "record_invalid", "Record invalid"},
		{"another type", "POST", "/sessions", "", "x=y", []func(*http.Request){s.app, set("Content-Type", "text/plain")}, 402, "record_invalid", "Record invalid"},
		{"invalid API key", "POST", "/sessions", "", good, []func(*http.Request){set("X-API-KEY", "x")}, 403, "invalid_api_key", "Invalid API key"},
		{"no API key", "POST", "/sessions", "", good, nil, 403, "invalid_api_key", "Invalid API key"},
		{"no API key to sign out", "PUT", "/sessions/x", s.owner, nil, nil, 403, "invalid_api_key", "Invalid API key"},
		{"another key in the body", "POST", "/sessions", "", object{"api_key": "x", "session": good["session"]}, []func(*http.Request){s.app}, 403, "invalid_api_key", "Invalid API key"},
		{"the key in the query", "POST", "/sessions?api_key=" + s.api.AppKey, "", good, nil, 403, "invalid_api_key", "Invalid API key"},
		{"unauthorized access", "POST", "/sessions", "", object{"session": object{"username": "mage", "password": "wrong"}}, []func(*http.Request){s.app}, 403, "unauthorized_access", "Unauthorized access"},
		{"a program signs nobody out", "PUT", "/sessions/x", key.text, nil, []func(*http.Request){s.app}, 403, "unauthorized_access", "Unauthorized access"},
		{"another origin", "POST", "/sessions", "", good, []func(*http.Request){s.app, set("Sec-Fetch-Site", "cross-site")}, 403, "unauthorized_access", "Unauthorized access"},
	} {
		w := s.do(c.method, c.path, c.token, c.body, c.edits...)
		s.seedError(c.name, w, c.status, c.word, c.message)
	}
	if status, body := seedError(problemOf("GET", registry.ErrNotFound)); status != 404 || body.Error.Type != "record_not_found" || body.Error.Message != "Record not found" {
		t.Errorf("record not found: got %d %+v", status, body)
	}
	s.store.Close()
	s.seedError("away", s.do("POST", "/sessions", "", good, s.app), 503, "api_resource_error", "API resource error")
	s.api.Users = nil
	w := s.do("POST", "/sessions", "", good, s.app)
	s.seedError("API resource error", w, 500, "api_resource_error", "API resource error")
	if strings.Contains(w.Body.String(), "nil") || strings.Contains(w.Body.String(), ".go") {
		t.Errorf("a trace of what is inside: %s", w.Body)
	}
}

func (s *site) seedError(name string, w *httptest.ResponseRecorder, status int, word, message string) {
	s.t.Helper()
	e := decode[SeedError](s.t, w)
	if w.Code != status || e.Status != status || e.Error.Code != status || e.Error.Type != word || e.Error.Message != message || len(e.Error.Errors) != 1 {
		s.t.Errorf("%s: got %d %s, want %d %s", name, w.Code, w.Body, status, word)
	}
	op := document(s.t).Paths.Find("/sessions").Post
	if err := op.Responses.Default().Value.Content.Get("application/json").Schema.Value.VisitJSON(decode[any](s.t, w)); err != nil {
		s.t.Errorf("%s breaks its schema: %v", name, err)
	}
}

// C67 for what has errors of another form.
func TestSeedRoutesAreDocumented(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for path, item := range document(t).Paths.Map() {
		for method, op := range item.Operations() {
			if op.Tags[0] == "sessions" || op.Tags[0] == "oauth2" {
				documented[method+" "+path] = true
			}
		}
	}
	served := []route{oauthRoute}
	for _, rt := range routes {
		if rt.rules&seedForm != 0 {
			served = append(served, rt)
		}
	}
	for _, rt := range served {
		if !documented[rt.method+" "+rt.pattern] {
			t.Errorf("%s %s is not in openapi.yaml", rt.method, rt.pattern)
		}
	}
	if len(documented) != len(served) {
		t.Errorf("%d are documented, %d are served", len(documented), len(served))
	}
}
