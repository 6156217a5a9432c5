package registry

import (
	"context"
	"time"
)

// A Store keeps the nouns. It decides nothing beyond what an index can decide:
// uniqueness, references and order. It is safe for concurrent use.
//
// Reads return ErrNotFound when there is no such row, writes an *ExistsError
// when a value that must be unique is taken, and everything returns
// ErrUnavailable when the database cannot answer now.
type Store interface {
	Reader

	// Update calls do with a transaction and commits it when do returns nil;
	// otherwise nothing of it is kept and do's error is returned. do must use
	// only the Tx and must not keep it. It is called again, from the start, when
	// the database took its transaction back: what it leaves outside must be
	// what the last call put there.
	Update(ctx context.Context, do func(Tx) error) error
}

// A Reader reads the nouns, from the store or from inside a transaction.
type Reader interface {
	DomainReader
	DeviceReader
	ChannelReader
	ConnectionReader
	UserReader
	MembershipReader
	IdentityReader
	CertificateReader
	AuthorityReader
	HealthReader
	ClaimReader
	ImportReader
	SettingReader
}

// A Tx is one transaction.
type Tx interface {
	Reader
	DomainWriter
	DeviceWriter
	ChannelWriter
	ConnectionWriter
	UserWriter
	MembershipWriter
	IdentityWriter
	SessionRevoker
	APIKeyWriter
	CertificateWriter
	AuthorityWriter
	ClaimWriter
	ImportWriter
	SettingWriter
	Purger

	// Lock waits until this transaction alone holds the named lock, on every
	// node. It ends with the transaction. It is what makes "count, then
	// change" safe where no single row can be locked.
	Lock(ctx context.Context, name LockName) error
}

// A LockName names a rule that spans rows.
type LockName string

const (
	lockOwners LockName = "owners" // how many enabled owners there are
	lockRoutes LockName = "routes" // ids and routes of domains share one name space

	lockAuthority LockName = "authority" // one authority signs
	lockLists     LockName = "lists"     // lists of what was revoked are numbered
	lockForeign   LockName = "foreign"   // how many lines the lists of imported authorities have
)

// A DomainReader reads domains.
type DomainReader interface {
	Domain(ctx context.Context, id DomainID) (Domain, error)
	// DomainByRef finds a domain by its id or its route. An id wins.
	DomainByRef(ctx context.Context, ref string) (Domain, error)
	Domains(ctx context.Context, q Query) (List[Domain], error)
}

// A DomainWriter changes domains.
type DomainWriter interface {
	// LockDomain reads a domain and keeps every other writer of it waiting
	// until the transaction ends.
	LockDomain(ctx context.Context, id DomainID) (Domain, error)
	InsertDomain(ctx context.Context, d Domain) error
	UpdateDomain(ctx context.Context, d Domain) error
	// DeleteDomain removes the domain and all in it.
	DeleteDomain(ctx context.Context, id DomainID) error
}

// A DeviceReader reads devices and the records of their secrets.
type DeviceReader interface {
	Device(ctx context.Context, id DeviceID) (Device, error)
	Devices(ctx context.Context, q Query) (List[Device], error)
	// DeviceSecrets returns the secrets of a device, the newest first.
	DeviceSecrets(ctx context.Context, id DeviceID) ([]DeviceSecret, error)
}

// A DeviceWriter changes devices and their secrets.
type DeviceWriter interface {
	InsertDevice(ctx context.Context, d Device) error
	UpdateDevice(ctx context.Context, d Device) error
	// DeleteDevice removes the device, its secrets and its connections.
	DeleteDevice(ctx context.Context, id DeviceID) error
	// InsertSecret adds a secret. Its hash must be unique on the platform.
	InsertSecret(ctx context.Context, domain DomainID, s DeviceSecret) error
	ExpireSecret(ctx context.Context, id SecretID, at time.Time) error
	DeleteSecret(ctx context.Context, id SecretID) error
}

// A ChannelReader reads channels.
type ChannelReader interface {
	Channel(ctx context.Context, id ChannelID) (Channel, error)
	// ChannelByRef finds a channel of the domain by its id or its route. An
	// id wins.
	ChannelByRef(ctx context.Context, domain DomainID, ref string) (Channel, error)
	Channels(ctx context.Context, q Query) (List[Channel], error)
}

// A ChannelWriter changes channels.
type ChannelWriter interface {
	InsertChannel(ctx context.Context, c Channel) error
	UpdateChannel(ctx context.Context, c Channel) error
	// DeleteChannel removes the channel and its connections.
	DeleteChannel(ctx context.Context, id ChannelID) error
}

// A ConnectionReader reads connections.
type ConnectionReader interface {
	// Rights returns what the device may do on the channel, and no rights and
	// no error when they are not connected.
	Rights(ctx context.Context, device DeviceID, channel ChannelID) (Rights, error)
	Connections(ctx context.Context, q Query) (List[Connection], error)
	// ConnectionsBetween returns those of a domain that are between one of these
	// devices and one of these channels, by channel.
	ConnectionsBetween(ctx context.Context, domain DomainID, devices []DeviceID, channels []ChannelID) ([]Connection, error)
}

// A ConnectionWriter changes connections.
type ConnectionWriter interface {
	// AddRights connects, or widens the connection that is there.
	AddRights(ctx context.Context, c Connection) error
	// RemoveRights narrows a connection and removes it when no right is left.
	RemoveRights(ctx context.Context, c Connection) error
	// SetRights makes a connection have just these; with none it is removed.
	SetRights(ctx context.Context, c Connection) error
}

// A UserReader reads people.
type UserReader interface {
	User(ctx context.Context, id UserID) (User, error)
	// UserByLogin finds a user by username or e-mail, without case.
	UserByLogin(ctx context.Context, login string) (User, error)
	Users(ctx context.Context, q Query) (List[User], error)
}

// A UserWriter changes people.
type UserWriter interface {
	// LockUser reads a user and keeps every other writer of it waiting until
	// the transaction ends.
	LockUser(ctx context.Context, id UserID) (User, error)
	InsertUser(ctx context.Context, u User) error
	UpdateUser(ctx context.Context, u User) error
}

// A MembershipReader reads who belongs to a domain.
type MembershipReader interface {
	Membership(ctx context.Context, domain DomainID, user UserID) (Membership, error)
	Members(ctx context.Context, q Query) (List[Member], error)
}

// A MembershipWriter changes who belongs to a domain.
type MembershipWriter interface {
	InsertMembership(ctx context.Context, m Membership) error
	UpdateMembership(ctx context.Context, m Membership) error
	DeleteMembership(ctx context.Context, domain DomainID, user UserID) error
}

// An IdentityReader reads which identities at providers are whose.
type IdentityReader interface {
	Identity(ctx context.Context, provider, subject string) (LinkedIdentity, error)
	// Identities returns those of a user, the oldest first.
	Identities(ctx context.Context, user UserID) ([]LinkedIdentity, error)
}

// An IdentityWriter changes them.
type IdentityWriter interface {
	InsertIdentity(ctx context.Context, i LinkedIdentity) error
	DeleteIdentity(ctx context.Context, user UserID, provider, subject string) error
	// DropCredentials removes everything that lets somebody in as the user
	// without a provider: one-time keys, API keys, second factors; and all
	// identities. The password is the user's own row.
	DropCredentials(ctx context.Context, user UserID) error
	// BelongsToDomains reports whether the user is a member of any domain.
	BelongsToDomains(ctx context.Context, user UserID) (bool, error)
}

// A SessionRevoker ends sign-ins of people.
type SessionRevoker interface {
	// RevokeSession ends one session of the user; ErrNotFound when the user
	// has no such live session.
	RevokeSession(ctx context.Context, user UserID, id SessionID, at time.Time) error
	// RevokeSessions ends all sessions of the user but the one named, which
	// may be empty.
	RevokeSessions(ctx context.Context, user UserID, except SessionID, at time.Time) error
	// RevokeAPIKeys ends all API keys of the user.
	RevokeAPIKeys(ctx context.Context, user UserID, at time.Time) error
	// DropFactors removes all second factors of the user.
	DropFactors(ctx context.Context, user UserID) error
}

// An APIKeyWriter changes API keys.
type APIKeyWriter interface {
	// LiveAPIKeys counts the keys of the user that are neither revoked nor
	// expired at now.
	LiveAPIKeys(ctx context.Context, user UserID, now time.Time) (int, error)
	InsertAPIKey(ctx context.Context, k APIKey) error
	// RevokeAPIKey ends one key of the user; ErrNotFound when the user has no
	// such key, or it is revoked already.
	RevokeAPIKey(ctx context.Context, user UserID, id APIKeyID, at time.Time) error
}

// A CertificateReader reads the records of certificates.
type CertificateReader interface {
	Certificate(ctx context.Context, id CertificateID) (Certificate, error)
	CertificateBySerial(ctx context.Context, authority AuthorityID, serial string) (Certificate, error)
	Certificates(ctx context.Context, q CertificateQuery) (List[Certificate], error)
}

// A CertificateWriter changes them.
type CertificateWriter interface {
	// CertificateFor returns the newest certificate of the device from that
	// request that is neither revoked nor ended at now; unless replaces is
	// empty, the one that replaced that one.
	CertificateFor(ctx context.Context, device DeviceID, request string, replaces CertificateID, now time.Time) (Certificate, error)
	// GoodCertificates returns the certificates of a device, or with an empty
	// one of all devices of the domain, that are neither revoked for good nor
	// ended at now.
	GoodCertificates(ctx context.Context, domain DomainID, device DeviceID, now time.Time) ([]Certificate, error)
	InsertCertificate(ctx context.Context, c Certificate) error
	// UpdateRevocation writes RevokedAt and Reason, and counts it with the
	// authority.
	UpdateRevocation(ctx context.Context, c Certificate) error
}

// An AuthorityReader reads our authorities and their lists.
type AuthorityReader interface {
	Authority(ctx context.Context, id AuthorityID) (Authority, error)
	// Authorities returns the one that signs first, then the newest.
	Authorities(ctx context.Context) ([]Authority, error)
	// LastRevocationList returns the list that was signed last.
	LastRevocationList(ctx context.Context, id AuthorityID) (RevocationList, error)
	// Revocations returns what of the authority is revoked and did not end
	// before the given time, by serial number.
	Revocations(ctx context.Context, id AuthorityID, endedAfter time.Time) ([]Revocation, error)
}

// An AuthorityWriter changes them.
type AuthorityWriter interface {
	InsertAuthority(ctx context.Context, a Authority) error
	PutRootList(ctx context.Context, id AuthorityID, list []byte) error
	RetireAuthorities(ctx context.Context, at time.Time) error
	PutRevocationList(ctx context.Context, l RevocationList) error
}

// A ClaimReader reads claims.
type ClaimReader interface {
	// ClaimByHash returns the claim whose token has this hash, used and expired
	// ones included.
	ClaimByHash(ctx context.Context, hash SecretHash) (Claim, error)
	Claims(ctx context.Context, q ClaimQuery) (List[Claim], error)
}

// A ClaimWriter changes them.
type ClaimWriter interface {
	// InsertClaim adds a claim without its Rights.
	InsertClaim(ctx context.Context, c Claim) error
	// InsertClaimRights adds rights to all claims of the batch.
	InsertClaimRights(ctx context.Context, batch string, r ClaimRights) error
	// UpdateClaim writes Device, Request and UsedAt.
	UpdateClaim(ctx context.Context, c Claim) error
	DeleteClaim(ctx context.Context, domain DomainID, id ClaimID) error
}

// An ImportReader reads imported authorities, whom they mean, and their lists.
type ImportReader interface {
	ImportedAuthority(ctx context.Context, domain DomainID, id AuthorityID) (ImportedAuthority, error)
	// ImportedAuthorities returns those of a domain by name, or with an empty
	// one those of all domains that are ImportEnabled.
	ImportedAuthorities(ctx context.Context, domain DomainID) ([]ImportedAuthority, error)
	Principal(ctx context.Context, authority AuthorityID, name string) (Principal, error)
	// Principals returns those of an authority, by name; of q the page and the
	// Device count.
	Principals(ctx context.Context, authority AuthorityID, q Query) (List[Principal], error)
	// ForeignLists returns all lists without their DER.
	ForeignLists(ctx context.Context) ([]ForeignList, error)
	ForeignList(ctx context.Context, authority AuthorityID) (ForeignList, error)
	// ForeignListHead is ForeignList without the DER.
	ForeignListHead(ctx context.Context, authority AuthorityID) (ForeignList, error)
}

// An ImportWriter changes them.
type ImportWriter interface {
	// InsertImported adds an authority, which must be new in its domain.
	InsertImported(ctx context.Context, a ImportedAuthority) error
	// UpdateImported writes all but the certificate. Of two authorities with
	// one key only one can be other than ImportUnproved.
	UpdateImported(ctx context.Context, a ImportedAuthority) error
	// DeleteImported removes it with its principals and its list.
	DeleteImported(ctx context.Context, domain DomainID, id AuthorityID) error
	// KeyClaimed reports whether an authority with that key is other than
	// ImportUnproved.
	KeyClaimed(ctx context.Context, keyHash string) (bool, error)
	InsertPrincipal(ctx context.Context, p Principal) error
	DeletePrincipal(ctx context.Context, authority AuthorityID, name string) error
	PrincipalsOf(ctx context.Context, device DeviceID) ([]Principal, error)
	// PendingOf counts the devices of an authority that wait for approval.
	PendingOf(ctx context.Context, authority AuthorityID) (int, error)
	PutForeignList(ctx context.Context, l ForeignList) error
	// TouchForeignList writes FetchedAt.
	TouchForeignList(ctx context.Context, authority AuthorityID, at time.Time) error
}

// A SettingReader reads the settings that were changed while the server runs.
type SettingReader interface {
	Settings(ctx context.Context) (Settings, error)
}

// A SettingWriter changes them.
type SettingWriter interface {
	// LockSettings keeps every other writer of settings waiting until the
	// transaction ends.
	LockSettings(ctx context.Context) error
	PutSetting(ctx context.Context, s Setting) error
	// DeleteSetting removes a setting that may not be there.
	DeleteSetting(ctx context.Context, name string) error
	// PutSettingsRevision writes all but the Items.
	PutSettingsRevision(ctx context.Context, s Settings) error
}

// A Purger removes what has had its time.
type Purger interface {
	// PurgeUsers removes users deleted before the given time.
	PurgeUsers(ctx context.Context, deletedBefore time.Time) error
	// PurgeExpired removes sessions, refresh tokens, device secrets, one-time
	// keys, API keys, claims, sign-in counters and what else of signing in ended
	// before the given time.
	PurgeExpired(ctx context.Context, endedBefore time.Time) error
	PurgeAudit(ctx context.Context, before time.Time) error
	// PurgeCertificates removes the records of certificates that ended before
	// the given time.
	PurgeCertificates(ctx context.Context, endedBefore time.Time) error
}
