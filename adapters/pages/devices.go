package pages

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/postern-io/postern/adapters/api"
	"github.com/postern-io/postern/registry"
)

// A deviceRecord is a device with its metadata as they are written: a number may
// be longer than a float64.
type deviceRecord struct {
	device
	Metadata json.RawMessage `json:"metadata"`
}

// Title is what a device is called: devices may have no name.
func (d deviceRecord) Title() string {
	if strings.TrimSpace(d.Name) == "" {
		return d.ID
	}
	return d.Name
}

// metadataText is metadata as a person writes them, indented or, with "", on one
// line; "" when there are none. The API escapes < and others, for browsers that
// guess.
func metadataText(written json.RawMessage, indent string) string {
	read := json.NewDecoder(bytes.NewReader(written))
	read.UseNumber()
	var object map[string]any
	if err := read.Decode(&object); err != nil || object == nil {
		return ""
	}
	var text strings.Builder
	write := json.NewEncoder(&text)
	write.SetEscapeHTML(false)
	write.SetIndent("", indent)
	_ = write.Encode(object) // what was just read
	return strings.TrimSuffix(text.String(), "\n")
}

type devicePage struct {
	Total   int            `json:"total"`
	Next    string         `json:"next"` // what to ask for as after
	Clients []deviceRecord `json:"clients"`
}

// For is the form of the page whose action ends in last; empty when what came
// back is another one's.
func (f frame) For(last string) form {
	if path.Base(f.Path) == last {
		return f.Form
	}
	return form{}
}

type devicesView struct {
	listing
	Devices  []deviceRecord
	Channels choice
	Outcome  *outcome // of a bulk action
}

// A choice is what a person may choose a channel from.
type choice struct {
	Channels []channel
	All      bool // there are no more
}

// devicesPath is where the devices of the domain are.
func (v *visit) devicesPath() string { return domainPath(v.domain) + "/devices" }

func (v *visit) devices() (devicesView, error) {
	view := devicesView{listing: v.listing("name", "tag", "status")}
	view.Path = v.devicesPath()
	var all devicePage
	if err := v.ask(http.MethodGet, v.inDomain("/clients"+everyStatus(view.listing)), nil, &all); err != nil {
		return view, err
	}
	view.Devices, view.Total = all.Clients, all.Total
	if v.partial() {
		return view, nil
	}
	var err error
	view.Channels, err = v.choice()
	return view, err
}

// everyStatus is the query of a list that shows all unless one status is asked
// for; the API would show the enabled ones.
func everyStatus(l listing) string {
	if l.Query.Get("status") == "" {
		return l.ask() + "&status=all"
	}
	return l.ask()
}

// choice is the first hundred channels of the domain by their names.
func (v *visit) choice() (choice, error) {
	var all api.ChannelPage
	err := v.ask(http.MethodGet, v.inDomain("/channels?limit=100&order=name&dir=asc"), nil, &all)
	return choice{all.Channels, all.Total <= len(all.Channels)}, err
}

func listDevices(v *visit) error {
	view, err := v.devices()
	if err != nil {
		return err
	}
	v.showList("devices", "device-list", page{Title: "Devices", Tab: "devices", Data: view})
	return nil
}

// devicesAgain shows the list with what is wrong with a form of its page.
func (v *visit) devicesAgain(cause error) error {
	view, err := v.devices()
	if err != nil {
		return err
	}
	return v.again(cause, "devices", page{Title: "Devices", Tab: "devices", Data: view})
}

// createDevice makes a device, connects it to a channel when one is chosen, and
// shows the secret: the one answer that has it.
func createDevice(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	sent := v.r.PostForm
	var made deviceRecord
	in := map[string]any{"name": sent.Get("name"), "tags": tagsOf(sent.Get("tags"))}
	if err := v.ask(http.MethodPost, v.inDomain("/clients"), in, &made); err != nil {
		return v.devicesAgain(err)
	}
	// From here on the secret must reach its owner, whatever goes wrong.
	problem := v.connect(made.ID, sent.Get("channel"), []string{"publish", "subscribe"})
	view, err := v.deviceView(made)
	if problem == nil {
		problem = err
	}
	view.Secret = v.shown(made, view)
	v.show(http.StatusCreated, "device", page{Title: made.Title(), Tab: "devices", Data: view, Form: form{Problem: v.told(problem)}})
	return nil
}

// told is an error as a page may show it beside something else; what we did not
// expect is logged.
func (v *visit) told(err error) *Refusal {
	if err == nil {
		return nil
	}
	if refusal, ok := err.(*Refusal); ok {
		return refusal
	}
	v.s.Log.Error("page incomplete", "request", v.id, "method", v.r.Method, "path", v.r.URL.Path, "err", err)
	return &Refusal{Status: http.StatusInternalServerError, Word: "internal", Message: "Something went wrong here. The log has more under the request id.", RequestID: v.id}
}

// connect gives a device rights on a channel; no channel is nothing to do.
func (v *visit) connect(device, to string, types []string) error {
	if to == "" {
		return nil
	}
	if _, err := registry.ParseID(to); err != nil {
		return &Refusal{Status: http.StatusBadRequest, Word: "record_invalid", Field: "channel", Message: "channel must be the id of a channel"}
	}
	return v.ask(http.MethodPost, v.inDomain("/channels/"+url.PathEscape(to)+"/connect"), map[string]any{"client_ids": []string{device}, "types": types}, nil)
}

// tagsOf reads tags as people type them.
func tagsOf(text string) []string {
	tags := []string{}
	for _, tag := range strings.Split(text, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			tags = append(tags, tag)
		}
	}
	return tags
}
