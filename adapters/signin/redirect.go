package signin

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/sso"
	"github.com/postern-io/postern/registry"
)

const (
	google = "google"
	lab    = "lab"

	flowLife = 10 * time.Minute // of the cookie; authn keeps the flow as long
)

// begin sends the browser to another site.
func (s *Server) begin(v *visit) error { return s.beginAt(v, v.r.PathValue("provider"), "") }

// link begins a sign-in whose identity becomes one of the account that is
// signed in, a short time ago.
func (s *Server) link(v *visit) error {
	p, err := s.Users.Verify(v.ctx, value(v.r, s.Cookies.Access()))
	switch {
	case errors.Is(err, authn.ErrUnauthenticated), err == nil && p.Only != "":
		return errNoSession
	case err != nil:
		return errors.Join(errNoSession, err)
	case !p.Fresh:
		return errStale
	}
	return s.beginAt(v, v.r.PathValue("provider"), p.User.ID)
}

func (s *Server) beginAt(v *visit, provider string, link registry.UserID) error {
	q := v.r.URL.Query()
	back := q.Get("return_to")
	if back == "" {
		back = q.Get("redirect") // seed 3's word
	}
	r, err := s.Users.Begin(v.ctx, provider, back, value(v.r, s.Cookies.flow()), link, s.where(v))
	if err != nil {
		return err
	}
	s.Cookies.set(v.w, s.Cookies.flow(), r.Browser, "/", flowLife, http.SameSiteLaxMode)
	if link != "" && v.r.Header.Get("Sec-Fetch-Mode") == "navigate" {
		// A policy's form-action holds for what a form's answer redirects to as
		// well (CSP 3 §6.4.2), in some browsers; for what a page leads to it does not.
		v.w.Header().Set("Refresh", "0; url="+r.Location)
		s.show(v, http.StatusOK, "leave", map[string]any{"Href": r.Location})
		return nil
	}
	redirect(v, r.Location)
	return nil
}

// complete takes what the browser brings back.
func (s *Server) complete(v *visit) error       { return s.completeAt(v, v.r.PathValue("provider")) }
func (s *Server) completeGoogle(v *visit) error { return s.completeAt(v, google) }

func (s *Server) completeAt(v *visit, provider string) error {
	l, err := s.Users.Complete(v.ctx, provider, v.r.URL.Query(), value(v.r, s.Cookies.flow()), s.where(v))
	if err != nil {
		return err
	}
	s.landed(v, l)
	return nil
}

// company is seed 3's endpoint: without a token it sends the browser to the
// identity provider, with one it signs in.
func (s *Server) company(v *visit) error {
	p, known := s.provider(sso.Key)
	q := v.r.URL.Query()
	switch {
	case !known:
		return errNotSet
	case !q.Has("jwt") && !q.Has("code") && !q.Has("error"):
		return s.beginAt(v, sso.Key, "")
	}
	err := s.completeAt(v, sso.Key)
	if unexpected(err) && p.Unsolicited != nil && q.Has("jwt") {
		return s.goOn(v, q)
	}
	return err
}

// companyForm takes the token in a form, which keeps it out of logs and histories.
// When another site sends the form, the browser shows no cookie of ours with
// it; a page of ours then sends the same from here.
func (s *Server) companyForm(v *visit) error {
	p, known := s.provider(sso.Key)
	if !known {
		return errNotSet
	}
	if err := v.r.ParseForm(); err != nil {
		return errors.Join(errMalformed, err)
	}
	form := v.r.PostForm
	switch {
	case v.foreign != nil && (form.Has("state") || p.Unsolicited != nil):
		return s.goOn(v, form)
	case v.foreign != nil:
		return errForeign
	case form.Has("state") || p.Unsolicited == nil:
		l, err := s.Users.Complete(v.ctx, sso.Key, form, value(v.r, s.Cookies.flow()), s.where(v))
		if err != nil {
			return err
		}
		s.landed(v, l)
		return nil
	}
	t, err := s.Users.Unsolicited(v.ctx, sso.Key, form.Get("jwt"), s.where(v))
	if err != nil {
		return err
	}
	s.landed(v, authn.Landing{Tokens: t, BackTo: form.Get("return_to")})
	return nil
}

func unexpected(err error) bool {
	var refused *authn.RefusedError
	return errors.As(err, &refused) && refused.Reason == registry.ReasonAssertionUnexpected
}

// goOn shows whose token it is and asks the person to go on, so that nobody is
// signed in as somebody else by following a link (C42). Nothing is used up yet.
func (s *Server) goOn(v *visit, form url.Values) error {
	s.show(v, http.StatusOK, "go-on", map[string]any{
		"Who": nameIn(form.Get("jwt")), "JWT": form.Get("jwt"), "ReturnTo": authn.LocalPath(form.Get("return_to")), "State": form.Get("state"),
	})
	return nil
}

// nameIn reads, for show alone, whom a token names. Whether it is good is seen
// when it comes back.
func nameIn(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Email   string `json:"email"`
		Subject string `json:"sub"`
	}
	if json.Unmarshal(text, &claims) != nil {
		return "" // shown without a name
	}
	name := claims.Email
	if name == "" {
		name = claims.Subject
	}
	if len(name) > registry.MaxName {
		return ""
	}
	return name
}

// labEnabled tells seed 4's pages whether they may offer the button.
func (s *Server) labEnabled(v *visit) error {
	_, known := s.provider(lab)
	message := "External OIDC authentication is configured."
	if !known {
		message = "External OIDC authentication is not configured: LAB_EXTERNAL_OIDC_AUTH_URL, _TOKEN_URL, _CLIENT_ID and _CLIENT_SECRET are all needed."
	}
	v.w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(v.w).Encode(map[string]any{"enabled": known, "message": message})
}

func (s *Server) labLogin(v *visit) error {
	if _, known := s.provider(lab); !known {
		return errors.Join(errNotSet, registry.ErrNotFound)
	}
	return s.beginAt(v, lab, "")
}

func (s *Server) labCallback(v *visit) error { return s.completeAt(v, lab) }

func (s *Server) provider(key string) (authn.Provider, bool) {
	for _, p := range s.Users.Providers() {
		if p.Key == key {
			return p, true
		}
	}
	return authn.Provider{}, false
}
