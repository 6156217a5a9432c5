package pages

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/postern-io/postern/adapters/api"
	"github.com/postern-io/postern/registry"
)

const accountPath = "/settings/account"

type accountView struct {
	Me         user
	First      string // what must be done before anything else: a word of the API
	Factors    api.Factors
	Keys       []api.APIKey
	Sessions   []api.Session
	Identities []api.Identity
	Linkable   []api.ConfigProvider
	KeyRoles   []roleOption

	WhyPassword string
}

// account asks for as much as is open to the person: who must change the
// password first, or enrol a second factor, sees that form alone.
func (v *visit) account() (accountView, error) {
	var view accountView
	if err := v.ask(http.MethodGet, "/users/profile", nil, &view.Me); err != nil {
		return view, err
	}
	if p := view.Me.Provider; p != "" && p != registry.LocalProvider {
		view.WhyPassword = "You sign in at " + p + "; the password is kept there."
	}
	var sessions api.SessionPage
	var keys api.APIKeyPage
	var links api.IdentityPage
	for _, q := range []struct {
		path string
		to   any
	}{{"/users/factors", &view.Factors}, {"/users/sessions", &sessions}, {"/users/keys", &keys}, {"/users/identities", &links}} {
		err := v.ask(http.MethodGet, q.path, nil, q.to)
		if refusal, ok := err.(*Refusal); ok && (refusal.Word == "password_change_required" || refusal.Word == "second_factor_enrolment_required") {
			view.First = refusal.Word
			return view, nil
		}
		if err != nil {
			return view, err
		}
	}
	view.Sessions, view.Keys, view.Identities = sessions.Sessions, keys.Keys, links.Identities
	c, err := v.config()
	for _, p := range c.Providers {
		if p.Kind == "redirect" {
			view.Linkable = append(view.Linkable, p)
		}
	}
	for _, o := range v.me.roles(v.r.PostForm.Get("role"), "") {
		role, _ := registry.ParseRole(o.Name) // roles wrote it
		switch o.Why, o.Disabled = "", false; {
		case role == registry.NoRole:
			continue
		case role > v.me.Role && v.me.Role != registry.NoRole: // a member of domains may have more there
			o.Why = "Above your own role on the platform: good in domains alone."
		}
		view.KeyRoles = append(view.KeyRoles, o)
	}
	return view, err
}

func (view accountView) page() page {
	return page{Title: "Account", Tab: "account", Data: view}
}

func showAccount(v *visit) error {
	view, err := v.account()
	if err != nil {
		return err
	}
	v.show(http.StatusOK, "account", view.page())
	return nil
}

// accountActs are the forms of the account's page.
var accountActs = map[string]act{
	"profile":      saveProfile,
	"password":     changePassword,
	"totp":         beginTOTP,
	"totp-confirm": confirmTOTP,
	"totp-remove": func(v *visit, _ user) (string, error) {
		return "removed", v.ask("DELETE", "/users/factors/totp", nil, nil)
	},
	"codes":          renewCodes,
	"passkey":        beginPasskey,
	"passkey-keep":   confirmPasskey,
	"passkey-remove": removePasskey,
	"key":            createKey,
	"keys":           revokeKey,
	"sessions":       endSessions,
	"others": func(v *visit, _ user) (string, error) {
		return "ended", v.ask("DELETE", "/users/sessions?keep=current", nil, nil)
	},
	"unlink": unlink,
}

func changeAccount(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	do, known := accountActs[v.r.PathValue("act")]
	if !known {
		return &Refusal{Status: http.StatusNotFound, Message: "There is no such thing to do here."}
	}
	var u user
	if err := v.ask(http.MethodGet, "/users/profile", nil, &u); err != nil {
		return err
	}
	v.r.PostForm.Set("act", v.r.PathValue("act"))
	done, err := do(v, u)
	if err != nil {
		view, e := v.account()
		if e != nil {
			return e
		}
		return v.again(err, "account", view.page())
	}
	if done != "" {
		v.redirect(accountPath + "?done=" + done)
	}
	return nil
}

func changePassword(v *visit, _ user) (string, error) {
	f := v.r.PostForm
	if f.Get("password") != f.Get("repeat") {
		return "", &Refusal{Status: http.StatusUnprocessableEntity, Word: "record_invalid", Field: "repeat", Message: "Must be the new password once more."}
	}
	err := v.ask(http.MethodPatch, "/users/secret", map[string]string{"old_secret": f.Get("old_secret"), "new_secret": f.Get("password")}, nil)
	if refusal, ok := err.(*Refusal); ok && refusal.Status == http.StatusForbidden && refusal.Word == "unauthorized_access" {
		refusal.Status, refusal.Field = http.StatusUnprocessableEntity, "old_secret"
	}
	return "saved", err
}

// A generator is a TOTP secret on its way to the authenticator: shown until a
// code proves that it arrived.
type generator struct {
	Secret, URL string
	QR          qrCode
}

func (v *visit) showGenerator(status int, url string, problem form) error {
	code, err := newQR(url)
	if err != nil {
		return err
	}
	v.show(status, "totp", page{Title: "Authenticator app", Tab: "account", Data: generator{Secret: secretOf(url), URL: url, QR: code}, Form: problem})
	return nil
}

// secretOf reads the secret from an otpauth: URL, to be typed.
func secretOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Query().Get("secret")
}

func beginTOTP(v *visit, _ user) (string, error) {
	var made api.NewTOTP
	if err := v.ask(http.MethodPost, "/users/factors/totp", nil, &made); err != nil {
		return "", err
	}
	return "", v.showGenerator(http.StatusOK, made.URL, form{})
}

func confirmTOTP(v *visit, _ user) (string, error) {
	var done api.Enrolled
	err := v.ask(http.MethodPost, "/users/factors/totp/confirm", map[string]string{"code": v.r.PostForm.Get("code")}, &done)
	if refusal, ok := err.(*Refusal); ok && refusal.Field == "code" {
		// The secret comes back with the form: the API shows it once.
		if given := v.r.PostForm.Get("url"); strings.HasPrefix(given, "otpauth://totp/") && len(given) < 1024 {
			return "", v.showGenerator(refusal.Status, given, form{Values: v.r.PostForm, Problem: refusal})
		}
	}
	if err != nil {
		return "", err
	}
	return v.enrolled(done)
}

// enrolled shows what comes with the first factor.
func (v *visit) enrolled(done api.Enrolled) (string, error) {
	o := once{Says: "The second factor is there.", Next: accountPath, SignOut: done.SignInAgain}
	if len(done.RecoveryCodes) > 0 {
		o.Says = "The second factor is there. Each of these recovery codes opens one sign-in without it. Print them, or keep them where only you can read them: they are shown this once."
		o.Codes = done.RecoveryCodes
	}
	return "", v.showOnce("Second factor added", "account", o)
}

func renewCodes(v *visit, _ user) (string, error) {
	var made api.RecoveryCodes
	if err := v.ask(http.MethodPost, "/users/factors/recovery-codes", nil, &made); err != nil {
		return "", err
	}
	return "", v.showOnce("New recovery codes", "account", once{
		Says: "Each opens one sign-in without the second factor. The old ones are void. They are shown this once.", Codes: made.RecoveryCodes, Next: accountPath,
	})
}

// A ceremony is what a script hands to the browser's authenticator.
type ceremony struct {
	Name    string
	Options string // JSON
}

func beginPasskey(v *visit, _ user) (string, error) {
	var options json.RawMessage
	if err := v.ask(http.MethodPost, "/users/factors/passkeys", nil, &options); err != nil {
		return "", err
	}
	v.show(http.StatusOK, "passkey", page{Title: "New passkey", Tab: "account", Data: ceremony{v.r.PostForm.Get("passkey_name"), string(options)}})
	return "", nil
}

func confirmPasskey(v *visit, _ user) (string, error) {
	answer := json.RawMessage(v.r.PostForm.Get("passkey"))
	if !json.Valid(answer) {
		return "", &Refusal{Status: http.StatusBadRequest, Word: "record_invalid", Message: "The authenticator did not answer. Try again."}
	}
	var done api.Enrolled
	err := v.ask(http.MethodPost, "/users/factors/passkeys/confirm", map[string]any{"name": v.r.PostForm.Get("passkey_name"), "passkey": answer}, &done)
	if refusal, ok := err.(*Refusal); ok && refusal.Field == "name" {
		refusal.Field = "passkey_name"
		v.r.PostForm.Set("act", "passkey")
	}
	if err != nil {
		return "", err
	}
	return v.enrolled(done)
}

func removePasskey(v *visit, _ user) (string, error) {
	return "removed", v.ask(http.MethodDelete, "/users/factors/passkeys/"+url.PathEscape(v.r.PostForm.Get("passkey")), nil, nil)
}

func createKey(v *visit, _ user) (string, error) {
	f := v.r.PostForm
	in := map[string]any{"name": f.Get("name"), "role": f.Get("role")}
	if day := f.Get("expires_at"); day != "" {
		at, err := time.Parse(time.DateOnly, day)
		if err != nil {
			return "", &Refusal{Status: http.StatusBadRequest, Word: "record_invalid", Field: "expires_at", Message: "Must be a day such as 2030-01-31."}
		}
		in["expires_at"] = at
	}
	var made api.APIKey
	if err := v.ask(http.MethodPost, "/users/keys", in, &made); err != nil {
		return "", err
	}
	return "", v.showOnce("New API key", "account", once{
		Says: "A program sends it as Authorization: Bearer. It is shown this once.", Secret: made.Secret, Next: accountPath,
	})
}

func unlink(v *visit, _ user) (string, error) {
	f := v.r.PostForm
	return "unlinked", v.ask(http.MethodPost, "/users/identities/unlink", map[string]string{"provider": f.Get("provider"), "subject": f.Get("subject")}, nil)
}
