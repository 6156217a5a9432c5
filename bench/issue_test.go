package bench

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// BenchmarkIssue compares certificates made from a signing request to bare
// crypto/x509 that reads and checks the same request and signs as much: made
// alone, and recorded in SQLite on the disk, as the API does it.
func BenchmarkIssue(b *testing.B) {
	db, err := store.Open(b.Context(), "sqlite:"+b.TempDir()+"/postern.db")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	hasher, err := registry.NewSecretHasher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	r := &registry.Registry{Store: db, Hasher: hasher, Now: time.Now, NewID: uuid.NewString}
	ca, err := certs.Open(b.Context(), certs.Config{Dir: b.TempDir(), Keeper: r, Key: bytes.Repeat([]byte{7}, 32), URL: "http://localhost", Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	home, err := r.CreateDomain(b.Context(), "", registry.Domain{Name: "home"})
	if err != nil {
		b.Fatal(err)
	}
	devices, err := r.CreateDevices(b.Context(), "", home.ID, []registry.NewDevice{{}})
	if err != nil {
		b.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		b.Fatal(err)
	}
	device, issuer := devices[0].Device, ca.Issuers()[0]
	issue := func() registry.Certificate {
		request, err := certs.ParseRequestDER(csr)
		if err != nil {
			b.Fatal(err)
		}
		c, err := ca.IssueDevice(device, request)
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	bare := timed(func() {
		request, err := x509.ParseCertificateRequest(csr)
		if err == nil {
			err = request.CheckSignature()
		}
		var raw []byte
		if err == nil {
			raw, err = x509.CreateCertificate(rand.Reader, &x509.Certificate{
				SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: string(device.ID)},
				NotBefore: time.Now(), NotAfter: time.Now().Add(certs.DeviceLife), KeyUsage: x509.KeyUsageDigitalSignature,
				ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			}, issuer.Certificate, request.PublicKey, issuer.Key)
		}
		if err == nil {
			_, err = x509.ParseCertificate(raw)
		}
		if err != nil {
			b.Fatal(err)
		}
	})
	b.Run("made", func(b *testing.B) { compare(b, timed(func() { issue() }), bare) })
	b.Run("recorded", func(b *testing.B) {
		compare(b, timed(func() {
			_, err := r.IssueCertificate(b.Context(), "", home.ID, device.ID, uuid.NewString(), func(registry.Device) (registry.Certificate, error) { return issue(), nil })
			if err != nil {
				b.Fatal(err)
			}
		}), bare)
	})
}
