package oidc_test

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/oidc"
	"github.com/postern-io/postern/authn/oidc/oidctest"
	"github.com/postern-io/postern/registry"
)

const (
	here   = "http://127.0.0.1:9/oauth/callback/oidc" // nobody visits it
	secret = "a secret of more than thirty-two characters: +%&/"
)

func newFlow() authn.Flow {
	random := func() string {
		b := make([]byte, 32)
		rand.Read(b)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return authn.Flow{State: random(), Nonce: random(), Verifier: random(), ReturnTo: "/"}
}

func newProvider(t testing.TB, c oidc.Config) *oidc.Provider {
	t.Helper()
	p, err := oidc.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func begin(t testing.TB, p *oidc.Provider, f authn.Flow) string {
	t.Helper()
	location, err := p.Begin(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return location
}

// signIn walks the provider's pages and comes back.
func signIn(t testing.TB, p *oidc.Provider, login string) (authn.Assertion, error) {
	t.Helper()
	f := newFlow()
	callback := oidctest.Login(t, oidctest.NewBrowser(), begin(t, p, f), login)
	return p.Complete(t.Context(), f, callback.Query())
}

// wantReason fails unless err refuses for a reason; "" is that the provider is
// unavailable.
func wantReason(t testing.TB, err error, want registry.Reason) {
	t.Helper()
	var refused *authn.RefusedError
	switch {
	case want == "" && errors.Is(err, authn.ErrProvider) && !errors.Is(err, authn.ErrUnauthenticated):
	case want != "" && errors.As(err, &refused) && refused.Reason == want && !errors.Is(err, authn.ErrProvider):
	default:
		t.Errorf("got error %v, want reason %q", err, want)
	}
}

// M14, L1–L5, G7, C27, C29: what an honest, certified provider says is what
// comes out, for each kind of client, claims and key.
func TestSignInAtARealProvider(t *testing.T) {
	t.Parallel()
	for _, place := range []struct {
		name      string
		inIDToken bool
	}{{"claims at userinfo alone", false}, {"claims in the id_token", true}} {
		t.Run(place.name, func(t *testing.T) {
			t.Parallel()
			uris := []string{here}
			clients := []oidctest.Client{
				{ID: "basic", Secret: secret, RedirectURIs: uris, LogoutURIs: []string{"http://127.0.0.1:9/"}},
				{ID: "post", Secret: secret, Auth: "client_secret_post", RedirectURIs: uris},
				{ID: "public", RedirectURIs: uris},
				{ID: "PS256", Alg: "PS256", RedirectURIs: uris},
				{ID: "ES256", Alg: "ES256", RedirectURIs: uris},
				{ID: "EdDSA", Alg: "EdDSA", RedirectURIs: uris},
				{ID: "HS256", Secret: secret, Alg: "HS256", RedirectURIs: uris},
			}
			server := oidctest.Start(t, oidctest.Config{Clients: clients, InIDToken: place.inIDToken})
			provider := func(client, secret string) *oidc.Provider {
				return newProvider(t, oidc.Config{Key: "lab", Issuer: server.Issuer, ClientID: client, ClientSecret: secret, RedirectURL: here, GroupsClaim: "groups"})
			}
			for _, client := range []string{"basic", "public", "PS256", "ES256", "EdDSA"} {
				t.Run("it lets alice in by the client "+client, func(t *testing.T) {
					s := ""
					if client == "basic" {
						s = secret
					}
					a, err := signIn(t, provider(client, s), "alice")
					if err != nil {
						t.Fatal(err)
					}
					if a.Provider != "lab" || a.Subject != "alice" || a.Login != "alice" || a.Email != "alice@example.com" || !a.EmailVerified ||
						a.FirstName != "Alice" || a.LastName != "Archer" || a.Groups == nil || !slices.Equal(*a.Groups, []string{"operators", "staff"}) || a.Attributes != nil {
						t.Errorf("got %+v, groups %v", a, a.Groups)
					}
					for name := range a.Claims {
						if strings.Contains(name, "token") {
							t.Errorf("the claims hold %s", name)
						}
					}
				})
			}
			p := provider("basic", secret)
			t.Run("it says that mallory's address is not verified", func(t *testing.T) {
				a, err := signIn(t, p, "mallory")
				if err != nil || a.Subject != "mallory" || a.Email != "alice@example.com" || a.EmailVerified || a.Groups == nil || len(*a.Groups) != 0 {
					t.Errorf("got %+v, %v", a, err)
				}
			})
			t.Run("it leaves out what is not said", func(t *testing.T) {
				a, err := signIn(t, p, "noemail")
				if err != nil || a.Email != "" || a.EmailVerified || a.Login != "noemail" || a.Groups != nil {
					t.Errorf("got %+v, %v", a, err)
				}
				if a, err = signIn(t, p, "bob"); err != nil || a.Groups != nil {
					t.Errorf("bob's groups: got %v, %v, want nil", a.Groups, err)
				}
			})
			t.Run("it refuses who cancels", func(t *testing.T) {
				_, err := signIn(t, p, "")
				wantReason(t, err, registry.ReasonProviderRefused)
			})
			t.Run("it refuses another secret", func(t *testing.T) {
				_, err := signIn(t, provider("basic", "x"+secret), "alice")
				wantReason(t, err, registry.ReasonProviderRefused)
			})
			t.Run("it refuses an id_token under HS256", func(t *testing.T) {
				_, err := signIn(t, provider("HS256", secret), "alice")
				wantReason(t, err, registry.ReasonAssertionInvalid)
			})
			t.Run("it refuses a code with another flow's verifier, and a code twice", func(t *testing.T) {
				f := newFlow()
				callback := oidctest.Login(t, oidctest.NewBrowser(), begin(t, p, f), "alice").Query()
				other := f
				other.Verifier = newFlow().Verifier
				_, err := p.Complete(t.Context(), other, callback)
				wantReason(t, err, registry.ReasonProviderRefused)
				if _, err := p.Complete(t.Context(), f, callback); err != nil {
					t.Error(err)
				}
				_, err = p.Complete(t.Context(), f, callback)
				wantReason(t, err, registry.ReasonProviderRefused)
			})
			t.Run("it signs in with the two URLs alone", func(t *testing.T) {
				lab := newProvider(t, oidc.Config{Key: "lab", AuthURL: server.Issuer + "/auth", TokenURL: server.Issuer + "/token", ClientID: "basic", ClientSecret: secret, RedirectURL: here})
				if a, err := signIn(t, lab, "alice"); err != nil || a.Email != "alice@example.com" || a.Groups != nil {
					t.Errorf("got %+v, %v", a, err)
				}
			})
			t.Run("it offers the provider's logout", func(t *testing.T) { // C68
				location, err := p.EndSession(t.Context(), "http://127.0.0.1:9/")
				if want := server.Issuer + "/session/end?client_id=basic&post_logout_redirect_uri=" + url.QueryEscape("http://127.0.0.1:9/"); err != nil || location != want {
					t.Fatalf("got %q, %v, want %q", location, err, want)
				}
				resp, err := oidctest.NewBrowser().Get(location)
				if err != nil || resp.StatusCode != 200 {
					t.Fatalf("the provider answered %v, %v", resp, err)
				}
				resp.Body.Close()
			})
		})
	}
}

// C65: keys may change, and the provider may be away, without a restart of ours.
func TestProviderComesBackWithOtherKeys(t *testing.T) {
	t.Parallel()
	server := oidctest.Start(t, oidctest.Config{Clients: []oidctest.Client{{ID: "public", RedirectURIs: []string{here}}}})
	p := newProvider(t, oidc.Config{Key: "oidc", Issuer: server.Issuer, ClientID: "public", RedirectURL: here})
	if err := p.Test(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := signIn(t, p, "alice"); err != nil {
		t.Fatal(err)
	}
	f := newFlow()
	callback := oidctest.Login(t, oidctest.NewBrowser(), begin(t, p, f), "alice").Query()
	server.Stop()
	_, err := p.Complete(t.Context(), f, callback)
	wantReason(t, err, "")
	wantReason(t, p.Test(t.Context()), "")
	server.Restart(t)
	if _, err := signIn(t, p, "alice"); err != nil {
		t.Errorf("with new keys: %v", err)
	}
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := oidc.Config{Key: "oidc", Issuer: "https://idp.example", ClientID: "us", RedirectURL: "https://postern.example/cb"}
	for _, test := range []struct {
		name   string
		change func(*oidc.Config)
		field  string // "" when it is fine
	}{
		{"it takes an issuer", func(c *oidc.Config) {}, ""},
		{"it takes two URLs", func(c *oidc.Config) {
			c.Issuer, c.AuthURL, c.TokenURL = "", "https://a.example/auth", "https://a.example/token"
		}, ""},
		{"it takes loopback over http", func(c *oidc.Config) { c.Issuer, c.RedirectURL = "http://[::1]:8080", "http://localhost/cb" }, ""},
		{"it takes Google", func(c *oidc.Config) { *c = oidc.Google("us", "secret", "https://postern.example/google-callback") }, ""},
		{"it wants a key", func(c *oidc.Config) { c.Key = "" }, "key"},
		{"it wants a client id", func(c *oidc.Config) { c.ClientID = "" }, "client_id"},
		{"it wants a redirect URL (C34)", func(c *oidc.Config) { c.RedirectURL = "" }, "redirect_url"},
		{"it wants an absolute redirect URL (C34)", func(c *oidc.Config) { c.RedirectURL = "/cb" }, "redirect_url"},
		{"it refuses a redirect URL over http", func(c *oidc.Config) { c.RedirectURL = "http://postern.example/cb" }, "redirect_url"},
		{"it wants a provider", func(c *oidc.Config) { c.Issuer = "" }, "issuer"},
		{"it wants the token URL as well", func(c *oidc.Config) { c.AuthURL = "https://a.example/auth" }, "token_url"},
		{"it wants the auth URL as well", func(c *oidc.Config) { c.TokenURL = "https://a.example/token" }, "auth_url"},
		{"it wants the issuer beside the keys (C32)", func(c *oidc.Config) {
			c.Issuer, c.AuthURL, c.TokenURL, c.JWKSURL = "", "https://a.example/auth", "https://a.example/token", "https://a.example/keys"
		}, "issuer"},
		{"it refuses an issuer over http", func(c *oidc.Config) { c.Issuer = "http://idp.example" }, "issuer"},
		{"it refuses a loopback that is none", func(c *oidc.Config) { c.Issuer = "http://127.0.0.1.example" }, "issuer"},
		{"it refuses an issuer with a query", func(c *oidc.Config) { c.Issuer = "https://idp.example?a" }, "issuer"},
		{"it refuses a secret in a URL", func(c *oidc.Config) { c.JWKSURL = "https://me:secret@idp.example/keys" }, "jwks_url"},
		{"it refuses scopes without openid", func(c *oidc.Config) { c.Scopes = []string{"email"} }, "scopes"},
		{"it refuses a long timeout (C65)", func(c *oidc.Config) { c.Timeout = 6 * time.Second }, "timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := good
			test.change(&c)
			_, err := oidc.New(c)
			var invalid *registry.InvalidError
			if test.field == "" && err != nil || test.field != "" && (!errors.As(err, &invalid) || invalid.Field != test.field || strings.Contains(err.Error(), "secret@")) {
				t.Errorf("got %v, want the field %q", err, test.field)
			}
		})
	}
}

// C28–C30, C34: everything that binds the answer to this flow is in the request.
func TestBeginSends(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*oidc.Config)
		scopes []string // that the provider lists
		want   string
	}{
		{"it asks for the usual scopes", func(c *oidc.Config) {}, nil, "openid email profile"},
		{"it asks for groups when they are wanted", func(c *oidc.Config) { c.GroupsClaim = "roles" }, nil, "openid email profile groups"},
		{"it asks for no scope that is not listed", func(c *oidc.Config) { c.GroupsClaim = "roles" }, []string{"openid"}, "openid email profile"},
		{"it asks for what it was told", func(c *oidc.Config) { c.Scopes = []string{"openid", "x"} }, nil, "openid x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			liar := oidctest.NewLiar(t, "us", secret)
			liar.Discovery = func(d map[string]any) {
				if test.scopes != nil {
					d["scopes_supported"] = test.scopes
				}
			}
			c := oidc.Config{Key: "oidc", Issuer: liar.URL, ClientID: "us", ClientSecret: secret, RedirectURL: here, HostedDomain: "example.com"}
			test.change(&c)
			f := newFlow()
			u, _ := url.Parse(begin(t, newProvider(t, c), f))
			got := u.Query()
			want := url.Values{"response_type": {"code"}, "client_id": {"us"}, "redirect_uri": {here}, "scope": {test.want}, "state": {f.State}, "nonce": {f.Nonce},
				"code_challenge_method": {"S256"}, "code_challenge": got["code_challenge"], "hd": {"example.com"}}
			if fmt.Sprint(got) != fmt.Sprint(want) || len(got.Get("code_challenge")) != 43 || got.Get("code_challenge") == f.Verifier {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
	p := newProvider(t, oidc.Config{Key: "oidc", Issuer: "http://127.0.0.1:9", ClientID: "us", RedirectURL: here})
	if _, err := p.Begin(t.Context(), authn.Flow{State: "s", Nonce: "n"}); err == nil || errors.Is(err, authn.ErrProvider) {
		t.Errorf("without a verifier: got %v", err)
	}
}
