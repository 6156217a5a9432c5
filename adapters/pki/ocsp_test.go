package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/certs/certstest"
	"github.com/postern-io/postern/registry"
)

const asked = "application/ocsp-request"

func ask(t testing.TB, i *certs.Issuer, serial *big.Int) []byte {
	t.Helper()
	r, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: serial}, i.Certificate, &ocsp.RequestOptions{Hash: crypto.SHA256})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// withNonce adds a nonce to a request that has no extensions.
func withNonce(t testing.TB, request []byte) []byte {
	t.Helper()
	var r struct{ TBS struct{ List asn1.RawValue } }
	if _, err := asn1.Unmarshal(request, &r); err != nil {
		t.Fatal(err)
	}
	type extension struct {
		ID    asn1.ObjectIdentifier
		Value []byte
	}
	type tbs struct {
		List       asn1.RawValue
		Extensions []extension `asn1:"explicit,tag:2"`
	}
	out, err := asn1.Marshal(struct{ TBS tbs }{tbs{r.TBS.List, []extension{{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}, append([]byte{4, 16}, make([]byte, 16)...)}}}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (w *world) post(request []byte) *ocsp.Response {
	w.Helper()
	answer, body := w.do("POST", "/pki/ocsp", request, "Content-Type", asked)
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "application/ocsp-response" {
		w.Fatalf("got %s, %s", answer.Status, answer.Header.Get("Content-Type"))
	}
	a, err := ocsp.ParseResponse(body, w.issuer.Certificate)
	if err != nil {
		w.Fatal(err)
	}
	return a
}

func TestOCSP(t *testing.T) {
	w := newWorld(t)
	good, _ := w.issue()
	gone, _ := w.issue()
	held, _ := w.issue()
	status := func(c *x509.Certificate) int { return w.post(ask(t, w.issuer, c.SerialNumber)).Status }
	if status(gone) != ocsp.Good {
		t.Error("before it is revoked: not good")
	}
	w.revoke(gone, registry.KeyCompromise)
	w.revoke(held, registry.CertificateHold)
	for name, test := range map[string]struct {
		c              *x509.Certificate
		status, reason int
	}{
		"a good one":                  {good, ocsp.Good, 0},
		"a revoked one":               {gone, ocsp.Revoked, ocsp.KeyCompromise},
		"a held one":                  {held, ocsp.Revoked, ocsp.CertificateHold},
		"a number that was not given": {&x509.Certificate{SerialNumber: big.NewInt(7)}, ocsp.Unknown, 0},
	} {
		if a := w.post(ask(t, w.issuer, test.c.SerialNumber)); a.Status != test.status || a.RevocationReason != test.reason {
			t.Errorf("%s: got %d for %d", name, a.Status, a.RevocationReason)
		}
	}
	if _, err := w.registry.ReleaseCertificate(t.Context(), w.domain, registry.CertificateID(registry.Fingerprint(held))); err != nil {
		t.Fatal(err)
	}
	if status(held) != ocsp.Good {
		t.Error("after its release: not good")
	}
	w.wait(2 * time.Hour)
	if status(good) != ocsp.Good || status(gone) != ocsp.Revoked {
		t.Error("what ended is not told of as it is recorded")
	}
}

// A request has the same answer in whatever way its base64 is written into the
// path, two slashes in a row too.
func TestOCSPByGet(t *testing.T) {
	w := newWorld(t)
	var encoded string
	for n := int64(1); !strings.Contains(encoded, "//") || !strings.Contains(encoded, "+"); n++ {
		encoded = base64.StdEncoding.EncodeToString(ask(t, w.issuer, new(big.Int).Mul(big.NewInt(n), big.NewInt(0x3fffffff0f))))
	}
	for name, path := range map[string]string{
		"as it is":        encoded,
		"escaped":         url.QueryEscape(encoded),
		"partly escaped":  strings.ReplaceAll(encoded, "+", "%2b"),
		"slashes escaped": strings.ReplaceAll(encoded, "/", "%2F"),
		"everything spelt": func() (s string) {
			for _, c := range []byte(encoded) {
				s += "%" + strings.ToUpper(string("0123456789abcdef"[c>>4])) + string("0123456789abcdef"[c&15])
			}
			return
		}(),
	} {
		answer, body := w.do("GET", "/pki/ocsp/"+path, nil)
		a, err := ocsp.ParseResponse(body, w.issuer.Certificate)
		if err != nil || a.Status != ocsp.Unknown {
			t.Errorf("%s: got %s, %v", name, answer.Status, err)
			continue
		}
		h := answer.Header
		if h.Get("Cache-Control") != "max-age=60, public, no-transform, must-revalidate" || h.Get("Last-Modified") == "" || h.Get("Expires") == "" {
			t.Errorf("%s: a cache is told %v", name, h)
		}
		if head, body := w.do("HEAD", "/pki/ocsp/"+path, nil); head.StatusCode != 200 || len(body) != 0 {
			t.Errorf("%s: HEAD got %s", name, head.Status)
		}
	}
}

func TestOCSPIsNotCached(t *testing.T) {
	w := newWorld(t)
	request := ask(t, w.issuer, big.NewInt(1))
	get := func(request []byte) string { return "/pki/ocsp/" + base64.StdEncoding.EncodeToString(request) }
	for name, send := range map[string]func() *http.Response{
		"a POST":       func() *http.Response { r, _ := w.do("POST", "/pki/ocsp", request, "Content-Type", asked); return r },
		"with a nonce": func() *http.Response { r, _ := w.do("GET", get(withNonce(t, request)), nil); return r },
		"a malformed":  func() *http.Response { r, _ := w.do("GET", get([]byte("x")), nil); return r },
		"an unknown CA": func() *http.Response {
			r, _ := w.do("GET", get(ask(t, certstest.NewIssuer(t, nil), big.NewInt(1))), nil)
			return r
		},
	} {
		if h := send().Header; h.Get("Cache-Control") != "no-store" || h.Get("Expires") != "" {
			t.Errorf("%s: a cache is told %v", name, h)
		}
	}
}

func TestOCSPRefuses(t *testing.T) {
	w := newWorld(t)
	request := ask(t, w.issuer, big.NewInt(1))
	encoded := base64.StdEncoding.EncodeToString(request)
	const malformed, unauthorized = "\x30\x03\x0a\x01\x01", "\x30\x03\x0a\x01\x06"
	large := strings.Repeat("A", 16<<10+1)
	for name, test := range map[string]struct {
		method, path, body, kind string
		status                   int
		want                     string
	}{
		"an empty body":                {"POST", "/pki/ocsp", "", asked, 200, malformed},
		"text":                         {"POST", "/pki/ocsp", "hello", asked, 200, malformed},
		"a request cut short":          {"POST", "/pki/ocsp", string(request[:40]), asked, 200, malformed},
		"a body in base64":             {"POST", "/pki/ocsp", encoded, asked, 200, malformed},
		"a stranger's certificate":     {"POST", "/pki/ocsp/", string(ask(t, certstest.NewIssuer(t, nil), big.NewInt(1))), asked + "; charset=binary", 200, unauthorized},
		"the issuing authority's":      {"POST", "/pki/ocsp", string(ask(t, &certs.Issuer{Certificate: w.issuer.Root}, w.issuer.Certificate.SerialNumber)), asked, 200, unauthorized},
		"16 KiB":                       {"POST", "/pki/ocsp", large[1:], asked, 200, malformed},
		"more than 16 KiB":             {"POST", "/pki/ocsp", large, asked, 413, "16 KiB"},
		"no content type":              {"POST", "/pki/ocsp", string(request), "", 415, "application/ocsp-request"},
		"another content type":         {"POST", "/pki/ocsp", string(request), "application/json", 415, "application/ocsp-request"},
		"a content type that is none":  {"POST", "/pki/ocsp", string(request), "/;;", 415, "application/ocsp-request"},
		"another method":               {"PUT", "/pki/ocsp", string(request), asked, 405, "this method"},
		"a method of no one":           {"BREW", "/pki/ocsp/" + encoded, "", "", 405, "this method"},
		"a POST to a GET's path":       {"POST", "/pki/ocsp/" + encoded, string(request), asked, 404, "no such document"},
		"a GET without a request":      {"GET", "/pki/ocsp", "", "", 200, malformed},
		"a GET of nothing":             {"GET", "/pki/ocsp/", "", "", 200, malformed},
		"no base64":                    {"GET", "/pki/ocsp/!!!!", "", "", 200, malformed},
		"base64 cut short":             {"GET", "/pki/ocsp/" + encoded[:41], "", "", 200, malformed},
		"base64 escaped twice":         {"GET", "/pki/ocsp/" + strings.ReplaceAll(encoded, "M", "%254D"), "", "", 200, malformed},
		"a path beyond 16 KiB":         {"GET", "/pki/ocsp/" + strings.Repeat("A", 22000), "", "", 414, "16 KiB"},
		"a path that only looks alike": {"GET", "/pki/ocspx", "", "", 404, "no such document"},
	} {
		answer, body := w.do(test.method, test.path, []byte(test.body), "Content-Type", test.kind)
		kind := "text/plain; charset=utf-8"
		if test.status == 200 {
			kind = "application/ocsp-response"
			if string(body) != test.want {
				t.Errorf("%s: got %x, want %x", name, body, test.want)
			}
		} else {
			has(t, name, string(body), test.want)
		}
		if answer.StatusCode != test.status || answer.Header.Get("Content-Type") != kind || answer.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got %s, %v", name, answer.Status, answer.Header)
		}
		if test.status == 405 && answer.Header.Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("%s: allows %q", name, answer.Header.Get("Allow"))
		}
	}
	if answer, _ := w.do("POST", "/pki/ocsp", request, "Content-Type", asked, "Content-Encoding", "gzip"); answer.StatusCode != 415 {
		t.Errorf("a content encoding: got %s", answer.Status)
	}
}

func TestOCSPWithoutItsStore(t *testing.T) {
	w := newWorld(t)
	request := ask(t, w.issuer, big.NewInt(1))
	for err, want := range map[error]string{registry.ErrUnavailable: "\x30\x03\x0a\x01\x03", errors.New("broken"): "\x30\x03\x0a\x01\x02"} {
		w.server.Records = broken{err}
		answer, body := w.do("POST", "/pki/ocsp", request, "Content-Type", asked)
		if answer.StatusCode != 200 || string(body) != want {
			t.Errorf("%v: got %s, %x", err, answer.Status, body)
		}
	}
	has(t, "the log", w.log.String(), "broken")
}

// When all turns are taken, one is told to try later and nobody waits for ever.
func TestTurnsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := certstest.NewIssuer(t, nil)
		s := &Server{Issuers: func() []*certs.Issuer { return []*certs.Issuer{i} }, Log: slog.New(slog.DiscardHandler), Now: time.Now}
		full := make(turns) // nobody gives one back
		begin := time.Now()
		answer, request := httptest.NewRecorder(), httptest.NewRequest("POST", "/pki/ocsp", bytes.NewReader(ask(t, i, big.NewInt(1))))
		request.Header.Set("Content-Type", asked)
		s.ocsp(answer, request, full, "")
		if answer.Code != 200 || !bytes.Equal(answer.Body.Bytes(), ocsp.TryLaterErrorResponse) {
			t.Errorf("got %d, %x", answer.Code, answer.Body)
		}
		answer, request = httptest.NewRecorder(), httptest.NewRequest("GET", "/pki/crl.pem", nil)
		s.refuse(answer, request, s.fetch(answer, request, full, "crl.pem"))
		if answer.Code != 503 || answer.Header().Get("Retry-After") == "" {
			t.Errorf("got %d", answer.Code)
		}
		if waited := time.Since(begin); waited != 2*maxWait {
			t.Errorf("two waited %v", waited)
		}
	})
}

// FuzzOCSPPath finds that whatever stands in a GET's path is an answer that the
// library reads, an OCSP error, or too long.
func FuzzOCSPPath(f *testing.F) {
	w := newWorld(f)
	handler := w.server.Handler()
	encoded := base64.StdEncoding.EncodeToString(ask(f, w.issuer, big.NewInt(1)))
	for _, path := range []string{"", "/", "/" + encoded, "/" + url.PathEscape(encoded), "//" + encoded, "/%", "/%ff", "/../ca.crt", "/" + encoded[:20], "/MA==", "/a//b+c"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		at, err := url.ParseRequestURI("/pki/ocsp/" + path)
		if err != nil {
			return // the server never hands it on
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, (&http.Request{Method: "GET", URL: at, Header: http.Header{}}).WithContext(t.Context()))
		var told ocsp.ResponseError
		switch _, err := ocsp.ParseResponse(answer.Body.Bytes(), w.issuer.Certificate); {
		case answer.Code == 414:
		case answer.Code != 200:
			t.Errorf("got %d", answer.Code)
		case errors.As(err, &told) && (told.Status == ocsp.Malformed || told.Status == ocsp.Unauthorized):
		case err != nil && !strings.Contains(err.Error(), "bad number of responses"):
			t.Errorf("got %x: %v", answer.Body, err)
		}
	})
}
