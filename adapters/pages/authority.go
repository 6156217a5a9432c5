package pages

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/postern-io/postern/adapters/api"
	"github.com/postern-io/postern/registry"
)

// An authorityView is all of the page of an imported authority.
type authorityView struct {
	listing    // of the principals
	Authority  authority
	Source     string // in words
	Rules      authorityRules
	Channels   choice
	Principals []principalRow
	Challenge  string // the commands that answer it, while it is unproved
	Enter      string // how a device shows a certificate of it; "": not on this address
}

// A principalRow is a principal with what its device is called.
type principalRow struct {
	api.Principal
	Device string
}

// Proved reports whether it may vouch.
func (v authorityView) Proved() bool { return v.Authority.Status != api.AuthorityStatusUnproved }

// Named reports whether its names are bound by a person; with the other sources
// a name is the device's id.
func (v authorityView) Named() bool { return v.Authority.Source == api.NameSourceName }

// authority asks the API about the authority of the path.
func (v *visit) authority(method, rest string, in, out any) error {
	id, err := registry.ParseFingerprint(v.r.PathValue("authority"))
	if err != nil { // a path could mean something else
		return &Refusal{Status: http.StatusNotFound, Word: "record_not_found", Message: "There is no such authority."}
	}
	return v.ask(method, v.inDomain("/authorities/"+id+rest), in, out)
}

func (v *visit) authorityPage(a authority) (page, error) {
	view := authorityView{listing: v.listing(), Authority: a, Rules: rulesOf(a), Source: sourceTitle(sourcesOf(v.domain), a)}
	view.Path = v.authoritiesPath() + "/" + a.ID
	p := page{Title: "Authority " + a.Name, Tab: "settings"}
	if a.Nonce != "" {
		view.Challenge = challenge(a.Nonce)
	}
	if web, _ := v.origin(); strings.HasPrefix(web, "https:") {
		view.Enter = "curl -i --cert device.crt --key device.key -X POST " + web + "/http/m/" + v.domain.Route + "/c/CHANNEL -d 21.5"
	}
	var err error
	if view.Channels, err = v.choice(); err == nil {
		err = v.principals(&view)
	}
	p.Data = view
	return p, err
}

// challenge is how the holder of an authority proves that: it signs a
// certificate of this one name. Nonces are letters and digits.
func challenge(nonce string) string {
	return "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout proof.key -subj /CN=" + nonce + " -out proof.csr\n" +
		"openssl x509 -req -in proof.csr -CA ca.crt -CAkey ca.key -set_serial 0x$(openssl rand -hex 16) -days 1 -out proof.crt\n" +
		"cat proof.crt"
}

// principals asks for a page of them, with the names of their devices.
func (v *visit) principals(view *authorityView) error {
	var all api.PrincipalPage
	if err := v.authority(http.MethodGet, "/principals"+view.ask(), nil, &all); err != nil {
		return err
	}
	view.Total = all.Total
	for _, p := range all.Principals {
		var d deviceRecord
		err := v.device(http.MethodGet, p.ClientID, "", nil, &d)
		var refusal *Refusal
		if errors.As(err, &refusal) && refusal.Status == http.StatusNotFound {
			continue // deleted since, and the principal with it
		}
		if err != nil {
			return err
		}
		view.Principals = append(view.Principals, principalRow{p, d.Title()})
	}
	return nil
}

func showAuthority(v *visit) error {
	var a authority
	err := v.authority(http.MethodGet, "", nil, &a)
	if err != nil {
		return err
	}
	p, err := v.authorityPage(a)
	if err != nil {
		return err
	}
	v.show(http.StatusOK, "authority", p)
	return nil
}

// An authorityAct is a form of the page. It returns a word of notices.
type authorityAct func(v *visit, a authority, text string) (done string, err error)

// authorityActs are the forms of the page; text is what was pasted or the file.
var authorityActs = map[string]authorityAct{
	"edit":     editAuthority,
	"prove":    proveAuthority,
	"override": overrideProof,
	"enable":   authorityState("enabled"),
	"disable":  authorityState("disabled"),
	"crl":      putList,
	"bind":     bindPrincipal,
	"unbind":   unbindPrincipal,
	"delete":   deleteAuthority,
}

func changeAuthority(v *visit) error {
	act := v.r.PathValue("act")
	do, known := authorityActs[act]
	if !known {
		return &Refusal{Status: http.StatusNotFound, Message: "There is no such thing to do here."}
	}
	field := "certificate"
	if act == "crl" {
		field = "crl"
	}
	text, err := v.postedFile(field)
	if v.r.PostForm == nil {
		return err
	}
	v.r.PostForm.Set("act", act)
	var a authority
	if e := v.authority(http.MethodGet, "", nil, &a); e != nil {
		return e
	}
	var done string
	if err == nil {
		done, err = do(v, a, text)
	}
	if err != nil {
		p, e := v.authorityPage(a)
		if e != nil {
			return e
		}
		return v.retry(authorityField(err, field), "authority", p, http.StatusNotFound)
	}
	to := v.authoritiesPath()
	if done != "deleted" {
		to += "/" + a.ID
	}
	v.redirect(to + "?done=" + done)
	return nil
}

func editAuthority(v *visit, _ authority, _ string) (string, error) {
	in, err := rulesSent(v.r.PostForm)
	if err == nil {
		err = v.authority(http.MethodPatch, "", in, nil)
	}
	return "saved", err
}

func proveAuthority(v *visit, _ authority, text string) (string, error) {
	return "proved", v.authority(http.MethodPost, "/prove", map[string]string{"certificate": text}, nil)
}

func overrideProof(v *visit, _ authority, _ string) (string, error) {
	return "let-in", v.authority(http.MethodPost, "/override", map[string]string{"reason": v.r.PostForm.Get("reason")}, nil)
}

func authorityState(to string) authorityAct {
	return func(v *visit, _ authority, _ string) (string, error) {
		return to, v.authority(http.MethodPost, "/"+strings.TrimSuffix(to, "d"), nil, nil)
	}
}

func putList(v *visit, _ authority, text string) (string, error) {
	return "listed", v.authority(http.MethodPost, "/crl", map[string]string{"crl": text}, nil)
}

// bindPrincipal says whom the authority means by a name.
func bindPrincipal(v *visit, a authority, _ string) (string, error) {
	id, err := v.deviceNamed(strings.TrimSpace(v.r.PostForm.Get("device")))
	if err != nil {
		return "", err
	}
	in := map[string]string{"client_id": id}
	if a.Source == api.NameSourceName {
		in["name"] = v.r.PostForm.Get("principal")
	}
	err = v.authority(http.MethodPost, "/principals", in, nil)
	if refusal, ok := err.(*Refusal); ok {
		if refusal.Field == "name" { // the rules have a field of that name
			refusal.Field = "principal"
		}
		switch {
		case refusal.Status == http.StatusNotFound:
			refusal.Field, refusal.Message = "device", "There is no such device."
		case refusal.Word == string(api.ErrorErrorRecordExists) && a.Source == api.NameSourceName:
			refusal.Message = "This name is bound already. Unbind it first."
		case refusal.Word == string(api.ErrorErrorRecordExists):
			refusal.Field, refusal.Message = "device", "This device is bound already."
		}
	}
	return "bound", err
}

func unbindPrincipal(v *visit, _ authority, _ string) (string, error) {
	// A name may be "..", which a path would take for a step up.
	name := strings.ReplaceAll(url.PathEscape(v.r.PostForm.Get("principal")), ".", "%2E")
	return "unbound", v.authority(http.MethodDelete, "/principals/"+name, nil, nil)
}

func deleteAuthority(v *visit, a authority, _ string) (string, error) {
	if err := v.named(a.Name); err != nil {
		return "", err
	}
	return "deleted", v.authority(http.MethodDelete, "", nil, nil)
}
