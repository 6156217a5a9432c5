package pages

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/postern-io/postern/registry"
)

var tokenForm = regexp.MustCompile(registry.ClaimPrefix + `[\w-]{43}`)

func (s *site) claims() registry.List[registry.Claim] {
	s.t.Helper()
	all, err := s.registry.Claims(s.t.Context(), registry.ClaimQuery{Domain: s.domain.ID, Limit: 100})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// TestClaimTokens makes some, with all that a form can say, and uses one.
func TestClaimTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	channels := s.channels(2)
	if w := s.get("/claims"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "There is no claim token.") {
		t.Errorf("an empty list: got %d", w.Code)
	}
	w := s.post("/claims", url.Values{
		"count": {"3"}, "life": {"30d"}, "name": {"pump <b>"}, "tags": {"north, south"}, "metadata": {`{"n": 12345678901234567890}`},
		"channel": {string(channels[0]), "", string(channels[1])}, "may": {"publish", "both", "both"},
	})
	if w.Code != http.StatusCreated {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	tokens := map[string]int{}
	for _, token := range tokenForm.FindAllString(w.Body.String(), -1) {
		tokens[token]++
	}
	if len(tokens) != 3 || !strings.Contains(w.Body.String(), "pump &lt;b&gt;") {
		t.Errorf("%d tokens are shown: %s", len(tokens), w.Body)
	}
	for token, n := range tokens {
		if n < 2 { // to copy, and in the file
			t.Errorf("%s is shown %d times", token, n)
		}
	}
	if !strings.Contains(w.Body.String(), "\nclaim,token\n") {
		t.Error("there is no file of them")
	}
	var token string
	for token = range tokens {
		break
	}
	got, err := s.registry.UseClaim(t.Context(), registry.ClaimUse{Token: registry.SecretOf(token)})
	if err != nil {
		t.Fatal(err)
	}
	if d := got.Device; d.Name != "pump <b>" || strings.Join(d.Tags, " ") != "north south" || len(d.Metadata) != 1 {
		t.Errorf("the device is %+v", d)
	}
	if one, two := s.rights(got.Device.ID, channels[0]), s.rights(got.Device.ID, channels[1]); one != registry.Publish || two != registry.Publish|registry.Subscribe {
		t.Errorf("it may %v and %v", one, two)
	}

	list := s.get("/claims").Body.String()
	if tokenForm.MatchString(list) {
		t.Error("a token is shown again")
	}
	if !strings.Contains(list, "/devices/"+string(got.Device.ID)+`"`) {
		t.Error("the list does not lead to the device")
	}
	for status, want := range map[string]int{"open": 2, "used": 1, "expired": 0} {
		if n := strings.Count(s.get("/claims?status="+status).Body.String(), "<th scope=\"row\">"); n != want {
			t.Errorf("%s: got %d, want %d", status, n, want)
		}
	}
	for _, c := range s.claims().Items {
		if w := s.post("/claims/"+string(c.ID)+"/delete", nil); w.Code != http.StatusSeeOther {
			t.Errorf("delete: got %d", w.Code)
		}
	}
	if n := s.claims().Total; n != 0 || s.count("") != 1 {
		t.Errorf("%d claims are left, and %d devices", n, s.count(""))
	}
}

// TestClaimForAKnownDevice: the device is named as people name it.
func TestClaimForAKnownDevice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	id := s.fleet(1)[0]
	if w := s.post("/claims", url.Values{"count": {"1"}, "device": {"PUMP-000000"}}); w.Code != http.StatusCreated || !strings.Contains(w.Body.String(), "The new token") {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	if all := s.claims(); all.Total != 1 || all.Items[0].Device != id {
		t.Errorf("got %+v", all)
	}
}

// TestWrongClaims: what is wrong stands beside its field, nothing is made, and
// what was typed comes back.
func TestWrongClaims(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fleet(1)
	channel := string(s.channels(1)[0])
	for name, test := range map[string]struct {
		sent        url.Values
		field, says string
	}{
		"no number":                  {url.Values{"count": {"many"}}, "f-count", "1 to 1000"},
		"none":                       {url.Values{"count": {"0"}}, "f-count", "count must be 1 to 1000"},
		"too many":                   {url.Values{"count": {"1001"}}, "f-count", "count must be 1 to 1000"},
		"no time":                    {url.Values{"life": {"soon"}}, "f-life", "such as 7d"},
		"a time gone by":             {url.Values{"life": {"-1h"}}, "f-life", "the end must be in the future"},
		"too long a time":            {url.Values{"life": {"366d"}}, "f-life", "the end must be within a year"},
		"a time beyond all bounds":   {url.Values{"life": {"768614336404564651d"}}, "f-life", "such as 7d"},
		"too long a name":            {url.Values{"name": {strings.Repeat("x", 300)}}, "f-name", "name"},
		"too long a tag":             {url.Values{"tags": {strings.Repeat("x", 300)}}, "f-tags", "tags"},
		"no JSON":                    {url.Values{"metadata": {"x"}}, "f-metadata", "JSON object"},
		"a channel that is no id":    {url.Values{"channel": {"x"}, "may": {"both"}}, "h-channels", "channels must be ids"},
		"a channel that is not here": {url.Values{"channel": {"6f3c1f5e-0000-4000-8000-000000000000"}, "may": {"both"}}, "h-channels", "is not there"},
		"a channel twice":            {url.Values{"channel": {channel, channel}, "may": {"both", "publish"}}, "h-channels", "twice"},
		"a channel without a right":  {url.Values{"channel": {channel}}, "h-channels", "Say what"},
		"a device that is not here":  {url.Values{"device": {"valve"}}, "f-device", "No device is called that"},
		"no such id":                 {url.Values{"device": {"6f3c1f5e-0000-4000-8000-000000000000"}}, "f-device", "There is no such device"},
		"a device with a name":       {url.Values{"device": {"pump-000000"}, "name": {"x"}}, "f-device", "leave those empty"},
	} {
		if !test.sent.Has("count") {
			test.sent.Set("count", "1")
		}
		if !test.sent.Has("device") {
			test.sent.Add("tags", "kept")
		}
		w := s.post("/claims", test.sent)
		body := w.Body.String()
		if w.Code < 400 || w.Code >= 500 || !strings.Contains(body, test.says) {
			t.Errorf("%s: got %d", name, w.Code)
			continue
		}
		beside := regexp.MustCompile(`id="` + test.field + `"[^>]*aria-invalid="true"|id="` + test.field + `"><span class="wrong">`)
		if !beside.MatchString(body) {
			t.Errorf("%s: nothing stands beside %s", name, test.field)
		}
		if strings.Contains(body, `class="problem"`) {
			t.Errorf("%s: it is told of the whole form", name)
		}
		if v := test.sent.Get("tags"); !strings.Contains(body, `value="`+v+`"`) {
			t.Errorf("%s: what was typed does not come back", name)
		}
	}
	if n := s.claims().Total; n != 0 {
		t.Errorf("%d claims were made", n)
	}
	for path, want := range map[string]int{"/claims/x/delete": 404, "/claims/..%2Fclients/delete": 404, "/claims/6f3c1f5e-0000-4000-8000-000000000000/delete": 404} {
		if w := s.post(path, nil); w.Code != want {
			t.Errorf("%s: got %d, want %d", path, w.Code, want)
		}
	}
}

// TestAThousandClaims: as many as the API makes at once, all shown.
func TestAThousandClaims(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.post("/claims", url.Values{"count": {"1000"}})
	tokens := map[string]bool{}
	for _, token := range tokenForm.FindAllString(w.Body.String(), -1) {
		tokens[token] = true
	}
	if w.Code != http.StatusCreated || len(tokens) != 1000 {
		t.Errorf("got %d with %d tokens", w.Code, len(tokens))
	}
}

func TestDays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"90d": "2160h", " 1d ": "24h", "0d": "0h", "36h": "36h", "d": "d", "-1d": "-1d", "1.5d": "1.5d", "": "", "9999999999d": "9999999999d"} {
		if got := inHours(text); got != want {
			t.Errorf("%q in hours: got %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{"2160h0m0s": "90d", "36h0m0s": "36h", "90m0s": "90m0s", "": "", "x": "x"} {
		if got := inDays(text); got != want {
			t.Errorf("%q in days: got %q, want %q", text, got, want)
		}
	}
}
