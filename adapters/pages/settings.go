package pages

import (
	"net/http"
	"strings"
)

// settings leads to the first page of them that the person may see.
func settings(v *visit) error {
	if v.me.Why("user.list") != "" {
		v.redirect("/settings/account")
		return nil
	}
	v.redirect("/settings/workspace/users")
	return nil
}

// InSettings reports whether the page is one of the settings.
func (f frame) InSettings() bool { return strings.HasPrefix(f.Path, "/settings/") }

// Of is the form when it is the one that was sent under this name: a page may
// hold several.
func (f form) Of(act string) form {
	if f.Values.Get("act") == act {
		return f
	}
	return form{}
}

// retry shows a page once more with what is wrong with one of its forms. More
// than again, it takes other statuses for something that can be mended there.
func (v *visit) retry(err error, name string, p page, also ...int) error {
	refusal, ok := err.(*Refusal)
	if ok {
		for _, status := range also {
			if refusal.Status == status {
				p.Form = form{Values: v.r.PostForm, Problem: refusal}
				v.show(status, name, p)
				return nil
			}
		}
	}
	return v.again(err, name, p)
}

// named is the refusal of a dangerous action whose form does not name what it is
// about; nil when it does.
func (v *visit) named(name string) error {
	if v.r.PostForm.Get("confirm") == name {
		return nil
	}
	return &Refusal{Status: http.StatusUnprocessableEntity, Word: "not_confirmed", Message: "Type the name exactly as it is shown.", Field: "confirm"}
}

// A once is something that is shown once: a secret, or codes.
type once struct {
	Says    string   // above it
	Secret  string   // one line to copy, or
	Codes   []string // many
	After   string   // below it
	Next    string   // path to go on at
	SignOut bool     // go on by signing in again
}

func (v *visit) showOnce(title, tab string, o once) error {
	v.show(http.StatusOK, "once", page{Title: title, Tab: tab, Data: o})
	return nil
}

// States are what an account may be in.
func (frame) States() []string { return []string{"enabled", "disabled", "deleted"} }

// Outcomes are how what is in the audit trail may have ended.
func (frame) Outcomes() []string { return []string{"done", "refused", "failed"} }

// FactorActs are the forms of the second factors, which tell what is wrong in one
// place.
func (frame) FactorActs() []string {
	return []string{"totp", "totp-confirm", "totp-remove", "passkey", "passkey-keep", "passkey-remove", "codes"}
}
