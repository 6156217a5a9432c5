package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/ldap"
	"github.com/postern-io/postern/registry"
)

// people are the settings of how people sign in.
type people struct {
	Required     bool
	Providers    []string
	LocalEnabled bool
	LDAP         ldapSettings
	Google       oidcSettings
	OIDC         oidcSettings
	Lab          oidcSettings
	JWT          jwtSettings
	Header       headerSettings
	UI, ErrorUI  string
}

func (p *people) flags(f *pflag.FlagSet) {
	f.BoolVar(&p.Required, "auth-required", true, "whether people must sign in; false makes everybody an owner, and only loopback may listen")
	f.StringSliceVar(&p.Providers, "auth-providers", []string{registry.LocalProvider}, "`names` of what takes a user name and a password, in the order in which they are asked: local, ldap")
	f.BoolVar(&p.LocalEnabled, "auth-local-enabled", true, "whether passwords that are kept here let anybody in; false needs another way in for an owner")
	f.StringVar(&p.UI, "ui-redirect-url", "", "`URL` of pages elsewhere, where a browser goes once it has signed in; empty: where it came from")
	f.StringVar(&p.ErrorUI, "ui-error-url", "", "`URL` that is told in ?error= why a sign-in failed; empty: the one above, else our own page")
	p.LDAP.flags(f)
	p.Google.flags(f, "google", "Google", authn.SyncNever)
	p.OIDC.flags(f, "oidc", "single sign-on", authn.SyncFirst)
	p.Lab.flags(f, "lab", "single sign-on", authn.SyncFirst)
	p.JWT.flags(f)
	p.Header.flags(f)
}

// providerAliases are the names that the seeds gave to these settings; a name
// may stand for several. MG_GOOGLE_STATE is not among them: the state of a
// sign-in is random each time, and not one word for everybody.
var providerAliases = map[string]string{
	"REQUIRE_USER_AUTHENTICATION": "auth-required",
	"AUTHENTICATION_MODE":         "auth-providers",
	"MB_ENABLE_PASSWORD_LOGIN":    "auth-local-enabled",
	"MG_USERS_UI_REDIRECT_URL":    "ui-redirect-url",
	"MG_OAUTH_UI_REDIRECT_URL":    "ui-redirect-url",
	"MG_OAUTH_UI_ERROR_URL":       "ui-error-url",

	"LDAP_SERVER": "auth-ldap-server", "LDAP_BIND_DN": "auth-ldap-bind-dn", "LDAP_BIND_PASSWORD": "auth-ldap-bind-password",
	"LDAP_BASE_DN": "auth-ldap-base-dn", "LDAP_AUTHENTICATION_FILTER": "auth-ldap-authentication-filter",
	"LDAP_AUTHORIZATION_FILTER": "auth-ldap-authorization-filter", "LDAP_ADMIN_USERNAME": "auth-ldap-owner",
	"LDAP_GROUP_FIELD": "auth-ldap-group-attr", "LDAP_ROLES_MAPPING": "auth-ldap-role-map", "LDAP_DEFAULT_ACCESS": "auth-ldap-default-role",
	"UPDATE_ROLES_ON_LOGIN": "auth-ldap-sync auth-oidc-sync",

	"MG_GOOGLE_CLIENT_ID": "auth-google-client-id", "MG_GOOGLE_CLIENT_SECRET": "auth-google-client-secret",
	"MG_GOOGLE_REDIRECT_URL": "auth-google-redirect-url",
	"OIDC_DISCOVERY_URL":     "auth-oidc-issuer", "OIDC_CLIENT_ID": "auth-oidc-client-id", "OIDC_CLIENT_SECRET": "auth-oidc-client-secret",
	"OIDC_ROLES_MAPPING": "auth-oidc-role-map", "OAUTH_DEFAULT_ACCESS": "auth-oidc-default-role",
	"LAB_EXTERNAL_OIDC_AUTH_URL": "auth-lab-auth-url", "LAB_EXTERNAL_OIDC_TOKEN_URL": "auth-lab-token-url",
	"LAB_EXTERNAL_OIDC_CLIENT_ID": "auth-lab-client-id", "LAB_EXTERNAL_OIDC_CLIENT_SECRET": "auth-lab-client-secret",
	"ALLOW_SELF_REGISTRATIONS": "auth-local-self-register auth-lab-provision",

	"MB_JWT_ENABLED": "auth-jwt-enabled", "MB_JWT_IDENTITY_PROVIDER_URI": "auth-jwt-idp-uri", "MB_JWT_SHARED_SECRET": "auth-jwt-shared-secret",
	"MB_JWT_ATTRIBUTE_EMAIL": "auth-jwt-attribute-email", "MB_JWT_ATTRIBUTE_FIRSTNAME": "auth-jwt-attribute-firstname",
	"MB_JWT_ATTRIBUTE_LASTNAME": "auth-jwt-attribute-lastname", "MB_JWT_ATTRIBUTE_GROUPS": "auth-jwt-attribute-groups",
	"MB_JWT_GROUP_SYNC": "auth-jwt-group-sync", "MB_JWT_GROUP_MAPPINGS": "auth-jwt-role-map",
	"MB_JWT_USER_PROVISIONING_ENABLED": "auth-jwt-provision", "MB_JWT_TOKEN_URI": "auth-jwt-token-uri",

	"IDP_HEADER_AUTH_ENABLED": "auth-header-enabled", "IDP_HEADER_AUTH_PRINCIPAL_HEADER": "auth-header-principal-header",
	"IDP_HEADER_AUTH_GROUP_HEADER": "auth-header-group-header", "IDP_HEADER_AUTH_CLIENTIP_HEADER": "auth-header-clientip-header",
	"IDP_HEADER_AUTH_FAIL_IF_HEADER_MISSING": "auth-header-fail-if-missing",
}

var providerSecrets = []string{
	"auth-ldap-bind-password", "auth-google-client-secret", "auth-oidc-client-secret", "auth-lab-client-secret",
	"auth-jwt-shared-secret", "auth-jwt-previous-secret",
}

// ruleSettings are what an assertion of one provider is good for.
type ruleSettings struct {
	prefix      string // auth-ldap
	Provision   bool
	DefaultRole string
	RoleMap     string
	Sync        string
	Strict      bool
	AllowOwner  bool
	LinkByEmail bool
	Trusted     bool
}

func (r *ruleSettings) flags(f *pflag.FlagSet, prefix string, sync authn.RoleSync, trusted bool) {
	r.firstFlags(f, prefix, trusted)
	f.StringVar(&r.Sync, prefix+"-sync", string(sync), "`when` groups set the role: always, first (sign-in), never")
	f.BoolVar(&r.AllowOwner, prefix+"-allow-owner-mapping", false, "whether a group may make owners")
}

// firstFlags are those that also hold where every request brings its groups.
func (r *ruleSettings) firstFlags(f *pflag.FlagSet, prefix string, trusted bool) {
	r.prefix, r.Sync = prefix, string(authn.SyncNever)
	f.BoolVar(&r.Provision, prefix+"-provision", true, "whether a first sign-in makes an account")
	f.StringVar(&r.DefaultRole, prefix+"-default-role", "", "`role` of a new account that no group gives one: viewer, editor, admin; empty: none")
	f.StringVar(&r.RoleMap, prefix+"-role-map", "", "`JSON` that gives groups a role, such as {\"ops\":\"admin\"}; empty: groups called viewer, editor or admin give that role")
	f.BoolVar(&r.Strict, prefix+"-strict", false, "whether those stay out whom no group gives a role")
	f.BoolVar(&r.LinkByEmail, prefix+"-link-by-email", false, "whether an identity gets the account with the same e-mail address, when both sides have it verified and it is no admin's")
	f.BoolVar(&r.Trusted, prefix+"-trusted-email", trusted, "whether its e-mail addresses are taken for verified though it does not say so")
}

// rules checks the settings and returns what they mean. fold makes groups
// comparable; nil lowers them.
func (r *ruleSettings) rules(fold func(string) string) (authn.Rules, error) {
	rules := authn.Rules{Provision: r.Provision, Fold: fold, Strict: r.Strict, LinkByEmail: r.LinkByEmail, TrustedEmail: r.Trusted}
	var problems []error
	role, err := registry.ParseRole(strings.ToLower(r.DefaultRole))
	if err != nil || role == registry.Owner {
		problems = append(problems, fmt.Errorf("%s is %q; give viewer, editor or admin, or nothing", envName(r.prefix+"-default-role"), r.DefaultRole))
	}
	rules.DefaultRole = role
	if rules.RoleMap, err = r.roleMap(fold); err != nil {
		problems = append(problems, err)
	}
	switch sync := strings.ToLower(r.Sync); sync {
	case "always", "1", "true", "yes": // seed 1 says whether, and means always or first
		rules.Sync = authn.SyncAlways
	case "first", "0", "false", "no":
		rules.Sync = authn.SyncFirst
	case "never":
		rules.Sync = authn.SyncNever
	default:
		problems = append(problems, fmt.Errorf("%s is %q; give always, first or never", envName(r.prefix+"-sync"), r.Sync))
	}
	return rules, errors.Join(problems...)
}

// roleMap reads {"group":"role"}; a list of roles means the highest of them, as
// seed 1 writes it.
func (r *ruleSettings) roleMap(fold func(string) string) (map[string]registry.Role, error) {
	if strings.TrimSpace(r.RoleMap) == "" {
		return nil, nil
	}
	if fold == nil {
		fold = strings.ToLower
	}
	name := envName(r.prefix + "-role-map")
	var given map[string]any
	if err := json.Unmarshal([]byte(r.RoleMap), &given); err != nil {
		return nil, fmt.Errorf("%s must be JSON such as {\"ops\":\"admin\",\"everybody\":\"viewer\"}", name)
	}
	roles := make(map[string]registry.Role, len(given))
	for group, v := range given {
		words, isList := v.([]any)
		if !isList {
			words = []any{v}
		}
		for _, w := range words {
			text, _ := w.(string)
			role, err := registry.ParseRole(strings.ToLower(text))
			switch {
			case err != nil || text == "":
				return nil, fmt.Errorf("%s gives the group %q %v; give viewer, editor, admin or owner (ids of another product's groups mean nothing here)", name, group, v)
			case role == registry.Owner && !r.AllowOwner:
				return nil, fmt.Errorf("%s makes the group %q owners; give admin, or set %s=true", name, group, envName(r.prefix+"-allow-owner-mapping"))
			}
			roles[fold(group)] = max(roles[fold(group)], role)
		}
	}
	return roles, nil
}

// settingNames puts the names of settings in the place of a field's in an error
// of a provider, so that it speaks of what the operator wrote.
func settingNames(err error, prefix string, fields map[string]string) error {
	if err == nil {
		return nil
	}
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, settingNames(e, prefix, fields))
		}
		return errors.Join(all...)
	}
	var invalid *registry.InvalidError
	if errors.As(err, &invalid) {
		return fmt.Errorf("%s %s", envName(prefix+"-"+strings.ReplaceAll(invalid.Field, "_", "-")), invalid.Reason)
	}
	var pairs []string
	for field, flag := range fields {
		pairs = append(pairs, field, envName(prefix+"-"+flag))
	}
	return errors.New(strings.NewReplacer(pairs...).Replace(err.Error()))
}

// validate says which setting of signing in will not do. What needs a file or
// another room is checked when the providers are built.
func (p *people) validate(c *Config, wrong func(flag, format string, args ...any)) {
	for i, name := range p.Providers {
		name = strings.ToLower(strings.TrimSpace(name))
		p.Providers[i] = name
		if name != registry.LocalProvider && name != ldap.Name {
			wrong("auth-providers", "holds %q; give local, ldap, or ldap,local", name)
		}
		if slices.Contains(p.Providers[:i], name) {
			wrong("auth-providers", "names %s twice", name)
		}
	}
	if !p.Required {
		for flag, addr := range map[string]string{"http-addr": c.HTTPAddr, "https-addr": c.HTTPSAddr} {
			if addr != "" && !loopbackAddr(addr) {
				wrong("auth-required", "is false, which makes everybody an owner; set %s to an address on loopback such as 127.0.0.1:8080, or leave sign-in on", envName(flag))
			}
		}
	}
	for flag, u := range map[string]string{"ui-redirect-url": p.UI, "ui-error-url": p.ErrorUI} {
		if u != "" && !webURL(u) {
			wrong(flag, "is %q; give a URL such as https://ui.example.com", u)
		}
	}
}
