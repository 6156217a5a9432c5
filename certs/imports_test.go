package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/registry"
)

// A maker is an authority of somebody else, or a certificate with its key.
type maker struct {
	t    testing.TB
	cert *x509.Certificate
	key  crypto.Signer
}

// newMaker makes an authority below parent; nil: a root.
func newMaker(t testing.TB, name string, parent *maker, edits ...func(*x509.Certificate)) *maker {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m := &maker{t: t, key: key}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	for _, edit := range edits {
		edit(template)
	}
	if parent == nil {
		parent = &maker{t: t, cert: template, key: key}
	}
	m.cert = parent.sign(template, key.Public())
	return m
}

func (m *maker) sign(template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	m.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, m.cert, public, m.key)
	if err != nil {
		m.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		m.t.Fatal(err)
	}
	return c
}

// device makes a certificate of a device, for ten hours.
func (m *maker) device(name string, edits ...func(*x509.Certificate)) *maker {
	m.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		m.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(9 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, edit := range edits {
		edit(template)
	}
	return &maker{m.t, m.sign(template, key.Public()), key}
}

// list makes a CRL, from now on and for an hour.
func (m *maker) list(number int64, of []*maker, edits ...func(*x509.RevocationList)) []byte {
	m.t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: time.Now().Add(time.Duration(number) * time.Second), NextUpdate: time.Now().Add(time.Hour)}
	for _, c := range of {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.cert.SerialNumber, RevocationTime: time.Now()})
	}
	for _, edit := range edits {
		edit(template)
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, m.cert, m.key)
	if err != nil {
		m.t.Fatal(err)
	}
	return der
}

func chainOf(all ...*maker) (chain []*x509.Certificate) {
	for _, m := range all {
		chain = append(chain, m.cert)
	}
	return chain
}

func noneOwn(now func() time.Time) Imports {
	return Imports{Own: func() []*x509.Certificate { return nil }, Now: now}
}

// imports imports an authority that vouches.
func (h *house) imports(t testing.TB, m *maker, edits ...func(*registry.ImportedAuthority)) registry.ImportedAuthority {
	t.Helper()
	a, err := noneOwn(h.Registry.Now).Authority(EncodePEM(m.cert))
	if err != nil {
		t.Fatal(err)
	}
	a.Source = registry.NameID
	for _, edit := range edits {
		edit(&a)
	}
	if a, err = h.ImportAuthority(t.Context(), "", h.domain.ID, a); err == nil {
		a, err = h.OverrideProof(t.Context(), "", h.domain.ID, a.ID, "for the test")
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (h *house) put(t testing.TB, a registry.ImportedAuthority, list []byte) {
	t.Helper()
	l, err := noneOwn(h.Registry.Now).List(a, list)
	if err == nil {
		_, err = h.PutForeignList(t.Context(), h.domain.ID, l)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// trusting returns what the house trusts now, with these anchors of the operator.
func (h *house) trusting(t testing.TB, own ...*x509.Certificate) *Trust {
	t.Helper()
	trust := NewTrust(nil, h.Registry.Now)
	trust.SetAnchors(own)
	if err := trust.LoadImported(t.Context(), h.store); err != nil {
		t.Fatal(err)
	}
	return trust
}

func TestImportedVouch(t *testing.T) {
	h := newHouse(t)
	operator := newMaker(t, "operator", nil)
	below := newMaker(t, "below the operator", operator)
	plant := newMaker(t, "plant", nil)
	line := newMaker(t, "line of the plant", plant)
	bought := newMaker(t, "bought line", plant)
	a := h.imports(t, plant, func(a *registry.ImportedAuthority) { a.LongestLife = 10 * time.Hour })
	b := h.imports(t, bought)
	h.imports(t, below)
	off := newMaker(t, "off", nil)
	if _, err := h.DisableAuthority(t.Context(), "", h.domain.ID, h.imports(t, off).ID); err != nil {
		t.Fatal(err)
	}
	unproved := newMaker(t, "unproved", nil)
	u, err := noneOwn(h.Registry.Now).Authority(EncodePEM(unproved.cert))
	if err != nil {
		t.Fatal(err)
	}
	u.Source = registry.NameID
	if _, err := h.ImportAuthority(t.Context(), "", h.domain.ID, u); err != nil {
		t.Fatal(err)
	}
	trust := h.trusting(t, operator.cert)
	long := func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(10*time.Hour + time.Second) }
	for _, c := range []struct {
		name  string
		chain []*x509.Certificate
		by    registry.AuthorityID
		want  registry.Reason
	}{
		{"takes what the authority signed", chainOf(plant.device("d")), a.ID, ""},
		{"takes what an authority between signed", chainOf(line.device("d"), line), a.ID, ""},
		{"refuses it without the one between", chainOf(line.device("d")), "", registry.ReasonCertificateUntrusted},
		{"goes by the nearest of two", chainOf(bought.device("d", long), bought), b.ID, ""},
		{"leaves to the operator's what was theirs", chainOf(below.device("d"), below), "", ""},
		{"refuses too long a life", chainOf(plant.device("d", long)), "", registry.ReasonCertificateTooLong},
		{"refuses it below one between too", chainOf(line.device("d", long), line), "", registry.ReasonCertificateTooLong},
		{"refuses a server's certificate", chainOf(plant.device("d", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })), "", registry.ReasonCertificateUntrusted},
		{"refuses one that has ended", chainOf(plant.device("d", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })), "", registry.ReasonCertificateExpired},
		{"refuses the authority's own", chainOf(plant), "", registry.ReasonCertificateUntrusted},
		{"refuses one that is unproved", chainOf(unproved.device("d")), "", registry.ReasonCertificateUntrusted},
		{"refuses one that is disabled", chainOf(off.device("d")), "", registry.ReasonCertificateUntrusted},
		{"refuses another of the same name", chainOf(newMaker(t, "plant", nil).device("d")), "", registry.ReasonCertificateUntrusted},
	} {
		for range 2 { // also from memory
			got, refused := trust.Vouch(c.chain)
			by := registry.AuthorityID("")
			if got.Authority != nil {
				by = got.Authority.ID
			}
			if refused != c.want || by != c.by {
				t.Errorf("it %s: vouched by %q, refused %q, want %q, %q", c.name, by, refused, c.by, c.want)
			}
		}
	}

	// What changes is in force with the next look, and what does not keeps what
	// was verified.
	good := chainOf(plant.device("d"))
	view := trust.view.Load()
	if err := trust.LoadImported(t.Context(), h.store); err != nil || trust.view.Load() != view {
		t.Errorf("nothing changed, and all is verified anew: %v", err)
	}
	if _, err := h.DisableAuthority(t.Context(), "", h.domain.ID, a.ID); err != nil {
		t.Fatal(err)
	}
	if _, refused := trust.Vouch(good); refused != "" {
		t.Errorf("before the look: %q", refused)
	}
	trust.Doubt(a.ID)
	if _, refused := trust.Vouch(good); refused != registry.ReasonCertificateUntrusted {
		t.Errorf("in doubt: %q", refused)
	}
	if err := trust.LoadImported(t.Context(), h.store); err != nil {
		t.Fatal(err)
	}
	if _, refused := trust.Vouch(good); refused != registry.ReasonCertificateUntrusted {
		t.Errorf("disabled: %q", refused)
	}
	if _, err := h.EnableAuthority(t.Context(), "", h.domain.ID, a.ID); err != nil {
		t.Fatal(err)
	}
	if err := trust.LoadImported(t.Context(), h.store); err != nil {
		t.Fatal(err)
	}
	if got, refused := trust.Vouch(good); refused != "" || got.Authority.ID != a.ID {
		t.Errorf("enabled again: %+v, %q", got, refused)
	}
}

func TestForeignListIsObeyed(t *testing.T) {
	h := newHouse(t)
	plant := newMaker(t, "plant", nil)
	line := newMaker(t, "line", plant)
	one, two, three := plant.device("1"), plant.device("2"), line.device("3")
	strict := h.imports(t, plant)
	lax := newMaker(t, "lax", nil)
	laxly := h.imports(t, lax, func(a *registry.ImportedAuthority) { a.StaleList = registry.StaleWarn })
	distant := newMaker(t, "distant", nil)
	h.imports(t, distant, func(a *registry.ImportedAuthority) { a.ListURL = "http://example.com/" })
	careless := newMaker(t, "careless", nil)
	h.imports(t, careless, func(a *registry.ImportedAuthority) {
		a.ListURL, a.StaleList = "http://example.com/", registry.StaleWarn
	})
	trust := h.trusting(t)
	reload := func() {
		t.Helper()
		if err := trust.LoadImported(t.Context(), h.store); err != nil {
			t.Fatal(err)
		}
	}
	vouch := func(what string, chain []*x509.Certificate, want registry.Reason) (ends time.Time) {
		t.Helper()
		got, refused := trust.Vouch(chain)
		if refused != want {
			t.Errorf("%s: refused %q, want %q", what, refused, want)
		}
		return got.Ends
	}
	vouch("no list, and none is asked for", chainOf(one), "")
	vouch("a list that was never got", chainOf(distant.device("d")), registry.ReasonListStale)
	vouch("the same, warned of", chainOf(careless.device("d")), "")

	h.put(t, strict, plant.list(1, []*maker{one}))
	h.put(t, laxly, lax.list(1, nil))
	reload()
	vouch("on the list", chainOf(one), registry.ReasonCertificateRevoked)
	vouch("below an authority that is not on it", chainOf(three, line), "")
	// The session ends with what it rests on.
	if ends := vouch("not on it", chainOf(two), ""); ends.After(h.now.Add(time.Hour+time.Second)) || ends.Before(h.now.Add(50*time.Minute)) {
		t.Errorf("vouched until %s", ends)
	}
	laxDevice := lax.device("d")
	if ends := vouch("with a list that is warned of", chainOf(laxDevice), ""); ends.Before(h.now.Add(8 * time.Hour)) {
		t.Errorf("vouched until %s", ends)
	}
	h.put(t, strict, plant.list(2, []*maker{line, two}))
	reload()
	vouch("no longer on the list", chainOf(one), "")
	vouch("now on it", chainOf(two), registry.ReasonCertificateRevoked)
	vouch("below one that is on it", chainOf(three, line), registry.ReasonCertificateRevoked)

	h.now = h.now.Add(2 * time.Hour)
	vouch("past its time", chainOf(one), registry.ReasonListStale)
	vouch("revoked all the same", chainOf(two), registry.ReasonCertificateRevoked)
	vouch("past its time, warned of", chainOf(laxDevice), "")
	h.put(t, strict, plant.list(3, nil, func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = h.now, h.now.Add(time.Hour) }))
	reload()
	vouch("got again", chainOf(one), "")

	// A list that cannot be read stops its authority alone.
	err := h.store.Update(t.Context(), func(tx registry.Tx) error {
		return tx.PutForeignList(t.Context(), registry.ForeignList{Authority: strict.ID, Domain: h.domain.ID, Sum: "broken", DER: []byte("broken"), NextUpdate: h.now.Add(time.Hour)})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := trust.LoadImported(t.Context(), h.store); err == nil {
		t.Error("a broken list was read")
	}
	vouch("an unreadable list", chainOf(one), registry.ReasonCertificateUntrusted)
	vouch("beside an unreadable list", chainOf(laxDevice), "")
}

func TestListIsObeyedOnResumption(t *testing.T) {
	h := newHouse(t)
	server := newMaker(t, "server", nil)
	own := server.device("localhost", func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{"localhost"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	plant := newMaker(t, "plant", nil)
	a := h.imports(t, plant)
	d := plant.device("d")
	trust := h.trusting(t)
	shown := tls.Certificate{Certificate: [][]byte{own.cert.Raw}, PrivateKey: own.key}
	var refused registry.Reason
	config := TLS{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &shown, nil }, Trust: trust, Refused: func(e *UntrustedError) { refused = e.Reason }}.Config()
	var named int
	client := &tls.Config{RootCAs: pool(server.cert), ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(4),
		GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			named = len(r.AcceptableCAs)
			return &tls.Certificate{Certificate: [][]byte{d.cert.Raw}, PrivateKey: d.key}, nil
		}}
	for range 2 {
		if err := shake(t, config, client); err != nil {
			t.Fatal(err)
		}
	}
	if named != 1 {
		t.Errorf("the request names %d authorities, want 1", named)
	}
	h.put(t, a, plant.list(1, []*maker{d}))
	if err := trust.LoadImported(t.Context(), h.store); err != nil {
		t.Fatal(err)
	}
	if err := shake(t, config, client); err == nil || refused != registry.ReasonCertificateRevoked {
		t.Errorf("got %v, %q", err, refused)
	}

	// What a stranger imports must not break everybody's handshake.
	for i := range 10 {
		h.imports(t, newMaker(t, "big", nil, func(c *x509.Certificate) {
			for n := range 100 {
				c.Subject.OrganizationalUnit = append(c.Subject.OrganizationalUnit, fmt.Sprint(i, n, strings.Repeat("x", 50)))
			}
		}))
	}
	h.put(t, a, plant.list(2, nil))
	if err := trust.LoadImported(t.Context(), h.store); err != nil {
		t.Fatal(err)
	}
	client.ClientSessionCache, named = nil, -1
	if err := shake(t, config, client); err != nil || named != 0 {
		t.Errorf("with large names: %v, %d named", err, named)
	}
}

func TestImportedCertificate(t *testing.T) {
	operator := newMaker(t, "operator", nil)
	imports := Imports{Own: func() []*x509.Certificate { return []*x509.Certificate{operator.cert} }, Now: time.Now}
	good := newMaker(t, "plant", nil)
	if a, err := imports.Authority(EncodePEM(good.cert)); err != nil || a.Name != "plant" || string(a.ID) != registry.Fingerprint(good.cert) || len(a.KeyHash) != 64 {
		t.Errorf("got %+v, %v", a, err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak := operatorless(t, small)
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"text":                 {[]byte("no"), "must be one certificate in PEM"},
		"two":                  {EncodePEM(good.cert, good.cert), "must be one certificate in PEM"},
		"rubbish in PEM":       {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), "is not an X.509 certificate"},
		"a device":             {EncodePEM(good.device("d").cert), "is not that of an authority"},
		"one that signs lists": {EncodePEM(newMaker(t, "x", nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }).cert), "may not sign certificates"},
		"a weak key":           {EncodePEM(weak), "must have an ECDSA"},
		"one that has ended":   {EncodePEM(newMaker(t, "x", nil, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }).cert), "is not valid at this time"},
		"one to come":          {EncodePEM(newMaker(t, "x", nil, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }).cert), "is not valid at this time"},
		"the operator's":       {EncodePEM(operator.cert), "trusts already"},
		"one below it":         {EncodePEM(newMaker(t, "x", operator).cert), "was signed by an authority"},
	} {
		var invalid *registry.InvalidError
		if _, err := imports.Authority(c.text); !errors.As(err, &invalid) || invalid.Field != "certificate" || !strings.Contains(invalid.Reason, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// operatorless is a root with that key.
func operatorless(t *testing.T, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "weak"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	return (&maker{t: t, cert: template, key: key}).sign(template, key.Public())
}

func TestProofOfPossession(t *testing.T) {
	plant, imports := newMaker(t, "plant", nil), noneOwn(time.Now)
	a, err := imports.Authority(EncodePEM(plant.cert))
	if err != nil {
		t.Fatal(err)
	}
	a.Nonce = "the-nonce"
	twice := func(c *x509.Certificate) {
		c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "x"}, {Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: a.Nonce}}
		c.Subject.CommonName = ""
	}
	for _, c := range []struct {
		name  string
		proof *x509.Certificate
		want  string
	}{
		{"takes a certificate with the nonce", plant.device(a.Nonce).cert, ""},
		{"refuses another name", plant.device("x").cert, "must have the nonce"},
		{"refuses the nonce in another case", plant.device("THE-NONCE").cert, "must have the nonce"},
		{"refuses two names", plant.device("", twice).cert, "must have the nonce"},
		{"refuses another authority of that name", newMaker(t, "plant", nil).device(a.Nonce).cert, "was not signed by the authority"},
		{"refuses one of an authority between", newMaker(t, "line", plant).device(a.Nonce).cert, "was not signed by the authority"},
		{"refuses one that signed itself", newMaker(t, a.Nonce, nil).cert, "was not signed by the authority"},
		{"refuses one that has ended", plant.device(a.Nonce, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }).cert, "is not valid"},
	} {
		err := imports.Proof(a, EncodePEM(c.proof))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("it %s: got %v", c.name, err)
		}
	}
}

func TestForeignList(t *testing.T) {
	plant, imports := newMaker(t, "plant", nil), noneOwn(time.Now)
	a, err := imports.Authority(EncodePEM(plant.cert))
	if err != nil {
		t.Fatal(err)
	}
	d := plant.device("d")
	good := plant.list(7, []*maker{d})
	for name, text := range map[string][]byte{"DER": good, "PEM": pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: good}), "base64": []byte(base64.StdEncoding.EncodeToString(good) + "\n")} {
		if l, err := imports.List(a, text); err != nil || l.Authority != a.ID || l.Number != "7" || l.Lines != 1 || string(l.DER) != string(good) {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	critical := func(id ...int) pkix.Extension {
		return pkix.Extension{Id: id, Critical: true, Value: []byte{5, 0}}
	}
	mute := newMaker(t, "mute", nil)
	muted, err := imports.Authority(EncodePEM(mute.cert))
	if err != nil {
		t.Fatal(err)
	}
	muted.DER = mute.sign(&x509.Certificate{SerialNumber: serial(), Subject: mute.cert.Subject, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, mute.key.Public()).Raw
	for _, c := range []struct {
		name string
		a    registry.ImportedAuthority
		text []byte
		want string
	}{
		{"refuses rubbish", a, []byte("x"), "is not a CRL"},
		{"refuses what is too large", a, make([]byte, MaxListSize+1), "is larger"},
		{"refuses another key's", a, newMaker(t, "plant", nil).list(1, nil), "was not signed by the authority"},
		{"refuses one of an authority that may not sign lists", muted, mute.list(1, nil), "may not sign lists"},
		{"refuses one from the future", a, plant.list(1, nil, func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(10 * time.Minute) }), "is from the future"},
		{"refuses a delta", a, plant.list(1, nil, func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{critical(2, 5, 29, 27)} }), "must list all"},
		{"refuses a part", a, plant.list(1, nil, func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{critical(2, 5, 29, 28)} }), "must list all"},
		{"refuses an indirect list", a, plant.list(1, []*maker{d}, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{critical(2, 5, 29, 29)}
		}), "must list all"},
	} {
		var invalid *registry.InvalidError
		if _, err := imports.List(c.a, c.text); !errors.As(err, &invalid) || invalid.Field != "crl" || !strings.Contains(invalid.Reason, c.want) {
			t.Errorf("it %s: got %v", c.name, err)
		}
	}
}

func TestFetchList(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secure") }))
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/list":
			fmt.Fprint(w, "list")
		case "/moved":
			http.Redirect(w, r, "/list", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/away":
			http.Redirect(w, r, secure.URL, http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/huge":
			for block, n := make([]byte, 1<<20), 0; n <= MaxListSize; n += len(block) {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(plain.Close)
	client := ListClient(secure.Client().Transport)
	for _, c := range []struct{ name, path, want, refused string }{
		{"fetches", "/list", "list", ""},
		{"follows", "/moved", "list", ""},
		{"does not follow for ever", "/round", "", "too many redirects"},
		{"does not follow to another scheme", "/away", "", "a redirect from http to https"},
		{"does not open files", "/file", "", "a redirect from http to file"},
		{"takes no other answer", "/none", "", "404"},
		{"stops at the bound", "/huge", "", "larger than 32 MiB"},
	} {
		got, err := FetchList(t.Context(), client, plain.URL+c.path)
		if c.refused == "" && (err != nil || string(got) != c.want) || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("it %s: got %q, %v", c.name, got[:min(len(got), 20)], err)
		}
	}
}

func FuzzProof(f *testing.F) {
	plant, imports := newMaker(f, "plant", nil), noneOwn(time.Now)
	a, err := imports.Authority(EncodePEM(plant.cert))
	if err != nil {
		f.Fatal(err)
	}
	a.Nonce = "nonce"
	f.Add(EncodePEM(plant.device("x").cert))
	f.Add(EncodePEM(plant.cert))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		// Nobody can guess a signature: no bytes prove anything.
		var invalid *registry.InvalidError
		if err := imports.Proof(a, text); !errors.As(err, &invalid) {
			t.Errorf("got %v", err)
		}
		if _, err := imports.Authority(text); err != nil && !errors.As(err, &invalid) {
			t.Errorf("got %v", err)
		}
	})
}

func FuzzForeignList(f *testing.F) {
	plant, imports := newMaker(f, "plant", nil), noneOwn(time.Now)
	a, err := imports.Authority(EncodePEM(plant.cert))
	if err != nil {
		f.Fatal(err)
	}
	good := plant.list(1, []*maker{plant.device("d")})
	f.Add(good)
	f.Add(newMaker(f, "plant", nil).list(1, nil))
	f.Add([]byte(base64.StdEncoding.EncodeToString(good)))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := imports.List(a, text)
		if err != nil {
			if invalid := (*registry.InvalidError)(nil); !errors.As(err, &invalid) {
				t.Errorf("got %v", err)
			}
			return
		}
		read, err := readList(l) // what was taken can be read again
		if err != nil || len(read.revoked) > l.Lines {
			t.Errorf("taken and not read: %v", err)
		}
	})
}
