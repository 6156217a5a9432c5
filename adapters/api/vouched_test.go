package api

import (
	"net/http"
	"testing"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// proxied takes the header of anybody for what a trusted proxy says.
type proxied struct{}

func (proxied) FromRequest(r *http.Request) (authn.Assertion, bool, error) {
	name := r.Header.Get("Remote-User")
	if name == "missing" {
		return authn.Assertion{}, false, &authn.RefusedError{Reason: registry.ReasonHeaderMissing}
	}
	groups := r.Header["Remote-Groups"]
	return authn.Assertion{Subject: name, Login: name, Groups: &groups}, name != "", nil
}

// TestVouched: what a proxy says is enough, must not contradict a token, and its
// refusal closes every door, also those that are open to anybody.
func TestVouched(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.api.Users.SetProviders(append(s.api.Users.Providers(), authn.Provider{Key: "header", Request: proxied{},
		Rules: authn.Rules{Provision: true, RoleMap: map[string]registry.Role{"administrator": registry.Admin}}})...)
	as := func(name string, groups ...string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Remote-User", name)
			r.Header["Remote-Groups"] = groups
		}
	}
	for _, c := range []struct {
		name, method, path, token string
		body                      any
		edit                      func(*http.Request)
		want                      int
	}{
		{"takes an administrator", "GET", "/users", "", nil, as("boss", "administrator"), 200},
		{"takes the role of this request", "GET", "/users", "", nil, as("boss", "others"), 403},
		{"takes a token where nobody is named", "GET", "/users", s.admin, nil, as(""), 200},
		{"refuses a token of somebody else", "GET", "/users", s.admin, nil, as("boss", "administrator"), 401},
		{"refuses what the proxy refuses", "GET", "/users", s.admin, nil, as("missing"), 401},
		{"refuses it where no token is needed", "POST", "/users/tokens/issue", "", object{"username": "x", "password": "y"}, as("missing"), 401},
		{"refuses an administrator to touch an owner", "POST", "/users/" + string(s.users["owner"].ID) + "/disable", "", nil, as("boss", "administrator"), 403},
		{"refuses an administrator to touch an admin", "POST", "/users/" + string(s.users["admin"].ID) + "/disable", "", nil, as("boss", "administrator"), 403},
		{"lets an administrator manage an editor", "POST", "/users/" + string(s.users["editor"].ID) + "/disable", "", nil, as("boss", "administrator"), 200},
		{"makes no API keys", "POST", "/users/keys", "", object{"name": "x", "role": "viewer"}, as("boss", "administrator"), 403},
		{"refuses a form of another site", "POST", "/domains", "", object{"name": "x"}, func(r *http.Request) {
			as("boss", "administrator")(r)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}, 403},
	} {
		if w := s.do(c.method, c.path, c.token, c.body, c.edit); w.Code != c.want {
			t.Errorf("it %s: got %d, want %d: %s", c.name, w.Code, c.want, w.Body)
		}
	}
}

// TestOpenHouse: without sign-in everybody on this machine is an owner, and
// nobody else, by whatever name the machine is called.
func TestOpenHouse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, peer, host, token string
		open                    bool
		want                    int
	}{
		{"takes localhost", "127.0.0.1:9", "localhost:8080", "", true, 200},
		{"takes an address of loopback", "[::1]:9", "[::1]:8080", "", true, 200},
		{"takes a bare name", "127.0.0.1:9", "LOCALHOST", "", true, 200},
		{"refuses another machine", "192.0.2.1:9", "localhost", "", true, 401},
		{"refuses another name of this one", "127.0.0.1:9", "evil.example", "", true, 401},
		{"refuses a wrong token", "127.0.0.1:9", "localhost", "x", true, 401},
		{"refuses everybody when it is closed", "127.0.0.1:9", "localhost", "", false, 401},
	} {
		s := newSite(t)
		s.api.Open = c.open
		if w := s.do("GET", "/users", c.token, nil, func(r *http.Request) { r.RemoteAddr, r.Host = c.peer, c.host }); w.Code != c.want {
			t.Errorf("it %s: got %d, want %d: %s", c.name, w.Code, c.want, w.Body)
		}
	}
}

// C52: what asks who somebody is again is closed to an old sign-in.
func TestOldSignInsAreNotEnough(t *testing.T) {
	t.Parallel()
	for _, op := range operations(t) {
		if routeOf(op).rules&fresh == 0 {
			continue
		}
		s := newSite(t)
		r := s.good()[op.id]()
		w := s.do(op.method, r.path, s.stale("owner"), r.body)
		if e := decode[Error](t, w); w.Code != 403 || e.Error != ErrorErrorReauthRequired {
			t.Errorf("%s: got %d %s", op.id, w.Code, w.Body)
		}
	}
}
