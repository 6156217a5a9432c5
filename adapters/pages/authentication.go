package pages

import (
	"net/http"

	"github.com/postern-io/postern/adapters/api"
	"github.com/postern-io/postern/registry"
)

// A way is one way to sign in, configured or not.
type way struct {
	Key, Title, Kind string
	On               bool
	Set              string // the settings that begin with this
}

// ways are all that there can be. A provider that is configured and not here is
// shown as it is.
var ways = []way{
	{registry.LocalProvider, "Password kept here", "password", false, "POSTERN_AUTH_LOCAL_"},
	{"ldap", "Directory (LDAP)", "password", false, "POSTERN_AUTH_LDAP_"},
	{"google", "Google", "redirect", false, "POSTERN_AUTH_GOOGLE_"},
	{"oidc", "OpenID Connect", "redirect", false, "POSTERN_AUTH_OIDC_"},
	{"lab", "External OpenID Connect of ML Lab", "redirect", false, "POSTERN_AUTH_LAB_"},
	{"jwt", "Company JWT", "redirect", false, "POSTERN_AUTH_JWT_"},
	{"header", "Trusted proxy", "header", false, "POSTERN_AUTH_HEADER_"},
}

type authenticationView struct {
	api.Config
	Ways []way
}

// showAuthentication is for who manages people. What it shows is public in the
// API; where it is set is not of use to others.
func showAuthentication(v *visit) error {
	if why := v.me.Why("user.list"); why != "" {
		return &Refusal{Status: http.StatusForbidden, Word: "unauthorized_access", Message: why}
	}
	c, err := v.config()
	if err != nil {
		return err
	}
	view := authenticationView{Config: c}
	seen := map[string]bool{}
	for _, p := range c.Providers { // in the order in which they are asked
		w := way{Key: p.Key, Title: p.Title, Kind: p.Kind}
		for _, known := range ways {
			if known.Key == p.Key {
				w = known
				if p.Title != "" {
					w.Title = known.Title + ": " + p.Title
				}
			}
		}
		w.On = true
		seen[p.Key] = true
		view.Ways = append(view.Ways, w)
	}
	for _, w := range ways {
		if !seen[w.Key] {
			view.Ways = append(view.Ways, w)
		}
	}
	v.show(http.StatusOK, "authentication", page{Title: "Authentication", Tab: "authentication", Data: view})
	return nil
}
