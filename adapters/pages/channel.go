package pages

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/postern-io/postern/adapters/api"
	"github.com/postern-io/postern/registry"
)

// A channelRecord is a channel with its metadata as they are written.
type channelRecord struct {
	channel
	Metadata json.RawMessage `json:"metadata"`
}

// Title is what a channel is called: channels may have no name.
func (c channelRecord) Title() string { return channelTitle(c.channel) }

func channelTitle(c channel) string {
	for _, name := range []string{c.Name, c.Route} {
		if strings.TrimSpace(name) != "" {
			return name
		}
	}
	return c.ID
}

// A channelView is all of a channel's page.
type channelView struct {
	listing  // of the devices
	Channel  channelRecord
	Metadata string // as JSON, a line a value
	Topic    string
	Devices  []linkedDevice
	Commands []command
}

// A linkedDevice is a device that is connected, and what it may do there.
type linkedDevice struct {
	deviceRecord
	May string // one of mays
}

// mays are what a device may do on a channel, in words of ours.
var mays = []string{"nothing", "publish", "subscribe", "both"}

// mayOf says what the types of a connection come to.
func mayOf(types []string) string {
	may := 0
	for _, t := range types {
		switch t {
		case "publish":
			may |= 1
		case "subscribe":
			may |= 2
		}
	}
	return mays[may]
}

// typesOf are the rights that a word of mays stands for.
func typesOf(may string) (types []string, known bool) {
	switch may {
	case "nothing":
		return []string{}, true
	case "publish", "subscribe":
		return []string{may}, true
	case "both":
		return []string{"publish", "subscribe"}, true
	}
	return nil, false
}

// Tags are the tags as a person edits them.
func (v channelView) Tags() string { return strings.Join(v.Channel.Tags, ", ") }

func (v *visit) channelsPath() string { return domainPath(v.domain) + "/channels" }

// channel asks the API about one channel.
func (v *visit) channel(method, id, rest string, in, out any) error {
	if _, err := registry.ParseID(id); err != nil { // a path could mean something else
		return &Refusal{Status: http.StatusNotFound, Word: "record_not_found", Message: "There is no such channel."}
	}
	return v.ask(method, v.inDomain("/channels/"+id+rest), in, out)
}

// onChannel makes a handler of one that is about the channel of the path.
func onChannel(do func(*visit, channelRecord) error) func(*visit) error {
	return func(v *visit) error {
		var c channelRecord
		if err := v.channel(http.MethodGet, v.r.PathValue("channel"), "", nil, &c); err != nil {
			return err
		}
		if v.r.Method != http.MethodGet {
			if err := v.posted(); err != nil {
				return err
			}
		}
		return do(v, c)
	}
}

// topic is what devices call a channel.
func (v *visit) topic(c channel) string { return "m/" + v.domain.Route + "/c/" + cmp.Or(c.Route, c.ID) }

func (v *visit) channelView(c channelRecord) (channelView, error) {
	view := channelView{listing: v.listing("name"), Channel: c, Topic: v.topic(c.channel)}
	view.Path = v.channelsPath() + "/" + c.ID
	view.Metadata = metadataText(c.Metadata, "  ")
	view.Commands = v.channelCommands(c)
	var all devicePage
	if err := v.ask(http.MethodGet, v.inDomain("/clients"+view.ask()+"&status=all&channel="+c.ID), nil, &all); err != nil {
		return view, err
	}
	view.Total = all.Total
	may, err := v.matrix(all.Clients, []channel{c.channel})
	for _, d := range all.Clients {
		view.Devices = append(view.Devices, linkedDevice{d, may[pair{d.ID, c.ID}]})
	}
	return view, err
}

// channelCommands are lines to paste, for this very server.
func (v *visit) channelCommands(c channelRecord) []command {
	topic := v.topic(c.channel)
	web, _ := v.origin()
	var lines []command
	if line := v.mqtt(); line != "" {
		lines = append(lines, command{"mqtt", "Listen as a device, by MQTT", "mosquitto_sub " + line + " -u DEVICE_ID -P SECRET -t '" + topic + "/#' -v"})
	}
	return append(lines,
		command{"http", "Publish as a device, by HTTP", "curl -i -X POST -H 'Authorization: Client SECRET' " + web + "/http/" + topic + " -d 21.5"},
		command{"nats", "Listen as a service, on NATS", `nats sub -s "$(postern nats-credentials)" 'm.` + v.domain.ID + ".c." + c.ID + ".>'"},
		v.listenCommand(c, ""),
	)
}

// listenCommand is how a person listens without a browser.
func (v *visit) listenCommand(c channelRecord, query string) command {
	web, _ := v.origin()
	return command{"curl", "Listen as yourself, with an API key", "curl -N -H \"Authorization: Bearer $KEY\" '" + web + "/api/" + v.domain.ID + "/channels/" + c.ID + "/messages" + query + "'"}
}

// channelAfter goes back to the channel's page when an action worked, and shows
// it with what is wrong when it did not.
func (v *visit) channelAfter(c channelRecord, err error, done string) error {
	if err == nil {
		v.redirect(v.channelsPath() + "/" + c.ID + "?done=" + done)
		return nil
	}
	view, e := v.channelView(c)
	if e != nil {
		return e
	}
	return v.again(err, "channel", page{Title: "Channel " + c.Title(), Tab: "channels", Data: view})
}

func showChannel(v *visit, c channelRecord) error {
	view, err := v.channelView(c)
	if err != nil {
		return err
	}
	v.showList("channel", "linked-list", page{Title: "Channel " + c.Title(), Tab: "channels", Data: view})
	return nil
}

func editChannel(v *visit, c channelRecord) error {
	sent := v.r.PostForm
	metadata, problem := sentMetadata(sent)
	if problem != nil {
		return v.channelAfter(c, problem, "")
	}
	err := v.channel(http.MethodPatch, c.ID, "", map[string]any{
		"name": sent.Get("name"), "route": sent.Get("route"), "store": sent.Get("kind") != "live", "metadata": metadata,
	}, nil)
	if err == nil {
		err = v.channel(http.MethodPatch, c.ID, "/tags", map[string]any{"tags": tagsOf(sent.Get("tags"))}, nil)
	}
	return v.channelAfter(c, err, "saved")
}

// sentMetadata reads the field of that name, in which nothing means none.
func sentMetadata(sent url.Values) (json.RawMessage, *Refusal) {
	text := strings.TrimSpace(sent.Get("metadata"))
	if text == "" {
		text = "{}"
	}
	if !isObject(text) {
		return nil, mend("metadata", "metadata must be a JSON object, such as {\"site\": \"north\"}")
	}
	return json.RawMessage(text), nil
}

func stateChannel(v *visit, c channelRecord) error {
	to := "enable"
	if v.r.PostForm.Get("disable") != "" {
		to = "disable"
	}
	return v.channelAfter(c, v.channel(http.MethodPost, c.ID, "/"+to, nil, nil), to+"d")
}

func deleteChannel(v *visit, c channelRecord) error {
	if !same(v.r.PostForm.Get("confirm"), c.Title()) {
		return v.channelAfter(c, mend("confirm", "To delete it, type its name: "+c.Title()), "")
	}
	if err := v.channel(http.MethodDelete, c.ID, "", nil, nil); err != nil {
		return v.channelAfter(c, err, "")
	}
	v.redirect(v.channelsPath() + "?done=deleted")
	return nil
}

// connectChannel connects the device that is named by its id or its name.
func connectChannel(v *visit, c channelRecord) error {
	types := rightsSent(v.r.PostForm)
	if len(types) == 0 {
		return v.channelAfter(c, mend("device", "Choose publish, subscribe or both."), "")
	}
	id, err := v.deviceNamed(strings.TrimSpace(v.r.PostForm.Get("device")))
	if err == nil {
		err = v.connect(id, c.ID, types)
	}
	return v.channelAfter(c, err, "connected")
}

// deviceNamed finds a device by its id or by a name that only it has.
func (v *visit) deviceNamed(text string) (id string, err error) {
	if text == "" {
		return "", mend("device", "Name a device.")
	}
	if id, err := registry.ParseID(text); err == nil {
		return id, nil
	}
	var found devicePage
	if err := v.ask(http.MethodGet, v.inDomain("/clients?limit=100&status=all&name="+url.QueryEscape(text)), nil, &found); err != nil {
		return "", err
	}
	var exact []string
	for _, d := range found.Clients {
		if strings.EqualFold(strings.TrimSpace(d.Name), text) {
			exact = append(exact, d.ID)
		}
	}
	switch {
	case len(exact) == 1:
		return exact[0], nil
	case len(exact) == 0 && found.Total == 1:
		return found.Clients[0].ID, nil
	case found.Total == 0:
		return "", mend("device", "No device is called that.")
	}
	return "", mend("device", "Several devices are called like that. Give the id of the one, or choose it under Connections.")
}

// linkChannel changes what a connected device may do.
func linkChannel(v *visit, c channelRecord) error {
	one, err := cell(v.r.PostForm.Get("device"), c.ID, v.r.PostForm.Get("may"))
	if err == nil {
		err = v.setConnections(one)
	}
	return v.channelAfter(c, err, "saved")
}

// A liveView is the page of what is said on a channel now.
type liveView struct {
	Channel   channelRecord
	Path      string // of the channel
	Topic     string
	Stream    string // where the messages come from
	Publisher string // id of the only device to hear
	Subtopic  string // filter
	Devices   []deviceRecord
	More      bool // devices than these are connected
	Command   command
	Published *api.Published // what was just said
}

// Foreign reports whether the device that is listened to is not among those
// shown.
func (v liveView) Foreign() bool {
	for _, d := range v.Devices {
		if d.ID == v.Publisher {
			return false
		}
	}
	return v.Publisher != ""
}

func (v *visit) liveView(c channelRecord) (liveView, error) {
	query := url.Values{}
	for _, name := range []string{"publisher", "subtopic"} {
		if value := v.r.URL.Query().Get(name); value != "" {
			query.Set(name, value)
		}
	}
	filter := ""
	if len(query) > 0 {
		filter = "?" + query.Encode()
	}
	view := liveView{
		Channel: c, Topic: v.topic(c.channel), Path: v.channelsPath() + "/" + c.ID,
		Stream:    "/api" + v.inDomain("/channels/"+c.ID+"/messages") + filter,
		Publisher: query.Get("publisher"), Subtopic: query.Get("subtopic"), Command: v.listenCommand(c, filter),
	}
	var all devicePage
	if err := v.ask(http.MethodGet, v.inDomain("/clients?limit=100&status=all&order=name&dir=asc&channel="+c.ID), nil, &all); err != nil {
		return view, err
	}
	view.Devices, view.More = all.Clients, all.Total > len(all.Clients)
	return view, nil
}

func (v *visit) livePage(c channelRecord, view liveView) page {
	return page{Title: c.Title() + ", live", Tab: "channels", Data: view}
}

func showLive(v *visit, c channelRecord) error {
	view, err := v.liveView(c)
	if err != nil {
		return err
	}
	v.show(http.StatusOK, "live", v.livePage(c, view))
	return nil
}

// publishMessage says something on the channel as the person. A script is sent
// the form alone, with what became of it, so that the page goes on listening.
func publishMessage(v *visit, c channelRecord) error {
	sent := v.r.PostForm
	var said api.Published
	err := v.channel(http.MethodPost, c.ID, "/messages", map[string]any{
		"subtopic": sent.Get("subtopic"), "content_type": sent.Get("content_type"),
		"payload": strings.ReplaceAll(sent.Get("payload"), "\r\n", "\n"), // as forms write a line's end
	}, &said)
	view := liveView{Channel: c, Path: v.channelsPath() + "/" + c.ID, Topic: v.topic(c.channel)}
	if !v.partial() {
		var e error
		if view, e = v.liveView(c); e != nil {
			return e
		}
	}
	p := v.livePage(c, view)
	p.Form = form{Values: sent}
	if err == nil {
		view.Published = &said
		p.Data = view
	} else if refusal, ok := err.(*Refusal); !ok || !v.partial() {
		return v.again(err, "live", p)
	} else {
		p.Form.Problem = refusal
	}
	if v.partial() {
		v.send(http.StatusOK, "live", "publish-form", p) // a script puts only what worked into the page
		return nil
	}
	v.show(http.StatusOK, "live", p)
	return nil
}

// Types are the content types that a person may give a message.
func (liveView) Types() []string {
	return []string{"text/plain", "application/json", "application/senml+json"}
}
