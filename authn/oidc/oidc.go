package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

const (
	// The id_token of a code that was just redeemed was just made: what is older
	// than a flow lives, or further ahead than clocks differ, is not it.
	maxAge  = 10 * time.Minute
	maxSkew = time.Minute

	maxSubject = 255  // bytes (OpenID Connect Core §2)
	maxParam   = 4096 // bytes of one parameter of the callback
	maxText    = 200  // bytes of somebody else's words in an error
)

// A Provider signs people in at one OpenID provider. It is an
// authn.RedirectProvider, and safe for concurrent use.
type Provider struct {
	c      Config
	client *http.Client
	flight singleflight.Group

	mu       sync.Mutex
	known    *site
	failure  error // of the last try, nil when it went well
	failedAt time.Time
}

// New returns the Provider of a Config, without asking the network. Errors are
// *registry.InvalidError and name the field as the configuration writes it.
func New(c Config) (*Provider, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Timeout == 0 {
		c.Timeout = maxTimeout
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.EmailClaim == "" {
		c.EmailClaim = "email"
	}
	if c.VerifiedClaim == "" && c.EmailClaim == "email" {
		c.VerifiedClaim = "email_verified"
	}
	if c.UsernameClaim == "" {
		c.UsernameClaim = "preferred_username"
	}
	p := &Provider{c: c, client: newClient(c.HTTPClient, c.Timeout)}
	if p.static() {
		s, err := p.newSite(metadata{Issuer: c.Issuer})
		if err != nil {
			return nil, err
		}
		s.readAt = time.Time{}
		p.known = s
	}
	return p, nil
}

// Begin returns where to send the browser.
func (p *Provider) Begin(ctx context.Context, f authn.Flow) (string, error) {
	if f.State == "" || f.Nonce == "" || f.Verifier == "" {
		return "", errors.New("begin sign-in: the flow has no state, nonce or verifier")
	}
	ctx, cancel := context.WithTimeout(ctx, p.c.Timeout)
	defer cancel()
	s, err := p.site(ctx)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)}
	if p.c.HostedDomain != "" {
		options = append(options, oauth2.SetAuthURLParam("hd", p.c.HostedDomain))
	}
	return p.oauth(s).AuthCodeURL(f.State, options...), nil
}

func (p *Provider) oauth(s *site) *oauth2.Config {
	scopes := p.c.Scopes
	if scopes == nil {
		scopes = []string{oidc.ScopeOpenID, oidc.ScopeEmail, oidc.ScopeProfile}
		// Who does not know a scope may refuse the whole request.
		if p.c.GroupsClaim != "" && (len(s.Scopes) == 0 || slices.Contains(s.Scopes, "groups")) {
			scopes = append(scopes, "groups")
		}
	}
	return &oauth2.Config{
		ClientID: p.c.ClientID, ClientSecret: p.c.ClientSecret, RedirectURL: p.c.RedirectURL, Scopes: scopes,
		Endpoint: oauth2.Endpoint{AuthURL: s.AuthURL, TokenURL: s.TokenURL, AuthStyle: s.style},
	}
}

// Complete redeems the code that the browser brought and returns who its owner
// is. A refusal's text says what was wrong, for the log; it is not for the
// browser.
func (p *Provider) Complete(ctx context.Context, f authn.Flow, callback url.Values) (authn.Assertion, error) {
	ctx, cancel := context.WithTimeout(ctx, p.c.Timeout)
	defer cancel()
	if err := wellFormed(f, callback); err != nil {
		return authn.Assertion{}, err
	}
	s, err := p.site(ctx)
	if err != nil {
		return authn.Assertion{}, err
	}
	code, err := s.codeOf(callback)
	if err != nil {
		return authn.Assertion{}, err
	}
	token, err := p.oauth(s).Exchange(oidc.ClientContext(ctx, p.client), code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return authn.Assertion{}, exchangeError(err)
	}
	said, err := p.verify(ctx, s, f, token)
	if err != nil {
		return authn.Assertion{}, err
	}
	var more claims
	if s.UserinfoURL != "" && p.lacks(said) {
		if more, err = p.userinfo(ctx, s, token, said.text("sub")); err != nil {
			return p.assertion(said, nil), err
		}
	}
	a := p.assertion(said, more)
	if d := p.c.HostedDomain; d != "" && said.text("hd") != d {
		return a, refuse(registry.ReasonNotAuthorized, "the account is not of the domain %s", d)
	}
	return a, nil
}

// wellFormed checks that the callback is one answer, and to this flow.
func wellFormed(f authn.Flow, callback url.Values) error {
	for _, name := range []string{"state", "code", "iss", "error", "error_description"} {
		if v := callback[name]; len(v) > 1 || len(v) == 1 && len(v[0]) > maxParam {
			return refuse(registry.ReasonAssertionInvalid, "the callback has %s twice, or longer than %d bytes", name, maxParam)
		}
	}
	if f.Nonce == "" || f.Verifier == "" || f.State == "" || !same(callback.Get("state"), f.State) {
		return refuse(registry.ReasonFlowUnknown, "the callback's state is not this flow's")
	}
	return nil
}

// codeOf returns the code of a callback that came from this provider and is no
// refusal. Where it came from is asked first, of refusals as well (RFC 9207
// §2.4): an attacker's provider must not end a flow with ours.
func (s *site) codeOf(callback url.Values) (string, error) {
	switch from := callback.Get("iss"); {
	case from == "" && s.SendsIssuer:
		return "", refuse(registry.ReasonAssertionInvalid, "the callback has no iss, and the provider says that it sends one")
	case callback.Has("iss") && from != s.Issuer:
		return "", refuse(registry.ReasonAssertionInvalid, "the callback came from %q, not from %s", cut(from), s.Issuer)
	}
	if callback.Has("error") {
		switch e := callback.Get("error"); e {
		case "temporarily_unavailable", "server_error":
			return "", fmt.Errorf("%w: it answered %s", authn.ErrProvider, e)
		default:
			return "", refuse(registry.ReasonProviderRefused, "it answered %q %q", cut(e), cut(callback.Get("error_description")))
		}
	}
	if callback.Get("code") == "" {
		return "", refuse(registry.ReasonAssertionInvalid, "the callback has neither code nor error")
	}
	return callback.Get("code"), nil
}

// exchangeError tells "no" from "not now". The provider's text is left out: it
// may repeat what we sent.
func exchangeError(err error) error {
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) {
		return unavailable("token request", err)
	}
	switch e := answer.ErrorCode; e {
	case "temporarily_unavailable", "server_error":
		return fmt.Errorf("%w: token request: %s", authn.ErrProvider, e)
	default:
		return refuse(registry.ReasonProviderRefused, "token request: it answered %s %q", answer.Response.Status, cut(e))
	}
}

// verify returns what the id_token says (OpenID Connect Core §3.1.3.7).
func (p *Provider) verify(ctx context.Context, s *site, f authn.Flow, token *oauth2.Token) (claims, error) {
	invalid := func(format string, args ...any) error {
		return refuse(registry.ReasonAssertionInvalid, "id_token: "+format, args...)
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return nil, invalid("there is none")
	}
	keys := &keyring{set: s.keys}
	verified, err := oidc.NewVerifier(s.Issuer, keys, &oidc.Config{
		ClientID: p.c.ClientID, SupportedSigningAlgs: s.Algorithms, Now: p.c.Now,
	}).Verify(ctx, raw)
	var expired *oidc.TokenExpiredError
	var unreachable *url.Error
	switch {
	case errors.As(keys.err, &unreachable), keys.err != nil && ctx.Err() != nil:
		return nil, unavailable("keys", keys.err)
	case errors.As(err, &expired):
		return nil, refuse(registry.ReasonAssertionExpired, "id_token: expired at %s", expired.Expiry)
	case err != nil:
		return nil, invalid("%s", cut(err.Error()))
	}
	var said claims
	if err := verified.Claims(&said); err != nil {
		return nil, invalid("%s", cut(err.Error()))
	}
	party, named := said["azp"]
	now := p.c.Now()
	switch {
	case !same(verified.Nonce, f.Nonce):
		return nil, invalid("its nonce is not this flow's")
	case named && party != p.c.ClientID || !named && len(verified.Audience) > 1:
		return nil, invalid("it was made for another client (azp)")
	case verified.Subject == "":
		return nil, refuse(registry.ReasonSubjectMissing, "id_token: no sub")
	case len(verified.Subject) > maxSubject:
		return nil, invalid("its sub is longer than %d bytes", maxSubject)
	case said["iat"] == nil:
		return nil, invalid("no iat")
	case verified.IssuedAt.After(now.Add(maxSkew)), verified.IssuedAt.Before(now.Add(-maxAge)):
		return nil, refuse(registry.ReasonAssertionExpired, "id_token: issued at %s, and it is %s", verified.IssuedAt, now)
	case verified.AccessTokenHash != "" && verified.VerifyAccessToken(token.AccessToken) != nil:
		return nil, invalid("its at_hash is not that of the access token")
	}
	return said, nil
}

// A keyring remembers why keys were not to be had: the verifier's own error
// does not wrap it.
type keyring struct {
	set oidc.KeySet
	err error
}

func (k *keyring) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.set.VerifySignature(ctx, jwt)
	k.err = err
	return payload, err
}

// userinfo returns what the provider says of subject (OpenID Connect Core §5.3).
func (p *Provider) userinfo(ctx context.Context, s *site, token *oauth2.Token, subject string) (claims, error) {
	var said claims
	err := p.get(ctx, s.UserinfoURL, token.AccessToken, &said)
	var status *statusError
	switch {
	case errors.As(err, &status) && !errors.Is(err, authn.ErrProvider):
		return nil, refuse(registry.ReasonProviderRefused, "userinfo: it %s", status)
	case err != nil:
		return nil, unavailable("userinfo", err)
	case !same(said.text("sub"), subject):
		return nil, refuse(registry.ReasonAssertionInvalid, "userinfo speaks of somebody else (sub)")
	}
	return said, nil
}

// EndSession returns where to send the browser so that the provider ends its
// session as well, and sends it on to after, an absolute URL registered there;
// "" when the provider offers none (OpenID Connect RP-Initiated Logout 1.0). We
// keep no id_token to hint with, so the provider may ask the person.
func (p *Provider) EndSession(ctx context.Context, after string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.c.Timeout)
	defer cancel()
	s, err := p.site(ctx)
	if err != nil || s.LogoutURL == "" {
		return "", err
	}
	u, err := url.Parse(s.LogoutURL)
	if err != nil {
		return "", fmt.Errorf("%w: end_session_endpoint: %w", authn.ErrProvider, err)
	}
	q := u.Query()
	q.Set("client_id", p.c.ClientID)
	if after != "" {
		q.Set("post_logout_redirect_uri", after)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// refuse is an authn.RefusedError that says what was wrong.
func refuse(reason registry.Reason, format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, &authn.RefusedError{Reason: reason})...)
}

// unavailable is an authn.ErrProvider, once.
func unavailable(what string, err error) error {
	if errors.Is(err, authn.ErrProvider) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%w: %s: %w", authn.ErrProvider, what, err)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// cut bounds what somebody else wrote.
func cut(text string) string {
	if len(text) > maxText {
		return text[:maxText] + "…"
	}
	return text
}
