package pages

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/postern-io/postern/registry"
)

func TestImportMakesWhatIsRight(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var file strings.Builder
	file.WriteString("name,tags,metadata\n")
	for i := 2; i <= 251; i++ {
		switch i {
		case 50:
			file.WriteString(strings.Repeat("n", registry.MaxName+1) + ",,\n") // only the API knows
		case 150:
			file.WriteString("broken,,{\n")
		case 151:
			file.WriteString("=wide," + strings.Repeat("t", registry.MaxTagLength+1) + ",\n")
		default:
			fmt.Fprintf(&file, "<script>%d,north;south,\"{\"\"line\"\":%d}\"\n", i, i)
		}
	}
	w := s.send(file.String(), "Accept", ndjson)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != ndjson {
		t.Fatalf("got %d %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	var done []int
	var report string
	lines := bufio.NewScanner(w.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var news struct {
			Done, Total int
			HTML        string
		}
		if err := json.Unmarshal(lines.Bytes(), &news); err != nil {
			t.Fatal(err)
		}
		if news.HTML != "" {
			report = news.HTML
			continue
		}
		if news.Total != 250 {
			t.Errorf("it tells of %d rows", news.Total)
		}
		done = append(done, news.Done)
	}
	if got, want := fmt.Sprint(done), "[1 101 201 250]"; got != want {
		t.Errorf("the progress is %s, want %s", got, want)
	}
	if n := s.count(""); n != 247 {
		t.Errorf("there are %d devices, want 247", n)
	}
	for _, want := range []string{
		"247 of 250 devices made", "3 rows are wrong",
		"<td>50</td><td>nnn", "name must have at most 254 characters",
		"<td>150</td><td>broken</td><td>metadata must be a JSON object",
		"<td>151</td><td>=wide</td><td>tags must have at most 64 characters",
		"151,&#39;=wide,", // in the file of bad rows
	} {
		if !strings.Contains(report, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if strings.Contains(report, "<script") {
		t.Error("a name is no text in the report")
	}
	secrets := textarea(t, report, `id="secrets"`)
	rows, err := csv.NewReader(strings.NewReader(secrets)).ReadAll()
	if err != nil || len(rows) != 248 {
		t.Fatalf("%d rows of secrets, %v", len(rows), err)
	}
	for _, row := range rows[1:] {
		found, err := s.store.DevicesBySecret(t.Context(), s.registry.Hasher.Hash(registry.SecretOf(row[3])))
		if err != nil || len(found) != 1 || string(found[0].Device) != row[2] {
			t.Fatalf("the secret of line %s is that of %v, %v", row[0], found, err)
		}
	}
}

// textarea is the text in the one that has the attribute.
func textarea(t *testing.T, page, attribute string) string {
	t.Helper()
	m := regexp.MustCompile(`<textarea[^>]*` + regexp.QuoteMeta(attribute) + `[^>]*>([^<]*)</textarea>`).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no textarea has %s", attribute)
	}
	return html.UnescapeString(m[1])
}

func TestImportRefusesAFile(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for it, file := range map[string]string{
		"too large":   "name\n" + strings.Repeat("x", maxFile),
		"empty":       "",
		"without one": "name\n",
		"no columns":  "pump\nvalve\n",
	} {
		if w := s.send(file); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), `aria-invalid="true"`) {
			t.Errorf("a file %s: got %d", it, w.Code)
		}
	}
	if w := s.do("POST", "/import", "application/x-www-form-urlencoded", "file=x"); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("no file at all: got %d", w.Code)
	}
	if n := s.count(""); n != 0 {
		t.Errorf("%d devices were made", n)
	}
}

func TestImportStopsWhereItCannotGoOn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if _, err := s.registry.UpdateDomain(t.Context(), "", s.domain.ID, func(d *registry.Domain) error { d.Status = registry.Frozen; return nil }); err != nil {
		t.Fatal(err)
	}
	s.asked.Store(0)
	w := s.send("name\n" + strings.Repeat("pump\n", 500))
	page := w.Body.String()
	if !strings.Contains(page, "0 of 500 devices made") || !strings.Contains(page, "500 rows were not tried") || strings.Contains(page, "rows are wrong") {
		t.Errorf("it says %s", page)
	}
	if s.asked.Load() > 5 {
		t.Errorf("it asked %d times", s.asked.Load())
	}
}

func TestExportComesBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fleet(205)
	if _, err := s.registry.CreateDevices(t.Context(), "", s.domain.ID, []registry.NewDevice{{Device: registry.Device{Name: "=HYPERLINK(1)", Status: registry.Disabled, Tags: []string{"a;b", "@c"}}}}); err != nil {
		t.Fatal(err)
	}
	w := s.get("/export")
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Disposition"), "attachment") {
		t.Fatalf("got %d %v", w.Code, w.Header())
	}
	file := w.Body.String()
	rows, err := csv.NewReader(strings.NewReader(file)).ReadAll()
	if err != nil || len(rows) != 207 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if got := rows[206]; got[1] != "'=HYPERLINK(1)" || got[3] != "disabled" || got[4] != `["a;b","@c"]` {
		t.Errorf("the last row is %q", got)
	}
	if rows[1][5] != `{"n":12345678901234567890}` {
		t.Errorf("the metadata are %s", rows[1][5])
	}
	other := newSite(t)
	if page := other.send(file).Body.String(); !strings.Contains(page, "206 of 206 devices made") || !strings.Contains(page, "not read: id, status, created_at, updated_at") {
		t.Errorf("the other site says %s", page)
	}
}

// A deleter has the oldest device deleted at each piece of an answer.
type deleter struct {
	*httptest.ResponseRecorder
	delete func()
}

func (d deleter) Write(b []byte) (int, error) {
	d.delete()
	return d.ResponseRecorder.Write(b)
}

// While devices go, an export has all that stay.
func TestExportWhileDevicesGo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fleet(305)
	list, err := s.registry.Devices(t.Context(), registry.Query{Domain: s.domain.ID, Limit: 100, Order: registry.ByCreated})
	if err != nil {
		t.Fatal(err)
	}
	gone := 0
	w := deleter{httptest.NewRecorder(), func() {
		if err := s.registry.DeleteDevice(t.Context(), s.domain.ID, list.Items[99-gone].ID); err != nil { // the last one of the page, at first
			t.Error(err)
		}
		gone++
	}}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "http://localhost/domains/plant/devices/export", nil)
	r.RemoteAddr = "127.0.0.1:1"
	s.handler.ServeHTTP(w, r)
	rows, err := csv.NewReader(w.Body).ReadAll()
	if err != nil || len(rows) != 306 || gone < 3 {
		t.Errorf("%d rows while %d devices went, %v; want 305 and a head", len(rows), gone, err)
	}
}

func TestBulk(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var ids []string
	for _, id := range s.fleet(51) {
		ids = append(ids, string(id))
	}
	ch, err := s.registry.CreateChannels(t.Context(), "", s.domain.ID, []registry.Channel{{Name: "c"}})
	if err != nil {
		t.Fatal(err)
	}
	const nobody = "5e551051-0000-4000-8000-000000000001"
	for _, tc := range []struct {
		it     string
		ids    []string
		sent   string
		status int
		says   string
	}{
		{"wants something to do", ids[:2], "", 422, "Choose what to do."},
		{"wants devices", nil, "do=enable", 422, "Choose devices"},
		{"does at most a page", ids, "do=disable", 422, "at most 50"},
		{"disables", ids[:50], "do=disable", 200, "50 of 50 disabled"},
		{"tells which failed", []string{ids[0], nobody, "../x"}, "do=enable", 200, "1 of 3 enabled"},
		{"wants tags", ids[:2], "do=tag&add=+,", 422, "Name the tags"},
		{"tags", ids[:2], "do=tag&add=hot,north", 200, "2 of 2 tagged"},
		{"wants a channel", ids[:2], "do=connect&publish=1", 422, "Choose a channel"},
		{"wants rights", ids[:2], "do=connect&channel=" + string(ch[0].ID), 422, "Choose publish"},
		{"connects", ids[:2], "do=connect&publish=1&channel=" + string(ch[0].ID), 200, "2 of 2 connected"},
		{"deletes nothing unasked", ids[:2], "do=delete", 422, "type the route of the domain"},
		{"deletes nothing by another name", ids[:2], "do=delete&confirm=Plant", 422, "type the route of the domain"},
		{"deletes", ids[:2], "do=delete&confirm=plant", 200, "2 of 2 deleted"},
	} {
		sent, err := url.ParseQuery(tc.sent)
		if err != nil {
			t.Fatal(err)
		}
		sent["device"] = tc.ids
		w := s.post("/bulk", sent)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.says) {
			t.Errorf("it %s: got %d, want %d and %q", tc.it, w.Code, tc.status, tc.says)
		}
		if tc.it == "tags" {
			d, err := s.registry.Device(t.Context(), s.domain.ID, registry.DeviceID(ids[0]))
			if err != nil || strings.Join(d.Tags, " ") != "north row-0 hot" {
				t.Errorf("the tags are %q, %v", d.Tags, err)
			}
		}
		if tc.it == "connects" {
			all, err := s.registry.Connections(t.Context(), registry.Query{Domain: s.domain.ID, Channel: ch[0].ID, Limit: 10, Order: registry.ByCreated})
			if err != nil || all.Total != 2 || all.Items[0].Rights != registry.Publish {
				t.Errorf("the connections are %+v, %v", all, err)
			}
		}
	}
	if n := s.count(""); n != 49 {
		t.Errorf("%d devices are left, want 49", n)
	}
}

func TestChangesAreAskedForHere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	id := string(s.fleet(1)[0])
	for _, path := range []string{"", "/bulk", "/import", "/" + id + "/delete", "/" + id + "/secret", "/" + id + "/certs", "/" + id + "/state"} {
		w := s.post(path, url.Values{"name": {"x"}, "confirm": {"pump-000000"}}, "Sec-Fetch-Site", "cross-site")
		if w.Code != http.StatusForbidden {
			t.Errorf("POST %s from another site: got %d", path, w.Code)
		}
	}
	if w := s.post("/"+id+"/delete", url.Values{"confirm": {"pump"}}); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("delete by another name: got %d", w.Code)
	}
	if n := s.count(""); n != 1 {
		t.Fatalf("%d devices are left", n)
	}
	if w := s.post("/"+id+"/delete", url.Values{"confirm": {" pump-000000"}}); w.Code != http.StatusSeeOther || s.count("") != 0 {
		t.Errorf("delete by its name: got %d, and %d devices are left", w.Code, s.count(""))
	}
}

func TestAPathNamesADevice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, path := range []string{"/%2e%2e%2fchannels", "/x", "/5e551051-0000-4000-8000-000000000001", "/bulk"} {
		if w := s.get(path); w.Code != http.StatusNotFound {
			t.Errorf("%s: got %d", path, w.Code)
		}
	}
}

func TestEditingKeepsNumbersAndText(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	id := string(s.fleet(1)[0])
	page := s.get("/" + id).Body.String()
	metadata := textarea(t, page, `name="metadata"`)
	if !strings.Contains(metadata, "12345678901234567890") {
		t.Fatalf("the page shows %s", metadata)
	}
	w := s.post("/"+id+"/edit", url.Values{"name": {"</textarea><script>"}, "tags": {"a, b"}, "metadata": {metadata}})
	if w.Code != http.StatusSeeOther {
		t.Fatalf("got %d", w.Code)
	}
	d, err := s.registry.Device(t.Context(), s.domain.ID, registry.DeviceID(id))
	if err != nil || fmt.Sprint(d.Metadata["n"]) != "12345678901234567890" || d.Name != "</textarea><script>" {
		t.Errorf("the device is %+v, %v", d, err)
	}
	if w := s.post("/"+id+"/edit", url.Values{"metadata": {"[1]"}}); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "must be a JSON object") {
		t.Errorf("metadata that are no object: got %d", w.Code)
	}
}

func TestDownloadGivesBackFilesOnly(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, tc := range []struct {
		it, kind, name, file string
		status               int
		body                 string
	}{
		{"gives a PEM file lines as openssl writes them", "pem", "key", "a\r\nb\r\n", 200, "a\nb\n"},
		{"gives CSV as it is", "csv", "x-1", "a\r\n", 200, "a\r\n"},
		{"gives PKCS#12 as bytes", "p12", "x", "AP8=", 200, "\x00\xff"},
		{"gives no page", "html", "x", "<script>", 400, ""},
		{"gives no name with a path", "csv", "../x", "a", 400, ""},
		{"gives no broken PKCS#12", "p12", "x", "?", 400, ""},
	} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "http://localhost/download", strings.NewReader(url.Values{"kind": {tc.kind}, "name": {tc.name}, "file": {tc.file}}.Encode()))
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if w.Code != tc.status || tc.body != "" && (w.Body.String() != tc.body || !strings.HasPrefix(w.Header().Get("Content-Disposition"), "attachment")) {
			t.Errorf("it %s: got %d %q", tc.it, w.Code, w.Body)
		}
	}
}
