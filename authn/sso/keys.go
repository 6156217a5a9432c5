package sso

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	zxcvbn "github.com/nbutton23/zxcvbn-go"

	"github.com/postern-io/postern/authn"
)

const (
	minSecret = 32 // bytes (RFC 7518 §3.2)

	// What a secret must look like: 128 random bits in hex have 16 different
	// digits and an estimate of 90 bits or more, a repeated word far less.
	minDifferent = 10
	minEntropy   = 80

	minRSA  = 2048 // bits (RFC 7518 §3.3)
	maxKeys = 100
)

// secretWords are what people build a key from when a text tells them to
// replace it.
var secretWords = strings.Fields("please change this super secret shared signing key jwt token production before example metabase postern")

// A publicKey is a key, the one algorithm it is used for, and its name in a
// key set ("" for one from a file).
type publicKey struct {
	key any
	alg string
	id  string
}

// A keyring holds what a token may be signed with.
type keyring struct {
	secrets []jwt.VerificationKey
	public  []publicKey
	remote  *keySet // nil without JWKSURL
}

func newKeyring(c Config, client *http.Client) (keyring, error) {
	var k keyring
	if c.SharedSecret == "" && c.PublicKeyFile == "" && c.JWKSURL == "" {
		return k, errors.New("SharedSecret, PublicKeyFile or JWKSURL must be given: without a key nothing can be checked")
	}
	if c.SharedSecret == "" && c.PreviousSecret != "" || c.SharedSecret != "" && c.SharedSecret == c.PreviousSecret {
		return k, errors.New("PreviousSecret must be another one than SharedSecret, and beside it")
	}
	for name, secret := range map[string]string{"SharedSecret": c.SharedSecret, "PreviousSecret": c.PreviousSecret} {
		if secret == "" {
			continue
		}
		if err := checkSecret(secret); err != nil {
			return k, fmt.Errorf("%s %w", name, err)
		}
		k.secrets = append(k.secrets, []byte(secret))
	}
	if c.PublicKeyFile != "" {
		var err error
		if k.public, err = readPublicKeys(c.PublicKeyFile); err != nil {
			return k, fmt.Errorf("PublicKeyFile: %w", err)
		}
	}
	if c.JWKSURL != "" {
		k.remote = &keySet{url: c.JWKSURL, client: client, now: c.Now, timeout: c.Timeout}
	}
	return k, nil
}

// checkSecret refuses what can be guessed: who guesses the key signs in as
// anybody. The error never holds the secret.
func checkSecret(secret string) error {
	if len(secret) < minSecret {
		return fmt.Errorf("must have at least %d bytes, such as the 64 digits of `openssl rand -hex 32`", minSecret)
	}
	different := map[byte]bool{}
	for i := range len(secret) {
		different[secret[i]] = true
	}
	// The estimator's cost grows with the square of the length.
	if len(different) < minDifferent || zxcvbn.PasswordStrength(strings.ToLower(secret[:min(len(secret), 100)]), secretWords).Entropy < minEntropy {
		return errors.New("is too easy to guess: it must be random, such as the 64 digits of `openssl rand -hex 32`")
	}
	return nil
}

func readPublicKeys(file string) (keys []publicKey, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("%s must hold PUBLIC KEY blocks alone, got %q", file, block.Type)
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		k := publicKey{key: parsed, alg: algorithm(parsed)}
		if k.alg == "" {
			return nil, fmt.Errorf("%s must hold RSA (2048 bits or more), P-256 or Ed25519 keys", file)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s holds no PUBLIC KEY block", file)
	}
	return keys, nil
}

// algorithm returns the one algorithm that a key is used for, or "".
func algorithm(key any) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSA {
			return "RS256"
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return "ES256"
		}
	case ed25519.PublicKey:
		return "EdDSA"
	}
	return ""
}

// find returns the keys that a token with this header may be signed with. It is
// the algorithm that chooses the kind of key, never the other way round. Of the
// rest of the header only kid is used, to choose within the configured set: jku,
// x5u, x5c and jwk are not looked at (RFC 8725 §3.10). The error is ErrProvider.
func (k *keyring) find(ctx context.Context, alg, kid string) (set jwt.VerificationKeySet, err error) {
	if alg == "HS256" {
		set.Keys = k.secrets
		return set, nil
	}
	public := k.public
	if k.remote != nil {
		remote, err := k.remote.find(ctx, kid)
		if err != nil && len(public) == 0 {
			return set, err
		}
		public = slices.Concat(public, remote)
	}
	for _, p := range public {
		if p.alg == alg && (kid == "" || p.id == "" || p.id == kid) {
			set.Keys = append(set.Keys, p.key)
		}
	}
	return set, nil
}

const (
	keysFresh = time.Hour        // after which a key set is fetched again
	keysStale = 24 * time.Hour   // for which it serves while it cannot be fetched
	keysPause = 10 * time.Second // between fetches, however many unknown keys strangers name
)

// A keySet is a key set at a URL, fetched when first needed. Unlike go-oidc's
// it bounds how often a stranger's unknown kid makes us call, and forgets keys
// that were taken back.
type keySet struct {
	url     string
	client  *http.Client
	now     func() time.Time
	timeout time.Duration

	mu      sync.Mutex // held over a fetch, so that those who wait share it
	keys    []publicKey
	fetched time.Time
	tried   time.Time
}

// find returns the keys of the set, fetched again when it is old or lacks kid.
func (s *keySet) find(ctx context.Context, kid string) ([]publicKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	known := kid == "" || slices.ContainsFunc(s.keys, func(k publicKey) bool { return k.id == kid })
	var err error
	if (!known || now.Sub(s.fetched) > keysFresh) && now.Sub(s.tried) >= keysPause {
		s.tried = now
		var keys []publicKey
		if keys, err = s.fetch(ctx); err == nil {
			s.keys, s.fetched = keys, now
		}
	}
	if now.Sub(s.fetched) > keysStale {
		if err == nil {
			err = errors.New("no key set for a day, and the last try was a moment ago")
		}
		return nil, fmt.Errorf("jwt: fetch keys: %w: %w", authn.ErrProvider, err)
	}
	return s.keys, nil
}

// fetch gets the key set. It is not the first caller's alone, so it does not
// end with that one's request. Keys of no use here are left out.
func (s *keySet) fetch(ctx context.Context) ([]publicKey, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	status, body, err := do(s.client, req)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); status != http.StatusOK || err != nil || len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("status %d, want 200 and a JSON key set of at most %d keys", status, maxKeys)
	}
	var keys []publicKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if json.Unmarshal(raw, &k) != nil || k.Use == "enc" {
			continue // RFC 7517 §5: a key that is not understood is ignored
		}
		if alg := algorithm(k.Key); alg != "" && (k.Algorithm == "" || k.Algorithm == alg) {
			keys = append(keys, publicKey{key: k.Key, alg: alg, id: k.KeyID})
		}
	}
	return keys, nil
}
