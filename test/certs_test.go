package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCertsOnTheCommandLine issues certificates as an operator types it, and has
// openssl and curl use what was written.
func TestCertsOnTheCommandLine(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	g := s.quick()
	issue := func(args ...string) map[string]any {
		t.Helper()
		var o map[string]any
		if err := json.Unmarshal([]byte(s.postern(append([]string{"certs", "issue", "-d", g.domain, "-o", "json"}, args...)...)), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	publish := func(identity string) string {
		t.Helper()
		out, _ := s.run("curl -sS -o /dev/null -w '%{http_code}' --cacert out/ca.crt " + identity + " -d hi https://localhost:" + s.https + "/http/" + g.topic)
		return out
	}
	refused := func(want string, args ...string) {
		t.Helper()
		if _, err := s.try(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("postern %s: got %v, want %q", strings.Join(args, " "), err, want)
		}
	}
	file := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}

	// A key of this machine's own, made beside the certificate.
	made := issue(g.sensor.id, "--out", "out", "--name", "sensor")
	if out, err := s.run("openssl verify -CAfile out/ca.crt -untrusted out/sensor.crt out/sensor.crt"); err != nil {
		t.Errorf("openssl verify: %s", out)
	}
	if info, err := os.Stat(filepath.Join(s.dir, "out/sensor.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
	if got := publish("--cert out/sensor.crt --key out/sensor.key"); got != "202" {
		t.Errorf("publish with the certificate: %s", got)
	}
	refused("--force", "certs", "issue", g.sensor.id, "-d", g.domain, "--out", "out", "--name", "sensor")
	if again := issue(g.sensor.id, "--out", "out", "--name", "sensor", "--force"); again["id"] == made["id"] {
		t.Error("--force made no other certificate")
	}

	// The other ways to a key.
	if out, err := s.run("openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -subj /CN=x -out own.csr"); err != nil {
		t.Fatal(out)
	}
	issue(g.sensor.id, "--csr", "own.csr", "--out", "out", "--name", "own")
	if got := publish("--cert out/own.crt --key own.key"); got != "202" {
		t.Errorf("publish with the key of the signing request: %s", got)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "out/own.key")); err == nil {
		t.Error("a key was written that is elsewhere")
	}
	issue(g.sensor.id, "--server-key", "--out", "out", "--name", "served")
	if got := publish("--cert out/served.crt --key out/served.key"); got != "202" {
		t.Errorf("publish with the server's key: %s", got)
	}
	file("p12.password", "eight or more\n")
	for name, extra := range map[string][]string{"file": nil, "served-file": {"--server-key"}} {
		issue(append([]string{g.sensor.id, "--p12", "--password-file", "p12.password", "--out", "out", "--name", name}, extra...)...)
		if got := publish("--cert-type P12 --cert out/" + name + ".p12:'eight or more'"); got != "202" {
			t.Errorf("publish with %s.p12: %s", name, got)
		}
	}
	file("secret", g.sensor.secret+"\n")
	bySecret := issue(g.sensor.id, "--secret-file", "secret", "--out", "out", "--name", "seed")
	if out, err := s.run("openssl x509 -in out/seed.crt -noout -subject"); err != nil || !strings.Contains(out, g.sensor.secret) {
		t.Errorf("its name is not the secret: %s", out)
	}
	if got := publish("--cert out/seed.crt --key out/seed.key"); got != "202" {
		t.Errorf("publish with the secret's certificate: %s", got)
	}
	refused("not kept", "certs", "download", bySecret["id"].(string), "-d", g.domain)
	file("secret", "nobody-has-this-secret\n")
	refused("secret", "certs", "issue", g.sensor.id, "-d", g.domain, "--secret-file", "secret", "--out", "out", "--name", "wrong")

	// What becomes of them.
	fingerprint, err := s.run("openssl x509 -in out/own.crt -noout -fingerprint -sha256")
	_, fingerprint, found := strings.Cut(strings.TrimSpace(fingerprint), "=")
	if err != nil || !found {
		t.Fatal(fingerprint, err)
	}
	s.postern("certs", "download", fingerprint, "-d", g.domain, "--out", "out/copy.crt")
	if out, err := s.run("cmp out/own.crt out/copy.crt"); err != nil {
		t.Error(out)
	}
	s.postern("certs", "revoke", fingerprint, "--reason", "certificateHold", "-d", g.domain)
	if got := publish("--cert out/own.crt --key own.key"); got == "202" {
		t.Error("a held certificate publishes")
	}
	if out := s.postern("certs", "list", "-d", g.domain, "--status", "held"); strings.Count(out, "\n") != 2 {
		t.Errorf("held: %s", out)
	}
	s.postern("certs", "release", fingerprint, "-d", g.domain)
	if out := s.postern("certs", "view", fingerprint, "-d", g.domain); !strings.Contains(out, "valid") {
		t.Errorf("view: %s", out)
	}
	if got := publish("--cert out/own.crt --key own.key"); got != "202" {
		t.Errorf("publish after the release: %s", got)
	}
	refused("RFC 5280", "certs", "revoke", fingerprint, "--reason", "boredom", "-d", g.domain)
}

// TestCertsForAFleet can be stopped and run again, and goes on after failures.
func TestCertsForAFleet(t *testing.T) {
	t.Parallel()
	s := reserve(t)
	s.up("POSTERN_OWNER_EMAIL=owner@example.com", "POSTERN_OWNER_PASSWORD="+ownerPassword)
	token := s.signIn("owner", ownerPassword)
	domain := s.want(201, "POST", "/domains", token, map[string]string{"name": "home"})["id"].(string)
	var ids []string
	for i := range 110 { // more than a page
		in := map[string]any{"name": fmt.Sprint("pump ", i)}
		if i < 3 {
			in["tags"] = []string{"wet"}
		}
		ids = append(ids, s.want(201, "POST", "/"+domain+"/clients", token, in)["id"].(string))
	}
	s.want(200, "POST", "/"+domain+"/clients/"+ids[109]+"/disable", token, nil)
	if err := os.WriteFile(filepath.Join(s.dir, "owner"), []byte(ownerPassword), 0o600); err != nil {
		t.Fatal(err)
	}
	s.postern("login", "owner", "--password-file", "owner")
	fleet := func(args ...string) (told string, failed bool) {
		t.Helper()
		out, err := s.run(postern(s) + " certs issue -d " + domain + " --out fleet " + strings.Join(args, " "))
		return out, err != nil
	}
	certificates := func() int {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(s.dir, "fleet", "*-*.crt"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	if told, failed := fleet("--tag", "wet"); failed || certificates() != 3 || !strings.Contains(told, "3 of 3") {
		t.Errorf("--tag: %d certificates, %s", certificates(), told)
	}
	if told, failed := fleet("--all"); failed || certificates() != 109 || !strings.Contains(told, "106 issued, 3 were there, 0 failed") {
		t.Errorf("--all: %d certificates, %s", certificates(), told)
	}
	if out, err := s.run("openssl verify -CAfile fleet/ca.crt -untrusted fleet/" + ids[50] + ".crt fleet/" + ids[50] + ".crt"); err != nil {
		t.Error(out)
	}

	// Cut before a certificate came, lost, revoked, and unknown.
	key, err := os.ReadFile(filepath.Join(s.dir, "fleet", ids[0]+".key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{ids[0] + ".crt", ids[1] + ".crt", ids[1] + ".key"} {
		if err := os.Remove(filepath.Join(s.dir, "fleet", gone)); err != nil {
			t.Fatal(err)
		}
	}
	page := s.want(200, "GET", "/"+domain+"/certs?client="+ids[2], token, nil)
	s.want(200, "POST", "/"+domain+"/certs/"+page["certs"].([]any)[0].(map[string]any)["id"].(string)+"/revoke", token, nil)
	unknown := "00000000-0000-4000-8000-000000000000"
	list := "name,ID\n" + "a," + ids[0] + "\nb," + unknown + "\nc," + ids[1] + "\nd," + ids[2] + "\ne," + ids[3] + "\nf,nonsense\n"
	if err := os.WriteFile(filepath.Join(s.dir, "fleet.csv"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	told, failed := fleet("--from-csv", "fleet.csv", "--parallel", "2")
	if !failed || !strings.Contains(told, "2 issued, 1 were there, 3 failed") || !strings.Contains(told, unknown) || !strings.Contains(told, "nonsense") || !strings.Contains(told, ids[2]+".crt exists") {
		t.Errorf("--from-csv: %s", told)
	}
	if now, err := os.ReadFile(filepath.Join(s.dir, "fleet", ids[0]+".key")); err != nil || string(now) != string(key) {
		t.Errorf("the key that was left was not taken up: %v", err)
	}
	if told, failed := fleet("--tag", "wet", "--force"); failed || !strings.Contains(told, "1 issued, 2 were there") {
		t.Errorf("--force over the revoked one: %s", told)
	}
	if told, failed := fleet("--tag", "wett"); !failed || !strings.Contains(told, `no enabled client has the tag "wett"`) {
		t.Errorf("a tag that nobody has: failed %v, %s", failed, told)
	}
	if told, failed := fleet("--all", "--tag", "wet"); !failed || !strings.Contains(told, "one of") {
		t.Errorf("two choices: %s", told)
	}
}

// postern is the command as a shell types it, against the server.
func postern(s *server) string { return "POSTERN_SERVER=https://localhost:" + s.https + " " + built }
