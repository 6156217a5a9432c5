package registry

import "time"

// A Status is the state of a noun.
type Status string

const (
	Enabled  Status = "enabled"
	Disabled Status = "disabled"
	Frozen   Status = "frozen"  // domains only: readable, nothing in it may publish, subscribe or change
	Deleted  Status = "deleted" // users only: kept for 30 days
	Pending  Status = "pending" // devices only: it came with a factory's certificate and waits for approval
)

// Metadata is the caller's own JSON object; Postern does not look into it.
type Metadata map[string]any

// A Domain is a tenant: it owns devices and channels.
type Domain struct {
	ID        DomainID
	Name      string
	Route     string // alias in topics: a UUID or ^[a-zA-Z][a-zA-Z0-9_-]{0,35}$, unique on the platform
	Status    Status
	Tags      []string
	Metadata  Metadata
	CreatedBy UserID
	CreatedAt time.Time
	UpdatedBy UserID
	UpdatedAt time.Time
}

// A Device is a thing with a credential. The REST API calls it a client.
type Device struct {
	ID        DeviceID
	Domain    DomainID
	Name      string
	Identity  string // free text of the caller (serial number, IMEI); not used to authenticate
	Status    Status
	Tags      []string
	Metadata  Metadata
	CreatedAt time.Time
	UpdatedBy UserID
	UpdatedAt time.Time
}

// A Channel is what devices publish to and subscribe from.
type Channel struct {
	ID        ChannelID
	Domain    DomainID
	Name      string
	Route     string // alias in topics, unique in the domain; may be empty
	Store     bool   // true: acknowledged means stored; false: live, at most once
	Status    Status
	Tags      []string
	Metadata  Metadata
	CreatedAt time.Time
	UpdatedBy UserID
	UpdatedAt time.Time
}

// Rights is what a connection allows, as a set.
type Rights uint8

const (
	Publish   Rights = 1 << iota // from the device to the channel
	Subscribe                    // from the channel to the device
)

// Has reports whether all of want are in r.
func (r Rights) Has(want Rights) bool { return r&want == want }

// Names returns the wire words of the set in a fixed order.
func (r Rights) Names() []string {
	names := make([]string, 0, 2)
	if r.Has(Publish) {
		names = append(names, "publish")
	}
	if r.Has(Subscribe) {
		names = append(names, "subscribe")
	}
	return names
}

// A Connection lets a device use a channel of the same domain.
type Connection struct {
	Domain  DomainID
	Device  DeviceID
	Channel ChannelID
	Rights  Rights
}

// A Role orders what people may do: viewer < editor < admin < owner. The zero
// Role may nothing.
type Role uint8

const (
	NoRole Role = iota
	Viewer
	Editor
	Admin
	Owner
)

var roleNames = [...]string{"", "viewer", "editor", "admin", "owner"}

func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return ""
}

// ParseRole returns the role of that name; the empty name is NoRole.
func ParseRole(name string) (Role, error) {
	for i, n := range roleNames {
		if n == name {
			return Role(i), nil
		}
	}
	return NoRole, &InvalidError{Field: "role", Reason: "must be viewer, editor, admin or owner"}
}

// A User is a person with an account. How the person proves who they are is
// kept beside it (a password hash, an identity at a provider), never in it.
type User struct {
	ID             UserID
	Username       string // unique, compared without case
	Email          string // unique, compared without case; may be empty
	EmailVerified  bool
	FirstName      string
	LastName       string
	Role           Role // platform-wide
	Status         Status
	Tags           []string
	Metadata       Metadata
	ProfilePicture string
	Provider       string            // "local", or the key of the sign-in provider that made the account
	PasswordHash   string            // PHC string (argon2id); empty: no password sign-in
	MustChange     bool              // the password was given by somebody else, or is well known: nothing else is open until it is changed
	LoopbackOnly   bool              // the password is well known: it opens nothing from elsewhere
	RoleSource     string            // key of the provider whose groups gave the role; "": a person did
	Attributes     map[string]string // what the provider told of the person at the last sign-in
	CreatedAt      time.Time
	UpdatedBy      UserID
	UpdatedAt      time.Time
	DeletedAt      time.Time // zero unless Deleted

	// Ceiling, unless NoRole, is the most that counts of the roles the person
	// has, on the platform and in domains: a program acts for the person. It is
	// never stored.
	Ceiling Role
}

// AtMost returns the role, or the ceiling where that is lower.
func (u User) AtMost(r Role) Role {
	if u.Ceiling != NoRole {
		return min(r, u.Ceiling)
	}
	return r
}

// A Membership gives a user a role inside one domain. The effective role there
// is the higher of it and the platform role.
type Membership struct {
	Domain DomainID
	User   UserID
	Role   Role
}
