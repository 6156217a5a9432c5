package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestSessionSettings(t *testing.T) {
	for name, test := range map[string]struct {
		env []string
		ok  func(Config) bool
	}{
		"it has the defaults": {nil, func(c Config) bool {
			return c.RefreshIdle == 24*time.Hour && c.RefreshAbsolute == 720*time.Hour && c.AuditKeep == 9600*time.Hour
		}},
		"it takes a Go duration":            {[]string{"POSTERN_AUTH_SESSION_REFRESH_IDLE=36h"}, func(c Config) bool { return c.RefreshIdle == 36*time.Hour }},
		"it takes seconds":                  {[]string{"POSTERN_AUTH_SESSION_REFRESH_ABSOLUTE=864000"}, func(c Config) bool { return c.RefreshAbsolute == 240*time.Hour }},
		"it takes the seed's seconds":       {[]string{"MAGE_ACCESS_TOKEN_EXPIRY_TIME=900"}, func(c Config) bool { return c.AccessTTL == 15*time.Minute }},
		"it takes the seed's duration":      {[]string{"MG_AUTH_ACCESS_TOKEN_DURATION=1h"}, func(c Config) bool { return c.AccessTTL == time.Hour }},
		"it takes the seed's refresh":       {[]string{"MG_AUTH_REFRESH_TOKEN_DURATION=24h"}, func(c Config) bool { return c.RefreshIdle == 24*time.Hour }},
		"it takes a key of the application": {[]string{"POSTERN_AUTH_APP_KEY=zkWlN0PkIKSN0C11CfUHUj84OT5XOJ6tDZ6bDRO2"}, func(c Config) bool { return strings.HasPrefix(c.AppKey, "zkWl") }},
	} {
		if c, err := configured(t, test.env); err != nil || !test.ok(c) {
			t.Errorf("%s: got %+v, %v", name, c, err)
		}
	}
	for _, test := range []struct{ env, names, says string }{
		{"MAGE_ACCESS_TOKEN_EXPIRY_TIME=2592000", "MAGE_ACCESS_TOKEN_EXPIRY_TIME", "give 1m to 1h; an access token is renewed"},
		{"MAGE_ACCESS_TOKEN_EXPIRY_TIME=9223372036854775807", "MAGE_ACCESS_TOKEN_EXPIRY_TIME", "1m to 1h"},
		{"MG_AUTH_ACCESS_TOKEN_DURATION=48h", "MG_AUTH_ACCESS_TOKEN_DURATION", "1m to 1h"},
		{"POSTERN_AUTH_SESSION_ACCESS_TTL=0", "POSTERN_AUTH_SESSION_ACCESS_TTL", "1m to 1h"},
		{"POSTERN_AUTH_SESSION_ACCESS_TTL=soon", "POSTERN_AUTH_SESSION_ACCESS_TTL", "seconds, or a duration"},
		{"MAGE_ACCESS_TOKEN_EXPIRY_TIME=900 MG_AUTH_ACCESS_TOKEN_DURATION=30m", "MAGE_ACCESS_TOKEN_EXPIRY_TIME", "different values"},
		{"POSTERN_AUTH_SESSION_REFRESH_ABSOLUTE=1h", "POSTERN_AUTH_SESSION_REFRESH_ABSOLUTE", "POSTERN_AUTH_SESSION_REFRESH_IDLE"},
		{"POSTERN_AUTH_SESSION_REFRESH_IDLE=9000h", "POSTERN_AUTH_SESSION_REFRESH_IDLE", "1m to 8784h"},
		{"POSTERN_AUDIT_KEEP=1h", "POSTERN_AUDIT_KEEP", "24h or more"},
		{"POSTERN_AUTH_APP_KEY=a\u00a0b", "POSTERN_AUTH_APP_KEY", "printable"},
	} {
		_, err := configured(t, strings.Split(test.env, " "))
		if err == nil || !strings.Contains(err.Error(), test.names) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %v, want it to name %s and say %q", test.env, err, test.names, test.says)
		}
	}
}

// Nodes that share a key tell the same application key, and it tells nothing of
// the key.
func TestAppKey(t *testing.T) {
	secret := bytes.Repeat([]byte{7}, 32)
	a, err := new(Config).appKey(secret)
	b, _ := new(Config).appKey(secret)
	other, _ := new(Config).appKey(bytes.Repeat([]byte{8}, 32))
	given, _ := (&Config{AppKey: "mine"}).appKey(secret)
	if err != nil || len(a) != 32 || a != b || a == other || given != "mine" {
		t.Errorf("got %q, %q, %q, %q, %v", a, b, other, given, err)
	}
}

func TestExplainSignIn(t *testing.T) {
	var out bytes.Buffer
	if err := explainSignIn(&out, object{
		"at": "2026-11-24T12:00:00Z", "action": "sign-in", "outcome": "refused", "reason": "no_mapped_role", "actor_name": "jane", "provider": "ldap", "ip": "192.0.2.7",
		"details": map[string]any{"subject": "uid=jane", "groups": []any{"staff", "sales"},
			"claims": map[string]any{"https://example.com/a": "(redacted)", "mail": "jane@example.com"}, "steps": []any{"none of the groups gives a role"}},
	}); err != nil {
		t.Fatal(err)
	}
	const want = `2026-11-24T12:00:00Z sign-in: refused (no_mapped_role)
  account     jane
  provider    ldap
  subject     uid=jane
  groups      staff,sales
  from        192.0.2.7
the provider said:
  https://example.com/a: (redacted)
  mail: jane@example.com
what was decided:
  1. none of the groups gives a role
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}
