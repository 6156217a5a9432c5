package pages

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/registry"
)

// busy is a gateway at which a step goes by whenever it is asked.
type busy struct {
	nobody
	mu   sync.Mutex
	step int64
	err  error

	device registry.DeviceID // which is refused
}

func (b *busy) Traffic(_ context.Context, _ registry.DomainID, since time.Time) (adapters.Traffic, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.step++
	t := adapters.Traffic{Sessions: 3, Devices: 2, Refused: map[registry.Reason]int{registry.ReasonRightMissing: 4}}
	for step := max(1, b.step-179); step <= b.step; step++ {
		p := adapters.TrafficPoint{Step: step, Sessions: 3, Devices: 2, Messages: 17, Stored: 16, Refused: 1, Acks: map[int]int{0: 1}}
		if p.At().After(since) {
			t.Points = append(t.Points, p)
		}
	}
	return t, b.err
}

func (b *busy) Refusals(_ context.Context, q adapters.RefusalQuery) ([]adapters.Refusal, error) {
	if q.Reason != "" && q.Reason != registry.ReasonRightMissing {
		return nil, nil
	}
	return []adapters.Refusal{{Device: cmp.Or(q.Device, b.device), Via: "ws", Action: "publish", Reason: registry.ReasonRightMissing, Remote: "192.0.2.1", Topic: `m/a&b/"<script>`, Count: 3, First: time.Unix(1, 0), Last: time.Unix(2, 0)}}, nil
}

// events reads server-sent events, as word, id and data.
func events(t *testing.T, r *http.Response) func() (word, id, data string, ok bool) {
	t.Helper()
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	return func() (word, id, data string, ok bool) {
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "event":
				word = value
			case "id":
				id = value
			case "data":
				data = value
			case "":
				return word, id, data, true
			}
		}
		return "", "", "", false
	}
}

// watch serves a site over a real connection and opens the stream of its domain.
func (s *site) watch(t *testing.T) (*httptest.Server, *http.Response) {
	t.Helper()
	server := s.serve(t)
	return server, s.listen(t, server, "/live")
}

func (s *site) serve(t *testing.T) *httptest.Server {
	t.Helper()
	// The API takes everybody of this machine for an owner, by that name.
	server := httptest.NewUnstartedServer(s.handler)
	server.Config.RegisterOnShutdown(s.pages.EndStreams)
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// listen opens a stream of the domain.
func (s *site) listen(t *testing.T, server *httptest.Server, path string, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", strings.Replace(server.URL, "127.0.0.1", "localhost", 1)+"/domains/plant"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

func TestLiveSendsAPointOfEachStep(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.live(&busy{step: 1000})
	_, answer := s.watch(t)
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %d %s", answer.StatusCode, answer.Header)
	}
	next := events(t, answer)
	var lastID string
	for i := range 4 {
		word, id, data, ok := next()
		if !ok || word != "" || id == "" || id == lastID {
			t.Fatalf("event %d: %q %q after %q, %v", i, word, id, lastID, ok)
		}
		lastID = id
		var b bulletin
		if err := json.Unmarshal([]byte(data), &b); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: 180, false: 1}[i == 0]; len(b.Points) != want {
			t.Errorf("event %d has %d points, want %d", i, len(b.Points), want)
		}
		if b.Now["devices"] != "2" || b.Now["messages"] != "3.4" || b.Now["refused"] != "12" || !strings.HasSuffix(b.Now["p99"], " ms") {
			t.Errorf("event %d says %v", i, b.Now)
		}
		if (b.Reasons != "") != (i == 0) {
			t.Errorf("event %d: the table of refusals has not changed, and is there: %q", i, b.Reasons)
		}
		if i > 0 && len(data) > 400 {
			t.Errorf("event %d is %d bytes", i, len(data))
		}
	}
	answer.Body.Close()
	again := s.listen(t, s.serve(t), "/live", "Last-Event-ID", lastID)
	_, _, data, _ := events(t, again)()
	var b bulletin
	if err := json.Unmarshal([]byte(data), &b); err != nil || len(b.Points) == 0 {
		t.Fatalf("who comes again gets %q, %v", data, err)
	}
	if first := fmt.Sprint(int64(b.Points[0][0].(float64)) - 5); first != lastID {
		t.Errorf("who comes again gets what came since %s, has %s", first, lastID)
	}
}

// Who may not see the domain any more hears so, and nothing else.
func TestLiveEndsWithTheRight(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{http.StatusUnauthorized: "again no more", http.StatusForbidden: "over You may not see this any more.", http.StatusNotFound: "over You may not see this any more."} {
		s := newSite(t)
		s.live(&busy{step: 1000})
		_, answer := s.watch(t)
		next := events(t, answer)
		if _, _, _, ok := next(); !ok {
			t.Fatal("nothing came")
		}
		s.refuse.Store(int32(status))
		for {
			word, _, data, ok := next()
			if !ok {
				t.Fatalf("%d: it ended without a word", status)
			}
			if word == "" {
				continue // was on its way
			}
			if word+" "+data != want {
				t.Errorf("%d: got %q %q, want %q", status, word, data, want)
			}
			break
		}
		if _, _, data, ok := next(); ok {
			t.Errorf("%d: after the end came %q", status, data)
		}
	}
}

// While the API is away for a moment, the stream goes on.
func TestLiveOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.live(&busy{step: 1000})
	_, answer := s.watch(t)
	next := events(t, answer)
	s.refuse.Store(http.StatusServiceUnavailable)
	partial, whole := false, false
	for !whole {
		word, _, data, ok := next()
		var b bulletin
		if err := json.Unmarshal([]byte(data), &b); !ok || word != "" || err != nil {
			t.Fatalf("got %q %q, %v", word, data, err)
		}
		if b.Partial {
			partial = true
			s.refuse.Store(0)
		}
		whole = partial && !b.Partial
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.live(&busy{step: 1000})
	for range maxStreams {
		if !s.pages.streams.enter() {
			t.Fatal("no room")
		}
	}
	if w := s.page("/live"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("one more: %d", w.Code)
	}
	if w := s.page("/live?once"); w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("asking once: %d %s", w.Code, w.Header())
	}
	s.pages.streams.leave()
	server, answer := s.watch(t)
	if answer.StatusCode != 200 {
		t.Fatalf("after one has left: %d", answer.StatusCode)
	}
	// Leaving frees the place.
	answer.Body.Close()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if s.pages.streams.enter() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of a browser that has left is not free")
		}
	}
	_ = server
}

// A stop does not wait for pages that are open.
func TestStreamsEndWithTheServer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.live(&busy{step: 1000})
	s.pages.pace = time.Hour
	server, answer := s.watch(t)
	next := events(t, answer)
	if _, _, _, ok := next(); !ok {
		t.Fatal("nothing came")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := server.Config.Shutdown(ctx); err != nil {
		t.Errorf("the stop was held up: %v", err)
	}
	if _, _, _, ok := next(); ok {
		t.Error("there was more to say")
	}
	s.pages.EndStreams() // once more
	if w := s.page("/live"); w.Code != 503 {
		t.Errorf("a stream after the end: %d", w.Code)
	}
}

func TestOverview(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if body := s.page("").Body.String(); !strings.Contains(body, "The first device") || strings.Contains(body, "The first message") {
		t.Errorf("an empty domain does not teach the first step: %s", body)
	}
	s.fleet(1)
	if body := s.page("").Body.String(); !strings.Contains(body, "The first message") || strings.Contains(body, "The first device") {
		t.Errorf("a quiet domain does not teach the next step: %s", body)
	}
	s.live(&busy{step: 1000})
	body := s.page("").Body.String()
	for _, want := range []string{`data-now="messages">3.4<`, `data-now="devices">2<`, "right_missing", "Give it the right.", "The charts need a script", `href="/domains/plant/refusals?reason=right_missing"`} {
		if !strings.Contains(body, want) {
			t.Errorf("there is no %q: %s", want, body)
		}
	}
	if strings.Contains(body, "The first message") {
		t.Error("a busy domain is taught")
	}
	if w := s.page("/health"); w.Code != 200 || !strings.Contains(w.Body.String(), "Nothing is the matter") {
		t.Errorf("health: %d %s", w.Code, w.Body)
	}
	if w := s.page("/health?kind=weather"); w.Code != 400 {
		t.Errorf("health of an unknown kind: %d", w.Code)
	}
}

// Whom the doors refused: which device, why, and where that is explained.
func TestRefusalsPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if body := s.page("/refusals").Body.String(); !strings.Contains(body, "No door has refused a device of this domain lately") {
		t.Errorf("of nothing: %s", body)
	}
	id := string(s.fleet(1)[0])
	s.live(&busy{device: registry.DeviceID(id)})
	for path, want := range map[string][]string{
		"/refusals":                       {"pump-000000", "/domains/plant/devices/" + id, "explain?client_id=" + id + "&amp;topic=m%2fa", "m/a&amp;b/&#34;&lt;script&gt;", "Give it the right."},
		"/refusals?reason=%3Cb%3Eweather": {"For <code>&lt;b&gt;weather</code> alone", "No door has refused a device of this domain for this reason"},
	} {
		w := s.page(path)
		for _, part := range want {
			if w.Code != 200 || !strings.Contains(w.Body.String(), part) {
				t.Errorf("%s: %d, there is no %q: %s", path, w.Code, part, w.Body)
			}
		}
	}
}

// A script that asks for a piece of a page is not sent to sign in: it would put
// that page where the piece was.
func TestPieceOfNobody(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.api.Open = false
	at := "?name=pump"
	if w := s.get(at); w.Code != http.StatusSeeOther {
		t.Errorf("a browser: got %d, want to be sent to sign in", w.Code)
	}
	if w := s.do("GET", at, "", "", "HX-Request", "true"); w.Code != http.StatusUnauthorized {
		t.Errorf("a script: got %d, want 401", w.Code)
	}
}

// A device's page is told what has changed, and nothing when nothing has.
func TestLiveDevice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.live(&busy{})
	at := "/" + string(s.fleet(1)[0])
	body := s.get(at).Body.String()
	was := regexp.MustCompile(`data-was="(\w+)"`).FindStringSubmatch(body)
	if was == nil {
		t.Fatal("the page asks for no news")
	}
	if !strings.Contains(body, "m/a&amp;b/&#34;&lt;script&gt;") || strings.Contains(body, `"<script>`) {
		t.Errorf("the topic is not text: %s", body)
	}
	if !strings.Contains(body, "topic=m%2fa%26b%2f%22%3cscript%3e&amp;action=publish") {
		t.Errorf("explain is not asked about the topic: %s", body)
	}
	once := at + "/live?once&was=" + was[1]
	if w := s.get(once); w.Code != http.StatusNoContent {
		t.Errorf("nothing has changed: %d %s", w.Code, w.Body)
	}
	turns := &turning{busy: &busy{}}
	s.live(turns)
	answer := s.listen(t, s.serve(t), "/devices"+at+"/live?was="+was[1])
	if kind := answer.Header.Get("Content-Type"); answer.StatusCode != 200 || kind != "text/event-stream" {
		t.Fatalf("got %d %s", answer.StatusCode, kind)
	}
	lines := bufio.NewReader(answer.Body)
	for range 3 { // it is told that the server is there, and no more
		if line, err := lines.ReadString('\n'); err != nil || line != ":\n" {
			t.Fatalf("got %q, %v", line, err)
		}
		if line, err := lines.ReadString('\n'); err != nil || line != "\n" {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	turns.quiet.Store(true)
	answer.Body = io.NopCloser(lines)
	next := events(t, answer)
	var n deviceNews
	word, id, data, _ := next()
	for data == "" { // a beat that was on its way
		word, id, data, _ = next()
	}
	if err := json.Unmarshal([]byte(data), &n); word != "" || id != n.Was || err != nil || n.Was == was[1] {
		t.Fatalf("got %q %q %q, %v", word, id, data, err)
	}
	if !strings.HasPrefix(strings.TrimSpace(n.HTML), `<section`) || !strings.Contains(n.HTML, "No door has refused it lately") || strings.Contains(n.HTML, "script&gt;") {
		t.Errorf("the refusals are forgotten: %s", n.HTML)
	}
	if w := s.get(once); w.Code != 200 || w.Header().Get("Content-Type") != "application/json" || strings.TrimSpace(w.Body.String()) != data {
		t.Errorf("who asks once gets %d %s, not %s", w.Code, w.Body, data)
	}
	// Who comes again has it; a device that is gone ends it.
	again := s.listen(t, s.serve(t), "/devices"+at+"/live?was="+was[1], "Last-Event-ID", n.Was)
	if line, err := bufio.NewReader(again.Body).ReadString('\n'); err != nil || line != ":\n" {
		t.Errorf("who comes again gets %q, %v", line, err)
	}
	if err := s.registry.DeleteDevice(t.Context(), s.domain.ID, registry.DeviceID(at[1:])); err != nil {
		t.Fatal(err)
	}
	for word != "over" {
		var ok bool
		if word, _, data, ok = next(); !ok {
			t.Fatal("it ended without a word")
		}
	}
	if data != "You may not see this any more." {
		t.Errorf("the page is told %q", data)
	}
}

// turning is a busy gateway that forgets.
type turning struct {
	*busy
	quiet atomic.Bool
}

func (g *turning) Refusals(ctx context.Context, q adapters.RefusalQuery) ([]adapters.Refusal, error) {
	if g.quiet.Load() {
		return nil, nil
	}
	return g.busy.Refusals(ctx, q)
}

// Every reason for which a device may be refused is told in words.
func TestReasonsHaveWords(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../../registry/reason.go")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(source), "// Who are you, person?")
	_, after, ok2 := strings.Cut(rest, "// May you?")
	if !ok || !ok2 {
		t.Fatal("the list of reasons is not divided as it was")
	}
	all := regexp.MustCompile(`Reason = "(\w+)"`).FindAllStringSubmatch(before+after, -1)
	if len(all) < 30 {
		t.Fatalf("%d reasons are found", len(all))
	}
	for _, found := range all {
		if why(found[1]) == found[1] {
			t.Errorf("%s has no words", found[1])
		}
	}
}

// BenchmarkOverview shows the first page of a domain with 100,000 devices, and
// what an open page asks in each step.
func BenchmarkOverview(b *testing.B) {
	s := siteOn(b, filepath.Join(b.TempDir(), "postern.db"))
	s.fleet(100_000)
	s.live(&busy{step: 1000})
	for name, path := range map[string]string{"page": "", "health": "/health?kind=secret_old", "step": "/live?once"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if w := s.page(path); w.Code != http.StatusOK {
					b.Fatalf("%d: %s", w.Code, w.Body)
				}
			}
		})
	}
}
