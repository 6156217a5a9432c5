package token

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newSigner(t testing.TB) *Signer {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Signer{Issuer: "https://postern.example", Audience: "postern", Life: 15 * time.Minute, Now: func() time.Time { return now }, Keys: Keys{Active: key}}
}

func TestIssueAndVerify(t *testing.T) {
	s := newSigner(t)
	text, err := s.Issue("user", "session")
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Verify(text)
	if err != nil || c.User != "user" || c.Session != "session" || !c.Expires.Equal(now.Add(15*time.Minute)) {
		t.Errorf("got %+v, %v", c, err)
	}
	later := *s
	later.Now = func() time.Time { return now.Add(15*time.Minute + time.Second) }
	if _, err := later.Verify(text); !errors.Is(err, ErrExpired) {
		t.Errorf("after its life: got %v, want ErrExpired", err)
	}
}

func TestRotatedKeyStillVerifies(t *testing.T) {
	s := newSigner(t)
	text, _ := s.Issue("user", "session")
	next := newSigner(t)
	if _, err := next.Verify(text); !errors.Is(err, ErrInvalid) {
		t.Errorf("under a foreign key: got %v, want ErrInvalid", err)
	}
	next.Keys.Retiring = []ed25519.PublicKey{s.Keys.Active.Public().(ed25519.PublicKey)}
	if _, err := next.Verify(text); err != nil {
		t.Errorf("under a retiring key: %v", err)
	}
	if len(next.JWKS()) != 2 {
		t.Errorf("got %d published keys, want 2", len(next.JWKS()))
	}
}

// C25, C36, C38, C39: nothing but our own kind of token is taken.
func TestForgedTokens(t *testing.T) {
	s := newSigner(t)
	good := accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{Issuer: s.Issuer, Subject: "user", Audience: jwt.ClaimStrings{s.Audience}, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Minute))},
		Session:          "session",
	}
	forge := func(change func(c *accessClaims, header map[string]any)) string {
		c := good
		t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, &c)
		t.Header["typ"], t.Header["kid"] = headerType, KeyID(s.Keys.Active.Public().(ed25519.PublicKey))
		change(&c, t.Header)
		text, _ := t.SignedString(s.Keys.Active)
		return text
	}
	if _, err := s.Verify(forge(func(*accessClaims, map[string]any) {})); err != nil {
		t.Fatalf("the unchanged token: %v", err)
	}
	_, foreign, _ := ed25519.GenerateKey(nil)
	raw := func(alg string, sign func(string) []byte) string {
		header, _ := json.Marshal(map[string]any{"alg": alg, "typ": headerType, "kid": KeyID(s.Keys.Active.Public().(ed25519.PublicKey))})
		claims, _ := json.Marshal(good)
		body := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
		return body + "." + base64.RawURLEncoding.EncodeToString(sign(body))
	}
	public := s.Keys.Active.Public().(ed25519.PublicKey)
	for name, text := range map[string]string{
		"it refuses nothing":            "",
		"it refuses text":               "not.a.token",
		"it refuses a refresh token":    func() string { text, _ := NewRefresh(); return text }(),
		"it refuses alg none":           raw("none", func(string) []byte { return nil }),
		"it refuses HS256 with the key": raw("HS256", func(b string) []byte { m := hmac.New(sha256.New, public); m.Write([]byte(b)); return m.Sum(nil) }),
		"it refuses another key":        raw("EdDSA", func(b string) []byte { return ed25519.Sign(foreign, []byte(b)) }),
		"it refuses another type":       forge(func(_ *accessClaims, h map[string]any) { h["typ"] = "JWT" }),
		"it refuses no type":            forge(func(_ *accessClaims, h map[string]any) { delete(h, "typ") }),
		"it refuses an unknown kid":     forge(func(_ *accessClaims, h map[string]any) { h["kid"] = "x" }),
		"it refuses another issuer":     forge(func(c *accessClaims, _ map[string]any) { c.Issuer += "/" }),
		"it refuses another audience":   forge(func(c *accessClaims, _ map[string]any) { c.Audience = jwt.ClaimStrings{"other"} }),
		"it refuses no expiry":          forge(func(c *accessClaims, _ map[string]any) { c.ExpiresAt = nil }),
		"it refuses the future":         forge(func(c *accessClaims, _ map[string]any) { c.IssuedAt = jwt.NewNumericDate(now.Add(time.Hour)) }),
		"it refuses no session":         forge(func(c *accessClaims, _ map[string]any) { c.Session = "" }),
		"it refuses no subject":         forge(func(c *accessClaims, _ map[string]any) { c.Subject = "" }),
	} {
		if _, err := s.Verify(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
}

func TestRefreshTokensDiffer(t *testing.T) {
	a, hashA := NewRefresh()
	b, hashB := NewRefresh()
	if a == b || hashA == hashB || hashA != Hash(a) || len(a) != len(refreshPrefix)+43 || !strings.HasPrefix(a, refreshPrefix) {
		t.Errorf("got %d and %d characters", len(a), len(b))
	}
}

func FuzzVerify(f *testing.F) {
	s := newSigner(f)
	text, _ := s.Issue("user", "session")
	f.Add(text)
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, other string) {
		if _, err := s.Verify(other); err == nil && other != text {
			t.Errorf("%q was taken", other)
		}
	})
}
