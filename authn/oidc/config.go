package oidc

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/postern-io/postern/registry"
)

// maxTimeout is how long a person may wait for another site.
const maxTimeout = 5 * time.Second

// A Config describes one provider and us as its client.
type Config struct {
	Key string // name of the provider among ours: becomes Assertion.Provider

	// Issuer is the provider's name, exactly as it writes it. The rest is read
	// from its discovery document, except what stands below.
	Issuer string
	// AuthURL and TokenURL come together. Without an Issuer they must be those
	// of a discovery document above AuthURL's path; with Issuer and JWKSURL
	// beside them nothing is discovered.
	AuthURL, TokenURL    string
	JWKSURL, UserinfoURL string

	ClientID     string
	ClientSecret string // "" for a public client
	RedirectURL  string // our callback, as registered at the provider (RFC 9700 §2.1)

	// Scopes are asked for; nil is openid, email and profile, and groups when
	// GroupsClaim is set and the provider does not list scopes without it.
	Scopes []string

	GroupsClaim   string // "" leaves Assertion.Groups nil
	EmailClaim    string // "" is email
	UsernameClaim string // "" is preferred_username
	// VerifiedClaim says whether the address is verified. "" is email_verified,
	// or none when EmailClaim is another than email: it speaks of that one.
	VerifiedClaim string

	// HostedDomain lets in only people of this Google Workspace domain.
	HostedDomain string

	Timeout    time.Duration    // of Begin, Complete and Test; 0 is 5 s, which is the most
	HTTPClient *http.Client     // its Transport is used, for the CAs it trusts; nil is the default
	Now        func() time.Time // nil is time.Now
}

// Google returns the Config of Google's provider. Its id_tokens may write the
// issuer without the scheme, which is understood.
func Google(clientID, clientSecret, redirectURL string) Config {
	return Config{Key: "google", Issuer: "https://accounts.google.com", ClientID: clientID, ClientSecret: clientSecret, RedirectURL: redirectURL}
}

// check returns a *registry.InvalidError that names what is wrong.
func (c *Config) check() error {
	invalid := func(field, reason string) error {
		return &registry.InvalidError{Field: field, Reason: reason}
	}
	switch {
	case c.Key == "":
		return invalid("key", "is missing: a name for this provider, such as oidc")
	case c.ClientID == "":
		return invalid("client_id", "is missing: the id under which the provider knows us")
	case c.RedirectURL == "":
		return invalid("redirect_url", "is missing: our callback as registered at the provider, such as https://postern.example/oauth/callback/oidc")
	case c.Issuer == "" && c.AuthURL == "" && c.TokenURL == "":
		return invalid("issuer", "is missing: the provider's exact name, such as https://idp.example")
	case c.AuthURL != "" && c.TokenURL == "":
		return invalid("token_url", "is missing beside auth_url: give both, or the issuer alone")
	case c.AuthURL == "" && c.TokenURL != "":
		return invalid("auth_url", "is missing beside token_url: give both, or the issuer alone")
	case c.JWKSURL != "" && c.Issuer == "":
		return invalid("issuer", "is missing beside jwks_url: the exact iss of the provider's id_tokens, such as https://idp.example")
	case c.Scopes != nil && !slices.Contains(c.Scopes, "openid"):
		return invalid("scopes", "must hold openid, or there is no id_token to verify")
	case c.Timeout < 0 || c.Timeout > maxTimeout:
		return invalid("timeout", "must be up to 5s: a person waits for it")
	}
	for _, u := range []struct{ field, value string }{
		{"issuer", c.Issuer}, {"auth_url", c.AuthURL}, {"token_url", c.TokenURL},
		{"jwks_url", c.JWKSURL}, {"userinfo_url", c.UserinfoURL}, {"redirect_url", c.RedirectURL},
	} {
		if u.value != "" && !secure(u.value) {
			return invalid(u.field, "must be an https URL without user or fragment; http is for loopback only")
		}
	}
	if strings.Contains(c.Issuer, "?") {
		return invalid("issuer", "must have no query (OpenID Connect Discovery §3)")
	}
	return nil
}

// secure reports whether a URL is https, or http to this very machine.
func secure(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Contains(raw, "#") {
		return false
	}
	host := u.Hostname()
	return u.Scheme == "https" || u.Scheme == "http" && (host == "localhost" || net.ParseIP(host).IsLoopback())
}
