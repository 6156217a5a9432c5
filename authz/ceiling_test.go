package authz

import (
	"errors"
	"testing"

	"github.com/postern-io/postern/registry"
)

// C62: a ceiling holds for the platform role and for every membership.
func TestCeiling(t *testing.T) {
	t.Parallel()
	p := &People{Find: members{"mine": registry.Owner, "seen": registry.Viewer}}
	for _, c := range []struct {
		name          string
		role, ceiling registry.Role
		action        Action
		domain        registry.DomainID
		want          error
	}{
		{"caps a membership", registry.NoRole, registry.Viewer, ClientCreate, "mine", ErrDenied},
		{"leaves what is below it", registry.NoRole, registry.Viewer, ClientView, "mine", nil},
		{"caps an owner in a domain", registry.Owner, registry.Editor, DomainDelete, "mine", ErrDenied},
		{"caps an owner on the platform", registry.Owner, registry.Viewer, UserList, "", ErrDenied},
		{"gives nobody a role", registry.NoRole, registry.Owner, UserList, "", ErrDenied},
		{"raises no membership", registry.NoRole, registry.Owner, ClientCreate, "seen", ErrDenied},
		{"caps without a membership", registry.Editor, registry.Viewer, ClientCreate, "other", ErrDenied},
	} {
		u := registry.User{ID: "u", Role: c.role, Ceiling: c.ceiling, Status: registry.Enabled}
		if err := p.Allow(t.Context(), u, c.action, c.domain); !errors.Is(err, c.want) {
			t.Errorf("it %s: got %v, want %v", c.name, err, c.want)
		}
	}
}
