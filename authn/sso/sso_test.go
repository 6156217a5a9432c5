package sso

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

const (
	secret   = "87f0c2f8d7f4f66a2bb4eaea4d6d8e1a7f1d2a94c4a5d9f01be7a1c0935be3d2"
	previous = "0b6d8e7a3f95c1e24d7a8890f3c6b1d25e4a7f8093c2d1b6a5e4f7089c3b2d1a"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// memory is a Seen of this process.
type memory struct {
	mu   sync.Mutex
	seen map[[32]byte]time.Time
	err  error
}

func (m *memory) MarkSeen(_ context.Context, hash [32]byte, until time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return false, m.err
	}
	if _, ok := m.seen[hash]; ok {
		return false, nil
	}
	if m.seen == nil {
		m.seen = map[[32]byte]time.Time{}
	}
	m.seen[hash] = until
	return true, nil
}

func config() Config {
	return Config{
		IdentityProviderURI: "https://idp.example/login", SharedSecret: secret,
		Seen: &memory{}, Now: func() time.Time { return now },
	}
}

func newProvider(t testing.TB, change func(*Config)) *Provider {
	t.Helper()
	c := config()
	if change != nil {
		change(&c)
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// claims are those of a good token, changed: a nil value takes the claim away.
func claims(change jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{"email": "Jane@example.com", "exp": now.Add(time.Minute).Unix()}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func sign(t testing.TB, key string, c jwt.MapClaims) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// reason returns why an error refuses, "" without one.
func reason(t testing.TB, err error) registry.Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	var refused *authn.RefusedError
	if !errors.As(err, &refused) || !errors.Is(err, authn.ErrUnauthenticated) {
		t.Fatalf("got %v, want a refusal", err)
	}
	return refused.Reason
}

func TestNew(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*Config)
		ok     bool
	}{
		"it takes the seed's settings":  {func(*Config) {}, true},
		"it takes http to the provider": {func(c *Config) { c.IdentityProviderURI = "http://idp.example:3001/" }, true},
		"it takes flow B": {func(c *Config) {
			c.TokenURI, c.ClientID, c.RedirectURI = "https://idp.example/token", "postern", "https://p/auth/sso"
		}, true},
		"it takes http on loopback": {func(c *Config) {
			c.TokenURI, c.ClientID, c.RedirectURI = "http://127.0.0.1:9/token", "x", "https://p/auth/sso"
		}, true},
		"it refuses no key":                  {func(c *Config) { c.SharedSecret = "" }, false},
		"it refuses no memory":               {func(c *Config) { c.Seen = nil }, false},
		"it refuses no provider":             {func(c *Config) { c.IdentityProviderURI = "" }, false},
		"it refuses a script for a provider": {func(c *Config) { c.IdentityProviderURI = "javascript:alert(1)" }, false},
		"it refuses a relative provider":     {func(c *Config) { c.IdentityProviderURI = "/login" }, false},
		"it refuses a fragment":              {func(c *Config) { c.IdentityProviderURI += "#x" }, false},
		"it refuses a provider with state":   {func(c *Config) { c.IdentityProviderURI += "?state=x" }, false},
		"it refuses a password in the URI":   {func(c *Config) { c.IdentityProviderURI = "https://u:p@idp.example/" }, false},
		"it refuses http for tokens": {func(c *Config) {
			c.TokenURI, c.ClientID, c.RedirectURI = "http://idp.example/token", "x", "https://p/auth/sso"
		}, false},
		"it refuses http for keys":                {func(c *Config) { c.JWKSURL = "http://idp.example/keys" }, false},
		"it refuses a token URI alone":            {func(c *Config) { c.TokenURI = "https://idp.example/token" }, false},
		"it refuses a client ID alone":            {func(c *Config) { c.ClientID = "x" }, false},
		"it refuses flow B without a redirect":    {func(c *Config) { c.TokenURI, c.ClientID = "https://idp.example/token", "x" }, false},
		"it refuses one claim for two":            {func(c *Config) { c.GroupsAttribute = "email" }, false},
		"it refuses strict and lax":               {func(c *Config) { c.Strict, c.LaxClaims, c.Issuer, c.Audience = true, true, "i", "a" }, false},
		"it refuses strict without an issuer":     {func(c *Config) { c.Strict, c.Audience = true, "a" }, false},
		"it refuses strict without an audience":   {func(c *Config) { c.Strict, c.Issuer = true, "i" }, false},
		"it refuses a key file that is not there": {func(c *Config) { c.PublicKeyFile = "testdata/none.pem" }, false},
		"it refuses a previous secret alone": {func(c *Config) {
			c.SharedSecret, c.PreviousSecret = "", previous
			c.JWKSURL = "https://idp.example/keys"
		}, false},
		"it refuses the same secret twice":  {func(c *Config) { c.PreviousSecret = c.SharedSecret }, false},
		"it refuses a weak previous secret": {func(c *Config) { c.PreviousSecret = "short" }, false},
	} {
		c := config()
		tt.change(&c)
		if _, err := New(c); (err == nil) != tt.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestBegin(t *testing.T) {
	t.Parallel()
	flow := authn.Flow{State: "s t", Verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", ReturnTo: "/question/1?a=b&c"}
	for name, tt := range map[string]struct{ idp, want string }{
		"it appends with ?":          {"https://idp.example/login", "https://idp.example/login?return_to=%2Fquestion%2F1%3Fa%3Db%26c&state=s+t"},
		"it appends with & (B1)":     {"https://idp.example/login?app=7", "https://idp.example/login?app=7&return_to=%2Fquestion%2F1%3Fa%3Db%26c&state=s+t"},
		"it leaves an open ? alone":  {"https://idp.example/?", "https://idp.example/?return_to=%2Fquestion%2F1%3Fa%3Db%26c&state=s+t"},
		"it leaves a trailing & one": {"https://idp.example/?app=7&", "https://idp.example/?app=7&return_to=%2Fquestion%2F1%3Fa%3Db%26c&state=s+t"},
	} {
		p := newProvider(t, func(c *Config) { c.IdentityProviderURI = tt.idp })
		if got, err := p.Begin(t.Context(), flow); err != nil || got != tt.want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, tt.want)
		}
	}
	p := newProvider(t, nil)
	if _, err := p.Begin(t.Context(), authn.Flow{}); err == nil {
		t.Error("it begins a flow without a state")
	}
}

// C29: flow B always asks with S256; the pair is that of RFC 7636 appendix B.
func TestBeginWithChallenge(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *Config) {
		c.TokenURI, c.ClientID, c.RedirectURI = "https://idp.example/token", "postern", "https://postern.example/auth/sso"
	})
	location, err := p.Begin(t.Context(), authn.Flow{State: "s", Verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"response_type": "code", "client_id": "postern", "redirect_uri": "https://postern.example/auth/sso", "state": "s", "return_to": "/",
		"code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256",
	}
	for k, v := range want {
		if got := u.Query()[k]; len(got) != 1 || got[0] != v {
			t.Errorf("%s: got %q, want %q once", k, got, v)
		}
	}
	if _, err := p.Begin(t.Context(), authn.Flow{State: "s"}); err == nil {
		t.Error("it begins without a verifier")
	}
}

func TestComplete(t *testing.T) {
	t.Parallel()
	token := func() string { return sign(t, secret, claims(jwt.MapClaims{"jti": time.Now().String()})) }
	flowB := func(c *Config) {
		c.TokenURI, c.ClientID, c.RedirectURI = "http://127.0.0.1:1/token", "x", "https://p/auth/sso"
	}
	for name, tt := range map[string]struct {
		callback url.Values
		change   func(*Config)
		want     registry.Reason
	}{
		"it takes a token":                     {url.Values{"jwt": {token()}, "return_to": {"/x"}}, nil, ""},
		"it refuses nothing":                   {url.Values{}, nil, registry.ReasonAssertionInvalid},
		"it refuses an empty token":            {url.Values{"jwt": {""}}, nil, registry.ReasonAssertionInvalid},
		"it refuses two tokens":                {url.Values{"jwt": {token(), token()}}, nil, registry.ReasonAssertionInvalid},
		"it refuses a token and a code":        {url.Values{"jwt": {token()}, "code": {"x"}}, nil, registry.ReasonAssertionInvalid},
		"it refuses a code without a URI":      {url.Values{"code": {"x"}}, nil, registry.ReasonAssertionInvalid},
		"it refuses a token of 8 KiB and more": {url.Values{"jwt": {sign(t, secret, claims(jwt.MapClaims{"m": []string{string(make([]byte, 8<<10))}}))}}, nil, registry.ReasonAssertionInvalid},
		"it refuses an error":                  {url.Values{"error": {"access_denied"}, "jwt": {token()}}, nil, registry.ReasonProviderRefused},
		"it refuses a step back to flow A":     {url.Values{"jwt": {token()}}, flowB, registry.ReasonAssertionInvalid},
		"it refuses two codes":                 {url.Values{"code": {"x", "x"}}, flowB, registry.ReasonAssertionInvalid},
		"it refuses an empty code":             {url.Values{"code": {""}}, flowB, registry.ReasonAssertionInvalid},
		"it refuses a long code":               {url.Values{"code": {string(make([]byte, 8<<10+1))}}, flowB, registry.ReasonAssertionInvalid},
	} {
		_, err := newProvider(t, tt.change).Complete(t.Context(), authn.Flow{}, tt.callback)
		if got := reason(t, err); got != tt.want {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, tt.want)
		}
	}
}

// C42: a token that nobody asked for is taken only where it is allowed.
func TestUnsolicited(t *testing.T) {
	t.Parallel()
	token := sign(t, secret, claims(nil))
	p := newProvider(t, nil)
	if _, err := p.Unsolicited(t.Context(), token); reason(t, err) != registry.ReasonAssertionUnexpected {
		t.Errorf("not allowed: got %v", err)
	}
	p = newProvider(t, func(c *Config) { c.AllowIdPInitiated = true })
	if a, err := p.Unsolicited(t.Context(), token); err != nil || a.Subject != "jane@example.com" {
		t.Errorf("allowed: got %+v, %v", a, err)
	}
}
