package pages

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/postern-io/postern/adapters/api"
)

// A deviceView is all of a device's page.
type deviceView struct {
	listing  // of the connections
	Device   deviceRecord
	Metadata string // as JSON, a line a value
	liveDeviceView
	Connections []connectionRow
	Channels    choice
	Secrets     []api.Secret
	Certs       []api.Certificate // the newest
	CertTotal   int
	Reasons     []reason

	Secret *shownSecret      // after it was made
	Issued *shownCertificate // the same
}

// A connectionRow is a connection with its channel.
type connectionRow struct {
	api.Connection
	Channel channel
}

// Has reports whether the connection gives a right.
func (c connectionRow) Has(right string) bool {
	for _, t := range c.Types {
		if t == right {
			return true
		}
	}
	return false
}

// Tags are the tags as a person edits them.
func (v deviceView) Tags() string { return strings.Join(v.Device.Tags, ", ") }

// onDevice makes a handler of one that is about the device of the path.
func onDevice(do func(*visit, deviceRecord) error) func(*visit) error {
	return func(v *visit) error {
		var d deviceRecord
		if err := v.device(http.MethodGet, v.r.PathValue("device"), "", nil, &d); err != nil {
			return err
		}
		if v.r.Method != http.MethodGet {
			if err := v.posted(); err != nil {
				return err
			}
		}
		return do(v, d)
	}
}

// deviceView asks for all that is known of a device. Of a view with an error,
// what was learnt before is there.
func (v *visit) deviceView(d deviceRecord) (deviceView, error) {
	view := deviceView{listing: v.listing(), Device: d, Reasons: reasons}
	view.Path = v.devicesPath() + "/" + d.ID
	view.Metadata = metadataText(d.Metadata, "  ")
	if err := v.live(d, &view.liveDeviceView); err != nil {
		return view, err
	}
	if err := v.connections(&view); err != nil {
		return view, err
	}
	var err error
	if view.Channels, err = v.choice(); err != nil {
		return view, err
	}
	var secrets api.SecretPage
	if err := v.device(http.MethodGet, d.ID, "/secrets", nil, &secrets); err != nil {
		return view, err
	}
	view.Secrets = secrets.Secrets
	var certs api.CertificatePage
	if err := v.ask(http.MethodGet, v.inDomain("/certs?client="+d.ID+"&limit=50"), nil, &certs); err != nil {
		return view, err
	}
	view.Certs, view.CertTotal = certs.Certs, certs.Total
	return view, nil
}

// connections asks for a page of them, with their channels.
func (v *visit) connections(view *deviceView) error {
	var all api.ConnectionPage
	if err := v.device(http.MethodGet, view.Device.ID, "/connections"+view.ask(), nil, &all); err != nil {
		return err
	}
	view.Total = all.Total
	for _, c := range all.Connections {
		row := connectionRow{Connection: c}
		err := v.ask(http.MethodGet, v.inDomain("/channels/"+url.PathEscape(c.ChannelID)), nil, &row.Channel)
		var refusal *Refusal
		if errors.As(err, &refusal) && refusal.Status == http.StatusNotFound {
			continue // deleted since, and the connection with it
		}
		if err != nil {
			return err
		}
		view.Connections = append(view.Connections, row)
	}
	return nil
}

// deviceWith shows the device's page with something added.
func (v *visit) deviceWith(d deviceRecord, add func(*deviceView)) error {
	view, err := v.deviceView(d)
	if add == nil && err != nil {
		return err
	}
	p := page{Title: d.Title(), Tab: "devices", Data: view, Form: form{Problem: v.told(err)}}
	if add != nil {
		add(&view)
		p.Data = view
	}
	v.show(http.StatusOK, "device", p)
	return nil
}

// deviceAfter goes back to the device's page when an action worked, and shows it
// with what is wrong when it did not.
func (v *visit) deviceAfter(d deviceRecord, err error, done string) error {
	if err == nil {
		v.redirect(v.devicesPath() + "/" + d.ID + "?done=" + done)
		return nil
	}
	view, e := v.deviceView(d)
	if e != nil {
		return e
	}
	return v.again(err, "device", page{Title: d.Title(), Tab: "devices", Data: view})
}

func showDevice(v *visit, d deviceRecord) error { return v.deviceWith(d, nil) }

func editDevice(v *visit, d deviceRecord) error {
	sent := v.r.PostForm
	metadata, problem := sentMetadata(sent)
	if problem != nil {
		return v.deviceAfter(d, problem, "")
	}
	err := v.device(http.MethodPatch, d.ID, "", map[string]any{
		"name": sent.Get("name"), "metadata": metadata, "credentials": map[string]string{"identity": sent.Get("identity")},
	}, nil)
	if err == nil {
		err = v.device(http.MethodPatch, d.ID, "/tags", map[string]any{"tags": tagsOf(sent.Get("tags"))}, nil)
	}
	return v.deviceAfter(d, err, "saved")
}

func stateDevice(v *visit, d deviceRecord) error {
	to := "enable"
	if v.r.PostForm.Get("disable") != "" {
		to = "disable"
	}
	return v.deviceAfter(d, v.device(http.MethodPost, d.ID, "/"+to, nil, nil), to+"d")
}

func deleteDevice(v *visit, d deviceRecord) error {
	if !same(v.r.PostForm.Get("confirm"), d.Title()) {
		return v.deviceAfter(d, mend("confirm", "To delete it, type its name: "+d.Title()), "")
	}
	if err := v.device(http.MethodDelete, d.ID, "", nil, nil); err != nil {
		return v.deviceAfter(d, err, "")
	}
	v.redirect(v.devicesPath() + "?done=deleted")
	return nil
}

func connectDevice(v *visit, d deviceRecord) error {
	if problem := needChannel(v); problem != nil {
		return v.deviceAfter(d, problem, "")
	}
	return v.deviceAfter(d, v.connect(d.ID, v.r.PostForm.Get("channel"), rightsSent(v.r.PostForm)), "connected")
}

// disconnectDevice takes rights on a channel away: those of the button pressed,
// or both.
func disconnectDevice(v *visit, d deviceRecord) error {
	types := rightsSent(v.r.PostForm)
	if len(types) == 0 {
		types = []string{"publish", "subscribe"}
	}
	err := v.ask(http.MethodPost, v.inDomain("/channels/disconnect"), map[string]any{
		"client_ids": []string{d.ID}, "channel_ids": []string{v.r.PostForm.Get("channel")}, "types": types,
	}, nil)
	return v.deviceAfter(d, err, "disconnected")
}

func endSession(v *visit, d deviceRecord) error {
	err := v.device(http.MethodDelete, d.ID, "/sessions/"+url.PathEscape(v.r.PostForm.Get("session")), nil, nil)
	var refusal *Refusal
	if errors.As(err, &refusal) && refusal.Status == http.StatusNotFound {
		err = nil // it has left by itself
	}
	return v.deviceAfter(d, err, "disconnected")
}

func endSecret(v *visit, d deviceRecord) error {
	return v.deviceAfter(d, v.device(http.MethodDelete, d.ID, "/secrets/"+url.PathEscape(v.r.PathValue("secret")), nil, nil), "secret-ended")
}

// A shownSecret is the one sight of a new secret, and what to do with it.
type shownSecret struct {
	Secret   string
	Commands []command
	Channel  string // by name; "": the device has no channel to publish to
	Old      string // what became of the secret before
}

// A command is a line to paste.
type command struct{ ID, Title, Line string }

func rotateSecret(v *visit, d deviceRecord) error {
	var made deviceRecord
	overlap := strings.TrimSpace(v.r.PostForm.Get("overlap"))
	in := map[string]string{}
	if overlap != "" {
		in["overlap"] = overlap
	}
	if err := v.device(http.MethodPatch, d.ID, "/secret", in, &made); err != nil {
		return v.deviceAfter(d, err, "")
	}
	return v.deviceWith(made, func(view *deviceView) {
		view.Secret = v.shown(made, *view)
		view.Secret.Old = "The old secret has ended, and the sessions that were opened with it."
		if d, err := time.ParseDuration(overlap); err == nil && d > 0 {
			view.Secret.Old = "The old secret stays valid for " + overlap + "."
		}
	})
}

// shown is the secret with commands for this very server. Secrets made here are
// letters, digits, - and _, routes too, so nothing in a line needs quoting.
func (v *visit) shown(d deviceRecord, view deviceView) *shownSecret {
	secret := d.Credentials.Secret
	s := &shownSecret{Secret: secret}
	topic := "m/" + v.domain.Route + "/c/CHANNEL"
	for _, c := range view.Connections {
		if c.Has("publish") {
			topic = v.topic(c.Channel)
			s.Channel = cmp.Or(c.Channel.Name, c.Channel.Route, c.Channel.ID)
			break
		}
	}
	web, socket := v.origin()
	if line := v.mqtt(); line != "" {
		s.Commands = append(s.Commands, command{"mqtt", "MQTT", "mosquitto_pub " + line + " -u " + d.ID + " -P " + secret + " -t " + topic + " -q 1 -m 21.5"})
	}
	s.Commands = append(s.Commands,
		command{"http", "HTTP", "curl -i -X POST -H 'Authorization: Client " + secret + "' " + web + "/http/" + topic + " -d 21.5"},
		command{"ws", "WebSocket", `node -e 'const ws = new (require("ws"))("` + socket + "/ws/" + topic + "?authorization=" + secret + `"); ws.on("open", () => ws.send("21.5")); ws.on("message", m => console.log(String(m))); ws.on("error", e => console.error(e.message))'`},
	)
	return s
}

// origin is where the browser found us: a proxy may stand before, whose address
// is the one that works.
func (v *visit) origin() (web, socket string) {
	scheme := "http"
	if v.r.TLS != nil {
		scheme = "https"
	}
	if u, err := url.Parse(v.r.Header.Get("Origin")); err == nil && u.Host == v.r.Host && u.Scheme == "https" {
		scheme = "https"
	}
	host := v.r.Host
	if strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") != "" {
		host = "localhost" // it will be pasted into a shell
	}
	return scheme + "://" + host, strings.Replace(scheme, "http", "ws", 1) + "://" + host
}

// mqtt is how mosquitto reaches us: in the clear where that is open, else over
// TLS; "" where neither is.
func (v *visit) mqtt() string {
	web, _ := v.origin()
	host := web[strings.Index(web, "//")+2:]
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if _, port, err := net.SplitHostPort(v.s.MQTT); err == nil {
		return "-h " + host + " -p " + port
	}
	if _, port, err := net.SplitHostPort(v.s.MQTTS); err == nil {
		return "-h " + host + " -p " + port + " --tls-use-os-certs"
	}
	return ""
}
