package sso

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

const (
	maxAge    = 180 * time.Second // since iat, as in the seed
	maxAhead  = 600 * time.Second // of exp
	laxAhead  = 24 * time.Hour    // of exp without iat, with LaxClaims
	clockSkew = 30 * time.Second  // that iat and nbf may be ahead of our clock

	maxSubject        = 255 // bytes
	maxGroups         = 1000
	maxAttributes     = 64
	maxAttributeKey   = 64   // bytes
	maxAttributeValue = 1024 // bytes
)

// Assert verifies a token and returns what it says, once. It serves flow A, the
// POST form, and the answer of a token URI.
//
// Errors are a *authn.RefusedError, found with errors.As, whose Reason says what
// was wrong; authn.ErrProvider when the keys cannot be fetched; and the error of
// Seen. Once the signature holds, the Assertion beside an error has the claims.
//
// The Subject is sub, else the e-mail address in lower case; an identity
// provider should send sub always or never. The address counts as verified only
// if the token says email_verified, and says it of the claim email: that the
// company signed the token does not tell whether it checked the address.
func (p *Provider) Assert(ctx context.Context, token string) (authn.Assertion, error) {
	a := authn.Assertion{Provider: Key}
	claims, err := p.verify(ctx, token)
	if err != nil {
		return a, err
	}
	a.Claims = claims
	until, err := p.times(claims)
	if err != nil {
		return a, err
	}
	if err := p.parties(claims); err != nil {
		return a, err
	}
	if err := p.person(claims, &a); err != nil {
		return a, err
	}
	// Last, so that a token refused for another reason is not used up. The
	// margin is for nodes whose clocks differ.
	first, err := p.c.Seen.MarkSeen(ctx, fingerprint(token, claims), until.Add(clockSkew))
	if err != nil {
		return a, fmt.Errorf("jwt: remember the token: %w", err)
	}
	if !first {
		return a, refuse(registry.ReasonAssertionReplayed, "the token was used before")
	}
	return a, nil
}

// verify checks the form and the signature. The library's checks of claims are
// off: ours ask for more, and tell the reasons apart.
func (p *Provider) verify(ctx context.Context, token string) (jwt.MapClaims, error) {
	if token == "" || len(token) > maxToken {
		return nil, refuse(registry.ReasonAssertionInvalid, "a token of %d bytes, want 1 to %d", len(token), maxToken)
	}
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(token, &claims, func(t *jwt.Token) (any, error) {
		// Explicit typing (RFC 8725 §3.11): our own at+jwt, a logout+jwt and
		// what else has a type of its own is no sign-in.
		if typ, has := t.Header["typ"]; has && !isJWT(typ) {
			return nil, errors.New("another type of token")
		}
		if _, has := t.Header["crit"]; has {
			return nil, errors.New("a critical header that is not understood") // RFC 7515 §4.1.11
		}
		kid, _ := t.Header["kid"].(string)
		return p.keys.find(ctx, t.Method.Alg(), kid)
	}, jwt.WithValidMethods([]string{"HS256", "RS256", "ES256", "EdDSA"}), jwt.WithJSONNumber(), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	switch {
	case errors.Is(err, authn.ErrProvider):
		return nil, err
	case err != nil:
		return nil, refuse(registry.ReasonAssertionInvalid, "form, type or signature of the token")
	}
	return claims, nil
}

func isJWT(typ any) bool {
	s, ok := typ.(string)
	return ok && strings.EqualFold(s, "JWT")
}

// times checks exp, iat and nbf, and returns when the token ends.
func (p *Provider) times(claims jwt.MapClaims) (until time.Time, err error) {
	var exp, iat, nbf time.Time // zero: absent
	for name, t := range map[string]*time.Time{"exp": &exp, "iat": &iat, "nbf": &nbf} {
		if *t, err = date(claims, name); err != nil {
			return until, err
		}
	}
	now, ahead := p.c.Now(), maxAhead
	until = exp
	if p.c.LaxClaims {
		ahead = laxAhead
		if end := iat.Add(maxAge); !iat.IsZero() && (exp.IsZero() || end.Before(exp)) {
			until = end // a later exp then does not matter
		}
	}
	switch {
	case until.IsZero():
		return until, refuse(registry.ReasonAssertionInvalid, "exp is missing")
	case p.c.Strict && iat.IsZero():
		return until, refuse(registry.ReasonAssertionInvalid, "iat is missing")
	case !iat.IsZero() && now.Sub(iat) > maxAge:
		return until, refuse(registry.ReasonAssertionExpired, "iat is more than %v ago", maxAge)
	case iat.Sub(now) > clockSkew || nbf.Sub(now) > clockSkew:
		return until, refuse(registry.ReasonAssertionExpired, "iat or nbf is more than %v ahead", clockSkew)
	case !exp.IsZero() && !now.Before(exp):
		return until, refuse(registry.ReasonAssertionExpired, "exp has passed")
	case until.Sub(now) > ahead:
		return until, refuse(registry.ReasonAssertionInvalid, "exp is more than %v ahead", ahead)
	}
	return until, nil
}

// date reads seconds since 1970 (RFC 7519 §2), which may have a fraction. The
// bound keeps them what time.Time can count.
func date(claims jwt.MapClaims, name string) (time.Time, error) {
	v, has := claims[name]
	if !has {
		return time.Time{}, nil
	}
	n, _ := v.(json.Number)
	seconds, err := n.Float64()
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return time.Time{}, refuse(registry.ReasonAssertionInvalid, "%s must be seconds since 1970", name)
	}
	return time.UnixMilli(int64(seconds * 1000)), nil
}

// parties checks who signed the token, and for whom.
func (p *Provider) parties(claims jwt.MapClaims) error {
	iss, _ := claims["iss"].(string)
	aud, err := claims.GetAudience()
	switch {
	case p.c.Issuer != "" && iss != p.c.Issuer:
		return refuse(registry.ReasonAssertionInvalid, "iss is not the configured one")
	case err != nil || p.c.Audience != "" && !slices.Contains(aud, p.c.Audience):
		return refuse(registry.ReasonAssertionInvalid, "aud does not have the configured one")
	}
	return nil
}

// person fills in who the token is about.
func (p *Provider) person(claims jwt.MapClaims, a *authn.Assertion) (err error) {
	a.Email, _ = claims[p.c.EmailAttribute].(string)
	if a.Email == "" {
		return refuse(registry.ReasonEmailMissing, "the claim %q is missing", p.c.EmailAttribute)
	}
	if address, err := mail.ParseAddress(a.Email); err != nil || address.Address != a.Email {
		return refuse(registry.ReasonAssertionInvalid, "the claim %q is no e-mail address", p.c.EmailAttribute)
	}
	a.EmailVerified = p.c.EmailAttribute == "email" && claims["email_verified"] == true
	a.FirstName, _ = claims[p.c.FirstNameAttribute].(string)
	a.LastName, _ = claims[p.c.LastNameAttribute].(string)
	if a.Subject, err = subject(claims, a.Email); err != nil {
		return err
	}
	if p.c.GroupSync {
		if a.Groups, err = groups(claims[p.c.GroupsAttribute]); err != nil {
			return err
		}
	}
	a.Attributes, err = p.attributes(claims)
	return err
}

func subject(claims jwt.MapClaims, email string) (string, error) {
	sub, has := claims["sub"]
	if !has {
		// ASCII alone: Unicode folds the Kelvin sign to k, and with it one
		// person's address to another's.
		return strings.Map(func(r rune) rune {
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			return r
		}, email), nil
	}
	// A sub of another type does not fall back to the address: it would be
	// another account on the day that the type is mended.
	s, _ := sub.(string)
	if s == "" || len(s) > maxSubject {
		return "", refuse(registry.ReasonSubjectMissing, "sub must be a string of 1 to %d bytes", maxSubject)
	}
	return s, nil
}

// groups reads a list or one name. Absent or null says nothing of groups, which
// is nil; a list of anything but names is refused and not guessed at.
func groups(claim any) (*[]string, error) {
	names := []string{}
	switch v := claim.(type) {
	case nil:
		return nil, nil
	case string:
		if v != "" {
			names = append(names, v)
		}
	case []any:
		for _, e := range v {
			name, ok := e.(string)
			if !ok {
				return nil, refuse(registry.ReasonAssertionInvalid, "groups must be names")
			}
			names = append(names, name)
		}
	default:
		return nil, refuse(registry.ReasonAssertionInvalid, "groups must be a list or one name")
	}
	if len(names) > maxGroups {
		return nil, refuse(registry.ReasonAssertionInvalid, "%d groups, want at most %d", len(names), maxGroups)
	}
	return &names, nil
}

// attributes are the claims with no meaning of their own, as text. They replace
// those of the account, so the map is never nil. Keys that begin with @ are
// reserved and left out, as are maps, lists and null. Too many or too long ones
// are refused: an attribute that went missing could widen what somebody sees.
func (p *Provider) attributes(claims jwt.MapClaims) (map[string]string, error) {
	known := []string{
		"iss", "iat", "sub", "aud", "exp", "nbf", "jti",
		p.c.EmailAttribute, p.c.FirstNameAttribute, p.c.LastNameAttribute, p.c.GroupsAttribute,
	}
	out := map[string]string{}
	for key, claim := range claims {
		if slices.Contains(known, key) || strings.HasPrefix(key, "@") {
			continue
		}
		var text string
		switch v := claim.(type) {
		case string:
			text = v
		case json.Number:
			text = v.String()
		case bool:
			text = fmt.Sprint(v)
		default:
			continue
		}
		if len(key) > maxAttributeKey || len(text) > maxAttributeValue {
			return nil, refuse(registry.ReasonAssertionInvalid, "an attribute has more than %d bytes in its name or %d in its value", maxAttributeKey, maxAttributeValue)
		}
		out[key] = text
	}
	if len(out) > maxAttributes {
		return nil, refuse(registry.ReasonAssertionInvalid, "%d attributes, want at most %d", len(out), maxAttributes)
	}
	return out, nil
}

// fingerprint tells one assertion from another: by jti, which is the issuer's
// own number (RFC 7519 §4.1.7), else by what is signed. The signature is left
// out because ECDSA has two for one text.
func fingerprint(token string, claims jwt.MapClaims) [32]byte {
	iss, _ := claims["iss"].(string)
	if jti, _ := claims["jti"].(string); jti != "" {
		return sha256.Sum256([]byte("jwt\x00jti\x00" + iss + "\x00" + jti))
	}
	return sha256.Sum256([]byte("jwt\x00text\x00" + token[:strings.LastIndexByte(token, '.')]))
}
