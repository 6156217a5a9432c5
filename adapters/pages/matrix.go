package pages

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/postern-io/postern/adapters/api"
)

// A page of the matrix: so much a screen can show and one request can ask.
const (
	matrixRows    = 25
	matrixColumns = 12
)

// A pair is a device and a channel.
type pair struct{ Device, Channel string }

// matrix asks for what each of the devices may do on each of the channels. Who
// is not connected may do nothing.
func (v *visit) matrix(devices []deviceRecord, channels []channel) (map[pair]string, error) {
	may := map[pair]string{}
	if len(devices) == 0 || len(channels) == 0 {
		return may, nil
	}
	q := url.Values{}
	for _, d := range devices {
		q.Add("client", d.ID)
	}
	for _, c := range channels {
		q.Add("channel", c.ID)
	}
	var all api.ConnectionPage
	if err := v.ask(http.MethodGet, v.inDomain("/connections?"+q.Encode()), nil, &all); err != nil {
		return may, err
	}
	for _, c := range all.Connections {
		may[pair{c.ClientID, c.ChannelID}] = mayOf(c.Types)
	}
	return may, nil
}

type matrixView struct {
	Rows, Columns listing // their pages; the filters are the same
	Devices       []deviceRecord
	Channels      []channel
	Mays          []string
	may           map[pair]string
	changed       map[pair]string // and not saved
}

// May is what a device may do on a channel.
func (v matrixView) May(d deviceRecord, c channel) string {
	if may := v.may[pair{d.ID, c.ID}]; may != "" {
		return may
	}
	return mays[0]
}

// Now is what the form shows: what May says, or what somebody chose and could not
// save.
func (v matrixView) Now(d deviceRecord, c channel) string {
	if may := v.changed[pair{d.ID, c.ID}]; slices.Contains(mays, may) {
		return may
	}
	return v.May(d, c)
}

// Here is the address of this page.
func (v matrixView) Here() string { return v.Rows.at(v.Rows.Offset) }

// Filtered reports whether a part of the matrix is looked for.
func (v matrixView) Filtered() bool {
	return v.Rows.Value("device")+v.Rows.Value("device_tag")+v.Rows.Value("channel")+v.Rows.Value("channel_tag") != ""
}

// Title is what a channel is called.
func (matrixView) Title(c channel) string { return channelTitle(c) }

func (v *visit) matrixView() (matrixView, error) {
	filters := []string{"device", "device_tag", "channel", "channel_tag"}
	view := matrixView{Mays: mays, Rows: v.listing(append(filters, "column")...), Columns: v.listing(append(filters, "offset")...)}
	view.Rows.Limit, view.Columns.Limit = matrixRows, matrixColumns
	view.Columns.Key, view.Columns.Offset = "column", 0
	if n, err := strconv.Atoi(v.r.URL.Query().Get("column")); err == nil && n > 0 {
		view.Columns.Offset = n
	}
	path := domainPath(v.domain) + "/connections"
	view.Rows.Path, view.Columns.Path = path, path

	var devices devicePage
	if err := v.ask(http.MethodGet, v.inDomain("/clients"+view.Rows.only("device", "device_tag")), nil, &devices); err != nil {
		return view, err
	}
	var channels api.ChannelPage
	if err := v.ask(http.MethodGet, v.inDomain("/channels"+view.Columns.only("channel", "channel_tag")), nil, &channels); err != nil {
		return view, err
	}
	view.Devices, view.Rows.Total = devices.Clients, devices.Total
	view.Channels, view.Columns.Total = channels.Channels, channels.Total
	var err error
	view.may, err = v.matrix(view.Devices, view.Channels)
	return view, err
}

// only is the query for one side of the matrix, by name and by tag.
func (l listing) only(name, tag string) string {
	q := url.Values{"limit": {strconv.Itoa(l.Limit)}, "offset": {strconv.Itoa(l.Offset)}, "status": {"all"}, "order": {"name"}, "dir": {"asc"}}
	for key, value := range map[string]string{"name": l.Value(name), "tag": l.Value(tag)} {
		if value != "" {
			q.Set(key, value)
		}
	}
	return "?" + q.Encode()
}

func showMatrix(v *visit) error {
	view, err := v.matrixView()
	if err != nil {
		return err
	}
	v.showList("connections", "matrix", page{Title: "Connections", Tab: "connections", Data: view})
	return nil
}

// cell is what a device may do on a channel, by a word of mays.
func cell(device, channel, may string) (api.Connection, error) {
	types, known := typesOf(may)
	if !known {
		return api.Connection{}, misshapen()
	}
	return api.Connection{ClientID: device, ChannelID: channel, Types: types}, nil
}

// setConnections makes the connections be just these, all or none.
func (v *visit) setConnections(all ...api.Connection) error {
	err := v.ask(http.MethodPatch, v.inDomain("/connections"), api.Connections{Connections: all}, nil)
	if refusal, ok := err.(*Refusal); ok && refusal.Status == http.StatusNotFound {
		refusal.Message = "A device or channel of these is there no more. Nothing was saved."
	}
	return err
}

// changeMatrix takes a page of the matrix as it was sent, and changes the cells
// that were changed, all or none: each comes with what it was. A script sends one
// at a time and is answered without a page.
func changeMatrix(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	sent := v.r.PostForm
	if len(sent["device"]) > matrixRows || len(sent["channel"]) > matrixColumns {
		return &Refusal{Status: http.StatusBadRequest, Word: "malformed_request", Message: "The form is larger than a page of the matrix."}
	}
	changed := map[pair]string{}
	var all []api.Connection
	var problem error
	for r, device := range sent["device"] {
		for c, channel := range sent["channel"] {
			at := strconv.Itoa(r) + "." + strconv.Itoa(c)
			may, was := sent.Get("may."+at), sent.Get("was."+at)
			if may == was || may == "" {
				continue
			}
			changed[pair{device, channel}] = may
			one, err := cell(device, channel, may)
			if err != nil {
				problem = err
			}
			all = append(all, one)
		}
	}
	if problem == nil && len(all) > 0 {
		problem = v.setConnections(all...)
	}
	if v.r.Header.Get("Accept") == "application/json" {
		var refusal *Refusal
		if errors.As(problem, &refusal) {
			http.Error(v.w, refusal.Message, refusal.Status)
			return nil
		}
		if problem == nil {
			v.w.WriteHeader(http.StatusNoContent)
		}
		return problem
	}
	if problem != nil {
		view, err := v.matrixView()
		if err != nil {
			return err
		}
		view.changed = changed
		return v.retry(problem, "connections", page{Title: "Connections", Tab: "connections", Data: view}, http.StatusNotFound)
	}
	q := v.r.URL.Query()
	q.Set("done", "saved")
	v.redirect(v.r.URL.Path + "?" + q.Encode())
	return nil
}
