package certs_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/certs/certstest"
	"github.com/postern-io/postern/registry"
)

// keys are one of each kind that an authority may have.
func keys(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	all := map[string]crypto.Signer{}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		all[curve.Params().Name] = key
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	all["RSA"], all["Ed25519"] = rsaKey, edKey
	return all
}

var now = time.Date(2026, 5, 4, 12, 0, 0, 123456000, time.UTC)

func TestRevocationList(t *testing.T) {
	lines := []registry.Revocation{
		{Serial: "1f", At: now.Add(-time.Hour), Reason: registry.KeyCompromise},
		{Serial: "7fffffffffffffffffffffffffffffff", At: now, Reason: registry.Unspecified},
		{Serial: "a0", At: now, Reason: registry.CertificateHold},
	}
	for name, key := range keys(t) {
		t.Run("it signs with "+name, func(t *testing.T) {
			i := certstest.NewIssuer(t, key)
			kept, err := i.RevocationList(7, lines, now)
			if err != nil {
				t.Fatal(err)
			}
			l, err := x509.ParseRevocationList(kept.DER)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.CheckSignatureFrom(i.Certificate); err != nil {
				t.Error(err)
			}
			if l.Number.Int64() != 7 || kept.Number != 7 || kept.Authority != i.ID || string(l.AuthorityKeyId) != string(i.Certificate.SubjectKeyId) {
				t.Errorf("got number %v and %d, authority %s, key %x", l.Number, kept.Number, kept.Authority, l.AuthorityKeyId)
			}
			if !l.ThisUpdate.Equal(kept.ThisUpdate) || !l.NextUpdate.Equal(kept.NextUpdate) {
				t.Errorf("the list says %v to %v, the record %v to %v", l.ThisUpdate, l.NextUpdate, kept.ThisUpdate, kept.NextUpdate)
			}
			if !l.ThisUpdate.Before(now) || l.NextUpdate.Sub(now) > certs.ListLife || l.NextUpdate.Sub(now) < certs.ListLife-time.Second {
				t.Errorf("made at %v it says %v to %v", now, l.ThisUpdate, l.NextUpdate)
			}
			if len(l.RevokedCertificateEntries) != len(lines) {
				t.Fatalf("got %d lines, want %d", len(l.RevokedCertificateEntries), len(lines))
			}
			for n, e := range l.RevokedCertificateEntries {
				want, _ := new(big.Int).SetString(lines[n].Serial, 16)
				if e.SerialNumber.Cmp(want) != 0 || e.ReasonCode != int(lines[n].Reason) || !e.RevocationTime.Equal(lines[n].At.Truncate(time.Second)) {
					t.Errorf("got %v %d %v, want %+v", e.SerialNumber, e.ReasonCode, e.RevocationTime, lines[n])
				}
			}
			// RFC 5280 §5.3.1: an unspecified reason is not written.
			if extensions := l.RevokedCertificateEntries[1].Extensions; len(extensions) != 0 {
				t.Errorf("an unspecified reason was written: %v", extensions)
			}
		})
	}
}

func TestRevocationListWithoutLines(t *testing.T) {
	i := certstest.NewIssuer(t, nil)
	kept, err := i.RevocationList(1, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	// RFC 5280 §5.1.2.6: without lines there is no revokedCertificates at all.
	var list struct {
		TBS struct {
			Version                int
			Algorithm, Issuer      asn1.RawValue
			ThisUpdate, NextUpdate time.Time
			Extensions             asn1.RawValue `asn1:"explicit,tag:0"`
		}
		Algorithm, Signature asn1.RawValue
	}
	if _, err := asn1.Unmarshal(kept.DER, &list); err != nil || list.TBS.Version != 1 {
		t.Errorf("got version %d, %v", list.TBS.Version, err)
	}
}

func TestRevocationListRefuses(t *testing.T) {
	i := certstest.NewIssuer(t, nil)
	for _, serial := range []string{"", "x", "1:f"} {
		if _, err := i.RevocationList(1, []registry.Revocation{{Serial: serial, At: now}}, now); err == nil {
			t.Errorf("it lists the serial number %q", serial)
		}
	}
	blind := *i
	c := *i.Certificate
	c.KeyUsage = x509.KeyUsageCertSign
	blind.Certificate = &c
	if _, err := blind.RevocationList(1, nil, now); err == nil {
		t.Error("an authority that may not sign lists signed one")
	}
}

func TestRootList(t *testing.T) {
	i, rootKey := certstest.NewIssuerAndRoot(t, nil)
	raw, err := certs.RootList(i.Root, rootKey, now)
	if err != nil {
		t.Fatal(err)
	}
	l, err := x509.ParseRevocationList(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.CheckSignatureFrom(i.Root); err != nil || len(l.RevokedCertificateEntries) != 0 || l.Number.Int64() != now.Unix() {
		t.Errorf("got %v, number %v, %d lines", err, l.Number, len(l.RevokedCertificateEntries))
	}
	if life := l.NextUpdate.Sub(now); life < 364*24*time.Hour {
		t.Errorf("it is good for %v", life)
	}
}
