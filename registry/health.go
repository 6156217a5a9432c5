package registry

import (
	"context"
	"time"
)

// A HealthKind is something about devices that an operator should look at.
type HealthKind string

// What is looked for. A weak key is not among it: a door takes none.
const (
	CertificateEnds       HealthKind = "certificate_ends"        // within HealthAhead and the last quarter of its life, and no later one takes its place
	CertificateUnused     HealthKind = "certificate_unused"      // never used in its first UnusedFor
	CertificateShared     HealthKind = "certificate_shared"      // was in use at two addresses at once
	CertificateOfDisabled HealthKind = "certificate_of_disabled" // good, and the device is disabled
	SecretOld             HealthKind = "secret_old"              // not rotated for SecretAge
	SecretIdle            HealthKind = "secret_idle"             // replaced, and the new one is used instead: safe to drop
	SecretNotTaken        HealthKind = "secret_not_taken"        // replaced, and the new one was never used
)

// Kinds of health in the order that they are told in, with what to do.
var healthKinds = []struct {
	kind   HealthKind
	advice string
}{
	{CertificateShared, "Two devices may hold one key: revoke the certificate and issue one to each."},
	{CertificateEnds, "Renew it, or have the device renew it, before it ends."},
	{SecretNotTaken, "Give the device the new secret before the old one ends."},
	{SecretIdle, "The old secret is no longer used: rotate without overlap, or let it end."},
	{SecretOld, "Rotate the secret."},
	{CertificateOfDisabled, "Revoke the certificate, unless the device is to come back."},
	{CertificateUnused, "Revoke the certificate, unless it is for a device that is still in its box."},
}

// HealthKinds returns all kinds, what is most urgent first.
func HealthKinds() []HealthKind {
	kinds := make([]HealthKind, len(healthKinds))
	for i, k := range healthKinds {
		kinds[i] = k.kind
	}
	return kinds
}

// Advice says what to do, in a sentence; "" for an unknown kind.
func (k HealthKind) Advice() string {
	for _, h := range healthKinds {
		if h.kind == k {
			return h.advice
		}
	}
	return ""
}

// What the kinds are measured by.
const (
	HealthAhead = 14 * 24 * time.Hour
	UnusedFor   = 7 * 24 * time.Hour
	SecretAge   = 365 * 24 * time.Hour
	IdleFor     = 24 * time.Hour // how long nobody has used the old secret, or not yet the new one
	SharedFor   = 7 * 24 * time.Hour
)

// A Finding is one device that something is the matter with.
type Finding struct {
	Kind        HealthKind
	Domain      DomainID
	Device      DeviceID
	Name        string        // of the device
	Certificate CertificateID // "" when it is about a secret
	Secret      SecretID      // "" when it is about a certificate
	At          time.Time     // when it ends, was made, or was last used or seen, by kind
}

// A HealthQuery selects a page of findings of one kind, the earliest first.
type HealthQuery struct {
	Domain        DomainID
	Kind          HealthKind
	Offset, Limit int       // Limit: 1 to MaxPage
	Now           time.Time // set by the Registry
}

// A HealthReader looks for what is the matter.
type HealthReader interface {
	Findings(ctx context.Context, q HealthQuery) (List[Finding], error)
	// Health counts findings by kind, in a domain or, with "", in all.
	Health(ctx context.Context, domain DomainID, now time.Time) (map[HealthKind]int, error)
}

// Health counts what is the matter with the devices of a domain, by kind.
func (r *Registry) Health(ctx context.Context, domain DomainID) (map[HealthKind]int, error) {
	return r.Store.Health(ctx, domain, r.now())
}

// Findings lists what is the matter, of one kind.
func (r *Registry) Findings(ctx context.Context, q HealthQuery) (List[Finding], error) {
	if q.Kind.Advice() == "" {
		return List[Finding]{}, &InvalidError{Field: "kind", Reason: "must be one of the kinds that the answer without it lists"}
	}
	if err := (Query{Offset: q.Offset, Limit: q.Limit, Order: ByCreated}).Check(); err != nil {
		return List[Finding]{}, err
	}
	q.Now = r.now()
	return r.Store.Findings(ctx, q)
}
