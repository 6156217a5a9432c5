package test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/postern-io/postern/store/postgrestest"
)

// TestDatabaseAway stops PostgreSQL under a running server: who is known keeps
// working, who is not is told to try later, never that his secret is wrong.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	var db postgrestest.Server
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s := newServer(t, "POSTERN_DATABASE_URL="+db.URL(t))
	g := s.quick()
	publish := func(d device, payload string) (code int, retry string) {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1:"+s.http+"/http/"+g.topic, strings.NewReader(payload))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Client "+d.secret)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("Retry-After")
	}
	if code, _ := publish(g.sensor, "before"); code != http.StatusAccepted {
		t.Fatalf("before: %d", code)
	}
	mqtt := g.find("mosquitto_pub", "-P")
	if out, err := s.run(mqtt); err != nil {
		t.Fatalf("before: %v, %s", err, out)
	}

	if err := db.Stop(); err != nil {
		t.Fatal(err)
	}
	if code, _ := publish(g.sensor, "away"); code != http.StatusAccepted {
		t.Errorf("a known device by HTTP: got %d, want 202", code)
	}
	if out, err := s.run(mqtt); err != nil {
		t.Errorf("a known device by MQTT: %v, %s", err, out)
	}
	if code, retry := publish(g.viewer, "away"); code != http.StatusServiceUnavailable || retry == "" {
		t.Errorf("an unknown device by HTTP: got %d and Retry-After %q, want 503 and a time", code, retry)
	}
	if c, code, err := dialMQTT("127.0.0.1:"+s.mqtt, "raw", g.viewer); err != nil || code != 3 {
		t.Errorf("an unknown device by MQTT: CONNACK %d, %v, want 3", code, err)
	} else {
		c.conn.Close()
	}
	resp, err := http.Get("http://127.0.0.1:" + s.opsP + "/health/ready")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("ready: got %d, want 503", resp.StatusCode)
	}

	if err := db.Restart(); err != nil {
		t.Fatal(err)
	}
	s.eventually("the other device is let in", func() error {
		if code, _ := publish(g.viewer, "after"); code != http.StatusAccepted {
			return fmt.Errorf("HTTP %d", code)
		}
		return nil
	})
}

// TestNATSAway stops an outside NATS under a running server: nothing is
// acknowledged, and all is well when it comes back.
func TestNATSAway(t *testing.T) {
	t.Parallel()
	options := &natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true}
	var ns *natsserver.Server
	start := func() {
		var err error
		if ns, err = natsserver.NewServer(options); err != nil {
			t.Fatal(err)
		}
		ns.Start()
		if !ns.ReadyForConnections(patience) {
			t.Fatal("NATS did not start")
		}
	}
	start()
	defer func() { ns.Shutdown(); ns.WaitForShutdown() }()
	url := ns.ClientURL()
	options.Port = ns.Addr().(*net.TCPAddr).Port

	s := newServer(t, "POSTERN_NATS_URL="+url)
	g := s.quick()
	mqtt, curl := g.find("mosquitto_pub", "-P"), g.find("curl", "senml")
	for _, c := range []string{mqtt, curl} {
		if out, err := s.run(c); err != nil || strings.Contains(out, "HTTP/1.1") && !strings.Contains(out, "202 Accepted") {
			t.Fatalf("before: %s: %v, %s", c, err, out)
		}
	}

	ns.Shutdown()
	ns.WaitForShutdown()
	if out, _ := s.run(curl); !strings.Contains(out, "503 Service Unavailable") || !strings.Contains(out, "Retry-After: ") {
		t.Errorf("HTTP while NATS is away: got %s, want 503 and a time", out)
	}
	if out, err := s.run(mqtt); err == nil {
		t.Errorf("a publish by MQTT was acknowledged while NATS was away: %s", out)
	}

	start()
	acknowledged := 2
	s.eventually("publishing works again", func() error {
		out, err := s.run(mqtt)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		acknowledged++
		return nil
	})
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	info, err := js.StreamInfo("messages")
	if err != nil {
		t.Fatal(err)
	}
	if info.State.Msgs < uint64(acknowledged) {
		t.Errorf("the stream holds %d messages, %d were acknowledged", info.State.Msgs, acknowledged)
	}
}

// TestSecretsStayInside is C63 (and C35, promise 5): after a run at the most
// talkative level, no secret is in the log, in /metrics, or in the data.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	s := newServer(t, "POSTERN_LOG_LEVEL=debug", "POSTERN_OWNER_EMAIL=ann@example.com", "POSTERN_OWNER_PASSWORD=canary-password seven wet pumps")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("password", "canary-password seven wet pumps")
	write("wrong", "canary-wrong-password")
	write("secret", "canary-secret-of-a-device")
	if _, err := s.try("login", "ann", "--password-file", "wrong"); err == nil {
		t.Error("a wrong password signs in")
	}
	s.postern("login", "ann", "--password-file", "password")
	g := s.quick()
	s.postern("clients", "create", "own", "-d", g.domain, "--secret-file", "secret")
	access := strings.TrimSpace(s.postern("token"))
	base := "http://127.0.0.1:" + s.http
	for _, line := range []string{
		g.find("mosquitto_pub", "-P"), g.find("curl", "senml"), g.find("curl", "--cert"),
		strings.ReplaceAll(g.find("mosquitto_pub", "-P"), g.sensor.secret, "canary-wrong-secret"),
		strings.ReplaceAll(g.find("curl", "senml"), g.sensor.secret, "canary-wrong-secret"),
		"curl -sS " + base + "/ws/" + g.topic + "?authorization=canary-in-a-query",
		"curl -sS " + base + "/ws/" + g.topic + "?authorization=" + g.sensor.secret,
		"curl -sS -X POST " + base + "/http/" + g.topic + "?authorization=canary-in-a-query -d x",
		"curl -sS -H 'Authorization: Bearer canary-token' " + base + "/api/users/profile",
		"curl -sS -X POST -H 'Authorization: Bearer canary-refresh' " + base + "/api/users/tokens/refresh",
		"curl -sS -X POST -H 'Content-Type: application/json' " + base + `/api/setup -d '{"token":"canary-setup","credentials":{"username":"x","secret":"canary-password-2"}}'`,
		"curl -sS -X POST -H 'Content-Type: application/json' -H 'Authorization: Bearer " + access + "' " + base + "/api/" + g.domain + `/clients -d '{"name":1,"credentials":{"secret":"canary-in-a-bad-body"}}'`,
		"curl -sS -X POST -H 'Content-Type: application/json' -H 'Authorization: Bearer " + access + "' " + base + "/api/" + g.domain + `/explain -d '{"credential":{"secret":"canary-explained"},"topic":"` + g.topic + `","action":"publish"}'`,
	} {
		if out, _ := s.run(line); strings.Contains(out, "canary") { // many of them are refused
			t.Errorf("%s\nanswers with a secret: %s", line, out)
		}
	}
	metrics, err := s.run("curl -sS http://127.0.0.1:" + s.opsP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.stop(os.Interrupt); err != nil {
		t.Errorf("the stop: %v", err)
	}
	secrets := []string{"canary", g.sensor.secret, g.viewer.secret, access}
	for _, secret := range secrets {
		for place, text := range map[string]string{"the log": s.logged(), "/metrics": metrics} {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s holds %.12s…: …%s…", place, secret, text[max(0, i-200):min(len(text), i+80)])
			}
		}
	}
	err = filepath.WalkDir(filepath.Join(s.dir, "data"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, secret := range secrets {
			if strings.Contains(string(data), secret) {
				err = errors.Join(err, fmt.Errorf("%s holds %.12s…", path, secret))
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
