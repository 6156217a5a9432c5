package store

import (
	"context"
	"fmt"
	"strings"
)

// A tagged is a noun whose tags stand by themselves too, in table, by the
// noun's id in column noun.
type tagged struct{ table, noun string }

var (
	deviceTags  = tagged{"device_tags", "device"}
	channelTags = tagged{"channel_tags", "channel"}
)

// insert adds the tags of a new noun.
func (t tagged) insert(ctx context.Context, db querier, domain, id string, tags []string) error {
	if len(tags) == 0 {
		return nil
	}
	rows, args := make([]string, len(tags)), []any{domain, id}
	for i, tag := range tags {
		args = append(args, tag)
		rows[i] = fmt.Sprintf("($1, $%d, $2)", len(args))
	}
	return run(ctx, db, "INSERT INTO "+t.table+" (domain, tag, "+t.noun+") VALUES "+strings.Join(rows, ", ")+" ON CONFLICT DO NOTHING", args...)
}

// replace puts tags in the place of those that the noun had.
func (t tagged) replace(ctx context.Context, db querier, domain, id string, tags []string) error {
	if err := run(ctx, db, "DELETE FROM "+t.table+" WHERE domain = $1 AND "+t.noun+" = $2", domain, id); err != nil {
		return err
	}
	return t.insert(ctx, db, domain, id, tags)
}
