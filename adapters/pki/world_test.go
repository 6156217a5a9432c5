package pki

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/certs/certstest"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// A world is a registry with issuers, and this door before it.
type world struct {
	testing.TB
	store    *store.Store
	registry *registry.Registry
	issuer   *certs.Issuer
	server   *Server
	web      *httptest.Server
	domain   registry.DomainID
	device   registry.DeviceID
	log      bytes.Buffer

	mu   sync.Mutex
	late time.Duration // how far the clock was set ahead
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.late)
}

func (w *world) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late += d
}

func newWorld(t testing.TB) *world {
	t.Helper()
	s, err := store.Open(t.Context(), "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	hasher, err := registry.NewSecretHasher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, store: s}
	w.registry = &registry.Registry{Store: s, Hasher: hasher, Now: w.now, NewID: uuid.NewString}
	d, err := w.registry.CreateDomain(t.Context(), "", registry.Domain{Name: "one"})
	if err != nil {
		t.Fatal(err)
	}
	devices, err := w.registry.CreateDevices(t.Context(), "", d.ID, []registry.NewDevice{{}})
	if err != nil {
		t.Fatal(err)
	}
	issuer, rootKey := certstest.NewIssuerAndRoot(t, nil)
	rootList, err := certs.RootList(issuer.Root, rootKey, w.now())
	if err != nil {
		t.Fatal(err)
	}
	w.domain, w.device, w.issuer = d.ID, devices[0].ID, issuer
	w.found(issuer)
	var mu sync.Mutex
	w.server = &Server{
		Issuers:   func() []*certs.Issuer { return []*certs.Issuer{issuer} },
		RootLists: func() [][]byte { return [][]byte{rootList} },
		Lists:     w.registry, Records: s, Now: w.now,
		Log: slog.New(slog.NewTextHandler(locked{&mu, &w.log}, nil)),
	}
	w.web = httptest.NewServer(w.server.Handler())
	t.Cleanup(w.web.Close)
	return w
}

type locked struct {
	mu *sync.Mutex
	io.Writer
}

func (l locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Writer.Write(b)
}

// found keeps an authority.
func (w *world) found(i *certs.Issuer) {
	w.Helper()
	_, err := w.registry.RotateAuthority(w.Context(), func() (registry.Authority, error) {
		return registry.Authority{ID: i.ID, DER: i.Certificate.Raw, Root: i.Root.Raw, RootList: []byte{}, Key: []byte("sealed")}, nil
	})
	if err != nil {
		w.Fatal(err)
	}
}

// issue has the issuer sign a certificate and the registry keep it.
func (w *world) issue() (*x509.Certificate, tls.Certificate) {
	w.Helper()
	c, pair := certstest.Issue(w, w.issuer)
	_, err := w.registry.IssueCertificate(w.Context(), "", w.domain, w.device, uuid.NewString(), func(registry.Device) (registry.Certificate, error) {
		return certstest.Record(w.issuer, c), nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return c, pair
}

func (w *world) revoke(c *x509.Certificate, reason registry.RevocationReason) {
	w.Helper()
	if _, err := w.registry.RevokeCertificate(w.Context(), w.domain, registry.CertificateID(registry.Fingerprint(c)), reason); err != nil {
		w.Fatal(err)
	}
}

// do sends a request and returns the answer with its body. header holds pairs.
func (w *world) do(method, path string, body []byte, header ...string) (*http.Response, []byte) {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.web.URL, bytes.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	r.URL.Opaque = path // as it is
	for n := 0; n < len(header); n += 2 {
		r.Header.Set(header[n], header[n+1])
	}
	answer, err := w.web.Client().Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		w.Fatal(err)
	}
	return answer, got
}

func (w *world) list(path string, header ...string) (*http.Response, *x509.RevocationList) {
	w.Helper()
	answer, body := w.do("GET", path, nil, header...)
	if answer.StatusCode != http.StatusOK {
		w.Fatalf("%s: got %s: %s", path, answer.Status, body)
	}
	l, err := x509.ParseRevocationList(body)
	if err != nil {
		w.Fatal(err)
	}
	if err := l.CheckSignatureFrom(w.issuer.Certificate); err != nil {
		w.Fatal(err)
	}
	return answer, l
}

// broken is a store that answers with an error.
type broken struct{ err error }

func (b broken) RevocationList(context.Context, registry.AuthorityID, func(int64, []registry.Revocation) (registry.RevocationList, error)) (registry.RevocationList, error) {
	return registry.RevocationList{}, b.err
}

func (b broken) CertificateBySerial(context.Context, registry.AuthorityID, string) (registry.Certificate, error) {
	return registry.Certificate{}, b.err
}

func has(t testing.TB, name, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%s: got %q, want %q in it", name, got, want)
	}
}
