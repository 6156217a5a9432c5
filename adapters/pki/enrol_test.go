package pki

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/smallstep/pkcs7"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/certs/certstest"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// An enrolment is a house with one device and EST before it.
type enrolment struct {
	testing.TB
	store     *store.Store
	registry  *registry.Registry
	authority *certs.Authority
	trust     *certs.Trust
	maker     *certs.Issuer // whose certificates are taken too
	server    *Server
	device    registry.NewDevice
	log       bytes.Buffer

	mu   sync.Mutex
	late time.Duration
}

func (e *enrolment) now() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Now().Add(e.late)
}

var testLimits = authn.Limits{SourcePerSecond: 0.01, SourceBurst: 5}

func newEnrolment(t testing.TB, requireCertificate bool) *enrolment {
	t.Helper()
	ctx := t.Context()
	s, err := store.Open(ctx, "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	hasher, err := registry.NewSecretHasher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	e := &enrolment{TB: t, store: s, maker: certstest.NewIssuer(t, nil)}
	e.registry = &registry.Registry{Store: s, Hasher: hasher, Now: e.now, NewID: uuid.NewString}
	if e.authority, err = certs.Open(ctx, certs.Config{Dir: t.TempDir(), Keeper: e.registry, Key: make([]byte, 32), Now: e.now}); err != nil {
		t.Fatal(err)
	}
	anchors, err := e.authority.Anchors()
	if err != nil {
		t.Fatal(err)
	}
	e.trust = certs.NewTrust(s, e.now)
	e.trust.SetAnchors(append(anchors, e.maker.Root))
	devices := authn.NewDevices(authn.Config{Find: s, Hasher: hasher, Voucher: e.trust, RequireCertificate: requireCertificate, Now: e.now, Limits: testLimits})
	e.registry.OnChange = func(ctx context.Context, changes []registry.Change) {
		for _, c := range changes {
			devices.Changed(c)
			if c.Certificate != "" {
				if err := e.trust.Changed(ctx, c.Certificate); err != nil {
					t.Error(err)
				}
			}
		}
	}
	d, err := e.registry.CreateDomain(ctx, "", registry.Domain{Name: "one"})
	if err != nil {
		t.Fatal(err)
	}
	e.device = e.newDevice(d.ID)
	log := slog.New(slog.NewTextHandler(&e.log, nil))
	e.server = &Server{Issuers: e.authority.Issuers, Log: log, Enrol: &Enroller{
		Devices: devices, Enrolments: e.registry, Sign: e.authority.IssueDevice, Log: log,
		Claims: authn.NewClaims(authn.ClaimsConfig{Claimer: e.registry, RequireCertificate: requireCertificate, Now: e.now, Limits: testLimits}),
	}}
	return e
}

func (e *enrolment) newDevice(domain registry.DomainID) registry.NewDevice {
	e.Helper()
	made, err := e.registry.CreateDevices(e.Context(), "", domain, []registry.NewDevice{{}})
	if err != nil {
		e.Fatal(err)
	}
	return made[0]
}

func (e *enrolment) token(c registry.Claim) string {
	e.Helper()
	made, err := e.registry.CreateClaims(e.Context(), "", e.device.Domain, 1, c)
	if err != nil {
		e.Fatal(err)
	}
	return made[0].Token.Reveal()
}

func (e *enrolment) setStatus(domain, device registry.Status) {
	e.Helper()
	_, err := e.registry.UpdateDevice(e.Context(), "", e.device.Domain, e.device.ID, func(d *registry.Device) error { d.Status = device; return nil })
	if err == nil {
		_, err = e.registry.UpdateDomain(e.Context(), "", e.device.Domain, func(d *registry.Domain) error { d.Status = domain; return nil })
	}
	if err != nil {
		e.Fatal(err)
	}
}

// signing is a request in base64, for a new key.
func signing(t testing.TB, template x509.CertificateRequest) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

type asker = func(*http.Request)

func basic(user, password string) asker {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

func showing(chain ...*x509.Certificate) asker {
	return func(r *http.Request) { r.TLS = &tls.ConnectionState{PeerCertificates: chain} }
}

func (e *enrolment) ask(operation, body string, as ...asker) *httptest.ResponseRecorder {
	e.Helper()
	r := httptest.NewRequestWithContext(e.Context(), "POST", "https://localhost"+ESTPrefix+operation, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/pkcs10")
	for _, edit := range as {
		edit(r)
	}
	w := httptest.NewRecorder()
	e.server.EST().ServeHTTP(w, r)
	return w
}

// issued is the one certificate of an answer.
func (e *enrolment) issued(w *httptest.ResponseRecorder) *x509.Certificate {
	e.Helper()
	if w.Code != 200 || w.Header().Get("Content-Length") != fmt.Sprint(w.Body.Len()) || strings.Contains(w.Body.String(), "\n") || w.Header().Get("Content-Type") != "application/pkcs7-mime; smime-type=certs-only" || w.Header().Get("Cache-Control") != "no-store" {
		e.Fatalf("got %d %v: %s\n%s", w.Code, w.Header(), w.Body, e.log.String())
	}
	der, err := base64.StdEncoding.DecodeString(w.Body.String())
	if err != nil {
		e.Fatal(err)
	}
	bag, err := pkcs7.Parse(der)
	if err != nil || len(bag.Certificates) != 1 {
		e.Fatalf("%v: %d certificates", err, len(bag.Certificates))
	}
	return bag.Certificates[0]
}

func (e *enrolment) record(c *x509.Certificate) registry.Certificate {
	e.Helper()
	r, err := e.store.Certificate(e.Context(), registry.CertificateID(registry.Fingerprint(c)))
	if err != nil {
		e.Fatal(err)
	}
	return r
}

// theirs is a certificate of the maker that names the device.
func (e *enrolment) theirs() []*x509.Certificate {
	e.Helper()
	c := certstest.Sign(e, &x509.Certificate{
		SerialNumber: e.maker.Certificate.SerialNumber, Subject: pkix.Name{CommonName: string(e.device.ID)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, e.maker.Certificate, certstest.NewKey(e).Public(), e.maker.Key)
	return []*x509.Certificate{c, e.maker.Certificate}
}

func TestEnrolment(t *testing.T) {
	t.Parallel()
	e := newEnrolment(t, false)
	id, secret, csr := string(e.device.ID), e.device.Secret.Reveal(), signing(t, x509.CertificateRequest{Subject: pkix.Name{CommonName: "root"}})
	first := e.issued(e.ask("simpleenroll", csr, basic(id, secret)))
	if first.Subject.CommonName != id || e.record(first).Device != e.device.ID || e.record(first).CreatedBy != "" {
		t.Errorf("got %s, %+v", first.Subject, e.record(first))
	}
	if err := first.CheckSignatureFrom(e.authority.Issuers()[0].Certificate); err != nil {
		t.Error(err)
	}
	lines := "\r\n" + csr[:64] + "\r\n" + csr[64:] + "\n"
	if again := e.issued(e.ask("simpleenroll", lines, basic("", secret))); !again.Equal(first) {
		t.Error("the same request, in lines and without a name, got another")
	}
	if by := e.issued(e.ask("simpleenroll", signing(t, x509.CertificateRequest{}), showing(e.theirs()...))); e.record(by).Device != e.device.ID {
		t.Errorf("by its maker's certificate: %+v", e.record(by))
	}
	for _, text := range []string{secret, "Basic"} {
		if strings.Contains(e.log.String(), text) {
			t.Errorf("the log tells %q", text)
		}
	}
	has(t, "the log", e.log.String(), `msg="certificate issued" adapter=est remote=192.0.2.1 device=`+id)
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	e := newEnrolment(t, false)
	csr := signing(t, x509.CertificateRequest{})
	first := e.issued(e.ask("simpleenroll", csr, basic("", e.device.Secret.Reveal())))
	second := e.issued(e.ask("simplereenroll", csr, showing(first)))
	if second.Equal(first) || e.record(second).Replaces != e.record(first).ID || e.record(first).Status(e.now()) != "valid" {
		t.Errorf("got %+v", e.record(second))
	}
	if again := e.issued(e.ask("simplereenroll", csr, showing(first))); !again.Equal(second) {
		t.Error("the same once more is another")
	}
	named := signing(t, x509.CertificateRequest{Subject: first.Subject, URIs: first.URIs})
	third := e.issued(e.ask("simplereenroll", named, showing(second), basic(string(e.device.ID), e.device.Secret.Reveal())))
	if e.record(third).Replaces != e.record(second).ID {
		t.Errorf("got %+v", e.record(third))
	}
}

func TestClaimByEST(t *testing.T) {
	t.Parallel()
	for name, strict := range map[string]bool{"secrets will do": false, "AUTH=x509": true} {
		e := newEnrolment(t, strict)
		token, csr := e.token(registry.Claim{Name: "pump"}), signing(t, x509.CertificateRequest{})
		if w := e.ask("simpleenroll", "no request", basic("", token)); w.Code != 400 {
			t.Errorf("%s: without a request: %d", name, w.Code)
		}
		c := e.issued(e.ask("simpleenroll", csr, basic("", token)))
		d, err := e.registry.Device(t.Context(), e.device.Domain, e.record(c).Device)
		if err != nil || d.Name != "pump" || d.ID == e.device.ID {
			t.Errorf("%s: %v, %+v", name, err, d)
		}
		if again := e.issued(e.ask("simpleenroll", csr, basic(string(d.ID), token))); !again.Equal(c) {
			t.Errorf("%s: the same once more is another", name)
		}
		if w := e.ask("simpleenroll", signing(t, x509.CertificateRequest{}), basic("", token)); w.Code != 401 {
			t.Errorf("%s: used twice: %d", name, w.Code)
		}
		bound := e.token(registry.Claim{Device: e.device.ID})
		if c := e.issued(e.ask("simpleenroll", csr, basic(string(e.device.ID), bound))); e.record(c).Device != e.device.ID {
			t.Errorf("%s: bound: %+v", name, e.record(c))
		}
		e.issued(e.ask("simplereenroll", csr, showing(c)))
		if strings.Contains(e.log.String(), token) || strings.Contains(e.log.String(), bound) {
			t.Errorf("%s: the log tells a token", name)
		}
	}
}

// With AUTH=x509 a stolen secret gets no certificate either.
func TestEnrolmentBySecretWhereCertificatesAreRequired(t *testing.T) {
	t.Parallel()
	e := newEnrolment(t, true)
	if w := e.ask("simpleenroll", signing(t, x509.CertificateRequest{}), basic("", e.device.Secret.Reveal())); w.Code != 401 {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	has(t, "the log", e.log.String(), "reason=certificate_required")
	e.issued(e.ask("simpleenroll", signing(t, x509.CertificateRequest{}), showing(e.theirs()...)))
}

func TestEnrolmentRefuses(t *testing.T) {
	t.Parallel()
	csr := signing(t, x509.CertificateRequest{})
	none := func(*http.Request) {}
	plain := func(r *http.Request) { r.TLS = nil }
	header := func(key, value string) asker { return func(r *http.Request) { r.Header.Set(key, value) } }
	type setting struct {
		operation string
		body      string
		as        []asker
	}
	// what a good certificate shows, and what becomes of it before it is shown
	with := func(e *enrolment, then func(c registry.Certificate)) asker {
		c := e.issued(e.ask("simpleenroll", csr, basic("", e.device.Secret.Reveal())))
		if then != nil {
			then(e.record(c))
		}
		return showing(c)
	}
	revoke := func(e *enrolment, reason registry.RevocationReason) func(registry.Certificate) {
		return func(c registry.Certificate) {
			if _, err := e.registry.RevokeCertificate(e.Context(), c.Domain, c.ID, reason); err != nil {
				e.Fatal(err)
			}
		}
	}
	good := func(e *enrolment) asker { return basic(string(e.device.ID), e.device.Secret.Reveal()) }
	for name, test := range map[string]struct {
		of     func(e *enrolment) setting
		status int
		reason string // in the log
	}{
		"it gives nothing in plain text":  {func(e *enrolment) setting { return setting{"simpleenroll", csr, []asker{good(e), plain}} }, 403, ""},
		"it renews nothing in plain text": {func(e *enrolment) setting { return setting{"simplereenroll", csr, []asker{plain}} }, 403, ""},
		"it takes POST alone": {func(e *enrolment) setting {
			return setting{"simpleenroll", csr, []asker{good(e), func(r *http.Request) { r.Method = "GET" }}}
		}, 405, ""},
		"it asks who it is": {func(e *enrolment) setting { return setting{"simpleenroll", csr, []asker{none}} }, 401, "no_credential"},
		"it refuses a wrong secret": {func(e *enrolment) setting {
			return setting{"simpleenroll", csr, []asker{basic(string(e.device.ID), "wrong-wrong-wrong-wrong")}}
		}, 401, "wrong_secret"},
		"it refuses another device's id": {func(e *enrolment) setting {
			return setting{"simpleenroll", csr, []asker{basic(string(e.newDevice(e.device.Domain).ID), e.device.Secret.Reveal())}}
		}, 401, "wrong_secret"},
		"it refuses a name that is no id": {func(e *enrolment) setting {
			return setting{"simpleenroll", csr, []asker{basic("pump", e.device.Secret.Reveal())}}
		}, 401, "unknown_device"},
		"it refuses an empty password": {func(e *enrolment) setting {
			return setting{"simpleenroll", csr, []asker{basic(string(e.device.ID), "")}}
		}, 401, "conflicting_evidence"},
		"it refuses a person": {func(e *enrolment) setting {
			return setting{"simpleenroll", csr, []asker{header("Authorization", "Bearer x")}}
		}, 401, "conflicting_evidence"},
		"it refuses two of them": {func(e *enrolment) setting {
			return setting{"simpleenroll", csr, []asker{good(e), func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }}}
		}, 401, "conflicting_evidence"},
		"it refuses a token in another header": {func(e *enrolment) setting {
			return setting{"simpleenroll", csr, []asker{basic("", e.token(registry.Claim{})), func(r *http.Request) { r.Header.Add("Authorization", "Client x") }}}
		}, 401, "conflicting_evidence"},
		"it refuses a token that is none": {func(e *enrolment) setting {
			return setting{"simpleenroll", csr, []asker{basic("", "pct_"+strings.Repeat("A", 43))}}
		}, 401, "claim_unknown"},
		"it refuses a token under another name": {func(e *enrolment) setting {
			return setting{"simpleenroll", csr, []asker{basic(string(e.device.ID), e.token(registry.Claim{}))}}
		}, 401, "conflicting_evidence"},
		"it refuses a token beside a certificate": {func(e *enrolment) setting {
			return setting{"simpleenroll", csr, []asker{with(e, nil), basic("", e.token(registry.Claim{}))}}
		}, 401, "conflicting_evidence"},
		"it refuses a token that ended": {func(e *enrolment) setting {
			token := e.token(registry.Claim{})
			e.late = registry.DefaultClaimLife
			return setting{"simpleenroll", csr, []asker{basic("", token)}}
		}, 401, "claim_expired"},
		"it gives a disabled device nothing": {func(e *enrolment) setting {
			e.setStatus(registry.Enabled, registry.Disabled)
			return setting{"simpleenroll", csr, []asker{good(e)}}
		}, 401, "device_disabled"},
		"it gives nothing in a disabled domain": {func(e *enrolment) setting {
			e.setStatus(registry.Disabled, registry.Enabled)
			return setting{"simpleenroll", csr, []asker{good(e)}}
		}, 403, "disabled"},
		"it gives nothing in a frozen domain": {func(e *enrolment) setting {
			e.setStatus(registry.Frozen, registry.Enabled)
			return setting{"simpleenroll", csr, []asker{good(e)}}
		}, 403, "frozen"},
		"it makes no device in a frozen domain": {func(e *enrolment) setting {
			token := e.token(registry.Claim{})
			e.setStatus(registry.Frozen, registry.Enabled)
			return setting{"simpleenroll", csr, []asker{basic("", token)}}
		}, 403, "frozen"},
		"it renews nothing in a frozen domain": {func(e *enrolment) setting {
			return setting{"simplereenroll", csr, []asker{with(e, func(registry.Certificate) { e.setStatus(registry.Frozen, registry.Enabled) })}}
		}, 403, "frozen"},
		"it renews nothing by a secret": {func(e *enrolment) setting { return setting{"simplereenroll", csr, []asker{good(e)}} }, 403, ""},
		"it renews nothing by a token": {func(e *enrolment) setting {
			return setting{"simplereenroll", csr, []asker{basic("", e.token(registry.Claim{}))}}
		}, 403, ""},
		"it renews no certificate that is not of us": {func(e *enrolment) setting { return setting{"simplereenroll", csr, []asker{showing(e.theirs()...)}} }, 403, "none of the device"},
		"it renews no certificate that is revoked": {func(e *enrolment) setting {
			return setting{"simplereenroll", csr, []asker{with(e, revoke(e, registry.KeyCompromise))}}
		}, 401, "certificate_revoked"},
		"it renews no certificate that is held": {func(e *enrolment) setting {
			return setting{"simplereenroll", csr, []asker{with(e, revoke(e, registry.CertificateHold))}}
		}, 401, "certificate_revoked"},
		"it renews no certificate that ended": {func(e *enrolment) setting {
			return setting{"simplereenroll", csr, []asker{with(e, func(registry.Certificate) { e.late = certs.DeviceLife + time.Hour })}}
		}, 401, "certificate_expired"},
		"it renews nothing for a disabled device": {func(e *enrolment) setting {
			return setting{"simplereenroll", csr, []asker{with(e, func(registry.Certificate) { e.setStatus(registry.Enabled, registry.Disabled) })}}
		}, 401, "device_disabled"},
		"it renews nothing of another authority": {func(e *enrolment) setting {
			c, _ := certstest.Issue(e, certstest.NewIssuer(e, nil))
			return setting{"simplereenroll", csr, []asker{showing(c)}}
		}, 401, "certificate_untrusted"},
		"it renews under the same subject": {func(e *enrolment) setting {
			return setting{"simplereenroll", signing(t, x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}}), []asker{with(e, nil)}}
		}, 400, "subject"},
		"it renews under the same alternative names": {func(e *enrolment) setting {
			return setting{"simplereenroll", signing(t, x509.CertificateRequest{DNSNames: []string{"x"}}), []asker{with(e, nil)}}
		}, 400, "alternative names"},
		"it wants a content type": {func(e *enrolment) setting {
			return setting{"simpleenroll", csr, []asker{good(e), header("Content-Type", "")}}
		}, 415, ""},
		"it wants that content type": {func(e *enrolment) setting {
			return setting{"simpleenroll", csr, []asker{good(e), header("Content-Type", "application/json")}}
		}, 415, ""},
		"it unpacks nothing": {func(e *enrolment) setting {
			return setting{"simpleenroll", csr, []asker{good(e), header("Content-Encoding", "gzip")}}
		}, 415, ""},
		"it takes 16 KiB at most": {func(e *enrolment) setting {
			return setting{"simpleenroll", strings.Repeat("A", 16<<10+1), []asker{good(e)}}
		}, 413, ""},
		"it wants a body":                              {func(e *enrolment) setting { return setting{"simpleenroll", "", []asker{good(e)}} }, 400, "base64"},
		"it wants base64":                              {func(e *enrolment) setting { return setting{"simpleenroll", "!" + csr[1:], []asker{good(e)}} }, 400, "base64"},
		"it wants a request in it":                     {func(e *enrolment) setting { return setting{"simpleenroll", "AAAA", []asker{good(e)}} }, 400, "PKCS#10"},
		"it wants the request signed with its own key": {func(e *enrolment) setting { return setting{"simpleenroll", forged(t, csr), []asker{good(e)}} }, 400, "own key"},
		"it keeps a token for a request that will not do": {func(e *enrolment) setting {
			token := e.token(registry.Claim{})
			e.ask("simpleenroll", "AAAA", basic("", token))
			e.issued(e.ask("simpleenroll", csr, basic("", token)))
			return setting{"simpleenroll", signing(t, x509.CertificateRequest{}), []asker{basic("", token)}}
		}, 401, "claim_used"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnrolment(t, false)
			s := test.of(e)
			before := e.all()
			e.log.Reset()
			w := e.ask(s.operation, s.body, s.as...)
			if w.Code != test.status || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("got %d %v: %s", w.Code, w.Header(), w.Body)
			}
			if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") || (w.Code == 405) != (w.Header().Get("Allow") == "POST") {
				t.Errorf("got %v", w.Header())
			}
			if e.all() != before {
				t.Error("the refusal left something")
			}
			has(t, "the log", e.log.String(), "certificate not issued")
			has(t, "the log", e.log.String(), test.reason)
			if test.status == 401 && w.Body.String() != errUnknown.words+"\n" {
				t.Errorf("a stranger is told %q", w.Body)
			}
		})
	}
}

// all counts what there is.
func (e *enrolment) all() (n int) {
	e.Helper()
	issued, err := e.registry.Certificates(e.Context(), registry.CertificateQuery{Domain: e.device.Domain, Limit: 1})
	if err != nil {
		e.Fatal(err)
	}
	devices, err := e.registry.Devices(e.Context(), registry.Query{Domain: e.device.Domain, Limit: 1, Order: registry.ByCreated})
	if err != nil {
		e.Fatal(err)
	}
	return issued.Total*1000 + devices.Total
}

// forged is a request whose last byte, of the signature, is another.
func forged(t testing.TB, request string) string {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(request)
	if err != nil {
		t.Fatal(err)
	}
	der[len(der)-1] ^= 1
	return base64.StdEncoding.EncodeToString(der)
}

// Who fails too often waits, by secret and by token, and by the address behind
// the proxies.
func TestEnrolmentIsLimited(t *testing.T) {
	t.Parallel()
	for name, password := range map[string]string{"secrets": "wrong-wrong-wrong-wrong-%d", "tokens": "pct_" + strings.Repeat("A", 41) + "%dA"} {
		e := newEnrolment(t, false)
		e.server.Enrol.ClientIP = func(r *http.Request) string { return r.Header.Get("X-Real") }
		csr, tries := signing(t, x509.CertificateRequest{}), 0
		try := func(at string) *httptest.ResponseRecorder {
			tries++ // another each time: memory refuses the same one by itself
			return e.ask("simpleenroll", csr, basic("", fmt.Sprintf(password, tries)), func(r *http.Request) { r.Header.Set("X-Real", at) })
		}
		for range testLimits.SourceBurst {
			if w := try("192.0.2.7"); w.Code != 401 {
				t.Errorf("%s: got %d", name, w.Code)
			}
		}
		if w := try("192.0.2.7"); w.Code != 429 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: got %d %v", name, w.Code, w.Header())
		}
		if w := try("192.0.2.8"); w.Code != 401 {
			t.Errorf("%s: another address is held up", name)
		}
	}
}

type brokenEnrolments struct {
	Enrolments
	Claims
	err error
}

func (b brokenEnrolments) EnrolDevice(context.Context, registry.DomainID, registry.DeviceID, string, registry.Signer) (registry.Certificate, error) {
	return registry.Certificate{}, b.err
}

func (b brokenEnrolments) Use(context.Context, netip.Addr, registry.ClaimUse) (registry.Claimed, error) {
	return registry.Claimed{}, b.err
}

func TestEnrolmentWithoutItsStore(t *testing.T) {
	t.Parallel()
	e := newEnrolment(t, false)
	for err, want := range map[error]int{registry.ErrUnavailable: 503, errors.New("broken"): 500, registry.ErrNotFound: 401} {
		b := brokenEnrolments{err: err}
		e.server.Enrol.Enrolments, e.server.Enrol.Claims = b, b
		for _, password := range []string{e.device.Secret.Reveal(), "pct_" + strings.Repeat("A", 43)} {
			w := e.ask("simpleenroll", signing(t, x509.CertificateRequest{}), basic("", password))
			if w.Code != want || (want == 503) != (w.Header().Get("Retry-After") != "") || strings.Contains(w.Body.String(), err.Error()) {
				t.Errorf("%v: got %d %s", err, w.Code, w.Body)
			}
		}
	}
	has(t, "the log", e.log.String(), "level=ERROR")
}

// FuzzSigningRequest finds that what parses is the same again in the lines of
// another program, and that nothing panics.
func FuzzSigningRequest(f *testing.F) {
	good := signing(f, x509.CertificateRequest{DNSNames: []string{"x"}})
	for _, body := range []string{"", good, good[:20] + "\r\n" + good[20:], "AAAA", "=", good + good, "-----BEGIN CERTIFICATE REQUEST-----\n" + good} {
		f.Add([]byte(body))
	}
	old := certstest.NewIssuer(f, nil).Certificate
	f.Fuzz(func(t *testing.T, body []byte) {
		request, err := parseRequest(body)
		if err != nil {
			if p := enrolProblem(err); p.status != 400 {
				t.Errorf("got %d: %v", p.status, err)
			}
			return
		}
		if err := request.Renews(old); err != nil && enrolProblem(err).status != 400 {
			t.Error(err)
		}
		var lines []byte
		for _, b := range body {
			lines = append(lines, b, '\r', '\n')
		}
		if again, err := parseRequest(lines); err != nil || again.Fingerprint != request.Fingerprint {
			t.Errorf("in lines: %v, %s, want %s", err, again.Fingerprint, request.Fingerprint)
		}
	})
}
