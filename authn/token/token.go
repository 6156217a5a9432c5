// Package token makes and checks the tokens of people: access tokens, which are
// JWTs signed with Ed25519 and published keys, and refresh tokens, which are
// opaque random strings of which only a hash is kept.
//
// An access token says who somebody is and which session they are in. It does
// not say what they may do: the role is looked up by session at every request,
// so that a demotion holds at once.
package token

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/postern-io/postern/registry"
)

var (
	// ErrInvalid is returned for a token that is not one of ours.
	ErrInvalid = errors.New("invalid token")
	// ErrExpired is returned for a token that was one of ours.
	ErrExpired = errors.New("expired token")
)

// headerType is the typ header of access tokens (RFC 9068 §2.1). It keeps every
// other JWT signed with the same key from being taken for one (RFC 8725 §3.11).
const headerType = "at+jwt"

// A Signer issues and verifies access tokens. It is safe for concurrent use.
type Signer struct {
	Issuer   string // iss: the public URL
	Audience string // aud: this instance
	Life     time.Duration
	Now      func() time.Time
	Keys     Keys
}

// Keys are the active key, which signs, and retiring ones, which only verify.
type Keys struct {
	Active   ed25519.PrivateKey
	Retiring []ed25519.PublicKey
}

// Claims are what an access token says.
type Claims struct {
	User    registry.UserID
	Session registry.SessionID
	Expires time.Time
}

type accessClaims struct {
	jwt.RegisteredClaims
	Session string `json:"sid"`
	Type    int    `json:"type"` // 0, an access token, as in the API that clients know
	User    string `json:"user"`
}

// Issue returns a signed access token for a session.
func (s *Signer) Issue(user registry.UserID, session registry.SessionID) (string, error) {
	now := s.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: s.Issuer, Subject: string(user), Audience: jwt.ClaimStrings{s.Audience},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(s.Life)), ID: uuid.NewString(),
		},
		Session: string(session), User: string(user),
	})
	t.Header["typ"] = headerType
	t.Header["kid"] = KeyID(s.Keys.Active.Public().(ed25519.PublicKey))
	signed, err := t.SignedString(s.Keys.Active)
	if err != nil {
		return "", fmt.Errorf("sign access token: %w", err)
	}
	return signed, nil
}

// Verify returns what a token says. Errors are ErrExpired and ErrInvalid. Of
// the header only kid is used, and only to choose among our own keys: jku, x5u
// and jwk are not looked at (RFC 8725 §3.10).
func (s *Signer) Verify(text string) (Claims, error) {
	var c accessClaims
	t, err := jwt.ParseWithClaims(text, &c, s.key,
		jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithIssuer(s.Issuer), jwt.WithAudience(s.Audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithTimeFunc(s.Now), jwt.WithStrictDecoding())
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return Claims{}, ErrExpired
	case err != nil:
		return Claims{}, ErrInvalid
	case t.Header["typ"] != headerType || c.Subject == "" || c.Session == "":
		return Claims{}, ErrInvalid
	}
	return Claims{User: registry.UserID(c.Subject), Session: registry.SessionID(c.Session), Expires: c.ExpiresAt.Time}, nil
}

func (s *Signer) key(t *jwt.Token) (any, error) {
	for _, k := range s.public() {
		if t.Header["kid"] == KeyID(k) {
			return k, nil
		}
	}
	return nil, ErrInvalid
}

func (s *Signer) public() []ed25519.PublicKey {
	return append([]ed25519.PublicKey{s.Keys.Active.Public().(ed25519.PublicKey)}, s.Keys.Retiring...)
}

// KeyID is the JWK thumbprint of a public key (RFC 7638, RFC 8037 appendix A.3).
func KeyID(k ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(k) + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// A JWK is one public key of a JWKS (RFC 7517, RFC 8037).
type JWK struct {
	Type  string `json:"kty"`
	Curve string `json:"crv"`
	X     string `json:"x"`
	ID    string `json:"kid"`
	Use   string `json:"use"`
	Alg   string `json:"alg"`
}

// JWKS returns the public keys that verify our tokens, the active one first.
func (s *Signer) JWKS() []JWK {
	var keys []JWK
	for _, k := range s.public() {
		keys = append(keys, JWK{Type: "OKP", Curve: "Ed25519", X: base64.RawURLEncoding.EncodeToString(k), ID: KeyID(k), Use: "sig", Alg: "EdDSA"})
	}
	return keys
}

// refreshPrefix tells people and scanners what the string is.
const refreshPrefix = "prt_"

// NewRefresh returns a refresh token of 256 random bits, and the hash to keep.
func NewRefresh() (text string, hash [32]byte) {
	text = New(refreshPrefix)
	return text, Hash(text)
}

// New returns a secret of 256 random bits in base64url behind a prefix that
// tells people and scanners what it is.
func New(prefix string) string {
	var b [32]byte
	rand.Read(b[:])
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// Hash returns what is kept of a secret that New made: it is 256 random bits, so
// a plain SHA-256 cannot be turned around.
func Hash(text string) [32]byte { return sha256.Sum256([]byte(text)) }
