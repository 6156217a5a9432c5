package pages

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/certs/certstest"
	"github.com/postern-io/postern/registry"
)

// A factory is an authority of somebody else.
type factory struct {
	*site
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func (s *site) factory(name string) *factory {
	s.t.Helper()
	f := &factory{site: s, key: certstest.NewKey(s.t)}
	own := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	f.cert = certstest.Sign(s.t, own, own, f.key.Public(), f.key)
	return f
}

// named is a certificate with that common name.
func (f *factory) named(name string) *x509.Certificate {
	f.t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	return certstest.Sign(f.t, c, f.cert, f.key.Public(), f.key)
}

// list is a CRL, in DER.
func (f *factory) list() []byte {
	f.t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(7), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(9), RevocationTime: time.Now()}},
	}, f.cert, f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	return der
}

// now is the authority as it is.
func (f *factory) now() registry.ImportedAuthority {
	f.t.Helper()
	a, err := f.registry.ImportedAuthority(f.t.Context(), f.domain.ID, registry.AuthorityID(registry.Fingerprint(f.cert)))
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

// imported imports it, and proves it on somebody's word.
func (s *site) imported(name string, from registry.NameSource) *factory {
	s.t.Helper()
	f := s.factory(name)
	a, err := s.api.Imports.Authority(certs.EncodePEM(f.cert))
	if err == nil {
		a.Source = from
		a, err = s.registry.ImportAuthority(s.t.Context(), "", s.domain.ID, a)
	}
	if err == nil {
		_, err = s.registry.OverrideProof(s.t.Context(), "", s.domain.ID, a.ID, "for the test")
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// act sends a form of the authority's page.
func (f *factory) act(act string, sent url.Values, file ...byte) *httptest.ResponseRecorder {
	f.t.Helper()
	return f.toAuthorities("/"+registry.Fingerprint(f.cert)+"/"+act, sent, file...)
}

// toAuthorities sends a form of the authorities, as a browser sends one that may
// have a file.
func (s *site) toAuthorities(rest string, sent url.Values, file ...byte) *httptest.ResponseRecorder {
	s.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, values := range sent {
		for _, v := range values {
			w.WriteField(name, v) // a Buffer takes all
		}
	}
	part, err := w.CreateFormFile("file", "x")
	if err != nil {
		s.t.Fatal(err)
	}
	part.Write(file)
	w.Close()
	r := httptest.NewRequestWithContext(s.t.Context(), "POST", "https://localhost/domains/plant/authorities"+rest, &b)
	r.RemoteAddr = "127.0.0.1:1"
	r.Header.Set("Content-Type", w.FormDataContentType())
	answer := httptest.NewRecorder()
	s.handler.ServeHTTP(answer, r)
	return answer
}

// went sees that a form worked.
func went(t *testing.T, what string, w *httptest.ResponseRecorder, done string) {
	t.Helper()
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || !strings.HasSuffix(to, "?done="+done) {
		t.Fatalf("%s: got %d to %q: %s", what, w.Code, to, problems(w))
	}
}

// problems are what a page says is wrong.
func problems(w *httptest.ResponseRecorder) []string {
	return regexp.MustCompile(`class="problem"[^/]*|aria-invalid="true"[^/]*|class="wrong"[^/]*`).FindAllString(w.Body.String(), -1)
}

// TestImportedAuthority takes one from its import to its end.
func TestImportedAuthority(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	device, channel := s.fleet(1)[0], s.channels(1)[0]
	if body := s.page("/authorities").Body.String(); !strings.Contains(body, "No authority is imported.") {
		t.Error("an empty list teaches nothing")
	}
	f := s.factory("Acme <b>")
	went(t, "import in DER", s.toAuthorities("", url.Values{
		"source": {"name"}, "longest_life": {"90d"}, "stale_list": {"warn"}, "crl_url": {"http://pki.example.com/ca.crl"}, "register": {"1"}, "max_pending": {"5"},
		"approve": {"pump-*"}, "tags": {"new, hot"}, "channel": {string(channel), ""}, "may": {"publish", "both"},
	}, f.cert.Raw...), "created")
	a := f.now()
	want := registry.Arrival{Register: true, MaxPending: 5, Approve: "pump-*", Tags: []string{"new", "hot"}, Grants: []registry.ChannelGrant{{Channel: channel, Rights: registry.Publish}}}
	if a.Name != "Acme <b>" || a.LongestLife != 90*24*time.Hour || a.StaleList != registry.StaleWarn || a.ListURL != "http://pki.example.com/ca.crl" || !equalArrival(a.Arrival, want) {
		t.Errorf("imported as %+v", a)
	}
	at := "/authorities/" + string(a.ID)
	if body := s.page(at).Body.String(); !strings.Contains(body, "-subj /CN="+a.Nonce) || !strings.Contains(body, "Acme &lt;b&gt;") || strings.Contains(body, "Hand it in") {
		t.Error("the page does not ask for the proof alone")
	}

	if w := f.act("prove", url.Values{"certificate": {string(certs.EncodePEM(f.named("somebody")))}}); w.Code != http.StatusBadRequest || !strings.Contains(strings.Join(problems(w), " "), `aria-invalid="true"`) || !strings.Contains(w.Body.String(), "must have the nonce as its one common name") {
		t.Errorf("a wrong proof: got %d: %s", w.Code, problems(w))
	}
	went(t, "prove", f.act("prove", url.Values{"certificate": {string(certs.EncodePEM(f.named(a.Nonce)))}}), "proved")

	// What is in force, and what is changed of it.
	went(t, "list", f.act("crl", nil, f.list()...), "listed")
	if body := s.page(at).Body.String(); !strings.Contains(body, "Certificates on it: 1") || !strings.Contains(body, "as number 7") || !strings.Contains(body, "good until") {
		t.Errorf("the list is not told of: %s", body)
	}
	went(t, "edit", f.act("edit", url.Values{"name": {"Acme"}, "longest_life": {"36h"}, "stale_list": {"refuse"}, "crl_url": {""}, "register": {""}, "approve": {"pump-*"}, "max_pending": {"5"}}), "saved")
	if a := f.now(); a.Name != "Acme" || a.LongestLife != 36*time.Hour || a.StaleList != registry.StaleRefuse || a.ListURL != "" || !equalArrival(a.Arrival, registry.Arrival{}) {
		t.Errorf("changed to %+v", a)
	}
	if body := s.page(at).Body.String(); !strings.Contains(body, `value="36h"`) {
		t.Error("the rules do not say how they are")
	}
	went(t, "disable", f.act("disable", nil), "disabled")
	if f.now().Vouches() {
		t.Error("it vouches though it is disabled")
	}
	went(t, "enable", f.act("enable", nil), "enabled")

	// Names, even those that mean something in a path.
	for _, name := range []string{"pump <i>", "..", ".", "a/b", "50%", "?x#y"} {
		went(t, "bind "+name, f.act("bind", url.Values{"principal": {name}, "device": {"pump-000000"}}), "bound")
		if p, err := s.registry.Principal(t.Context(), a.ID, name); err != nil || p.Device != device {
			t.Errorf("%s: got %+v, %v", name, p, err)
		}
		if w := f.act("bind", url.Values{"principal": {name}, "device": {"pump-000000"}}); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "bound already") {
			t.Errorf("bind %s again: got %d", name, w.Code)
		}
		if name == "pump <i>" {
			if body := s.page(at).Body.String(); !strings.Contains(body, "pump &lt;i&gt;</th>") || !strings.Contains(body, ">pump-000000</a>") || !strings.Contains(body, `name="principal" value="pump &lt;i&gt;"`) {
				t.Error("the name and its device are not listed, or cannot be unbound")
			}
		}
		went(t, "unbind "+name, f.act("unbind", url.Values{"principal": {name}}), "unbound")
		if _, err := s.registry.Principal(t.Context(), a.ID, name); err == nil {
			t.Errorf("%s is bound still", name)
		}
	}

	if w := f.act("delete", url.Values{"confirm": {"acme"}}); w.Code != http.StatusUnprocessableEntity || len(problems(w)) == 0 {
		t.Errorf("deleted by another name: got %d", w.Code)
	}
	went(t, "delete", f.act("delete", url.Values{"confirm": {"Acme"}}), "deleted")
	if w := s.page(at); w.Code != http.StatusNotFound {
		t.Errorf("a deleted one: got %d", w.Code)
	}
}

func equalArrival(a, b registry.Arrival) bool {
	return a.Register == b.Register && a.MaxPending == b.MaxPending && a.Approve == b.Approve && strings.Join(a.Tags, ",") == strings.Join(b.Tags, ",") &&
		len(a.Grants) == len(b.Grants) && (len(a.Grants) == 0 || a.Grants[0] == b.Grants[0])
}

// TestWrongImports: what is wrong stands beside its field, and what was typed
// comes back.
func TestWrongImports(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	f := s.factory("Acme")
	good := string(certs.EncodePEM(f.cert))
	other := s.imported("Other", registry.NameID)
	for name, test := range map[string]struct {
		sent        url.Values
		file        []byte
		field, says string
	}{
		"no certificate":             {url.Values{"certificate": {""}}, nil, "f-certificate", "must be one certificate in PEM"},
		"a file that is none":        {nil, []byte{0, 1, 2}, "f-certificate", "is not an X.509 certificate"},
		"a certificate of a device":  {nil, f.named("pump").Raw, "f-certificate", "is not that of an authority"},
		"one that is there":          {nil, other.cert.Raw, "f-certificate", "vouches already"},
		"too large a file":           {nil, bytes.Repeat([]byte("x"), 5<<20), "f-certificate", "larger than 3 MiB"},
		"no source":                  {url.Values{"source": {"x"}}, nil, "h-source", "source must be"},
		"too long a name":            {url.Values{"name": {strings.Repeat("x", 300)}}, nil, "f-name", "name"},
		"no time":                    {url.Values{"longest_life": {"long"}}, nil, "f-longest_life", "must be a duration"},
		"no address":                 {url.Values{"crl_url": {"ftp://x"}}, nil, "f-crl_url", "must be a URL"},
		"new devices of ids":         {url.Values{"source": {"cn_id"}, "register": {"1"}}, nil, "", "goes with the source name only"},
		"no number":                  {url.Values{"register": {"1"}, "max_pending": {"many"}}, nil, "f-max_pending", "1 to 100000"},
		"too great a number":         {url.Values{"register": {"1"}, "max_pending": {"100001"}}, nil, "f-max_pending", "must be 1 to 100000"},
		"no pattern":                 {url.Values{"register": {"1"}, "approve": {"[" + "x"}}, nil, "f-approve", "must be a pattern"},
		"tags of nobody":             {url.Values{"register": {"1"}, "tags": {"x"}}, nil, "f-approve", "must say which"},
		"a channel that is no id":    {url.Values{"register": {"1"}, "approve": {"*"}, "channel": {"x"}, "may": {"both"}}, nil, "h-channels", "channels of the domain"},
		"a channel that is not here": {url.Values{"register": {"1"}, "approve": {"*"}, "channel": {string(other.domain.ID)}, "may": {"both"}}, nil, "h-channels", "channels of the domain"},
	} {
		sent := url.Values{"certificate": {good}, "source": {"name"}, "longest_life": {"12d"}}
		for k, v := range test.sent {
			sent[k] = v
		}
		w := s.toAuthorities("", sent, test.file...)
		body := w.Body.String()
		if w.Code < 400 || w.Code >= 500 || !strings.Contains(body, test.says) {
			t.Errorf("%s: got %d: %s", name, w.Code, problems(w))
			continue
		}
		beside := regexp.MustCompile(`id="` + test.field + `"[^>]*aria-invalid="true"|class="wrong" id="` + test.field + `"|id="` + test.field + `"><span class="wrong">`)
		if test.field != "" && !beside.MatchString(body) || strings.Contains(body, `class="problem"`) {
			t.Errorf("%s: nothing stands beside %s: %s", name, test.field, problems(w))
		}
		if !strings.Contains(body, `value="`+sent.Get("longest_life")+`"`) && name != "too large a file" {
			t.Errorf("%s: what was typed does not come back", name)
		}
	}
	all, err := s.registry.ImportedAuthorities(t.Context(), s.domain.ID)
	if err != nil || len(all) != 1 {
		t.Errorf("there are %d, %v", len(all), err)
	}
}

// TestWrongToAnAuthority: the same of the forms of its page.
func TestWrongToAnAuthority(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	f := s.imported("Acme", registry.NameCommon)
	byID := s.imported("Other", registry.NameID)
	id := string(s.fleet(1)[0])
	for name, test := range map[string]struct {
		to    *factory
		act   string
		sent  url.Values
		file  []byte
		field string
		says  string
	}{
		"no list":                     {f, "crl", url.Values{"crl": {"x"}}, nil, "f-crl", "is not a CRL"},
		"another's list":              {f, "crl", nil, byID.list(), "f-crl", "was not signed by the authority"},
		"too large a list":            {f, "crl", nil, bytes.Repeat([]byte{0}, 3<<20+1), "f-crl", "larger than 3 MiB"},
		"much too large a list":       {f, "crl", nil, bytes.Repeat([]byte{0}, 9<<20), "f-crl", "larger than 3 MiB"},
		"no device":                   {f, "bind", url.Values{"principal": {"x"}}, nil, "f-device", "Name a device"},
		"a device that is not here":   {f, "bind", url.Values{"principal": {"x"}, "device": {"6f3c1f5e-0000-4000-8000-000000000000"}}, nil, "f-device", "There is no such device"},
		"no name":                     {f, "bind", url.Values{"device": {id}}, nil, "f-principal", "name"},
		"a name that is gone already": {f, "unbind", url.Values{"principal": {"x"}}, nil, "", "There is no such record"},
		"no name at all":              {f, "edit", url.Values{"stale_list": {"warn"}}, nil, "f-name", "name"},
	} {
		w := test.to.act(test.act, test.sent, test.file...)
		body := w.Body.String()
		if w.Code < 400 || w.Code >= 500 || !strings.Contains(body, test.says) || !strings.Contains(body, "<h1>Acme") {
			t.Errorf("%s: got %d: %s", name, w.Code, problems(w))
			continue
		}
		if beside := regexp.MustCompile(`id="` + test.field + `"[^>]*aria-invalid="true"`); test.field != "" && !beside.MatchString(body) {
			t.Errorf("%s: nothing stands beside %s: %s", name, test.field, problems(w))
		}
	}
	if w := f.act("crl", nil, bytes.Repeat([]byte{0}, 3<<20-64)...); !strings.Contains(w.Body.String(), "is not a CRL") {
		t.Errorf("a list as large as may be is not looked at: %s", problems(w))
	}
	went(t, "bind by id", byID.act("bind", url.Values{"device": {id}}), "bound")
	if w := byID.act("bind", url.Values{"device": {id}}); !strings.Contains(w.Body.String(), "This device is bound already") {
		t.Errorf("bind by id again: got %d", w.Code)
	}
	for path, want := range map[string]int{"/x/enable": 404, "/..%2Fclients%2F" + id + "/delete": 404, "/" + string(f.now().ID) + "/burn": 404, "/" + strings.Repeat("0", 64) + "/enable": 404} {
		if w := s.toAuthorities(path, nil); w.Code != want {
			t.Errorf("%s: got %d, want %d", path, w.Code, want)
		}
	}
}

// TestChallengeIsOfLettersAndDigits: the nonce goes into a shell as it stands.
func TestChallengeIsOfLettersAndDigits(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if nonce := s.imported("Acme", registry.NameID).now().Nonce; !regexp.MustCompile(`^[A-Z0-9]{40,64}$`).MatchString(nonce) {
		t.Errorf("got %q", nonce)
	}
}
