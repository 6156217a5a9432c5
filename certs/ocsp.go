package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postern-io/postern/registry"
)

// The library golang.org/x/crypto/ocsp reads one certificate of a request and
// neither its extensions nor, in an answer, writes any. So both messages are
// read and written here; the tests read our answers with that library.

// AnswerLife is how long an OCSP answer may be relied on.
const AnswerLife = time.Hour

const (
	// maxAsked bounds what one signature costs: each certificate is a look-up.
	maxAsked = 16
	// maxNonce is of RFC 9654 §2.1, which raised the 32 octets of RFC 8954.
	maxNonce = 128
	// maxSerial is what RFC 5280 §4.1.2.2 allows, and a byte for the sign.
	maxSerial = 21
	// usualAnswer holds an answer about one certificate without growing.
	usualAnswer = 512
)

// ErrMalformedOCSP is returned for a request that breaks the syntax of RFC 6960
// §4.1, asks about more than 16 certificates, has a nonce of a length that RFC
// 9654 refuses, or a critical extension that we do not know.
var ErrMalformedOCSP = errors.New("malformed OCSP request")

// An OCSPRequest asks about one or more certificates (RFC 6960 §4.1.1). A
// signature on it is not looked at: everybody may ask.
type OCSPRequest struct {
	Certificates []OCSPCertificate
	Nonce        []byte // nil: none
}

// An OCSPCertificate names a certificate by hashes of its issuer (CertID).
type OCSPCertificate struct {
	Hash              crypto.Hash // 0: one that we do not know
	NameHash, KeyHash []byte
	Serial            *big.Int

	raw []byte // as asked: it is repeated in the answer
}

var (
	oidSHA1      = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256    = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidOCSPBasic = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidOCSPNonce = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	// oidOCSPTypes lists the answers that a client takes. Every client takes
	// the basic one, and there is no other (RFC 6960 §4.4.3).
	oidOCSPTypes = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 4}
)

func explicit(n uint8) der.Tag { return der.Tag(n).Constructed().ContextSpecific() }

// ParseOCSPRequest reads a request in DER. Its only error is ErrMalformedOCSP.
func ParseOCSPRequest(request []byte) (OCSPRequest, error) {
	var (
		r                         OCSPRequest
		input                     = cryptobyte.String(request)
		outer, tbs, list, version cryptobyte.String
		extensions                cryptobyte.String
		versioned, extended       bool
	)
	ok := input.ReadASN1(&outer, der.SEQUENCE) && input.Empty() &&
		outer.ReadASN1(&tbs, der.SEQUENCE) && outer.SkipOptionalASN1(explicit(0)) && outer.Empty() &&
		tbs.ReadOptionalASN1(&version, &versioned, explicit(0)) && (!versioned || bytes.Equal(version, []byte{2, 1, 0})) &&
		tbs.SkipOptionalASN1(explicit(1)) && // requestorName
		tbs.ReadASN1(&list, der.SEQUENCE) &&
		tbs.ReadOptionalASN1(&extensions, &extended, explicit(2)) && tbs.Empty()
	for ok && !list.Empty() {
		var c OCSPCertificate
		if c, ok = readSingle(&list); ok {
			r.Certificates = append(r.Certificates, c)
			ok = len(r.Certificates) <= maxAsked
		}
	}
	if ok = ok && len(r.Certificates) > 0; ok && extended {
		r.Nonce, ok = readExtensions(extensions)
	}
	if !ok {
		return OCSPRequest{}, ErrMalformedOCSP
	}
	return r, nil
}

// readSingle reads a Request of the list.
func readSingle(list *cryptobyte.String) (c OCSPCertificate, ok bool) {
	var single, id, inner, algorithm, name, key, number, extensions cryptobyte.String
	var hash asn1.ObjectIdentifier
	var extended bool
	ok = list.ReadASN1(&single, der.SEQUENCE) &&
		single.ReadASN1Element(&id, der.SEQUENCE) &&
		single.ReadOptionalASN1(&extensions, &extended, explicit(0)) && single.Empty()
	c.raw = id
	ok = ok && id.ReadASN1(&inner, der.SEQUENCE) &&
		inner.ReadASN1(&algorithm, der.SEQUENCE) &&
		algorithm.ReadASN1ObjectIdentifier(&hash) &&
		inner.ReadASN1(&name, der.OCTET_STRING) &&
		inner.ReadASN1(&key, der.OCTET_STRING) &&
		inner.ReadASN1Element(&number, der.INTEGER) && len(number) <= 2+maxSerial && inner.Empty()
	c.NameHash, c.KeyHash, c.Serial = name, key, new(big.Int)
	if ok = ok && number.ReadASN1Integer(c.Serial); !ok {
		return c, false
	}
	if extended {
		if nonce, ok := readExtensions(extensions); !ok || nonce != nil {
			return c, false // a nonce is the whole request's
		}
	}
	switch {
	case hash.Equal(oidSHA1):
		c.Hash = crypto.SHA1
	case hash.Equal(oidSHA256):
		c.Hash = crypto.SHA256
	}
	// Parameters are absent or NULL (RFC 5754 §2), so that no one writes what
	// he likes into what we sign.
	return c, algorithm.Empty() || bytes.Equal(algorithm, []byte{5, 0})
}

// readExtensions returns the nonce among extensions, nil when there is none.
func readExtensions(explicit cryptobyte.String) (nonce []byte, ok bool) {
	var all cryptobyte.String
	if !explicit.ReadASN1(&all, der.SEQUENCE) || !explicit.Empty() || all.Empty() {
		return nil, false
	}
	for !all.Empty() {
		var one, value, octets cryptobyte.String
		var kind asn1.ObjectIdentifier
		var critical bool
		if !all.ReadASN1(&one, der.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&kind) ||
			one.PeekASN1Tag(der.BOOLEAN) && !one.ReadASN1Boolean(&critical) ||
			!one.ReadASN1(&value, der.OCTET_STRING) || !one.Empty() {
			return nil, false
		}
		switch {
		case kind.Equal(oidOCSPNonce):
			if nonce != nil || !value.ReadASN1(&octets, der.OCTET_STRING) || !value.Empty() || len(octets) == 0 || len(octets) > maxNonce {
				return nil, false
			}
			nonce = octets
		case critical && !kind.Equal(oidOCSPTypes):
			return nil, false
		}
	}
	return nonce, true
}

// IssuedBy reports whether the certificate is named as one of the issuer's, with
// SHA-1 or SHA-256. SHA-1 is what clients use, and no weakness: the hashes only
// choose among our own issuers.
func (c OCSPCertificate) IssuedBy(i *Issuer) bool {
	key := publicKeyBits(i)
	switch c.Hash {
	case crypto.SHA1:
		name, key := sha1.Sum(i.Certificate.RawSubject), sha1.Sum(key)
		return bytes.Equal(c.NameHash, name[:]) && bytes.Equal(c.KeyHash, key[:])
	case crypto.SHA256:
		name, key := sha256.Sum256(i.Certificate.RawSubject), sha256.Sum256(key)
		return bytes.Equal(c.NameHash, name[:]) && bytes.Equal(c.KeyHash, key[:])
	}
	return false
}

// publicKeyBits is the subjectPublicKey of the issuer without tag, length and
// number of unused bits: what a KeyHash is made of (RFC 6960 §4.1.1).
func publicKeyBits(i *Issuer) []byte {
	var spki struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(i.Certificate.RawSubjectPublicKeyInfo, &spki); err != nil {
		return nil // not of a certificate that was parsed
	}
	return spki.Key.RightAlign()
}

// Responder returns the issuer among all that can answer a request: the one that
// every certificate of it names. It is nil when there is none, be it a
// stranger's certificate or a request that mixes issuers, which one signature
// cannot answer (RFC 6960 §4.2.2.2).
func (r OCSPRequest) Responder(all []*Issuer) *Issuer {
	for _, i := range all {
		theirs := len(r.Certificates) > 0
		for _, c := range r.Certificates {
			theirs = theirs && c.IssuedBy(i)
		}
		if theirs {
			return i
		}
	}
	return nil
}

// AnswerOCSP signs an answer about every certificate of a request whose
// Responder the issuer is, with the issuing key itself. find returns the record
// of a certificate by its SerialText; registry.ErrNotFound means that it was
// never issued, and the answer is "unknown". A certificate that is held is
// revoked with certificateHold; one that ended is told of as it is recorded. Any
// other error of find is returned. It is safe for concurrent use.
func (i *Issuer) AnswerOCSP(r OCSPRequest, now time.Time, find func(serial string) (registry.Certificate, error)) ([]byte, error) {
	records := make([]*registry.Certificate, len(r.Certificates)) // nil: unknown
	for n, asked := range r.Certificates {
		c, err := find(SerialText(asked.Serial))
		switch {
		case err == nil:
			records[n] = &c
		case !errors.Is(err, registry.ErrNotFound):
			return nil, fmt.Errorf("answer OCSP: %w", err)
		}
	}
	now = now.UTC().Truncate(time.Second)
	b := cryptobyte.NewBuilder(make([]byte, 0, usualAnswer))
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) { // ResponseData
		b.AddASN1(explicit(2), func(b *cryptobyte.Builder) { // byKey: as short for any subject
			hash := sha1.Sum(publicKeyBits(i)) // RFC 6960 §4.2.1 fixes SHA-1
			b.AddASN1OctetString(hash[:])
		})
		b.AddASN1GeneralizedTime(now)
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
			for n, asked := range r.Certificates {
				addSingle(b, asked, records[n], now)
			}
		})
		if r.Nonce != nil {
			addNonce(b, r.Nonce)
		}
	})
	data, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("answer OCSP: %w", err)
	}
	return i.signOCSP(data)
}

// addSingle adds a SingleResponse.
func addSingle(b *cryptobyte.Builder, asked OCSPCertificate, c *registry.Certificate, now time.Time) {
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(asked.raw)
		switch {
		case c == nil:
			b.AddASN1(der.Tag(2).ContextSpecific(), func(*cryptobyte.Builder) {}) // unknown
		case c.RevokedAt.IsZero():
			b.AddASN1(der.Tag(0).ContextSpecific(), func(*cryptobyte.Builder) {}) // good
		default:
			b.AddASN1(explicit(1), func(b *cryptobyte.Builder) {
				b.AddASN1GeneralizedTime(c.RevokedAt.UTC())
				if c.Reason != registry.Unspecified {
					b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(c.Reason)) })
				}
			})
		}
		b.AddASN1GeneralizedTime(now)
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(now.Add(AnswerLife)) })
	})
}

func addNonce(b *cryptobyte.Builder, nonce []byte) {
	b.AddASN1(explicit(1), func(b *cryptobyte.Builder) {
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidOCSPNonce)
				b.AddASN1(der.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(nonce) })
			})
		})
	})
}

// signOCSP wraps a ResponseData into the OCSPResponse that is sent. The issuer's
// certificate does not come along: who asks about it has it.
func (i *Issuer) signOCSP(data []byte) ([]byte, error) {
	algorithm, hash, err := signatureAlgorithm(i.Key.Public())
	if err != nil {
		return nil, fmt.Errorf("answer OCSP: %w", err)
	}
	digest := data // what Ed25519 signs
	if hash != 0 {
		h := hash.New()
		h.Write(data)
		digest = h.Sum(nil)
	}
	signature, err := i.Key.Sign(rand.Reader, digest, hash)
	if err != nil {
		return nil, fmt.Errorf("answer OCSP: %w", err)
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, usualAnswer))
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Enum(0) // successful
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) {
			b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidOCSPBasic)
				b.AddASN1(der.OCTET_STRING, func(b *cryptobyte.Builder) {
					b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddBytes(data)
						b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
							b.AddASN1ObjectIdentifier(algorithm)
							if _, isRSA := i.Key.Public().(*rsa.PublicKey); isRSA {
								b.AddASN1NULL() // RFC 4055 §5 wants it, for the others RFC 5758 and 8410 forbid it
							}
						})
						b.AddASN1BitString(signature)
					})
				})
			})
		})
	})
	return b.Bytes()
}

// signatureAlgorithm is the one that crypto/x509 takes for a key, so that lists
// and answers are signed alike.
func signatureAlgorithm(key crypto.PublicKey) (asn1.ObjectIdentifier, crypto.Hash, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, crypto.SHA256, nil
		case elliptic.P384():
			return asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, crypto.SHA384, nil
		case elliptic.P521():
			return asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, crypto.SHA512, nil
		}
	case *rsa.PublicKey:
		return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, crypto.SHA256, nil
	case ed25519.PublicKey:
		return asn1.ObjectIdentifier{1, 3, 101, 112}, 0, nil
	}
	return nil, 0, fmt.Errorf("a key of type %T signs no answers", key)
}
