package signin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
)

// ticketLife is how long the second page of a sign-in waits, as authn does.
const ticketLife = 5 * time.Minute

func (s *Server) signInPage(v *visit) error {
	s.show(v, http.StatusOK, "sign-in", s.signInView(v, ""))
	return nil
}

// signInView is what the sign-in page shows: a form when passwords are taken,
// and a link for each other site.
func (s *Server) signInView(v *visit, problem string) map[string]any {
	back := authn.LocalPath(v.r.FormValue("return_to"))
	type button struct{ Title, Href string }
	var buttons []button
	typed := false
	for _, p := range s.Users.Providers() {
		switch {
		case p.Redirect != nil:
			title := p.Title
			if title == "" {
				title = p.Key
			}
			buttons = append(buttons, button{title, "/oauth/login/" + url.PathEscape(p.Key) + "?return_to=" + url.QueryEscape(back)})
		case p.Request == nil:
			typed = true
		}
	}
	out, outHref := s.elsewhere(v)
	q := v.r.URL.Query()
	return map[string]any{"Again": q.Has("again"), "Done": done[q.Get("done")], "Username": v.r.PostForm.Get("username"), "Recovery": typed && s.Users.Mail != nil, "SignedOut": v.r.URL.Query().Has("signed_out"), "Expired": v.r.URL.Query().Has("expired"), "Elsewhere": out, "ElsewhereHref": outHref, "Problem": problem, "ReturnTo": back, "Password": typed, "Buttons": buttons, "Request": v.id}
}

// done is what ?done= says: fixed words, because everybody can write an address.
var done = map[string]string{
	"password": "The password is changed. Sign in with it.",
	"account":  "The account is ready. Sign in.",
	"address":  "The address is confirmed.",
}

// signIn takes a name and a password from the form.
func (s *Server) signIn(v *visit) error {
	if err := v.r.ParseForm(); err != nil {
		return errors.Join(errMalformed, err)
	}
	login := v.r.PostForm.Get("username")
	if login == "" || len(login) > registry.MaxName || strings.ContainsFunc(login, unicode.IsControl) {
		return errMalformed
	}
	t, err := s.Users.Issue(v.ctx, login, v.r.PostForm.Get("password"), s.where(v))
	var more *authn.SecondFactorError
	if errors.As(err, &more) {
		s.Cookies.set(v.w, s.Cookies.ticket(), more.Ticket, "/", ticketLife, http.SameSiteStrictMode)
		methods := ""
		if slices.Contains(more.Methods, "passkey") {
			methods = "passkey&"
		}
		redirect(v, "/sign-in/second-factor?"+methods+"return_to="+url.QueryEscape(authn.LocalPath(v.r.PostForm.Get("return_to"))))
		return nil
	}
	if err != nil {
		return err
	}
	s.landed(v, authn.Landing{Tokens: t, BackTo: v.r.PostForm.Get("return_to")})
	return nil
}

func (s *Server) factorPage(v *visit) error {
	s.showFactor(v, http.StatusOK, v.r.URL.Query().Has("passkey"), "")
	return nil
}

func (s *Server) showFactor(v *visit, status int, passkey bool, problem string) {
	s.show(v, status, "second-factor", map[string]any{
		"ReturnTo": authn.LocalPath(v.r.FormValue("return_to")), "Passkey": passkey, "Problem": problem, "Request": v.id,
	})
}

// passkey hands the browser's authenticator a challenge. Without a script it
// cannot be answered, and the page says so.
func (s *Server) passkey(v *visit) error {
	ticket := value(v.r, s.Cookies.ticket())
	if ticket == "" {
		return errNoSession
	}
	options, err := s.Users.PasskeyChallenge(v.ctx, ticket)
	if errors.Is(err, registry.ErrNotFound) {
		s.showFactor(v, http.StatusNotFound, false, "This account has no passkey.")
		return nil
	}
	if err != nil {
		return err
	}
	s.show(v, http.StatusOK, "passkey", map[string]any{"ReturnTo": authn.LocalPath(v.r.FormValue("return_to")), "Options": string(options)})
	return nil
}

// factor takes the code of a generator, a recovery code, or what a passkey
// signed, for the sign-in that waits in this browser. A wrong one may be tried
// again there.
func (s *Server) factor(v *visit) error {
	if err := v.r.ParseForm(); err != nil {
		return errors.Join(errMalformed, err)
	}
	ticket := value(v.r, s.Cookies.ticket())
	if ticket == "" {
		return errNoSession
	}
	f := v.r.PostForm
	var proof authn.Proof
	switch {
	case f.Get("passkey") != "":
		proof.Passkey = json.RawMessage(f.Get("passkey"))
	case f.Get("recovery_code") != "":
		proof.RecoveryCode = f.Get("recovery_code")
	default:
		proof.Code = f.Get("code")
	}
	t, err := s.Users.SecondFactor(v.ctx, ticket, proof, s.where(v))
	var wrong *authn.RefusedError
	if errors.As(err, &wrong) && wrong.Reason == registry.ReasonSecondFactorWrong {
		p := reasons[wrong.Reason]
		s.showFactor(v, p.status, f.Get("has_passkey") != "", p.message)
		return nil
	}
	if err != nil {
		return err
	}
	s.Cookies.set(v.w, s.Cookies.ticket(), "", "/", 0, http.SameSiteStrictMode)
	s.landed(v, authn.Landing{Tokens: t, BackTo: f.Get("return_to")})
	return nil
}

// refresh trades the refresh token in the cookie for new cookies. A form that
// says return_to goes there, or to sign in when the session has ended; a script
// without one is told in the status.
func (s *Server) refresh(v *visit) error {
	back := v.r.PostFormValue("return_to")
	t, err := s.Users.Refresh(v.ctx, value(v.r, s.Cookies.refresh()), s.where(v))
	switch {
	case errors.Is(err, token.ErrInvalid), errors.Is(err, token.ErrExpired):
		s.Cookies.drop(v.w)
		if back != "" {
			redirect(v, "/sign-in?expired&return_to="+url.QueryEscape(authn.LocalPath(back)))
			return nil
		}
		return errors.Join(errNoSession, err)
	case err != nil:
		return err
	}
	s.Cookies.keep(v.w, t, s.Users.RefreshIdle)
	if back != "" {
		redirect(v, authn.LocalPath(back))
		return nil
	}
	v.w.WriteHeader(http.StatusNoContent)
	return nil
}

// signOut ends the session on the server and takes the cookies away (C49). It
// ends this session alone; the next page offers to end the provider's as well.
func (s *Server) signOut(v *visit) error {
	p, err := s.Users.Verify(v.ctx, value(v.r, s.Cookies.Access()))
	next := "/sign-in"
	if err == nil {
		next += "?signed_out=" + url.QueryEscape(p.Session.Provider)
	}
	if err == nil && p.Session.ID != "" {
		err = s.Users.EndSession(v.ctx, p.User.ID, p.Session.ID)
	}
	s.Cookies.drop(v.w)
	if err != nil && !errors.Is(err, token.ErrInvalid) && !errors.Is(err, token.ErrExpired) && !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	redirect(v, next)
	return nil
}

// elsewhere is where somebody who has signed out here may do so at the provider
// as well; "" when it does not offer that (OpenID Connect RP-Initiated Logout
// 1.0, C68).
func (s *Server) elsewhere(v *visit) (title, href string) {
	p, _ := s.provider(v.r.URL.Query().Get("signed_out"))
	if out, can := p.Redirect.(interface {
		EndSession(ctx context.Context, after string) (string, error)
	}); can {
		location, err := out.EndSession(v.ctx, "")
		if err != nil {
			s.Log.Debug("no way to sign out at the provider", "provider", p.Key, "err", err)
		}
		return cmp.Or(p.Title, p.Key), location
	}
	return "", ""
}
