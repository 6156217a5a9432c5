package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

// sqliteReaders bounds the connections that read. More than the cores of a
// small machine gain nothing with SQLite.
const sqliteReaders = 8

// openSQLite opens a file with one connection that writes, so that writers
// queue in this process instead of meeting SQLITE_BUSY, and a pool that reads
// beside it (WAL). An in-memory database lives in its one connection.
func openSQLite(name string) (database, error) {
	driver, err := sqliteDriver()
	if err != nil {
		return database{}, err
	}
	path := strings.TrimPrefix(strings.TrimPrefix(name, "sqlite:"), "//")
	pragmas := url.Values{
		// Another process (postern's own command line) may hold the file.
		"_pragma": {"busy_timeout(5000)", "foreign_keys(1)", "journal_mode(WAL)", "synchronous(NORMAL)"},
		"_txlock": {"immediate"},
	}
	db := database{dialect: goose.DialectSQLite3}
	if path == ":memory:" {
		db.writer = sql.OpenDB(connector{driver, ":memory:?" + pragmas.Encode()})
		db.writer.SetMaxOpenConns(1)
		db.writer.SetMaxIdleConns(1)
		db.writer.SetConnMaxLifetime(0)
		db.readers = db.writer
		return db, nil
	}
	if strings.Contains(path, "?") {
		return database{}, fmt.Errorf("a SQLite path takes no parameters: %q has a ?", path)
	}
	// Made here and not by SQLite, which would let others read it.
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return database{}, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return database{}, err
	}
	if err := f.Close(); err != nil {
		return database{}, err
	}
	file := "file:" + (&url.URL{Path: path}).EscapedPath() + "?"
	db.writer = sql.OpenDB(connector{driver, file + pragmas.Encode()})
	db.writer.SetMaxOpenConns(1)
	pragmas["_pragma"] = append(pragmas["_pragma"], "query_only(1)")
	pragmas.Del("_txlock")
	db.readers = sql.OpenDB(connector{driver, file + pragmas.Encode()})
	db.readers.SetMaxOpenConns(sqliteReaders)
	db.readers.SetMaxIdleConns(sqliteReaders)
	db.readers.SetConnMaxIdleTime(5 * time.Minute)
	return db, nil
}

// sqliteDriver is the driver with our function on it. It is made once because
// the library never frees a function.
var sqliteDriver = sync.OnceValues(func() (*sqlite.Driver, error) {
	d := &sqlite.Driver{}
	err := d.RegisterDeterministicScalarFunction("jsonb_contains", 2, jsonContains)
	return d, err
})

// A connector opens connections with our driver.
type connector struct {
	driver *sqlite.Driver
	dsn    string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c connector) Driver() driver.Driver                        { return c.driver }
