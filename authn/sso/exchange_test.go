package sso

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/test/sampleidp"
)

const postern = "https://postern.example"

// signIn fills in the form of the sample identity provider and returns where it
// would send the browser.
func signIn(t *testing.T, location, password string) *url.URL {
	t.Helper()
	browser := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	at, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	form := at.Query() // the hidden fields repeat the query
	form.Set("name", "jane")
	form.Set("password", password)
	resp, err := browser.PostForm(location, form)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		t.Fatalf("status %d: %v", resp.StatusCode, err)
	}
	return back
}

func sample(t *testing.T) string {
	server := httptest.NewServer(sampleidp.Handler(secret, postern, map[string]sampleidp.Person{
		"jane": {Password: "demo", Claims: map[string]any{"email": "jane@example.com", "sub": "j7", "groups": []string{"staff"}}},
	}))
	t.Cleanup(server.Close)
	return server.URL
}

var flow = authn.Flow{State: "state-of-this-flow", Verifier: strings.Repeat("v", 43), ReturnTo: "/question/1"}

// real has the real clock, which the sample identity provider goes by.
func real(t *testing.T, change func(*Config)) *Provider {
	return newProvider(t, func(c *Config) {
		c.Now, c.GroupSync = time.Now, true
		change(c)
	})
}

func TestFlowA(t *testing.T) {
	t.Parallel()
	idp := sample(t)
	p := real(t, func(c *Config) { c.IdentityProviderURI = idp + "/?app=1" })
	location, err := p.Begin(t.Context(), flow)
	if err != nil {
		t.Fatal(err)
	}
	back := signIn(t, location, "demo")
	if got := back.Query(); back.Host != "postern.example" || back.Path != "/auth/sso" || got.Get("return_to") != flow.ReturnTo || got.Get("state") != flow.State {
		t.Errorf("it ends at %v", back)
	}
	a, err := p.Complete(t.Context(), flow, back.Query())
	if err != nil || a.Subject != "j7" || a.Groups == nil || (*a.Groups)[0] != "staff" {
		t.Errorf("got %+v, %v", a, err)
	}
	if _, err := p.Complete(t.Context(), flow, back.Query()); reason(t, err) != registry.ReasonAssertionReplayed {
		t.Errorf("again: got %v", err)
	}
}

// B13, C29: the code flow with PKCE, and nobody but the one who asked.
func TestFlowB(t *testing.T) {
	t.Parallel()
	idp := sample(t)
	p := real(t, func(c *Config) {
		c.IdentityProviderURI, c.TokenURI, c.ClientID, c.RedirectURI = idp, idp+"/token", "postern", postern+"/auth/sso"
	})
	code := func() url.Values {
		location, err := p.Begin(t.Context(), flow)
		if err != nil {
			t.Fatal(err)
		}
		back := signIn(t, location, "demo")
		if back.Query().Has("jwt") {
			t.Errorf("the token went through the browser: %v", back)
		}
		return back.Query()
	}
	callback := code()
	if a, err := p.Complete(t.Context(), flow, callback); err != nil || a.Subject != "j7" || a.Email != "jane@example.com" {
		t.Errorf("got %+v, %v", a, err)
	}
	if _, err := p.Complete(t.Context(), flow, callback); reason(t, err) != registry.ReasonProviderRefused {
		t.Errorf("the code again: got %v", err)
	}
	wrong := flow
	wrong.Verifier = strings.Repeat("w", 43)
	if _, err := p.Complete(t.Context(), wrong, code()); reason(t, err) != registry.ReasonProviderRefused {
		t.Errorf("another verifier: got %v", err)
	}
}

func TestTokenAnswers(t *testing.T) {
	t.Parallel()
	good := sign(t, secret, claims(nil))
	for name, tt := range map[string]struct {
		status int
		body   string
		want   registry.Reason // "" with down: ErrProvider
		down   bool
	}{
		"it takes jwt":                       {200, `{"jwt":"` + good + `"}`, "", false},
		"it takes id_token":                  {200, `{"id_token":"` + good + `","token_type":"Bearer"}`, "", false},
		"it refuses both":                    {200, `{"jwt":"` + good + `","id_token":"` + good + `"}`, registry.ReasonAssertionInvalid, false},
		"it refuses neither":                 {200, `{}`, registry.ReasonAssertionInvalid, false},
		"it refuses what is no JSON":         {200, good, registry.ReasonAssertionInvalid, false},
		"it refuses a token it cannot check": {200, `{"jwt":"a.b.c"}`, registry.ReasonAssertionInvalid, false},
		"it passes a refusal on":             {400, `{"error":"invalid_grant"}`, registry.ReasonProviderRefused, false},
		"it calls 500 an outage":             {500, ``, "", true},
		"it calls 429 an outage":             {429, ``, "", true},
		"it does not follow a redirect":      {307, ``, "", true},
		"it bounds the answer":               {200, `{"jwt":"` + good + `"}` + strings.Repeat(" ", maxAnswer), "", true},
	} {
		t.Run(name, func(t *testing.T) {
			followed := make(chan struct{}, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					followed <- struct{}{}
					w.Write([]byte(`{"jwt":"` + good + `"}`))
					return
				}
				want := url.Values{"grant_type": {"authorization_code"}, "code": {"the code"}, "code_verifier": {flow.Verifier}, "client_id": {"postern"}, "redirect_uri": {postern + "/auth/sso"}}
				if r.ParseForm(); r.Method != http.MethodPost || r.URL.RawQuery != "" || r.PostForm.Encode() != want.Encode() {
					t.Errorf("it sends %s %s %v", r.Method, r.URL, r.PostForm)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				w.Write([]byte(tt.body))
			}))
			defer server.Close()
			p := newProvider(t, func(c *Config) {
				c.TokenURI, c.ClientID, c.RedirectURI = server.URL+"/token", "postern", postern+"/auth/sso"
				c.HTTPClient = &http.Client{Transport: server.Client().Transport}
			})
			_, err := p.Complete(t.Context(), flow, url.Values{"code": {"the code"}})
			if tt.down {
				if !errors.Is(err, authn.ErrProvider) || errors.Is(err, authn.ErrUnauthenticated) {
					t.Errorf("got %v, want ErrProvider", err)
				}
			} else if got := reason(t, err); got != tt.want {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), "the code") || strings.Contains(err.Error(), flow.Verifier)) {
				t.Errorf("the error tells a secret: %v", err)
			}
			if len(followed) > 0 {
				t.Error("it followed a redirect")
			}
		})
	}
}

// C65: a provider that does not answer does not hold anybody up.
func TestTokenURIThatHangs(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-hang }))
	defer server.Close()
	defer close(hang)
	p := newProvider(t, func(c *Config) {
		c.TokenURI, c.ClientID, c.RedirectURI, c.Timeout = server.URL, "postern", postern+"/auth/sso", 50*time.Millisecond
	})
	if _, err := p.Complete(t.Context(), flow, url.Values{"code": {"x"}}); !errors.Is(err, authn.ErrProvider) {
		t.Errorf("got %v, want ErrProvider", err)
	}
	if p := newProvider(t, nil); p.client.Timeout != 5*time.Second {
		t.Errorf("it waits %v unless told, want 5s", p.client.Timeout)
	}
	p = newProvider(t, func(c *Config) {
		c.SharedSecret, c.JWKSURL, c.Timeout = "", server.URL, 50*time.Millisecond
	})
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims(nil)).SignedString(newPairs(t).ed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Assert(t.Context(), token); !errors.Is(err, authn.ErrProvider) {
		t.Errorf("keys: got %v, want ErrProvider", err)
	}
}
