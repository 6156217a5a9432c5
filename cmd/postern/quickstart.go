package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/messaging"
)

// quickstart is what the command needs and what it made, for the text it prints.
type quickstart struct {
	Host, MQTT, MQTTS, HTTP, HTTPS string // ports
	NATS                           string // URL with credentials; "" when unknown
	Dir                            string // of the certificates
	Domain, Channel                string // ids
	Sensor, Viewer                 quickDevice
	OwnerPassword                  string // set when the owner was made here
}

type quickDevice struct {
	ID, Secret string
	name       string
}

func quickstartCommand(s *session) *cobra.Command {
	q := quickstart{}
	var dataDir, natsAddr string
	cmd := &cobra.Command{
		Use:   "quickstart",
		Short: "Make a domain, a channel and two devices and print commands to paste",
		Long: "Make a domain, a channel, two devices and their certificates on a running server, and print mosquitto_pub,\n" +
			"mosquitto_sub, curl, WebSocket and nats commands that work as printed. On a new server on this machine it\n" +
			"also makes the first owner and prints the password, once.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.callNew(cmd.Context(), dataDir, func(ctx context.Context, c *client) error {
				if err := os.MkdirAll(q.Dir, 0o700); err != nil {
					return err
				}
				if err := q.enter(ctx, c, dataDir); err != nil {
					return err
				}
				if err := q.make(ctx, c); err != nil {
					return errors.Join(err, q.printOwner(cmd.OutOrStdout()))
				}
				user, password, err := messaging.ServiceCredentials(dataDir, false)
				if err == nil {
					q.NATS = fmt.Sprintf("nats://%s:%s@%s", user, password, natsAddr)
				}
				return q.print(cmd.OutOrStdout())
			})
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "./data", "data `directory` of the server, when it is on this machine")
	cmd.Flags().StringVar(&q.Dir, "dir", "quickstart", "`directory` for the certificates")
	cmd.Flags().StringVar(&q.Host, "host", "localhost", "`name` that devices reach the server by")
	cmd.Flags().StringVar(&q.MQTT, "mqtt-port", "1883", "`port` of MQTT")
	cmd.Flags().StringVar(&q.MQTTS, "mqtts-port", "8883", "`port` of MQTT over TLS")
	cmd.Flags().StringVar(&q.HTTP, "http-port", "8080", "`port` of HTTP")
	cmd.Flags().StringVar(&q.HTTPS, "https-port", "8443", "`port` of HTTPS")
	cmd.Flags().StringVar(&natsAddr, "nats-addr", "127.0.0.1:4222", "`address` of the embedded NATS")
	return cmd
}

// enter makes sure that somebody is signed in; on a new server here it makes the
// first owner.
func (q *quickstart) enter(ctx context.Context, c *client, dataDir string) error {
	err := c.do(ctx, http.MethodGet, "/users/profile", nil, nil)
	var answer *answerError
	if !errors.As(err, &answer) || answer.status != http.StatusUnauthorized {
		return err
	}
	if _, statErr := os.Stat(filepath.Join(dataDir, setUpToken)); errors.Is(statErr, fs.ErrNotExist) {
		return err
	}
	var b [18]byte
	rand.Read(b[:])
	q.OwnerPassword = base64.RawURLEncoding.EncodeToString(b[:])
	return c.setUp(ctx, dataDir, "owner", "", q.OwnerPassword)
}

// make creates everything on the server and the certificates beside.
func (q *quickstart) make(ctx context.Context, c *client) error {
	var domain, channel object
	if err := c.do(ctx, http.MethodPost, "/domains", object{"name": "Quick start"}, &domain); err != nil {
		return fmt.Errorf("make a domain: %w", err)
	}
	q.Domain = domain.at("id")
	base := "/" + url.PathEscape(q.Domain)
	if err := c.do(ctx, http.MethodPost, base+"/channels", object{"name": "Demo", "route": "demo"}, &channel); err != nil {
		return fmt.Errorf("make a channel: %w", err)
	}
	q.Channel = channel.at("id")
	for _, d := range []*quickDevice{&q.Sensor, &q.Viewer} {
		d.name = map[*quickDevice]string{&q.Sensor: "sensor", &q.Viewer: "viewer"}[d]
		var made object
		if err := c.do(ctx, http.MethodPost, base+"/clients", object{"name": d.name}, &made); err != nil {
			return fmt.Errorf("make the device %s: %w", d.name, err)
		}
		d.ID, d.Secret = made.at("id"), made.at("credentials.secret")
		if err := q.certificate(ctx, c, base, d); err != nil {
			return fmt.Errorf("make the certificate of %s: %w", d.name, err)
		}
	}
	in := object{"client_ids": []string{q.Sensor.ID, q.Viewer.ID}, "channel_ids": []string{q.Channel}, "types": []string{"publish", "subscribe"}}
	if err := c.do(ctx, http.MethodPost, base+"/channels/connect", in, nil); err != nil {
		return fmt.Errorf("connect the devices: %w", err)
	}
	return nil
}

// certificate has one issued for a key that never leaves this machine.
func (q *quickstart) certificate(ctx context.Context, c *client, base string, d *quickDevice) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return err
	}
	request := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})
	var issued struct {
		Certificate string `json:"certificate"`
		CA          string `json:"ca"`
	}
	if err := c.do(ctx, http.MethodPost, base+"/clients/"+d.ID+"/certs", object{"csr": string(request)}, &issued); err != nil {
		return err
	}
	ca := []byte(issued.CA)
	if c.CAFile != "" { // the server's own certificate may come from elsewhere
		if ca, err = os.ReadFile(c.CAFile); err != nil {
			return err
		}
	}
	path := filepath.Join(q.Dir, d.name)
	if err := os.Remove(path + ".key"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(
		certs.WriteKey(path+".key", key),
		os.WriteFile(path+".crt", []byte(issued.Certificate), 0o644),
		os.WriteFile(filepath.Join(q.Dir, "ca.crt"), ca, 0o644),
	)
}

func (q *quickstart) print(w io.Writer) error {
	return errors.Join(q.printOwner(w), quickstartText.Execute(w, q))
}

// printOwner shows the owner's password, which nobody can ask for a second time:
// it is shown even when what comes after has failed.
func (q *quickstart) printOwner(w io.Writer) error {
	if q.OwnerPassword == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "# The first owner is \"owner\"; this password is shown now and never again:\n#   %s\n\n", q.OwnerPassword)
	return err
}

// HTTPAddr and the others spare the template some punctuation.
func (q *quickstart) HTTPAddr() string  { return net.JoinHostPort(q.Host, q.HTTP) }
func (q *quickstart) HTTPSAddr() string { return net.JoinHostPort(q.Host, q.HTTPS) }
func (q *quickstart) Topic() string     { return "m/" + q.Domain + "/c/" + q.Channel }
func (q *quickstart) Subject() string   { return strings.ReplaceAll(q.Topic(), "/", ".") }

// File returns a file of the directory as a word of a shell.
func (q *quickstart) File(name string) string { return shellWord(q.Dir + "/" + name) }

// Script returns it as a string of a script that stands between single quotes.
func (q *quickstart) Script(name string) string {
	return strings.ReplaceAll(strconv.Quote(q.Dir+"/"+name), "'", `'\''`)
}

// shellWord quotes s where a shell would read more than letters in it.
func shellWord(s string) string {
	if !strings.ContainsAny(s, " \t\n\"'`$&|;<>()*?[]{}#~=%!\\") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

var quickstartText = template.Must(template.New("quickstart").Parse(`# Domain {{.Domain}}, channel {{.Channel}} (topic {{.Topic}}).
# The devices "sensor" and "viewer" may publish to it and subscribe from it.
# Their secrets stand in the commands below and nowhere else; their keys are in {{.Dir}}.
# In a browser, what they say as they say it:
#   https://{{.HTTPSAddr}}/domains/{{.Domain}}/channels/{{.Channel}}/live

# Listen with a secret, in one window:
mosquitto_sub -h {{.Host}} -p {{.MQTT}} -u {{.Viewer.ID}} -P {{.Viewer.Secret}} -t '{{.Topic}}/#' -q 1 -v

# Publish with a secret, in another:
mosquitto_pub -h {{.Host}} -p {{.MQTT}} -u {{.Sensor.ID}} -P {{.Sensor.Secret}} -t {{.Topic}}/temperature -q 1 -m 21.5
curl -sS -i -X POST -H 'Authorization: Client {{.Sensor.Secret}}' -H 'Content-Type: application/senml+json' http://{{.HTTPAddr}}/http/{{.Topic}} -d '[{"n":"voltage","u":"V","v":120.1}]'

# The same over TLS:
mosquitto_pub -h {{.Host}} -p {{.MQTTS}} --cafile {{.File "ca.crt"}} -u {{.Sensor.ID}} -P {{.Sensor.Secret}} -t {{.Topic}} -q 1 -m 'over TLS'
curl -sS -i --cacert {{.File "ca.crt"}} -X POST -H 'Authorization: Client {{.Sensor.Secret}}' https://{{.HTTPSAddr}}/http/{{.Topic}} -d 'over TLS'

# With a certificate and no secret at all:
mosquitto_sub -h {{.Host}} -p {{.MQTTS}} --cafile {{.File "ca.crt"}} --cert {{.File "viewer.crt"}} --key {{.File "viewer.key"}} -t '{{.Topic}}/#' -q 1 -v
mosquitto_pub -h {{.Host}} -p {{.MQTTS}} --cafile {{.File "ca.crt"}} --cert {{.File "sensor.crt"}} --key {{.File "sensor.key"}} -t {{.Topic}} -q 1 -m 'by certificate'
curl -sS -i --cacert {{.File "ca.crt"}} --cert {{.File "sensor.crt"}} --key {{.File "sensor.key"}} -X POST https://{{.HTTPSAddr}}/http/{{.Topic}} -d 'by certificate'

# A WebSocket, with Node and its ws package (npm install ws):
node -e 'const ws = new (require("ws"))("ws://{{.HTTPAddr}}/ws/{{.Topic}}?authorization={{.Sensor.Secret}}"); ws.on("open", () => ws.send("by WebSocket")); ws.on("message", m => console.log(String(m))); ws.on("error", e => console.error(e.message))'
node -e 'const fs = require("fs"); const ws = new (require("ws"))("wss://{{.HTTPSAddr}}/ws/{{.Topic}}", {ca: fs.readFileSync({{.Script "ca.crt"}}), cert: fs.readFileSync({{.Script "sensor.crt"}}), key: fs.readFileSync({{.Script "sensor.key"}})}); ws.on("open", () => ws.send("by secure WebSocket")); ws.on("message", m => console.log(String(m))); ws.on("error", e => console.error(e.message))'
{{if .NATS}}
# What a service on NATS sees:
nats sub -s {{.NATS}} '{{.Subject}}.>' '{{.Subject}}'
{{end}}`))
