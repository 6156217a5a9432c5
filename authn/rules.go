package authn

import (
	"strings"

	"github.com/postern-io/postern/registry"
)

// A RoleSync says when groups change the role of an account.
type RoleSync string

const (
	SyncNever  RoleSync = "never"  // the default role at the first sign-in; groups are not looked at
	SyncFirst  RoleSync = "first"  // at the first sign-in only
	SyncAlways RoleSync = "always" // at every sign-in, for accounts whose role this provider gave
)

// Rules say what an assertion of a provider is good for.
type Rules struct {
	// Provision makes an account for somebody who has none.
	Provision bool
	// DefaultRole is the platform role of a new account that no group gives one.
	DefaultRole registry.Role
	// RoleMap gives a role to a group; of several the highest counts. Its keys
	// are folded. When it is empty, a group called viewer, editor or admin gives
	// that role.
	RoleMap map[string]registry.Role
	// Fold makes names of groups comparable; nil lowers them.
	Fold func(group string) string
	Sync RoleSync
	// Strict refuses whom no group gives a role.
	Strict bool

	// LinkByEmail gives an account to an identity with the same verified e-mail
	// address, unless the account is an admin's or owner's. Off: the person signs
	// in as before, once, and links.
	LinkByEmail bool
	// TrustedEmail takes the provider's addresses for verified though it does
	// not say so, as a company's own directory may be taken.
	TrustedEmail bool
}

// A Provider is one way to sign in. One of Secret, Redirect and Request is set;
// of the local passwords none.
type Provider struct {
	Key      string // unique; stands in identities, sessions and the audit trail
	Title    string // on its button
	Rules    Rules
	Secret   SecretProvider
	Redirect RedirectProvider
	Request  RequestProvider
	// Stateless says that the site may not bring back the state: then the flow
	// is found by the browser and the path.
	Stateless bool
	// Unsolicited, unless nil, lets people begin at the site instead of here.
	Unsolicited UnsolicitedProvider
}

// fold makes the keys of a role map, or a group, comparable.
func (r Rules) fold(group string) string {
	if r.Fold != nil {
		return r.Fold(group)
	}
	return strings.ToLower(group)
}

// mapped returns the highest role that the groups give, and which group gave it.
// Nobody becomes owner by the name of a group alone.
func (r Rules) mapped(groups []string) (role registry.Role, by string) {
	for _, g := range groups {
		next := r.RoleMap[r.fold(g)]
		if len(r.RoleMap) == 0 {
			if named, err := registry.ParseRole(strings.ToLower(g)); err == nil && named < registry.Owner {
				next = named
			}
		}
		if next > role {
			role, by = next, g
		}
	}
	return role, by
}

// role returns what an assertion's groups make of a role. known is false when
// they say nothing: the role then stays as it is, or is the default.
func (r Rules) role(a Assertion, at *attempt) (role registry.Role, known bool) {
	switch {
	case r.Sync == SyncNever || r.Sync == "":
		return r.DefaultRole, false
	case a.Groups == nil:
		at.step("the provider said nothing of groups")
		return r.DefaultRole, false
	}
	role, by := r.mapped(*a.Groups)
	if role == registry.NoRole {
		at.step("none of %d groups gives a role; the default is %s", len(*a.Groups), roleWord(r.DefaultRole))
		return r.DefaultRole, true
	}
	at.step("group %q gives the role %s", by, role)
	return role, true
}

// keepsOut reports whether strict rules refuse somebody: no group gives a role.
// Where nothing is said of groups, who has an account already may come in.
func (r Rules) keepsOut(a Assertion, at *attempt, newcomer bool) bool {
	if !r.Strict || a.Groups == nil && !newcomer {
		return false
	}
	if a.Groups != nil {
		if role, _ := r.mapped(*a.Groups); role != registry.NoRole {
			return false
		}
	}
	at.step("no group gives a role, and without one nobody comes in")
	return true
}

func roleWord(r registry.Role) string {
	if r == registry.NoRole {
		return "none"
	}
	return r.String()
}
