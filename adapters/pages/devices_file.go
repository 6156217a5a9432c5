package pages

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"
)

const (
	exportPage  = 100     // devices asked for at a time: what the API gives at most
	importBatch = 100     // devices made at a time
	importBytes = 1 << 20 // of JSON at a time; the API takes four times that
	shownBad    = 200     // bad rows in the page; the file of them has all
	patience    = maxTime // for a browser to send or take the next piece
	ndjson      = "application/x-ndjson"
)

// exportDevices sends all devices as CSV, oldest first, as they are asked for.
// A device that is deleted meanwhile can make the page after it begin one later;
// a list that must be exact wants a quiet hour.
func exportDevices(v *visit) error {
	control := http.NewResponseController(v.w)
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }() // who has none needs none taken back
	var w *csv.Writer
	for after := ""; ; {
		var all devicePage
		path := fmt.Sprintf("/clients?status=all&order=created_at&dir=asc&limit=%d&after=%s", exportPage, url.QueryEscape(after))
		if err := v.ask(http.MethodGet, v.inDomain(path), nil, &all); err != nil {
			if w == nil {
				return err
			}
			// What was sent looks whole; only a broken connection tells that it
			// is not.
			v.s.Log.Error("export broken off", "request", v.id, "domain", v.domain.ID, "after", after, "err", err)
			panic(http.ErrAbortHandler)
		}
		if w == nil {
			v.w.Header().Set("Content-Type", "text/csv; charset=utf-8")
			v.w.Header().Set("Content-Disposition", `attachment; filename="devices-`+v.domain.Route+`.csv"`)
			w = csv.NewWriter(v.w)
			_ = w.Write(exportColumns) // an error stays until it is asked for below
		}
		for _, d := range all.Clients {
			_ = w.Write(exported(d)) // the same
		}
		_ = control.SetWriteDeadline(time.Now().Add(patience)) // a writer without deadlines is a test's
		w.Flush()
		if after = all.Next; w.Error() != nil || after == "" {
			return nil // who went away misses the rest
		}
	}
}

type importView struct {
	MaxRows, MaxMB int
	Report         *importReport
}

// An importReport tells what became of a file.
type importReport struct {
	Total, Made int
	Bad         []badRow
	Ignored     []string
	Stopped     *Refusal // why the rest was not tried
	Left        int      // how many were not tried
	Secrets     string   // CSV of what was made
	Stamp       string   // for the names of files
}

// Shown are the bad rows that fit on a page.
func (r importReport) Shown() []badRow { return r.Bad[:min(len(r.Bad), shownBad)] }

// BadFile is CSV of all bad rows.
func (r importReport) BadFile() string {
	rows := make([][]string, len(r.Bad))
	for i, b := range r.Bad {
		rows[i] = []string{strconv.Itoa(b.Line), guarded(b.Name), guarded(b.Reason)}
	}
	return csvOf([]string{"line", "name", "reason"}, rows)
}

func (v *visit) importPage(report *importReport) page {
	return page{Title: "Import devices", Tab: "devices", Data: importView{maxRows, maxFile >> 20, report}}
}

func askImport(v *visit) error {
	v.show(http.StatusOK, "import", v.importPage(nil))
	return nil
}

// importDevices makes the devices of a file. A browser with a script asks for
// news while it lasts; another one gets the report at the end.
func importDevices(v *visit) error {
	text, err := v.file()
	if err != nil {
		return v.again(err, "import", v.importPage(nil))
	}
	file, err := readDevices(text)
	if err != nil {
		return v.again(err, "import", v.importPage(nil))
	}
	live := v.r.Header.Get("Accept") == ndjson
	control := http.NewResponseController(v.w)
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }() // who has none needs none taken back
	news := func(any) {}
	if live {
		v.w.Header().Set("Content-Type", ndjson)
		news = func(line any) {
			_ = control.SetWriteDeadline(time.Now().Add(patience)) // a writer without deadlines is a test's
			_ = json.NewEncoder(v.w).Encode(line)                  // who went away misses it; its context ends
			_ = control.Flush()
		}
	}
	report := v.makeDevices(file, func(done int) {
		news(map[string]int{"done": done, "total": len(file.Rows) + len(file.Bad)})
	})
	if !live {
		v.show(http.StatusOK, "import", v.importPage(&report))
		return nil
	}
	html, err := v.text("import", "import-report", v.importPage(&report))
	if err != nil {
		v.s.Log.Error("page not made", "page", "import", "request", v.id, "err", err)
		html = "<p class=\"problem\">Something went wrong here. The log has more under the request id " + v.id + ".</p>"
	}
	news(map[string]string{"html": html})
	return nil
}

// file reads the file that was sent, and no more than may be.
func (v *visit) file() ([]byte, error) {
	tooLarge := mend("file", fmt.Sprintf("The file is larger than %d MB. Divide it.", maxFile>>20))
	control := http.NewResponseController(v.w)
	_ = control.SetReadDeadline(time.Now().Add(patience)) // a reader without deadlines is a test's
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	parts, err := v.r.MultipartReader()
	if err != nil {
		return nil, mend("file", "Choose a file.")
	}
	for {
		part, err := parts.NextPart()
		if err != nil {
			return nil, mend("file", "Choose a file.")
		}
		if part.FormName() != "file" {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(part, maxFile+1))
		switch {
		case errors.As(err, new(*http.MaxBytesError)), len(text) > maxFile:
			return nil, tooLarge
		case err != nil:
			return nil, mend("file", "The file did not arrive whole. Send it again.")
		case len(text) == 0:
			return nil, mend("file", "Choose a file: this one is empty.")
		}
		return text, nil
	}
}

// makeDevices makes the devices of a file in batches, and tells after each how
// many rows are done with.
func (v *visit) makeDevices(file deviceFile, tell func(done int)) importReport {
	report := importReport{Total: len(file.Rows) + len(file.Bad), Bad: file.Bad, Ignored: file.Ignored, Stamp: time.Now().UTC().Format("20060102-150405")}
	var made [][]string
	tell(len(file.Bad))
	for rest := file.Rows; len(rest) > 0 && report.Stopped == nil; {
		n, size := 0, 0
		for n < len(rest) && n < importBatch && (n == 0 || size+len(rest[n].Record) <= importBytes) {
			size += len(rest[n].Record)
			n++
		}
		v.makeBatch(rest[:n], &report, &made)
		rest = rest[n:]
		tell(len(made) + len(report.Bad))
	}
	slices.SortFunc(report.Bad, func(a, b badRow) int { return a.Line - b.Line })
	report.Made = len(made)
	report.Left = report.Total - report.Made - len(report.Bad)
	if len(made) > 0 {
		report.Secrets = csvOf([]string{"line", "name", "id", "secret"}, made)
	}
	return report
}

// makeBatch makes all the devices of a batch, or, where one of them breaks a
// rule, halves it until that one is found: the API makes all or none and does
// not say which one it is.
func (v *visit) makeBatch(rows []deviceRow, report *importReport, made *[][]string) {
	if report.Stopped != nil {
		return
	}
	records := make([]json.RawMessage, len(rows))
	for i, row := range rows {
		records[i] = row.Record
	}
	var all devicePage
	err := v.ask(http.MethodPost, v.inDomain("/clients/bulk"), records, &all)
	if err == nil && len(all.Clients) != len(rows) {
		err = fmt.Errorf("made %d devices of %d", len(all.Clients), len(rows))
	}
	if err == nil {
		for i, d := range all.Clients {
			// A secret is letters, digits, - and _: it can be no formula, and must
			// stay what it is.
			*made = append(*made, []string{strconv.Itoa(rows[i].Line), guarded(d.Name), d.ID, d.Credentials.Secret})
		}
		return
	}
	refusal, refused := err.(*Refusal)
	switch {
	case !refused || !refusal.mends() || refusal.Status == http.StatusConflict:
		report.Stopped = v.told(err) // the next ones would fare no better
	case len(rows) == 1:
		report.Bad = append(report.Bad, badRow{rows[0].Line, rows[0].Name, refusal.Message})
	default:
		half := len(rows) / 2
		v.makeBatch(rows[:half], report, made)
		v.makeBatch(rows[half:], report, made)
	}
}

// text makes a piece of a page.
func (v *visit) text(name, piece string, p page) (string, error) {
	var b bytes.Buffer
	err := v.s.pages[name].ExecuteTemplate(&b, piece, frame{page: p, Me: v.me, Domain: v.domain, Path: v.r.URL.Path})
	return b.String(), err
}

// kinds are the files that download gives back.
var kinds = map[string]string{"csv": "text/csv; charset=utf-8", "pem": "application/x-pem-file", "p12": "application/x-pkcs12"}

var fileName = regexp.MustCompile(`^[a-zA-Z0-9-]{1,64}$`)

// download gives back what a page holds, as a file. So a secret that is shown
// once can be saved without a script, and is kept nowhere for it.
func download(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	kind, name, body := v.r.PostForm.Get("kind"), v.r.PostForm.Get("name"), []byte(v.r.PostForm.Get("file"))
	media, known := kinds[kind]
	if !known || !fileName.MatchString(name) {
		return &Refusal{Status: http.StatusBadRequest, Word: "malformed_request", Message: "This is no file of ours."}
	}
	switch kind {
	case "pem":
		body = bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")) // which forms make of every line
	case "p12":
		file, err := base64.StdEncoding.DecodeString(string(body))
		if err != nil {
			return &Refusal{Status: http.StatusBadRequest, Word: "malformed_request", Message: "This is no file of ours."}
		}
		body = file
	}
	v.w.Header().Set("Content-Type", media)
	v.w.Header().Set("Content-Disposition", `attachment; filename="`+name+"."+kind+`"`)
	v.w.Write(body) // who went away misses it
	return nil
}
