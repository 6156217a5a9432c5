package api

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-io/postern/registry"
)

// The form in which the first users made their certificates: the name is the
// secret, and nothing of it stays here.
func TestCertificateOfASecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newSiteOn(t, filepath.Join(dir, "postern.db"))
	d := "/" + string(s.domain.ID)
	certs := d + "/clients/" + string(s.client.ID) + "/certs"
	secret, csr := s.client.Secret.Reveal(), signingRequest(t)
	other := s.newClient()
	old := s.newClient()
	if _, err := s.api.Registry.RotateSecret(t.Context(), "", s.domain.ID, old.ID, registry.Secret{}, 0); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ client, secret string }{
		"it refuses a secret that nobody has":        {string(s.client.ID), "nobody-has-this-secret"},
		"it refuses the secret of another client":    {string(s.client.ID), other.Secret.Reveal()},
		"it refuses a secret that was replaced":      {string(old.ID), old.Secret.Reveal()},
		"it refuses what cannot be a secret":         {string(s.client.ID), "x"},
		"it refuses the identifier where it expects": {string(s.client.ID), string(s.client.ID)},
	} {
		w := s.do("POST", d+"/clients/"+c.client+"/certs", s.owner, object{"csr": csr, "secret": c.secret})
		if e := decode[Error](t, w); w.Code != 400 || !strings.Contains(e.Message, "secret") || len(c.secret) > 1 && strings.Contains(w.Body.String(), c.secret) {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}

	issue := func(in object) (Certificate, *x509.Certificate) {
		t.Helper()
		w := s.do("POST", certs, s.owner, in)
		if w.Code != 201 {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
		out := decode[Certificate](t, w)
		block, _ := pem.Decode([]byte(out.Certificate))
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return out, leaf
	}
	made, leaf := issue(object{"csr": csr, "secret": secret})
	if leaf.Subject.CommonName != secret || len(leaf.URIs) != 0 || made.Subject != registry.SecretSubject {
		t.Errorf("the name is not the secret alone: %d URIs, subject %q", len(leaf.URIs), made.Subject)
	}
	if again, _ := issue(object{"csr": csr, "secret": secret}); again.ID == made.ID {
		t.Error("the same certificate came twice, so it was kept")
	}
	if _, plain := issue(object{"csr": csr}); plain.Subject.CommonName != string(s.client.ID) {
		t.Errorf("the same request without the secret is for %q", plain.Subject.CommonName)
	}
	if own, _ := issue(object{"secret": secret}); !strings.Contains(own.PrivateKey, "PRIVATE KEY") {
		t.Error("no key was made")
	}
	if own, _ := issue(object{"secret": secret, "password": "eight or more"}); own.Pkcs12 == "" {
		t.Error("no PKCS#12 was made")
	}

	view := decode[Certificate](t, s.do("GET", d+"/certs/"+made.ID, s.viewer, nil))
	if view.Status != "valid" || view.Subject != registry.SecretSubject || view.Certificate != "" || view.SerialNumber != made.SerialNumber {
		t.Errorf("it is shown again as %+v", view)
	}
	if page := s.do("GET", d+"/certs", s.viewer, nil); page.Code != 200 || !strings.Contains(page.Body.String(), made.ID) {
		t.Errorf("it is not listed: %d %s", page.Code, page.Body)
	}
	if w := s.do("POST", d+"/certs/"+made.ID+"/revoke", s.owner, nil); w.Code != 200 || decode[Certificate](t, w).Status != "revoked" {
		t.Errorf("revoke: %d %s", w.Code, w.Body)
	}
	kept, err := s.store.Certificate(t.Context(), registry.CertificateID(made.ID))
	if err != nil || kept.RevokedAt.IsZero() || len(kept.DER) > 0 {
		t.Errorf("kept: %+v, %v", kept, err)
	}
	if found, err := s.store.CertificateBySerial(t.Context(), kept.Authority, kept.Serial); err != nil || string(found.ID) != made.ID {
		t.Errorf("by its serial number: %v, %v", found.ID, err)
	}

	if strings.Contains(s.log.String(), secret) {
		t.Error("the secret stands in the log")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files { // the database with its log
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("the secret stands in %s", filepath.Base(f))
		}
	}
}
