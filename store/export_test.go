package store

import (
	"context"
	"io/fs"
	"strings"

	"github.com/pressly/goose/v3"
)

// MigrateTo makes a database as it was at a version, with rows of that time.
func MigrateTo(ctx context.Context, url string, version int64, rows ...string) error {
	open := openSQLite
	if strings.HasPrefix(url, "postgres") {
		open = openPostgres
	}
	db, err := open(url)
	if err != nil {
		return err
	}
	defer db.readers.Close()
	defer db.writer.Close()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(db.dialect, db.writer, files, append(db.options, goose.WithDisableGlobalRegistry(true))...)
	if err != nil {
		return err
	}
	if _, err := p.UpTo(ctx, version); err != nil {
		return err
	}
	for _, row := range rows {
		if _, err := db.writer.ExecContext(ctx, row); err != nil {
			return err
		}
	}
	return nil
}
