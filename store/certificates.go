package store

import (
	"context"
	"time"

	"github.com/postern-io/postern/registry"
)

const certificateColumns = "id, authority, serial, domain, device, subject, key_kind, not_before, not_after, der, request, " +
	"created_at, created_by, replaces, last_used, revoked_at, reason"

func scanCertificate(r row) (c registry.Certificate, err error) {
	err = r.Scan(&c.ID, &c.Authority, &c.Serial, &c.Domain, &c.Device, &c.Subject, &c.Key, timeOf{&c.NotBefore}, timeOf{&c.NotAfter}, &c.DER, &c.Request,
		timeOf{&c.CreatedAt}, &c.CreatedBy, &c.Replaces, timeOf{&c.LastUsed}, timeOf{&c.RevokedAt}, &c.Reason)
	return c, err
}

const selectCertificate = "SELECT " + certificateColumns + " FROM certificates WHERE "

// Certificate implements registry.CertificateReader.
func (s reads) Certificate(ctx context.Context, id registry.CertificateID) (registry.Certificate, error) {
	return one(ctx, s.db, scanCertificate, selectCertificate+"id = $1", string(id))
}

// CertificateBySerial implements registry.CertificateReader.
func (s reads) CertificateBySerial(ctx context.Context, authority registry.AuthorityID, serial string) (registry.Certificate, error) {
	return one(ctx, s.db, scanCertificate, selectCertificate+"authority = $1 AND serial = $2", string(authority), serial)
}

// Certificates implements registry.CertificateReader.
func (s reads) Certificates(ctx context.Context, q registry.CertificateQuery) (registry.List[registry.Certificate], error) {
	f := filter{}
	f.add("domain = ?", string(q.Domain))
	if q.Device != "" {
		f.add("device = ?", string(q.Device))
	}
	if q.ID != "" {
		f.add("id = ?", string(q.ID))
	}
	if !q.Before.IsZero() {
		f.add("not_after < ?", micros(q.Before))
	}
	hold := int(registry.CertificateHold)
	switch q.Status {
	case "valid":
		f.add("revoked_at = 0 AND not_after > ?", micros(q.Now))
	case "expired":
		f.add("revoked_at = 0 AND not_after <= ?", micros(q.Now))
	case "held":
		f.add("revoked_at > 0 AND reason = ?", hold)
	case "revoked":
		f.add("revoked_at > 0 AND reason <> ?", hold)
	}
	page := registry.Query{Offset: q.Offset, Limit: q.Limit, Descending: true}
	return list(ctx, s.db, page, f, scanCertificate, "certificates", certificateColumns, orders)
}

// CertificateFor implements registry.CertificateWriter.
func (s writes) CertificateFor(ctx context.Context, device registry.DeviceID, request string, replaces registry.CertificateID, now time.Time) (registry.Certificate, error) {
	return one(ctx, s.db, scanCertificate, selectCertificate+
		"device = $1 AND request = $2 AND revoked_at = 0 AND not_after > $3 AND ($4 = '' OR replaces = $4) ORDER BY created_at DESC, id LIMIT 1",
		string(device), request, micros(now), string(replaces))
}

// GoodCertificates implements registry.CertificateWriter.
func (s writes) GoodCertificates(ctx context.Context, domain registry.DomainID, device registry.DeviceID, now time.Time) ([]registry.Certificate, error) {
	return collect(ctx, s.db, scanCertificate, selectCertificate+
		"domain = $1 AND ($2 = '' OR device = $2) AND not_after > $3 AND (revoked_at = 0 OR reason = $4) ORDER BY id",
		string(domain), string(device), micros(now), int(registry.CertificateHold))
}

// RevokedCertificates returns the certificates that are revoked, or held, and
// end after now.
func (s reads) RevokedCertificates(ctx context.Context, now time.Time) ([]registry.CertificateID, error) {
	return collect(ctx, s.db, func(r row) (id registry.CertificateID, err error) {
		err = r.Scan(&id)
		return id, err
	}, "SELECT id FROM certificates WHERE revoked_at > 0 AND not_after > $1", micros(now))
}

// InsertCertificate implements registry.CertificateWriter.
func (s writes) InsertCertificate(ctx context.Context, c registry.Certificate) error {
	return exec(ctx, s.db, "INSERT INTO certificates ("+certificateColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
		string(c.ID), string(c.Authority), c.Serial, string(c.Domain), string(c.Device), c.Subject, c.Key, micros(c.NotBefore), micros(c.NotAfter), c.DER, c.Request,
		micros(c.CreatedAt), string(c.CreatedBy), string(c.Replaces), micros(c.LastUsed), micros(c.RevokedAt), int(c.Reason))
}

// UpdateRevocation implements registry.CertificateWriter.
func (s writes) UpdateRevocation(ctx context.Context, c registry.Certificate) error {
	if err := exec(ctx, s.db, "UPDATE certificates SET revoked_at = $2, reason = $3 WHERE id = $1", string(c.ID), micros(c.RevokedAt), int(c.Reason)); err != nil {
		return err
	}
	return exec(ctx, s.db, "UPDATE authorities SET revision = revision + 1 WHERE id = $1", string(c.Authority))
}

// PurgeCertificates implements registry.Purger.
func (s writes) PurgeCertificates(ctx context.Context, endedBefore time.Time) error {
	return run(ctx, s.db, "DELETE FROM certificates WHERE not_after < $1", micros(endedBefore))
}

const authorityColumns = "id, der, root, root_list, sealed_key, created_at, retired_at, revision"

func scanAuthority(r row) (a registry.Authority, err error) {
	err = r.Scan(&a.ID, &a.DER, &a.Root, &a.RootList, &a.Key, timeOf{&a.CreatedAt}, timeOf{&a.RetiredAt}, &a.Revision)
	return a, err
}

// Authority implements registry.AuthorityReader.
func (s reads) Authority(ctx context.Context, id registry.AuthorityID) (registry.Authority, error) {
	return one(ctx, s.db, scanAuthority, "SELECT "+authorityColumns+" FROM authorities WHERE id = $1", string(id))
}

// Authorities implements registry.AuthorityReader.
func (s reads) Authorities(ctx context.Context) ([]registry.Authority, error) {
	return collect(ctx, s.db, scanAuthority, "SELECT "+authorityColumns+" FROM authorities ORDER BY retired_at > 0, created_at DESC, id")
}

// InsertAuthority implements registry.AuthorityWriter.
func (s writes) InsertAuthority(ctx context.Context, a registry.Authority) error {
	return exec(ctx, s.db, "INSERT INTO authorities ("+authorityColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		string(a.ID), a.DER, a.Root, a.RootList, a.Key, micros(a.CreatedAt), micros(a.RetiredAt), a.Revision)
}

// PutRootList implements registry.AuthorityWriter.
func (s writes) PutRootList(ctx context.Context, id registry.AuthorityID, list []byte) error {
	return exec(ctx, s.db, "UPDATE authorities SET root_list = $2 WHERE id = $1", string(id), list)
}

// RetireAuthorities implements registry.AuthorityWriter.
func (s writes) RetireAuthorities(ctx context.Context, at time.Time) error {
	return run(ctx, s.db, "UPDATE authorities SET retired_at = $1 WHERE retired_at = 0", micros(at))
}

// LastRevocationList implements registry.AuthorityReader.
func (s reads) LastRevocationList(ctx context.Context, id registry.AuthorityID) (registry.RevocationList, error) {
	return one(ctx, s.db, func(r row) (l registry.RevocationList, err error) {
		err = r.Scan(&l.Authority, &l.Number, &l.Revision, timeOf{&l.ThisUpdate}, timeOf{&l.NextUpdate}, &l.DER)
		return l, err
	}, "SELECT authority, number, revision, this_update, next_update, der FROM revocation_lists WHERE authority = $1", string(id))
}

// PutRevocationList implements registry.AuthorityWriter.
func (s writes) PutRevocationList(ctx context.Context, l registry.RevocationList) error {
	return exec(ctx, s.db, `INSERT INTO revocation_lists (authority, number, revision, this_update, next_update, der) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (authority) DO UPDATE SET number = excluded.number, revision = excluded.revision,
		this_update = excluded.this_update, next_update = excluded.next_update, der = excluded.der`,
		string(l.Authority), l.Number, l.Revision, micros(l.ThisUpdate), micros(l.NextUpdate), l.DER)
}

// Revocations implements registry.AuthorityReader.
func (s reads) Revocations(ctx context.Context, id registry.AuthorityID, endedAfter time.Time) ([]registry.Revocation, error) {
	return collect(ctx, s.db, func(r row) (v registry.Revocation, err error) {
		err = r.Scan(&v.Serial, timeOf{&v.At}, &v.Reason)
		return v, err
	}, "SELECT serial, revoked_at, reason FROM certificates WHERE authority = $1 AND revoked_at > 0 AND not_after >= $2 ORDER BY serial", string(id), micros(endedAfter))
}
