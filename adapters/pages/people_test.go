package pages

import (
	"net/url"
	"strings"
	"testing"

	"github.com/postern-io/postern/adapters/api"
	"github.com/postern-io/postern/registry"
)

func TestWhoMayBeManaged(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		me   registry.Role
		them api.Role
		want string
	}{
		{"lets an owner change an owner", registry.Owner, "owner", ""},
		{"lets an admin change an editor", registry.Admin, "editor", ""},
		{"keeps an admin from an admin", registry.Admin, "admin", "Only an owner"},
		{"keeps an admin from an owner", registry.Admin, "owner", "Only an owner"},
		{"keeps an editor from everybody", registry.Editor, "", "You need the role admin"},
	} {
		why := me{Role: test.me, roleHere: test.me}.whyNotManage(test.them)
		if (why == "") != (test.want == "") || !strings.Contains(why, test.want) {
			t.Errorf("it %s: got %q", test.name, why)
		}
	}
}

func TestRolesThatMayBeGiven(t *testing.T) {
	t.Parallel()
	for role, want := range map[registry.Role]string{
		registry.Owner: " viewer editor admin owner", registry.Admin: " viewer editor", registry.Editor: "none at all",
	} {
		got, any := "", false
		for _, o := range (me{Role: role}).roles("viewer", "") {
			if !o.Disabled {
				got, any = got+" "+o.Name, true
			}
			if o.Chosen != (o.Name == "viewer") {
				t.Errorf("%s: %q chosen: %v", role, o.Name, o.Chosen)
			}
		}
		if any && strings.TrimSpace(got) != strings.TrimSpace(want) || !any && want != "none at all" {
			t.Errorf("%s gives%s, want%s", role, got, want)
		}
	}
}

// A made-up password has 26 random characters, and no two are alike.
func TestMadeUp(t *testing.T) {
	t.Parallel()
	one, two := madeUp(), madeUp()
	if one == two || len(strings.ReplaceAll(one, "-", "")) != 26 {
		t.Errorf("got %q and %q", one, two)
	}
}

// Of several forms on a page, only the one that was sent comes back.
func TestFormOf(t *testing.T) {
	t.Parallel()
	sent := form{Values: url.Values{"act": {"profile"}, "username": {"ann"}}, Problem: &Refusal{Field: "username", Message: "is taken"}}
	if got := sent.Of("profile"); got.Wrong("username") != "is taken" || got.Value("username") != "ann" {
		t.Errorf("its own: got %+v", got)
	}
	if got := sent.Of("password"); got.Problem != nil || got.Value("username") != "" {
		t.Errorf("another: got %+v", got)
	}
}
