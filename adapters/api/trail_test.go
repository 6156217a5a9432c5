package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// trail returns the events of an action, the newest first.
func (s *site) trail(q registry.AuditQuery) []registry.AuditEvent {
	s.t.Helper()
	q.Limit = registry.MaxPage
	list, err := s.store.Audit(s.t.Context(), q)
	if err != nil {
		s.t.Fatal(err)
	}
	return list.Items
}

// audited returns the last event of an action.
func (s *site) audited(action string) registry.AuditEvent {
	s.t.Helper()
	if action == "sign-in" { // people of a site are there without one
		if err := s.store.InsertAudit(s.t.Context(), registry.AuditEvent{ID: registry.AuditID(uuid.NewString()), At: s.api.Users.Now(), Action: action,
			Outcome: registry.AuditDone, Actor: s.users["viewer"].ID, Details: registry.Metadata{"steps": []any{"it is a test"}}}); err != nil {
			s.t.Fatal(err)
		}
	}
	events := s.trail(registry.AuditQuery{Action: action})
	if len(events) == 0 {
		s.t.Fatalf("no %s in the audit trail", action)
	}
	return events[0]
}

// Every operation that may change something has a word in the trail, or is one
// that authn tells of.
func TestEveryChangeHasAWord(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, rt := range append(slices.Clone(routes), oauthRoute) {
		name := rt.method + " " + rt.pattern
		used[name] = true
		switch word := rt.word(); {
		case rt.method == http.MethodGet && word != "":
			t.Errorf("%s changes nothing and is called %s", name, word)
		case rt.method != http.MethodGet && (word != "") == toldElsewhere[name]:
			t.Errorf("%s is told by %q, elsewhere: %v; want one of them", name, word, toldElsewhere[name])
		}
	}
	for name := range words {
		if !used[name] {
			t.Errorf("%s has a word and no route", name)
		}
	}
	for name := range toldElsewhere {
		if !used[name] {
			t.Errorf("%s is told elsewhere and has no route", name)
		}
	}
}

func TestChangesAreAudited(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	viewer := string(s.users["viewer"].ID)
	agent := set("User-Agent", "the test")
	w := s.do("PATCH", "/users/"+viewer+"/role", s.owner, object{"role": "editor"}, agent)
	want := registry.AuditEvent{Action: "user.role", Outcome: "done", Actor: s.users["owner"].ID, ActorName: "owner", Object: viewer,
		Provider: "local", IP: "192.0.2.1", UserAgent: "the test", Request: w.Header().Get("X-Request-Id"), Details: registry.Metadata{}}
	got := s.audited("user.role")
	want.ID, want.At = got.ID, got.At
	if g, h := asJSON(t, got), asJSON(t, want); g != h || got.At.IsZero() {
		t.Errorf("got  %s\nwant %s", g, h)
	}
	key := s.apiKey("owner", registry.Viewer)
	for _, c := range []struct {
		name, method, path, token string
		body                      any
		action, outcome           string
		reason                    registry.Reason
		object, domain            string
	}{
		{"tells what was made", "POST", "/" + string(s.domain.ID) + "/clients", s.owner, object{"name": "p"}, "client.create", "done", "", "made", string(s.domain.ID)},
		{"tells of the inner noun", "DELETE", "/" + s.domain.Route + "/clients/" + string(s.client.ID), s.owner, nil, "client.delete", "done", "", string(s.client.ID), string(s.domain.ID)},
		{"tells of what was refused", "POST", "/users/" + viewer + "/disable", s.editor, nil, "user.state", "refused", registry.ReasonRole, viewer, ""},
		{"tells of what breaks a rule", "POST", "/domains", s.owner, object{"name": strings.Repeat("x", 2000)}, "domain.create", "refused", registry.ReasonMalformed, "", ""},
		{"tells of a key that asks too much", "POST", "/users/keys", key.text, object{"name": "x", "role": "viewer"}, "key.create", "refused", "", "", ""},
		{"tells of a session ended", "DELETE", "/users/sessions", s.stranger, nil, "session.end-all", "done", "", "", ""},
	} {
		w := s.do(c.method, c.path, c.token, c.body)
		e := s.audited(c.action)
		if c.object == "made" {
			c.object = decode[Client](t, w).ID
		}
		if e.Outcome != c.outcome || e.Reason != c.reason || e.Object != c.object || string(e.Domain) != c.domain || e.Request != w.Header().Get("X-Request-Id") {
			t.Errorf("it %s: got %+v", c.name, e)
		}
	}
	if e := s.audited("key.create"); e.Details["api_key"] != string(key.ID) || e.Provider != authn.APIKeyProvider {
		t.Errorf("of a key: %+v", e)
	}
	before := len(s.trail(registry.AuditQuery{}))
	s.do("GET", "/users", s.owner, nil)
	s.do("DELETE", "/users/"+viewer, "", nil)
	s.do("DELETE", "/users/"+viewer, "not.a.token", nil)
	if after := len(s.trail(registry.AuditQuery{})); after != before {
		t.Errorf("a look, or a stranger, left %d events", after-before)
	}
	s.do("POST", "/users", "", object{"credentials": object{"username": "newcomer", "secret": goodPassword}})
	if e := s.audited("user.register"); e.Actor != "" || e.Outcome != "done" || e.Object == "" {
		t.Errorf("of a stranger who registered: %+v", e)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A change that was made is answered as made, though it could not be told.
func TestTrailAway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.api.Audit = brokenTrail{s.store}
	if w := s.do("POST", "/domains", s.owner, object{"name": "x"}); w.Code != 201 || !strings.Contains(s.log.String(), "audit trail not written") {
		t.Errorf("got %d\n%s", w.Code, s.log)
	}
}

type brokenTrail struct{ AuditTrail }

func (brokenTrail) InsertAudit(context.Context, registry.AuditEvent) error {
	return registry.ErrUnavailable
}

// C63: after every operation has run, with a canary wherever a secret can be,
// none is in the trail.
func TestNoSecretsInTheTrail(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const canary = "canary-canary-canary-canary"
	ops := operations(t)
	var tokens []string
	for _, op := range ops {
		good, known := s.good()[op.id]
		if !known || slices.Contains([]string{"deleteDomain", "freezeDomain", "updateUserUsername"}, op.id) { // a user name is no secret
			continue
		}
		r := good()
		tokens = append(tokens, r.token)
		for _, body := range []any{r.body, put(r.body, canary)} {
			w := s.do(op.method, r.path, r.token, body)
			for _, key := range []string{"access_token", "refresh_token", "secret"} {
				var o object
				if json.Unmarshal(w.Body.Bytes(), &o) == nil {
					if text, ok := o[key].(string); ok {
						tokens = append(tokens, text)
					}
				}
			}
		}
		if r.token == s.owner { // some operations end the owner's sessions
			s.owner = s.signIn(s.users["owner"].ID).Access
		}
	}
	s.do("POST", "/users/tokens/issue", "", object{"username": "owner", "password": canary})
	s.do("POST", "/sessions", "", object{"api_key": s.api.AppKey, "session": object{"username": "owner", "password": canary}})
	s.form("grant_type=client_credentials&client_id=x&client_secret=pst_aaaaaaaa_" + strings.Repeat("A", 43))
	s.form("grant_type=refresh_token&refresh_token=" + canary)
	tokens = append(tokens, canary, goodPassword, "pst_aaaaaaaa_AAAA", s.client.Secret.Reveal())
	page := registry.AuditQuery{Limit: registry.MaxPage}
	n := 0
	for ; ; page.Offset += page.Limit {
		list, err := s.store.Audit(t.Context(), page)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			n++
			text := asJSON(t, e)
			for _, secret := range tokens {
				if secret != "" && strings.Contains(text, secret) {
					t.Errorf("%s holds the secret %.12s…: %.300s", e.Action, secret, text)
				}
			}
		}
		if len(list.Items) == 0 {
			break
		}
	}
	if n < 50 {
		t.Errorf("only %d events", n)
	}
}

func TestAuditIsSearched(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	viewer := string(s.users["viewer"].ID)
	w := s.do("PATCH", "/users/"+viewer+"/role", s.owner, object{"role": "editor"})
	s.do("PATCH", "/users/"+viewer+"/tags", s.admin, object{"tags": []string{"x"}})
	s.do("POST", "/users/"+viewer+"/disable", s.stranger, nil)
	for query, want := range map[string]int{
		"": 3, "action=user.": 3, "action=user.role": 1, "action=user": 0, "outcome=refused": 1, "actor=" + string(s.users["admin"].ID): 1,
		"object=" + viewer: 3, "object=x": 0, "provider=local": 3, "provider=ldap": 0, "ip=192.0.2.1": 3, "request=" + w.Header().Get("X-Request-Id"): 1,
		"domain=" + string(s.domain.ID): 0, "from=2100-01-01T00:00:00Z": 0, "to=2020-01-01T00:00:00Z": 0, "limit=1": 3, "offset=2": 3,
	} {
		w := s.do("GET", "/audit?"+query, s.admin, nil)
		if p := decode[AuditPage](t, w); w.Code != 200 || p.Total != want {
			t.Errorf("%q: got %d %.200s, want %d events", query, w.Code, w.Body, want)
		}
	}
	for _, query := range []string{"outcome=maybe", "from=yesterday", "to=1", "limit=101", "offset=-1"} {
		if w := s.do("GET", "/audit?"+query, s.admin, nil); w.Code != 400 {
			t.Errorf("%s: got %d", query, w.Code)
		}
	}
	e := s.audited("sign-in")
	if got := decode[AuditEvent](t, s.do("GET", "/audit/"+string(e.ID), s.admin, nil)); asJSON(t, got.Details) != `{"steps":["it is a test"]}` {
		t.Errorf("the details: %+v", got)
	}
	if w := s.do("GET", "/audit?action=sign-in", s.admin, nil); strings.Contains(w.Body.String(), "it is a test") {
		t.Error("the list tells details")
	}
}

// A role that a person gives stays, whatever groups say later.
func TestRoleByAPersonHasNoOtherSource(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	id := s.users["viewer"].ID
	if _, err := s.api.Registry.UpdateUser(t.Context(), "", id, func(u *registry.User) error { u.RoleSource = "ldap"; return nil }); err != nil {
		t.Fatal(err)
	}
	s.do("PATCH", "/users/"+string(id)+"/role", s.owner, object{"role": "editor"})
	if u, err := s.store.User(t.Context(), id); err != nil || u.RoleSource != "" || u.Role != registry.Editor {
		t.Errorf("got %+v, %v", u, err)
	}
}
