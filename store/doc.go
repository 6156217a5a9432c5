// Package store keeps what registry and authn need kept, in SQLite or in
// PostgreSQL, by one SQL text.
//
//	registry.Registry ─▶ Update(Tx) ─▶ writer ──▶ SQLite: one connection
//	authn, authz ─────▶ reads ───────▶ readers ─▶ SQLite: a pool (WAL)
//	                                              PostgreSQL: one pool for both
//
// It owns the tables (migrations/, applied by goose on Open, forward only),
// the statements, and the mapping of database errors to registry's sentinels.
// It leaves every rule to registry: what it enforces by itself is what an index
// or a foreign key says.
//
// The text is one because it stays within what both databases speak: $1
// placeholders, RETURNING, ON CONFLICT, BIGINT microseconds. Three things are
// bridged: JSON columns are JSONB, which SQLite takes as text, and
// jsonb_contains, which PostgreSQL has, is given to SQLite; text that is
// searched without case is lowered here; and where PostgreSQL would say
// SELECT … FOR UPDATE, which SQLite does not know, an UPDATE that changes
// nothing takes the row lock and RETURNING reads the row.
//
// What changes inside a domain locks the domain first, the uses that are noted
// down by the thousand too, so transactions do not cross. Two that do, on
// PostgreSQL, are told apart by its deadlock detection, and the one that was
// taken back runs again.
package store
