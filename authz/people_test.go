package authz

import (
	"context"
	"errors"
	"testing"

	"github.com/postern-io/postern/registry"
)

// members is a MemberFinder by hand: what it does not hold is not found, and
// the domain "away" cannot be answered for.
type members map[registry.DomainID]registry.Role

func (m members) Membership(_ context.Context, d registry.DomainID, u registry.UserID) (registry.Membership, error) {
	if d == "away" {
		return registry.Membership{}, registry.ErrUnavailable
	}
	role, ok := m[d]
	if !ok {
		return registry.Membership{}, registry.ErrNotFound
	}
	return registry.Membership{Domain: d, User: u, Role: role}, nil
}

func TestPeopleAllow(t *testing.T) {
	t.Parallel()
	p := &People{Find: members{"mine": registry.Owner, "seen": registry.Viewer}}
	for _, c := range []struct {
		name   string
		role   registry.Role
		status registry.Status
		action Action
		domain registry.DomainID
		want   error
	}{
		{"lets a member with no platform role own a domain", registry.NoRole, registry.Enabled, DomainDelete, "mine", nil},
		{"does not let that reach the platform", registry.NoRole, registry.Enabled, UserList, "mine", ErrDenied},
		{"does not let a domain's owner freeze it", registry.NoRole, registry.Enabled, DomainFreeze, "mine", ErrDenied},
		{"refuses a stranger", registry.NoRole, registry.Enabled, ClientView, "other", ErrDenied},
		{"takes the platform role where it is higher", registry.Editor, registry.Enabled, ClientCreate, "seen", nil},
		{"takes the platform role without membership", registry.Viewer, registry.Enabled, ClientView, "other", nil},
		{"refuses above the role", registry.Viewer, registry.Enabled, ClientCreate, "seen", ErrDenied},
		{"refuses a disabled owner", registry.Owner, registry.Disabled, DomainView, "mine", ErrDenied},
		{"refuses a disabled owner on the platform", registry.Owner, registry.Disabled, UserList, "", ErrDenied},
		{"refuses an unknown action to an owner", registry.Owner, registry.Enabled, "x", "mine", ErrDenied},
		{"refuses a role beyond the list", registry.Owner + 1, registry.Enabled, UserList, "", ErrDenied},
		{"does not guess when the store is away", registry.Viewer, registry.Enabled, ClientView, "away", registry.ErrUnavailable},
	} {
		u := registry.User{ID: "u", Role: c.role, Status: c.status}
		if err := p.Allow(t.Context(), u, c.action, c.domain); !errors.Is(err, c.want) {
			t.Errorf("it %s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func TestRolesOnlyGrow(t *testing.T) {
	t.Parallel()
	for action := range table {
		if action.AllowedTo(registry.NoRole) {
			t.Errorf("%s is allowed to everybody", action)
		}
		if !action.AllowedTo(registry.Owner) {
			t.Errorf("%s is refused to an owner", action)
		}
		for r := registry.Viewer; r < registry.Owner; r++ {
			if action.AllowedTo(r) && !action.AllowedTo(r+1) {
				t.Errorf("%s is allowed to %v and not to %v", action, r, r+1)
			}
		}
	}
}

func TestManage(t *testing.T) {
	t.Parallel()
	for actor := registry.NoRole; actor <= registry.Owner; actor++ {
		for target := registry.NoRole; target <= registry.Owner+1; target++ {
			want := actor == registry.Owner && target <= registry.Owner || actor == registry.Admin && target <= registry.Editor
			if got := Manage(actor, registry.NoRole, target) == nil; got != (want && actor >= registry.Admin) {
				t.Errorf("%v over %v: got %v, want %v", actor, target, got, want)
			}
		}
	}
}
