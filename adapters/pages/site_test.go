package pages

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/api"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// A site is the pages before a real API on SQLite, which takes everybody of this
// machine for an owner.
type site struct {
	t        testing.TB
	handler  http.Handler
	store    *store.Store
	registry *registry.Registry
	domain   registry.Domain
	log      bytes.Buffer // what is worse than information
	asked    atomic.Int32 // requests of the API

	api    *api.Server
	pages  *Server
	refuse atomic.Int32 // the status that the API answers traffic with; 0: its own
}

// live has somebody else tell what devices do now. Pages that are open then ask
// at once.
func (s *site) live(gateway api.LiveTraffic) { s.api.Traffic, s.pages.pace = gateway, time.Millisecond }

// page visits a page of the domain.
func (s *site) page(path string) *httptest.ResponseRecorder {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second) // of what is refused, or goes on
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", "http://localhost/domains/plant"+path, nil)
	r.RemoteAddr = "127.0.0.1:1"
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// nobody is a gateway at which nobody is connected.
type nobody struct{}

func (nobody) Sessions(context.Context, registry.DeviceID) ([]adapters.SessionInfo, error) {
	return nil, nil
}

func (nobody) EndSession(context.Context, registry.DeviceID, string) error {
	return registry.ErrNotFound
}

func (nobody) Traffic(context.Context, registry.DomainID, time.Time) (adapters.Traffic, error) {
	return adapters.Traffic{}, nil
}

func (nobody) Refusals(context.Context, adapters.RefusalQuery) ([]adapters.Refusal, error) {
	return nil, nil
}

// newSite makes a site of its own: on a copy of a database that was made once,
// because with the race detector a migration costs more than most tests.
func newSite(t testing.TB) *site {
	t.Helper()
	empty.once.Do(func() {
		path := filepath.Join(t.TempDir(), "empty.db")
		db, err := store.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil { // moves the log into the file
			t.Fatal(err)
		}
		if empty.file, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	})
	path := filepath.Join(t.TempDir(), "postern.db")
	if err := os.WriteFile(path, empty.file, 0o600); err != nil {
		t.Fatal(err)
	}
	return siteOn(t, path)
}

// empty is a database with tables and nothing in them.
var empty struct {
	once sync.Once
	file []byte
}

func siteOn(t testing.TB, database string) *site {
	t.Helper()
	db, err := store.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	hasher, err := registry.NewSecretHasher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, store: db, registry: &registry.Registry{Store: db, Hasher: hasher, Now: time.Now, NewID: uuid.NewString}}
	ca, err := certs.Open(t.Context(), certs.Config{Dir: t.TempDir(), Keeper: s.registry, Key: make([]byte, 32), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	people := &authz.People{Find: db}
	log := slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s.api = &api.Server{
		Registry: s.registry, People: people, Live: nobody{}, Traffic: nobody{}, Certs: ca, Imports: certs.Imports{Own: func() []*x509.Certificate { return nil }, Now: time.Now}, Open: true, Log: log, NewID: uuid.NewString,
		Users: authn.NewUsers(authn.UsersConfig{Store: db, Find: db, Now: time.Now, Log: log}),
	}
	manage := s.api.Handler()
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := int(s.refuse.Load()); status != 0 && strings.HasSuffix(r.URL.Path, "/traffic") {
			w.WriteHeader(status)
			fmt.Fprint(w, `{"error":"x","message":"no more"}`)
			return
		}
		s.asked.Add(1)
		manage.ServeHTTP(w, r)
	})
	s.pages = &Server{API: counted, Roles: people, Log: log, NewID: uuid.NewString}
	s.handler = s.pages.Handler()
	if s.domain, err = s.registry.CreateDomain(t.Context(), "", registry.Domain{Name: "Plant", Route: "plant"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// do visits a page of the domain's devices.
func (s *site) do(method, path, kind, body string, header ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), method, "http://localhost/domains/plant/devices"+path, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:1"
	r.Header.Set("Content-Type", kind)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func (s *site) get(path string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.do("GET", path, "", "")
}

func (s *site) post(path string, sent url.Values, header ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.do("POST", path, "application/x-www-form-urlencoded", sent.Encode(), header...)
}

// send sends a file to be imported.
func (s *site) send(file string, header ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile("file", "devices.csv")
	if err != nil {
		s.t.Fatal(err)
	}
	part.Write([]byte(file))
	w.Close()
	return s.do("POST", "/import", w.FormDataContentType(), b.String(), header...)
}

// fleet makes n devices.
func (s *site) fleet(n int) []registry.DeviceID {
	s.t.Helper()
	var ids []registry.DeviceID
	for len(ids) < n {
		some := make([]registry.NewDevice, min(registry.MaxBulk, n-len(ids)))
		for i := range some {
			some[i].Device = registry.Device{Name: fmt.Sprintf("pump-%06d", len(ids)+i), Tags: []string{"north", fmt.Sprintf("row-%d", i%100)}, Metadata: registry.Metadata{"n": json.Number("12345678901234567890")}}
		}
		made, err := s.registry.CreateDevices(s.t.Context(), "", s.domain.ID, some)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, d := range made {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

// count is how many devices there are.
func (s *site) count(status registry.Status) int {
	s.t.Helper()
	all, err := s.registry.Devices(s.t.Context(), registry.Query{Domain: s.domain.ID, Status: status, Limit: 1, Order: registry.ByCreated})
	if err != nil {
		s.t.Fatal(err)
	}
	return all.Total
}

// BenchmarkListDevices shows a page of 100,000 devices: at its beginning, at its
// end, and of a search.
func BenchmarkListDevices(b *testing.B) {
	s := siteOn(b, filepath.Join(b.TempDir(), "postern.db"))
	s.fleet(100_000)
	for name, path := range map[string]string{"first": "", "last": "?offset=99950", "name": "?name=pump-0777", "tag": "?tag=row-7", "state": "?status=disabled"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if w := s.get(path); w.Code != http.StatusOK {
					b.Fatalf("%d: %s", w.Code, w.Body)
				}
			}
		})
	}
	b.Run("export", func(b *testing.B) {
		for b.Loop() {
			if w := s.get("/export"); w.Code != http.StatusOK || strings.Count(w.Body.String(), "\n") != 100_001 {
				b.Fatalf("%d: %d lines", w.Code, strings.Count(w.Body.String(), "\n"))
			}
		}
	})
}

// TestNoChangeFromAnotherSite sends every form of every page as a page elsewhere
// would.
func TestNoChangeFromAnotherSite(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	holes := regexp.MustCompile(`\{[^}]*\}`)
	n := 0
	for _, pattern := range Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		if method == http.MethodGet {
			continue
		}
		n++
		for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"} {
			r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost"+holes.ReplaceAllString(path, "works"), strings.NewReader("name=x"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set(header, value)
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, r)
			if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "Changes from another site are refused") {
				t.Errorf("%s with %s: got %d", pattern, header, w.Code)
			}
		}
	}
	if n < 20 {
		t.Errorf("%d forms were found", n)
	}
}

// A leaver leaves while its role is looked up.
type leaver func()

func (leave leaver) Role(ctx context.Context, _ registry.User, _ registry.DomainID) (registry.Role, error) {
	leave()
	return registry.NoRole, ctx.Err()
}

// TestWhoLeavesIsNoFault breaks requests off, as a browser does that goes on to
// another page.
func TestWhoLeavesIsNoFault(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, path := range []string{"/domains/plant", "/domains/plant/live", "/domains/plant/devices"} {
		ctx, leave := context.WithCancel(t.Context())
		s.pages.Roles = leaver(leave)
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
		r.RemoteAddr = "127.0.0.1:1"
		s.handler.ServeHTTP(httptest.NewRecorder(), r)
		if ctx.Err() == nil {
			t.Errorf("%s: nobody left", path)
		}
	}
	if s.log.Len() > 0 {
		t.Errorf("the log says: %s", &s.log)
	}
}
