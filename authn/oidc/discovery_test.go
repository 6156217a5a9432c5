package oidc_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-io/postern/authn/oidc"
	"github.com/postern-io/postern/authn/oidc/oidctest"
)

const wellKnown = "/.well-known/openid-configuration"

// L1, L12: the seed gives two URLs. The document that names both is found, and
// no other is believed.
func TestDiscoveryFromTwoURLs(t *testing.T) {
	t.Parallel()
	type document struct{ issuer, auth, token string } // paths
	for _, test := range []struct {
		name  string
		auth  string
		found map[string]document // by the path of the issuer's folder
		want  bool
	}{
		{"it finds one at the root", "/auth", map[string]document{"": {"", "/auth", "/token"}}, true},
		{"it finds one that ends with a slash", "/authorize", map[string]document{"": {"/", "/authorize", "/token"}}, true},
		{"it finds Dex's", "/dex/auth", map[string]document{"/dex": {"/dex", "/dex/auth", "/token"}}, true},
		{"it finds Keycloak's", "/realms/a/protocol/openid-connect/auth", map[string]document{
			"/realms/a": {"/realms/a", "/realms/a/protocol/openid-connect/auth", "/token"}}, true},
		{"it finds Azure's, past the one of v1", "/tenant/oauth2/v2.0/authorize", map[string]document{
			"/tenant":      {"/other", "/tenant/oauth2/authorize", "/tenant/oauth2/token"},
			"/tenant/v2.0": {"/tenant/v2.0", "/tenant/oauth2/v2.0/authorize", "/token"}}, true},
		{"it believes no document of another token URL", "/auth", map[string]document{"": {"", "/auth", "/attacker"}}, false},
		{"it believes no document of another auth URL", "/auth", map[string]document{"": {"", "/auth2", "/token"}}, false},
		{"it believes no document of another issuer", "/dex/auth", map[string]document{"": {"/dex", "/dex/auth", "/token"}}, false},
		{"it finds none", "/a/b/c/d/e/f/g/h/i/j/k/auth", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			mux := http.NewServeMux()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1); mux.ServeHTTP(w, r) }))
			t.Cleanup(server.Close)
			for at, d := range test.found {
				mux.HandleFunc(at+wellKnown, func(w http.ResponseWriter, _ *http.Request) {
					json.NewEncoder(w).Encode(map[string]string{"issuer": server.URL + d.issuer, "jwks_uri": server.URL + "/keys",
						"authorization_endpoint": server.URL + d.auth, "token_endpoint": server.URL + d.token})
				})
			}
			p := newProvider(t, oidc.Config{Key: "lab", AuthURL: server.URL + test.auth, TokenURL: server.URL + "/token", ClientID: "us", RedirectURL: here})
			_, err := p.Begin(t.Context(), newFlow())
			if test.want && err != nil {
				t.Error(err)
			} else if !test.want {
				wantReason(t, err, "")
			}
			if n := asked.Load(); n > 8 {
				t.Errorf("it asked %d times", n)
			}
		})
	}
}

func TestDiscoveryDocumentIsChecked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		lie  func(d map[string]any)
	}{
		{"it refuses another issuer", func(d map[string]any) { d["issuer"] = "https://attacker.example" }},
		{"it refuses an issuer with a slash more (C32)", func(d map[string]any) { d["issuer"] = d["issuer"].(string) + "/" }},
		{"it refuses no issuer", func(d map[string]any) { delete(d, "issuer") }},
		{"it refuses no keys", func(d map[string]any) { delete(d, "jwks_uri") }},
		{"it refuses no token endpoint", func(d map[string]any) { delete(d, "token_endpoint") }},
		{"it refuses keys over http", func(d map[string]any) { d["jwks_uri"] = "http://idp.example/keys" }},
		{"it refuses userinfo over http", func(d map[string]any) { d["userinfo_endpoint"] = "http://idp.example/me" }},
		{"it refuses a page that is a script", func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" }},
		{"it refuses algorithms of which none is ours (C36)", func(d map[string]any) {
			d["id_token_signing_alg_values_supported"] = []string{"HS256", "none", "RSA-OAEP"}
		}},
		{"it refuses client authentication of which none is ours", func(d map[string]any) {
			d["token_endpoint_auth_methods_supported"] = []string{"private_key_jwt"}
		}},
		{"it refuses text for a list", func(d map[string]any) { d["scopes_supported"] = "openid" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			liar, p := newLiar(t, nil)
			if err := p.Test(t.Context()); err != nil {
				t.Fatal(err)
			}
			liar.Discovery = test.lie
			wantReason(t, p.Test(t.Context()), "")
			_, fresh := newLiar(t, func(c *oidc.Config) { c.Issuer = liar.URL })
			_, err := fresh.Begin(t.Context(), newFlow())
			wantReason(t, err, "")
		})
	}
}

// An https provider does not send us to this machine's own servers.
func TestHTTPSDocumentNamesHTTPSOnly(t *testing.T) {
	t.Parallel()
	var server *httptest.Server
	keys := "/keys"
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"issuer": server.URL, "jwks_uri": keys,
			"authorization_endpoint": server.URL + "/auth", "token_endpoint": server.URL + "/token"})
	}))
	t.Cleanup(server.Close)
	c := oidc.Config{Key: "oidc", Issuer: server.URL, ClientID: "us", RedirectURL: here, HTTPClient: server.Client()}
	keys = server.URL + "/keys"
	if _, err := newProvider(t, c).Begin(t.Context(), newFlow()); err != nil {
		t.Error(err)
	}
	keys = "http://127.0.0.1:8222/keys"
	_, err := newProvider(t, c).Begin(t.Context(), newFlow())
	wantReason(t, err, "")
	c.HTTPClient = nil // a CA that nobody knows
	_, err = newProvider(t, c).Begin(t.Context(), newFlow())
	wantReason(t, err, "")
}

// clock is moved by the test.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) pass(d time.Duration) { c.offset.Add(int64(d)) }

// C65: a dead provider is asked once in five seconds, whoever comes, and is
// found again after that. What it said once is used while it is away.
func TestDiscoveryIsAskedSeldom(t *testing.T) {
	t.Parallel()
	var c clock
	liar, p := newLiar(t, func(config *oidc.Config) { config.Now = c.now })
	liar.Now = c.now
	beginErr := func() error { _, err := p.Begin(t.Context(), newFlow()); return err }

	var down atomic.Bool
	liar.Interrupt = map[string]http.HandlerFunc{wellKnown: func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"issuer": liar.URL, "authorization_endpoint": liar.URL + "/auth", "token_endpoint": liar.URL + "/token", "jwks_uri": liar.URL + "/keys"})
	}}
	down.Store(true)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { wantReason(t, beginErr(), "") })
	}
	all.Wait()
	if n := liar.Asked(wellKnown); n != 1 {
		t.Errorf("a dead provider was asked %d times by 20 visitors, want 1", n)
	}
	down.Store(false)
	wantReason(t, beginErr(), "")
	c.pass(6 * time.Second)
	if err := beginErr(); err != nil {
		t.Errorf("after the pause: %v", err)
	}
	for range 5 {
		if err := attempt(t, liar, p); err != nil {
			t.Error(err)
		}
	}
	if n := liar.Asked(wellKnown); n != 2 {
		t.Errorf("discovery was asked %d times, want 2", n)
	}
	if n := liar.Asked("/keys"); n != 1 {
		t.Errorf("keys were asked for %d times, want 1", n)
	}

	down.Store(true)
	c.pass(2 * time.Hour)
	for range 3 {
		if err := beginErr(); err != nil {
			t.Errorf("known, and away: %v", err)
		}
	}
	if n := liar.Asked(wellKnown); n != 3 {
		t.Errorf("discovery was asked %d times, want 3", n)
	}
	down.Store(false)
	c.pass(6 * time.Second)
	if err := attempt(t, liar, p); err != nil {
		t.Error(err)
	}
	if n := liar.Asked("/keys"); n != 1 {
		t.Errorf("keys were fetched anew with the document: %d", n)
	}
}

func TestTestTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]func(*oidctest.Liar){
		"it tells missing keys": answers("/keys", status(404)),
		"it tells no keys":      answers("/keys", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"keys":[]}`)) }),
		"it tells no document":  answers(wellKnown, status(404)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			liar, p := newLiar(t, nil)
			lie(liar)
			wantReason(t, p.Test(t.Context()), "")
		})
	}
}
