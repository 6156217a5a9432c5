package pages

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/postern-io/postern/adapters/api"
)

func TestDangerAsksForTheName(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]bool{"ann": true, "Ann": false, "": false, "ann ": false} {
		v := &visit{r: &http.Request{PostForm: url.Values{"confirm": {typed}}}}
		if err := v.named("ann"); (err == nil) != want {
			t.Errorf("%q: got %v", typed, err)
		}
	}
}

// Who must sign in again comes back to the page that the form stood on, and to no
// other site.
func TestPageOfAForm(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ method, referer, want string }{
		{"GET", "", "/settings/account/key?x=1"},
		{"POST", "https://postern.example/settings/account?done=saved", "/settings/account?done=saved"},
		{"POST", "https://evil.example/settings/account", "/"},
		{"POST", "https://postern.example//evil.example", "/"},
		{"POST", "", "/"},
	} {
		r := httptest.NewRequest(test.method, "https://postern.example/settings/account/key?x=1", nil)
		r.Header.Set("Referer", test.referer)
		if got := (&visit{r: r}).page(); got != test.want {
			t.Errorf("%s from %q: got %q, want %q", test.method, test.referer, got, test.want)
		}
	}
}

// What was typed comes back with what is wrong, but for passwords.
func TestPasswordDoesNotComeBack(t *testing.T) {
	t.Parallel()
	all := parse(loadAssets())
	sent := form{Values: url.Values{"password": {"of nobody else"}, "username": {"ann"}}, Problem: &Refusal{Field: "password", Message: "is too short"}}
	for kind, name := range map[string]string{"password": "password", "text": "username"} {
		var b strings.Builder
		if err := all["account"].ExecuteTemplate(&b, "field", map[string]any{"Form": sent, "Name": name, "Label": "L", "Type": kind}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(b.String(), sent.Value(name)); got != (kind == "text") {
			t.Errorf("%s: comes back %v: %s", kind, got, b.String())
		}
	}
}

// TestLinkToAnAddress follows the link from an event to those of its address.
func TestLinkToAnAddress(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := parse(loadAssets())["event"].ExecuteTemplate(&b, "content", frame{page: page{Data: eventView{Event: api.AuditEvent{IP: "2001:db8::1"}}}}); err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`/settings/audit\?ip=[^"]*`).FindString(b.String())
	u, err := url.Parse(link)
	if err != nil || u.Query().Get("ip") != "2001:db8::1" {
		t.Errorf("the link %q leads to the address %q, %v", link, u.Query().Get("ip"), err)
	}
}
