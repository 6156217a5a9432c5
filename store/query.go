package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/postern-io/postern/registry"
)

// A filter collects the conditions of a list and their arguments.
type filter struct {
	conds []string
	args  []any
}

// add adds a condition in which each ? stands for the next argument.
func (f *filter) add(cond string, args ...any) {
	for _, a := range args {
		f.args = append(f.args, a)
		cond = strings.Replace(cond, "?", fmt.Sprintf("$%d", len(f.args)), 1)
	}
	f.conds = append(f.conds, cond)
}

func (f *filter) where() string {
	if len(f.conds) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(f.conds, " AND ")
}

// common adds the conditions that every noun has.
func (f *filter) common(q registry.Query) {
	if q.Status != "" {
		f.add("status = ?", string(q.Status))
	}
	if q.ID != "" {
		f.add("id = ?", strings.ToLower(q.ID))
	}
	if q.Name != "" {
		f.add(`search_lc LIKE ? ESCAPE '\'`, like(q.Name))
	}
	if q.Tag != "" {
		f.add("jsonb_contains(tags, ?)", encodeJSON([]string{q.Tag}))
	}
	if len(q.Metadata) > 0 {
		f.add("jsonb_contains(metadata, ?)", encodeJSON(q.Metadata))
	}
}

// like makes the pattern of a part, without the part's own wildcards.
func like(part string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(strings.ToLower(part)) + "%"
}

// list answers a query: how many rows in all, and the page.
func list[T any](ctx context.Context, db querier, q registry.Query, f filter, scan func(row) (T, error),
	table, columns string, order map[registry.Order]string) (registry.List[T], error) {
	var out registry.List[T]
	where := f.where()
	err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table+where, f.args...).Scan(&out.Total)
	if err != nil || out.Total <= q.Offset {
		return out, mapError(err)
	}
	column, ok := order[q.Order]
	if !ok {
		column = order[registry.ByCreated]
	}
	way := "ASC"
	if q.Descending {
		way = "DESC"
	}
	sort := ""
	for i, c := range strings.Split(column, ", ") {
		if i > 0 {
			sort += ", "
		}
		sort += c + " " + way
	}
	n := len(f.args)
	out.Items, err = collect(ctx, db, scan,
		fmt.Sprintf("SELECT %s FROM %s%s ORDER BY %s LIMIT $%d OFFSET $%d", columns, table, where, sort, n+1, n+2),
		append(f.args, q.Limit, q.Offset)...)
	return out, err
}

var orders = map[registry.Order]string{
	registry.ByCreated: "created_at, id",
	registry.ByUpdated: "updated_at, id",
	registry.ByName:    "name, id",
}

// search is the text in which a name is looked for.
func search(parts ...string) string { return strings.ToLower(strings.Join(parts, "\n")) }

// jsonTags and jsonMetadata are how the two are stored; an absent one is empty.
func jsonTags(tags []string) string {
	if len(tags) == 0 {
		return "[]"
	}
	return encodeJSON(tags)
}

func jsonMetadata(m registry.Metadata) string {
	if len(m) == 0 {
		return "{}"
	}
	return encodeJSON(m)
}

// A tagsOf and a metadataOf scan what those stored.
type tagsOf struct{ to *[]string }

func (t tagsOf) Scan(src any) error {
	v, err := scanJSON(src)
	if err != nil {
		return err
	}
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("tags are stored as %T", v)
	}
	tags := make([]string, 0, len(list))
	for _, e := range list {
		s, ok := e.(string)
		if !ok {
			return fmt.Errorf("a tag is stored as %T", e)
		}
		tags = append(tags, s)
	}
	*t.to = tags
	return nil
}

type metadataOf struct{ to *registry.Metadata }

func (m metadataOf) Scan(src any) error {
	v, err := scanJSON(src)
	if err != nil {
		return err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("metadata is stored as %T", v)
	}
	*m.to = object
	return nil
}

func scanJSON(src any) (any, error) {
	switch src := src.(type) {
	case string:
		return decodeJSON(src)
	case []byte:
		return decodeJSON(string(src))
	}
	return nil, fmt.Errorf("JSON is stored as %T", src)
}
