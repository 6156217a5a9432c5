package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// configured reads settings as serve does.
func configured(t *testing.T, env []string, args ...string) (Config, error) {
	t.Helper()
	var c Config
	flags := c.flags()
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	if err := applyEnv(flags, env); err != nil {
		return c, err
	}
	return c, c.Validate()
}

func TestDefaultsRun(t *testing.T) {
	c, err := configured(t, []string{"PATH=/bin", "HOME=/root"})
	if err != nil || c.MQTTAddr != ":1883" || c.Auth != "secret" || c.AccessTTL != 15*time.Minute || c.publicURL() != "https://localhost:8443" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestSettings(t *testing.T) {
	for name, test := range map[string]struct {
		env  []string
		args []string
		ok   func(Config) bool
	}{
		"it takes the environment":            {env: []string{"POSTERN_MQTT_ADDR=:2883"}, ok: func(c Config) bool { return c.MQTTAddr == ":2883" }},
		"it closes an address set to empty":   {env: []string{"POSTERN_MQTT_ADDR="}, ok: func(c Config) bool { return c.MQTTAddr == "" }},
		"it lets a flag win":                  {env: []string{"POSTERN_MQTT_ADDR=:2883"}, args: []string{"--mqtt-addr", ":3883"}, ok: func(c Config) bool { return c.MQTTAddr == ":3883" }},
		"it knows the seed's AUTH":            {env: []string{"AUTH=x509"}, ok: func(c Config) bool { return c.Auth == "x509" }},
		"it takes two spellings that agree":   {env: []string{"AUTH=x509", "POSTERN_AUTH=x509"}, ok: func(c Config) bool { return c.Auth == "x509" }},
		"it leaves the client's variables be": {env: []string{"POSTERN_SERVER=https://localhost", "POSTERN_TOKEN=x"}, ok: func(Config) bool { return true }},
		"it derives the public URL":           {env: []string{"POSTERN_HTTPS_ADDR=:443"}, ok: func(c Config) bool { return c.publicURL() == "https://localhost" }},
		"it names the public host in the certificate": {env: []string{"POSTERN_PUBLIC_URL=https://iot.example.com/"}, ok: func(c Config) bool {
			return c.publicURL() == "https://iot.example.com" && strings.Contains(strings.Join(c.serverNames(), " "), "iot.example.com")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := configured(t, test.env, test.args...); err != nil || !test.ok(c) {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
}

// Each mistake is named with its key and with what would be right.
func TestMistakesInSettings(t *testing.T) {
	for _, test := range []struct{ env, names, says string }{
		{"POSTERN_MQT_ADDR=:1883", "POSTERN_MQT_ADDR", "no setting"},
		{"POSTERN_MQTT_ADDR=1883", "POSTERN_MQTT_ADDR", "host:port"},
		{"POSTERN_AUTH=tls", "POSTERN_AUTH", "secret or x509"},
		{"AUTH=secret POSTERN_AUTH=x509", "AUTH and POSTERN_AUTH|POSTERN_AUTH and AUTH", "different values"},
		{"POSTERN_DATABASE_URL=mysql://x", "POSTERN_DATABASE_URL", "postgres://"},
		{"POSTERN_NATS_URL=localhost", "POSTERN_NATS_URL", "nats://"},
		{"POSTERN_SYNC=never", "POSTERN_SYNC", "always"},
		{"POSTERN_SECRET_KEY=short", "POSTERN_SECRET_KEY", "64 hexadecimal"},
		{"POSTERN_MAX_PAYLOAD=many", "POSTERN_MAX_PAYLOAD", "many"},
		{"POSTERN_MAX_PAYLOAD=99999999", "POSTERN_MAX_PAYLOAD", "at most"},
		{"POSTERN_TLS_CERT=/x.crt", "POSTERN_TLS_CERT", "POSTERN_TLS_KEY"},
		{"POSTERN_OWNER_EMAIL=a@example.com", "POSTERN_OWNER_EMAIL", "POSTERN_OWNER_PASSWORD"},
		{"POSTERN_PUBLIC_URL=localhost", "POSTERN_PUBLIC_URL", "https://"},
		{"POSTERN_LOG_LEVEL=loud", "POSTERN_LOG_LEVEL", "debug"},
		{"POSTERN_AUTH_SESSION_ACCESS_TTL=48h", "POSTERN_AUTH_SESSION_ACCESS_TTL", "1h"},
		{"POSTERN_AUTH_LOCAL_PASSWORD_MIN_LENGTH=4", "POSTERN_AUTH_LOCAL_PASSWORD_MIN_LENGTH", "8 or more"},
	} {
		_, err := configured(t, strings.Fields(test.env))
		named := false
		for _, name := range strings.Split(test.names, "|") {
			named = named || err != nil && strings.Contains(err.Error(), name)
		}
		if !named || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %v, want it to name %s and say %q", test.env, err, test.names, test.says)
		}
	}
}

func TestSecretsStayOutOfMistakes(t *testing.T) {
	const secret = "a-secret-that-must-not-show"
	for _, name := range []string{"POSTERN_SECRET_KEY", "POSTERN_OWNER_PASSWORD", "POSTERN_DATABASE_URL"} {
		if _, err := configured(t, []string{name + "=" + secret}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v, want an error without the value", name, err)
		}
	}
}

// quiet are settings of a server that nobody can reach.
func quiet(t *testing.T) *Config {
	t.Helper()
	var c Config
	c.flags()
	c.DataDir = filepath.Join(t.TempDir(), "data")
	c.MQTTAddr, c.MQTTSAddr, c.HTTPAddr, c.HTTPSAddr, c.NATSAddr, c.OpsAddr = "", "", "", "", "", "127.0.0.1:0"
	return &c
}

func TestServeStartsAgainOnItsData(t *testing.T) {
	c := quiet(t)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	var keys [2]string
	for i := range keys {
		ctx, stop := context.WithCancel(t.Context())
		err := serve(ctx, c, log, func(h *house) {
			defer stop()
			if what, err := h.ready(ctx); err != nil {
				t.Errorf("%s is not ready: %v", what, err)
			}
			key, err := os.ReadFile(filepath.Join(c.DataDir, "secret.key"))
			if err != nil {
				t.Error(err)
			}
			keys[i] = string(key) + h.ca.Root().SerialNumber.String() + h.users.Tokens.JWKS()[0].ID
		})
		stop()
		if err != nil {
			t.Fatal(err)
		}
	}
	if keys[0] != keys[1] || keys[0] == "" {
		t.Error("the second start has other keys than the first")
	}
	for _, name := range []string{"secret.key", "ca.key", "server.key", "setup-token", "nats-services.json"} {
		info, err := os.Stat(filepath.Join(c.DataDir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 0600", name, info.Mode(), err)
		}
	}
}

// Everything stays below the data directory, whatever its name.
func TestServeTakesAnyDataDirectory(t *testing.T) {
	for _, dir := range []string{"with space", "100% # of it", "ä+b&c"} {
		parent := t.TempDir()
		c := quiet(t)
		c.DataDir = filepath.Join(parent, dir)
		ctx, stop := context.WithCancel(t.Context())
		if err := serve(ctx, c, slog.New(slog.DiscardHandler), func(*house) { stop() }); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
		stop()
		if _, err := os.Stat(filepath.Join(c.DataDir, "postern.db")); err != nil {
			t.Errorf("%s: the database is elsewhere: %v", dir, err)
		}
		if found, err := os.ReadDir(parent); err != nil || len(found) != 1 {
			t.Errorf("%s: got %v beside it, %v", dir, found, err)
		}
	}
}

func TestServeRefusesLooseKeys(t *testing.T) {
	for _, name := range []string{"secret.key", "ca.key"} {
		c := quiet(t)
		ctx, stop := context.WithCancel(t.Context())
		if err := serve(ctx, c, slog.New(slog.DiscardHandler), func(*house) { stop() }); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(c.DataDir, name)
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := serve(t.Context(), c, slog.New(slog.DiscardHandler), nil); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("%s: got %v, want a refusal that says what to do", name, err)
		}
	}
}

// Two JetStreams on one store would destroy what both have acknowledged.
func TestServeKeepsItsDataToItself(t *testing.T) {
	c, log := quiet(t), slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ran := false
	if err := serve(ctx, c, log, func(*house) {
		defer stop()
		ran = true
		second := *c
		err := serve(ctx, &second, log, func(*house) { t.Error("a second server runs on the same data"); stop() })
		if err == nil || !strings.Contains(err.Error(), c.DataDir) || !strings.Contains(err.Error(), "POSTERN_DATA_DIR") {
			t.Errorf("got %v, want a refusal that says what to do", err)
		}
	}); err != nil || !ran {
		t.Fatal(err)
	}
}

func TestUsageErrorsExitWith2(t *testing.T) {
	for _, test := range []struct {
		args []string
		env  []string
		code int
	}{
		{args: []string{"version"}, code: exitOK},
		{args: []string{"--help"}, code: exitOK},
		{args: []string{"config", "docs"}, code: exitOK},
		{args: []string{"nats-config"}, code: exitOK},
		{args: []string{"serv"}, code: exitUsage},
		{args: []string{"serve", "now"}, code: exitUsage},
		{args: []string{"serve", "--port", "1"}, code: exitUsage},
		{args: []string{"serve"}, env: []string{"POSTERN_COLOUR=red"}, code: exitUsage},
		{args: []string{"health", "--ops-addr", "127.0.0.1:1"}, code: exitUnavailable},
		{args: []string{"domains", "list", "-o", "yaml"}, code: exitUsage},
		{args: []string{"domains"}, code: exitOK},
		{args: []string{"domains", "lst"}, code: exitUsage},
		{args: []string{"config", "dosc"}, code: exitUsage},
		{args: []string{"clients", "list"}, code: exitUsage},
		{args: []string{"explain", "m/a/c/b", "-d", "a"}, code: exitUsage},
	} {
		var stderr strings.Builder
		if code := run(t.Context(), test.args, stdio{strings.NewReader(""), io.Discard, &stderr, test.env}); code != test.code {
			t.Errorf("postern %s: exit %d, want %d; it said %s", strings.Join(test.args, " "), code, test.code, stderr.String())
		}
	}
}

// Where nobody can be asked, a command says which of its own flags answers.
func TestNoTerminalNamesTheFlag(t *testing.T) {
	for command, flag := range map[string]string{
		"login ann":                           "--password-file",
		"password":                            "--old-password-file",
		"ca export --root-key away.key --yes": "--passphrase-file",
	} {
		var stderr strings.Builder
		args := append(strings.Fields(command), "--login-file", filepath.Join(t.TempDir(), "login.json"))
		code := run(t.Context(), args, stdio{strings.NewReader(""), io.Discard, &stderr, nil})
		if code != exitUsage || !strings.HasSuffix(strings.TrimSpace(stderr.String()), "give "+flag) {
			t.Errorf("postern %s: exit %d, it said %s", command, code, stderr.String())
		}
	}
}

// What the quick start prints must work when it is pasted into a shell.
func TestQuickstartQuotesItsDirectory(t *testing.T) {
	var out strings.Builder
	q := quickstart{Dir: "it's a dir", Host: "localhost"}
	if err := q.print(&out); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, `--cafile 'it'\''s a dir/ca.crt'`) || strings.Contains(text, `readFileSync("it's`) {
		t.Errorf("got\n%s", text)
	}
}
