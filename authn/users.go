package authn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"

	"github.com/postern-io/postern/authn/password"
	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
)

// Accounts is where people are changed.
type Accounts interface {
	CreateUser(ctx context.Context, by registry.UserID, u registry.User) (registry.User, error)
	UpdateUser(ctx context.Context, by, id registry.UserID, edit func(*registry.User) error) (registry.User, error)
	// UpdatePassword is UpdateUser that ends all sessions but one with the change,
	// and with keys all API keys.
	UpdatePassword(ctx context.Context, by, id registry.UserID, except registry.SessionID, keys bool, edit func(*registry.User) error) (registry.User, error)
}

// Sessions ends sign-ins, so that every node hears of it.
type Sessions interface {
	RevokeSession(ctx context.Context, user registry.UserID, id registry.SessionID) error
	RevokeSessions(ctx context.Context, user registry.UserID, except registry.SessionID) error
}

// People reads accounts. A login is a username or an e-mail address.
type People interface {
	User(ctx context.Context, id registry.UserID) (registry.User, error)
	UserByLogin(ctx context.Context, login string) (registry.User, error)
}

// SignIns keeps what a sign-in leaves behind.
type SignIns interface {
	Session(ctx context.Context, id registry.SessionID) (registry.UserSession, error)
	UserSessions(ctx context.Context, user registry.UserID, now time.Time) ([]registry.UserSession, error)
	InsertSession(ctx context.Context, s registry.UserSession) error
	TouchSession(ctx context.Context, id registry.SessionID, at time.Time) error
	InsertRefreshToken(ctx context.Context, t registry.RefreshToken) error
	// UseRefreshToken marks a token used; of many callers exactly one is first.
	UseRefreshToken(ctx context.Context, hash [32]byte, now time.Time) (t registry.RefreshToken, first bool, err error)
}

const (
	// DefaultRefreshIdle is how long a refresh token may lie unused.
	DefaultRefreshIdle = 24 * time.Hour
	// DefaultSessionLife is the absolute end of a sign-in, however often refreshed.
	DefaultSessionLife = 30 * 24 * time.Hour
	// FreshFor is how long a sign-in is good for what asks who somebody is
	// again: a new e-mail address, a new factor, a new key (C52).
	FreshFor = 15 * time.Minute
	// reuseGrace is how long after its use a refresh token that comes again is
	// taken for a retry: it is refused, but the family lives. Two tabs or a
	// lost answer do that; a thief gains nothing by it.
	reuseGrace = 10 * time.Second
	// personFresh bounds how long a lost change notice can go unnoticed.
	personFresh = 10 * time.Second
)

// Users signs people in, whatever way they come, and keeps their sessions. It is
// safe for concurrent use.
type Users struct {
	UsersConfig
	ways     atomic.Pointer[[]Provider]
	users    *otter.Cache[registry.UserID, *registry.User]
	sessions *otter.Cache[registry.SessionID, *signedIn]
	vouched  *otter.Cache[[32]byte, struct{}]

	keyHolders *otter.Cache[string, *keyHolder] // by prefix
	wrongKeys  *failures
}

// UsersConfig is what NewUsers needs. Policy, RefreshIdle, SessionLife,
// RequireFactor and Log have useful zero values.
type UsersConfig struct {
	Accounts  Accounts
	Arrivals  Arrivals
	Live      Sessions
	Find      People
	Links     Links
	Store     SignIns
	Flows     Flows
	Keys      Keys
	Throttles Throttles
	Audit     Auditor
	Factors   SecondFactors // nil: there are none
	Mail      Mailer        // nil: no mail is sent
	APIKeys   APIKeys       // nil: there are none, and nobody comes with one
	KeyRing   KeyRing

	// Providers are the first ways to sign in, in the order in which a password
	// is tried; nil means local passwords alone.
	Providers []Provider
	Passwords *password.Hasher
	Policy    password.Policy
	Tokens    *token.Signer

	RefreshIdle   time.Duration // 0 means DefaultRefreshIdle
	SessionLife   time.Duration // 0 means DefaultSessionLife
	RequireFactor registry.Role // who signs in with a password and has this role or a higher one needs a second factor; NoRole: nobody

	NewID func() string
	Now   func() time.Time
	Log   *slog.Logger
}

// signedIn is a session with the account as it was when the session was read.
// A change of the account leaves another pointer in the cache of users, and
// with that every session of it is read again.
type signedIn struct {
	user    *registry.User
	session registry.UserSession
}

// NewUsers returns a Users with empty caches.
func NewUsers(c UsersConfig) *Users {
	c.RefreshIdle = cmp.Or(c.RefreshIdle, DefaultRefreshIdle)
	c.SessionLife = cmp.Or(c.SessionLife, DefaultSessionLife)
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	if c.Providers == nil {
		c.Providers = []Provider{{Key: registry.LocalProvider}}
	}
	u := &Users{
		UsersConfig: c,
		keyHolders:  newKeyCache(),
		wrongKeys:   newFailures(wrongKeyLimits),
		users: otter.Must(&otter.Options[registry.UserID, *registry.User]{
			MaximumSize: 10_000, ExpiryCalculator: otter.ExpiryWriting[registry.UserID, *registry.User](personFresh),
			Logger: &otter.NoopLogger{},
		}),
		sessions: otter.Must(&otter.Options[registry.SessionID, *signedIn]{
			MaximumSize: 10_000, ExpiryCalculator: otter.ExpiryWriting[registry.SessionID, *signedIn](personFresh),
			Logger: &otter.NoopLogger{},
		}),
		vouched: otter.Must(&otter.Options[[32]byte, struct{}]{
			MaximumSize: 10_000, ExpiryCalculator: otter.ExpiryWriting[[32]byte, struct{}](vouchedFor),
			Logger: &otter.NoopLogger{},
		}),
	}
	u.SetProviders(c.Providers...)
	return u
}

// Providers are the ways to sign in as of now. The slice is not to be changed.
func (u *Users) Providers() []Provider { return *u.ways.Load() }

// SetProviders puts other ways to sign in into the place of those that there
// are. A sign-in that a provider is looking at ends as it began; one that waits,
// at another site or for a second factor, ends refused when its provider is gone.
// Who is signed in stays so.
func (u *Users) SetProviders(providers ...Provider) { u.ways.Store(&providers) }

// A Person is somebody signed in, as of now: the account and the session. For
// who comes with an API key or by a trusted proxy the session has no id.
type Person struct {
	User    registry.User
	Session registry.UserSession
	// Key is the API key that a program came with; "" for a person.
	Key registry.APIKeyID
	// Only, unless empty, says that nothing is open but what ends this state:
	// ReasonPasswordMustChange or ReasonSecondFactorEnrol.
	Only registry.Reason
	// Fresh is whether the person proved who they are a short time ago.
	Fresh bool
	// Ends is when what was shown ends; zero when it does not say.
	Ends time.Time
}

// A Client is where a sign-in comes from.
type Client struct {
	IP        string
	UserAgent string
	Kind      string // "api" or "browser"
	Request   string // id of the request
}

// Tokens are the outcome of a sign-in. Access and Refresh are secrets.
type Tokens struct {
	Access    string
	Refresh   string
	ExpiresIn time.Duration // of the access token
	User      registry.UserID
	Session   registry.SessionID
}

// Verify is VerifyFrom for who does not know where the token comes from.
func (u *Users) Verify(ctx context.Context, accessToken string) (Person, error) {
	return u.VerifyFrom(ctx, accessToken, Client{})
}

// VerifyFrom returns who holds an access token or an API key. The account, the
// session and the key are as they are now, not as they were when the token was
// made.
//
// Errors: token.ErrExpired, token.ErrInvalid (also for a session that was ended
// and an account that is disabled), a *LimitedError after too many wrong API
// keys from one address, or that the store did not answer.
func (u *Users) VerifyFrom(ctx context.Context, accessToken string, from Client) (Person, error) {
	if strings.HasPrefix(accessToken, APIKeyPrefix) {
		_, p, err := u.verifyKey(ctx, accessToken, from)
		return p, err
	}
	claims, err := u.Tokens.Verify(accessToken)
	if err != nil {
		return Person{}, err
	}
	if prefix, stands := strings.CutPrefix(string(claims.Session), keySession); stands {
		return u.verifyKeyToken(ctx, claims.User, prefix, from)
	}
	user, err := u.users.Get(ctx, claims.User, otter.LoaderFunc[registry.UserID, *registry.User](u.loadUser))
	if err != nil {
		return Person{}, nobody(err)
	}
	in, ok := u.sessions.GetIfPresent(claims.Session)
	if !ok || in.user != user {
		session, err := u.Store.Session(ctx, claims.Session)
		if err != nil {
			return Person{}, nobody(err)
		}
		in = &signedIn{user, session}
		u.sessions.Set(claims.Session, in)
	}
	if user.Status != registry.Enabled || in.session.User != user.ID || !live(in.session, u.Now()) {
		return Person{}, token.ErrInvalid
	}
	p := u.person(*user, in.session)
	if p.Ends = claims.Expires; in.session.Expires.Before(p.Ends) {
		p.Ends = in.session.Expires
	}
	return p, nil
}

// person says what is open to somebody signed in.
func (u *Users) person(user registry.User, s registry.UserSession) Person {
	p := Person{User: user, Session: s, Fresh: u.Now().Sub(s.AuthenticatedAt) < FreshFor}
	provider, known := u.provider(s.Provider)
	typed := !known || provider.typed()
	switch {
	case user.MustChange && s.Provider == registry.LocalProvider:
		p.Only = registry.ReasonPasswordMustChange
	case u.RequireFactor != registry.NoRole && user.Role >= u.RequireFactor && typed && !slices.Contains(strings.Fields(s.AMR), "mfa"):
		p.Only = registry.ReasonSecondFactorEnrol
	}
	return p
}

func (u *Users) loadUser(ctx context.Context, id registry.UserID) (*registry.User, error) {
	user, err := u.Find.User(ctx, id)
	return &user, err
}

// nobody turns "there is none" into an invalid token and leaves the rest.
func nobody(err error) error {
	if errors.Is(err, registry.ErrNotFound) {
		return token.ErrInvalid
	}
	return err
}

func live(s registry.UserSession, now time.Time) bool {
	return s.RevokedAt.IsZero() && now.Before(s.Expires)
}

// Changed forgets what a change concerns.
func (u *Users) Changed(c registry.Change) {
	if c.User != "" {
		u.users.Invalidate(c.User)
	}
}

// ChangedAll forgets everything: notices may have been lost.
func (u *Users) ChangedAll() { u.users.InvalidateAll() }

// Issue signs a person in with a name and a password, trying the providers that
// take one in their order. From outside, an unknown name, a wrong password and a
// disabled account look and last the same.
//
// Errors: a *RefusedError (ErrUnauthenticated), a *SecondFactorError (the same)
// when the password is right and more is wanted, a *LimitedError (ErrLimited)
// after too many failures, ErrProvider when a provider that would have to be
// asked does not answer, or that the store did not answer.
func (u *Users) Issue(ctx context.Context, login, pass string, from Client) (Tokens, error) {
	at := newAttempt("sign-in", "", from)
	t, err := u.issue(ctx, at, login, pass, from)
	return u.ended(ctx, at, t, err)
}

func (u *Users) issue(ctx context.Context, at *attempt, login, pass string, from Client) (Tokens, error) {
	if slices.ContainsFunc(u.Providers(), func(p Provider) bool { return p.Request != nil }) {
		at.event.Details["fallback"] = "password" // beside a proxy that names people
	}
	if err := u.throttled(ctx, login, from.IP); err != nil {
		return Tokens{}, err
	}
	p, a, err := u.recognise(ctx, at, login, pass)
	if err == nil {
		var t Tokens
		if t, err = u.admit(ctx, at, p, a, from); err == nil {
			return t, u.succeeded(ctx, login, from.IP)
		}
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		if err := u.failed(ctx, login, from.IP); err != nil {
			return Tokens{}, err
		}
	}
	return Tokens{}, err
}

// recognise asks the providers that take a password, in their order, until one
// says yes. Of several refusals the first that knew the name counts; one that
// did not answer counts more than any refusal, because it might have said yes.
func (u *Users) recognise(ctx context.Context, at *attempt, login, pass string) (Provider, Assertion, error) {
	var away, refusal error
	for _, p := range u.Providers() {
		if !p.typed() {
			continue
		}
		verify := u.verifyLocal
		if p.Secret != nil {
			verify = p.Secret.Verify
		}
		at.event.Provider = p.Key
		a, err := verify(ctx, login, pass)
		var refused *RefusedError
		switch {
		case err == nil:
			return p, a, nil
		case errors.As(err, &refused):
			at.saw(a)
			at.step("%s: %s", p.Key, refused.Reason)
			if refusal == nil || refused.Reason != registry.ReasonUnknownUser && errors.As(refusal, &refused) && refused.Reason == registry.ReasonUnknownUser {
				refusal = err
			}
		case errors.Is(err, ErrProvider):
			at.step("%s did not answer", p.Key)
			away = errors.Join(away, err)
		default:
			return Provider{}, Assertion{}, err
		}
	}
	switch {
	case away != nil:
		return Provider{}, Assertion{}, away
	case refusal == nil:
		return Provider{}, Assertion{}, &RefusedError{Reason: registry.ReasonPasswordDisabled}
	}
	return Provider{}, Assertion{}, refusal
}

// verifyLocal checks a password that is kept here.
func (u *Users) verifyLocal(ctx context.Context, login, pass string) (Assertion, error) {
	user, err := u.Find.UserByLogin(ctx, login)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return Assertion{}, err
	}
	ok, stale, err := u.Passwords.Verify(ctx, user.PasswordHash, pass)
	switch {
	case errors.Is(err, password.ErrBusy):
		return Assertion{}, &LimitedError{RetryAfter: time.Second}
	case err != nil:
		return Assertion{}, fmt.Errorf("check the password of user %s: %w", user.ID, err)
	case user.ID == "":
		return Assertion{}, &RefusedError{Reason: registry.ReasonUnknownUser}
	case !ok:
		return Assertion{}, &RefusedError{Reason: registry.ReasonWrongPassword, User: user.ID}
	}
	if stale && user.Status == registry.Enabled {
		if err := u.rehash(ctx, user.ID, pass); err != nil {
			return Assertion{}, err
		}
	}
	return Assertion{Provider: registry.LocalProvider, Subject: string(user.ID), AMR: []string{"pwd"}}, nil
}

func (u *Users) rehash(ctx context.Context, id registry.UserID, pass string) error {
	hash, err := u.Passwords.Hash(ctx, pass)
	if err != nil {
		return err
	}
	_, err = u.Accounts.UpdateUser(ctx, id, id, func(user *registry.User) error {
		user.PasswordHash = hash
		return nil
	})
	return err
}

// SignIn opens a session for a user whose identity a provider has proved, and
// returns its first tokens. It is where every way to sign in ends. amr says how
// it was proved, in words of RFC 8176.
func (u *Users) SignIn(ctx context.Context, user registry.UserID, provider string, from Client, amr ...string) (Tokens, error) {
	now := u.Now()
	s := registry.UserSession{
		ID: registry.SessionID(u.newID()), User: user, Provider: provider,
		Kind: from.Kind, IP: from.IP, UserAgent: cut(from.UserAgent, 256),
		CreatedAt: now, LastSeen: now, Expires: now.Add(u.SessionLife), AuthenticatedAt: now, AMR: strings.Join(amr, " "),
	}
	if err := u.Store.InsertSession(ctx, s); err != nil {
		return Tokens{}, err
	}
	return u.next(ctx, s, [32]byte{})
}

func (u *Users) newID() string {
	if u.NewID != nil {
		return u.NewID()
	}
	return uuid.NewString()
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// next adds a refresh token to a session's chain and issues an access token.
func (u *Users) next(ctx context.Context, s registry.UserSession, parent [32]byte) (Tokens, error) {
	now := u.Now()
	text, hash := token.NewRefresh()
	expires := now.Add(u.RefreshIdle)
	if s.Expires.Before(expires) {
		expires = s.Expires
	}
	if err := u.Store.InsertRefreshToken(ctx, registry.RefreshToken{Hash: hash, Session: s.ID, Parent: parent, Created: now, Expires: expires}); err != nil {
		return Tokens{}, err
	}
	access, err := u.Tokens.Issue(s.User, s.ID)
	if err != nil {
		return Tokens{}, err
	}
	return Tokens{Access: access, Refresh: text, ExpiresIn: u.Tokens.Life, User: s.User, Session: s.ID}, nil
}

// Refresh trades a refresh token for new tokens; the old one is used up. A
// token that comes a second time ends its session, because somebody else holds
// it, unless it comes within ten seconds, as a retry does: then it is refused
// and the session lives.
//
// Errors are those of Verify.
func (u *Users) Refresh(ctx context.Context, refresh string, from Client) (Tokens, error) {
	at := newAttempt("refresh", "", from)
	t, err := u.rotate(ctx, at, refresh)
	return u.ended(ctx, at, t, err)
}

func (u *Users) rotate(ctx context.Context, at *attempt, refresh string) (Tokens, error) {
	now := u.Now()
	t, first, err := u.Store.UseRefreshToken(ctx, token.Hash(refresh), now)
	if err != nil {
		return Tokens{}, nobody(err)
	}
	s, err := u.Store.Session(ctx, t.Session)
	if err != nil {
		return Tokens{}, nobody(err)
	}
	at.event.Provider = s.Provider
	switch {
	case !live(s, now):
		return Tokens{}, token.ErrInvalid
	case !first && now.Sub(t.UsedAt) > reuseGrace:
		if err := u.Live.RevokeSession(ctx, s.User, s.ID); err != nil {
			return Tokens{}, nobody(err)
		}
		at.step("a used refresh token came again: the session %s is ended", s.ID)
		return Tokens{}, errors.Join(token.ErrInvalid, &RefusedError{Reason: registry.ReasonTokenReused, User: s.User})
	case !first:
		return Tokens{}, token.ErrInvalid
	case !now.Before(t.Expires):
		return Tokens{}, token.ErrExpired
	}
	user, err := u.Find.User(ctx, s.User)
	if err != nil {
		return Tokens{}, nobody(err)
	}
	if user.Status != registry.Enabled {
		return Tokens{}, token.ErrInvalid
	}
	if err := u.Store.TouchSession(ctx, s.ID, now); err != nil {
		return Tokens{}, err
	}
	return u.next(ctx, s, t.Hash)
}

// Revoke ends the session of a refresh token, used or not.
func (u *Users) Revoke(ctx context.Context, refresh string, from Client) error {
	t, _, err := u.Store.UseRefreshToken(ctx, token.Hash(refresh), u.Now())
	if err != nil {
		return nobody(err)
	}
	s, err := u.Store.Session(ctx, t.Session)
	if err != nil {
		return nobody(err)
	}
	return u.signOut(ctx, s, from)
}

// Sessions returns the live sign-ins of a user, the newest first.
func (u *Users) Sessions(ctx context.Context, id registry.UserID) ([]registry.UserSession, error) {
	return u.Store.UserSessions(ctx, id, u.Now())
}

// EndSession ends one sign-in of a user; registry.ErrNotFound when there is no
// such live one.
func (u *Users) EndSession(ctx context.Context, user registry.UserID, id registry.SessionID) error {
	return u.Live.RevokeSession(ctx, user, id)
}

// EndAllSessions ends every sign-in of a user.
func (u *Users) EndAllSessions(ctx context.Context, user registry.UserID) error {
	return u.Live.RevokeSessions(ctx, user, "")
}

// EndOtherSessions ends every sign-in of a user but one.
func (u *Users) EndOtherSessions(ctx context.Context, user registry.UserID, keep registry.SessionID) error {
	return u.Live.RevokeSessions(ctx, user, keep)
}

// SignOut ends the session of a person: its tokens are worthless from then on.
func (u *Users) SignOut(ctx context.Context, p Person, from Client) error {
	return u.signOut(ctx, p.Session, from)
}

func (u *Users) signOut(ctx context.Context, s registry.UserSession, from Client) error {
	if err := u.Live.RevokeSession(ctx, s.User, s.ID); err != nil {
		return nobody(err)
	}
	at := newAttempt("sign-out", s.Provider, from)
	at.event.Outcome, at.event.Actor, at.event.Object = registry.AuditDone, s.User, string(s.ID)
	u.Log.Info("sign-out", "user", s.User, "session", s.ID)
	return u.record(ctx, at.event)
}
