package certs

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
)

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// Renews tells whether the request may renew a certificate: the subject and the
// alternative names that it proposes must be those of the certificate (RFC 7030
// §4.2.2). A request that proposes none takes them as they are. Otherwise it
// returns a *registry.InvalidError.
func (r Request) Renews(old *x509.Certificate) error {
	subject, err := nameOf(r.names.RawSubject)
	if err != nil {
		return err
	}
	was, err := nameOf(old.RawSubject)
	if err != nil {
		return err
	}
	if subject != "" && subject != was {
		return invalidRequest("must have the subject of the certificate that it renews, or none")
	}
	var names []byte
	for _, e := range old.Extensions {
		if e.Id.Equal(oidSubjectAltName) {
			names = e.Value
		}
	}
	for _, e := range r.names.Extensions {
		if e.Id.Equal(oidSubjectAltName) && !bytes.Equal(e.Value, names) {
			return invalidRequest("must have the alternative names of the certificate that it renews, or none")
		}
	}
	return nil
}

// nameOf is a distinguished name without the kinds of its strings: a program
// may write the same letters as another kind (RFC 5280 §7.1).
func nameOf(raw []byte) (string, error) {
	var name pkix.RDNSequence
	if rest, err := asn1.Unmarshal(raw, &name); err != nil || len(rest) > 0 {
		return "", invalidRequest("has a subject that is none (RFC 5280 §4.1.2.4)")
	}
	return name.String(), nil
}
