package pages

import (
	"net/http"
	"net/url"

	"github.com/postern-io/postern/adapters/api"
	"github.com/postern-io/postern/registry"
)

const authenticationPath = "/settings/authentication"

// A wayForm is how a way to sign in is shown: what it is called, and its settings
// in the order that a person fills them in. What is not named comes last, folded.
type wayForm struct {
	Name, Lead string
	sections   []wayPart
}

type wayPart struct {
	title string
	names []string // without what they all begin with
}

// wayForms are all that there can be.
var wayForms = map[string]wayForm{
	registry.LocalProvider: {"Password kept here", "People sign in with a name and a password that this server keeps.", nil},
	"ldap": {"Directory (LDAP)", "People sign in with the name and the password of their company's directory.", []wayPart{
		{"", []string{"auth-providers", "server", "start-tls", "bind-dn", "bind-password", "base-dn"}},
		{"Who is found, and who may come in", []string{"authentication-filter", "authorization-filter"}},
		{"Groups and roles", rolesPart},
	}},
	"google": {"Google", "People sign in with a Google account.", []wayPart{
		{"", []string{"client-id", "client-secret", "hosted-domain"}},
		{"Groups and roles", rolesPart},
	}},
	"oidc": {"OpenID Connect", "People sign in at an OpenID provider of yours, such as Keycloak, Entra ID or Authentik.", []wayPart{
		{"", []string{"issuer", "client-id", "client-secret"}},
		{"Groups and roles", rolesPart},
	}},
	"lab": {"External OpenID Connect of ML Lab", "People sign in at an OpenID provider that is known by its two addresses.", []wayPart{
		{"", []string{"auth-url", "token-url", "client-id", "client-secret"}},
		{"Groups and roles", rolesPart},
	}},
	"jwt": {"JWT", "People sign in at an application of yours, which vouches for them with a signed token.", []wayPart{
		{"", []string{"enabled", "idp-uri", "shared-secret"}},
		{"User attribute configuration (optional)", []string{"attribute-email", "attribute-firstname", "attribute-lastname"}},
		{"Group schema", []string{"group-sync", "attribute-groups", "role-map", "default-role", "strict", "allow-owner-mapping"}},
	}},
	"header": {"Trusted proxy", "A proxy in front of this server says in headers who is asking.", nil},
}

var rolesPart = []string{"group-attr", "groups-claim", "role-map", "sync", "default-role", "strict", "allow-owner-mapping"}

// labels name settings by how they end, the JWT ones as seed 3 does.
var labels = map[string]string{
	"auth-providers": "What takes a name and a password, in this order", "enabled": "Enabled",
	"idp-uri": "JWT identity provider URI", "shared-secret": "String used by the JWT signing key", "previous-secret": "The signing key before it",
	"attribute-email": "Email attribute", "attribute-firstname": "First name attribute", "attribute-lastname": "Last name attribute",
	"attribute-groups": "Groups attribute", "group-sync": "Synchronize group memberships", "role-map": "Group mappings",
	"default-role": "Role of a new account that no group gives one", "sync": "When groups set the role", "strict": "Keep out whom no group gives a role",
	"allow-owner-mapping": "A group may make owners", "provision": "A first sign-in makes an account", "link-by-email": "Link by e-mail address",
	"trusted-email": "Take its e-mail addresses for verified", "title": "Text on its button", "server": "Address of the directory", "start-tls": "StartTLS",
	"bind-dn": "DN of the service account", "bind-password": "Its password", "base-dn": "DN to search below", "server-name": "Name in the directory's certificate",
	"authentication-filter": "Filter that finds a person", "authorization-filter": "Filter that lets a person in", "group-attr": "Attribute with the groups",
	"groups-claim": "Claim with the groups", "email-claim": "Claim with the e-mail address", "username-claim": "Claim with the user name",
	"client-id": "Client id", "client-secret": "Client secret", "issuer": "Issuer", "auth-url": "Authorization URL", "token-url": "Token URL", "token-uri": "Token URI",
	"jwks-url": "URL of its keys", "redirect-url": "Our callback URL", "hosted-domain": "Google Workspace domain", "ca-file": "File of trusted authorities",
	"clientip-header": "Header with the client's address", "email-header": "Header with the e-mail address", "name-header": "Header with the person's name",
	"principal-header": "Header with the user name", "group-header": "Header with the groups", "fail-if-missing": "Every request needs the header",
	"proxy-client-ca": "File of the authority of proxies", "proxy-names": "Names of proxies",
	"lax-claims": "Take tokens of old applications", "strict-claims": "Demand iat, iss and aud", "allow-idp-initiated": "People may begin at the application",
}

// A wayCard is one way to sign in on the list.
type wayCard struct {
	wayForm
	api.AuthenticationWay
}

// State is the way's in a word.
func (c wayCard) State() string {
	switch {
	case c.Wrong != "":
		return "left out"
	case c.On:
		return "on"
	}
	return "off"
}

type authenticationView struct {
	api.Config
	Ways     []wayCard
	Why      string // why the reader cannot change anything
	Settings api.AuthenticationSettings
}

// authentication asks for the settings. They are for who manages people.
func (v *visit) authentication() (all api.AuthenticationSettings, err error) {
	return all, v.ask(http.MethodGet, authenticationPath, nil, &all)
}

func showAuthentication(v *visit) error {
	all, err := v.authentication()
	if err != nil {
		return err
	}
	c, err := v.config()
	if err != nil {
		return err
	}
	view := authenticationView{Config: c, Why: v.me.Why("settings.change"), Settings: all}
	for _, w := range all.Ways {
		view.Ways = append(view.Ways, wayCard{wayForms[w.Key], w})
	}
	v.show(http.StatusOK, "authentication", page{Title: "Authentication", Tab: "authentication", Data: view})
	return nil
}

func showWay(v *visit) error {
	view, err := v.way()
	if err != nil {
		return err
	}
	v.show(http.StatusOK, "way", view.page())
	return nil
}

// wayActs are what is done from the page of a way; "" is to save it.
var wayActs = map[string]func(*visit, wayView) error{
	"": saveWay, "test": testWay, "generate": generateKey, "off": passwordsOff, "on": passwordsOn,
}

func changeWay(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	do, known := wayActs[v.r.PathValue("act")]
	if !known {
		return &Refusal{Status: http.StatusNotFound, Message: "There is no such thing to do here."}
	}
	view, err := v.way()
	if err != nil {
		return err
	}
	v.r.PostForm.Set("act", v.r.PathValue("act"))
	if err := do(v, view); err != nil {
		return v.wayAgain(err)
	}
	return nil
}

// wayAgain shows the page of a way with what is wrong. After somebody else's
// change it shows what is there now, not what was typed over something else.
func (v *visit) wayAgain(err error) error {
	refusal, ok := err.(*Refusal)
	if !ok || !refusal.mends() {
		return err
	}
	if refusal.Status == http.StatusConflict {
		refusal.Message += " Here is how it is now."
		v.r.PostForm = url.Values{"act": v.r.PostForm["act"]}
	}
	view, e := v.way()
	if e != nil {
		return e
	}
	return v.again(view.named(refusal), "way", view.page())
}
