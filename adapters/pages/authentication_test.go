package pages

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/postern-io/postern/adapters/api"
)

func TestRowsOfAMap(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``: ``, `{`: ``, `[]`: ``, `{"ops":"admin","all":"viewer"}`: `{"all":"viewer","ops":"admin"}`,
		`{"a":["Viewer","EDITOR"],"b":"nobody","":"viewer"}`: `{"":"viewer","a":"editor","b":""}`, `{"<b>\"":"owner"}`: `{"\u003cb\u003e\"":"owner"}`,
	} {
		if got := mapOf(rowsOf(text)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// What a form does not have stays as it is, and so does what it has unchanged.
func TestChangesOfAForm(t *testing.T) {
	t.Parallel()
	view := wayView{wayCard: wayCard{AuthenticationWay: api.AuthenticationWay{Key: "jwt", Settings: []api.AuthenticationSetting{
		{Name: "on", Kind: "switch", Value: "true", Default: "false"},
		{Name: "uri", Kind: "text", Value: "https://idp.example/"},
		{Name: "email", Kind: "text", Value: "mail", Default: "email"},
		{Name: "key", Kind: "secret", Set: true},
		{Name: "map", Kind: "roles", Value: `{ "ops" : ["admin"] }`},
		{Name: "scopes", Kind: "list", Value: "openid,mail"},
		{Name: "file", Kind: "text", Value: "a", Locked: "set elsewhere"},
		{Name: "broken", Kind: "text", Value: "x", Default: "x", Wrong: "cannot be read"},
	}}}}
	nothing := (*string)(nil)
	text := func(s string) *string { return &s }
	for name, test := range map[string]struct {
		sent url.Values
		want map[string]*string
	}{
		"nothing":                      {url.Values{}, map[string]*string{"broken": nothing}},
		"all unchanged":                {url.Values{"shown": {"on"}, "on": {"true"}, "uri": {" https://idp.example/ "}, "key": {""}, "map-group": {"ops", ""}, "map-role": {"admin", "viewer"}, "scopes": {"openid, mail"}, "broken": {"x"}}, map[string]*string{"broken": nothing}},
		"a switch off":                 {url.Values{"shown": {"on"}}, map[string]*string{"on": nothing, "broken": nothing}},
		"back to the default":          {url.Values{"email": {"email"}}, map[string]*string{"email": nothing, "broken": nothing}},
		"another value":                {url.Values{"uri": {"https://other.example/"}, "broken": {"y"}}, map[string]*string{"uri": text("https://other.example/"), "broken": text("y")}},
		"a secret":                     {url.Values{"key": {"new "}}, map[string]*string{"key": text("new "), "broken": nothing}},
		"no secret any more":           {url.Values{"key": {""}, "key-drop": {"1"}}, map[string]*string{"key": nothing, "broken": nothing}},
		"no mapping any more":          {url.Values{"map-group": {"", " "}, "map-role": {"admin", "admin"}}, map[string]*string{"map": nothing, "broken": nothing}},
		"another role":                 {url.Values{"map-group": {"ops"}, "map-role": {"viewer"}}, map[string]*string{"map": text(`{"ops":"viewer"}`), "broken": nothing}},
		"a group without its role":     {url.Values{"map-group": {"ops", "x"}, "map-role": {"admin"}}, map[string]*string{"broken": nothing}},
		"what is locked is left alone": {url.Values{"file": {"b"}}, map[string]*string{"broken": nothing}},
	} {
		v := &visit{r: &http.Request{PostForm: test.sent}}
		got, err := v.changes(view)
		if err != nil || len(got) != len(test.want) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
		for key, want := range test.want {
			has, there := got[key]
			if !there || (has == nil) != (want == nil) || has != nil && *has != *want {
				t.Errorf("%s: %s is %v", name, key, has)
			}
		}
	}
	v := &visit{r: &http.Request{PostForm: url.Values{"map-group": {"a", "a "}, "map-role": {"viewer", "admin"}}}}
	if _, err := v.changes(view); err == nil {
		t.Error("a group that is named twice is taken")
	}
}
