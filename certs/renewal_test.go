package certs

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net/url"
	"testing"

	"github.com/postern-io/postern/registry"
)

func TestRenewalsKeepTheName(t *testing.T) {
	t.Parallel()
	d := registry.Device{Domain: "11111111-1111-4111-8111-111111111111", ID: "22222222-2222-4222-8222-222222222222"}
	key := ecKey(t, elliptic.P256())
	old := selfSigned(t, &x509.Certificate{Subject: pkix.Name{CommonName: string(d.ID)}, URIs: []*url.URL{DeviceURN(d.Domain, d.ID)}})
	utf8, err := asn1.Marshal(pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(d.ID)}}}})
	if err != nil {
		t.Fatal(err)
	}
	own, other := []*url.URL{DeviceURN(d.Domain, d.ID)}, []*url.URL{DeviceURN(d.Domain, "33333333-3333-4333-8333-333333333333")}
	for name, test := range map[string]struct {
		propose x509.CertificateRequest
		want    bool
	}{
		"it takes no name":                       {x509.CertificateRequest{}, true},
		"it takes the same name":                 {x509.CertificateRequest{Subject: pkix.Name{CommonName: string(d.ID)}, URIs: own}, true},
		"it takes the name as another string":    {x509.CertificateRequest{RawSubject: utf8}, true},
		"it takes the alternative name alone":    {x509.CertificateRequest{URIs: own}, true},
		"it refuses another subject":             {x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}}, false},
		"it refuses more in the subject":         {x509.CertificateRequest{Subject: pkix.Name{CommonName: string(d.ID), Organization: []string{"x"}}}, false},
		"it refuses another alternative name":    {x509.CertificateRequest{URIs: other}, false},
		"it refuses one more alternative name":   {x509.CertificateRequest{URIs: append(own, other...)}, false},
		"it refuses another kind of alternative": {x509.CertificateRequest{DNSNames: []string{"x"}}, false},
	} {
		r, err := ParseRequest(request(t, key, &test.propose))
		if err != nil {
			t.Fatal(err)
		}
		err = r.Renews(old)
		if (err == nil) != test.want || err != nil && !errors.As(err, new(*registry.InvalidError)) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	r, err := ParseRequest(request(t, key, &x509.CertificateRequest{URIs: own}))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Renews(selfSigned(t, &x509.Certificate{Subject: pkix.Name{CommonName: string(d.ID)}})); err == nil {
		t.Error("it takes an alternative name that the certificate does not have")
	}
}

// selfSigned is a certificate with the names of the template.
func selfSigned(t *testing.T, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	key := ecKey(t, elliptic.P256())
	template.SerialNumber = serial()
	c, err := sign(template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
