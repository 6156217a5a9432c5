package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// A newKey is an API key and its text.
type newKey struct {
	registry.APIKey
	text string
}

// apiKey makes a key of a person.
func (s *site) apiKey(name string, role registry.Role) newKey {
	s.t.Helper()
	who, err := s.api.Users.Verify(s.t.Context(), s.signIn(s.users[name].ID).Access)
	if err != nil {
		s.t.Fatal(err)
	}
	k, text, err := s.api.Users.CreateAPIKey(s.t.Context(), who, "test", role, time.Time{})
	if err != nil {
		s.t.Fatal(err)
	}
	return newKey{k, text.Reveal()}
}

// C62: a key is shown once, does what its role may, and nothing to its owner's
// account.
func TestAPIKeyOverREST(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.do("POST", "/users/keys", s.owner, object{"name": "report", "role": "editor", "expires_at": time.Now().Add(time.Hour)})
	made := decode[APIKey](t, w)
	if w.Code != 201 || !strings.HasPrefix(made.Secret, "pst_"+made.Prefix+"_") || made.LastUsed != nil || w.Header().Get("Location") != "/api/users/keys/"+made.ID {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	for _, c := range []struct {
		name, method, path string
		body               any
		want               int
	}{
		{"says whose it is", "GET", "/users/profile", nil, 200},
		{"does what its role may", "POST", "/domains", object{"name": "x"}, 201},
		{"does not what only its owner may", "GET", "/users", nil, 403},
		{"makes no keys", "POST", "/users/keys", object{"name": "x", "role": "viewer"}, 403},
		{"ends no keys", "DELETE", "/users/keys/" + made.ID, nil, 403},
		{"ends no sessions", "DELETE", "/users/sessions", nil, 403},
		{"does not change its owner's address", "PATCH", "/users/" + string(s.users["owner"].ID) + "/email", object{"email": "x@example.com"}, 403},
		{"does not change the password", "PATCH", "/users/secret", object{"old_secret": "x", "new_secret": "y"}, 403},
	} {
		if w := s.do(c.method, c.path, made.Secret, c.body); w.Code != c.want {
			t.Errorf("it %s: got %d, want %d: %s", c.name, w.Code, c.want, w.Body)
		}
	}
	if u := decode[User](t, s.do("GET", "/users/profile", made.Secret, nil)); u.Role != "editor" {
		t.Errorf("the role of the key: %q", u.Role)
	}
	list := s.do("GET", "/users/keys", s.owner, nil)
	if p := decode[APIKeyPage](t, list); p.Total != 1 || p.Keys[0].LastUsed == nil || p.Keys[0].Secret != "" {
		t.Errorf("the list: %s", list.Body)
	}
	if strings.Contains(list.Body.String()+s.log.String(), made.Secret[13:]) {
		t.Error("the secret is told again, or stands in the log")
	}
	if w := s.do("DELETE", "/users/keys/"+made.ID, s.owner, nil); w.Code != 204 {
		t.Fatalf("revoke: %d %s", w.Code, w.Body)
	}
	if w := s.do("GET", "/users/profile", made.Secret, nil); w.Code != 401 || decode[Error](t, w).Error != ErrorErrorInvalidOauthToken {
		t.Errorf("revoked: got %d %s", w.Code, w.Body)
	}
}

// C52: a key asks for a sign-in of a short time ago.
func TestAPIKeyNeedsAFreshSignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	now := time.Now()
	id := registry.SessionID(uuid.NewString())
	if err := s.store.InsertSession(t.Context(), registry.UserSession{ID: id, User: s.users["owner"].ID, Provider: "local", Kind: "api",
		CreatedAt: now.Add(-time.Hour), LastSeen: now, Expires: now.Add(time.Hour), AuthenticatedAt: now.Add(-authn.FreshFor)}); err != nil {
		t.Fatal(err)
	}
	stale, err := s.api.Users.Tokens.Issue(s.users["owner"].ID, id)
	if err != nil {
		t.Fatal(err)
	}
	w := s.do("POST", "/users/keys", stale, object{"name": "x", "role": "viewer"})
	if e := decode[Error](t, w); w.Code != 403 || e.Error != ErrorErrorReauthRequired {
		t.Errorf("got %d %s, want 403 reauth_required", w.Code, w.Body)
	}
}

func TestAdminsEndKeysOfWhomTheyManage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	of := func(name string) string { return "?user=" + string(s.users[name].ID) }
	editors, owners := s.apiKey("editor", registry.Editor), s.apiKey("owner", registry.Owner)
	for _, c := range []struct {
		name, method, path, token string
		want                      int
	}{
		{"shows an admin the keys of an editor", "GET", "/users/keys" + of("editor"), s.admin, 200},
		{"refuses an admin the keys of an owner", "GET", "/users/keys" + of("owner"), s.admin, 403},
		{"refuses an admin to end the key of an owner", "DELETE", "/users/keys/" + string(owners.ID) + of("owner"), s.admin, 403},
		{"refuses an editor the keys of a viewer", "GET", "/users/keys" + of("viewer"), s.editor, 403},
		{"finds no key of another under one's own", "DELETE", "/users/keys/" + string(editors.ID), s.viewer, 404},
		{"lets an admin end the key of an editor", "DELETE", "/users/keys/" + string(editors.ID) + of("editor"), s.admin, 204},
		{"lets the editor in no more", "GET", "/users/profile", editors.text, 401},
		{"leaves the owner's", "GET", "/users/profile", owners.text, 200},
	} {
		if w := s.do(c.method, c.path, c.token, nil); w.Code != c.want {
			t.Errorf("it %s: got %d, want %d: %s", c.name, w.Code, c.want, w.Body)
		}
	}
}

// C49, C50, C51: sessions are ended one by one, all, or all others, and their
// tokens with them; the audit trail tells who did it.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	viewer := s.users["viewer"].ID
	one, two := s.signIn(viewer), s.signIn(viewer)
	get := func(token string) int { t.Helper(); return s.do("GET", "/users/profile", token, nil).Code }
	if page := decode[SessionPage](t, s.do("GET", "/users/sessions", one.Access, nil)); page.Total != 3 {
		t.Fatalf("the list: %+v", page)
	}
	if w := s.do("DELETE", "/users/sessions/"+string(two.Session), one.Access, nil); w.Code != 204 {
		t.Fatalf("end one: %d %s", w.Code, w.Body)
	}
	if get(two.Access) != 401 || get(one.Access) != 200 {
		t.Error("C51: the wrong session ended")
	}
	if w := s.do("DELETE", "/users/sessions?keep=current", one.Access, nil); w.Code != 204 || get(one.Access) != 200 || get(s.viewer) != 401 {
		t.Errorf("end all others: %d, own %d, other %d", w.Code, get(one.Access), get(s.viewer))
	}
	if w := s.do("POST", "/users/tokens/revoke", one.Refresh, nil); w.Code != 204 || get(one.Access) != 401 {
		t.Errorf("C49: sign out: %d, then %d", w.Code, get(one.Access))
	}
	if e := s.audited("sign-out"); e.Actor != viewer || e.Object != string(one.Session) || e.Provider != "local" {
		t.Errorf("the sign-out in the audit trail: %+v", e)
	}
	three := s.signIn(viewer)
	if w := s.do("DELETE", "/users/sessions?user="+string(viewer), s.admin, nil); w.Code != 204 || get(three.Access) != 401 || get(s.admin) != 200 {
		t.Errorf("C50: an admin ends all: %d, then %d", w.Code, get(three.Access))
	}
	if e := s.audited("session.end-all"); e.Actor != s.users["admin"].ID || e.Details["user"] != string(viewer) {
		t.Errorf("in the audit trail: %+v", e)
	}
	if w := s.do("DELETE", "/users/sessions?user="+string(s.users["owner"].ID), s.admin, nil); w.Code != 403 {
		t.Errorf("C50: an admin ends an owner's: %d", w.Code)
	}
}

// Tokens in several places must agree.
func TestTokenHeaders(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, c := range []struct {
		name    string
		headers http.Header
		want    int
		word    ErrorError
	}{
		{"takes OAUTH-TOKEN", http.Header{"Oauth-Token": {s.owner}}, 200, ""},
		{"takes OAUTH-TOKEN with Bearer", http.Header{"Oauth-Token": {"bearer " + s.owner}}, 200, ""},
		{"takes both when they agree", http.Header{"Oauth-Token": {s.owner}, "Authorization": {"Bearer " + s.owner}}, 200, ""},
		{"refuses two that differ", http.Header{"Oauth-Token": {s.viewer}, "Authorization": {"Bearer " + s.owner}}, 401, ErrorErrorInvalidOauthToken},
		{"refuses two of one header that differ", http.Header{"Oauth-Token": {s.viewer, s.owner}}, 401, ErrorErrorInvalidOauthToken},
		{"refuses another scheme", http.Header{"Authorization": {s.owner}}, 401, ErrorErrorUnauthenticated},
		{"takes the right key of the application", http.Header{"Oauth-Token": {s.owner}, "X-Api-Key": {s.api.AppKey}}, 200, ""},
		{"refuses a wrong key of the application", http.Header{"Oauth-Token": {s.owner}, "X-Api-Key": {"x"}}, 403, ErrorErrorInvalidAPIKey},
		{"refuses an empty key of the application", http.Header{"Oauth-Token": {s.owner}, "X-Api-Key": {""}}, 403, ErrorErrorInvalidAPIKey},
		{"refuses two keys of which one is wrong", http.Header{"Oauth-Token": {s.owner}, "X-Api-Key": {s.api.AppKey, "x"}}, 403, ErrorErrorInvalidAPIKey},
		{"does not take the cookie of a request with another scheme from another site", http.Header{
			"Authorization": {"Basic eDp5"}, "Cookie": {"__Host-at=" + s.owner}, "Sec-Fetch-Site": {"cross-site"}}, 403, ErrorErrorUnauthorizedAccess},
	} {
		method, body := "GET", any(nil)
		if c.headers.Get("Cookie") != "" {
			method = "DELETE" // C55
		}
		path := map[string]string{"GET": "/users/profile", "DELETE": "/users/" + string(s.users["viewer"].ID)}[method]
		w := s.do(method, path, "", body, func(r *http.Request) { r.Header = c.headers })
		var e Error
		_ = json.Unmarshal(w.Body.Bytes(), &e)
		if w.Code != c.want || e.Error != c.word {
			t.Errorf("it %s: got %d %s, want %d %s", c.name, w.Code, w.Body, c.want, c.word)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	got := decode[Config](t, s.do("GET", "/config", "", nil))
	if got.APIKey != s.api.AppKey || !got.SelfRegister || !got.PasswordLogin || !got.Mail || len(got.Providers) != 1 || got.Providers[0] != (ConfigProvider{Key: "local", Kind: "password"}) {
		t.Errorf("got %+v", got)
	}
}

func TestUsersFromARoleUp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for role, want := range map[string]int{"owner": http.StatusOK, "admin": http.StatusOK, "chief": http.StatusBadRequest} {
		w := s.do("GET", "/users?status=all&limit=100&min_role="+role, s.owner, nil)
		if w.Code != want {
			t.Fatalf("%s: got %d %s", role, w.Code, w.Body)
		}
		if want != http.StatusOK {
			continue
		}
		page := decode[UserPage](t, w)
		if page.Total == 0 {
			t.Errorf("%s: nobody", role)
		}
		for _, u := range page.Users {
			if u.Role != "owner" && (role == "owner" || u.Role != "admin") {
				t.Errorf("from %s up: %s is %q", role, u.Credentials.Username, u.Role)
			}
		}
	}
}
