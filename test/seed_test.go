package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seedScript is the WebSocket script of seed 5 as it stands, but for the
// values it says to replace and the port, which is the test's.
const seedScript = `const WebSocket = require("ws");
// Do not verify self-signed certificates if you are using one.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
// Replace <channel_id> and <client_secret> with real values.
const ws = new WebSocket(
  "wss://localhost/ws/m/<domain_id>/c/<channel_id>?authorization=<client_secret>",
  // This is ClientOptions object that contains client cert and client key in the form of string. You can easily load these strings from cert and key files.
  {
    cert: ` + "`-----BEGIN CERTIFICATE-----....`" + `,
    key: ` + "`-----BEGIN RSA PRIVATE KEY-----.....`" + `,
  }
);
ws.on("open", () => {
  ws.send("someclient");
});
ws.on("message", (data) => {
  console.log(data);
});
ws.on("error", (e) => {
  console.log(e);
});
`

const senml = `'[{"bn":"some-base-name:","bt":1.276020076001e+09, "bu":"A","bver":5, "n":"voltage","u":"V","v":120.1}, {"n":"current","t":-5,"v":1.2}, {"n":"current","t":-4,"v":1.3}]'`

// TestSeedCommands makes the certificates by docker/ssl/Makefile as seed 5 says,
// starts with AUTH=x509 on them, and runs the seed's commands.
func TestSeedCommands(t *testing.T) {
	t.Parallel()
	ssl, err := filepath.Abs("../docker/ssl")
	if err != nil {
		t.Fatal(err)
	}
	crt := t.TempDir()
	mk := func(target string) string { return "make -s -C " + ssl + " CRT_LOCATION=" + crt + " " + target }
	bare := &server{t: t, dir: crt}
	if out, err := bare.run(mk("ca") + " && " + mk("server_cert")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := newServer(t, "AUTH=x509", "POSTERN_TLS_CERT="+crt+"/server.crt", "POSTERN_TLS_KEY="+crt+"/server.key", "POSTERN_CLIENT_CA="+crt+"/ca.crt")
	s.ca = crt + "/ca.crt"
	g := s.quick()
	if out, err := s.run(mk("client_cert CLIENT_SECRET=" + g.sensor.secret + " CRT_FILE_NAME=sensor")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := s.run(mk("client_cert CLIENT_SECRET=" + g.viewer.secret + " CRT_FILE_NAME=viewer")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	bus := s.listen(t)
	tls := " --cafile " + crt + "/ca.crt --cert " + crt + "/sensor.crt --key " + crt + "/sensor.key"
	sub := s.shell("mosquitto_sub -u " + g.sensor.id + " -P " + g.sensor.secret + tls + " -t " + g.topic + " -h localhost -p " + s.mqtts)

	publish := "mosquitto_pub -u " + g.sensor.id + " -P " + g.sensor.secret + " -t " + g.topic + " -h localhost -p " + s.mqtts + " " + tls + " -m "
	s.eventually("the subscriber hears", func() error {
		if out, err := s.run(publish + "warm-up"); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if !strings.Contains(sub.output(), "warm-up") {
			return fmt.Errorf("it printed %q", sub.output())
		}
		return nil
	})
	if out, err := s.run(publish + senml); err != nil {
		t.Errorf("mosquitto_pub: %v %s", err, out)
	}
	out, err := s.run("curl -s -S -i --cacert " + crt + "/ca.crt --cert " + crt + "/sensor.crt --key " + crt + `/sensor.key -X POST -H "Content-Type: application/senml+json" https://localhost:` + s.https + "/http/" + g.topic + " -d " + senml)
	if err != nil || !strings.Contains(out, "202 Accepted") {
		t.Errorf("curl: %v %s", err, out)
	}

	script := seedScript
	for from, to := range map[string]string{
		"<domain_id>": g.domain, "<channel_id>": g.channel, "<client_secret>": g.sensor.secret, "wss://localhost/": "wss://localhost:" + s.https + "/",
		"-----BEGIN CERTIFICATE-----....": readFile(t, crt+"/sensor.crt"), "-----BEGIN RSA PRIVATE KEY-----.....": readFile(t, crt+"/sensor.key"),
	} {
		script = strings.ReplaceAll(script, from, to)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "seed.js"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	ws := s.shell("node seed.js")
	s.eventually("NATS hears the socket", func() error {
		if n := len(bus.with("someclient")); n != 1 {
			return fmt.Errorf("seen %d times; it printed %s", n, ws.output())
		}
		return nil
	})
	s.eventually("the socket hears", func() error {
		if out, err := s.run(publish + "to-the-socket"); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if !strings.Contains(ws.output(), "<Buffer") { // how the script prints a message
			return fmt.Errorf("it printed %q", ws.output())
		}
		return nil
	})

	// What must not work: the plain doors are closed, and certificate A does
	// not go with password B.
	plain := "curl -s -o /dev/null -w '%{http_code}' -X POST -H 'Authorization: Client " + g.sensor.secret + "' "
	for name, test := range map[string]struct{ command, want string }{
		"a secret over HTTP":           {plain + "http://localhost:" + s.http + "/http/" + g.topic + " -d x", "403"},
		"a secret over HTTPS":          {plain + "--cacert " + crt + "/ca.crt https://localhost:" + s.https + "/http/" + g.topic + " -d x", "401"},
		"certificate A and password B": {plain + "--cacert " + crt + "/ca.crt --cert " + crt + "/viewer.crt --key " + crt + "/viewer.key https://localhost:" + s.https + "/http/" + g.topic + " -d x", "401"},
	} {
		if out, err := s.run(test.command); err != nil || out != test.want {
			t.Errorf("%s: %s %v, want %s", name, out, err, test.want)
		}
	}
	if _, err := dial(s.mqtt); err == nil {
		t.Error("plain MQTT is open")
	}
	if out, err := s.run(strings.ReplaceAll(publish, "-P "+g.sensor.secret, "-P "+g.viewer.secret) + "stolen"); err == nil {
		t.Errorf("certificate A with password B by MQTT: %s", out)
	}
	if n := len(bus.with("stolen")) + len(bus.with("x")); n != 0 {
		t.Errorf("%d refused messages are on the bus", n)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// mqttScript is npm's mqtt client: it subscribes, publishes to itself at every
// QoS, and prints what it hears.
const mqttScript = `
const mqtt = require("mqtt");
const [url, username, password, topic, version, ca, cert, key] = JSON.parse(process.argv[2]);
const fs = require("fs");
const read = (f) => f ? fs.readFileSync(f) : undefined;
const client = mqtt.connect(url, {username: username || undefined, password: password || undefined, protocolVersion: version,
  clientId: "npm-" + topic.split("/").pop(), reconnectPeriod: 0, ca: read(ca), cert: read(cert), key: read(key)});
const heard = [];
client.on("message", (t, m) => { heard.push(t.split("/").pop() + "=" + m); if (heard.length === 3) { console.log(heard.sort().join(" ")); client.end(); } });
client.on("error", (e) => { console.log("error: " + e.message); process.exit(1); });
client.on("close", () => { if (heard.length < 3) { console.log("closed after " + heard.length); process.exit(1); } });
client.on("connect", () => client.subscribe(topic + "/#", {qos: 2}, () => {
  for (const qos of [0, 1, 2]) client.publish(topic + "/q" + qos, "level " + qos, {qos});
}));
`

// TestNpmMQTT runs npm's mqtt over every listener of MQTT, in both versions.
func TestNpmMQTT(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	g := s.quick()
	if err := os.WriteFile(filepath.Join(s.dir, "client.js"), []byte(mqttScript), 0o600); err != nil {
		t.Fatal(err)
	}
	ca, cert, key := "quickstart/ca.crt", "quickstart/sensor.crt", "quickstart/sensor.key"
	for name, args := range map[string][]any{
		"TCP":                              {"mqtt://localhost:" + s.mqtt, g.sensor.id, g.sensor.secret},
		"TLS":                              {"mqtts://localhost:" + s.mqtts, g.sensor.id, g.sensor.secret, ca},
		"TLS with a certificate alone":     {"mqtts://localhost:" + s.mqtts, "", "", ca, cert, key},
		"WebSocket":                        {"ws://localhost:" + s.http + "/mqtt", g.sensor.id, g.sensor.secret},
		"WebSocket over TLS":               {"wss://localhost:" + s.https + "/mqtt", g.sensor.id, g.sensor.secret, ca},
		"WebSocket, with certificate only": {"wss://localhost:" + s.https + "/mqtt", "", "", ca, cert, key},
	} {
		for version, protocol := range map[int]string{4: "3.1.1", 5: "5"} {
			t.Run(name+", MQTT "+protocol, func(t *testing.T) {
				t.Parallel()
				all := append(append([]any{}, args[:3]...), g.topic+fmt.Sprintf("/%s-%d", strings.Fields(name)[0]+fmt.Sprint(len(name)), version), version)
				line, err := json.Marshal(append(all, args[3:]...))
				if err != nil {
					t.Fatal(err)
				}
				out, err := s.run("node client.js '" + string(line) + "'")
				if err != nil || strings.TrimSpace(out) != "q0=level 0 q1=level 1 q2=level 2" {
					t.Errorf("it printed %q, %v", out, err)
				}
			})
		}
	}
}
