package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"slices"
	"time"

	"github.com/postern-io/postern/registry"
)

// Imports reads what is brought of authorities of somebody else. It is safe for
// concurrent use.
type Imports struct {
	// Own returns the authorities that nobody may import: our own, those that
	// the operator trusts, those of proxies.
	Own func() []*x509.Certificate
	Now func() time.Time
}

// Authority reads the certificate of an authority, in PEM: one that may sign
// certificates, with a key as a device may have, in its time. It returns what
// the certificate says; errors are *registry.InvalidError.
func (i Imports) Authority(text []byte) (registry.ImportedAuthority, error) {
	c, err := oneCertificate(text)
	if err != nil {
		return registry.ImportedAuthority{}, err
	}
	now := i.Now()
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		err = invalidAuthority("is not that of an authority (basicConstraints CA:TRUE, RFC 5280 §4.2.1.9)")
	case c.KeyUsage&x509.KeyUsageCertSign == 0:
		err = invalidAuthority("may not sign certificates (keyUsage keyCertSign, RFC 5280 §4.2.1.3)")
	case acceptable(c.PublicKey) != nil:
		err = invalidAuthority("must have an ECDSA (P-256, P-384, P-521), Ed25519 or RSA (2048 to 4096 bits) key")
	case now.Before(c.NotBefore) || now.After(c.NotAfter):
		err = invalidAuthority("is not valid at this time")
	default:
		err = i.foreign(c)
	}
	if err != nil {
		return registry.ImportedAuthority{}, err
	}
	key := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return registry.ImportedAuthority{
		ID: registry.AuthorityID(registry.Fingerprint(c)), Name: c.Subject.CommonName, DER: c.Raw, KeyHash: hex.EncodeToString(key[:]),
	}, nil
}

// foreign refuses an authority that is trusted here already, or stands below one
// that is: what its certificates say is decided then.
func (i Imports) foreign(c *x509.Certificate) error {
	own := i.Own()
	switch {
	case slices.ContainsFunc(own, func(o *x509.Certificate) bool {
		return bytes.Equal(o.RawSubjectPublicKeyInfo, c.RawSubjectPublicKeyInfo)
	}):
		return invalidAuthority("is that of an authority that this server trusts already")
	case slices.ContainsFunc(own, func(o *x509.Certificate) bool {
		return bytes.Equal(o.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(o) == nil
	}):
		return invalidAuthority("was signed by an authority that this server trusts already")
	}
	return nil
}

// Proof checks the proof that somebody has the key of an authority: a
// certificate, in PEM, which it signed, whose one common name is the nonce.
func (i Imports) Proof(a registry.ImportedAuthority, text []byte) error {
	ca, err := x509.ParseCertificate(a.DER)
	if err != nil {
		return err
	}
	proof, err := oneCertificate(text)
	if err != nil {
		return err
	}
	name, count := "", 0
	for _, attr := range proof.Subject.Names {
		if attr.Type.Equal(asn1.ObjectIdentifier{2, 5, 4, 3}) {
			name, _ = attr.Value.(string)
			count++
		}
	}
	now := i.Now()
	switch {
	case !bytes.Equal(proof.RawIssuer, ca.RawSubject) || proof.CheckSignatureFrom(ca) != nil:
		return invalidAuthority("was not signed by the authority")
	case count != 1 || name != a.Nonce:
		return invalidAuthority("must have the nonce as its one common name")
	case now.Before(proof.NotBefore) || now.After(proof.NotAfter):
		return invalidAuthority("is not valid at this time")
	}
	return nil
}

func invalidAuthority(reason string) error {
	return &registry.InvalidError{Field: "certificate", Reason: reason}
}

func oneCertificate(text []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, invalidAuthority("must be one certificate in PEM (-----BEGIN CERTIFICATE-----)")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, invalidAuthority("is not an X.509 certificate")
	}
	return c, nil
}

// MaxListSize bounds a CRL that is fetched, in bytes.
const MaxListSize = 32 << 20

// listSkew is how far the clock of an authority may be ahead of ours.
const listSkew = 5 * time.Minute

// List reads a CRL (RFC 5280 §5) in DER, PEM, or DER in base64, and checks that
// the authority signed it and that it is whole: neither a delta, nor a part, nor
// one about others' certificates. Errors are *registry.InvalidError.
func (i Imports) List(a registry.ImportedAuthority, text []byte) (registry.ForeignList, error) {
	ca, err := x509.ParseCertificate(a.DER)
	if err != nil {
		return registry.ForeignList{}, err
	}
	if len(text) > MaxListSize {
		return registry.ForeignList{}, invalidList("is larger than 32 MiB")
	}
	crl, err := x509.ParseRevocationList(listDER(text))
	if err != nil {
		return registry.ForeignList{}, invalidList("is not a CRL of version 2 in PEM or DER (RFC 5280 §5)")
	}
	switch {
	case !bytes.Equal(crl.RawIssuer, ca.RawSubject) || crl.CheckSignatureFrom(ca) != nil:
		err = invalidList("was not signed by the authority, or the authority may not sign lists (keyUsage cRLSign)")
	case crl.NextUpdate.IsZero():
		err = invalidList("must say when the next one comes (nextUpdate)")
	case crl.ThisUpdate.After(i.Now().Add(listSkew)):
		err = invalidList("is from the future")
	case !whole(crl):
		err = invalidList("must list all that the authority revoked: deltas, parts and indirect lists are not taken")
	case len(crl.RevokedCertificateEntries) > registry.MaxListLines:
		err = invalidList("has more than 1000000 lines")
	}
	if err != nil {
		return registry.ForeignList{}, err
	}
	l := registry.ForeignList{Authority: a.ID, ThisUpdate: crl.ThisUpdate.UTC(), NextUpdate: crl.NextUpdate.UTC(), Lines: len(crl.RevokedCertificateEntries), DER: crl.Raw}
	if crl.Number != nil && crl.Number.Sign() >= 0 {
		if crl.Number.BitLen() > 160 { // RFC 5280 §5.2.3
			return registry.ForeignList{}, invalidList("has a number of more than 20 bytes")
		}
		l.Number = crl.Number.String()
	}
	return l, nil
}

// listDER undoes PEM or base64. What is neither is taken as it stands.
func listDER(text []byte) []byte {
	if block, rest := pem.Decode(text); block != nil && block.Type == "X509 CRL" && len(bytes.TrimSpace(rest)) == 0 {
		return block.Bytes
	}
	if der, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text))); err == nil {
		return der
	}
	return text
}

// whole reports whether no critical extension narrows or widens what the list is
// about (RFC 5280 §5.2, §5.3): we understand none of them.
func whole(crl *x509.RevocationList) bool {
	for _, e := range crl.Extensions {
		if e.Critical {
			return false
		}
	}
	for _, line := range crl.RevokedCertificateEntries {
		for _, e := range line.Extensions {
			if e.Critical {
				return false
			}
		}
	}
	return true
}

func invalidList(reason string) error { return &registry.InvalidError{Field: "crl", Reason: reason} }

// A foreignList is a list as a handshake asks it.
type foreignList struct {
	sum     string
	next    time.Time
	revoked map[serialKey]struct{}
}

// A serialKey is a serial number, which has at most 20 bytes (RFC 5280 §4.1.2.2);
// of a longer one it is a hash.
type serialKey [20]byte

func keyOf(serial []byte) (k serialKey) {
	if len(serial) > len(k) {
		sum := sha256.Sum256(serial)
		copy(k[:], sum[:])
		return k
	}
	copy(k[len(k)-len(serial):], serial)
	return k
}

// readList makes a list ready that was checked before it was kept.
func readList(l registry.ForeignList) (*foreignList, error) {
	crl, err := x509.ParseRevocationList(l.DER)
	if err != nil {
		return nil, errors.Join(errors.New("the list of authority "+string(l.Authority)+" is unreadable"), err)
	}
	f := &foreignList{sum: l.Sum, next: l.NextUpdate, revoked: make(map[serialKey]struct{}, len(crl.RevokedCertificateEntries))}
	for _, line := range crl.RevokedCertificateEntries {
		f.revoked[keyOf(line.SerialNumber.Bytes())] = struct{}{}
	}
	return f, nil
}
