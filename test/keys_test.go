package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeysAndAudit runs the commands of an administrator and of a program that
// comes with an API key.
func TestKeysAndAudit(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte("seven wet pumps hum at noon\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.postern("setup", "root", "--password-file", password)
	object := func(args ...string) (o map[string]any) {
		t.Helper()
		if err := json.Unmarshal([]byte(s.postern(append(args, "-o", "json")...)), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	text := func(o map[string]any, key string) string { t.Helper(); v, _ := o[key].(string); return v }

	key := object("keys", "create", "report", "--role", "editor", "--expires-in", "24h")
	if list := s.postern("keys", "list"); !strings.Contains(list, text(key, "prefix")) || strings.Contains(list, text(key, "secret")) {
		t.Errorf("the list of keys:\n%s", list)
	}
	program := "curl -sS --cacert data/ca.crt -H 'Authorization: Bearer " + text(key, "secret") + "' "
	api := "https://localhost:" + s.https
	if out, err := s.run(program + `-H 'Content-Type: application/json' -d '{"name":"by a program"}' ` + api + "/api/domains"); err != nil || !strings.Contains(out, "by a program") {
		t.Errorf("a program makes a domain: %s, %v", out, err)
	}
	if out, err := s.run("curl -sS --cacert data/ca.crt -u " + text(key, "prefix") + ":" + text(key, "secret") + " -d grant_type=client_credentials " + api + "/oauth2/token"); err != nil || !strings.Contains(out, `"token_type":"Bearer"`) {
		t.Errorf("a token for the key: %s, %v", out, err)
	}
	if out := s.postern("explain-login", "root"); !strings.Contains(out, "sign-in: done") || !strings.Contains(out, "root") {
		t.Errorf("explain-login:\n%s", out)
	}
	if out := s.postern("audit", "--action", "domain.", "--since", "1h"); !strings.Contains(out, "domain.create") || !strings.Contains(out, "root") {
		t.Errorf("the audit trail:\n%s", out)
	}
	s.postern("keys", "revoke", text(key, "id"))
	if out, err := s.run(program + api + "/api/users/profile"); err != nil || !strings.Contains(out, "invalid_oauth_token") {
		t.Errorf("after the key was revoked: %s, %v", out, err)
	}
	if out := s.postern("sessions", "list"); !strings.Contains(out, "true") {
		t.Errorf("the list of sessions:\n%s", out)
	}
	s.postern("sessions", "end-all", "--others")
	s.postern("logout")
	if out, err := s.try("sessions", "list"); err == nil || !strings.Contains(err.Error(), "postern login") {
		t.Errorf("after logout: %s, %v", out, err)
	}
	if strings.Contains(s.logged(), text(key, "secret")[13:]) {
		t.Error("the key stands in the log")
	}
}
