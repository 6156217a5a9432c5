package oidc

import (
	"maps"
	"strings"
	"time"

	"github.com/postern-io/postern/authn"
)

// claims are what a provider says of somebody, as JSON gave it to us.
type claims map[string]any

func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return s
}

// yes reads a boolean; some providers write it as a string.
func (c claims) yes(name string) bool { return c[name] == true || c[name] == "true" }

// list reads a list of strings, or one string; nil when there is neither.
func (c claims) list(name string) *[]string {
	switch v := c[name].(type) {
	case string:
		if v == "" {
			return &[]string{}
		}
		return &[]string{v}
	case []any:
		texts := make([]string, 0, len(v))
		for _, e := range v {
			if s, ok := e.(string); ok && s != "" {
				texts = append(texts, s)
			}
		}
		return &texts
	}
	return nil
}

// lacks reports whether userinfo may have what the id_token has not: many
// providers put into the latter only who it is, and when.
func (p *Provider) lacks(said claims) bool {
	return said.text(p.c.EmailClaim) == "" || p.c.GroupsClaim != "" && said.list(p.c.GroupsClaim) == nil
}

// assertion returns what the id_token says, and where that is silent userinfo.
func (p *Provider) assertion(said, more claims) authn.Assertion {
	all := maps.Clone(more)
	if all == nil {
		all = claims{}
	}
	for name, v := range said {
		if v != nil && v != "" {
			all[name] = v
		}
	}
	a := authn.Assertion{
		Provider:  p.c.Key,
		Subject:   said.text("sub"),
		Login:     all.text(p.c.UsernameClaim),
		Email:     all.text(p.c.EmailClaim),
		FirstName: all.text("given_name"),
		LastName:  all.text("family_name"),
		AuthTime:  p.authTime(said),
	}
	// An address is verified by who gave it: one's word does not hold for the
	// other's address.
	for _, c := range []claims{said, more} {
		if a.Email != "" && c.text(p.c.EmailClaim) == a.Email && p.c.VerifiedClaim != "" {
			a.EmailVerified = a.EmailVerified || c.yes(p.c.VerifiedClaim)
		}
	}
	if a.Login == "" {
		a.Login, _, _ = strings.Cut(a.Email, "@")
	}
	if a.FirstName == "" && a.LastName == "" {
		a.FirstName = all.text("name")
	}
	if picture := all.text("picture"); strings.HasPrefix(picture, "https://") {
		a.Picture = picture
	}
	if p.c.GroupsClaim != "" {
		a.Groups = all.list(p.c.GroupsClaim)
	}
	if amr := said.list("amr"); amr != nil {
		a.AMR = *amr
	}
	// What is shown to operators holds no token. The sources of distributed
	// claims (OpenID Connect Core §5.6.2) carry one.
	maps.DeleteFunc(all, func(name string, _ any) bool {
		return strings.HasSuffix(name, "_token") || name == "_claim_sources"
	})
	a.Claims = all
	return a
}

// authTime is when the person signed in there; zero when it does not say so, or
// says what cannot be.
func (p *Provider) authTime(said claims) time.Time {
	seconds, ok := said["auth_time"].(float64)
	if !ok || seconds <= 0 || seconds > float64(p.c.Now().Add(maxSkew).Unix()) {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}
