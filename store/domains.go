package store

import (
	"context"

	"github.com/postern-io/postern/registry"
)

const domainColumns = "id, name, route, status, tags, metadata, created_by, created_at, updated_by, updated_at"

func scanDomain(r row) (d registry.Domain, err error) {
	err = r.Scan(&d.ID, &d.Name, &d.Route, &d.Status, tagsOf{&d.Tags}, metadataOf{&d.Metadata},
		&d.CreatedBy, timeOf{&d.CreatedAt}, &d.UpdatedBy, timeOf{&d.UpdatedAt})
	return d, err
}

// Domain implements registry.DomainReader.
func (s reads) Domain(ctx context.Context, id registry.DomainID) (registry.Domain, error) {
	return one(ctx, s.db, scanDomain, "SELECT "+domainColumns+" FROM domains WHERE id = $1", string(id))
}

// DomainByRef implements registry.DomainReader. Two probes of a unique index;
// that an id is nobody else's route is registry's rule.
func (s reads) DomainByRef(ctx context.Context, ref string) (registry.Domain, error) {
	return one(ctx, s.db, scanDomain,
		"SELECT "+domainColumns+" FROM domains WHERE id = $1 OR route = $1 ORDER BY CASE WHEN id = $1 THEN 0 ELSE 1 END LIMIT 1", ref)
}

// Domains implements registry.DomainReader.
func (s reads) Domains(ctx context.Context, q registry.Query) (registry.List[registry.Domain], error) {
	var f filter
	f.common(q, tagged{})
	if q.User != "" {
		f.add("id IN (SELECT domain FROM memberships WHERE account = ?)", string(q.User))
	}
	return list(ctx, s.db, q, f, scanDomain, "domains", domainColumns, orders)
}

// LockDomain implements registry.DomainWriter.
func (s writes) LockDomain(ctx context.Context, id registry.DomainID) (registry.Domain, error) {
	return one(ctx, s.db, scanDomain,
		"UPDATE domains SET updated_at = updated_at WHERE id = $1 RETURNING "+domainColumns, string(id))
}

// InsertDomain implements registry.DomainWriter.
func (s writes) InsertDomain(ctx context.Context, d registry.Domain) error {
	return exec(ctx, s.db, `INSERT INTO domains
		(id, name, search_lc, route, status, tags, metadata, created_by, created_at, updated_by, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		string(d.ID), d.Name, search(d.Name), d.Route, string(d.Status), jsonTags(d.Tags), jsonMetadata(d.Metadata),
		string(d.CreatedBy), micros(d.CreatedAt), string(d.UpdatedBy), micros(d.UpdatedAt))
}

// UpdateDomain implements registry.DomainWriter.
func (s writes) UpdateDomain(ctx context.Context, d registry.Domain) error {
	return exec(ctx, s.db, `UPDATE domains SET name = $2, search_lc = $3, route = $4, status = $5,
		tags = $6, metadata = $7, updated_by = $8, updated_at = $9 WHERE id = $1`,
		string(d.ID), d.Name, search(d.Name), d.Route, string(d.Status), jsonTags(d.Tags), jsonMetadata(d.Metadata),
		string(d.UpdatedBy), micros(d.UpdatedAt))
}

// DeleteDomain implements registry.DomainWriter.
func (s writes) DeleteDomain(ctx context.Context, id registry.DomainID) error {
	return exec(ctx, s.db, "DELETE FROM domains WHERE id = $1", string(id))
}

// Lock implements registry.Tx.
func (s writes) Lock(ctx context.Context, name registry.LockName) error {
	return exec(ctx, s.db, "UPDATE locks SET uses = uses + 1 WHERE name = $1", string(name))
}
