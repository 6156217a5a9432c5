package pages

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/postern-io/postern/adapters/api"
)

// authority is an imported one, as the API answers.
type authority = api.Authority

// A source is where certificates of an authority name the device.
type source struct{ Word, Title string }

// sourcesOf are the sources in words, for a domain.
func sourcesOf(d domain) []source {
	return []source{
		{string(api.NameSourceName), "the common name is any name: a person binds it to a device, or a device is made of it"},
		{string(api.NameSourceCnID), "the common name is the id of the device"},
		{string(api.NameSourceSanURI), "a subject alternative name is urn:postern:" + d.ID + ":<id of the device>"},
		{string(api.NameSourceCnSecret), "the common name is a secret of the device"},
	}
}

type authoritiesView struct {
	Path        string
	Authorities []authority
	Sources     []source
	Rules       authorityRules
	Channels    choice
}

// Source is a source in words.
func (v authoritiesView) Source(a authority) string { return sourceTitle(v.Sources, a) }

func sourceTitle(all []source, a authority) string {
	for _, s := range all {
		if s.Word == string(a.Source) {
			return s.Title
		}
	}
	return string(a.Source)
}

// authorityRules is what may be changed of an authority, as a person edits it.
type authorityRules struct {
	Name, Life, URL string
	Warn            bool // of a list that is past its time, and no more
	Register        bool
	MaxPending      string
	Approve, Tags   string
	Grants          []grantRow
}

func rulesOf(a authority) authorityRules {
	r := authorityRules{
		Name: a.Name, Life: inDays(a.LongestLife), URL: a.CrlURL, Warn: a.StaleList == api.Warn, Register: a.Arrival.Register,
		Approve: a.Arrival.Approve, Tags: strings.Join(a.Arrival.Tags, ", "),
	}
	if n := a.Arrival.MaxPending; n > 0 {
		r.MaxPending = strconv.Itoa(n)
	}
	for _, g := range a.Arrival.Channels {
		r.Grants = append(r.Grants, grantRow{g.ChannelID, mayOf(g.Types)})
	}
	return r
}

// rulesSent reads the same from a form, as the API takes it. Of new devices
// nothing is said unless they are made.
func rulesSent(sent url.Values) (map[string]any, error) {
	in := map[string]any{"name": sent.Get("name"), "longest_life": inHours(sent.Get("longest_life")), "stale_list": sent.Get("stale_list")}
	if sent.Has("crl_url") { // not from who may not set it
		in["crl_url"] = strings.TrimSpace(sent.Get("crl_url"))
	}
	arrival := map[string]any{}
	in["arrival"] = arrival
	if sent.Get("register") == "" {
		return in, nil
	}
	arrival["register"], arrival["approve"], arrival["tags"] = true, strings.TrimSpace(sent.Get("approve")), tagsOf(sent.Get("tags"))
	if text := strings.TrimSpace(sent.Get("max_pending")); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, mend("max_pending", "Give a number, 1 to 100000.")
		}
		arrival["max_pending"] = n
	}
	grants, err := grantsSent(sent)
	arrival["channels"] = grants
	return in, err
}

// authorityField puts what the API refused beside a field of the form that has
// the text of a file.
func authorityField(err error, file string) error {
	refusal, ok := err.(*Refusal)
	switch {
	case !ok:
	case refusal.Field == "types":
		refusal.Field = "channels"
	case refusal.Word == string(api.ErrorErrorRecordExists) && refusal.Field == "authority":
		refusal.Field, refusal.Message = file, "Its key vouches already, here or in another domain."
	case refusal.Status == http.StatusRequestEntityTooLarge:
		refusal.Field, refusal.Message = file, tooLarge
	}
	return err
}

func (v *visit) authoritiesPath() string { return domainPath(v.domain) + "/authorities" }

func (v *visit) authorities() (page, error) {
	view := authoritiesView{Path: v.authoritiesPath(), Sources: sourcesOf(v.domain)}
	p := page{Title: "Authorities", Tab: "settings"}
	var all api.AuthorityPage
	if err := v.ask(http.MethodGet, v.inDomain("/authorities"), nil, &all); err != nil {
		return p, err
	}
	view.Authorities = all.Authorities
	var err error
	view.Channels, err = v.choice()
	p.Data = view
	return p, err
}

func listAuthorities(v *visit) error {
	p, err := v.authorities()
	if err != nil {
		return err
	}
	v.show(http.StatusOK, "authorities", p)
	return nil
}

// importAuthority imports one, and goes on to where it is proved.
func importAuthority(v *visit) error {
	text, err := v.postedFile("certificate")
	var made authority
	if err == nil {
		var in map[string]any
		if in, err = rulesSent(v.r.PostForm); err == nil {
			in["certificate"], in["source"] = text, v.r.PostForm.Get("source")
			err = v.ask(http.MethodPost, v.inDomain("/authorities"), in, &made)
		}
	}
	if err != nil {
		p, e := v.authorities()
		if e != nil {
			return e
		}
		return v.again(authorityField(err, "certificate"), "authorities", p)
	}
	v.redirect(v.authoritiesPath() + "/" + made.ID + "?done=created")
	return nil
}

// maxUpload bounds a form with a file: some more than what the API takes, so that
// a file that is a little too large is told of in the page.
const maxUpload = 8 << 20

const tooLarge = "The file is larger than 3 MiB. A list of revocations can be fetched from an address instead."

// postedFile reads a form with a field into which a text is pasted, or else a
// file chosen; it returns the one or the other. A file in DER becomes the text
// that the API takes: PEM of a certificate, base64 of anything else, which is less.
func (v *visit) postedFile(field string) (string, error) {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxUpload)
	err := v.r.ParseMultipartForm(maxUpload) // so it never needs the disk
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		v.r.PostForm = url.Values{}
		return "", mend(field, tooLarge)
	case errors.Is(err, http.ErrNotMultipart): // a form without a file
		return v.r.PostForm.Get(field), nil
	case err != nil:
		return "", misshapen()
	}
	for _, sent := range v.r.MultipartForm.File["file"] {
		if sent.Size == 0 {
			continue
		}
		f, err := sent.Open()
		if err != nil {
			return "", err
		}
		defer f.Close()
		text, err := io.ReadAll(f)
		if err != nil {
			return "", err
		}
		switch {
		case utf8.Valid(text) && !bytes.ContainsRune(text, 0):
			return string(text), nil
		case field == "certificate":
			return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: text})), nil
		}
		return base64.StdEncoding.EncodeToString(text), nil
	}
	return v.r.PostForm.Get(field), nil
}
