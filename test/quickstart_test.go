package test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// quick runs postern quickstart on a new server and returns what it printed.
func (s *server) quick() guide {
	s.t.Helper()
	text := s.postern("quickstart", "--mqtt-port", s.mqtt, "--mqtts-port", s.mqtts, "--http-port", s.http, "--https-port", s.https, "--nats-addr", "127.0.0.1:"+s.nats)
	g := guide{text: text}
	m := regexp.MustCompile(`Domain (\S+), channel (\S+) \(topic (\S+)\)`).FindStringSubmatch(text)
	if m == nil {
		s.t.Fatalf("the quick start names no topic:\n%s", text)
	}
	g.domain, g.channel, g.topic = m[1], m[2], m[3]
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			g.commands = append(g.commands, line)
		}
	}
	g.viewer.id, g.viewer.secret = mqttCredentials(s.t, g.find("mosquitto_sub", "-P"))
	g.sensor.id, g.sensor.secret = mqttCredentials(s.t, g.find("mosquitto_pub", "-P"))
	return g
}

// A guide is the printed quick start.
type guide struct {
	text                   string
	commands               []string
	domain, channel, topic string
	sensor, viewer         device
}

type device struct{ id, secret string }

// find returns the first command that holds all words.
func (g guide) find(words ...string) string {
next:
	for _, c := range g.commands {
		for _, w := range words {
			if !strings.Contains(c, w) {
				continue next
			}
		}
		return c
	}
	return ""
}

func mqttCredentials(t *testing.T, command string) (id, secret string) {
	t.Helper()
	m := regexp.MustCompile(`-u (\S+) -P (\S+)`).FindStringSubmatch(command)
	if m == nil {
		t.Fatalf("no credentials in %q", command)
	}
	return m[1], m[2]
}

// heard collects what a plain NATS subscriber sees on m.> .
type heard struct {
	mu   sync.Mutex
	msgs []*nats.Msg
}

func (s *server) listen(t *testing.T) *heard {
	t.Helper()
	h := &heard{}
	conn, err := nats.Connect(strings.TrimSpace(s.postern("nats-credentials", "--nats-addr", "127.0.0.1:"+s.nats)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if _, err := conn.Subscribe("m.>", func(m *nats.Msg) { h.mu.Lock(); h.msgs = append(h.msgs, m); h.mu.Unlock() }); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *heard) all() []*nats.Msg {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]*nats.Msg(nil), h.msgs...)
}

func (h *heard) with(payload string) []*nats.Msg {
	var found []*nats.Msg
	for _, m := range h.all() {
		if string(m.Data) == payload {
			found = append(found, m)
		}
	}
	return found
}

// TestQuickstart types what the quick start prints, all of it, as printed.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	g := s.quick()
	if len(g.commands) != 11 {
		t.Errorf("the quick start prints %d commands, want 11:\n%s", len(g.commands), g.text)
	}
	bus := s.listen(t)
	plain, byCertificate := s.shell(g.find("mosquitto_sub", "-P")), s.shell(g.find("mosquitto_sub", "--cert"))
	for _, sub := range []*shell{plain, byCertificate} {
		s.eventually("a subscriber hears", func() error {
			if out, err := s.run(strings.ReplaceAll(g.find("mosquitto_pub", "-P"), "21.5", "warm-up")); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			if !strings.Contains(sub.output(), "warm-up") {
				return fmt.Errorf("%s printed %q", sub.line, sub.output())
			}
			return nil
		})
	}
	for _, c := range g.commands {
		switch {
		case strings.HasPrefix(c, "mosquitto_pub"):
			if out, err := s.run(c); err != nil || out != "" {
				t.Errorf("%s\nprinted %q, %v", c, out, err)
			}
		case strings.HasPrefix(c, "curl"):
			if out, err := s.run(c); err != nil || !strings.Contains(out, "202 Accepted") || !strings.Contains(out, "Nats-Sequence: ") {
				t.Errorf("%s\nprinted %q, %v, want 202 and a sequence", c, out, err)
			}
		case strings.HasPrefix(c, "node"):
			ws := s.shell(c)
			s.eventually("the WebSocket hears others", func() error {
				if out, err := s.run(strings.ReplaceAll(g.find("mosquitto_pub", "-P"), "21.5", "to-the-socket")); err != nil {
					return fmt.Errorf("%w: %s", err, out)
				}
				// The topic of the socket is the channel itself, without subtopics.
				if out, err := s.run(strings.ReplaceAll(g.find("curl", "over TLS"), "'over TLS'", "to-the-socket")); err != nil {
					return fmt.Errorf("%w: %s", err, out)
				}
				if !strings.Contains(ws.output(), "to-the-socket") {
					return fmt.Errorf("it printed %q", ws.output())
				}
				return nil
			})
		}
	}
	want := map[string]string{ // payload → protocol
		"21.5": "mqtt", `[{"n":"voltage","u":"V","v":120.1}]`: "http",
		"by WebSocket": "ws", "by secure WebSocket": "ws",
	}
	for payload, protocol := range want {
		s.eventually("NATS has "+payload, func() error {
			if n := len(bus.with(payload)); n != 1 {
				return fmt.Errorf("seen %d times", n)
			}
			return nil
		})
		m := bus.with(payload)[0]
		if m.Header.Get("Postern-Publisher") != g.sensor.id || m.Header.Get("Postern-Protocol") != protocol || m.Header.Get("Nats-Sequence") == "" {
			t.Errorf("%s: headers %v, want publisher %s and protocol %s", payload, m.Header, g.sensor.id, protocol)
		}
	}
	for payload, times := range map[string]int{"over TLS": 2, "by certificate": 2} { // by MQTT and by HTTP
		s.eventually("NATS has "+payload+" from both doors", func() error {
			if n := len(bus.with(payload)); n != times {
				return fmt.Errorf("seen %d times", n)
			}
			return nil
		})
	}
	for _, sub := range []*shell{plain, byCertificate} {
		s.eventually("the subscribers have it all", func() error {
			for payload := range want {
				if strings.Count(sub.output(), payload) != 1 {
					return fmt.Errorf("%q is not once in %q", payload, sub.output())
				}
			}
			return nil
		})
	}
	if log := s.logged(); strings.Contains(log, g.sensor.secret) || strings.Contains(log, g.viewer.secret) {
		t.Error("a secret stands in the log")
	}
}

// The quick start may be run again, by the owner it made.
func TestQuickstartAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	first, second := s.quick(), s.quick()
	if first.domain == second.domain || !strings.Contains(first.text, `first owner is "owner"`) || strings.Contains(second.text, "first owner") {
		t.Errorf("the second run printed\n%s", second.text)
	}
}

// Who ran another server here before is not held up by its login: a new server
// is set up with what its own data directory says.
func TestQuickstartAfterAnotherServer(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	file := filepath.Join(s.dir, ".config", "postern", "login.json")
	other := filepath.Join(t.TempDir(), "other.crt")
	own := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, own, own, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, []byte(inPEM(&x509.Certificate{Raw: der})), 0o600); err != nil {
		t.Fatal(err)
	}
	leave := func(ca string) {
		t.Helper()
		login, err := json.Marshal(map[string]string{"server": "https://localhost:" + s.https, "ca_file": ca, "access_token": "of another", "refresh_token": "of another"})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, login, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	leave(other)
	if _, err := s.try("domains", "list"); err == nil || !strings.Contains(err.Error(), "not from the authority in "+other+"; name the right one with --ca") {
		t.Errorf("a server of another authority: %v", err)
	}
	if g := s.quick(); !strings.Contains(g.text, `first owner is "owner"`) {
		t.Errorf("it printed\n%s", g.text)
	}
	leave(filepath.Join(t.TempDir(), "gone.crt"))
	if _, err := s.try("domains", "list"); err == nil || !strings.Contains(err.Error(), "postern login") {
		t.Errorf("a login whose authority is gone: %v", err)
	}
}

// The page that the quick start names is the one of its channel.
func TestQuickstartInABrowser(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	g := s.quick()
	page := regexp.MustCompile(`https://localhost:` + s.https + `(/\S+)`).FindStringSubmatch(g.text)
	if page == nil {
		t.Fatalf("no page in\n%s", g.text)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+s.http+page[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(s.postern("token")))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "Live messages") || !strings.Contains(string(body), "/c/demo") {
		t.Errorf("%s: %d, %v: %.300s", page[0], resp.StatusCode, err, body)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	g := s.quick()
	var list []map[string]any
	if err := json.Unmarshal([]byte(s.postern("clients", "list", "-d", g.domain, "-o", "json")), &list); err != nil || len(list) != 2 {
		t.Errorf("clients list: %v, %v", list, err)
	}
	if out := s.postern("explain", "m/"+g.domain+"/c/demo", "-d", g.domain, "--client", g.sensor.id); !strings.HasSuffix(out, "\nallowed\n") {
		t.Errorf("explain printed %q", out)
	}
	s.postern("disconnect", "-d", g.domain, "--publish", g.sensor.id, g.channel)
	if out := s.postern("explain", "m/"+g.domain+"/c/demo", "-d", g.domain, "--client", g.sensor.id); !strings.HasSuffix(out, "refused: right_missing\n") {
		t.Errorf("explain printed %q", out)
	}
	s.postern("connect", "-d", g.domain, "--publish", g.sensor.id, g.channel)
	if out := s.postern("domains", "list"); !strings.Contains(out, g.domain) {
		t.Errorf("domains list printed %q", out)
	}
	if out := s.postern("channels", "list", "-d", g.domain); !strings.Contains(out, "demo") {
		t.Errorf("channels list printed %q", out)
	}
	if out := s.postern("users", "profile", "-o", "json"); !strings.Contains(out, `"role": "owner"`) {
		t.Errorf("profile printed %q", out)
	}
	if out := strings.TrimSpace(s.postern("token")); strings.Count(out, ".") != 2 {
		t.Errorf("token printed %q", out)
	}
	rotated := s.postern("clients", "rotate", g.sensor.id, "-d", g.domain)
	if !strings.Contains(rotated, g.sensor.id) || strings.Contains(rotated, g.sensor.secret) {
		t.Errorf("rotate printed %q", rotated)
	}
	for name, test := range map[string]struct {
		args []string
		code int
	}{
		"an unknown command":  {[]string{"serv"}, 2},
		"an unknown flag":     {[]string{"domains", "list", "--colour"}, 2},
		"a missing argument":  {[]string{"clients", "view", "-d", g.domain}, 2},
		"a missing domain":    {[]string{"clients", "list"}, 2},
		"nobody signed in":    {[]string{"domains", "list", "--login-file", "nobody.json"}, 3},
		"no server there":     {[]string{"domains", "list", "--server", "https://127.0.0.1:1"}, 4},
		"a wrong output form": {[]string{"domains", "list", "-o", "xml"}, 2},
	} {
		_, err := s.try(test.args...)
		var exit interface{ ExitCode() int }
		if !errors.As(err, &exit) || exit.ExitCode() != test.code {
			t.Errorf("%s: %v, want exit code %d", name, err, test.code)
		}
	}
}
