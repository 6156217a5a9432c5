package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDoctor has the doctor look at a healthy server, and at one with a loose
// key, a disabled device that holds a certificate, and nobody signed in.
func TestDoctor(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	g := s.quick()
	look := func() (string, bool) {
		out, err := s.try("doctor", "--ops-addr", "127.0.0.1:"+s.opsP)
		if err != nil {
			out += err.Error()
		}
		return out, err == nil
	}
	out, well := look()
	for _, want := range []string{
		"are their owner's alone", "the root's key is here, in plain text", "server.crt is good until", "answers", "the server's certificate is good until",
		"the clocks agree", "database and NATS answer", "nothing is the matter with secrets and certificates",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not said of a healthy server:\n%s", want, out)
		}
	}
	if !well || strings.Contains(out, "care  ") {
		t.Errorf("a healthy server needs care:\n%s", out)
	}

	if err := os.Chmod(filepath.Join(s.dir, "data", "secret.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.postern("clients", "disable", g.sensor.id, "-d", g.domain)
	out, well = look()
	for _, want := range []string{"chmod 600", "1 × certificate of disabled. Revoke the certificate", "something needs care: 2"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not said:\n%s", want, out)
		}
	}
	if well {
		t.Errorf("nothing needs care:\n%s", out)
	}

	s.postern("logout")
	if out, _ = look(); !strings.Contains(out, "the devices were not looked at: ") || !strings.Contains(out, "sign in with postern login") {
		t.Errorf("of nobody:\n%s", out)
	}
}
