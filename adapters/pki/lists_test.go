package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/certs/certstest"
	"github.com/postern-io/postern/registry"
)

func TestAuthorities(t *testing.T) {
	w := newWorld(t)
	older := certstest.NewIssuer(t, nil)
	older.Retired = true
	now := w.issuer
	w.server.Issuers = func() []*certs.Issuer { return []*certs.Issuer{now, older} }
	for path, test := range map[string]struct {
		kind string
		want []byte
	}{
		"/pki/ca.crt":    {"application/pem-certificate-chain", certs.EncodePEM(now.Root, older.Root)},
		"/pki/ca.der":    {"application/pkix-cert", now.Root.Raw},
		"/pki/chain.pem": {"application/pem-certificate-chain", certs.EncodePEM(now.Certificate, older.Certificate, now.Root, older.Root)},
	} {
		answer, body := w.do("GET", path, nil)
		if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != test.kind || !bytes.Equal(body, test.want) {
			t.Errorf("%s: got %s, %s, %q", path, answer.Status, answer.Header.Get("Content-Type"), body)
		}
		if again, body := w.do("GET", path, nil, "If-None-Match", answer.Header.Get("ETag")); again.StatusCode != 304 || len(body) != 0 {
			t.Errorf("%s again: got %s", path, again.Status)
		}
		if head, body := w.do("HEAD", path, nil); head.ContentLength != int64(len(test.want)) || len(body) != 0 {
			t.Errorf("HEAD %s: got %s of %d", path, head.Status, head.ContentLength)
		}
	}
}

func TestListHasWhatWasRevokedBefore(t *testing.T) {
	w := newWorld(t)
	first, _ := w.issue()
	second, _ := w.issue()
	answer, l := w.list("/pki/crl.der")
	if len(l.RevokedCertificateEntries) != 0 || answer.Header.Get("Content-Type") != "application/pkix-crl" || answer.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("got %d lines, %v", len(l.RevokedCertificateEntries), answer.Header)
	}
	if at := answer.Header.Get("Last-Modified"); at != l.ThisUpdate.UTC().Format(http.TimeFormat) {
		t.Errorf("it was made %v and says %s", l.ThisUpdate, at)
	}
	etag, number := answer.Header.Get("ETag"), l.Number
	unchanged := func(path string) {
		t.Helper()
		if again, body := w.do("GET", path, nil, "If-None-Match", etag); again.StatusCode != 304 || len(body) != 0 || again.Header.Get("ETag") != etag {
			t.Errorf("%s again: got %s with %d bytes", path, again.Status, len(body))
		}
	}
	unchanged("/pki/crl.der")
	unchanged("/pki/crl/" + string(w.issuer.ID) + ".crl")

	// All this is within one second: a time would not tell the lists apart.
	for n, c := range []*x509.Certificate{first, second} {
		w.revoke(c, registry.Superseded)
		answer, l = w.list("/pki/crl.der", "If-None-Match", etag, "If-Modified-Since", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		if len(l.RevokedCertificateEntries) != n+1 || l.Number.Cmp(number) <= 0 || answer.Header.Get("ETag") == etag {
			t.Errorf("after %d revocations: got %d lines, number %v after %v", n+1, len(l.RevokedCertificateEntries), l.Number, number)
		}
		etag, number = answer.Header.Get("ETag"), l.Number
		if _, l := w.list("/pki/crl.der", "If-Modified-Since", answer.Header.Get("Last-Modified")); len(l.RevokedCertificateEntries) != n+1 {
			t.Errorf("by its date: got %d lines", len(l.RevokedCertificateEntries))
		}
	}
	unchanged("/pki/crl.der")
	_, text := w.do("GET", "/pki/crl.pem", nil)
	byName, same := w.do("GET", "/pki/crl/"+string(w.issuer.ID)+".pem", nil)
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "X509 CRL" || !bytes.Equal(block.Bytes, l.Raw) || len(rest) != 0 || !bytes.Equal(text, same) || byName.Header.Get("ETag") != etag {
		t.Errorf("the PEM is not of the same list: %q", text)
	}
	if part, body := w.do("GET", "/pki/crl.der", nil, "Range", "bytes=10-19", "If-Range", etag); part.StatusCode != 206 || !bytes.Equal(body, l.Raw[10:20]) {
		t.Errorf("a part: got %s", part.Status)
	}

	// At half its life it is made anew, though nothing was revoked. Both
	// certificates have ended by then, and stay for that one list.
	for _, lines := range []int{2, 0} {
		w.wait(certs.ListLife / 2)
		if _, l = w.list("/pki/crl.der"); l.Number.Cmp(number) <= 0 || len(l.RevokedCertificateEntries) != lines {
			t.Errorf("half a life later: got number %v after %v, %d lines, want %d", l.Number, number, len(l.RevokedCertificateEntries), lines)
		}
		number = l.Number
	}
}

// A list is encoded once, however often it is fetched, and is dropped for the
// next.
func TestListIsEncodedOnce(t *testing.T) {
	w := newWorld(t)
	fetch := func() *document {
		t.Helper()
		d, err := w.server.document(t.Context(), "crl.pem")
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := fetch()
	if fetch() != first {
		t.Error("the same list was encoded twice")
	}
	all, err := w.server.document(t.Context(), "crls.pem")
	if err != nil || !bytes.HasPrefix(all.body, first.body) {
		t.Errorf("got %v, %v", all, err)
	}
	c, _ := w.issue()
	w.revoke(c, registry.Unspecified)
	if fetch() == first || len(w.server.published) != 1 {
		t.Error("the list before is still told, or kept")
	}
}

func TestListOfARetiredAuthority(t *testing.T) {
	w := newWorld(t)
	c, _ := w.issue()
	old := w.issuer
	next := certstest.NewIssuer(t, nil)
	w.found(next)
	retired := *old
	retired.Retired = true
	w.server.Issuers = func() []*certs.Issuer { return []*certs.Issuer{&retired, next} }
	w.revoke(c, registry.KeyCompromise)
	if _, l := w.list("/pki/crl/" + string(old.ID) + ".crl"); len(l.RevokedCertificateEntries) != 1 {
		t.Errorf("got %d lines", len(l.RevokedCertificateEntries))
	}
	w.issuer = next
	if _, l := w.list("/pki/crl.der"); len(l.RevokedCertificateEntries) != 0 {
		t.Errorf("the next authority lists %d of the one before", len(l.RevokedCertificateEntries))
	}
	_, all := w.do("GET", "/pki/crls.pem", nil)
	for n, want := range []*x509.Certificate{old.Certificate, next.Certificate, old.Root} {
		var block *pem.Block
		if block, all = pem.Decode(all); block == nil {
			t.Fatalf("list %d is missing", n)
		}
		l, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.CheckSignatureFrom(want); err != nil {
			t.Errorf("list %d: %v", n, err)
		}
	}
}

func TestFetchRefuses(t *testing.T) {
	w := newWorld(t)
	id := string(w.issuer.ID)
	for _, test := range []struct {
		method, path string
		status       int
		words        string
	}{
		{"GET", "/pki/", 404, "there is no such document"},
		{"GET", "/pki/ca.key", 404, "there is no such document"},
		{"GET", "/pki/crl/", 404, "there is no such document"},
		{"GET", "/pki/crl/.crl", 404, "there is no such document"},
		{"GET", "/pki/crl/" + id, 404, "there is no such document"},
		{"GET", "/pki/crl/" + id + ".crl/", 404, "there is no such document"},
		{"GET", "/pki/crl/" + id[1:] + "0.crl", 404, "there is no such document"},
		{"GET", "/pki/crl/../../etc/passwd", 404, "there is no such document"},
		{"GET", "/pki/crl/%00.crl", 404, "there is no such document"},
		{"POST", "/pki/crl.pem", 405, "this method"},
		{"DELETE", "/pki/crl/" + id + ".crl", 405, "this method"},
	} {
		answer, body := w.do(test.method, test.path, nil)
		if answer.StatusCode != test.status || answer.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s %s: got %s, %s", test.method, test.path, answer.Status, answer.Header.Get("Content-Type"))
		}
		has(t, test.path, string(body), test.words)
		if test.status == 405 && answer.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s %s allows %q", test.method, test.path, answer.Header.Get("Allow"))
		}
	}
	w.server.Issuers = func() []*certs.Issuer { return nil }
	if answer, _ := w.do("GET", "/pki/ca.crt", nil); answer.StatusCode != 404 {
		t.Errorf("without an authority: got %s", answer.Status)
	}
}

func TestListWithoutItsStore(t *testing.T) {
	w := newWorld(t)
	for err, want := range map[error]int{registry.ErrUnavailable: 503, errors.New("secret of the house"): 500, registry.ErrNotFound: 404} {
		w.server.Lists = broken{err}
		answer, body := w.do("GET", "/pki/crl.pem", nil)
		if answer.StatusCode != want || bytes.Contains(body, []byte("secret")) || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v: got %s, %q", err, answer.Status, body)
		}
		if want == 503 && answer.Header.Get("Retry-After") == "" {
			t.Error("it does not say when to come again")
		}
	}
	has(t, "the log", w.log.String(), "secret of the house")
}
