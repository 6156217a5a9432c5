package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

// A foreignCA is an authority of somebody else.
type foreignCA struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newForeignCA(t testing.TB, name string) *foreignCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := &foreignCA{t: t, key: key}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	f.cert = f.sign(template, template)
	return f
}

func (f *foreignCA) sign(template, parent *x509.Certificate) *x509.Certificate {
	f.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, f.key.Public(), f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *foreignCA) pem() string { return string(certs.EncodePEM(f.cert)) }
func (f *foreignCA) id() string  { return registry.Fingerprint(f.cert) }

// named is a certificate with that common name, in PEM.
func (f *foreignCA) named(name string) string {
	return string(certs.EncodePEM(f.sign(&x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, f.cert)))
}

// list is a CRL of these serial numbers, in base64.
func (f *foreignCA) list(number int64, serials ...int64) string {
	f.t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: time.Now().Add(time.Duration(number) * time.Second), NextUpdate: time.Now().Add(time.Hour)}
	for _, n := range serials {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, f.cert, f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// imports imports an authority into the domain, while there is one. It returns
// the authority and its nonce.
func (s *site) imports(source registry.NameSource, vouches bool) (*foreignCA, string) {
	s.t.Helper()
	f := newForeignCA(s.t, "Acme plant")
	return f, s.importsInto(s.domain.ID, f, source, vouches)
}

func (s *site) importsInto(domain registry.DomainID, f *foreignCA, source registry.NameSource, vouches bool) (nonce string) {
	s.t.Helper()
	a, err := s.api.Imports.Authority([]byte(f.pem()))
	if err != nil {
		s.t.Fatal(err)
	}
	a.Source = source
	a, err = s.api.Registry.ImportAuthority(s.t.Context(), "", domain, a)
	if err == nil && vouches {
		a, err = s.api.Registry.OverrideProof(s.t.Context(), "", domain, a.ID, "for the test")
	}
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		s.t.Fatal(err)
	}
	return a.Nonce
}

// authorityRequests are those of good that concern imported authorities.
func (s *site) authorityRequests() map[string]func() request {
	all := "/" + string(s.domain.ID) + "/authorities"
	on := func(vouches bool, source registry.NameSource, rest string, body func(f *foreignCA, nonce string) any) func() request {
		return func() request {
			f, nonce := s.imports(source, vouches)
			r := request{all + "/" + f.id() + rest, s.owner, nil}
			if body != nil {
				r.body = body(f, nonce)
			}
			return r
		}
	}
	type m = map[string]any
	arrival := m{"register": true, "approve": "pump-*", "tags": []string{"new"}, "channels": []m{{"channel_id": s.channel.ID, "types": []string{"publish"}}}}
	return map[string]func() request{
		"importAuthority": func() request {
			return request{all, s.owner, m{"certificate": newForeignCA(s.t, "Acme plant").pem(), "source": "name", "longest_life": "2160h", "stale_list": "warn", "arrival": arrival}}
		},
		"listAuthorities": func() request {
			s.imports(registry.NameID, true)
			return request{all, s.owner, nil}
		},
		"viewAuthority": on(true, registry.NameID, "", nil),
		"updateAuthority": on(true, registry.NameCommon, "", func(*foreignCA, string) any {
			return m{"name": "plant 2", "longest_life": "", "arrival": arrival, "stale_list": "warn"}
		}),
		"deleteAuthority":   on(true, registry.NameID, "", nil),
		"proveAuthority":    on(false, registry.NameID, "/prove", func(f *foreignCA, nonce string) any { return m{"certificate": f.named(nonce)} }),
		"overrideProof":     on(false, registry.NameID, "/override", func(*foreignCA, string) any { return m{"reason": "came with the plant"} }),
		"enableAuthority":   on(true, registry.NameID, "/enable", nil),
		"disableAuthority":  on(true, registry.NameID, "/disable", nil),
		"putRevocationList": on(true, registry.NameID, "/crl", func(f *foreignCA, _ string) any { return m{"crl": f.list(1, 5, 6)} }),
		"listPrincipals":    on(true, registry.NameID, "/principals", nil),
		"bindPrincipal":     on(true, registry.NameCommon, "/principals", func(*foreignCA, string) any { return m{"name": "pump/7 a", "client_id": s.client.ID} }),
		"unbindPrincipal": func() request {
			f, _ := s.imports(registry.NameCommon, true)
			_, err := s.api.Registry.Bind(s.t.Context(), s.domain.ID, registry.AuthorityID(f.id()), "pump/7 a", s.client.ID)
			if err != nil && !errors.Is(err, registry.ErrNotFound) {
				s.t.Fatal(err)
			}
			return request{all + "/" + f.id() + "/principals/" + url.PathEscape("pump/7 a"), s.owner, nil}
		},
	}
}

// provokeAuthority is provoke for what is special about imported authorities. It
// reports whether r is ready.
func (s *site) provokeAuthority(op operation, status int, r *request) bool {
	s.t.Helper()
	switch {
	case status == 400 && (op.id == "enableAuthority" || op.id == "disableAuthority"):
		f, _ := s.imports(registry.NameID, false)
		parts := strings.Split(r.path, "/")
		parts[3] = f.id()
		r.path = strings.Join(parts, "/")
	case status == 422 && (op.id == "proveAuthority" || op.id == "overrideProof"):
		other, err := s.api.Registry.CreateDomain(s.t.Context(), "", registry.Domain{Name: "other"})
		if err != nil {
			s.t.Fatal(err)
		}
		f := newForeignCA(s.t, "of two")
		nonce := s.importsInto(s.domain.ID, f, registry.NameID, false)
		s.importsInto(other.ID, f, registry.NameID, true)
		parts := strings.Split(r.path, "/")
		parts[3] = f.id()
		r.path = strings.Join(parts, "/")
		if op.id == "proveAuthority" {
			r.body = object{"certificate": f.named(nonce)}
		}
	default:
		return false
	}
	return true
}

func TestImportOfAnAuthority(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	all := "/" + string(s.domain.ID) + "/authorities"
	f := newForeignCA(t, "Acme plant")
	w := s.do("POST", all, s.admin, object{"certificate": f.pem(), "source": "cn_id"})
	a := decode[Authority](t, w)
	if w.Code != 201 || a.ID != f.id() || a.Name != "Acme plant" || a.Status != "unproved" || a.Nonce == "" || a.StaleList != "refuse" || a.Certificate != f.pem() {
		t.Fatalf("imported: %d %s", w.Code, w.Body)
	}
	one := all + "/" + strings.ToUpper(a.ID) // a fingerprint in either case
	for _, c := range []struct {
		name, path, token string
		body              any
		status            int
		says              string
	}{
		{"refuses a proof of another key", "/prove", s.admin, object{"certificate": newForeignCA(t, "Acme plant").named(a.Nonce)}, 400, "was not signed by the authority"},
		{"refuses a proof of another nonce", "/prove", s.admin, object{"certificate": f.named("x")}, 400, "must have the nonce"},
		{"refuses the authority itself as proof", "/prove", s.admin, object{"certificate": f.pem()}, 400, "must have the nonce"},
		{"refuses what is no certificate", "/prove", s.admin, object{"certificate": "x"}, 400, "must be one certificate in PEM"},
		{"refuses a list before the proof", "/crl", s.admin, object{"crl": f.list(1)}, 400, "is not proved"},
		{"refuses an override without a reason", "/override", s.admin, object{"reason": ""}, 400, "must say why"},
		{"takes the proof", "/prove", s.admin, object{"certificate": f.named(a.Nonce)}, 200, `"enabled"`},
		{"takes it once", "/prove", s.admin, object{"certificate": f.named(a.Nonce)}, 400, "is proved already"},
		{"takes a list", "/crl", s.admin, object{"crl": f.list(2, 9)}, 200, `"lines":1`},
		{"refuses an older list", "/crl", s.admin, object{"crl": f.list(1, 9)}, 400, "is older"},
		{"refuses a list of another key", "/crl", s.admin, object{"crl": newForeignCA(t, "Acme plant").list(3)}, 400, "was not signed"},
		{"refuses what is no list", "/crl", s.admin, object{"crl": "x"}, 400, "is not a CRL"},
	} {
		if w := s.do("POST", one+c.path, c.token, c.body); w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("it %s: got %d %s", c.name, w.Code, w.Body)
		}
	}
	if w := s.do("GET", one, s.viewer, nil); strings.Contains(w.Body.String(), a.Nonce) {
		t.Errorf("a nonce that was used is shown: %s", w.Body)
	}
	// Only the platform says what the server fetches; the domain may take it back.
	s.join("stranger", registry.Owner)
	other := newForeignCA(t, "other")
	link := object{"certificate": other.pem(), "source": "cn_id", "crl_url": "http://pki.example.com/a.crl"}
	for _, c := range []struct {
		name, method, path, token string
		body                      any
		status                    int
	}{
		{"refuses a URL of a domain's owner", "POST", all, s.stranger, link, 403},
		{"takes a URL of the platform", "POST", all, s.admin, link, 201},
		{"lets a domain's owner change the rest", "PATCH", all + "/" + other.id(), s.stranger, object{"name": "x", "crl_url": "http://pki.example.com/a.crl"}, 200},
		{"refuses another URL of a domain's owner", "PATCH", all + "/" + other.id(), s.stranger, object{"crl_url": "http://127.0.0.1/"}, 403},
		{"lets a domain's owner take it away", "PATCH", all + "/" + other.id(), s.stranger, object{"crl_url": ""}, 200},
		{"refuses an override of a domain's owner", "POST", all + "/" + other.id() + "/override", s.stranger, object{"reason": "trust me"}, 403},
	} {
		if w := s.do(c.method, c.path, c.token, c.body); w.Code != c.status {
			t.Errorf("it %s: got %d %s", c.name, w.Code, w.Body)
		}
	}
	if w := s.do("POST", all+"/"+other.id()+"/override", s.admin, object{"reason": "came with the plant"}); w.Code != 200 {
		t.Fatalf("override: %d %s", w.Code, w.Body)
	}
	e := s.audited("authority.override")
	if e.Object != other.id() || e.Details["reason"] != "came with the plant" || e.Actor != s.users["admin"].ID {
		t.Errorf("in the trail: %+v", e)
	}
}

// TestPossessionProofByOpenssl proves possession as an operator would.
func TestPossessionProofByOpenssl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("POSTERN_TEST_REQUIRE_ALL") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	s, dir := newSite(t), t.TempDir()
	openssl := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "openssl", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
	}
	read := func(name string) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=Plant",
		"-addext", "keyUsage=critical,keyCertSign,cRLSign")
	all := "/" + string(s.domain.ID) + "/authorities"
	a := decode[Authority](t, s.do("POST", all, s.owner, object{"certificate": read("ca.crt"), "source": "cn_id"}))
	openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "proof.key", "-out", "proof.csr", "-subj", "/CN="+a.Nonce)
	openssl("x509", "-req", "-in", "proof.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1", "-out", "proof.crt")
	if w := s.do("POST", all+"/"+a.ID+"/prove", s.owner, object{"certificate": read("proof.crt")}); w.Code != 200 || decode[Authority](t, w).Status != "enabled" {
		t.Fatalf("proved: %d %s", w.Code, w.Body)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.conf"), []byte("[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=1\ncrlnumber=crlnumber\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "crlnumber"), []byte("01\n"), 0o600); err != nil { // with it, a list of version 2
		t.Fatal(err)
	}
	openssl("ca", "-config", "ca.conf", "-cert", "ca.crt", "-keyfile", "ca.key", "-revoke", "proof.crt")
	openssl("ca", "-config", "ca.conf", "-cert", "ca.crt", "-keyfile", "ca.key", "-gencrl", "-out", "ca.crl")
	if w := s.do("POST", all+"/"+a.ID+"/crl", s.owner, object{"crl": read("ca.crl")}); w.Code != 200 || decode[Authority](t, w).Crl.Lines != 1 {
		t.Fatalf("its list: %d %s", w.Code, w.Body)
	}
	block, _ := pem.Decode([]byte(read("ca.crl")))
	if w := s.do("POST", all+"/"+a.ID+"/crl", s.owner, object{"crl": base64.StdEncoding.EncodeToString(block.Bytes)}); w.Code != 200 {
		t.Errorf("the same in base64: %d %s", w.Code, w.Body)
	}
}

// TestOwnAuthoritiesAreNotImported: whom the server trusts is nobody's to take.
func TestOwnAuthoritiesAreNotImported(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	own := newForeignCA(t, "of the operator")
	s.api.Imports.Own = func() []*x509.Certificate { return []*x509.Certificate{own.cert} }
	again := own.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "the same key"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, own.cert)
	for name, text := range map[string]string{"itself": own.pem(), "of the same key": string(certs.EncodePEM(again))} {
		w := s.do("POST", "/"+string(s.domain.ID)+"/authorities", s.owner, object{"certificate": text, "source": "cn_id"})
		if w.Code != 400 || !strings.Contains(w.Body.String(), "trusts already") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}
