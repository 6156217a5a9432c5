package sso

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// C37: what can be guessed is no key, and the refusal does not tell it.
func TestWeakSecrets(t *testing.T) {
	t.Parallel()
	for _, weak := range []string{
		"short", secret[:31], strings.Repeat("a", 64), strings.Repeat("ab", 32), strings.Repeat("deadbeef", 8), strings.Repeat("0123456789abcdef", 4),
		strings.Repeat("changeme", 8), "please-change-this-secret-before-production", "qwertyuiopasdfghjklzxcvbnm1234567890", strings.Repeat("\x00", 64),
	} {
		c := config()
		c.SharedSecret = weak
		if _, err := New(c); err == nil || strings.Contains(err.Error(), weak) {
			t.Errorf("%q: got %v", weak, err)
		}
	}
	for range 20 {
		var b [32]byte
		rand.Read(b[:])
		for _, strong := range []string{hex.EncodeToString(b[:]), hex.EncodeToString(b[:16]), base64.StdEncoding.EncodeToString(b[:24]), string(b[:])} {
			if err := checkSecret(strong); err != nil {
				t.Errorf("%q: %v", strong, err)
			}
		}
	}
}

// B3: the key is the text, and not the bytes that 64 hex digits stand for.
func TestSecretIsTheText(t *testing.T) {
	t.Parallel()
	decoded, err := hex.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	_, err = newProvider(t, nil).Assert(t.Context(), sign(t, string(decoded), claims(nil)))
	if reason(t, err) != registry.ReasonAssertionInvalid {
		t.Errorf("got %v", err)
	}
}

func TestSecretRotation(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *Config) { c.PreviousSecret = previous })
	for name, key := range map[string]string{"the new one": secret, "the one before": previous} {
		if _, err := p.Assert(t.Context(), sign(t, key, claims(jwt.MapClaims{"n": name}))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := newProvider(t, nil).Assert(t.Context(), sign(t, previous, claims(nil)))
	if reason(t, err) != registry.ReasonAssertionInvalid {
		t.Errorf("after the rotation: got %v", err)
	}
}

// pairs are one key of each algorithm.
type pairs struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
}

func newPairs(t testing.TB) (k pairs) {
	t.Helper()
	var errs [3]error
	k.rsa, errs[0] = rsa.GenerateKey(rand.Reader, 2048)
	k.ec, errs[1] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, k.ed, errs[2] = ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return k
}

func der(t testing.TB, key crypto.PublicKey) []byte {
	t.Helper()
	b, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func publicFile(t testing.TB, keys ...crypto.PublicKey) string {
	t.Helper()
	var text []byte
	for _, k := range keys {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der(t, k)})...)
	}
	file := filepath.Join(t.TempDir(), "keys.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPublicKeyFile(t *testing.T) {
	t.Parallel()
	k := newPairs(t)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(t.TempDir(), "private.pem")
	b, err := x509.MarshalPKCS8PrivateKey(k.ec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		file string
		ok   bool
	}{
		"it takes one of each":      {publicFile(t, k.rsa.Public(), k.ec.Public(), k.ed.Public()), true},
		"it refuses no key":         {publicFile(t), false},
		"it refuses a small RSA":    {publicFile(t, small.Public()), false},
		"it refuses another curve":  {publicFile(t, p384.Public()), false},
		"it refuses a private key":  {private, false},
		"it refuses a missing file": {private + "x", false},
	} {
		c := config()
		c.SharedSecret, c.PublicKeyFile = "", tt.file
		if _, err := New(c); (err == nil) != tt.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// C25, C36, C38, C39: a key is for its own algorithm, a header chooses nothing,
// and a token of another type is no sign-in.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	k, foreign := newPairs(t), newPairs(t)
	file := publicFile(t, k.rsa.Public(), k.ec.Public(), k.ed.Public())
	secretOnly := func(c *Config) {}
	publicOnly := func(c *Config) { c.SharedSecret, c.PublicKeyFile = "", file }
	both := func(c *Config) { c.PublicKeyFile = file }

	mac := func(key []byte) func(string) []byte {
		return func(s string) []byte { m := hmac.New(sha256.New, key); m.Write([]byte(s)); return m.Sum(nil) }
	}
	by := func(m jwt.SigningMethod, key any) func(string) []byte {
		return func(s string) []byte {
			sig, err := m.Sign(s, key)
			if err != nil {
				t.Fatal(err)
			}
			return sig
		}
	}
	raw := func(header map[string]any, sign func(string) []byte) string {
		h, _ := json.Marshal(header)
		c, _ := json.Marshal(claims(nil))
		text := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
		return text + "." + base64.RawURLEncoding.EncodeToString(sign(text))
	}
	type h = map[string]any
	rsaPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der(t, k.rsa.Public())})
	none := func(string) []byte { return nil }
	hs := mac([]byte(secret))
	good := raw(h{"alg": "HS256", "typ": "JWT"}, hs)
	// The last of 43 digits has two bits to spare.
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	respelt := good[:len(good)-1] + string(digits[strings.IndexByte(digits, good[len(good)-1])+1])

	for name, tt := range map[string]struct {
		token  string
		config func(*Config)
		ok     bool
	}{
		"it takes HS256":                              {good, secretOnly, true},
		"it takes HS256 without a type":               {raw(h{"alg": "HS256"}, hs), secretOnly, true},
		"it takes HS256 beside public keys":           {good, both, true},
		"it takes RS256":                              {raw(h{"alg": "RS256"}, by(jwt.SigningMethodRS256, k.rsa)), publicOnly, true},
		"it takes ES256":                              {raw(h{"alg": "ES256"}, by(jwt.SigningMethodES256, k.ec)), publicOnly, true},
		"it takes EdDSA":                              {raw(h{"alg": "EdDSA", "kid": "any"}, by(jwt.SigningMethodEdDSA, k.ed)), both, true},
		"it refuses text":                             {"jwt", secretOnly, false},
		"it refuses two parts":                        {good[:strings.LastIndex(good, ".")], secretOnly, false},
		"it refuses four parts":                       {good + ".x", secretOnly, false},
		"it refuses none":                             {raw(h{"alg": "none"}, none), both, false},
		"it refuses None":                             {raw(h{"alg": "None"}, none), both, false},
		"it refuses no algorithm":                     {raw(h{"typ": "JWT"}, hs), both, false},
		"it refuses HS256 unsigned":                   {raw(h{"alg": "HS256"}, none), both, false},
		"it refuses another secret":                   {raw(h{"alg": "HS256"}, mac([]byte(previous))), both, false},
		"it refuses an empty secret":                  {raw(h{"alg": "HS256"}, mac(nil)), publicOnly, false},
		"it refuses HS384":                            {raw(h{"alg": "HS384"}, by(jwt.SigningMethodHS384, []byte(secret))), both, false},
		"it refuses HS512":                            {raw(h{"alg": "HS512"}, by(jwt.SigningMethodHS512, []byte(secret))), both, false},
		"it refuses RS512":                            {raw(h{"alg": "RS512"}, by(jwt.SigningMethodRS512, k.rsa)), both, false},
		"it refuses PS256":                            {raw(h{"alg": "PS256"}, by(jwt.SigningMethodPS256, k.rsa)), both, false},
		"it refuses RS256 where a secret is set":      {raw(h{"alg": "RS256"}, by(jwt.SigningMethodRS256, k.rsa)), secretOnly, false},
		"it refuses HS256 where a public key is set":  {good, publicOnly, false},
		"it refuses HS256 by the public key (PEM)":    {raw(h{"alg": "HS256"}, mac(rsaPEM)), both, false},
		"it refuses HS256 by the public key (DER)":    {raw(h{"alg": "HS256"}, mac(der(t, k.rsa.Public()))), both, false},
		"it refuses HS256 by the Ed25519 key":         {raw(h{"alg": "HS256"}, mac(k.ed.Public().(ed25519.PublicKey))), both, false},
		"it refuses a MAC that says RS256":            {raw(h{"alg": "RS256"}, mac(rsaPEM)), both, false},
		"it refuses ES256 that says RS256":            {raw(h{"alg": "RS256"}, by(jwt.SigningMethodES256, k.ec)), both, false},
		"it refuses a foreign RSA key":                {raw(h{"alg": "RS256"}, by(jwt.SigningMethodRS256, foreign.rsa)), both, false},
		"it refuses a foreign key that it brings":     {raw(h{"alg": "EdDSA", "jwk": jose.JSONWebKey{Key: foreign.ed.Public()}}, by(jwt.SigningMethodEdDSA, foreign.ed)), both, false},
		"it refuses a foreign key that it points to":  {raw(h{"alg": "EdDSA", "jku": "https://evil.example/keys", "x5u": "https://evil.example/c"}, by(jwt.SigningMethodEdDSA, foreign.ed)), both, false},
		"it takes no notice of jku beside a good key": {raw(h{"alg": "HS256", "jku": "https://evil.example/keys"}, hs), both, true},
		"it refuses a key named by path":              {raw(h{"alg": "HS256", "kid": "../../dev/null"}, mac(nil)), both, false},
		"it refuses an access token":                  {raw(h{"alg": "HS256", "typ": "at+jwt"}, hs), secretOnly, false},
		"it refuses a logout token":                   {raw(h{"alg": "HS256", "typ": "logout+jwt"}, hs), secretOnly, false},
		"it refuses a type that is no text":           {raw(h{"alg": "HS256", "typ": 7}, hs), secretOnly, false},
		"it refuses a critical extension":             {raw(h{"alg": "HS256", "crit": []string{"b64"}, "b64": false}, hs), secretOnly, false},
		"it refuses another spelling of a signature":  {respelt, secretOnly, false},
		"it refuses padding":                          {good + "=", secretOnly, false},
	} {
		a, err := newProvider(t, tt.config).Assert(t.Context(), tt.token)
		want := registry.ReasonAssertionInvalid
		if tt.ok {
			want = ""
		}
		if got := reason(t, err); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		if !tt.ok && a.Claims != nil {
			t.Errorf("%s: it passes on claims that nobody signed", name)
		}
	}
}

// ECDSA has two signatures for one text: the other one is a replay.
func TestReplayByTheOtherSignature(t *testing.T) {
	t.Parallel()
	k := newPairs(t)
	p := newProvider(t, func(c *Config) { c.SharedSecret, c.PublicKeyFile = "", publicFile(t, k.ec.Public()) })
	token, err := jwt.NewWithClaims(jwt.SigningMethodES256, claims(nil)).SignedString(k.ec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Assert(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	dot := strings.LastIndex(token, ".")
	sig, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil {
		t.Fatal(err)
	}
	// s becomes n - s, by hand because crypto/ecdsa does not offer it.
	n := elliptic.P256().Params().N.Bytes()
	borrow := 0
	for i := 31; i >= 0; i-- {
		d := int(n[i]) - int(sig[32+i]) - borrow
		borrow = 0
		if d < 0 {
			d, borrow = d+256, 1
		}
		sig[32+i] = byte(d)
	}
	other := token[:dot+1] + base64.RawURLEncoding.EncodeToString(sig)
	if _, err := p.Assert(t.Context(), other); other == token || reason(t, err) != registry.ReasonAssertionReplayed {
		t.Errorf("got %v, want a replay", err)
	}
}

// keyServer serves a key set that the test changes.
type keyServer struct {
	*httptest.Server
	set   atomic.Pointer[[]byte]
	calls atomic.Int64
}

func newKeyServer(t *testing.T) *keyServer {
	s := &keyServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		if set := s.set.Load(); set != nil {
			w.Write(*set)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) serve(t *testing.T, keys ...any) {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	s.set.Store(&b)
}

func TestKeySet(t *testing.T) {
	t.Parallel()
	k, next := newPairs(t), newPairs(t)
	server := newKeyServer(t)
	clock := now
	p := newProvider(t, func(c *Config) {
		c.SharedSecret, c.JWKSURL, c.Now = "", server.URL, func() time.Time { return clock }
	})
	n := 0
	assert := func(m jwt.SigningMethod, key any, kid string) error {
		n++
		token := jwt.NewWithClaims(m, jwt.MapClaims{"email": "a@b.c", "exp": clock.Add(time.Minute).Unix(), "n": n})
		if kid != "" {
			token.Header["kid"] = kid
		}
		text, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Assert(t.Context(), text)
		return err
	}

	if err := assert(jwt.SigningMethodRS256, k.rsa, "r1"); !errors.Is(err, authn.ErrProvider) || errors.Is(err, authn.ErrUnauthenticated) {
		t.Errorf("it answers %v while the set is away, want ErrProvider", err)
	}
	server.serve(t,
		jose.JSONWebKey{Key: k.rsa.Public(), KeyID: "r1", Use: "sig", Algorithm: "RS256"},
		jose.JSONWebKey{Key: k.ec.Public(), KeyID: "e1"},
		jose.JSONWebKey{Key: next.ec.Public(), KeyID: "enc", Use: "enc"},
		jose.JSONWebKey{Key: next.rsa.Public(), KeyID: "other", Algorithm: "RS512"},
		jose.JSONWebKey{Key: []byte(secret), KeyID: "h1", Algorithm: "HS256"},
		map[string]any{"kty": "OKP", "crv": "Ed448", "kid": "x", "x": "AAAA"},
	)
	if err := assert(jwt.SigningMethodRS256, k.rsa, "r1"); !errors.Is(err, authn.ErrProvider) {
		t.Errorf("it tries again at once: %v", err)
	}
	clock = clock.Add(keysPause)
	for name, tt := range map[string]struct {
		method jwt.SigningMethod
		key    any
		kid    string
		ok     bool
	}{
		"it takes a key by name":            {jwt.SigningMethodRS256, k.rsa, "r1", true},
		"it takes a key without one":        {jwt.SigningMethodES256, k.ec, "", true},
		"it refuses a key by another name":  {jwt.SigningMethodES256, k.ec, "r1", false},
		"it refuses a key for encryption":   {jwt.SigningMethodES256, next.ec, "enc", false},
		"it refuses a key of another alg":   {jwt.SigningMethodRS256, next.rsa, "other", false},
		"it refuses a secret from the web":  {jwt.SigningMethodHS256, []byte(secret), "h1", false},
		"it refuses a name that is unknown": {jwt.SigningMethodES256, next.ec, "e2", false},
	} {
		if err := assert(tt.method, tt.key, tt.kid); (err == nil) != tt.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}

	// However many unknown names strangers send, it asks once in a while.
	before := server.calls.Load()
	for range 20 {
		assert(jwt.SigningMethodES256, next.ec, "e2")
	}
	if calls := server.calls.Load() - before; calls > 1 {
		t.Errorf("it fetched %d times for unknown names, want 1 at most", calls)
	}

	// A new key is found by its name, and one taken back is forgotten.
	server.serve(t, jose.JSONWebKey{Key: next.ec.Public(), KeyID: "e2"})
	clock = clock.Add(keysPause)
	if err := assert(jwt.SigningMethodES256, next.ec, "e2"); err != nil {
		t.Errorf("a new key: %v", err)
	}
	if err := assert(jwt.SigningMethodES256, k.ec, "e1"); err == nil {
		t.Error("it takes a key that was taken back")
	}

	// The set serves while it cannot be fetched, for a day.
	server.set.Store(nil)
	clock = clock.Add(keysStale - time.Minute)
	if err := assert(jwt.SigningMethodES256, next.ec, "e2"); err != nil {
		t.Errorf("within a day: %v", err)
	}
	clock = clock.Add(2 * time.Minute)
	if err := assert(jwt.SigningMethodES256, next.ec, "e2"); !errors.Is(err, authn.ErrProvider) {
		t.Errorf("after a day: got %v, want ErrProvider", err)
	}
}

func TestKeySetIsBounded(t *testing.T) {
	t.Parallel()
	k := newPairs(t)
	server := newKeyServer(t)
	server.serve(t, slices.Repeat([]any{jose.JSONWebKey{Key: k.ed.Public()}}, maxKeys+1)...)
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims(nil)).SignedString(k.ed)
	if err != nil {
		t.Fatal(err)
	}
	p := newProvider(t, func(c *Config) { c.SharedSecret, c.JWKSURL = "", server.URL })
	if _, err := p.Assert(t.Context(), token); !errors.Is(err, authn.ErrProvider) {
		t.Errorf("too many keys: got %v", err)
	}
	server.serve(t, jose.JSONWebKey{Key: k.ed.Public()}, strings.Repeat("x", maxAnswer))
	p = newProvider(t, func(c *Config) { c.SharedSecret, c.JWKSURL = "", server.URL })
	if _, err := p.Assert(t.Context(), token); !errors.Is(err, authn.ErrProvider) {
		t.Errorf("too long: got %v", err)
	}
}
