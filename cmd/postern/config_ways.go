package main

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/postern-io/postern/authn"
)

type ldapSettings struct {
	ruleSettings
	Server, CAFile, ServerName                                                                string
	StartTLS                                                                                  bool
	BindDN, BindPassword, BaseDN                                                              string
	AuthenticationFilter, AuthorizationFilter                                                 string
	GroupAttr, UserIDAttr, UsernameAttr, EmailAttr, FirstNameAttr, LastNameAttr, OwnerAccount string
}

func (l *ldapSettings) flags(f *pflag.FlagSet) {
	const p = "auth-ldap"
	f.StringVar(&l.Server, p+"-server", "", "`address` of the directory: ldaps://host, ldap://host with StartTLS, or a host")
	f.BoolVar(&l.StartTLS, p+"-start-tls", false, "whether to demand TLS on an ldap:// connection before anything is said")
	f.StringVar(&l.CAFile, p+"-ca-file", "", "PEM `file` of the authorities to trust; empty: the system's")
	f.StringVar(&l.ServerName, p+"-server-name", "", "`name` in the directory's certificate; empty: the host of the address")
	f.StringVar(&l.BindDN, p+"-bind-dn", "", "`DN` of the service account that searches")
	f.StringVar(&l.BindPassword, p+"-bind-password", "", "its `password`")
	f.StringVar(&l.BaseDN, p+"-base-dn", "", "`DN` below which people and groups are searched")
	f.StringVar(&l.AuthenticationFilter, p+"-authentication-filter", "(uid={username})", "`filter` that finds exactly one entry for {username}")
	f.StringVar(&l.AuthorizationFilter, p+"-authorization-filter", "", "`filter` that finds something when {user_dn} may come in; empty: everybody who has a password")
	f.StringVar(&l.GroupAttr, p+"-group-attr", "memberOf", "`attribute` with the groups of an entry")
	f.StringVar(&l.UserIDAttr, p+"-user-id-attr", "", "`attribute` that never changes; empty: entryUUID, else objectGUID, else the DN")
	f.StringVar(&l.UsernameAttr, p+"-username-attr", "", "`attribute` with the user name; empty: uid, else sAMAccountName, else cn")
	f.StringVar(&l.EmailAttr, p+"-email-attr", "mail", "`attribute` with the e-mail address")
	f.StringVar(&l.FirstNameAttr, p+"-first-name-attr", "givenName", "`attribute` with the first name")
	f.StringVar(&l.LastNameAttr, p+"-last-name-attr", "sn", "`attribute` with the last name")
	f.StringVar(&l.OwnerAccount, p+"-owner", "", "user `name`, in the directory, of the first owner; made at a start that finds none")
	l.ruleSettings.flags(f, p, authn.SyncFirst, true)
}

// oidcSettings describe one OpenID provider; it is on when it has a client id.
type oidcSettings struct {
	ruleSettings
	key                                        string
	Title, Issuer, AuthURL, TokenURL, JWKSURL  string
	ClientID, ClientSecret, RedirectURL        string
	Scopes                                     []string
	GroupsClaim, EmailClaim, UsernameClaim, CA string
	HostedDomain                               string
}

func (o *oidcSettings) flags(f *pflag.FlagSet, key, title string, sync authn.RoleSync) {
	o.key = key
	p := "auth-" + key
	issuer, groups := "", "groups"
	if key == "google" {
		issuer, groups = "https://accounts.google.com", ""
	}
	f.StringVar(&o.Title, p+"-title", title, "`text` on its button")
	f.StringVar(&o.ClientID, p+"-client-id", "", "`id` of this server at the provider; empty: the provider is not used")
	f.StringVar(&o.ClientSecret, p+"-client-secret", "", "its `secret`; empty: a public client")
	f.StringVar(&o.RedirectURL, p+"-redirect-url", "", "our callback `URL` as registered there; empty: made from the public URL")
	f.StringVar(&o.Issuer, p+"-issuer", issuer, "the provider's `name`, exactly as it writes it")
	if key != "google" {
		f.StringVar(&o.AuthURL, p+"-auth-url", "", "authorization `URL`, when there is no issuer to discover it from")
		f.StringVar(&o.TokenURL, p+"-token-url", "", "token `URL`, likewise")
		f.StringVar(&o.JWKSURL, p+"-jwks-url", "", "`URL` of its keys, beside the two and the issuer; empty: discovered, never unverified")
	}
	f.StringSliceVar(&o.Scopes, p+"-scopes", nil, "`scopes` to ask for; empty: openid, email, profile, and groups where the provider knows it")
	f.StringVar(&o.GroupsClaim, p+"-groups-claim", groups, "`claim` with the groups")
	f.StringVar(&o.EmailClaim, p+"-email-claim", "email", "`claim` with the e-mail address")
	f.StringVar(&o.UsernameClaim, p+"-username-claim", "preferred_username", "`claim` with the name for a new account")
	f.StringVar(&o.CA, p+"-ca-file", "", "PEM `file` of the authorities to trust for its HTTPS; empty: the system's")
	if key == "google" {
		f.StringVar(&o.HostedDomain, p+"-hosted-domain", "", "let in only people of this Google Workspace `domain`")
	}
	o.ruleSettings.flags(f, p, sync, false)
}

// issuer takes a discovery URL, as seed 1 has it, for the issuer that it is of.
func (o *oidcSettings) issuer() string {
	return strings.TrimSuffix(o.Issuer, "/.well-known/openid-configuration")
}

type jwtSettings struct {
	ruleSettings
	Enabled, GroupSync, StrictClaims, LaxClaims, IdPInitiated     bool
	Title, IdPURI, Secret, PreviousSecret, PublicKeyFile, JWKSURL string
	Issuer, Audience, TokenURI, ClientID, CA                      string
	Email, FirstName, LastName, Groups                            string
}

func (j *jwtSettings) flags(f *pflag.FlagSet) {
	const p = "auth-jwt"
	f.BoolVar(&j.Enabled, p+"-enabled", false, "whether people sign in with a JWT of a company's own application, at /auth/sso")
	f.StringVar(&j.Title, p+"-title", "your company account", "`text` on its button")
	f.StringVar(&j.IdPURI, p+"-idp-uri", "", "`URL` of that application, where people sign in")
	f.StringVar(&j.Secret, p+"-shared-secret", "", "HS256 `key` that both sides share, at least 32 bytes, as it stands")
	f.StringVar(&j.PreviousSecret, p+"-previous-secret", "", "the `key` before it, while it is being replaced")
	f.StringVar(&j.PublicKeyFile, p+"-public-key-file", "", "PEM `file` of public keys, for RS256, ES256 and EdDSA instead")
	f.StringVar(&j.JWKSURL, p+"-jwks-url", "", "`URL` of a key set, likewise")
	f.StringVar(&j.Issuer, p+"-issuer", "", "`iss` that the token must have; empty: not looked at")
	f.StringVar(&j.Audience, p+"-audience", "", "`aud` that the token must have; empty: not looked at")
	f.StringVar(&j.TokenURI, p+"-token-uri", "", "`URL` where a code is traded for the token (the flow with PKCE); empty: the token comes by the browser")
	f.StringVar(&j.ClientID, p+"-client-id", "", "`id` of this server there")
	f.StringVar(&j.CA, p+"-ca-file", "", "PEM `file` of the authorities to trust for its HTTPS; empty: the system's")
	f.StringVar(&j.Email, p+"-attribute-email", "email", "`claim` with the e-mail address")
	f.StringVar(&j.FirstName, p+"-attribute-firstname", "first_name", "`claim` with the first name")
	f.StringVar(&j.LastName, p+"-attribute-lastname", "last_name", "`claim` with the last name")
	f.StringVar(&j.Groups, p+"-attribute-groups", "groups", "`claim` with the groups")
	f.BoolVar(&j.GroupSync, p+"-group-sync", false, "whether the groups give roles, at every sign-in")
	f.BoolVar(&j.StrictClaims, p+"-strict-claims", false, "whether iat, iss and aud are necessary")
	f.BoolVar(&j.LaxClaims, p+"-lax-claims", false, "whether exp may be absent when iat is there, or lie a day ahead, as old applications write it")
	f.BoolVar(&j.IdPInitiated, p+"-allow-idp-initiated", false, "whether people may begin at the application; they are asked to go on")
	j.ruleSettings.flags(f, p, authn.SyncAlways, true)
}

type headerSettings struct {
	ruleSettings
	Enabled, FailIfMissing                   bool
	Principal, Groups, ClientIP, Email, Name string
	TrustedProxies, ProxyNames               []string
	ProxyCA                                  string
}

func (h *headerSettings) flags(f *pflag.FlagSet) {
	const p = "auth-header"
	f.BoolVar(&h.Enabled, p+"-enabled", false, "whether a proxy in front says in headers who is asking")
	f.StringVar(&h.Principal, p+"-principal-header", "remote-user", "`header` with the user name")
	f.StringVar(&h.Groups, p+"-group-header", "remote-groups", "`header` with the groups; administrator makes an admin")
	f.StringVar(&h.ClientIP, p+"-clientip-header", "x-forwarded-for", "`header` with the client's address, read from the right past trusted proxies")
	f.StringVar(&h.Email, p+"-email-header", "", "`header` with the e-mail address; empty: not read")
	f.StringVar(&h.Name, p+"-name-header", "", "`header` with the person's name; empty: not read")
	f.BoolVar(&h.FailIfMissing, p+"-fail-if-missing", false, "whether every request needs the header; false leaves other ways in open")
	f.StringSliceVar(&h.TrustedProxies, p+"-trusted-proxies", nil, "`networks` of the proxies that are believed, such as 10.1.2.3/32")
	f.StringVar(&h.ProxyCA, p+"-proxy-client-ca", "", "PEM `file` of the authority whose client certificates prove a proxy; not the devices'")
	f.StringSliceVar(&h.ProxyNames, p+"-proxy-names", nil, "`names` that such a certificate must have one of; empty: any")
	h.firstFlags(f, p, false)
}
