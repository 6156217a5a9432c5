package pages

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a file of devices.
const (
	maxRows = 10_000
	maxFile = 5 << 20 // bytes
)

// exportColumns are those of an exported file. Of these an import reads the
// ones in importColumns.
var (
	exportColumns = []string{"id", "name", "identity", "status", "tags", "metadata", "created_at", "updated_at"}
	importColumns = []string{"name", "identity", "tags", "metadata"}
)

// A deviceFile is what is in a file of devices.
type deviceFile struct {
	Rows    []deviceRow
	Bad     []badRow
	Ignored []string // columns
}

// A deviceRow is a device to be made.
type deviceRow struct {
	Line   int
	Name   string
	Record json.RawMessage // as the API takes it
}

// A badRow is a row that makes no device, and why.
type badRow struct {
	Line   int
	Name   string
	Reason string
}

// readDevices reads a file of devices: CSV (RFC 4180) in UTF-8, with a header,
// with commas or, as some spreadsheets write it, semicolons. A row that cannot
// be read is told of in Bad; an error, which is a *Refusal, is about the whole
// file. Whether a name or a tag is allowed is for the API to say.
func readDevices(text []byte) (deviceFile, error) {
	var f deviceFile
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if !utf8.Valid(text[:bytes.IndexByte(append(text[:len(text):len(text)], '\n'), '\n')]) {
		return f, mend("file", "The file is not in UTF-8.")
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord = -1
	if first, _, _ := bytes.Cut(text, []byte("\n")); !bytes.Contains(first, []byte(",")) && bytes.Contains(first, []byte(";")) {
		r.Comma = ';'
	}
	header, err := r.Read()
	if err != nil {
		return f, mend("file", "The file has no header: its first line names the columns, such as name,tags,metadata.")
	}
	for i, column := range header {
		column = strings.ToLower(strings.TrimSpace(column))
		header[i] = column
		if slices.Contains(header[:i], column) {
			return f, mend("file", fmt.Sprintf("The column %q is there twice.", column))
		}
		if !slices.Contains(importColumns, column) {
			f.Ignored = append(f.Ignored, column)
		}
	}
	if !slices.Contains(header, "name") {
		return f, mend("file", "The file has no column name: its first line names the columns, such as name,tags,metadata.")
	}
	for {
		cells, err := r.Read()
		var wrong *csv.ParseError
		switch {
		case err == io.EOF:
			if len(f.Rows)+len(f.Bad) == 0 {
				return f, mend("file", "The file has a header, but no device below it.")
			}
			return f, nil
		case errors.As(err, &wrong):
			f.Bad = append(f.Bad, badRow{Line: wrong.StartLine, Reason: "is no CSV: " + wrong.Err.Error()})
		case err != nil:
			return f, fmt.Errorf("read a file of devices: %w", err) // it is in memory
		case strings.Join(cells, "") == "":
			continue // as spreadsheets leave them at the end
		default:
			line, _ := r.FieldPos(0)
			f.add(line, header, cells)
		}
		if len(f.Rows)+len(f.Bad) > maxRows {
			return f, mend("file", fmt.Sprintf("The file has more than %d rows. Divide it.", maxRows))
		}
	}
}

// add takes one row.
func (f *deviceFile) add(line int, header, cells []string) {
	bad := func(name, reason string) { f.Bad = append(f.Bad, badRow{line, name, reason}) }
	if len(cells) > len(header) {
		bad("", fmt.Sprintf("has %d cells, the header has %d", len(cells), len(header)))
		return
	}
	row := map[string]string{}
	for i, cell := range cells {
		if !utf8.ValidString(cell) {
			bad("", "is not in UTF-8")
			return
		}
		row[header[i]] = unguarded(cell)
	}
	record := map[string]any{"name": row["name"]}
	if identity := row["identity"]; identity != "" {
		record["credentials"] = map[string]string{"identity": identity}
	}
	tags, err := readTags(row["tags"])
	if err != nil {
		bad(row["name"], err.Error())
		return
	}
	record["tags"] = tags
	if text := strings.TrimSpace(row["metadata"]); text != "" {
		if !isObject(text) {
			bad(row["name"], "metadata must be a JSON object")
			return
		}
		record["metadata"] = json.RawMessage(text)
	}
	made, err := json.Marshal(record)
	if err != nil {
		bad(row["name"], "cannot be sent: "+err.Error())
		return
	}
	f.Rows = append(f.Rows, deviceRow{line, row["name"], made})
}

// isObject reports whether text is one JSON object.
func isObject(text string) bool {
	return strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") && json.Valid([]byte(text))
}

// readTags reads a cell of tags: with semicolons between them, or a JSON list.
func readTags(cell string) ([]string, error) {
	tags := []string{}
	if strings.HasPrefix(cell, "[") {
		if err := json.Unmarshal([]byte(cell), &tags); err != nil {
			return nil, errors.New("tags must be separated by ; or be a JSON list")
		}
		return tags, nil
	}
	for _, tag := range strings.Split(cell, ";") {
		if tag = strings.TrimSpace(tag); tag != "" {
			tags = append(tags, tag)
		}
	}
	return tags, nil
}

// writeTags is what readTags reads.
func writeTags(tags []string) string {
	plain := strings.Join(tags, ";")
	if read, err := readTags(plain); err == nil && slices.Equal(read, tags) {
		return plain
	}
	text, err := json.Marshal(tags)
	if err != nil {
		return plain // strings can always be written
	}
	return string(text)
}

// exported is a device as a row of a file.
func exported(d deviceRecord) []string {
	row := []string{
		d.ID, d.Name, d.Credentials.Identity, string(d.Status), writeTags(d.Tags), metadataText(d.Metadata, ""),
		d.CreatedAt.UTC().Format(time.RFC3339), d.UpdatedAt.UTC().Format(time.RFC3339),
	}
	for i, cell := range row {
		row[i] = guarded(cell)
	}
	return row
}

// Spreadsheets compute a cell that begins with one of these. An apostrophe in
// front makes it text; so that reading gives back what was written, a cell that
// begins with an apostrophe gets one too.
const computed = "=+-@\t\r'"

func guarded(cell string) string {
	if cell != "" && strings.IndexByte(computed, cell[0]) >= 0 {
		return "'" + cell
	}
	return cell
}

func unguarded(cell string) string {
	if len(cell) > 1 && cell[0] == '\'' && strings.IndexByte(computed, cell[1]) >= 0 {
		return cell[1:]
	}
	return cell
}

// csvOf is a small file of a header and rows.
func csvOf(header []string, rows [][]string) string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write(header)  // a Builder takes all
	_ = w.WriteAll(rows) // the same
	return b.String()
}
