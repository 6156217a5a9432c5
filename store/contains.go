package store

import (
	"bytes"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"modernc.org/sqlite"
)

// jsonContains is PostgreSQL's jsonb_contains (the operator @>) for SQLite:
// whether the second document is contained in the first.
func jsonContains(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	whole, ok1 := args[0].(string)
	part, ok2 := args[1].(string)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("jsonb_contains: want text, got %T and %T", args[0], args[1])
	}
	p, err := decodeJSON(part)
	if err != nil {
		return nil, err
	}
	w, err := decodeJSON(whole)
	if err != nil {
		return nil, err
	}
	if contains(w, p) {
		return int64(1), nil
	}
	return int64(0), nil
}

// contains follows PostgreSQL's manual, §8.14.3: objects contain by key, arrays
// regardless of order and repetition, scalars by equality.
func contains(whole, part any) bool {
	switch part := part.(type) {
	case map[string]any:
		w, ok := whole.(map[string]any)
		if !ok {
			return false
		}
		for k, v := range part {
			have, ok := w[k]
			if !ok || !contains(have, v) {
				return false
			}
		}
		return true
	case []any:
		w, ok := whole.([]any)
		if !ok {
			return false
		}
		for _, v := range part {
			found := false
			for _, have := range w {
				if contains(have, v) {
					found = true
					break
				}
			}
			if !found {
				return false
			}
		}
		return true
	}
	return equalScalar(whole, part)
}

func equalScalar(a, b any) bool {
	x, ok1 := a.(json.Number)
	y, ok2 := b.(json.Number)
	if ok1 && ok2 && x != y { // 1 and 1.0 are the same number
		f, err1 := x.Float64()
		g, err2 := y.Float64()
		return err1 == nil && err2 == nil && f == g
	}
	switch a.(type) {
	case map[string]any, []any:
		return false
	}
	return reflect.DeepEqual(a, b)
}

// encodeJSON is how JSON is stored: compact, keys sorted, HTML left alone.
func encodeJSON(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "null" // registry let only JSON through
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// decodeJSON keeps numbers as they were written.
func decodeJSON(text string) (v any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("stored JSON: %w", err)
	}
	return v, nil
}
