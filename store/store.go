package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/postern-io/postern/registry"
)

//go:embed migrations/*.sql
var migrations embed.FS

// A Store keeps everything in one database. It is safe for concurrent use.
type Store struct {
	reads           // on the pool that reads
	signIns         // writes of one statement each, on the writer
	readers, writer *sql.DB
}

// A database is an opened connection pool (two with SQLite) and how goose
// migrates it.
type database struct {
	readers, writer *sql.DB
	dialect         goose.Dialect
	options         []goose.ProviderOption
}

// Open connects to the database at url and brings its tables up to date:
//
//	postgres://user@host/name   PostgreSQL 13 or later, any pgx parameter
//	sqlite:///path/postern.db   a SQLite file, made when absent; a plain path too
//	sqlite::memory:             a SQLite database that ends with the Store
//
// It returns registry.ErrUnavailable when the database cannot be reached.
func Open(ctx context.Context, url string) (*Store, error) {
	var db database
	var err error
	switch {
	case strings.HasPrefix(url, "postgres://"), strings.HasPrefix(url, "postgresql://"):
		db, err = openPostgres(url)
	case url == "":
		err = fmt.Errorf("no database named")
	default:
		db, err = openSQLite(url)
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s := &Store{
		reads:   reads{db.readers},
		signIns: signIns{db.writer},
		readers: db.readers,
		writer:  db.writer,
	}
	if err := migrate(ctx, db); err != nil {
		s.Close()
		return nil, fmt.Errorf("migrate database: %w", mapError(err))
	}
	return s, nil
}

func migrate(ctx context.Context, db database) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(db.dialect, db.writer, files,
		append(db.options, goose.WithDisableGlobalRegistry(true))...)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// Close closes the database. Calls under way fail with ErrUnavailable.
func (s *Store) Close() error {
	err := s.writer.Close()
	if s.readers != s.writer {
		if e := s.readers.Close(); err == nil {
			err = e
		}
	}
	return err
}

// Ready tells whether the database answers: nil, or ErrUnavailable.
func (s *Store) Ready(ctx context.Context) error {
	var n int
	return mapError(s.readers.QueryRowContext(ctx, "SELECT 1").Scan(&n))
}

// Update implements registry.Store.
func (s *Store) Update(ctx context.Context, do func(registry.Tx) error) error {
	return s.begin(ctx, func(tx querier) error { return do(transaction{reads{tx}, writes{tx}}) })
}

// transactionTries bounds how often a transaction is begun that the database
// takes back for the sake of another one.
const transactionTries = 3

// begin runs do in a transaction, again from the start when PostgreSQL took it
// back: two that wait for each other's rows are found after deadlock_timeout (one
// second), and one of them has to give way.
func (s *Store) begin(ctx context.Context, do func(querier) error) (err error) {
	for range transactionTries {
		if err = s.once(ctx, do); !takenBack(err) {
			return err
		}
	}
	return err
}

func (s *Store) once(ctx context.Context, do func(querier) error) error {
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return mapError(err)
	}
	defer tx.Rollback() // does nothing after a commit
	if err := do(tx); err != nil {
		return err
	}
	return mapError(tx.Commit())
}

// A transaction is a registry.Tx.
type transaction struct {
	reads
	writes
}

var (
	_ registry.Store = (*Store)(nil)
	_ registry.Tx    = transaction{}
)

// A querier is what *sql.DB and *sql.Tx have in common.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// reads are the statements that change nothing.
type reads struct{ db querier }

// writes are the statements of a transaction.
type writes struct{ db querier }

// signIns are the writes of authn; each is one statement, atomic by itself.
type signIns struct{ db querier }

// exec runs a statement that must concern a row, or ErrNotFound.
func exec(ctx context.Context, db querier, query string, args ...any) error {
	res, err := db.ExecContext(ctx, query, args...)
	if err != nil {
		return mapError(err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return mapError(err)
	}
	if n == 0 {
		return registry.ErrNotFound
	}
	return nil
}

// run runs a statement that may concern no row.
func run(ctx context.Context, db querier, query string, args ...any) error {
	_, err := db.ExecContext(ctx, query, args...)
	return mapError(err)
}

// collect reads all rows by scan.
func collect[T any](ctx context.Context, db querier, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, mapError(err)
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, mapError(err)
		}
		out = append(out, v)
	}
	return out, mapError(rows.Err())
}

// one reads one row by scan, or ErrNotFound.
func one[T any](ctx context.Context, db querier, scan func(row) (T, error), query string, args ...any) (T, error) {
	v, err := scan(db.QueryRowContext(ctx, query, args...))
	if err != nil {
		var zero T
		return zero, mapError(err)
	}
	return v, nil
}

// A row is what *sql.Row and *sql.Rows have in common.
type row interface{ Scan(dest ...any) error }

// micros is how a time is stored; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// A timeOf scans what micros stored.
type timeOf struct{ to *time.Time }

func (t timeOf) Scan(src any) error {
	n, ok := src.(int64)
	if !ok {
		return fmt.Errorf("a time is stored as %T", src)
	}
	if *t.to = (time.Time{}); n != 0 {
		*t.to = time.UnixMicro(n).UTC()
	}
	return nil
}
