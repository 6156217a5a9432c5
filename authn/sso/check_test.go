package sso

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/in", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://canary.example/", http.StatusFound)
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "canary", http.StatusBadGateway) })
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	})
	mux.HandleFunc("/none", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"keys":[]}`)) })
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("canary")) })
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	const secret = "c0ffee5badc0de9d8e7f60514233241516f7e8d9cabb0a1b2c3d4e5f60718293"
	for _, test := range []struct {
		name  string
		c     Config
		ok    bool
		words string
	}{
		{"a secret and a site", Config{IdentityProviderURI: site.URL + "/in", SharedSecret: secret}, true, "The signing key is long enough"},
		{"a site that leads on", Config{IdentityProviderURI: site.URL + "/away", SharedSecret: secret}, true, "The identity provider answers"},
		{"a site that fails", Config{IdentityProviderURI: site.URL + "/broken", SharedSecret: secret}, false, "the status 502"},
		{"a page that is not there", Config{IdentityProviderURI: site.URL + "/nothing", SharedSecret: secret}, false, "the status 404"},
		{"nobody", Config{IdentityProviderURI: gone.URL, SharedSecret: secret}, false, "nothing listens there"},
		{"keys", Config{IdentityProviderURI: site.URL + "/in", JWKSURL: site.URL + "/keys"}, true, "The set of keys can be read"},
		{"no keys", Config{IdentityProviderURI: site.URL + "/in", JWKSURL: site.URL + "/none"}, false, "holds none"},
		{"a page for keys", Config{IdentityProviderURI: site.URL + "/in", JWKSURL: site.URL + "/page"}, false, "no set of keys"},
		{"no token URI", Config{IdentityProviderURI: site.URL + "/in", SharedSecret: secret, TokenURI: gone.URL, ClientID: "us", RedirectURI: "x"}, false, "The token URI does not answer"},
	} {
		test.c.Seen = new(memory)
		p, err := New(test.c)
		if err != nil {
			t.Fatal(err)
		}
		ok, says := true, ""
		for _, s := range p.Check(t.Context()) {
			ok = ok && s.OK
			says += s.Says + "\n"
		}
		if ok != test.ok || !strings.Contains(says, test.words) || strings.Contains(says, "canary") || strings.Contains(says, secret) {
			t.Errorf("%s: got %v, %s", test.name, ok, says)
		}
	}
}
