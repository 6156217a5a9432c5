package registry

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// A CertificateID is the SHA-256 fingerprint of a certificate, in lower-case
// hexadecimal: what openssl x509 -fingerprint -sha256 prints, without colons.
type CertificateID string

// An AuthorityID is the same of an authority's own certificate.
type AuthorityID string

// A Vouched is a certificate of a device that was found good.
type Vouched struct {
	Certificate CertificateID
	Ends        time.Time          // when the first ends of all that it rests on
	Authority   *ImportedAuthority // who vouches; nil for our own and those that the operator trusts. Shared: do not write to it
}

// Fingerprint returns the name of a certificate among all.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// ParseFingerprint returns a fingerprint as it is kept, from one with or without
// colons, in either case.
func ParseFingerprint(s string) (string, error) {
	bare := strings.ToLower(strings.ReplaceAll(s, ":", ""))
	if b, err := hex.DecodeString(bare); err != nil || len(b) != sha256.Size {
		return "", &InvalidError{Field: "certificate", Reason: "must be a SHA-256 fingerprint of 64 hexadecimal digits"}
	}
	return bare, nil
}

// A Certificate is the record of one that we issued. What it says stands in DER;
// what became of it stands here.
type Certificate struct {
	ID        CertificateID
	Authority AuthorityID
	Serial    string // lower-case hexadecimal
	Domain    DomainID
	Device    DeviceID
	Subject   string // distinguished name, RFC 2253
	Key       string // such as "ECDSA P-256"
	NotBefore time.Time
	NotAfter  time.Time
	DER       []byte
	Request   string // fingerprint of the signing request
	CreatedAt time.Time
	CreatedBy UserID // "" when the device renewed it
	Replaces  CertificateID
	LastUsed  time.Time // zero when never used
	RevokedAt time.Time // zero while it is good
	Reason    RevocationReason
}

// CertificatesKept is how long the record of a certificate stays after its end:
// long after the list of revocations that had it last.
const CertificatesKept = 90 * 24 * time.Hour

// Held reports whether the revocation can be taken back.
func (c Certificate) Held() bool { return !c.RevokedAt.IsZero() && c.Reason == CertificateHold }

// Status returns "valid", "held", "revoked" or "expired".
func (c Certificate) Status(now time.Time) string {
	switch {
	case c.Held():
		return "held"
	case !c.RevokedAt.IsZero():
		return "revoked"
	case !now.Before(c.NotAfter):
		return "expired"
	}
	return "valid"
}

// A RevocationReason is a CRLReason of RFC 5280 §5.3.1.
type RevocationReason int

// The reasons that concern certificates of devices; 7 is not used, 8 is for
// delta CRLs, and of the others each means something to somebody.
const (
	Unspecified          RevocationReason = 0
	KeyCompromise        RevocationReason = 1
	CACompromise         RevocationReason = 2
	AffiliationChanged   RevocationReason = 3
	Superseded           RevocationReason = 4
	CessationOfOperation RevocationReason = 5
	CertificateHold      RevocationReason = 6
	PrivilegeWithdrawn   RevocationReason = 9
	AACompromise         RevocationReason = 10
)

var revocationReasons = map[RevocationReason]string{
	Unspecified: "unspecified", KeyCompromise: "keyCompromise", CACompromise: "cACompromise", AffiliationChanged: "affiliationChanged",
	Superseded: "superseded", CessationOfOperation: "cessationOfOperation", CertificateHold: "certificateHold",
	PrivilegeWithdrawn: "privilegeWithdrawn", AACompromise: "aACompromise",
}

func (r RevocationReason) String() string { return revocationReasons[r] }

// ParseRevocationReason returns the reason of that name, in any case; the empty
// name is Unspecified.
func ParseRevocationReason(name string) (RevocationReason, error) {
	if name == "" {
		return Unspecified, nil
	}
	for r, n := range revocationReasons {
		if strings.EqualFold(n, name) {
			return r, nil
		}
	}
	return 0, &InvalidError{Field: "reason", Reason: "must be one of RFC 5280: unspecified, keyCompromise, cACompromise, affiliationChanged, " +
		"superseded, cessationOfOperation, certificateHold, privilegeWithdrawn or aACompromise"}
}

// A CertificateQuery selects a page of certificates, the newest first.
type CertificateQuery struct {
	Domain DomainID
	Device DeviceID      // "": of all devices
	ID     CertificateID // "": all
	Status string        // "", "valid", "held", "revoked" or "expired"
	Before time.Time     // ends before; zero: whenever

	Offset int
	Limit  int       // 1 to MaxPage
	Now    time.Time // what Status is measured by; set by the Registry
}

// Certificates lists certificates that were issued in a domain.
func (r *Registry) Certificates(ctx context.Context, q CertificateQuery) (List[Certificate], error) {
	if err := (Query{Offset: q.Offset, Limit: q.Limit, Order: ByCreated}).Check(); err != nil {
		return List[Certificate]{}, err
	}
	switch q.Status {
	case "", "valid", "held", "revoked", "expired":
	default:
		return List[Certificate]{}, &InvalidError{Field: "status", Reason: "must be valid, held, revoked or expired"}
	}
	q.Now = r.now()
	return r.Store.Certificates(ctx, q)
}

// Certificate returns a certificate of the domain; in another it does not exist.
func (r *Registry) Certificate(ctx context.Context, domain DomainID, id CertificateID) (Certificate, error) {
	return certificateIn(ctx, r.Store, domain, id)
}

func certificateIn(ctx context.Context, from CertificateReader, domain DomainID, id CertificateID) (Certificate, error) {
	c, err := from.Certificate(ctx, id)
	if err == nil && c.Domain != domain {
		err = ErrNotFound
	}
	if err != nil {
		return Certificate{}, err
	}
	return c, nil
}

// enabledIn returns a device of the domain that may be given a certificate.
func enabledIn(ctx context.Context, tx Tx, domain DomainID, device DeviceID) (Device, error) {
	d, err := deviceIn(ctx, tx, domain, device)
	if err == nil && d.Status != Enabled {
		err = &InvalidError{Field: "client", Reason: "must be enabled to be given a certificate"}
	}
	return d, err
}

// IssueCertificate has sign make a certificate for an enabled device of the
// domain and records it. Asked again with the same request (its fingerprint) it
// returns the certificate of the first time, while that is good: a device that
// did not hear the answer asks again.
func (r *Registry) IssueCertificate(ctx context.Context, by UserID, domain DomainID, device DeviceID, request string, sign func(Device) (Certificate, error)) (Certificate, error) {
	var c Certificate
	err := r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		d, err := enabledIn(ctx, tx, domain, device)
		if err != nil {
			return nil, err
		}
		c, err = r.issue(ctx, tx, d, Certificate{Domain: domain, Device: device, Request: request, CreatedBy: by}, sign)
		return nil, err
	})
	if err != nil {
		return Certificate{}, err
	}
	return c, nil
}

// RevokeCertificate revokes a certificate, for good or, with CertificateHold,
// until it is released. One that is held may be revoked for good; one that is
// revoked stays as it is, and that is no error.
func (r *Registry) RevokeCertificate(ctx context.Context, domain DomainID, id CertificateID, reason RevocationReason) (Certificate, error) {
	return r.revocation(ctx, domain, id, func(c *Certificate) (bool, error) {
		if !c.RevokedAt.IsZero() && !c.Held() {
			return false, nil
		}
		if c.RevokedAt.IsZero() { // the date of the hold stays (RFC 5280 §5.3.1)
			c.RevokedAt = r.now()
		}
		c.Reason = reason
		return true, nil
	})
}

// ReleaseCertificate takes back a hold. A certificate that is good stays so; one
// that is revoked for good is an *InvalidError.
func (r *Registry) ReleaseCertificate(ctx context.Context, domain DomainID, id CertificateID) (Certificate, error) {
	return r.revocation(ctx, domain, id, func(c *Certificate) (bool, error) {
		switch {
		case c.RevokedAt.IsZero():
			return false, nil
		case !c.Held():
			return false, &InvalidError{Field: "certificate", Reason: fmt.Sprintf("is revoked for good (%s); issue a new one", c.Reason)}
		}
		c.RevokedAt, c.Reason = time.Time{}, Unspecified
		return true, nil
	})
}

func (r *Registry) revocation(ctx context.Context, domain DomainID, id CertificateID, edit func(*Certificate) (changed bool, err error)) (Certificate, error) {
	var c Certificate
	err := r.update(ctx, func(tx Tx) (changes []Change, err error) { // in a frozen domain too: it takes away, and gives nothing
		if _, err := tx.LockDomain(ctx, domain); err != nil {
			return nil, err
		}
		if c, err = certificateIn(ctx, tx, domain, id); err != nil {
			return nil, err
		}
		changed, err := edit(&c)
		if err != nil || !changed {
			return nil, err
		}
		return []Change{{Domain: domain, Device: c.Device, Certificate: id}}, tx.UpdateRevocation(ctx, c)
	})
	if err != nil {
		return Certificate{}, err
	}
	return c, nil
}

// cease revokes what a device that goes away leaves behind: its certificates
// stay in the lists until they end.
func (r *Registry) cease(ctx context.Context, tx Tx, domain DomainID, device DeviceID) ([]Change, error) {
	left, err := tx.GoodCertificates(ctx, domain, device, r.now())
	if err != nil {
		return nil, err
	}
	changes := make([]Change, len(left))
	for i, c := range left {
		c.RevokedAt, c.Reason = r.now(), CessationOfOperation
		if err := tx.UpdateRevocation(ctx, c); err != nil {
			return nil, err
		}
		changes[i] = Change{Domain: domain, Device: c.Device, Certificate: c.ID}
	}
	return changes, nil
}
