package api

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postern-io/postern/registry"
)

func TestSecretIsShownOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := "/" + string(s.domain.ID)
	w := s.do("POST", d+"/clients", s.owner, object{"name": "p"})
	made := decode[Client](t, w)
	if len(made.Credentials.Secret) != 43 {
		t.Fatalf("no secret in %s", w.Body)
	}
	if got := w.Header().Get("Location"); got != "/api"+d+"/clients/"+made.ID {
		t.Errorf("Location: %q", got)
	}
	client := d + "/clients/" + made.ID
	rotated := decode[Client](t, s.do("PATCH", client+"/secret", s.owner, object{"overlap": "1h"}))
	if rotated.Credentials.Secret == "" || rotated.Credentials.Secret == made.Credentials.Secret {
		t.Error("rotation shows no new secret")
	}
	held := decode[SecretPage](t, s.do("GET", client+"/secrets", s.owner, nil))
	if held.Total != 2 || held.Secrets[0].ExpiresAt != nil || held.Secrets[1].ExpiresAt == nil || held.Secrets[0].LastUsed != nil {
		t.Errorf("the secrets are %+v, want the new one, and the old one with its end", held)
	}
	for _, w := range []string{
		s.do("GET", client, s.owner, nil).Body.String(), s.do("GET", client+"/secrets", s.owner, nil).Body.String(), s.do("GET", d+"/clients", s.owner, nil).Body.String(),
		s.do("PATCH", client, s.owner, object{"name": "q"}).Body.String(), s.do("POST", client+"/disable", s.owner, nil).Body.String(),
		s.log.String(),
	} {
		if strings.Contains(w, made.Credentials.Secret) || strings.Contains(w, rotated.Credentials.Secret) || strings.Contains(w, `"secret"`) {
			t.Errorf("a secret in %.300s", w)
		}
	}
	s.do("PATCH", client+"/secret", s.owner, object{"secret": 98765432109876543})
	if strings.Contains(s.log.String(), "98765432109876543") {
		t.Error("a secret of the wrong type stands in the log")
	}
	for _, bad := range []object{{"secret": "short"}, {"overlap": "soon"}, {"overlap": "-1h"}, {"overlap": "9999h"}} {
		if w := s.do("PATCH", client+"/secret", s.owner, bad); w.Code != 400 || strings.Contains(w.Body.String(), "short ") {
			t.Errorf("%v: got %d %s", bad, w.Code, w.Body)
		}
	}
}

func TestSearchTellsNamesAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.do("GET", "/users/search?username=own", s.stranger, nil)
	p := decode[UserPage](t, w)
	if p.Total != 1 || p.Users[0].Credentials.Username != "owner" || p.Users[0].Email != "" || p.Users[0].Role != "" {
		t.Errorf("got %s", w.Body)
	}
}

// TestCrossSiteChanges is C55.
func TestCrossSiteChanges(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := func(r *http.Request) {
		r.Header.Del("Authorization")
		r.AddCookie(&http.Cookie{Name: "__Host-at", Value: s.owner})
	}
	for _, c := range []struct {
		name  string
		token string
		edits []func(*http.Request)
		want  int
	}{
		{"takes a cookie from the same origin", "", []func(*http.Request){cookie, set("Sec-Fetch-Site", "same-origin")}, 201},
		{"takes a cookie from outside a browser", "", []func(*http.Request){cookie}, 201},
		{"refuses a cookie from another site", "", []func(*http.Request){cookie, set("Sec-Fetch-Site", "cross-site")}, 403},
		{"refuses a cookie from the same site", "", []func(*http.Request){cookie, set("Sec-Fetch-Site", "same-site")}, 403},
		{"refuses a cookie with another origin", "", []func(*http.Request){cookie, set("Origin", "https://evil.example")}, 403},
		{"takes a token from anywhere", s.owner, []func(*http.Request){set("Sec-Fetch-Site", "cross-site"), set("Origin", "https://app.example")}, 201},
		{"takes the token, not the cookie, when both are there", "x", []func(*http.Request){func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "__Host-at", Value: s.owner}) }}, 401},
		{"knows no other cookie", "", []func(*http.Request){func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "at", Value: s.owner}) }}, 401},
	} {
		if w := s.do("POST", "/domains", c.token, object{"name": "x"}, c.edits...); w.Code != c.want {
			t.Errorf("it %s: got %d, want %d: %s", c.name, w.Code, c.want, w.Body)
		}
	}
}

func set(key, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(key, value) }
}

// TestHeaders is C56 for the API.
func TestHeaders(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, w := range []struct{ path, token string }{{"/users/profile", s.owner}, {"/users/profile", ""}, {"/nothing/here", ""}, {"/openapi.yaml", ""}} {
		h := s.do("GET", w.path, w.token, nil, func(r *http.Request) { r.TLS = &tls.ConnectionState{} }).Header()
		for key, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
			"Content-Security-Policy":   "default-src 'none'; frame-ancestors 'none'",
			"Strict-Transport-Security": "max-age=31536000",
		} {
			if h.Get(key) != want {
				t.Errorf("%s: %s: %q", w.path, key, h.Get(key))
			}
		}
		if h.Get("X-Request-Id") == "" {
			t.Errorf("%s: no X-Request-Id", w.path)
		}
	}
}

// C64: every error has a word of the closed list and a request id, and never a
// trace of what is inside.
func TestErrorsAreAlwaysJSON(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := "/" + string(s.domain.ID)
	for _, c := range []struct {
		name, method, path string
		body               any
		status             int
		word               string
	}{
		{"no such path", "GET", "/x/y/z", nil, 404, "record_not_found"},
		{"no such method", "PUT", "/users", nil, 405, "method_not_allowed"},
		{"no such method in a domain", "DELETE", d + "/clients", nil, 405, "method_not_allowed"},
		{"a body too large", "POST", d + "/clients", `{"name":"` + strings.Repeat("x", maxBody) + `"}`, 413, "too_large"},
		{"two values", "POST", d + "/clients", `{} {}`, 400, "malformed_request"},
		{"a list for an object", "POST", d + "/clients", `[]`, 400, "malformed_request"},
		{"deep nesting", "POST", d + "/clients", `{"metadata":` + strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9001), 400, "record_invalid"},
		{"too many at once", "POST", d + "/clients/bulk", slices.Repeat([]object{{}}, registry.MaxBulk+1), 400, "record_invalid"},
		{"none at once", "POST", d + "/clients/bulk", []object{}, 400, "record_invalid"},
		{"a limit beyond the largest page", "GET", d + "/clients?limit=101", nil, 400, "record_invalid"},
		{"an odd order", "GET", d + "/clients?order=secret", nil, 400, "record_invalid"},
		{"odd metadata", "GET", d + "/clients?metadata=[1]", nil, 400, "record_invalid"},
		{"an odd status", "GET", d + "/clients?status=x", nil, 400, "record_invalid"},
		{"an odd connection type", "POST", d + "/channels/connect", object{"client_ids": []string{string(s.client.ID)}, "channel_ids": []string{string(s.channel.ID)}, "types": []string{"read"}}, 400, "record_invalid"},
		{"no connection type", "POST", d + "/channels/connect", object{"client_ids": []string{string(s.client.ID)}, "channel_ids": []string{string(s.channel.ID)}}, 400, "record_invalid"},
		{"a taken route on update", "PATCH", "/domains/" + string(s.domain.ID), object{"route": s.route("other")}, 409, "record_exists"},
	} {
		w := s.do(c.method, c.path, s.owner, c.body)
		if e := decode[Error](t, w); w.Code != c.status || string(e.Error) != c.word || e.RequestID == "" {
			t.Errorf("%s: got %d %.200s, want %d %s", c.name, w.Code, w.Body, c.status, c.word)
		}
	}
}

func (s *site) route(name string) string {
	s.t.Helper()
	d, err := s.api.Registry.CreateDomain(s.t.Context(), "", registry.Domain{Name: name})
	if err != nil {
		s.t.Fatal(err)
	}
	return d.Route
}

// TestOurFailures: 503 when the database is away, 500 when we break, and
// neither tells a stranger why.
func TestOurFailures(t *testing.T) {
	t.Parallel()
	t.Run("the database is away", func(t *testing.T) {
		t.Parallel()
		for _, op := range operations(t) {
			if op.id == "viewSpecification" || op.id == "viewProfile" || op.id == "viewConfig" { // asks no database
				continue
			}
			s := newSite(t)
			r := s.good()[op.id]()
			if r.token != "" && !strings.Contains(op.path, "/tokens/") {
				s.do("GET", "/users/profile", r.token, nil) // the session is known in memory
			}
			s.store.Close()
			w := s.do(op.method, r.path, r.token, r.body)
			if e := decode[Error](t, w); w.Code != 503 || e.Error != ErrorErrorUnavailable || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "database") {
				t.Errorf("%s: got %d %s", op.id, w.Code, w.Body)
			}
		}
	})
	t.Run("a panic", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.api.Live = nil
		w := s.do("GET", "/"+string(s.domain.ID)+"/clients/"+string(s.client.ID)+"/sessions", s.owner, nil)
		if e := decode[Error](t, w); w.Code != 500 || e.Error != ErrorErrorAPIResourceError || strings.Contains(w.Body.String(), "nil") {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
		if id := w.Header().Get("X-Request-Id"); !strings.Contains(s.log.String(), id) {
			t.Error("the log does not have the request id")
		}
	})
}

func TestListEnvelope(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := "/" + string(s.domain.ID)
	for i := range 12 {
		s.do("POST", d+"/clients", s.owner, object{"name": fmt.Sprintf("n%02d", i), "metadata": object{"big": 12345678901234567}, "tags": []string{"t"}})
	}
	w := s.do("GET", d+"/clients?offset=10&limit=5&order=name&dir=asc&tag=t&metadata=%7B%22big%22%3A12345678901234567%7D", s.owner, nil)
	p := decode[map[string]any](t, w)
	if keys := slices.Sorted(maps.Keys(p)); !slices.Equal(keys, []string{"clients", "limit", "offset", "total"}) {
		t.Errorf("keys: %v", keys)
	}
	if p["total"] != 12.0 || p["offset"] != 10.0 || p["limit"] != 5.0 || len(p["clients"].([]any)) != 2 {
		t.Errorf("got %s", w.Body)
	}
	if !strings.Contains(w.Body.String(), "12345678901234567") {
		t.Error("a large number in metadata lost digits")
	}
	all := decode[ClientPage](t, s.do("GET", d+"/clients?limit=100", s.owner, nil))
	for i, path := 0, d+"/clients?limit=1"; ; i++ {
		page := decode[ClientPage](t, s.do("GET", path, s.owner, nil))
		if len(page.Clients) != 1 || page.Clients[0].ID != all.Clients[i].ID || page.Total != all.Total-i {
			t.Fatalf("the page that is next, number %d: %+v", i, page)
		}
		if page.Next == "" {
			if i != all.Total-1 {
				t.Errorf("the walk ends at %d of %d", i, all.Total)
			}
			break
		}
		path = d + "/clients?limit=1&after=" + page.Next
	}
	for _, query := range []string{"after=x", "after=1.x", "after=x." + string(s.client.ID), "after=1." + string(s.client.ID) + "&offset=1", "after=1." + string(s.client.ID) + "&order=name"} {
		if w := s.do("GET", d+"/clients?"+query, s.owner, nil); w.Code != 400 || !strings.Contains(w.Body.String(), "after") {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	if w := s.do("GET", d+"/clients?offset=99", s.owner, nil); !strings.Contains(w.Body.String(), `"clients":[]`) {
		t.Errorf("a page beyond the end: %s", w.Body)
	}
}

// TestGeneratedTypesAreFresh: types.gen.go is what openapi.yaml makes.
func TestGeneratedTypesAreFresh(t *testing.T) {
	if testing.Short() {
		t.Skip("short: builds the generator")
	}
	t.Parallel()
	config, err := os.ReadFile("oapi-codegen.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out, temp := filepath.Join(t.TempDir(), "types.go"), filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(temp, []byte(strings.Replace(string(config), "types.gen.go", out, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "tool", "oapi-codegen", "-config", temp, "openapi.yaml")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("types.gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("types.gen.go is not what openapi.yaml makes: run go generate ./adapters/api")
	}
}
