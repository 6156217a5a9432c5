package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// An object is one noun as the API tells it.
type object map[string]any

// at returns the value at a dotted path as text; "" when there is none.
func (o object) at(path string) string {
	var v any = map[string]any(o)
	for key := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = m[key]
	}
	switch v := v.(type) {
	case nil:
		return ""
	case []any:
		parts := make([]string, len(v))
		for i, p := range v {
			parts[i] = fmt.Sprint(p)
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(v)
}

// show prints objects as JSON (one object when single, else an array) or as a
// table of the named columns.
func show(w io.Writer, output string, columns []string, single bool, objects ...object) error {
	if output == "json" {
		var v any = objects
		if objects == nil {
			v = []object{}
		}
		if single {
			v = objects[0]
		}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = strings.ToUpper(strings.ReplaceAll(c[strings.LastIndexByte(c, '.')+1:], "_", " "))
	}
	fmt.Fprintln(t, strings.Join(titles, "\t"))
	for _, o := range objects {
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = o.at(c)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}
