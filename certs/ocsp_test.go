package certs_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/certs/certstest"
	"github.com/postern-io/postern/registry"
)

// These mirror RFC 6960 §4.1.1, so that a test can bend any part of a request.
type (
	certID struct {
		Hash      pkix.AlgorithmIdentifier
		Name, Key []byte
		Serial    *big.Int
	}
	single struct {
		ID         certID
		Extensions []pkix.Extension `asn1:"explicit,tag:0,optional"`
	}
	tbs struct {
		Version    int           `asn1:"explicit,tag:0,default:0,optional"`
		Name       asn1.RawValue `asn1:"explicit,tag:1,optional"`
		List       []single
		Extensions []pkix.Extension `asn1:"explicit,tag:2,optional"`
	}
	signed struct {
		TBS       tbs
		Signature asn1.RawValue `asn1:"explicit,tag:0,optional"`
	}
)

var (
	oidNonce  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidTypes  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 4}
	oidSHA384 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
)

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func nonce(t testing.TB, b []byte) pkix.Extension {
	return pkix.Extension{Id: oidNonce, Value: encode(t, b)}
}

// ask names certificates of an issuer, by the library's own hand.
func ask(t testing.TB, i *certs.Issuer, hash crypto.Hash, serials ...*big.Int) *signed {
	t.Helper()
	r := &signed{}
	for _, serial := range serials {
		raw, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: serial}, i.Certificate, &ocsp.RequestOptions{Hash: hash})
		if err != nil {
			t.Fatal(err)
		}
		var one signed
		if _, err := asn1.Unmarshal(raw, &one); err != nil {
			t.Fatal(err)
		}
		r.TBS.List = append(r.TBS.List, one.TBS.List...)
	}
	return r
}

var revoked = now.Add(-2 * time.Hour)

// records are by serial number.
var records = map[string]registry.Certificate{
	"1": {},
	"2": {RevokedAt: revoked, Reason: registry.KeyCompromise},
	"3": {RevokedAt: revoked, Reason: registry.CertificateHold},
	"4": {RevokedAt: revoked},
	"5": {NotAfter: now.Add(-24 * time.Hour)},
}

func find(serial string) (registry.Certificate, error) {
	c, ok := records[serial]
	if !ok {
		return c, registry.ErrNotFound
	}
	return c, nil
}

func TestAnswerOCSP(t *testing.T) {
	for name, key := range keys(t) {
		i := certstest.NewIssuer(t, key)
		for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
			for _, test := range []struct {
				name           string
				serial         int64
				status, reason int
			}{
				{"it says good", 1, ocsp.Good, 0},
				{"it says revoked, when and why", 2, ocsp.Revoked, ocsp.KeyCompromise},
				{"it says on hold", 3, ocsp.Revoked, ocsp.CertificateHold},
				{"it says revoked without a reason", 4, ocsp.Revoked, ocsp.Unspecified},
				{"it says of one that ended what is recorded", 5, ocsp.Good, 0},
				{"it does not know a serial number never issued", 6, ocsp.Unknown, 0},
				{"it does not know a negative one", -1, ocsp.Unknown, 0},
			} {
				t.Run(name+"/"+hash.String()+"/"+test.name, func(t *testing.T) {
					serial := big.NewInt(test.serial)
					r, err := certs.ParseOCSPRequest(encode(t, *ask(t, i, hash, serial)))
					if err != nil {
						t.Fatal(err)
					}
					if r.Responder([]*certs.Issuer{certstest.NewIssuer(t, nil), i}) != i {
						t.Fatal("the issuer was not found")
					}
					raw, err := i.AnswerOCSP(r, now, find)
					if err != nil {
						t.Fatal(err)
					}
					a, err := ocsp.ParseResponse(raw, nil)
					if err != nil {
						t.Fatal(err)
					}
					checkSignature(t, i, a)
					if a.Status != test.status || a.SerialNumber.Cmp(serial) != 0 || a.IssuerHash != hash {
						t.Errorf("got status %d of %v by %v", a.Status, a.SerialNumber, a.IssuerHash)
					}
					if test.status == ocsp.Revoked && (!a.RevokedAt.Equal(revoked.Truncate(time.Second)) || a.RevocationReason != test.reason) {
						t.Errorf("got revoked %v for %d", a.RevokedAt, a.RevocationReason)
					}
					second := now.Truncate(time.Second)
					if !a.ProducedAt.Equal(second) || !a.ThisUpdate.Equal(second) || !a.NextUpdate.Equal(second.Add(certs.AnswerLife)) {
						t.Errorf("got produced %v, good from %v to %v", a.ProducedAt, a.ThisUpdate, a.NextUpdate)
					}
					if !bytes.Equal(a.ResponderKeyHash, ask(t, i, crypto.SHA1, serial).TBS.List[0].ID.Key) {
						t.Errorf("the responder is %x", a.ResponderKeyHash)
					}
				})
			}
		}
	}
}

// checkSignature also takes Ed25519, which the library has no name for.
func checkSignature(t *testing.T, i *certs.Issuer, a *ocsp.Response) {
	t.Helper()
	algorithm := a.SignatureAlgorithm
	if i.Certificate.PublicKeyAlgorithm == x509.Ed25519 {
		algorithm = x509.PureEd25519
	}
	if err := i.Certificate.CheckSignature(algorithm, a.TBSResponseData, a.Signature); err != nil {
		t.Error(err)
	}
}

// Which parameters an algorithm has differs between keys, and no client minds
// until one does: crypto/x509 is the witness.
func TestAnswerOCSPNamesTheAlgorithm(t *testing.T) {
	for name, key := range keys(t) {
		i := certstest.NewIssuer(t, key)
		r, err := certs.ParseOCSPRequest(encode(t, *ask(t, i, crypto.SHA1, big.NewInt(1))))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := i.AnswerOCSP(r, now, find)
		if err != nil {
			t.Fatal(err)
		}
		l, err := i.RevocationList(1, nil, now)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Status asn1.Enumerated
			Bytes  struct {
				Kind  asn1.ObjectIdentifier
				Basic []byte
			} `asn1:"explicit,tag:0"`
		}
		var basic, list struct {
			Data, Algorithm asn1.RawValue
			Signature       asn1.BitString
		}
		for _, step := range []struct {
			raw  []byte
			into any
		}{{raw, &answer}, {l.DER, &list}} {
			if _, err := asn1.Unmarshal(step.raw, step.into); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := asn1.Unmarshal(answer.Bytes.Basic, &basic); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(basic.Algorithm.FullBytes, list.Algorithm.FullBytes) {
			t.Errorf("%s: an answer has %x, a list %x", name, basic.Algorithm.FullBytes, list.Algorithm.FullBytes)
		}
	}
}

func TestAnswerOCSPRepeatsTheNonce(t *testing.T) {
	i := certstest.NewIssuer(t, nil)
	for _, n := range []int{0, 1, 32, 128} {
		r := ask(t, i, crypto.SHA1, big.NewInt(1))
		if n > 0 {
			r.TBS.Extensions = []pkix.Extension{{Id: oidTypes, Value: []byte{0x30, 0}}, nonce(t, bytes.Repeat([]byte{0xab}, n))}
		}
		parsed, err := certs.ParseOCSPRequest(encode(t, *r))
		if err != nil || len(parsed.Nonce) != n {
			t.Fatalf("a nonce of %d: got %d, %v", n, len(parsed.Nonce), err)
		}
		raw, err := i.AnswerOCSP(parsed, now, find)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ocsp.ParseResponse(raw, i.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		var data struct {
			ID, Produced, Responses asn1.RawValue
			Extensions              []pkix.Extension `asn1:"explicit,tag:1,optional"`
		}
		if _, err := asn1.Unmarshal(a.TBSResponseData, &data); err != nil {
			t.Fatal(err)
		}
		switch e := data.Extensions; {
		case n == 0 && e != nil:
			t.Errorf("it answers with extensions that were not asked for: %v", e)
		case n > 0 && (len(e) != 1 || !e[0].Id.Equal(oidNonce) || !bytes.Equal(e[0].Value, encode(t, bytes.Repeat([]byte{0xab}, n)))):
			t.Errorf("it answers a nonce of %d with %v", n, e)
		}
	}
}

func TestAnswerOCSPOfSeveral(t *testing.T) {
	i := certstest.NewIssuer(t, nil)
	var serials []*big.Int
	for n := range int64(16) {
		serials = append(serials, big.NewInt(n))
	}
	r, err := certs.ParseOCSPRequest(encode(t, *ask(t, i, crypto.SHA1, serials...)))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := i.AnswerOCSP(r, now, find)
	if err != nil {
		t.Fatal(err)
	}
	for _, serial := range serials {
		a, err := ocsp.ParseResponseForCert(raw, &x509.Certificate{SerialNumber: serial}, i.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		c, known := records[certs.SerialText(serial)]
		if known != (a.Status != ocsp.Unknown) || c.RevokedAt.IsZero() == (a.Status == ocsp.Revoked) {
			t.Errorf("serial number %v: got status %d", serial, a.Status)
		}
	}
}

func TestResponder(t *testing.T) {
	first, second, stranger := certstest.NewIssuer(t, nil), certstest.NewIssuer(t, nil), certstest.NewIssuer(t, nil)
	ours := []*certs.Issuer{first, second}
	one := big.NewInt(1)
	mixed := ask(t, first, crypto.SHA1, one)
	mixed.TBS.List = append(mixed.TBS.List, ask(t, second, crypto.SHA1, one).TBS.List...)
	otherHash := ask(t, first, crypto.SHA1, one)
	otherHash.TBS.List[0].ID.Hash.Algorithm = oidSHA384
	otherName := ask(t, first, crypto.SHA1, one)
	otherName.TBS.List[0].ID.Name[0] ^= 1
	otherKey := ask(t, first, crypto.SHA256, one)
	otherKey.TBS.List[0].ID.Key[0] ^= 1
	for name, test := range map[string]struct {
		request *signed
		want    *certs.Issuer
	}{
		"it finds the first":                    {ask(t, first, crypto.SHA1, one), first},
		"it finds an older one by SHA-256":      {ask(t, second, crypto.SHA256, one, one), second},
		"it does not know a stranger":           {ask(t, stranger, crypto.SHA1, one), nil},
		"it does not answer for two at once":    {mixed, nil},
		"it does not know SHA-384":              {otherHash, nil},
		"it does not take another name":         {otherName, nil},
		"it does not take another key":          {otherKey, nil},
		"it does not answer for the root above": {ask(t, &certs.Issuer{Certificate: first.Root}, crypto.SHA1, one), nil},
	} {
		r, err := certs.ParseOCSPRequest(encode(t, *test.request))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if r.Responder(ours) != test.want {
			t.Errorf("%s: it found another", name)
		}
	}
}

func TestAnswerOCSPFails(t *testing.T) {
	i := certstest.NewIssuer(t, nil)
	r, err := certs.ParseOCSPRequest(encode(t, *ask(t, i, crypto.SHA1, big.NewInt(1))))
	if err != nil {
		t.Fatal(err)
	}
	_, err = i.AnswerOCSP(r, now, func(string) (registry.Certificate, error) { return registry.Certificate{}, registry.ErrUnavailable })
	if !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("the store does not answer: got %v", err)
	}
}

// bent are requests that are malformed, and some that look so and are not.
func bent(t testing.TB, i *certs.Issuer) (bad, good map[string][]byte) {
	one := big.NewInt(1)
	with := func(bend func(*signed)) []byte {
		r := ask(t, i, crypto.SHA1, one)
		bend(r)
		return encode(t, *r)
	}
	extended := func(e ...pkix.Extension) []byte { return with(func(r *signed) { r.TBS.Extensions = e }) }
	plain := with(func(*signed) {})
	many := make([]*big.Int, 17)
	for n := range many {
		many[n] = one
	}
	indefinite, _ := hex.DecodeString("30800000")
	bad = map[string][]byte{
		"nothing":                    {},
		"text":                       []byte("GET /pki/ocsp HTTP/1.1"),
		"a NULL":                     {5, 0},
		"an empty sequence":          {0x30, 0},
		"a length of four gigabytes": {0x30, 0x84, 0xff, 0xff, 0xff, 0xff},
		"an indefinite length":       indefinite,
		"a request cut short":        plain[:len(plain)-1],
		"a byte too much":            append(bytes.Clone(plain), 0),
		"no certificate":             with(func(r *signed) { r.TBS.List = nil }),
		"17 certificates":            encode(t, *ask(t, i, crypto.SHA1, many...)),
		"version 2":                  with(func(r *signed) { r.TBS.Version = 1 }),
		"an empty nonce":             extended(nonce(t, nil)),
		"a nonce of 129 bytes":       extended(nonce(t, make([]byte, 129))),
		"a nonce that is no string":  extended(pkix.Extension{Id: oidNonce, Value: []byte{5, 0}}),
		"a nonce with a tail":        extended(pkix.Extension{Id: oidNonce, Value: []byte{4, 1, 7, 0}}),
		"two nonces":                 extended(nonce(t, []byte{1}), nonce(t, []byte{1})),
		"a nonce of one certificate": with(func(r *signed) { r.TBS.List[0].Extensions = []pkix.Extension{nonce(t, []byte{1})} }),
		"a critical extension":       extended(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}),
		"a critical one of one": with(func(r *signed) {
			r.TBS.List[0].Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true}}
		}),
		"a serial number of 22 bytes": with(func(r *signed) { r.TBS.List[0].ID.Serial = new(big.Int).Lsh(one, 21*8) }),
		"parameters beside the hash": with(func(r *signed) {
			r.TBS.List[0].ID.Hash.Parameters = asn1.RawValue{FullBytes: encode(t, []byte("mine"))}
		}),
		"a serial number not minimal":     bytes.Replace(plain, []byte{2, 1, 1}, []byte{2, 1, 0x81}, 1)[:len(plain)-1],
		"an answer instead of a question": ocsp.UnauthorizedErrorResponse,
	}
	good = map[string][]byte{
		"plain":                          plain,
		"an extension that is not known": extended(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}),
		"critical types of answers":      extended(pkix.Extension{Id: oidTypes, Critical: true, Value: []byte{0x30, 0}}),
		"hash without parameters":        with(func(r *signed) { r.TBS.List[0].ID.Hash.Parameters = asn1.RawValue{} }),
		"a serial number of 20 bytes":    with(func(r *signed) { r.TBS.List[0].ID.Serial = new(big.Int).Lsh(one, 159) }),
		"a signature and who signed": with(func(r *signed) {
			r.Signature = asn1.RawValue{FullBytes: []byte{0xa0, 2, 0x30, 0}}
			r.TBS.Name = asn1.RawValue{FullBytes: []byte{0xa1, 4, 0xa4, 2, 0x30, 0}}
		}),
		"an explicit version 1":         bytes.Join([][]byte{{0x30, plain[1] + 5, 0x30, plain[3] + 5, 0xa0, 3, 2, 1, 0}, plain[4:]}, nil),
		"a hash that is not known":      with(func(r *signed) { r.TBS.List[0].ID.Hash.Algorithm = oidSHA384 }),
		"a longer text as name and key": with(func(r *signed) { r.TBS.List[0].ID.Name = []byte(strings.Repeat("x", 5000)) }),
	}
	return bad, good
}

func TestParseOCSPRequest(t *testing.T) {
	bad, good := bent(t, certstest.NewIssuer(t, nil))
	for name, request := range bad {
		if r, err := certs.ParseOCSPRequest(request); !errors.Is(err, certs.ErrMalformedOCSP) || r.Certificates != nil {
			t.Errorf("%s: got %+v, %v, want it refused", name, r, err)
		}
	}
	for name, request := range good {
		if r, err := certs.ParseOCSPRequest(request); err != nil || len(r.Certificates) != 1 {
			t.Errorf("%s: got %+v, %v, want it taken", name, r, err)
		}
	}
}

// FuzzOCSPRequest finds that whatever is sent is malformed, or is answered with
// what the library can read.
func FuzzOCSPRequest(f *testing.F) {
	i := certstest.NewIssuer(f, nil)
	bad, good := bent(f, i)
	for _, seeds := range []map[string][]byte{bad, good} {
		for _, request := range seeds {
			f.Add(request)
		}
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		r, err := certs.ParseOCSPRequest(request)
		if err != nil {
			if !errors.Is(err, certs.ErrMalformedOCSP) {
				t.Errorf("got %v", err)
			}
			return
		}
		if n := len(r.Certificates); n == 0 || n > 16 || len(r.Nonce) > 128 {
			t.Fatalf("%d certificates, a nonce of %d", n, len(r.Nonce))
		}
		for _, c := range r.Certificates {
			if c.Hash == 0 {
				return // the library reads no such answer, and there is no responder
			}
		}
		raw, err := i.AnswerOCSP(r, now, find)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Certificates {
			a, err := ocsp.ParseResponseForCert(raw, &x509.Certificate{SerialNumber: c.Serial}, i.Certificate)
			if err != nil {
				t.Fatal(err)
			}
			if a.SerialNumber.Cmp(c.Serial) != 0 {
				t.Errorf("asked about %v, told about %v", c.Serial, a.SerialNumber)
			}
		}
	})
}
