package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/postern-io/postern/registry"
)

const importedColumns = "id, domain, name, der, key_hash, status, source, arrival, longest_life, list_url, stale_list, " +
	"nonce, proved_at, override_by, override_why, created_by, created_at, updated_by, updated_at"

func scanImported(r row) (a registry.ImportedAuthority, err error) {
	var arrival string
	err = r.Scan(&a.ID, &a.Domain, &a.Name, &a.DER, &a.KeyHash, &a.Status, &a.Source, &arrival, &a.LongestLife, &a.ListURL, &a.StaleList,
		&a.Nonce, timeOf{&a.ProvedAt}, &a.OverrideBy, &a.OverrideWhy, &a.CreatedBy, timeOf{&a.CreatedAt}, &a.UpdatedBy, timeOf{&a.UpdatedAt})
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal([]byte(arrival), &a.Arrival); err != nil {
		return a, fmt.Errorf("authority %s: what becomes of new names is unreadable: %w", a.ID, err)
	}
	return a, nil
}

const selectImported = "SELECT " + importedColumns + " FROM imported_authorities WHERE "

// ImportedAuthority implements registry.ImportReader.
func (s reads) ImportedAuthority(ctx context.Context, domain registry.DomainID, id registry.AuthorityID) (registry.ImportedAuthority, error) {
	return one(ctx, s.db, scanImported, selectImported+"domain = $1 AND id = $2", string(domain), string(id))
}

// ImportedAuthorities implements registry.ImportReader.
func (s reads) ImportedAuthorities(ctx context.Context, domain registry.DomainID) ([]registry.ImportedAuthority, error) {
	if domain == "" {
		return collect(ctx, s.db, scanImported, selectImported+"status = $1 ORDER BY id", string(registry.ImportEnabled))
	}
	return collect(ctx, s.db, scanImported, selectImported+"domain = $1 ORDER BY name, id", string(domain))
}

// InsertImported implements registry.ImportWriter.
func (s writes) InsertImported(ctx context.Context, a registry.ImportedAuthority) error {
	return exec(ctx, s.db, "INSERT INTO imported_authorities ("+importedColumns+
		") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
		string(a.ID), string(a.Domain), a.Name, a.DER, a.KeyHash, string(a.Status), string(a.Source), encodeJSON(a.Arrival), int64(a.LongestLife), a.ListURL, string(a.StaleList),
		a.Nonce, micros(a.ProvedAt), string(a.OverrideBy), a.OverrideWhy, string(a.CreatedBy), micros(a.CreatedAt), string(a.UpdatedBy), micros(a.UpdatedAt))
}

// UpdateImported implements registry.ImportWriter.
func (s writes) UpdateImported(ctx context.Context, a registry.ImportedAuthority) error {
	return exec(ctx, s.db, `UPDATE imported_authorities SET name = $3, status = $4, arrival = $5, longest_life = $6, list_url = $7, stale_list = $8,
		proved_at = $9, override_by = $10, override_why = $11, updated_by = $12, updated_at = $13 WHERE domain = $1 AND id = $2`,
		string(a.Domain), string(a.ID), a.Name, string(a.Status), encodeJSON(a.Arrival), int64(a.LongestLife), a.ListURL, string(a.StaleList),
		micros(a.ProvedAt), string(a.OverrideBy), a.OverrideWhy, string(a.UpdatedBy), micros(a.UpdatedAt))
}

// DeleteImported implements registry.ImportWriter.
func (s writes) DeleteImported(ctx context.Context, domain registry.DomainID, id registry.AuthorityID) error {
	return exec(ctx, s.db, "DELETE FROM imported_authorities WHERE domain = $1 AND id = $2", string(domain), string(id))
}

// KeyClaimed implements registry.ImportWriter.
func (s writes) KeyClaimed(ctx context.Context, keyHash string) (bool, error) {
	n, err := count(ctx, s.db, "SELECT COUNT(*) FROM imported_authorities WHERE key_hash = $1 AND status <> 'unproved'", keyHash)
	return n > 0, err
}

const principalColumns = "authority, name, domain, device, created_at"

func scanPrincipal(r row) (p registry.Principal, err error) {
	err = r.Scan(&p.Authority, &p.Name, &p.Domain, &p.Device, timeOf{&p.CreatedAt})
	return p, err
}

// Principal implements registry.ImportReader.
func (s reads) Principal(ctx context.Context, authority registry.AuthorityID, name string) (registry.Principal, error) {
	return one(ctx, s.db, scanPrincipal, "SELECT "+principalColumns+" FROM principals WHERE authority = $1 AND name = $2", string(authority), name)
}

// Principals implements registry.ImportReader.
func (s reads) Principals(ctx context.Context, authority registry.AuthorityID, q registry.Query) (registry.List[registry.Principal], error) {
	f := filter{}
	f.add("authority = ?", string(authority))
	if q.Device != "" {
		f.add("device = ?", string(q.Device))
	}
	return list(ctx, s.db, q, f, scanPrincipal, "principals", principalColumns, map[registry.Order]string{registry.ByCreated: "name", registry.ByName: "name"})
}

// InsertPrincipal implements registry.ImportWriter.
func (s writes) InsertPrincipal(ctx context.Context, p registry.Principal) error {
	return exec(ctx, s.db, "INSERT INTO principals ("+principalColumns+") VALUES ($1, $2, $3, $4, $5)",
		string(p.Authority), p.Name, string(p.Domain), string(p.Device), micros(p.CreatedAt))
}

// DeletePrincipal implements registry.ImportWriter.
func (s writes) DeletePrincipal(ctx context.Context, authority registry.AuthorityID, name string) error {
	return exec(ctx, s.db, "DELETE FROM principals WHERE authority = $1 AND name = $2", string(authority), name)
}

// PrincipalsOf implements registry.ImportWriter.
func (s writes) PrincipalsOf(ctx context.Context, device registry.DeviceID) ([]registry.Principal, error) {
	return collect(ctx, s.db, scanPrincipal, "SELECT "+principalColumns+" FROM principals WHERE device = $1 ORDER BY authority, name", string(device))
}

// PendingOf implements registry.ImportWriter.
func (s writes) PendingOf(ctx context.Context, authority registry.AuthorityID) (int, error) {
	return count(ctx, s.db, "SELECT COUNT(DISTINCT d.id) FROM devices d JOIN principals p ON p.device = d.id WHERE d.status = 'pending' AND p.authority = $1", string(authority))
}

const listHeadColumns = "authority, domain, number, this_update, next_update, line_count, fetched_at, sum"

func scanForeignHead(r row) (l registry.ForeignList, err error) {
	err = r.Scan(&l.Authority, &l.Domain, &l.Number, timeOf{&l.ThisUpdate}, timeOf{&l.NextUpdate}, &l.Lines, timeOf{&l.FetchedAt}, &l.Sum)
	return l, err
}

// ForeignLists implements registry.ImportReader.
func (s reads) ForeignLists(ctx context.Context) ([]registry.ForeignList, error) {
	return collect(ctx, s.db, scanForeignHead, "SELECT "+listHeadColumns+" FROM foreign_lists ORDER BY authority")
}

// ForeignListHead implements registry.ImportReader.
func (s reads) ForeignListHead(ctx context.Context, authority registry.AuthorityID) (registry.ForeignList, error) {
	return one(ctx, s.db, scanForeignHead, "SELECT "+listHeadColumns+" FROM foreign_lists WHERE authority = $1", string(authority))
}

// ForeignList implements registry.ImportReader.
func (s reads) ForeignList(ctx context.Context, authority registry.AuthorityID) (registry.ForeignList, error) {
	return one(ctx, s.db, func(r row) (l registry.ForeignList, err error) {
		err = r.Scan(&l.Authority, &l.Domain, &l.Number, timeOf{&l.ThisUpdate}, timeOf{&l.NextUpdate}, &l.Lines, timeOf{&l.FetchedAt}, &l.Sum, &l.DER)
		return l, err
	}, "SELECT "+listHeadColumns+", der FROM foreign_lists WHERE authority = $1", string(authority))
}

// PutForeignList implements registry.ImportWriter.
func (s writes) PutForeignList(ctx context.Context, l registry.ForeignList) error {
	return exec(ctx, s.db, `INSERT INTO foreign_lists (authority, domain, number, this_update, next_update, line_count, fetched_at, sum, der) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (authority) DO UPDATE SET number = excluded.number, this_update = excluded.this_update, next_update = excluded.next_update,
		line_count = excluded.line_count, fetched_at = excluded.fetched_at, sum = excluded.sum, der = excluded.der`,
		string(l.Authority), string(l.Domain), l.Number, micros(l.ThisUpdate), micros(l.NextUpdate), l.Lines, micros(l.FetchedAt), l.Sum, l.DER)
}

// TouchForeignList implements registry.ImportWriter.
func (s writes) TouchForeignList(ctx context.Context, authority registry.AuthorityID, at time.Time) error {
	return exec(ctx, s.db, "UPDATE foreign_lists SET fetched_at = $2 WHERE authority = $1", string(authority), micros(at))
}
