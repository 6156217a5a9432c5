package api

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/password"
	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// A site is a running API on SQLite in memory, with people in it.
type site struct {
	t       testing.TB
	api     *Server
	handler http.Handler
	store   *store.Store
	log     *bytes.Buffer
	mail    postbox
	talk    *talk

	owner, admin, editor, viewer, stranger string // access tokens
	users                                  map[string]registry.User
	domain                                 registry.Domain
	client                                 registry.NewDevice
	channel                                registry.Channel
}

// live stands in for the gateway: one device is connected once.
type live struct{ device registry.DeviceID }

const liveSession = "5e551051-0000-4000-8000-000000000001"

func (l live) Sessions(_ context.Context, d registry.DeviceID) ([]adapters.SessionInfo, error) {
	if d != l.device {
		return nil, nil
	}
	return []adapters.SessionInfo{{ID: liveSession, Device: d, Via: "mqtt", Remote: "::1", Opened: time.Unix(1, 0)}}, nil
}

func (l live) EndSession(_ context.Context, d registry.DeviceID, id string) error {
	if d != l.device || id != liveSession {
		return registry.ErrNotFound
	}
	return nil
}

func (l live) Traffic(_ context.Context, _ registry.DomainID, since time.Time) (adapters.Traffic, error) {
	all := adapters.Traffic{Sessions: 2, Devices: 1, Refused: map[registry.Reason]int{registry.ReasonRightMissing: 1, registry.ReasonWrongSecret: 3}}
	for _, p := range []adapters.TrafficPoint{
		{Step: 340000000, Sessions: 1, Devices: 1, Messages: 32, Stored: 30, Refused: 4, Revoked: 1, Acks: map[int]int{4: 1}},
		{Step: 340000001, Sessions: 2, Devices: 1},
	} {
		if p.At().After(since) {
			all.Points = append(all.Points, p)
		}
	}
	return all, nil
}

func (l live) Refusals(_ context.Context, q adapters.RefusalQuery) ([]adapters.Refusal, error) {
	if q.Device != l.device && q.Device != "" || q.Reason != registry.ReasonRightMissing && q.Reason != "" {
		return nil, nil
	}
	return []adapters.Refusal{{Device: l.device, Via: "mqtt", Action: "publish", Reason: registry.ReasonRightMissing, Remote: "::1", Topic: "m/<script>", Count: 7, First: time.Unix(1, 0), Last: time.Unix(2, 0)}}, nil
}

// Explain recognises the one device by its secret, as the gateway would.
func (s *site) Explain(ctx context.Context, q adapters.Question) (adapters.Explanation, error) {
	if q.Device != nil {
		return adapters.Explanation{Allowed: true, Device: q.Device.ID, Steps: []string{"taken as recognised"}}, nil
	}
	found, err := s.store.DevicesBySecret(ctx, s.api.Registry.Hasher.Hash(q.Credential.Secret))
	if err != nil {
		return adapters.Explanation{}, err
	}
	if len(found) != 1 {
		return adapters.Explanation{Reason: registry.ReasonWrongSecret}, nil
	}
	return adapters.Explanation{Allowed: true, Device: found[0].Device}, nil
}

// passwords is slow to make and safe to share.
var passwords = password.NewHasher()

// signingKey is of no use outside: tokens of one site are good on its copies.
var signingKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

const goodPassword = "seven wet pumps hum at noon"

// newSite returns a site of its own: a copy of one that was made once, because
// with the race detector a migration costs more than most tests.
func newSite(t testing.TB) *site {
	t.Helper()
	path := filepath.Join(t.TempDir(), "postern.db")
	first.once.Do(func() { makeFirst(t) })
	if err := os.WriteFile(path, first.file, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openSite(t, path)
	s.owner, s.admin, s.editor, s.viewer, s.stranger = first.owner, first.admin, first.editor, first.viewer, first.stranger
	s.users, s.domain, s.client, s.channel = maps.Clone(first.users), first.domain, first.client, first.channel
	s.api.Live, s.api.Certs = live{s.client.ID}, first.api.Certs
	s.api.Traffic = live{s.client.ID}
	return s
}

// setUpToken is the one that once makes the first owner, here as often as asked.
const setUpToken = "from the data directory"

func (s *site) Complete(ctx context.Context, token string, owner authn.NewUser) (registry.User, error) {
	if token != setUpToken {
		return registry.User{}, authn.ErrUnauthenticated
	}
	owner.Role = registry.Owner
	return s.api.Users.Register(ctx, "", owner)
}

// certificate issues one to the client, while there is one, and returns its
// fingerprint.
func (s *site) certificate() string {
	s.t.Helper()
	_, request, err := certs.MakeKey()
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := s.api.Registry.IssueCertificate(s.t.Context(), "", s.domain.ID, s.client.ID, request.Fingerprint, func(d registry.Device) (registry.Certificate, error) {
		return s.api.Certs.IssueDevice(d, request)
	})
	if errors.Is(err, registry.ErrNotFound) {
		return string(bytes.Repeat([]byte("0"), 64))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return string(c.ID)
}

// signingRequest is the CSR of a new key, in PEM.
func signingRequest(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// first is the site that others are copies of, closed, as a file.
var first struct {
	once sync.Once
	*site
	file []byte
}

func makeFirst(t testing.TB) {
	path := filepath.Join(t.TempDir(), "first.db")
	s := newSiteOn(t, path)
	if err := s.store.Close(); err != nil { // moves the log into the file
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first.site, first.file = s, file
}

// newSiteOn makes a site on a database of its own.
func newSiteOn(t testing.TB, url string) *site {
	t.Helper()
	s := openSite(t, url)
	for name, p := range map[string]struct {
		role  registry.Role
		token *string
	}{
		"owner": {registry.Owner, &s.owner}, "admin": {registry.Admin, &s.admin}, "editor": {registry.Editor, &s.editor},
		"viewer": {registry.Viewer, &s.viewer}, "stranger": {registry.NoRole, &s.stranger},
	} {
		s.users[name] = s.user(name, p.role)
		*p.token = s.signIn(s.users[name].ID).Access
	}
	var err error
	s.domain, err = s.api.Registry.CreateDomain(t.Context(), s.users["owner"].ID, registry.Domain{Name: "Acme"})
	if err != nil {
		t.Fatal(err)
	}
	s.client = s.newClient()
	s.channel = s.newChannel()
	s.api.Live, s.api.Traffic = live{s.client.ID}, live{s.client.ID}
	if s.api.Certs, err = certs.Open(t.Context(), certs.Config{Dir: t.TempDir(), Keeper: s.api.Registry, Key: make([]byte, 32), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	return s
}

// openSite opens the API on a database, with nobody in it yet.
func openSite(t testing.TB, url string) *site {
	t.Helper()
	db, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	hasher, err := registry.NewSecretHasher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	r := &registry.Registry{Store: db, Hasher: hasher, Now: time.Now, NewID: uuid.NewString}
	s := &site{t: t, store: db, log: new(bytes.Buffer), users: map[string]registry.User{}}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	users := authn.NewUsers(authn.UsersConfig{
		Accounts: r, Arrivals: r, Live: r, Find: db, Links: db, Store: db, Flows: db, Keys: db, Throttles: db, Audit: db, APIKeys: db, KeyRing: r,
		Passwords: passwords, Now: time.Now, Log: log,
		Tokens: &token.Signer{Issuer: "http://test", Audience: "test", Life: time.Hour, Now: time.Now, Keys: token.Keys{Active: signingKey}},
	})
	r.OnChange = func(_ context.Context, changes []registry.Change) {
		for _, c := range changes {
			users.Changed(c)
		}
		s.talk.changed(changes)
	}
	s.api = &Server{Registry: r, Users: users, People: &authz.People{Find: db}, Explain: s, SetUp: s, Audit: db, AppKey: "app-key-of-the-test",
		Log: log, NewID: uuid.NewString, SelfRegister: true, Cookie: "__Host-at"}
	s.talk = &talk{site: s, channels: authz.NewChannels(db, 0)}
	s.api.Messages = s.talk
	s.api.Imports = certs.Imports{Own: func() []*x509.Certificate { return nil }, Now: time.Now}
	s.api.SignIn = knobs{r}
	s.api.Factors = newFactors(t, db, party.ID)
	users.Factors = s.api.Factors
	s.api.Claims = authn.NewClaims(authn.ClaimsConfig{Claimer: r, Limits: authn.Limits{SourcePerSecond: 0.1, SourceBurst: 10}})
	s.handler = s.api.Handler()
	users.Mail = &s.mail
	return s
}

func (s *site) user(name string, role registry.Role) registry.User {
	s.t.Helper()
	u, err := s.api.Registry.CreateUser(s.t.Context(), "", registry.User{Username: name, Email: name + "@example.com", Role: role})
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

func (s *site) signIn(id registry.UserID) authn.Tokens {
	s.t.Helper()
	tokens, err := s.api.Users.SignIn(s.t.Context(), id, "local", authn.Client{IP: "::1", Kind: "api"})
	if err != nil {
		s.t.Fatal(err)
	}
	return tokens
}

func (s *site) newClient() registry.NewDevice {
	s.t.Helper()
	made, err := s.api.Registry.CreateDevices(s.t.Context(), "", s.domain.ID, []registry.NewDevice{{Device: registry.Device{Name: "pump"}}})
	if err != nil {
		s.t.Fatal(err)
	}
	return made[0]
}

func (s *site) newChannel() registry.Channel {
	s.t.Helper()
	made, err := s.api.Registry.CreateChannels(s.t.Context(), "", s.domain.ID, []registry.Channel{{Name: "c", Store: true}})
	if err != nil {
		s.t.Fatal(err)
	}
	return made[0]
}

// do sends a request; body may be nil, a string or a value for JSON.
func (s *site) do(method, path, token string, body any, edits ...func(*http.Request)) *httptest.ResponseRecorder {
	s.t.Helper()
	var text []byte
	switch body := body.(type) {
	case nil:
	case string:
		text = []byte(body)
	default:
		var err error
		if text, err = json.Marshal(body); err != nil {
			s.t.Fatal(err)
		}
	}
	r := httptest.NewRequestWithContext(s.t.Context(), method, "/api"+path, bytes.NewReader(text))
	if text != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for _, edit := range edits {
		edit(r)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func decode[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("answer %d is not JSON: %v: %.200s", w.Code, err, w.Body)
	}
	return v
}
