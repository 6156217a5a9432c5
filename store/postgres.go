package store

import (
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// postgresConns bounds the pool of one node. PostgreSQL's default allows 100
// connections in all; a few nodes must fit.
const postgresConns = 20

func openPostgres(url string) (database, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return database{}, err
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	// Every wait has an end, also one that the caller's context forgot.
	for key, value := range map[string]string{
		"application_name":                    "postern",
		"lock_timeout":                        "5000", // milliseconds, as the next two
		"statement_timeout":                   "30000",
		"idle_in_transaction_session_timeout": "30000",
	} {
		if _, set := config.RuntimeParams[key]; !set {
			config.RuntimeParams[key] = value
		}
	}
	// Nodes that start together migrate one after the other: asked every
	// second, for a minute.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
	if err != nil {
		return database{}, err
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(postgresConns)
	db.SetMaxIdleConns(postgresConns / 2)
	db.SetConnMaxIdleTime(5 * time.Minute)
	db.SetConnMaxLifetime(time.Hour)
	return database{
		readers: db, writer: db,
		dialect: goose.DialectPostgres,
		options: []goose.ProviderOption{goose.WithSessionLocker(locker)},
	}, nil
}
