package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/postern-io/postern/registry"
)

// mapError turns a database error into one of registry's, or returns it as it
// is.
func mapError(err error) error {
	var pg *pgconn.PgError
	var lite *sqlite.Error
	var netErr net.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return registry.ErrNotFound
	case errors.As(err, &pg):
		return mapPostgres(pg)
	case errors.As(err, &lite):
		return mapSQLite(lite)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled),
		errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.As(err, &netErr), errors.As(err, new(*pgconn.ConnectError)),
		// database/sql has no sentinel for a closed pool, pgx none for a
		// connection that broke under a call.
		strings.Contains(err.Error(), "database is closed"),
		strings.Contains(err.Error(), "conn closed"):
		return unavailable(err)
	}
	return err
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", registry.ErrUnavailable, err) }

// takenBack tells whether the database rolled a transaction back that may do well
// from its start (class 40 of SQLSTATE: deadlock, serialization failure). One whose
// commit is in doubt (40003) is not run twice.
func takenBack(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && strings.HasPrefix(pg.Code, "40") && pg.Code != "40003"
}

// mapPostgres goes by SQLSTATE (PostgreSQL's manual, appendix A).
func mapPostgres(err *pgconn.PgError) error {
	switch {
	case err.Code == "23505": // unique_violation
		return exists(err.ConstraintName)
	case err.Code == "23503": // foreign_key_violation: what was named is gone
		return registry.ErrNotFound
	case strings.HasPrefix(err.Code, "22"): // data exception, such as a NUL in a text
		return &registry.InvalidError{Field: "value", Reason: "cannot be stored"}
	}
	for _, class := range []string{
		"08",    // connection exception
		"53",    // insufficient resources, too many connections
		"57",    // operator intervention: shutdown, cancelled, timed out
		"58",    // system error
		"55P03", // lock_not_available
		"40",    // rolled back: serialization failure, deadlock
		"25P03", // idle_in_transaction_session_timeout
		"28",    // the server does not let us in (any more)
		"3D000", // database does not exist
	} {
		if strings.HasPrefix(err.Code, class) {
			return unavailable(err)
		}
	}
	return err
}

func mapSQLite(err *sqlite.Error) error {
	switch err.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return exists(err.Error())
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return registry.ErrNotFound
	}
	switch err.Code() & 0xff { // the primary code
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR,
		sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM,
		sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PROTOCOL:
		return unavailable(err)
	}
	return err
}

// exists names the field of a broken uniqueness: PostgreSQL tells the index,
// SQLite the columns.
func exists(broken string) error {
	for _, u := range []struct{ index, column, field string }{
		{"users_username", "users.username_lc", "username"},
		{"users_email", "users.email_lc", "email"},
		{"domains_route", "domains.route", "route"},
		{"channels_route", "channels.route", "route"},
		{"device_secrets_hash", "device_secrets.hash", "secret"},
		{"identities_pkey", "identities.provider", "identity"},
		{"imported_authorities_key", "imported_authorities.key_hash", "authority"},
		{"imported_authorities_pkey", "imported_authorities.domain", "authority"},
		{"principals_pkey", "principals.authority", "name"},
		{"memberships_pkey", "memberships.account", "user_id"},
	} {
		if broken == u.index || strings.Contains(broken, u.column) {
			return &registry.ExistsError{Field: u.field}
		}
	}
	return &registry.ExistsError{Field: "id"}
}
