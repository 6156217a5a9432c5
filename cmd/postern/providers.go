package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/header"
	"github.com/postern-io/postern/authn/ldap"
	"github.com/postern-io/postern/authn/oidc"
	"github.com/postern-io/postern/authn/sso"
	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

// A way is one way to sign in, as the settings make it.
type way struct {
	key, kind string
	prefix    string // of its settings
	settings  func(*people) any
	on        func(*people) bool
	// provider makes it, without asking anybody: a directory that is down does
	// not hold up the start.
	provider func(p *people, base string, seen sso.Seen) (authn.Provider, error)
}

// ways are all that there can be.
var ways = []way{
	{registry.LocalProvider, "password", "auth-local", func(p *people) any { return p.LocalEnabled },
		func(p *people) bool { return p.LocalEnabled && slices.Contains(p.Providers, registry.LocalProvider) },
		func(*people, string, sso.Seen) (authn.Provider, error) {
			return authn.Provider{Key: registry.LocalProvider, Title: "Password"}, nil
		}},
	{ldap.Name, "password", "auth-ldap", func(p *people) any { return p.LDAP },
		func(p *people) bool { return slices.Contains(p.Providers, ldap.Name) },
		func(p *people, _ string, _ sso.Seen) (authn.Provider, error) { return p.LDAP.provider() }},
	{"google", "redirect", "auth-google", func(p *people) any { return p.Google },
		func(p *people) bool { return p.Google.ClientID != "" },
		func(p *people, base string, _ sso.Seen) (authn.Provider, error) { return p.Google.provider(base) }},
	{"oidc", "redirect", "auth-oidc", func(p *people) any { return p.OIDC },
		func(p *people) bool { return p.OIDC.ClientID != "" },
		func(p *people, base string, _ sso.Seen) (authn.Provider, error) { return p.OIDC.provider(base) }},
	{"lab", "redirect", "auth-lab", func(p *people) any { return p.Lab },
		func(p *people) bool { return p.Lab.ClientID != "" },
		func(p *people, base string, _ sso.Seen) (authn.Provider, error) { return p.Lab.provider(base) }},
	{sso.Key, "redirect", "auth-jwt", func(p *people) any { return p.JWT },
		func(p *people) bool { return p.JWT.Enabled },
		func(p *people, base string, seen sso.Seen) (authn.Provider, error) { return p.JWT.provider(base, seen) }},
	{header.Key, "header", "auth-header", func(p *people) any { return p.Header },
		func(p *people) bool { return p.Header.Enabled },
		func(p *people, _ string, _ sso.Seen) (authn.Provider, error) { return p.Header.provider() }},
}

func (l *ldapSettings) provider() (authn.Provider, error) {
	p, err := ldap.New(ldap.Config{
		Server: l.Server, StartTLS: l.StartTLS, CAFile: l.CAFile, ServerName: l.ServerName,
		BindDN: l.BindDN, BindPassword: l.BindPassword, BaseDN: l.BaseDN,
		AuthenticationFilter: l.AuthenticationFilter, AuthorizationFilter: l.AuthorizationFilter,
		GroupAttribute: l.GroupAttr, UserIDAttribute: l.UserIDAttr, UsernameAttribute: l.UsernameAttr,
		EmailAttribute: l.EmailAttr, FirstNameAttribute: l.FirstNameAttr, LastNameAttribute: l.LastNameAttr,
	})
	rules, wrong := l.rules(ldap.FoldGroup)
	return authn.Provider{Key: ldap.Name, Title: "LDAP", Rules: rules, Secret: p}, errors.Join(settingNames(err, l.prefix, nil), wrong)
}

func (o *oidcSettings) provider(base string) (authn.Provider, error) {
	client, err := webClient(o.CA, o.prefix+"-ca-file")
	if err != nil {
		return authn.Provider{}, err
	}
	back := o.RedirectURL
	if back == "" {
		back = base + "/oauth/callback/" + o.key
		if o.key == "lab" {
			back = base + "/api/auth/oidc/callback"
		}
	}
	config := oidc.Google(o.ClientID, o.ClientSecret, back)
	config.Key, config.Issuer, config.AuthURL, config.TokenURL, config.JWKSURL = o.key, o.issuer(), o.AuthURL, o.TokenURL, o.JWKSURL
	config.Scopes, config.GroupsClaim, config.UsernameClaim, config.HostedDomain = o.Scopes, o.GroupsClaim, o.UsernameClaim, o.HostedDomain
	config.HTTPClient = client
	if o.EmailClaim != "email" {
		config.EmailClaim = o.EmailClaim
	}
	p, err := oidc.New(config)
	rules, wrong := o.rules(nil)
	return authn.Provider{Key: o.key, Title: o.Title, Rules: rules, Redirect: p}, errors.Join(settingNames(err, o.prefix, nil), wrong)
}

func (j *jwtSettings) provider(base string, seen sso.Seen) (authn.Provider, error) {
	client, err := webClient(j.CA, j.prefix+"-ca-file")
	if err != nil {
		return authn.Provider{}, err
	}
	p, err := sso.New(sso.Config{
		IdentityProviderURI: j.IdPURI, SharedSecret: j.Secret, PreviousSecret: j.PreviousSecret, PublicKeyFile: j.PublicKeyFile, JWKSURL: j.JWKSURL,
		Issuer: j.Issuer, Audience: j.Audience, TokenURI: j.TokenURI, ClientID: j.ClientID, RedirectURI: base + "/auth/sso",
		EmailAttribute: j.Email, FirstNameAttribute: j.FirstName, LastNameAttribute: j.LastName, GroupsAttribute: j.Groups,
		GroupSync: j.GroupSync, Strict: j.StrictClaims, LaxClaims: j.LaxClaims, AllowIdPInitiated: j.IdPInitiated,
		Seen: seen, HTTPClient: client, Now: time.Now,
	})
	rules, wrong := j.rules(nil)
	if !j.GroupSync {
		rules.Sync = authn.SyncNever
	}
	provider := authn.Provider{Key: sso.Key, Title: j.Title, Rules: rules, Redirect: p, Stateless: true}
	if j.IdPInitiated {
		provider.Unsolicited = p
	}
	return provider, errors.Join(settingNames(err, j.prefix, map[string]string{
		"IdentityProviderURI": "idp-uri", "SharedSecret": "shared-secret", "PreviousSecret": "previous-secret", "PublicKeyFile": "public-key-file",
		"JWKSURL": "jwks-url", "TokenURI": "token-uri", "ClientID": "client-id", "EmailAttribute": "attribute-email",
		"FirstNameAttribute": "attribute-firstname", "LastNameAttribute": "attribute-lastname", "GroupsAttribute": "attribute-groups",
		"Issuer": "issuer", "Audience": "audience",
	}), wrong)
}

func (h *headerSettings) provider() (authn.Provider, error) {
	config := header.Config{
		PrincipalHeader: h.Principal, GroupHeader: h.Groups, ClientIPHeader: h.ClientIP, EmailHeader: h.Email, NameHeader: h.Name,
		FailIfMissing: h.FailIfMissing, ProxyNames: h.ProxyNames,
	}
	for _, text := range h.TrustedProxies {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			addr, e := netip.ParseAddr(text)
			if e != nil {
				return authn.Provider{}, fmt.Errorf("%s holds %q; give networks such as 10.1.2.3/32", envName(h.prefix+"-trusted-proxies"), text)
			}
			network = netip.PrefixFrom(addr, addr.BitLen())
		}
		config.TrustedProxies = append(config.TrustedProxies, network)
	}
	if h.ProxyCA != "" {
		roots, err := certs.ReadCertificates(h.ProxyCA)
		if err != nil {
			return authn.Provider{}, err
		}
		config.ProxyRoots = certs.Pool(roots)
	}
	p, err := header.New(config)
	rules, wrong := h.rules(nil)
	rules.Sync = authn.SyncNever // the groups of each request count, and none is kept
	if rules.RoleMap == nil {
		rules.RoleMap = map[string]registry.Role{"administrator": registry.Admin}
	}
	return authn.Provider{Key: header.Key, Title: "Proxy", Rules: rules, Request: p}, errors.Join(settingNames(err, h.prefix, map[string]string{
		"TrustedProxies": "trusted-proxies", "ProxyRoots": "proxy-client-ca", "PrincipalHeader": "principal-header", "GroupHeader": "group-header",
		"ClientIPHeader": "clientip-header", "EmailHeader": "email-header", "NameHeader": "name-header", "ProxyNames": "proxy-names",
	}), wrong)
}

// webClient is how a provider's HTTPS is reached; nil leaves it to the library.
func webClient(caFile, flag string) (*http.Client, error) {
	if caFile == "" {
		return nil, nil
	}
	roots, err := certs.ReadCertificates(caFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", envName(flag), err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: certs.Pool(roots)}
	return &http.Client{Transport: transport}, nil
}

// errNoOwner is what ownersGetIn says.
var errNoOwner = errors.New("no owner could sign in: passwords kept here are off, and no owner is linked to another provider that is on")

// ownersGetIn refuses what would leave no owner a way to sign in: passwords are
// switched off and nobody else vouches for one.
func ownersGetIn(ctx context.Context, who registry.WayReader, providers []authn.Provider) error {
	keys := map[string]bool{}
	for _, p := range providers {
		keys[p.Key] = true
		for _, role := range p.Rules.RoleMap {
			if role == registry.Owner && p.Request == nil {
				return nil
			}
		}
	}
	if keys[registry.LocalProvider] {
		return nil
	}
	owners, err := who.Users(ctx, registry.Query{MinRole: registry.Owner, Status: registry.Enabled, Limit: registry.MaxPage, Order: registry.ByCreated})
	if err != nil {
		return err
	}
	for _, u := range owners.Items {
		links, err := who.Identities(ctx, u.ID)
		if err != nil {
			return err
		}
		if keys[u.Provider] && len(links) == 0 || slices.ContainsFunc(links, func(l registry.LinkedIdentity) bool { return keys[l.Provider] }) {
			return nil
		}
	}
	return errNoOwner
}

func webURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
}

// loopbackAddr reports whether a listener on that address is for this machine
// alone.
func loopbackAddr(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}
