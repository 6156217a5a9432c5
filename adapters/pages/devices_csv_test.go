package pages

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/adapters/api"
)

func TestReadDevices(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		it, file string
		records  []string
		bad      []badRow
		ignored  []string
		refused  string
	}{
		{it: "reads names", file: "name\npump\nvalve\n", records: []string{`{"name":"pump","tags":[]}`, `{"name":"valve","tags":[]}`}},
		{it: "reads all its columns in any order", file: "tags,metadata,identity,name\r\na; b,\"{\"\"n\"\":12345678901234567890}\",SN1,pump\r\n",
			records: []string{`{"credentials":{"identity":"SN1"},"metadata":{"n":12345678901234567890},"name":"pump","tags":["a","b"]}`}},
		{it: "reads a spreadsheet's semicolons and mark", file: "\ufeffName;Tags\npump;\"a;b\"\n", records: []string{`{"name":"pump","tags":["a","b"]}`}},
		{it: "reads tags as a list", file: "name,tags\npump,\"[\"\"a;b\"\"]\"\n", records: []string{`{"name":"pump","tags":["a;b"]}`}},
		{it: "takes the guard off", file: "name\n'=1+1\n'quoted\n''=x\n", records: []string{`{"name":"=1+1","tags":[]}`, `{"name":"'quoted","tags":[]}`, `{"name":"'=x","tags":[]}`}},
		{it: "passes over empty rows", file: "name,tags\n\n,\npump,\n,,\n", records: []string{`{"name":"pump","tags":[]}`}},
		{it: "says what it does not read", file: "id,name,colour\n1,pump,red\n", records: []string{`{"name":"pump","tags":[]}`}, ignored: []string{"id", "colour"}},
		{it: "goes on after a wrong row", file: "name,metadata\na,[1]\nb,{\nc,\"{}\"\nd,{},e\nf,{} {}\n\"g\"x,{}\nh,\n\xff,\n",
			records: []string{`{"metadata":{},"name":"c","tags":[]}`, `{"name":"h","tags":[]}`},
			bad: []badRow{
				{2, "a", "metadata must be a JSON object"}, {3, "b", "metadata must be a JSON object"}, {5, "", "has 3 cells, the header has 2"},
				{6, "f", "metadata must be a JSON object"}, {7, "", `is no CSV: extraneous or missing " in quoted-field`}, {9, "", "is not in UTF-8"},
			}},
		{it: "counts the lines of a cell with several", file: "name,metadata\na,\"{\n}\"\nb,x\n", records: []string{`{"metadata":{},"name":"a","tags":[]}`}, bad: []badRow{{4, "b", "metadata must be a JSON object"}}},
		{it: "refuses a tag list that is none", file: "name,tags\na,[1]\n", bad: []badRow{{2, "a", "tags must be separated by ; or be a JSON list"}}},
		{it: "refuses nothing at all", file: "", refused: "has no header"},
		{it: "refuses a header alone", file: "name,tags\n", refused: "no device below"},
		{it: "refuses a file without names", file: "tag\nx\n", refused: "no column name"},
		{it: "refuses a column twice", file: "name,Name\nx,y\n", refused: `"name" is there twice`},
		{it: "refuses another encoding", file: "name,\xff\nx\n", refused: "not in UTF-8"},
		{it: "refuses too many rows", file: "name\n" + strings.Repeat("x\n", maxRows+1), refused: "more than 10000"},
	} {
		t.Run(tc.it, func(t *testing.T) {
			t.Parallel()
			f, err := readDevices([]byte(tc.file))
			if tc.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tc.refused) {
					t.Fatalf("got %v, want a refusal with %q", err, tc.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var records []string
			for _, r := range f.Rows {
				records = append(records, string(r.Record))
			}
			if !slices.Equal(records, tc.records) {
				t.Errorf("got %q\nwant %q", records, tc.records)
			}
			if !reflect.DeepEqual(f.Bad, tc.bad) {
				t.Errorf("got bad rows %v\nwant %v", f.Bad, tc.bad)
			}
			if !slices.Equal(f.Ignored, tc.ignored) {
				t.Errorf("got ignored %q, want %q", f.Ignored, tc.ignored)
			}
		})
	}
	if f, err := readDevices([]byte("name\n" + strings.Repeat("x\n", maxRows))); err != nil || len(f.Rows) != maxRows {
		t.Errorf("of as many rows as may be it makes %d and %v", len(f.Rows), err)
	}
}

func TestGuarded(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{
		"": "", "pump": "pump", "=cmd|'/c calc'!A0": "'=cmd|'/c calc'!A0", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)",
		"\tx": "'\tx", "\rx": "'\rx", "'x": "''x", "'": "''", "a=1": "a=1",
	} {
		if got := guarded(cell); got != want {
			t.Errorf("guarded(%q) is %q, want %q", cell, got, want)
		}
	}
}

// FuzzReadDevices reads files of strangers: nothing panics, and every row is
// told of once, with a record that the API can read.
func FuzzReadDevices(f *testing.F) {
	for _, file := range []string{"name,tags,metadata\npump,a;b,{}\n", "\ufeffname;tags\n\"x\n;\n", "name\n\"", "name,name\n", "id,name\n'=1,2,3\n"} {
		f.Add([]byte(file))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := readDevices(file)
		if err != nil {
			if _, ok := err.(*Refusal); !ok {
				t.Fatalf("%q: %v is no refusal", file, err)
			}
			return
		}
		lines := bytes.Count(file, []byte("\n")) + bytes.Count(file, []byte("\r")) + 1
		for _, row := range got.Rows {
			var in api.NewClient
			if err := json.Unmarshal(row.Record, &in); err != nil || in.Name != row.Name {
				t.Fatalf("%q: record %s: %v", file, row.Record, err)
			}
			if row.Line < 2 || row.Line > lines {
				t.Fatalf("%q: a row of line %d", file, row.Line)
			}
		}
		for _, bad := range got.Bad {
			if bad.Reason == "" || bad.Line < 2 || bad.Line > lines+1 {
				t.Fatalf("%q: bad row %+v", file, bad)
			}
		}
	})
}

// FuzzExported writes a device and reads it back the same, with no cell that a
// spreadsheet would compute.
func FuzzExported(f *testing.F) {
	for _, s := range [][3]string{{"pump", "a", "b"}, {"=1+1", "x;y", "-z"}, {"'=", "[", " "}, {"'", ",", "\"\""}} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, name, tag, identity string) {
		for _, s := range []string{name, tag, identity} {
			if strings.ToValidUTF8(s, "") != s || strings.ContainsAny(s, "\r\n\x00") || s == "" {
				t.Skip("the registry keeps no such text")
			}
		}
		d := deviceRecord{device: device{ID: "1", Name: name, Tags: []string{tag, "second"}, CreatedAt: time.Unix(0, 0)}, Metadata: json.RawMessage(`{"a":1e400}`)}
		d.Credentials.Identity = identity
		row := exported(d)
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
				t.Fatalf("the cell %q is a formula", cell)
			}
		}
		file, err := readDevices([]byte(csvOf(exportColumns, [][]string{row})))
		if err != nil || len(file.Rows) != 1 {
			t.Fatalf("read back: %+v, %v", file, err)
		}
		want, err := json.Marshal(map[string]any{
			"name": name, "tags": d.Tags, "credentials": map[string]string{"identity": identity}, "metadata": d.Metadata,
		})
		if err != nil || string(file.Rows[0].Record) != string(want) {
			t.Errorf("got  %s\nwant %s, %v", file.Rows[0].Record, want, err)
		}
	})
}

func TestBadFileIsGuarded(t *testing.T) {
	t.Parallel()
	r := importReport{Bad: []badRow{{Line: 2, Name: "=1+1", Reason: "-no"}}}
	rows, err := csv.NewReader(strings.NewReader(r.BadFile())).ReadAll()
	if got, want := fmt.Sprint(rows), "[[line name reason] [2 '=1+1 '-no]]"; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
