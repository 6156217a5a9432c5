package api

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/registry"
)

// TestRoleMatrix is C60: every operation by everybody. Who may is answered by
// its success code, who may not by 401 or 403 and nothing else.
func TestRoleMatrix(t *testing.T) {
	t.Parallel()
	needs := map[string]route{}
	for _, rt := range routes {
		needs[rt.method+" "+rt.pattern] = rt
	}
	for _, op := range operations(t) {
		rt := needs[op.method+" "+op.path]
		if rt.need == anybody {
			continue
		}
		for _, who := range []struct {
			name     string
			role     registry.Role // effective, in the domain
			platform registry.Role
		}{
			{"anonymous", 0, 0}, {"stranger", 0, 0}, {"viewer", registry.Viewer, registry.Viewer}, {"editor", registry.Editor, registry.Editor},
			{"admin", registry.Admin, registry.Admin}, {"owner", registry.Owner, registry.Owner},
			{"domain viewer", registry.Viewer, 0}, {"domain editor", registry.Editor, 0}, {"domain admin", registry.Admin, 0}, {"domain owner", registry.Owner, 0},
			{"API key", registry.Editor, registry.Editor}, {"API key of a domain owner", registry.Editor, 0}, // both with the role editor
		} {
			t.Run(op.id+"/"+who.name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				r := s.good()[op.id]()
				switch who.name {
				case "anonymous":
					r.token = ""
				case "stranger", "viewer", "editor", "admin", "owner":
					r.token = map[string]string{"stranger": s.stranger, "viewer": s.viewer, "editor": s.editor, "admin": s.admin, "owner": s.owner}[who.name]
				case "API key":
					r.token = s.apiKey("owner", registry.Editor).text
				default:
					u := s.user("member", registry.NoRole)
					r.token = s.signIn(u.ID).Access
					s.users["member"] = u
					if who.name == "API key of a domain owner" {
						s.join("member", registry.Owner)
						r.token = s.apiKey("member", who.role).text
					} else {
						s.join("member", who.role)
					}
				}
				if strings.Contains(op.path, "{user}") { // not oneself
					target := s.user("target", registry.Viewer)
					s.users["target"] = target
					if strings.HasPrefix(op.path, "/domains") {
						s.join("target", registry.Viewer)
					}
					r.path = strings.ReplaceAll(r.path, string(s.users["viewer"].ID), string(target.ID))
				}
				if op.id == "updateUserRole" {
					r.body = object{"role": "editor"}
				}
				if op.id == "addMember" {
					r.body.(object)["user_id"] = s.user("new", registry.NoRole).ID
				}
				role := who.platform
				if rt.need.InDomain() {
					role = who.role
				}
				allowed := rt.need == signedIn || rt.need.AllowedTo(role)
				w := s.do(op.method, r.path, r.token, r.body)
				s.check(op, w)
				switch {
				case who.name == "anonymous":
					if w.Code != 401 {
						t.Errorf("got %d, want 401", w.Code)
					}
				case strings.HasPrefix(who.name, "API key") && rt.need == signedIn && op.method != "GET":
					if w.Code != 403 {
						t.Errorf("a key manages an account: got %d: %s", w.Code, w.Body)
					}
				case rt.need == signedIn: // what is inside is the handler's: never a 401
					if w.Code == 401 {
						t.Errorf("got 401: %s", w.Body)
					}
				case allowed && w.Code >= 300, !allowed && w.Code != 403:
					t.Errorf("got %d, allowed: %v: %.200s", w.Code, allowed, w.Body)
				}
			})
		}
	}
}

func TestOnlyOwnersTouchOwnersAndAdmins(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	target := func(name string) string { return "/users/" + string(s.users[name].ID) }
	for _, c := range []struct {
		name, method, path, token string
		body                      any
		want                      int
	}{
		{"lets an admin disable an editor", "POST", target("editor") + "/disable", s.admin, nil, 200},
		{"refuses an admin to disable an owner", "POST", target("owner") + "/disable", s.admin, nil, 403},
		{"refuses an admin to rename an owner", "PATCH", target("owner") + "/username", s.admin, object{"username": "x"}, 403},
		{"refuses an admin to delete itself", "DELETE", target("admin"), s.admin, nil, 403},
		{"refuses an admin to make an admin", "PATCH", target("viewer") + "/role", s.admin, object{"role": "admin"}, 403},
		{"refuses an admin to make itself owner", "PATCH", target("admin") + "/role", s.admin, object{"role": "owner"}, 403},
		{"refuses an admin to register an admin", "POST", "/users", s.admin, object{"role": "admin", "credentials": object{"username": "x", "secret": goodPassword}}, 403},
		{"lets an admin register an editor", "POST", "/users", s.admin, object{"role": "editor", "credentials": object{"username": "y", "secret": goodPassword}}, 201},
		{"refuses an admin the sessions of an owner", "GET", "/users/sessions?user=" + string(s.users["owner"].ID), s.admin, nil, 403},
		{"lets anybody change their own names", "PATCH", target("stranger"), s.stranger, object{"first_name": "S"}, 200},
		{"does not let them change their own role", "PATCH", target("stranger") + "/role", s.stranger, object{"role": "viewer"}, 403},
		{"refuses strangers a role at registration", "POST", "/users", "", object{"role": "viewer", "credentials": object{"username": "z", "secret": goodPassword}}, 403},
		{"lets an owner make an owner", "PATCH", target("viewer") + "/role", s.owner, object{"role": "owner"}, 200},
	} {
		if w := s.do(c.method, c.path, c.token, c.body); w.Code != c.want {
			t.Errorf("it %s: got %d, want %d: %s", c.name, w.Code, c.want, w.Body)
		}
	}
}

// TestDemotionIsLive is C45 and C46: an old token has the rights of now.
func TestDemotionIsLive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	admin := "/users/" + string(s.users["admin"].ID)
	if w := s.do("GET", "/users", s.admin, nil); w.Code != 200 {
		t.Fatalf("admin: %d", w.Code)
	}
	s.do("PATCH", admin+"/role", s.owner, object{"role": "viewer"})
	if w := s.do("GET", "/users", s.admin, nil); w.Code != 403 {
		t.Errorf("demoted: got %d, want 403", w.Code)
	}
	s.do("POST", admin+"/disable", s.owner, nil)
	if w := s.do("GET", "/users/profile", s.admin, nil); w.Code != 401 {
		t.Errorf("disabled: got %d, want 401", w.Code)
	}
}

func TestNoGossipAcrossDomains(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	theirs, err := s.api.Registry.CreateDomain(t.Context(), s.users["stranger"].ID, registry.Domain{Name: "theirs"})
	if err != nil {
		t.Fatal(err)
	}
	same := func(name string, a, b string) {
		t.Helper()
		x, y := s.do("GET", a, s.stranger, nil), s.do("GET", b, s.stranger, nil)
		e, f := decode[Error](t, x), decode[Error](t, y)
		if x.Code != y.Code || e.Error != f.Error || e.Message != f.Message || x.Code < 400 {
			t.Errorf("%s: %d %s, and %d %s", name, x.Code, x.Body, y.Code, y.Body)
		}
	}
	same("a domain", "/domains/"+string(s.domain.ID), "/domains/"+uuid.NewString())
	same("a domain by its route", "/domains/"+s.domain.Route, "/domains/none")
	same("what is in it", "/"+string(s.domain.ID)+"/clients", "/"+uuid.NewString()+"/clients")
	same("a client of another domain", "/"+theirs.Route+"/clients/"+string(s.client.ID), "/"+theirs.Route+"/clients/"+uuid.NewString())

	w := s.do("POST", "/"+theirs.Route+"/explain", s.stranger, object{"credential": object{"secret": s.client.Secret.Reveal()}})
	if e := decode[Explanation](t, w); w.Code != 200 || e.Allowed || e.ClientID != "" || e.Reason != string(registry.ReasonUnknownDevice) {
		t.Errorf("explain tells of another domain's client: %d %s", w.Code, w.Body)
	}
	if strings.Contains(w.Body.String(), s.client.Secret.Reveal()) {
		t.Error("explain echoes a secret")
	}
	if w := s.do("GET", "/domains", s.stranger, nil); decode[DomainPage](t, w).Total != 1 {
		t.Errorf("a member lists %s", w.Body)
	}
}

func TestFrozenIsThawedByThePlatformOnly(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.join("stranger", registry.Owner)
	d := "/domains/" + string(s.domain.ID)
	for _, c := range []struct {
		path, token string
		want        int
	}{
		{"/freeze", s.stranger, 403}, {"/freeze", s.admin, 200}, {"/enable", s.stranger, 403}, {"/disable", s.stranger, 403},
		{"/enable", s.admin, 200}, {"/disable", s.stranger, 200}, {"/enable", s.stranger, 200},
	} {
		if w := s.do("POST", d+c.path, c.token, nil); w.Code != c.want {
			t.Errorf("%s: got %d, want %d: %s", c.path, w.Code, c.want, w.Body)
		}
	}
}

// TestWithoutSelfRegistration: strangers are turned away, administrators not.
func TestWithoutSelfRegistration(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.api.SelfRegister = false
	body := object{"credentials": object{"username": "x", "secret": goodPassword}}
	for token, want := range map[string]int{"": 401, s.stranger: 403, s.editor: 403, s.admin: 201} {
		if w := s.do("POST", "/users", token, body); w.Code != want {
			t.Errorf("got %d, want %d: %s", w.Code, want, w.Body)
		}
	}
}

// TestActionsAreUsed: the table of authz has no action that no route needs.
func TestActionsAreUsed(t *testing.T) {
	t.Parallel()
	used := map[authz.Action]bool{
		authz.UserRegister: true, authz.UserSessions: true, // asked by handlers
	}
	for _, rt := range routes {
		used[rt.need] = true
		if rt.need != anybody && rt.need != signedIn && !rt.need.AllowedTo(registry.Owner) {
			t.Errorf("%s %s needs %q, which is nobody's", rt.method, rt.pattern, rt.need)
		}
	}
	for _, a := range authz.Actions() {
		if !used[a] {
			t.Errorf("no route needs %s", a)
		}
	}
}
