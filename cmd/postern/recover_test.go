package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

const phrase = "seven quiet lamps above the harbour"

// host is the machine of a running server, with a command line of its own.
type host struct {
	t    *testing.T
	dir  string
	data string
	env  []string
}

// postern runs a command and returns its exit code and what it printed.
func (h *host) postern(in string, args ...string) (code int, out, stderr string) {
	var o, e strings.Builder
	code = run(h.t.Context(), args, stdio{strings.NewReader(in), &o, &e, h.env})
	return code, o.String(), e.String()
}

func (h *host) file(name, text string) string {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// serving runs do beside a server with an owner called ann.
func serving(t *testing.T, edit func(*Config), do func(*host, *house)) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	c := quiet(t)
	c.OwnerEmail, c.OwnerUsername, c.OwnerPassword = "ann@example.com", "ann", phrase
	if edit != nil {
		edit(c)
	}
	ran := false
	err := serve(ctx, c, slog.New(slog.DiscardHandler), func(h *house) {
		defer stop()
		ran = true
		h.metrics = prometheus.NewRegistry() // the doors' own API has counters in the other
		manage, _ := h.api(c)
		s := httptest.NewServer(manage)
		defer s.Close()
		dir := t.TempDir()
		do(&host{t: t, dir: dir, data: c.DataDir, env: []string{
			"POSTERN_DATA_DIR=" + c.DataDir, "POSTERN_SERVER=" + s.URL, "POSTERN_LOGIN_FILE=" + filepath.Join(dir, "login.json"),
		}}, h)
	})
	if err != nil || !ran {
		t.Fatal(err)
	}
}

// The way back in for who has the host: beside a running server, for an owner who
// is disabled, with the password forgotten and signing in by password off.
func TestRecoverOwner(t *testing.T) {
	serving(t, nil, func(h *host, house *house) {
		ctx := t.Context()
		ann, err := house.store.UserByLogin(ctx, "ann")
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := house.registry.CreateUser(ctx, "", registry.User{Username: "zoe", Role: registry.Owner}); err != nil {
			t.Error(err)
			return
		}
		if _, err := house.registry.UpdateUser(ctx, "", ann.ID, func(u *registry.User) error { u.Status = registry.Disabled; return nil }); err != nil {
			t.Error(err)
		}
		house.users.SetProviders([]authn.Provider{}...)

		if code, _, text := h.postern("", "recover-owner"); code != exitUsage || !strings.Contains(text, "ann, zoe") && !strings.Contains(text, "zoe, ann") {
			t.Errorf("several owners: got %d %s, want their names", code, text)
		}
		code, key, text := h.postern("", "recover-owner", "ann", "--drop-second-factors")
		if code != 0 || strings.Contains(text, strings.TrimSpace(key)) {
			t.Errorf("recover-owner: got %d %s", code, text)
			return
		}
		if code, out, text := h.postern(key, "login", "--recovery-key-file", "-"); code != 0 || strings.Contains(out+text, strings.TrimSpace(key)) {
			t.Errorf("login: got %d %s", code, text)
		}
		if code, out, text := h.postern("", "users", "profile", "-o", "json"); code != 0 || !strings.Contains(out, `"owner"`) {
			t.Errorf("profile: got %d %s %s", code, out, text)
		}
		if code, _, text := h.postern("", "password", "--recovered", "--password-file", h.file("new", "three tall birches by the canal")); code != 0 {
			t.Errorf("password: got %d %s", code, text)
		}
		if code, _, _ := h.postern(key, "login", "--recovery-key-file", "-"); code != exitRefused {
			t.Errorf("the key a second time: got %d, want %d", code, exitRefused)
		}
		house.users.SetProviders([]authn.Provider{{Key: registry.LocalProvider}}...)
		if code, _, text := h.postern("", "login", "ann", "--password-file", h.file("new", "three tall birches by the canal")); code != 0 {
			t.Errorf("login with the new password: got %d %s", code, text)
		}
	})
}

func TestRecoverOwnerArguments(t *testing.T) {
	serving(t, nil, func(h *host, house *house) {
		if code, key, text := h.postern("", "recover-owner"); code != 0 || !strings.HasPrefix(key, "pok_") {
			t.Errorf("the only owner: got %d %s", code, text)
		}
		code, key, text := h.postern("", "recover-owner", "bob", "--create", "--email", "bob@example.com")
		if code != 0 || !strings.HasPrefix(key, "pok_") {
			t.Errorf("--create: got %d %s", code, text)
		}
		if bob, err := house.store.UserByLogin(t.Context(), "bob@example.com"); err != nil || bob.Role != registry.Owner {
			t.Errorf("--create made %+v, %v", bob, err)
		}
		for name, args := range map[string][]string{
			"an unknown name":       {"recover-owner", "nobody"},
			"--create without name": {"recover-owner", "--create"},
			"--email alone":         {"recover-owner", "ann", "--email", "x@example.com"},
			"another directory":     {"recover-owner", "ann", "--data-dir", t.TempDir()},
			"a key and a name":      {"login", "ann", "--recovery-key-file", "-"},
		} {
			if code, out, _ := h.postern("x\n", args...); code != exitUsage || out != "" {
				t.Errorf("%s: got %d %q, want %d and nothing", name, code, out, exitUsage)
			}
		}
	})
}

// C11: the default passwords of the seeds, when they are configured, open nothing
// from elsewhere, and nothing at all without their names being configured
// (TestFirstOwner).
func TestSeedOwners(t *testing.T) {
	for name, env := range map[string][]string{
		"admin":    {"DEFAULT_OWNER_EMAIL=admin@admin.com", "DEFAULT_OWNER_PASSWORD=admin", "DEFAULT_OWNER_USERNAME=admin"},
		"12345678": {"MG_USERS_ADMIN_EMAIL=admin@admin.com", "MG_USERS_ADMIN_PASSWORD=12345678", "MG_USERS_ADMIN_USERNAME=admin"},
	} {
		seed, err := configured(t, env)
		if err != nil {
			t.Fatal(err)
		}
		serving(t, func(c *Config) {
			c.OwnerEmail, c.OwnerUsername, c.OwnerPassword = seed.OwnerEmail, seed.OwnerUsername, seed.OwnerPassword
		}, func(h *host, house *house) {
			var refused *authn.RefusedError
			if _, err := house.users.Issue(t.Context(), "admin@admin.com", name, authn.Client{IP: "192.0.2.1"}); !errors.As(err, &refused) || refused.Reason != registry.ReasonLoopbackOnly {
				t.Errorf("%s from elsewhere: got %v", name, err)
			}
			if code, _, text := h.postern("", "login", "admin", "--password-file", h.file("old", name)); code != 0 {
				t.Errorf("%s from loopback: got %d %s", name, code, text)
			}
			if code, _, _ := h.postern("", "users", "list"); code != exitRefused {
				t.Errorf("%s: more than its change is open: got %d", name, code)
			}
			if code, _, text := h.postern("", "password", "--old-password-file", h.file("old", name), "--password-file", h.file("new", phrase)); code != 0 {
				t.Errorf("%s: the change: got %d %s", name, code, text)
			}
			if _, err := house.users.Issue(t.Context(), "admin", phrase, authn.Client{IP: "192.0.2.1"}); err != nil {
				t.Errorf("%s: after the change: %v", name, err)
			}
		})
	}
}

func TestMailSettings(t *testing.T) {
	seed := []string{"MG_EMAIL_HOST=smtp.example.com", "MG_EMAIL_PORT=2525", "MG_EMAIL_USERNAME=u", "MG_EMAIL_PASSWORD=p",
		"MG_EMAIL_FROM_ADDRESS=from@example.com", "MG_EMAIL_FROM_NAME=Us", "MG_PASSWORD_RESET_URL_PREFIX=https://ui.example/reset?token="}
	c, err := configured(t, seed)
	m := c.Mail
	if err != nil || m.host != "smtp.example.com" || m.port != 2525 || m.username != "u" || m.password != "p" || m.from != "from@example.com" || m.fromName != "Us" || m.recoveryPrefix != "https://ui.example/reset?token=" {
		t.Errorf("the seed's names: got %+v, %v", m, err)
	}
	for name, env := range map[string][]string{
		"it wants a sender":                      {"POSTERN_MAIL_HOST=smtp.example.com"},
		"it wants a host for a sender":           {"POSTERN_MAIL_FROM=a@example.com"},
		"it sends no plain text over a net":      {"POSTERN_MAIL_HOST=smtp.example.com", "POSTERN_MAIL_FROM=a@example.com", "POSTERN_MAIL_TLS=none"},
		"it wants an absolute prefix":            {"POSTERN_AUTH_RECOVERY_URL_PREFIX=/recover#"},
		"it wants one value for two names":       append([]string{"POSTERN_MAIL_HOST=other.example.com"}, seed...),
		"it refuses a port that it cannot parse": {"MG_EMAIL_PORT=smtp"},
	} {
		if _, err := configured(t, env); err == nil {
			t.Errorf("%s: it does not", name)
		} else if strings.Contains(err.Error(), "=p") {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
}
