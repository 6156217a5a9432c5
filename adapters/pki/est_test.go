package pki

import (
	"bytes"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/postern-io/postern/certs"
)

// openssl reads what curl fetched, and finds our chain in it.
func TestESTTellsTheAuthorities(t *testing.T) {
	need(t, "openssl")
	need(t, "curl")
	w := newWorld(t)
	door := httptest.NewServer(w.server.EST())
	t.Cleanup(door.Close)
	dir := t.TempDir()
	for _, step := range [][]string{
		{"curl", "-sS", "-f", "-o", "cacerts.b64", door.URL + "/.well-known/est/cacerts"},
		{"openssl", "base64", "-d", "-A", "-in", "cacerts.b64", "-out", "cacerts.p7"},
		{"openssl", "pkcs7", "-inform", "DER", "-in", "cacerts.p7", "-print_certs", "-out", "cacerts.pem"},
	} {
		if out, ok := run(t, dir, step[0], step[1:]...); !ok {
			t.Fatalf("%v: %s", step, out)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "cacerts.pem"))
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		got = append(got, pem.EncodeToMemory(block)...)
	}
	if want := certs.EncodePEM(w.issuer.Certificate, w.issuer.Root); !bytes.Equal(got, want) {
		t.Errorf("got %s", text)
	}
}

func TestEST(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]struct {
		method, path string
		status       int
		kind         string
	}{
		"it tells the authorities":         {"GET", "cacerts", 200, "application/pkcs7-mime; smime-type=certs-only"},
		"it asks nothing of a request":     {"GET", "csrattrs", 204, ""},
		"it takes nothing":                 {"POST", "cacerts", 405, "text/plain; charset=utf-8"},
		"it enrols nobody":                 {"POST", "simpleenroll", 404, "text/plain; charset=utf-8"},
		"it knows no labels":               {"GET", "label/cacerts", 404, "text/plain; charset=utf-8"},
		"it does not look into the folder": {"GET", "", 404, "text/plain; charset=utf-8"},
	} {
		answer := httptest.NewRecorder()
		w.server.EST().ServeHTTP(answer, httptest.NewRequest(test.method, ESTPrefix+test.path, nil))
		if answer.Code != test.status || answer.Header().Get("Content-Type") != test.kind {
			t.Errorf("%s: got %d, %v", name, answer.Code, answer.Header())
		}
	}
}
