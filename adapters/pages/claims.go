package pages

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/postern-io/postern/adapters/api"
	"github.com/postern-io/postern/registry"
)

// A claimRow is a claim with what its device may do, by the names of channels.
type claimRow struct {
	api.Claim
	Grants []grantRow
}

type claimsView struct {
	listing
	Claims   []claimRow
	Channels choice
	Made     *madeClaims
}

// madeClaims are new claims, and the one sight of their tokens.
type madeClaims struct {
	Count    int
	Ends     time.Time
	Tokens   string // one a line
	File     string // CSV, with the ids to know them by later
	Stamp    string // for the name of the file
	Commands []command
}

func (v *visit) claimsPath() string { return v.devicesPath() + "/claims" }

func (v *visit) claims() (claimsView, error) {
	view := claimsView{listing: v.listing("status")}
	view.Path = v.claimsPath()
	var all api.ClaimPage
	if err := v.ask(http.MethodGet, v.inDomain("/claims"+view.ask()), nil, &all); err != nil {
		return view, err
	}
	var err error
	if view.Channels, err = v.choice(); err != nil {
		return view, err
	}
	view.Total = all.Total
	for _, c := range all.Claims {
		row := claimRow{Claim: c}
		for _, g := range c.Channels {
			row.Grants = append(row.Grants, grantRow{view.Channels.Name(g.ChannelID), mayOf(g.Types)})
		}
		view.Claims = append(view.Claims, row)
	}
	return view, nil
}

func claimsPage(view claimsView) page {
	return page{Title: "Claim tokens", Tab: "devices", Data: view}
}

func listClaims(v *visit) error {
	view, err := v.claims()
	if err != nil {
		return err
	}
	v.showList("claims", "claim-list", claimsPage(view))
	return nil
}

// claimsAgain shows the list with what is wrong with a form of its page.
func (v *visit) claimsAgain(cause error) error {
	view, err := v.claims()
	if err != nil {
		return err
	}
	return v.retry(cause, "claims", claimsPage(view), http.StatusNotFound)
}

// createClaims makes tokens and shows them: the one answer that has them.
func createClaims(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	v.r.PostForm.Set("act", "create")
	in, err := v.claimsSent(v.r.PostForm)
	var made api.ClaimPage
	if err == nil {
		err = v.ask(http.MethodPost, v.inDomain("/claims"), in, &made)
	}
	if err != nil {
		return v.claimsAgain(claimField(err, in["client_id"] != nil))
	}
	// From here on the tokens must reach their owner, whatever goes wrong.
	view, err := v.claims()
	view.Made = v.madeClaims(made.Claims)
	p := claimsPage(view)
	p.Form = form{Problem: v.told(err)}
	v.show(http.StatusCreated, "claims", p)
	return nil
}

// claimsSent reads the form of new claims as the API takes it.
func (v *visit) claimsSent(sent url.Values) (map[string]any, error) {
	in := map[string]any{}
	count, err := strconv.Atoi(strings.TrimSpace(sent.Get("count")))
	if err != nil {
		return in, mend("count", "Give a number, 1 to 1000.")
	}
	in["count"] = count
	if text := strings.TrimSpace(sent.Get("life")); text != "" {
		life, err := time.ParseDuration(inHours(text))
		if err != nil {
			return in, mend("life", "Give a time such as 7d or 12h.")
		}
		in["expires_at"] = time.Now().Add(life)
	}
	metadata, problem := sentMetadata(sent)
	if problem != nil {
		return in, problem
	}
	in["metadata"], in["name"], in["tags"] = metadata, sent.Get("name"), tagsOf(sent.Get("tags"))
	if in["channels"], err = grantsSent(sent); err != nil {
		return in, err
	}
	if text := strings.TrimSpace(sent.Get("device")); text != "" {
		id, err := v.deviceNamed(text)
		if err != nil {
			return in, err
		}
		in["client_id"] = id
	}
	return in, nil
}

// claimField puts what the API refused beside the field of the form.
func claimField(err error, bound bool) error {
	refusal, ok := err.(*Refusal)
	switch {
	case !ok:
	case refusal.Field == "client_id":
		refusal.Field, refusal.Message = "device", "A device that is there has its own name, tags, metadata and channels: leave those empty."
	case refusal.Field == "expires_at":
		refusal.Field = "life"
		refusal.Message = strings.Replace(refusal.Message, "expires_at", "the end", 1)
	case refusal.Field == "types":
		refusal.Field = "channels"
	case refusal.Status == http.StatusNotFound && bound:
		refusal.Field, refusal.Message = "device", "There is no such device."
	case refusal.Status == http.StatusNotFound:
		refusal.Field, refusal.Message = "channels", "One of these channels is not there (any more)."
	}
	return err
}

// madeClaims is what to show of claims that were just made.
func (v *visit) madeClaims(all []api.Claim) *madeClaims {
	m := &madeClaims{Count: len(all), Stamp: time.Now().UTC().Format("20060102-150405")}
	var tokens []string
	var rows [][]string
	for _, c := range all {
		m.Ends = c.ExpiresAt
		tokens = append(tokens, c.Token)
		rows = append(rows, []string{c.ID, c.Token}) // a token is letters, digits, - and _, and begins with a letter
	}
	m.Tokens, m.File = strings.Join(tokens, "\n"), csvOf([]string{"claim", "token"}, rows)
	web, _ := v.origin()
	m.Commands = []command{{"claim", "For a secret", "curl -X POST -H 'Content-Type: application/json' -d '{\"token\": \"" + tokens[0] + "\"}' " + web + "/api/claim"}}
	if strings.HasPrefix(web, "https:") { // EST (RFC 7030) is for TLS alone
		m.Commands = append(m.Commands, command{"est", "For a certificate, by EST", "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout device.key -subj / -outform DER | openssl base64 > device.csr.b64\n" +
			"curl -sSf -u ':" + tokens[0] + "' -H 'Content-Type: application/pkcs10' --data-binary @device.csr.b64 " + web + "/.well-known/est/simpleenroll | openssl base64 -d -A | openssl pkcs7 -inform DER -print_certs -out device.crt"})
	}
	return m
}

func deleteClaim(v *visit) error {
	id := v.r.PathValue("claim")
	if _, err := registry.ParseID(id); err != nil { // a path could mean something else
		return &Refusal{Status: http.StatusNotFound, Word: "record_not_found", Message: "There is no such claim token."}
	}
	if err := v.ask(http.MethodDelete, v.inDomain("/claims/"+id), nil, nil); err != nil {
		return v.claimsAgain(err)
	}
	v.redirect(v.claimsPath() + "?done=deleted")
	return nil
}

// States are what a claim may be in.
func (claimsView) States() []string { return []string{"open", "used", "expired"} }
