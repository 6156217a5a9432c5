package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

func (h *host) authorities() []object {
	h.t.Helper()
	code, out, text := h.postern("", "ca", "show", "-o", "json")
	var rows []object
	if err := json.Unmarshal([]byte(out), &rows); code != 0 || err != nil {
		h.t.Errorf("ca show: got %d %s %s", code, out, text)
	}
	return rows
}

// deviceCertificate is issued as the API does.
func deviceCertificate(t *testing.T, h *house, domain registry.DomainID, device registry.DeviceID) []*x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	request, err := certs.ParseRequestDER(der)
	if err != nil {
		t.Fatal(err)
	}
	c, err := h.registry.IssueCertificate(t.Context(), "", domain, device, request.Fingerprint, func(d registry.Device) (registry.Certificate, error) {
		return h.ca.IssueDevice(d, request)
	})
	if err != nil {
		t.Fatal(err)
	}
	chain, err := h.ca.Chain(c)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

// The life of an authority: founded before the first start, used, rotated beside
// the server that runs, and its key taken away.
func TestCA(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	before := &host{t: t, dir: t.TempDir(), env: []string{"POSTERN_DATA_DIR=" + data, "POSTERN_CA_PASSPHRASE=seven wet stones"}}
	if code, _, text := before.postern("", "ca", "show"); code != exitUsage || !strings.Contains(text, "there is no ") {
		t.Errorf("show before there is anything: got %d %s", code, text)
	}
	if code, out, text := before.postern("", "ca", "init"); code != 0 || !strings.Contains(text, "founded CN=Postern CA") || strings.Count(out, "\n") != 3 {
		t.Errorf("init: got %d %s %s", code, out, text)
	}
	founded := before.authorities()
	if code, _, text := before.postern("", "ca", "init"); code != 0 || !strings.Contains(text, "already") {
		t.Errorf("init again: got %d %s", code, text)
	}
	if again := before.authorities(); len(again) != 2 || again[0]["sha256"] != founded[0]["sha256"] || again[1]["sha256"] != founded[1]["sha256"] ||
		again[0]["key"] != "this machine, encrypted" || again[1]["key"] != "database, sealed with passphrase" || again[1]["signs"] != true {
		t.Errorf("after another init: %v, before %v", again, founded)
	}

	serving(t, func(c *Config) { c.DataDir, c.CAPassphrase = data, "seven wet stones" }, func(h *host, house *house) {
		h.env = append(h.env, "POSTERN_CA_PASSPHRASE=seven wet stones")
		if got := registry.Fingerprint(house.ca.Root()); got != founded[0]["sha256"] {
			t.Errorf("the server has another root: %s", got)
		}
		d, err := house.registry.CreateDomain(t.Context(), "", registry.Domain{Name: "home"})
		if err != nil {
			t.Fatal(err)
		}
		made, err := house.registry.CreateDevices(t.Context(), "", d.ID, []registry.NewDevice{{}})
		if err != nil {
			t.Fatal(err)
		}
		old := deviceCertificate(t, house, d.ID, made[0].ID)

		stick := filepath.Join(h.dir, "root.key")
		if code, _, text := h.postern("", "ca", "export", "--root-key", stick); code != exitUsage || !strings.Contains(text, "--yes") {
			t.Errorf("the key left unasked: got %d %s", code, text)
		}
		if code, _, text := h.postern("", "ca", "export", "--root-key", stick, "--passphrase-file", h.file("phrase", "on the stick"), "--yes"); code != 0 {
			t.Errorf("export: got %d %s", code, text)
		}
		if _, err := os.Stat(filepath.Join(data, "ca.key")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ca.key stayed: %v", err)
		}
		if rows := h.authorities(); rows[0]["key"] != "not on this machine" {
			t.Errorf("show after the export: %v", rows[0])
		}
		if code, _, text := h.postern("", "ca", "rotate"); code != exitFailure || !strings.Contains(text, "put it back") {
			t.Errorf("rotate without the key: got %d %s", code, text)
		}
		if err := os.Chmod(stick, 0o644); err != nil {
			t.Fatal(err)
		}
		rotate := []string{"ca", "rotate", "--root-key", stick, "--passphrase-file", filepath.Join(h.dir, "phrase")}
		if code, _, text := h.postern("", rotate...); code != exitFailure || !strings.Contains(text, "chmod 600") {
			t.Errorf("rotate with a key that all may read: got %d %s", code, text)
		}
		if err := os.Chmod(stick, 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, text := h.postern("", rotate...); code != 0 {
			t.Errorf("rotate: got %d %s", code, text)
		}
		rows := h.authorities()
		if len(rows) != 3 || rows[1]["signs"] != true || rows[2]["signs"] != false || rows[2]["sha256"] != founded[1]["sha256"] {
			t.Errorf("after the rotation: %v", rows)
		}

		house.notices.lost() // what the server does by itself within a minute
		tick, deadline := time.NewTicker(10*time.Millisecond), time.After(20*time.Second)
		defer tick.Stop()
		for string(house.ca.Issuers()[0].ID) != rows[1]["sha256"] {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatal("the server that runs never learned of the new authority")
			}
		}
		fresh := deviceCertificate(t, house, d.ID, made[0].ID)
		if registry.Fingerprint(fresh[1]) != rows[1]["sha256"] {
			t.Error("the new certificate is not from the new authority")
		}
		for name, chain := range map[string][]*x509.Certificate{"old": old, "new": fresh} {
			if _, refused := house.trust.Vouch(chain); refused != "" {
				t.Errorf("the %s certificate is refused: %s", name, refused)
			}
		}

		ca := filepath.Join(h.dir, "root.crt")
		if code, _, text := h.postern("", "ca", "export", "--out", ca); code != 0 {
			t.Errorf("export: got %d %s", code, text)
		}
		if code, _, text := h.postern("", "ca", "export", "--out", ca); code != exitFailure || !strings.Contains(text, "--force") {
			t.Errorf("export over a file: got %d %s", code, text)
		}
		if roots, err := certs.ReadCertificates(ca); err != nil || len(roots) != 1 || !roots[0].Equal(house.ca.Root()) {
			t.Errorf("exported %v, %v", roots, err)
		}
		if code, out, text := h.postern("", "ca", "export", "--chain"); code != 0 || strings.Count(out, "BEGIN CERTIFICATE") != 3 {
			t.Errorf("export of the chain: got %d %s %s", code, out, text)
		}
	})
}

// A mistaken directory gets no key that no server knows.
func TestCARotateMakesNoSecretKey(t *testing.T) {
	h := &host{t: t, dir: t.TempDir(), env: []string{"POSTERN_DATA_DIR=" + filepath.Join(t.TempDir(), "data")}}
	if code, _, text := h.postern("", "ca", "init"); code != 0 {
		t.Fatal(text)
	}
	key := filepath.Join(strings.TrimPrefix(h.env[0], "POSTERN_DATA_DIR="), "secret.key")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if code, _, text := h.postern("", "ca", "rotate"); code != exitUsage || !strings.Contains(text, "secret.key") {
		t.Errorf("got %d %s", code, text)
	}
	if _, err := os.Stat(key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key was made: %v", err)
	}
}
