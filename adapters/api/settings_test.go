package api

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// knobs are settings of which anything is right but "wrong".
type knobs struct{ r *registry.Registry }

func (k knobs) View(ctx context.Context) (AuthenticationSettings, error) {
	all, err := k.r.Settings(ctx)
	view := AuthenticationSettings{Revision: all.Revision, ChangedBy: string(all.UpdatedBy)}
	if all.Revision > 0 {
		view.ChangedAt = &all.UpdatedAt
	}
	way := AuthenticationWay{Key: "jwt", Kind: "redirect", Settings: []AuthenticationSetting{}}
	for _, s := range all.Items {
		way.Settings = append(way.Settings, AuthenticationSetting{Name: s.Name, Kind: "text", Value: s.Value, Set: true, Source: "stored"})
	}
	view.Ways = []AuthenticationWay{way}
	return view, err
}

func (k knobs) right(changes SettingChange) (change registry.SettingsChange, err error) {
	for name, value := range changes {
		switch {
		case !strings.HasPrefix(name, "auth-"):
			return change, &registry.InvalidError{Field: name, Reason: "is no setting"}
		case value == nil:
			change.Drop = append(change.Drop, name)
		case *value == "wrong":
			return change, &registry.InvalidError{Field: name, Reason: "must be right"}
		default:
			change.Put = append(change.Put, registry.Setting{Name: name, Value: *value})
		}
	}
	return change, nil
}

func (k knobs) Change(ctx context.Context, by authn.Person, revision int64, changes SettingChange, _ string) error {
	_, err := k.r.ChangeSettings(ctx, by.User.ID, revision, func(registry.Settings, registry.WayReader) (registry.SettingsChange, error) { return k.right(changes) })
	return err
}

func (k knobs) Test(ctx context.Context, way string, changes SettingChange) ([]authn.Step, error) {
	if way != "jwt" {
		return nil, &registry.InvalidError{Field: "way", Reason: "must be jwt"}
	}
	if _, err := k.r.Settings(ctx); err != nil {
		return nil, err
	}
	if _, err := k.right(changes); err != nil {
		return nil, err
	}
	return []authn.Step{{OK: true, Says: way + " answers."}, {Says: "It does not know us."}}, nil
}

func TestSettingsAreChangedByOwners(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const path = "/settings/authentication"
	change := func(revision int, changes object) object { return object{"revision": revision, "changes": changes} }
	for _, test := range []struct {
		name, token string
		body        any
		status      int
		words       string
	}{
		{"refuses an admin", s.admin, change(0, object{"auth-a": "1"}), 403, "unauthorized_access"},
		{"asks an owner of yesterday who it is", s.stale("owner"), change(0, object{"auth-a": "1"}), 403, "reauth_required"},
		{"lets an owner", s.owner, change(0, object{"auth-a": "1", "auth-b": "2"}), 200, `"revision":1`},
		{"tells who was late", s.owner, change(0, object{"auth-a": "3"}), 409, "Somebody else changed this meanwhile"},
		{"names the field", s.owner, change(1, object{"auth-a": "wrong"}), 400, `"field":"auth-a"`},
		{"keeps all or nothing", s.owner, change(1, object{"auth-b": "4", "auth-a": "wrong"}), 400, `"field":"auth-a"`},
		{"takes a setting away", s.owner, change(1, object{"auth-b": nil}), 200, `"revision":2`},
		{"refuses what is no name", s.owner, change(2, object{"auth b": "1"}), 400, `"field":"changes"`},
		{"refuses a name without end", s.owner, change(2, object{strings.Repeat("a", 101): "1"}), 400, `"field":"changes"`},
		{"refuses values that are no text", s.owner, `{"revision":2,"changes":{"auth-a":1}}`, 400, "malformed_request"},
	} {
		if w := s.do("PATCH", path, test.token, test.body); w.Code != test.status || !strings.Contains(w.Body.String(), test.words) {
			t.Errorf("it %s: got %d %s", test.name, w.Code, w.Body)
		}
	}
	view := decode[AuthenticationSettings](t, s.do("GET", path, s.admin, nil))
	if len(view.Ways) != 1 || len(view.Ways[0].Settings) != 1 || view.Ways[0].Settings[0].Value != "1" || view.ChangedBy != string(s.users["owner"].ID) || view.ChangedAt == nil {
		t.Errorf("what an admin sees: %+v", view)
	}
	if w := s.do("GET", path, s.editor, nil); w.Code != http.StatusForbidden {
		t.Errorf("an editor: got %d", w.Code)
	}
	tested := decode[AuthenticationTested](t, s.do("POST", path+"/test", s.owner, object{"way": "jwt", "changes": object{"auth-a": "2"}}))
	if tested.Ok || len(tested.Steps) != 2 || tested.Steps[0].Says != "jwt answers." {
		t.Errorf("a test: got %+v", tested)
	}
}

// The trail tells which settings were changed, and none of their values.
func TestSettingsInTheTrail(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.do("PATCH", "/settings/authentication", s.owner, object{"revision": 0, "changes": object{"auth-a": "the value", "auth-b": nil}})
	s.do("PATCH", "/settings/authentication", s.owner, object{"revision": 1, "changes": object{"auth-c": "wrong"}})
	s.do("POST", "/settings/authentication/test", s.owner, object{"way": "jwt", "changes": object{"auth-a": "another value"}})
	list, err := s.store.Audit(t.Context(), registry.AuditQuery{Action: "settings.", Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, e := range list.Items {
		names, _ := e.Details["settings"].([]any)
		line := e.Action + " " + e.Outcome
		for _, n := range names {
			line += " " + n.(string)
		}
		got[line] = true
	}
	for _, want := range []string{"settings.change done auth-a auth-b", "settings.change refused", "settings.test done auth-a"} {
		if !got[want] {
			t.Errorf("the trail does not tell %q: %v", want, got)
		}
	}
	for _, text := range []string{"the value", "another value"} {
		if w := s.do("GET", "/audit?limit=100", s.owner, nil); strings.Contains(w.Body.String(), text) || strings.Contains(s.log.String(), text) {
			t.Errorf("%q stands in the trail or the log", text)
		}
	}
}
