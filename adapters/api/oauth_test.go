package api

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/postern-io/postern/registry"
)

// form sends a form to the token endpoint.
func (s *site) form(body string, edits ...func(*http.Request)) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), "POST", "/oauth2/token", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, edit := range edits {
		edit(r)
	}
	w := httptest.NewRecorder()
	s.api.OAuth().ServeHTTP(w, r)
	return w
}

func basic(id, secret string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
}

// RFC 6749 §4.4, §6: what is right is answered with tokens that work.
func TestOAuthTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	key := s.apiKey("owner", registry.Viewer)
	for name, w := range map[string]*httptest.ResponseRecorder{
		"in the body": s.form(url.Values{"grant_type": {"client_credentials"}, "client_id": {key.Prefix}, "client_secret": {key.text}}.Encode()),
		"by Basic":    s.form("grant_type=client_credentials", basic(string(key.ID), key.text)),
		"named twice": s.form("grant_type=client_credentials&client_id="+key.Prefix, basic(key.Prefix, key.text)),
	} {
		got := decode[OAuthTokens](t, w)
		if w.Code != 200 || got.TokenType != "Bearer" || got.ExpiresIn != 3600 || got.RefreshToken != "" || w.Header().Get("Cache-Control") != "no-store" {
			t.Fatalf("%s: got %d %s", name, w.Code, w.Body)
		}
		if w := s.do("GET", "/users", got.AccessToken, nil); w.Code != 403 {
			t.Errorf("C62: %s: beyond the key's role: got %d", name, w.Code)
		}
		if w := s.do("POST", "/users/keys", got.AccessToken, object{"name": "x", "role": "viewer"}); w.Code != 403 {
			t.Errorf("C62: %s: makes a key: got %d", name, w.Code)
		}
		if w := s.do("GET", "/users/profile", got.AccessToken, nil); w.Code != 200 {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
	if e := s.audited("sign-in"); e.Actor == "" {
		t.Errorf("in the audit trail: %+v", e)
	}
	token := decode[OAuthTokens](t, s.form("grant_type=client_credentials", basic(key.Prefix, key.text))).AccessToken
	if err := s.api.Users.RevokeAPIKey(t.Context(), key.User, key.ID); err != nil {
		t.Fatal(err)
	}
	if w := s.do("GET", "/users/profile", token, nil); w.Code != 401 {
		t.Errorf("after the key was revoked: got %d", w.Code)
	}

	refresh := s.signIn(s.users["viewer"].ID).Refresh
	w := s.form("grant_type=refresh_token&client_id=" + s.api.AppKey + "&refresh_token=" + refresh)
	got := decode[OAuthTokens](t, w)
	if w.Code != 200 || got.RefreshToken == "" || got.RefreshToken == refresh || s.do("GET", "/users/profile", got.AccessToken, nil).Code != 200 {
		t.Errorf("refresh: got %d %s", w.Code, w.Body)
	}
	s.oauthError("C53: a refresh token is good once", s.form("grant_type=refresh_token&refresh_token="+refresh), 400, "invalid_grant")
}

// RFC 6749 §5.2: what is wrong, in its words.
func TestOAuthErrors(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	key := s.apiKey("owner", registry.Viewer)
	wrong := "pst_aaaaaaaa" + key.text[12:]
	credentials := "grant_type=client_credentials&client_id=" + key.Prefix + "&client_secret=" + key.text
	for _, c := range []struct {
		name, body string
		edits      []func(*http.Request)
		status     int
		word       string
	}{
		{"no grant", "", nil, 400, "invalid_request"},
		{"a password", "grant_type=password&username=owner&password=x", nil, 400, "unsupported_grant_type"},
		{"a code", "grant_type=authorization_code&code=x", nil, 400, "unsupported_grant_type"},
		{"a scope", credentials + "&scope=admin", nil, 400, "invalid_scope"},
		{"a wrong key", "grant_type=client_credentials&client_id=aaaaaaaa&client_secret=" + wrong, nil, 401, "invalid_client"},
		{"no key", "grant_type=client_credentials", nil, 401, "invalid_client"},
		{"an access token for a key", "grant_type=client_credentials&client_id=x&client_secret=" + s.owner, nil, 401, "invalid_client"},
		{"the key of another name", "grant_type=client_credentials&client_id=x&client_secret=" + key.text, nil, 401, "invalid_client"},
		{"Basic and body", credentials, []func(*http.Request){basic(key.Prefix, key.text)}, 400, "invalid_request"},
		{"two names", "grant_type=client_credentials&client_id=x", []func(*http.Request){basic(key.Prefix, key.text)}, 400, "invalid_request"},
		{"Bearer", "grant_type=client_credentials", []func(*http.Request){set("Authorization", "Bearer x")}, 401, "invalid_client"},
		{"a broken escape", "grant_type=client_credentials", []func(*http.Request){func(r *http.Request) { r.SetBasicAuth("%zz", "x") }}, 401, "invalid_client"},
		{"a grant given twice", credentials + "&grant_type=refresh_token", nil, 400, "invalid_request"},
		{"a key in the URL", "grant_type=client_credentials", []func(*http.Request){func(r *http.Request) { r.URL.RawQuery = "client_secret=" + key.text }}, 400, "invalid_request"},
		{"JSON", `{"grant_type":"client_credentials"}`, []func(*http.Request){set("Content-Type", "application/json")}, 400, "invalid_request"},
		{"no form", "%zz", nil, 400, "invalid_request"},
		{"no refresh token", "grant_type=refresh_token", nil, 400, "invalid_request"},
		{"a wrong refresh token", "grant_type=refresh_token&refresh_token=x", nil, 400, "invalid_grant"},
		{"an access token for a refresh token", "grant_type=refresh_token&refresh_token=" + s.owner, nil, 400, "invalid_grant"},
		{"another client", "grant_type=refresh_token&refresh_token=x&client_id=x", nil, 401, "invalid_client"},
		{"another application", credentials, []func(*http.Request){set("X-API-KEY", "x")}, 400, "invalid_request"},
		{"a body too large", "x=" + strings.Repeat("y", maxBody), nil, 413, "invalid_request"},
	} {
		s.oauthError(c.name, s.form(c.body, c.edits...), c.status, c.word)
	}
	if strings.Contains(s.log.String(), key.text[13:]) {
		t.Error("C35: a key stands in the log")
	}
	for n := 0; ; n++ {
		w := s.form("grant_type=client_credentials&client_id=aaaaaaaa&client_secret=" + wrong)
		if w.Code == 429 {
			s.oauthError("too many", w, 429, "temporarily_unavailable")
			if w.Header().Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
			break
		}
		if n > 100 {
			t.Fatal("wrong keys are not held up")
		}
	}
	s.store.Close()
	s.oauthError("away", s.form("grant_type=refresh_token&refresh_token=x"), 503, "temporarily_unavailable")
	s.api.Users = nil
	s.oauthError("broken", s.form("grant_type=refresh_token&refresh_token=x"), 500, "server_error")
}

func (s *site) oauthError(name string, w *httptest.ResponseRecorder, status int, word string) {
	s.t.Helper()
	e := decode[OAuthError](s.t, w)
	if w.Code != status || e.Error != word || e.ErrorDescription == "" || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Request-Id") == "" {
		s.t.Errorf("%s: got %d %s, want %d %s", name, w.Code, w.Body, status, word)
	}
	if basic := w.Header().Get("WWW-Authenticate") == `Basic realm="postern"`; basic != (status == 401) {
		s.t.Errorf("%s: WWW-Authenticate: %q", name, w.Header().Get("WWW-Authenticate"))
	}
}

// FuzzOAuth sends any form: whatever it is, the answer is an error of RFC 6749.
func FuzzOAuth(f *testing.F) {
	f.Add("grant_type=client_credentials&client_id=a&client_secret=pst_", "Basic eDp5")
	f.Add("grant_type=refresh_token&refresh_token=prt_x", "")
	f.Add("%", "Basic \xff")
	first := newSite(f)
	f.Fuzz(func(t *testing.T, body, authorization string) {
		s := &site{t: t, api: first.api}
		w := s.form(body, set("Authorization", authorization))
		if e := decode[OAuthError](t, w); w.Code < 400 || w.Code >= 500 || e.Error == "" {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
}
