package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

// need finds the foreign program, or skips the test where not everything must
// run.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("POSTERN_TEST_REQUIRE_ALL") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// run runs a program in the folder and returns all it says.
func run(t *testing.T, dir, program string, args ...string) (out string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, program, args...)
	c.Dir = dir
	said, err := c.CombinedOutput()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		t.Fatal(err)
	}
	return string(said), err == nil
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// fetched keeps the documents of the door in a new folder, under their names.
func (w *world) fetched(t *testing.T, names ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range names {
		answer, body := w.do("GET", "/pki/"+name, nil)
		if answer.StatusCode != 200 {
			t.Fatalf("%s: %s", name, answer.Status)
		}
		write(t, dir, filepath.Base(name), body)
	}
	write(t, dir, "issuing.pem", certs.EncodePEM(w.issuer.Certificate))
	return dir
}

func TestOpenSSLAsksOCSP(t *testing.T) {
	need(t, "openssl")
	w := newWorld(t)
	dir := w.fetched(t, "ca.crt")
	stranger := newWorld(t)
	for name, test := range map[string]struct {
		from   *world
		reason registry.RevocationReason // -1: good; -2: never issued
		want   []string
	}{
		"good":    {w, -1, []string{"leaf.pem: good"}},
		"revoked": {w, registry.KeyCompromise, []string{"leaf.pem: revoked", "Reason: keyCompromise", "Revocation Time: "}},
		"hold":    {w, registry.CertificateHold, []string{"leaf.pem: revoked", "Reason: certificateHold"}},
		"unknown": {w, -2, []string{"leaf.pem: unknown"}},
	} {
		var leaf *x509.Certificate
		if test.reason == -2 {
			leaf, _ = stranger.issue()
		} else {
			leaf, _ = test.from.issue()
		}
		if test.reason >= 0 {
			w.revoke(leaf, test.reason)
		}
		write(t, dir, "leaf.pem", certs.EncodePEM(leaf))
		for _, nonce := range []string{"-nonce", "-no_nonce"} {
			for _, hash := range []string{"-sha1", "-sha256"} {
				out, ok := run(t, dir, "openssl", "ocsp", hash, "-issuer", "issuing.pem", "-cert", "leaf.pem", "-url", w.web.URL+"/pki/ocsp", nonce, "-CAfile", "ca.crt")
				if !ok || !strings.Contains(out, "Response verify OK") || strings.Contains(out, "WARNING") {
					t.Errorf("%s %s %s: %s", name, nonce, hash, out)
				}
				for _, want := range test.want {
					has(t, name, out, want)
				}
			}
		}
	}
	write(t, dir, "theirs.pem", certs.EncodePEM(stranger.issuer.Certificate))
	if out, _ := run(t, dir, "openssl", "ocsp", "-issuer", "theirs.pem", "-serial", "7", "-url", w.web.URL+"/pki/ocsp"); !strings.Contains(out, "unauthorized") {
		t.Errorf("a stranger's: %s", out)
	}
}

// An answer's signature leads to the root, and to no other. (With -issuer,
// openssl trusts that certificate too.)
func TestOpenSSLVerifiesTheAnswer(t *testing.T) {
	need(t, "openssl")
	w := newWorld(t)
	dir := w.fetched(t, "ca.crt")
	write(t, dir, "theirs.crt", certs.EncodePEM(newWorld(t).issuer.Root))
	_, answer := w.do("POST", "/pki/ocsp", ask(t, w.issuer, big.NewInt(7)), "Content-Type", asked)
	write(t, dir, "answer.der", answer)
	answer[len(answer)-1] ^= 1
	write(t, dir, "forged.der", answer)
	for name, test := range map[string]struct {
		answer, root string
		want         bool
	}{
		"it leads to the root":         {"answer.der", "ca.crt", true},
		"it does not lead to another":  {"answer.der", "theirs.crt", false},
		"it does not hold when forged": {"forged.der", "ca.crt", false},
	} {
		out, _ := run(t, dir, "openssl", "ocsp", "-respin", test.answer, "-CAfile", test.root, "-verify_other", "issuing.pem")
		if strings.Contains(out, "Response verify OK") != test.want {
			t.Errorf("%s: got %s", name, out)
		}
	}
}

// openssl writes a request of several certificates, curl sends it.
func TestOpenSSLReadsWhatCurlGot(t *testing.T) {
	need(t, "openssl")
	need(t, "curl")
	w := newWorld(t)
	dir := w.fetched(t, "ca.crt")
	good, _ := w.issue()
	gone, _ := w.issue()
	w.revoke(gone, registry.Superseded)
	write(t, dir, "good.pem", certs.EncodePEM(good))
	write(t, dir, "gone.pem", certs.EncodePEM(gone))
	for _, step := range [][]string{
		{"openssl", "ocsp", "-issuer", "issuing.pem", "-cert", "good.pem", "-cert", "gone.pem", "-serial", "0x77", "-no_nonce", "-reqout", "request.der"},
		{"curl", "-sS", "-f", "-H", "Content-Type: application/ocsp-request", "--data-binary", "@request.der", "-o", "answer.der", w.web.URL + "/pki/ocsp"},
	} {
		if out, ok := run(t, dir, step[0], step[1:]...); !ok {
			t.Fatalf("%v: %s", step, out)
		}
	}
	out, ok := run(t, dir, "openssl", "ocsp", "-issuer", "issuing.pem", "-cert", "good.pem", "-cert", "gone.pem", "-serial", "0x77", "-no_nonce", "-respin", "answer.der", "-CAfile", "ca.crt")
	if !ok || !strings.Contains(out, "Response verify OK") {
		t.Errorf("got %s", out)
	}
	for _, want := range []string{"good.pem: good", "gone.pem: revoked", "Reason: superseded", "0x77: unknown"} {
		has(t, "several", out, want)
	}
}

func TestOpenSSLReadsTheList(t *testing.T) {
	need(t, "openssl")
	w := newWorld(t)
	good, _ := w.issue()
	gone, _ := w.issue()
	held, _ := w.issue()
	w.revoke(gone, registry.KeyCompromise)
	w.revoke(held, registry.CertificateHold)
	dir := w.fetched(t, "ca.crt", "chain.pem", "crl.pem", "crls.pem", "crl.der")
	out, ok := run(t, dir, "openssl", "crl", "-in", "crl.pem", "-noout", "-text", "-CAfile", "issuing.pem")
	if !ok {
		t.Errorf("got %s", out)
	}
	for _, want := range []string{"verify OK", "Version 2 (0x1)", "X509v3 CRL Number", "X509v3 Authority Key Identifier", "Key Compromise", "Certificate Hold"} {
		has(t, "crl -text", out, want)
	}
	if out, ok := run(t, dir, "openssl", "crl", "-inform", "DER", "-in", "crl.der", "-noout", "-crlnumber"); !ok || !regexp.MustCompile(`crlNumber=(0x)?0?[1-9]`).MatchString(out) {
		t.Errorf("got %s", out)
	}
	for _, check := range [][]string{{"-crl_check", "-CRLfile", "crl.pem"}, {"-crl_check_all", "-CRLfile", "crls.pem"}} {
		for name, test := range map[string]struct {
			leaf *x509.Certificate
			want string // in a refusal
		}{"good": {good, ""}, "revoked": {gone, "certificate revoked"}, "held": {held, "certificate revoked"}} {
			write(t, dir, "leaf.pem", certs.EncodePEM(test.leaf))
			out, ok := run(t, dir, "openssl", append([]string{"verify", "-CAfile", "ca.crt", "-untrusted", "chain.pem"}, append(check, "leaf.pem")...)...)
			if ok != (test.want == "") || !strings.Contains(out, test.want) {
				t.Errorf("%s %v: got %s", name, check, out)
			}
		}
	}
}

// curl refuses a server whose certificate was revoked, by the list that it
// fetched before.
func TestCurlChecksTheList(t *testing.T) {
	need(t, "curl")
	w := newWorld(t)
	leaf, pair := w.issue()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("hello")) }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = log.New(t.Output(), "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	visit := func() (string, bool) {
		dir := w.fetched(t)
		for _, name := range []string{"ca.crt", "crls.pem"} {
			if out, ok := run(t, dir, "curl", "-sS", "-f", "-o", name, w.web.URL+"/pki/"+name); !ok {
				t.Fatalf("%s: %s", name, out)
			}
		}
		return run(t, dir, "curl", "-sS", "--cacert", "ca.crt", "--crlfile", "crls.pem", "https://localhost:"+at.Port()+"/")
	}
	if out, ok := visit(); !ok || out != "hello" {
		t.Errorf("a good one: got %s", out)
	}
	w.revoke(leaf, registry.KeyCompromise)
	if out, ok := visit(); ok || !strings.Contains(out, "revoked") {
		t.Errorf("a revoked one: got %s", out)
	}
}

// curl's --etag-compare fetches a list once, and again when there is a new one.
func TestCurlFetchesAListOnce(t *testing.T) {
	need(t, "curl")
	w := newWorld(t)
	dir := w.fetched(t)
	fetch := func() string {
		out, ok := run(t, dir, "curl", "-sS", "--etag-compare", "etag", "--etag-save", "etag", "-o", "crl.pem", "-w", "%{http_code}", w.web.URL+"/pki/crl.pem")
		if !ok {
			t.Fatal(out)
		}
		return strings.TrimSpace(out[len(out)-3:])
	}
	write(t, dir, "etag", nil)
	if first, second := fetch(), fetch(); first != "200" || second != "304" {
		t.Errorf("got %s, then %s", first, second)
	}
	c, _ := w.issue()
	w.revoke(c, registry.Unspecified)
	if third := fetch(); third != "200" {
		t.Errorf("after a revocation: got %s", third)
	}
	data, err := os.ReadFile(filepath.Join(dir, "crl.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatalf("got %q", data)
	}
	l, err := x509.ParseRevocationList(block.Bytes)
	if err != nil || len(l.RevokedCertificateEntries) != 1 || l.RevokedCertificateEntries[0].SerialNumber.Cmp(c.SerialNumber) != 0 {
		t.Errorf("got %v, %v", l, err)
	}
}
