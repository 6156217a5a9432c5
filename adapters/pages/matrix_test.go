package pages

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/postern-io/postern/registry"
)

func (s *site) channels(n int) []registry.ChannelID {
	s.t.Helper()
	made, err := s.registry.CreateChannels(s.t.Context(), "", s.domain.ID, make([]registry.Channel, n))
	if err != nil {
		s.t.Fatal(err)
	}
	ids := make([]registry.ChannelID, n)
	for i, c := range made {
		ids[i] = c.ID
	}
	return ids
}

// matrix visits the page of connections.
func (s *site) matrix(method, query string, sent url.Values, header ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), method, "http://localhost/domains/plant/connections"+query, strings.NewReader(sent.Encode()))
	r.RemoteAddr = "127.0.0.1:1"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func (s *site) rights(d registry.DeviceID, c registry.ChannelID) registry.Rights {
	s.t.Helper()
	r, err := s.store.Rights(s.t.Context(), d, c)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// TestMatrixAsksLittle: a page with hundreds of cells is a few questions.
func TestMatrixAsksLittle(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	devices, channels := s.fleet(30), s.channels(14)
	if err := s.registry.Connect(t.Context(), s.domain.ID, devices, channels, registry.Publish); err != nil {
		t.Fatal(err)
	}
	s.asked.Store(0)
	w := s.matrix("GET", "", nil)
	if w.Code != http.StatusOK || strings.Count(w.Body.String(), "<select") != matrixRows*matrixColumns || strings.Count(w.Body.String(), "<option selected>publish") != matrixRows*matrixColumns {
		t.Fatalf("got %d with %d cells, %d of them publish", w.Code, strings.Count(w.Body.String(), "<select"), strings.Count(w.Body.String(), "<option selected>publish"))
	}
	if s.asked.Load() > 5 { // who asks, the domain, devices, channels, connections
		t.Errorf("it asked %d times", s.asked.Load())
	}
	if n := w.Body.Len(); n > 150<<10 {
		t.Errorf("the page is %d bytes", n)
	}
}

func TestMatrixChangesWhatWasChanged(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	devices, channels := s.fleet(2), s.channels(2)
	for _, d := range devices {
		if err := s.registry.Connect(t.Context(), s.domain.ID, []registry.DeviceID{d}, channels, registry.Publish|registry.Subscribe); err != nil {
			t.Fatal(err)
		}
	}
	sent := url.Values{
		"device": {string(devices[0]), string(devices[1])}, "channel": {string(channels[0]), string(channels[1])},
		"was.0.0": {"both"}, "may.0.0": {"publish"},
		"was.0.1": {"both"}, "may.0.1": {"nothing"},
		"was.1.0": {"nothing"}, "may.1.0": {"nothing"}, // stale, and left alone
		"was.1.1": {"both"}, "may.1.1": {"subscribe"},
	}
	if w := s.matrix("POST", "?device=x", sent); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/domains/plant/connections?device=x&done=saved" {
		t.Fatalf("got %d to %q: %s", w.Code, w.Header().Get("Location"), w.Body)
	}
	for i, want := range []registry.Rights{registry.Publish, 0, registry.Publish | registry.Subscribe, registry.Subscribe} {
		if got := s.rights(devices[i/2], channels[i%2]); got != want {
			t.Errorf("cell %d.%d: got %v, want %v", i/2, i%2, got.Names(), want.Names())
		}
	}
	for name, test := range map[string]struct {
		device, channel, may string
		want                 int
	}{
		"a word that is none":        {string(devices[0]), string(channels[0]), "everything", 400},
		"a channel that is a path":   {string(devices[0]), "../clients", "both", 400},
		"a device that is not there": {"6f3c1f5e-0000-4000-8000-000000000000", string(channels[0]), "both", 404},
	} {
		w := s.matrix("POST", "", url.Values{"device": {test.device}, "channel": {test.channel}, "was.0.0": {"nothing"}, "may.0.0": {test.may}}, "Accept", "application/json")
		if w.Code != test.want || strings.Contains(w.Body.String(), "<") {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
}

// TestMatrixIsBounded sends a form of sixteen million cells.
func TestMatrixIsBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	many := slices.Repeat([]string{"x"}, 4_000)
	if w := s.matrix("POST", "", url.Values{"device": many, "channel": many}); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "larger than a page") {
		t.Errorf("got %d", w.Code)
	}
}

// TestMatrixSavesAllOrNothing: a device that was deleted meanwhile keeps the
// whole form from being saved. What was chosen is still chosen, to be sent again.
func TestMatrixSavesAllOrNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	devices, channels := s.fleet(2), s.channels(1)
	if err := s.registry.DeleteDevice(t.Context(), s.domain.ID, devices[1]); err != nil {
		t.Fatal(err)
	}
	w := s.matrix("POST", "", url.Values{
		"device": {string(devices[0]), string(devices[1])}, "channel": {string(channels[0])},
		"was.0.0": {"nothing"}, "may.0.0": {"subscribe"}, "was.1.0": {"nothing"}, "may.1.0": {"both"},
	})
	if body := w.Body.String(); w.Code != http.StatusNotFound || !strings.Contains(body, "Nothing was saved") || !strings.Contains(body, `name="was.0.0" value="nothing"`) || !strings.Contains(body, "<option selected>subscribe") {
		t.Errorf("got %d: %s", w.Code, body)
	}
	if got := s.rights(devices[0], channels[0]); got != 0 {
		t.Errorf("half of the form is saved: %v", got.Names())
	}
}

// TestMaysAreRights: every word stands for what it says.
func TestMaysAreRights(t *testing.T) {
	t.Parallel()
	for _, may := range mays {
		if types, known := typesOf(may); !known || mayOf(types) != may {
			t.Errorf("%s stands for %v", may, types)
		}
	}
	if _, known := typesOf(""); known {
		t.Error("nothing said is a word")
	}
}
