package store

import (
	"context"
	"fmt"
	"time"

	"github.com/postern-io/postern/registry"
)

// An ailment is how one kind of health is looked for: what is sick (c or s, with
// its device d), the time that a finding tells, and the conditions.
type ailment struct {
	from, at string
	where    func(f *filter, now time.Time)
}

const (
	certificatesOf = "certificates c JOIN devices d ON d.domain = c.domain AND d.id = c.device"
	// SQLite takes the tables of a CROSS JOIN in their order.
	certificatesIn = "devices d CROSS JOIN certificates c"
	secretsOf      = "device_secrets s JOIN devices d ON d.domain = s.domain AND d.id = s.device"
)

// good adds that a certificate may be used at now.
func good(f *filter, now time.Time) {
	f.add("c.revoked_at = 0 AND c.not_after > ?", micros(now))
}

var ailments = map[registry.HealthKind]ailment{
	registry.CertificateEnds: {certificatesOf, "c.not_after", func(f *filter, now time.Time) {
		good(f, now)
		f.add("d.status = 'enabled' AND c.not_after <= ?", micros(now.Add(registry.HealthAhead)))
		f.add("(c.not_after - ?) * 4 < c.not_after - c.not_before", micros(now)) // renewal was due at a third
		f.add("NOT EXISTS (SELECT 1 FROM certificates n WHERE n.device = c.device AND n.revoked_at = 0 AND n.not_after > c.not_after)")
	}},
	registry.CertificateUnused: {certificatesOf, "c.created_at", func(f *filter, now time.Time) {
		good(f, now)
		f.add("c.last_used = 0 AND c.created_at < ?", micros(now.Add(-registry.UnusedFor)))
	}},
	registry.CertificateShared: {certificatesOf, "c.shared_at", func(f *filter, now time.Time) {
		good(f, now)
		f.add("c.shared_at > 0 AND c.shared_at > ?", micros(now.Add(-registry.SharedFor)))
	}},
	registry.CertificateOfDisabled: {certificatesIn, "c.not_after", func(f *filter, now time.Time) {
		f.add("d.status = 'disabled' AND c.device = d.id AND c.domain = d.domain")
		good(f, now)
	}},
	registry.SecretOld: {secretsOf, "s.created", func(f *filter, now time.Time) {
		f.add("d.status = 'enabled' AND s.expires = 0 AND s.created < ?", micros(now.Add(-registry.SecretAge)))
	}},
	registry.SecretIdle: {secretsOf, "s.last_used", func(f *filter, now time.Time) {
		f.add("s.expires > 0 AND s.expires > ?", micros(now))
		f.add("s.last_used < ?", micros(now.Add(-registry.IdleFor)))
		f.add("EXISTS (SELECT 1 FROM device_secrets n WHERE n.device = s.device AND n.expires = 0 AND n.last_used > s.last_used)")
	}},
	registry.SecretNotTaken: {secretsOf, "s.expires", func(f *filter, now time.Time) {
		f.add("s.expires > 0 AND s.expires > ?", micros(now))
		f.add("EXISTS (SELECT 1 FROM device_secrets n WHERE n.device = s.device AND n.expires = 0 AND n.last_used = 0 AND n.created < ?)", micros(now.Add(-registry.IdleFor)))
	}},
}

// first is the table that is looked through.
func (a ailment) first() string {
	return map[string]string{certificatesOf: "c", certificatesIn: "d", secretsOf: "s"}[a.from]
}

func (a ailment) filter(domain registry.DomainID, now time.Time) filter {
	f := filter{}
	if domain != "" {
		f.add(a.first()+".domain = ?", string(domain)) // the indexes begin with it
	}
	a.where(&f, now)
	return f
}

func (a ailment) count(ctx context.Context, db querier, f filter) (int, error) {
	return one(ctx, db, func(r row) (n int, err error) {
		err = r.Scan(&n)
		return n, err
	}, "SELECT COUNT(*) FROM "+a.from+f.where(), f.args...)
}

// Health implements registry.HealthReader.
func (s reads) Health(ctx context.Context, domain registry.DomainID, now time.Time) (map[registry.HealthKind]int, error) {
	counts := make(map[registry.HealthKind]int, len(ailments))
	for kind, a := range ailments {
		n, err := a.count(ctx, s.db, a.filter(domain, now))
		if err != nil {
			return nil, err
		}
		counts[kind] = n
	}
	return counts, nil
}

// Findings implements registry.HealthReader.
func (s reads) Findings(ctx context.Context, q registry.HealthQuery) (registry.List[registry.Finding], error) {
	a := ailments[q.Kind]
	f := a.filter(q.Domain, q.Now)
	total, err := a.count(ctx, s.db, f)
	if err != nil {
		return registry.List[registry.Finding]{}, err
	}
	certificate, secret := "c.id", "''"
	if a.from == secretsOf {
		certificate, secret = "''", "s.id"
	}
	query := fmt.Sprintf("SELECT d.domain, d.id, d.name, %s, %s, %s AS at FROM %s%s ORDER BY at, d.id, 4, 5 LIMIT %d OFFSET %d",
		certificate, secret, a.at, a.from, f.where(), q.Limit, q.Offset)
	items, err := collect(ctx, s.db, func(r row) (found registry.Finding, err error) {
		found.Kind = q.Kind
		err = r.Scan(&found.Domain, &found.Device, &found.Name, &found.Certificate, &found.Secret, timeOf{&found.At})
		return found, err
	}, query, f.args...)
	return registry.List[registry.Finding]{Total: total, Items: items}, err
}
