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
	total func() (int, error) // a quicker way to count, when there is one
}

// add adds a condition in which each ? stands for the next argument.
func (f *filter) add(cond string, args ...any) {
	for _, a := range args {
		f.args = append(f.args, a)
		cond = strings.Replace(cond, "?", fmt.Sprintf("$%d", len(f.args)), 1)
	}
	f.conds = append(f.conds, cond)
}

// in adds that a column is one of the values, of which there is at least one.
func (f *filter) in(column string, values ...any) {
	f.add(column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", values...)
}

func anys[ID ~string](ids []ID) []any {
	out := make([]any, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}

func (f *filter) where() string {
	if len(f.conds) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(f.conds, " AND ")
}

// common adds the conditions that every noun has. Tags that stand by themselves
// too are looked for there.
func (f *filter) common(q registry.Query, tags tagged) {
	if q.Status != "" {
		f.add("status = ?", string(q.Status))
	}
	if q.ID != "" {
		f.add("id = ?", strings.ToLower(q.ID))
	}
	if q.Name != "" {
		f.add(`search_lc LIKE ? ESCAPE '\'`, like(q.Name))
	}
	switch {
	case q.Tag == "":
	case tags.table != "":
		f.add("id IN (SELECT "+tags.noun+" FROM "+tags.table+" WHERE domain = ? AND tag = ?)", string(q.Domain), q.Tag)
	default:
		f.contains("tags", []any{q.Tag})
	}
	if len(q.Metadata) > 0 {
		f.contains("metadata", map[string]any(q.Metadata))
	}
}

// contains adds that a JSON column contains part. Ahead of the exact test
// stands a plain search for the strings of part, which costs SQLite a tenth.
func (f *filter) contains(column string, part any) {
	for _, s := range stringsIn(part, nil) {
		f.add("CAST("+column+` AS TEXT) LIKE ? ESCAPE '\'`, like(encodeJSON(s)))
	}
	f.add("jsonb_contains("+column+", ?)", encodeJSON(part))
}

// maxPrefilters bounds the searches ahead of one exact test.
const maxPrefilters = 4

func stringsIn(v any, found []string) []string {
	switch v := v.(type) {
	case string:
		// Only what every JSON encoder writes alike, and in one case.
		if len(found) < maxPrefilters && v == strings.ToLower(v) && !strings.ContainsFunc(v, func(r rune) bool {
			return r < ' ' || r > '~' || r == '"' || r == '\\'
		}) {
			found = append(found, v)
		}
	case []any:
		for _, e := range v {
			found = stringsIn(e, found)
		}
	case map[string]any:
		for _, e := range v {
			found = stringsIn(e, found)
		}
	}
	return found
}

// like makes the pattern of a part, without the part's own wildcards.
func like(part string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(strings.ToLower(part)) + "%"
}

// few is how many rows it pays to find first and sort then. More are so
// dense that walking an index in order meets a page of them soon.
const few = 1000

// list answers a query: how many rows in all, and the page.
func list[T any](ctx context.Context, db querier, q registry.Query, f filter, scan func(row) (T, error),
	table, columns string, order map[registry.Order]string) (registry.List[T], error) {
	var out registry.List[T]
	var err error
	if q.After != nil {
		way := ">"
		if q.Descending {
			way = "<"
		}
		f.add("(created_at, id) "+way+" (?, ?)", micros(q.After.At), q.After.ID)
		f.total = nil
	}
	where := f.where()
	if f.total != nil {
		out.Total, err = f.total()
	} else {
		out.Total, err = count(ctx, db, "SELECT COUNT(*) FROM "+table+where, f.args...)
	}
	if err != nil || out.Total <= q.Offset {
		return out, err
	}
	sort, ok := order[q.Order]
	if !ok {
		sort = order[registry.ByCreated]
	}
	way := " ASC"
	if q.Descending {
		way = " DESC"
	}
	terms := strings.Split(sort, ", ")
	for i := range terms {
		if out.Total <= few { // a term that no index has
			switch terms[i] {
			case "created_at", "updated_at":
				terms[i] += " + 0"
			case "name":
				terms[i] += " || ''"
			}
		}
		terms[i] += way
	}
	n := len(f.args)
	out.Items, err = collect(ctx, db, scan, fmt.Sprintf("SELECT %s FROM %s%s ORDER BY %s LIMIT $%d OFFSET $%d",
		columns, table, where, strings.Join(terms, ", "), n+1, n+2), append(f.args, q.Limit, q.Offset)...)
	return out, err
}

func count(ctx context.Context, db querier, query string, args ...any) (n int, err error) {
	err = db.QueryRowContext(ctx, query, args...).Scan(&n)
	return n, mapError(err)
}

// linked adds that a noun of the table is connected to the other end, with
// rights. Few connections are looked through first; of many, each row is
// asked, and the total comes from counting the connections alone, less the rows
// of another status.
func (f *filter) linked(ctx context.Context, db querier, q registry.Query, table, near, far, end string) error {
	links, linkArgs := "connections.domain = ?", []any{string(q.Domain)}
	if end != "" {
		links, linkArgs = "connections."+far+" = ?", []any{end}
	}
	if q.Rights != 0 {
		links += " AND connections.rights & ? = ?"
		linkArgs = append(linkArgs, int(q.Rights), int(q.Rights))
	}
	var c filter
	c.add(links, linkArgs...)
	n, err := count(ctx, db, fmt.Sprintf("SELECT COUNT(*) FROM (SELECT 1 FROM connections%s LIMIT %d) AS found", c.where(), few+1), c.args...)
	if err != nil {
		return err
	}
	if n <= few {
		f.add("id IN (SELECT "+near+" FROM connections WHERE "+links+")", linkArgs...)
		return nil
	}
	exists := "EXISTS (SELECT 1 FROM connections WHERE connections." + near + " = " + table + ".id AND " + links + ")"
	f.add(exists, linkArgs...)
	if end == "" || q.ID != "" || q.Name != "" || q.Tag != "" || len(q.Metadata) > 0 {
		return nil
	}
	f.total = func() (int, error) {
		all, err := count(ctx, db, "SELECT COUNT(*) FROM connections"+c.where(), c.args...)
		if err != nil || q.Status == "" {
			return all, err
		}
		var o filter
		o.add("domain = ?", string(q.Domain))
		o.add("status <> ?", string(q.Status))
		o.add(exists, linkArgs...)
		others, err := count(ctx, db, "SELECT COUNT(*) FROM "+table+o.where(), o.args...)
		return all - others, err
	}
	return nil
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

// jsonAttributes is how attributes are stored, and an attributesOf scans that.
func jsonAttributes(attributes map[string]string) string {
	if len(attributes) == 0 {
		return "{}"
	}
	return encodeJSON(attributes)
}

type attributesOf struct{ to *map[string]string }

func (a attributesOf) Scan(src any) error {
	var object registry.Metadata
	if err := (metadataOf{&object}).Scan(src); err != nil {
		return err
	}
	if len(object) == 0 {
		*a.to = nil
		return nil
	}
	attributes := make(map[string]string, len(object))
	for key, v := range object {
		value, ok := v.(string)
		if !ok {
			return fmt.Errorf("an attribute is stored as %T", v)
		}
		attributes[key] = value
	}
	*a.to = attributes
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
