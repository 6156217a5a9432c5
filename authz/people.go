package authz

import (
	"context"
	"errors"

	"github.com/postern-io/postern/registry"
)

// An Action is something that a person may do through the API.
type Action string

// The actions of the platform, and those inside one domain.
const (
	UserRegister Action = "user.register"
	UserList     Action = "user.list"
	UserView     Action = "user.view"
	UserUpdate   Action = "user.update"
	UserRole     Action = "user.role"
	UserState    Action = "user.state"
	UserDelete   Action = "user.delete"
	UserSessions Action = "user.sessions"
	DomainCreate Action = "domain.create"
	DomainFreeze Action = "domain.freeze"
	AuditView    Action = "audit.view"

	SettingsView   Action = "settings.view"
	SettingsChange Action = "settings.change"

	DomainView     Action = "domain.view"
	DomainUpdate   Action = "domain.update"
	DomainState    Action = "domain.state"
	DomainDelete   Action = "domain.delete"
	MemberView     Action = "member.view"
	MemberAdd      Action = "member.add"
	MemberUpdate   Action = "member.update"
	MemberRemove   Action = "member.remove"
	ClientView     Action = "client.view"
	ClientCreate   Action = "client.create"
	ClientUpdate   Action = "client.update"
	ClientSecret   Action = "client.secret"
	ClientState    Action = "client.state"
	ClientDelete   Action = "client.delete"
	ClientSessions Action = "client.sessions"
	ClientKick     Action = "client.kick"
	ChannelView    Action = "channel.view"
	ChannelCreate  Action = "channel.create"
	ChannelUpdate  Action = "channel.update"
	ChannelState   Action = "channel.state"
	ChannelDelete  Action = "channel.delete"
	Connect        Action = "connection.create"
	Disconnect     Action = "connection.delete"
	Explain        Action = "explain"
	Speak          Action = "message.publish"
	Listen         Action = "message.subscribe"

	AuthorityView     Action = "authority.view"
	AuthorityManage   Action = "authority.manage"
	AuthorityOverride Action = "authority.override"
	PrincipalBind     Action = "principal.bind"
)

// Where a rule looks for the role.
const (
	platform = false
	inDomain = true
)

// table is all that the roles may do: the least role for each action, and
// whether a membership of the domain counts beside the platform role. An action
// that is not here is nobody's.
var table = map[Action]struct {
	least  registry.Role
	domain bool
}{
	UserRegister: {registry.Admin, platform},
	UserList:     {registry.Admin, platform},
	UserView:     {registry.Admin, platform},
	UserUpdate:   {registry.Admin, platform},
	UserRole:     {registry.Admin, platform},
	UserState:    {registry.Admin, platform},
	UserDelete:   {registry.Admin, platform},
	UserSessions: {registry.Admin, platform},
	DomainCreate: {registry.Editor, platform},
	DomainFreeze: {registry.Admin, platform}, // a tenant must not thaw what the operator froze
	AuditView:    {registry.Admin, platform},

	SettingsView:   {registry.Admin, platform},
	SettingsChange: {registry.Owner, platform}, // who says how people sign in can be anybody

	DomainView:     {registry.Viewer, inDomain},
	DomainUpdate:   {registry.Admin, inDomain},
	DomainState:    {registry.Admin, inDomain},
	DomainDelete:   {registry.Owner, inDomain},
	MemberView:     {registry.Viewer, inDomain},
	MemberAdd:      {registry.Admin, inDomain},
	MemberUpdate:   {registry.Admin, inDomain},
	MemberRemove:   {registry.Admin, inDomain},
	ClientView:     {registry.Viewer, inDomain},
	ClientCreate:   {registry.Editor, inDomain},
	ClientUpdate:   {registry.Editor, inDomain},
	ClientSecret:   {registry.Editor, inDomain},
	ClientState:    {registry.Editor, inDomain},
	ClientDelete:   {registry.Editor, inDomain},
	ClientSessions: {registry.Viewer, inDomain},
	ClientKick:     {registry.Editor, inDomain},
	ChannelView:    {registry.Viewer, inDomain},
	ChannelCreate:  {registry.Editor, inDomain},
	ChannelUpdate:  {registry.Editor, inDomain},
	ChannelState:   {registry.Editor, inDomain},
	ChannelDelete:  {registry.Editor, inDomain},
	Connect:        {registry.Editor, inDomain},
	Disconnect:     {registry.Editor, inDomain},
	Speak:          {registry.Editor, inDomain},
	Listen:         {registry.Viewer, inDomain},
	Explain:        {registry.Editor, inDomain}, // it tells a right secret from a wrong one

	AuthorityView:     {registry.Viewer, inDomain},
	AuthorityManage:   {registry.Admin, inDomain}, // whoever it vouches for comes in
	AuthorityOverride: {registry.Admin, platform}, // a tenant's word is no proof
	PrincipalBind:     {registry.Editor, inDomain},
}

// InDomain reports whether the action is one inside a domain.
func (a Action) InDomain() bool { return table[a].domain }

// AllowedTo reports whether the role is enough for the action. An unknown
// action is allowed to nobody.
func (a Action) AllowedTo(r registry.Role) bool {
	rule, known := table[a]
	return known && r >= rule.least && r <= registry.Owner
}

// A MemberFinder looks up a user's membership of a domain. It returns
// registry.ErrNotFound when there is none, or no such domain.
type MemberFinder interface {
	Membership(ctx context.Context, domain registry.DomainID, user registry.UserID) (registry.Membership, error)
}

// People decides what people may do. It is safe for concurrent use and
// remembers nothing: a role that was taken away is gone with the next request.
type People struct {
	Find MemberFinder
}

// Role returns the effective role of a user in a domain: the higher of the
// platform role and the membership, NoRole for a stranger and for a user who
// is not enabled; never above the user's Ceiling.
func (p *People) Role(ctx context.Context, u registry.User, domain registry.DomainID) (registry.Role, error) {
	if u.Status != registry.Enabled {
		return registry.NoRole, nil
	}
	if u.Role >= registry.Owner {
		return u.AtMost(u.Role), nil
	}
	m, err := p.Find.Membership(ctx, domain, u.ID)
	if errors.Is(err, registry.ErrNotFound) {
		return u.AtMost(u.Role), nil
	}
	if err != nil {
		return registry.NoRole, err
	}
	return u.AtMost(max(u.Role, m.Role)), nil
}

// Allow returns nil when the user may do the action; domain is used by actions
// inside one. It returns a *DeniedError (ErrDenied) when not: the same for a
// domain that does not exist as for one that the user has no part in. Any
// other error means that it could not tell.
func (p *People) Allow(ctx context.Context, u registry.User, a Action, domain registry.DomainID) error {
	role := u.AtMost(u.Role)
	if u.Status != registry.Enabled {
		role = registry.NoRole
	}
	if a.InDomain() {
		var err error
		if role, err = p.Role(ctx, u, domain); err != nil {
			return err
		}
	}
	if !a.AllowedTo(role) {
		return &DeniedError{registry.ReasonRole}
	}
	return nil
}

// Manage returns nil when somebody of the role actor may do something to people
// of these roles, or give one of them: owners to all, admins to viewers and
// editors, others to nobody. It returns a *DeniedError when not.
func Manage(actor registry.Role, roles ...registry.Role) error {
	for _, r := range roles {
		if actor == registry.Owner && r <= registry.Owner || actor == registry.Admin && r < registry.Admin {
			continue
		}
		return &DeniedError{registry.ReasonRole}
	}
	return nil
}

// Actions returns every action there is a rule for, in no order.
func Actions() []Action {
	all := make([]Action, 0, len(table))
	for a := range table {
		all = append(all, a)
	}
	return all
}
