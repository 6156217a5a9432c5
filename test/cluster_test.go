package test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// outside starts a NATS on the configuration that postern nats-config prints.
func outside(t *testing.T) (natsURL string) {
	t.Helper()
	conf := readFile(t, "../cmd/postern/nats.conf")
	conf = strings.NewReplacer("0.0.0.0:4222", "127.0.0.1:-1", `"/data"`, `"`+t.TempDir()+`"`, "$POSTERN_PASSWORD", "one", "$SERVICE_PASSWORD", "two", "$COMMANDS_PASSWORD", "three").Replace(conf)
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := natsserver.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	options.NoSigs, options.NoLog = true, true
	s, err := natsserver.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("NATS did not start")
	}
	u, err := url.Parse(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("postern", "one")
	return u.String()
}

// TestTwoNodes runs two nodes on one PostgreSQL and one outside NATS: a message
// that comes in at one goes out at the other, and what is revoked at one ends at
// the other.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	database := postgres.URL(t)
	shared := []string{
		"POSTERN_DATABASE_URL=" + database, "POSTERN_NATS_URL=" + outside(t),
		"POSTERN_SECRET_KEY=" + strings.Repeat("0f", 32), "POSTERN_PUBLIC_URL=https://localhost",
	}
	one := newServer(t, shared...)
	g := one.quick()
	two := newServer(t, shared...)
	token := strings.TrimSpace(one.postern("token"))

	sub := two.shell("mosquitto_sub -h localhost -p " + two.mqtt + " -u " + g.viewer.id + " -P " + g.viewer.secret + " -t '" + g.topic + "/#' -q 1")
	publish := g.find("mosquitto_pub", "-P")
	one.eventually("the other node's subscriber hears", func() error {
		if out, err := one.run(publish); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if !strings.Contains(sub.output(), "21.5") {
			return fmt.Errorf("it printed %q", sub.output())
		}
		return nil
	})

	// Asked at the one, seen at the other: tokens, sessions, the end of them.
	var sessions struct{ Sessions []struct{ Via string } }
	two.eventually("the session is seen from the other node", func() error {
		one.api(token, "GET", "/"+g.domain+"/clients/"+g.viewer.id+"/sessions", nil, &sessions)
		if len(sessions.Sessions) != 1 {
			return fmt.Errorf("%d sessions", len(sessions.Sessions))
		}
		return nil
	})
	two.api(token, "GET", "/users/profile", nil, nil)

	c, code, err := dialMQTT("127.0.0.1:"+two.mqtt, "raw", g.viewer)
	if err != nil || code != 0 {
		t.Fatal(code, err)
	}
	defer c.conn.Close()
	start := time.Now()
	one.api(token, "POST", "/"+g.domain+"/clients/"+g.viewer.id+"/disable", nil, nil)
	if err := drain(c.conn); err != nil {
		t.Errorf("the session at the other node: %v", err)
	}
	t.Logf("from the API's call at one node to the closed socket at the other: %s", time.Since(start))
	if _, code, err := dialMQTT("127.0.0.1:"+two.mqtt, "again", g.viewer); err != nil || code != 4 && code != 5 {
		t.Errorf("a new connect at the other node: code %d, %v, want refused", code, err)
	}
}
