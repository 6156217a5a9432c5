package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/postern-io/postern/authn"
)

const (
	refresh = time.Hour       // after which the discovery document is read anew
	pause   = 5 * time.Second // after a failure, before the next try
	// maxSteps bounds the search above an authorization URL; the deepest that
	// is known, Keycloak's, takes three.
	maxSteps = 8
)

// algorithms are those we take an id_token under: signatures only. "none" has no
// key, and an HMAC's key would be the client's secret or, worse, a public key
// (RFC 8725 §3.1).
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512,
	oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// A metadata is what we read of a discovery document (OpenID Connect Discovery
// §3, RFC 9207 §3, RP-Initiated Logout §2.1).
type metadata struct {
	Issuer      string   `json:"issuer"`
	AuthURL     string   `json:"authorization_endpoint"`
	TokenURL    string   `json:"token_endpoint"`
	JWKSURL     string   `json:"jwks_uri"`
	UserinfoURL string   `json:"userinfo_endpoint"`
	LogoutURL   string   `json:"end_session_endpoint"`
	Algorithms  []string `json:"id_token_signing_alg_values_supported"`
	ClientAuth  []string `json:"token_endpoint_auth_methods_supported"`
	Scopes      []string `json:"scopes_supported"`
	SendsIssuer bool     `json:"authorization_response_iss_parameter_supported"`
}

// A site is a provider as we know it at one time. It is not changed after.
type site struct {
	metadata
	style  oauth2.AuthStyle
	keys   *oidc.RemoteKeySet // fetches when it meets a key it does not know
	readAt time.Time          // zero: from the Config, valid for ever
}

// site returns what is known of the provider, and asks it when nothing is, or
// nothing new enough.
func (p *Provider) site(ctx context.Context) (*site, error) {
	p.mu.Lock()
	known, failed, failure := p.known, p.failedAt, p.failure
	p.mu.Unlock()
	now := p.c.Now()
	switch {
	case known != nil && (known.readAt.IsZero() || now.Sub(known.readAt) < refresh):
		return known, nil
	case failure != nil && now.Sub(failed) < pause:
		if known != nil {
			return known, nil
		}
		return nil, failure
	}
	// The try goes on when the one who asked first has left.
	result := p.flight.DoChan("", func() (any, error) { return p.ask(context.WithoutCancel(ctx)) })
	select {
	case r := <-result:
		switch {
		case r.Err == nil:
			return r.Val.(*site), nil
		case known != nil:
			return known, nil
		}
		return nil, r.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: discovery: %w", authn.ErrProvider, ctx.Err())
	}
}

// ask reads the discovery document and keeps what it says, or that it failed.
func (p *Provider) ask(ctx context.Context) (*site, error) {
	ctx, cancel := context.WithTimeout(ctx, p.c.Timeout)
	defer cancel()
	s, err := p.discover(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure, p.failedAt = err, p.c.Now()
	if err != nil {
		return nil, err
	}
	if p.known != nil && p.known.JWKSURL == s.JWKSURL {
		s.keys = p.known.keys
	}
	p.known = s
	return s, nil
}

// discover reads the discovery document of the Config's issuer, or looks for
// that of its endpoints. Every error is an authn.ErrProvider.
func (p *Provider) discover(ctx context.Context) (*site, error) {
	if p.c.Issuer == "" {
		return p.search(ctx)
	}
	m, err := p.document(ctx, p.c.Issuer)
	switch {
	case err != nil && errors.Is(err, authn.ErrProvider):
		return nil, fmt.Errorf("discovery: %w", err)
	case err != nil:
		return nil, fmt.Errorf("%w: discovery: %w", authn.ErrProvider, err)
	case m.Issuer != p.c.Issuer:
		return nil, fmt.Errorf("%w: the provider at %s calls itself %q: the issuer must be exactly that", authn.ErrProvider, p.c.Issuer, cut(m.Issuer))
	}
	return p.newSite(m)
}

// search looks for the document that names our two endpoints.
func (p *Provider) search(ctx context.Context) (*site, error) {
	for _, issuer := range issuersOf(p.c.AuthURL) {
		m, err := p.document(ctx, issuer)
		var status *statusError
		if err != nil && errors.Is(err, authn.ErrProvider) && !errors.As(err, &status) {
			return nil, fmt.Errorf("discovery: %w", err)
		}
		// Another's endpoints, or another's name, are another provider.
		if err == nil && strings.TrimSuffix(m.Issuer, "/") == issuer && m.AuthURL == p.c.AuthURL && m.TokenURL == p.c.TokenURL {
			return p.newSite(m)
		}
	}
	return nil, fmt.Errorf("%w: no discovery document above %s names it and %s: set the issuer as well, or the issuer and the URL of its keys; an id_token is not taken unverified",
		authn.ErrProvider, p.c.AuthURL, p.c.TokenURL)
}

// issuersOf returns whose authorization URL this may be, nearest first: every
// folder above it. Azure's is beside it, at /<tenant>/v2.0 for
// /<tenant>/oauth2/v2.0/authorize.
func issuersOf(authURL string) []string {
	u, err := url.Parse(authURL)
	if err != nil {
		return nil
	}
	var issuers []string
	root := u.Scheme + "://" + u.Host
	for dir := path.Dir(u.Path); len(issuers) < maxSteps; dir = path.Dir(dir) {
		if dir == "/" || dir == "." {
			return append(issuers, root)
		}
		if up, version, ok := strings.Cut(dir, "/oauth2/"); ok {
			issuers = append(issuers, root+up+"/"+version)
		}
		issuers = append(issuers, root+dir)
	}
	return issuers
}

func (p *Provider) document(ctx context.Context, issuer string) (metadata, error) {
	var m metadata
	err := p.get(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", "", &m)
	return m, err
}

// newSite checks a document and puts the Config's own URLs in place of its.
func (p *Provider) newSite(m metadata) (*site, error) {
	wrong := func(format string, args ...any) (*site, error) {
		return nil, fmt.Errorf("%w: discovery document of %q: %s", authn.ErrProvider, cut(m.Issuer), fmt.Sprintf(format, args...))
	}
	https := strings.HasPrefix(m.Issuer, "https:")
	for _, u := range []struct {
		name, theirs string
		ours         string
		into         *string
		needed       bool
	}{
		{"authorization_endpoint", m.AuthURL, p.c.AuthURL, &m.AuthURL, true},
		{"token_endpoint", m.TokenURL, p.c.TokenURL, &m.TokenURL, true},
		{"jwks_uri", m.JWKSURL, p.c.JWKSURL, &m.JWKSURL, true},
		{"userinfo_endpoint", m.UserinfoURL, p.c.UserinfoURL, &m.UserinfoURL, false},
		{"end_session_endpoint", m.LogoutURL, "", &m.LogoutURL, false},
	} {
		switch {
		case u.ours != "":
			*u.into = u.ours
		case u.theirs == "" && u.needed:
			return wrong("%s is missing", u.name)
		case u.theirs == "":
		case !secure(u.theirs) || https && !strings.HasPrefix(u.theirs, "https:"):
			return wrong("%s is no https URL", u.name)
		}
	}
	if len(m.Algorithms) == 0 {
		m.Algorithms = algorithms
	}
	m.Algorithms = slices.DeleteFunc(slices.Clone(m.Algorithms), func(a string) bool { return !slices.Contains(algorithms, a) })
	if len(m.Algorithms) == 0 {
		return wrong("it signs its id_tokens with none of %s", strings.Join(algorithms, ", "))
	}
	style, ok := p.styleOf(m.ClientAuth)
	if !ok {
		return wrong("it takes a client's secret neither by client_secret_basic nor by client_secret_post")
	}
	s := &site{metadata: m, style: style, readAt: p.c.Now()}
	s.keys = oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), p.client), m.JWKSURL)
	return s, nil
}

// styleOf chooses how we show our secret: by HTTP Basic, which RFC 6749 §2.3.1
// has every provider take, unless this one says that it takes only the form.
func (p *Provider) styleOf(offered []string) (oauth2.AuthStyle, bool) {
	switch {
	case p.c.ClientSecret == "":
		return oauth2.AuthStyleInParams, true
	case len(offered) == 0 || slices.Contains(offered, "client_secret_basic"):
		return oauth2.AuthStyleInHeader, true
	default:
		return oauth2.AuthStyleInParams, slices.Contains(offered, "client_secret_post")
	}
}

// Test asks the provider for its discovery document and its keys, now. Errors
// are authn.ErrProvider with a text that says what to set right.
func (p *Provider) Test(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.c.Timeout)
	defer cancel()
	keys := p.c.JWKSURL
	if !p.static() {
		s, err := p.ask(ctx)
		if err != nil {
			return err
		}
		keys = s.JWKSURL
	}
	var set struct{ Keys []json.RawMessage }
	if err := p.get(ctx, keys, "", &set); err != nil {
		return unavailable("keys", err)
	}
	if len(set.Keys) == 0 {
		return fmt.Errorf("%w: %s has no keys", authn.ErrProvider, keys)
	}
	return nil
}

// static reports whether the Config leaves nothing to discover.
func (p *Provider) static() bool {
	return p.c.Issuer != "" && p.c.AuthURL != "" && p.c.TokenURL != "" && p.c.JWKSURL != ""
}
