package registry

import "time"

// A UserSession is one sign-in of a person: what an access token's sid names.
type UserSession struct {
	ID        SessionID
	User      UserID
	Provider  string
	Kind      string // "api" or "browser"
	IP        string
	UserAgent string
	CreatedAt time.Time
	LastSeen  time.Time
	Expires   time.Time // absolute end
	RevokedAt time.Time // zero while live

	// AuthenticatedAt is when the person last proved who they are; refreshing
	// tokens does not move it. AMR is how (RFC 8176), words divided by spaces.
	AuthenticatedAt time.Time
	AMR             string
}

// A RefreshToken is one link of a session's rotation chain. Only the SHA-256 of
// the token is kept: it is 256 random bits, so a plain hash is enough.
type RefreshToken struct {
	Hash    [32]byte
	Session SessionID
	Parent  [32]byte // zero for the first of the family
	Created time.Time
	Expires time.Time
	UsedAt  time.Time // zero while unused; a second use kills the family
}

// A Throttle counts the sign-ins that failed under one key (an account, an
// address). It outlives a restart.
type Throttle struct {
	Key          string
	Failures     int
	Since        time.Time // when the first of them was counted
	BlockedUntil time.Time // zero when not blocked
}

// A LinkedIdentity says that whom a provider calls Subject is the user. The
// pair of provider and subject is unique; an e-mail address is never the key.
type LinkedIdentity struct {
	Provider  string
	Subject   string
	User      UserID
	Email     string // as the provider told it when the link was made
	CreatedAt time.Time
	LastUsed  time.Time
}

// A SignInFlow is a sign-in that went to another site and has not come back.
type SignInFlow struct {
	State    [32]byte // SHA-256 of the state
	Provider string
	Browser  [32]byte // SHA-256 of the secret in the cookie of the browser that began it
	Nonce    string
	Verifier string // PKCE
	BackTo   string
	User     UserID // who wants to link an identity; "" for a sign-in
	Expires  time.Time
}

// A KeyPurpose is the one thing that a one-time key is good for.
type KeyPurpose string

const (
	KeyRecovery   KeyPurpose = "recovery"    // set a new password
	KeyVerify     KeyPurpose = "verify"      // prove an e-mail address, which is the key's data
	KeyInvite     KeyPurpose = "invite"      // choose the first password
	KeyFactor     KeyPurpose = "factor"      // show the second factor of a sign-in, which is the key's data
	KeyBreakGlass KeyPurpose = "break-glass" // sign in as an owner, from the host
	KeyPasskey    KeyPurpose = "passkey"     // a WebAuthn challenge, which is the key's data
)

// A OneTimeKey is used up by its first use. Only the SHA-256 of the key is
// kept: it is 256 random bits.
type OneTimeKey struct {
	Hash     [32]byte
	Purpose  KeyPurpose
	User     UserID
	Data     string
	Created  time.Time
	Expires  time.Time
	Failures int
	UsedAt   time.Time // zero while unused
}

// An APIKey lets a program act for a person, with at most Role of what the
// person may. Of the secret part only the SHA-256 is kept.
type APIKey struct {
	ID        APIKeyID
	Hash      [32]byte
	User      UserID
	Name      string
	Prefix    string // shown in lists, and how the key is found
	Role      Role
	CreatedAt time.Time
	Expires   time.Time // zero: never
	LastUsed  time.Time
	RevokedAt time.Time // zero while live
}

// A TOTP is the secret of a code generator (RFC 6238), sealed under the
// server's key.
type TOTP struct {
	User        UserID
	Sealed      []byte
	CreatedAt   time.Time
	ConfirmedAt time.Time // zero until the first code was shown
	LastStep    int64     // time step of the last code that was taken
}

// A Passkey is a WebAuthn credential of a person.
type Passkey struct {
	ID         string // credential id, base64url
	User       UserID
	Name       string
	Credential string // JSON: public key, flags, signature counter
	CreatedAt  time.Time
	LastUsed   time.Time
}

// The outcomes of an audited event.
const (
	AuditDone    = "done"
	AuditRefused = "refused"
	AuditFailed  = "failed" // by our own fault
)

// An AuditEvent is one line of the audit trail: who did what to what, from
// where, and what became of it. It never holds a secret.
type AuditEvent struct {
	ID        AuditID
	At        time.Time
	Action    string // "sign-in", "user.role", "client.create", …
	Outcome   string // AuditDone, AuditRefused or AuditFailed
	Reason    Reason // of a refusal
	Actor     UserID // "" for a stranger and for the server itself
	ActorName string // as it was then
	Object    string // id of the user, device, channel, … that it is about
	Domain    DomainID
	Provider  string // by which a person signed in
	IP        string
	UserAgent string
	Request   string // id of the request
	Details   Metadata
}

// An AuditQuery selects events; the zero value of a field does not restrict.
type AuditQuery struct {
	ID       AuditID
	Action   string // exact, or a prefix that ends in "."
	Outcome  string
	Actor    UserID
	Object   string
	Domain   DomainID
	Provider string
	IP       string
	Request  string
	From, To time.Time // From is in, To is out
	Offset   int
	Limit    int // 1 to MaxPage
}
