// Package sso signs people in with a JSON Web Token that the company's own
// application signs, in the way that Metabase made known ("JWT-based
// authentication"), without what is dangerous about it (spec/users.md §1.3,
// §2.6, §2.8).
//
//	flow A   browser ──▶ identity provider?return_to&state
//	                     └──▶ /auth/sso?jwt&return_to&state ──▶ Complete
//	flow B   browser ──▶ identity provider?response_type=code&code_challenge&…
//	                     └──▶ /auth/sso?code&state ──▶ Complete ──▶ token URI
//
// Flow A carries the token through the browser. Flow B is the code flow with
// PKCE (RFC 7636) in which it never leaves the two servers; a provider with a
// TokenURI takes flow B alone, so that nobody can step back to A.
//
// Who the token says is decided here, that it says so once included. Whether
// this browser asked for it is the pipeline's: a flow cookie, and state where
// the identity provider gives it back, which a Metabase-style one does not.
package sso

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// Key is the key of the provider in identities, settings and logs.
const Key = "jwt"

const (
	defaultTimeout = 5 * time.Second

	// maxToken bounds a token and a code, in bytes. It is what fits in a URL
	// that common proxies pass on.
	maxToken = 8 << 10
)

// A Config says which identity provider to trust and for what. At least one of
// SharedSecret, PublicKeyFile and JWKSURL is needed.
type Config struct {
	// IdentityProviderURI is where people sign in. Its own query is kept.
	IdentityProviderURI string

	// SharedSecret is the HS256 key, at least 32 bytes, used as it stands: 64
	// hex digits are 64 bytes, as in the seed. PreviousSecret is taken as well
	// while the key is being replaced.
	SharedSecret, PreviousSecret string
	// PublicKeyFile holds PEM "PUBLIC KEY" blocks, and JWKSURL serves a key set
	// (RFC 7517): RSA of at least 2048 bits for RS256, P-256 for ES256, Ed25519
	// for EdDSA. A key is used for its own algorithm alone (RFC 8725 §3.1).
	PublicKeyFile, JWKSURL string

	// Issuer and Audience are compared when they are not empty.
	Issuer, Audience string

	// TokenURI and ClientID choose flow B. RedirectURI is <base>/auth/sso.
	TokenURI, ClientID, RedirectURI string

	// The names of claims: email, first_name, last_name and groups when empty.
	EmailAttribute, FirstNameAttribute, LastNameAttribute, GroupsAttribute string
	// GroupSync passes groups on. Without it Assertion.Groups is always nil.
	GroupSync bool

	// Strict requires iat, iss and aud.
	Strict bool
	// LaxClaims is for identity providers written for the seed, which checks
	// what is there and asks for nothing: exp may be absent when iat is there,
	// which ends the token after 180 seconds, and exp alone may lie 24 hours
	// ahead instead of 600 seconds. A token with neither stays refused, because
	// it would be valid for ever, and a token still counts once.
	LaxClaims bool
	// AllowIdPInitiated lets Unsolicited take a token that nobody asked for.
	AllowIdPInitiated bool

	Seen       Seen
	Timeout    time.Duration // of a call to the identity provider; 0 means 5 seconds
	HTTPClient *http.Client  // nil means a new one; redirects are never followed
	Now        func() time.Time
}

// Seen remembers assertions until they expire, on every node. It is safe for
// concurrent use.
type Seen interface {
	// MarkSeen keeps hash at least until the time given. first is true for one
	// caller alone, however many ask at once and on whichever node.
	MarkSeen(ctx context.Context, hash [32]byte, until time.Time) (first bool, err error)
}

// A Provider signs people in by JWT. It is an authn.RedirectProvider, and safe
// for concurrent use.
type Provider struct {
	c      Config // without the secrets, which are in keys
	idp    *url.URL
	keys   keyring
	client *http.Client
}

var _ authn.RedirectProvider = (*Provider)(nil)

// New returns a provider, or an error that names the field and what would be
// right. It reads PublicKeyFile, and calls nobody.
func New(c Config) (*Provider, error) {
	c.EmailAttribute = cmp.Or(c.EmailAttribute, "email")
	c.FirstNameAttribute = cmp.Or(c.FirstNameAttribute, "first_name")
	c.LastNameAttribute = cmp.Or(c.LastNameAttribute, "last_name")
	c.GroupsAttribute = cmp.Or(c.GroupsAttribute, "groups")
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	if c.Now == nil {
		c.Now = time.Now
	}
	p := &Provider{client: boundedClient(c.HTTPClient, c.Timeout)}
	var err error
	if p.idp, err = providerURI(c); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if p.keys, err = newKeyring(c, p.client); err != nil {
		return nil, err
	}
	p.c = c
	p.c.SharedSecret, p.c.PreviousSecret = "", ""
	return p, nil
}

func (c *Config) check() error {
	names := map[string]bool{c.EmailAttribute: true, c.FirstNameAttribute: true, c.LastNameAttribute: true, c.GroupsAttribute: true}
	switch {
	case c.Seen == nil:
		return errors.New("Seen must be given: without it a token could be used twice")
	case len(names) < 4:
		return errors.New("EmailAttribute, FirstNameAttribute, LastNameAttribute and GroupsAttribute must be four different claims")
	case c.Strict && c.LaxClaims:
		return errors.New("only one of Strict and LaxClaims may be set")
	case c.Strict && (c.Issuer == "" || c.Audience == ""):
		return errors.New("the profile Strict needs Issuer and Audience: a claim that is compared with nothing proves nothing")
	case (c.TokenURI == "") != (c.ClientID == ""):
		return errors.New("TokenURI and ClientID must be given together (the code flow with PKCE) or not at all")
	case c.TokenURI != "" && c.RedirectURI == "":
		return errors.New("RedirectURI must be <public URL>/auth/sso when TokenURI is given")
	}
	for name, uri := range map[string]string{"TokenURI": c.TokenURI, "JWKSURL": c.JWKSURL} {
		if uri == "" {
			continue
		}
		u, err := url.Parse(uri)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
			return fmt.Errorf("%s must be an https URL (http only on loopback) without a user or fragment", name)
		}
	}
	return nil
}

// providerURI parses the URI that Begin adds to. Parameters that it already
// has and Begin would add again are refused, because readers differ in which
// of two they believe.
func providerURI(c Config) (*url.URL, error) {
	u, err := url.Parse(c.IdentityProviderURI)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("IdentityProviderURI %q must be an absolute http or https URL without a user or fragment", c.IdentityProviderURI)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("IdentityProviderURI %q: %w", c.IdentityProviderURI, err)
	}
	for _, ours := range []string{"return_to", "state", "response_type", "client_id", "redirect_uri", "code_challenge", "code_challenge_method"} {
		if query.Has(ours) {
			return nil, fmt.Errorf("IdentityProviderURI %q must not have a parameter %s: it is added at each sign-in", c.IdentityProviderURI, ours)
		}
	}
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Begin returns the identity provider's URI with return_to and state, and in
// flow B with the request for a code (RFC 6749 §4.1.1, RFC 7636 §4.3).
func (p *Provider) Begin(_ context.Context, f authn.Flow) (string, error) {
	if f.State == "" || p.c.TokenURI != "" && f.Verifier == "" {
		return "", errors.New("a flow needs a state and, for a code, a verifier")
	}
	add := url.Values{"return_to": {cmp.Or(f.ReturnTo, "/")}, "state": {f.State}}
	if p.c.TokenURI != "" {
		challenge := sha256.Sum256([]byte(f.Verifier))
		add.Set("response_type", "code")
		add.Set("client_id", p.c.ClientID)
		add.Set("redirect_uri", p.c.RedirectURI)
		add.Set("code_challenge", base64.RawURLEncoding.EncodeToString(challenge[:]))
		add.Set("code_challenge_method", "S256")
	}
	u := *p.idp
	if u.RawQuery != "" {
		u.RawQuery = strings.TrimSuffix(u.RawQuery, "&") + "&"
	}
	u.RawQuery += add.Encode()
	return u.String(), nil
}

// Complete takes jwt (flow A) or code (flow B) from what the browser brought
// back. What comes twice, together, over-long or of the other flow is refused.
func (p *Provider) Complete(ctx context.Context, f authn.Flow, callback url.Values) (authn.Assertion, error) {
	jwts, codes := callback["jwt"], callback["code"]
	switch {
	case callback.Has("error"):
		// The text is the stranger's, so it goes no further than the reason.
		return authn.Assertion{}, refuse(registry.ReasonProviderRefused, "the identity provider answered with an error")
	case len(jwts)+len(codes) != 1:
		return authn.Assertion{}, refuse(registry.ReasonAssertionInvalid, "want one jwt or one code, got %d and %d", len(jwts), len(codes))
	case p.c.TokenURI == "" && len(codes) == 1:
		return authn.Assertion{}, refuse(registry.ReasonAssertionInvalid, "a code, but no token URI is configured")
	case p.c.TokenURI == "":
		return p.Assert(ctx, jwts[0])
	case len(jwts) == 1:
		return authn.Assertion{}, refuse(registry.ReasonAssertionInvalid, "a token through the browser, but a token URI is configured")
	case codes[0] == "" || len(codes[0]) > maxToken:
		return authn.Assertion{}, refuse(registry.ReasonAssertionInvalid, "a code of %d bytes", len(codes[0]))
	}
	token, err := p.exchange(ctx, f, codes[0])
	if err != nil {
		return authn.Assertion{}, err
	}
	return p.Assert(ctx, token)
}

// Unsolicited is Assert for a token that nobody asked for in this browser. It
// is refused unless AllowIdPInitiated is set, before the token is looked at.
// The caller asks the person before it signs them in: somebody else may have
// sent them here with a token of their own (login CSRF).
func (p *Provider) Unsolicited(ctx context.Context, jwt string) (authn.Assertion, error) {
	if !p.c.AllowIdPInitiated {
		return authn.Assertion{}, refuse(registry.ReasonAssertionUnexpected, "sign-ins that begin at the identity provider are off")
	}
	return p.Assert(ctx, jwt)
}

// refuse returns a *authn.RefusedError with what the operator should know. The
// detail never holds a token or the value of a claim.
func refuse(reason registry.Reason, format string, args ...any) error {
	return fmt.Errorf("jwt: %s: %w", fmt.Sprintf(format, args...), &authn.RefusedError{Reason: reason})
}
