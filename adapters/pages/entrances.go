package pages

import (
	"net/http"
)

// The pages that one-time keys lead to. The key comes in the fragment of the
// link, which a browser tells nobody; a script puts it into the form, where
// without one the person pastes it.

// An entrance is one of these pages.
type entrance struct {
	Mail bool
	Sent bool // a letter, if there is such an account
}

func (v *visit) entrance(name, title string) error {
	c, err := v.config()
	if err != nil {
		return err
	}
	v.show(http.StatusOK, name, page{Title: title, Data: entrance{Mail: c.Mail}})
	return nil
}

// enter shows an entrance once more with what is wrong, or goes on to sign in.
func (v *visit) entered(err error, name, title, done string) error {
	if err == nil {
		v.redirect("/sign-in?done=" + done)
		return nil
	}
	refusal, ok := err.(*Refusal)
	if ok && refusal.Status == http.StatusUnauthorized {
		refusal.Field = "token"
	}
	return v.retry(err, name, page{Title: title, Data: entrance{Mail: true}}, http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusNotImplemented)
}

// twice is what is wrong with a new password that is typed twice.
func (v *visit) twice() error {
	if v.r.PostForm.Get("password") == v.r.PostForm.Get("repeat") {
		return nil
	}
	return &Refusal{Status: http.StatusUnprocessableEntity, Word: "record_invalid", Field: "repeat", Message: "Must be the password once more."}
}

func showRecovery(v *visit) error { return v.entrance("recover", "New password") }

func requestRecovery(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	v.r.PostForm.Set("act", "request")
	err := v.ask(http.MethodPost, "/password/reset-request", map[string]string{"email": v.r.PostForm.Get("email")}, nil)
	if err != nil {
		return v.entered(err, "recover", "New password", "")
	}
	v.show(http.StatusOK, "recover", page{Title: "New password", Data: entrance{Mail: true, Sent: true}})
	return nil
}

func recoverPassword(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	f := v.r.PostForm
	f.Set("act", "reset")
	err := v.twice()
	if err == nil {
		err = v.ask(http.MethodPut, "/password/reset", map[string]string{"token": f.Get("token"), "password": f.Get("password"), "confirm_password": f.Get("repeat")}, nil)
	}
	return v.entered(err, "recover", "New password", "password")
}

func showInvitation(v *visit) error { return v.entrance("invite", "Welcome") }

func acceptInvitation(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	err := v.twice()
	if err == nil {
		err = v.ask(http.MethodPost, "/users/invitations/accept", map[string]string{"token": v.r.PostForm.Get("token"), "password": v.r.PostForm.Get("password")}, nil)
	}
	return v.entered(err, "invite", "Welcome", "account")
}

func showVerification(v *visit) error { return v.entrance("verify-email", "Confirm your address") }

func verifyEmail(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	err := v.ask(http.MethodPost, "/users/verify-email", map[string]string{"token": v.r.PostForm.Get("token")}, nil)
	return v.entered(err, "verify-email", "Confirm your address", "address")
}

func showSetUp(v *visit) error { return v.entrance("setup", "Set up Postern") }

func setUp(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	f := v.r.PostForm
	err := v.twice()
	if err == nil {
		err = v.ask(http.MethodPost, "/setup", map[string]any{
			"token": f.Get("token"), "email": f.Get("email"), "credentials": map[string]string{"username": f.Get("username"), "secret": f.Get("password")},
		}, nil)
	}
	return v.entered(err, "setup", "Set up Postern", "account")
}
