package authn

import (
	"context"
	"errors"
	"fmt"
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
	// RefreshIdle is how long a refresh token may lie unused.
	RefreshIdle = 24 * time.Hour
	// SessionLife is the absolute end of a sign-in, however often refreshed.
	SessionLife = 30 * 24 * time.Hour
	// reuseGrace is how long after its use a refresh token that comes again is
	// taken for a retry: it is refused, but the family lives. Two tabs or a
	// lost answer do that; a thief gains nothing by it.
	reuseGrace = 10 * time.Second
	// personFresh bounds how long a lost change notice can go unnoticed.
	personFresh = 10 * time.Second
)

// Users signs people in with a password and keeps their sessions. It is safe
// for concurrent use.
type Users struct {
	UsersConfig
	users    *otter.Cache[registry.UserID, *registry.User]
	sessions *otter.Cache[registry.SessionID, *signedIn]
}

// UsersConfig is what NewUsers needs; only Policy has a useful zero value.
type UsersConfig struct {
	Accounts  Accounts
	Live      Sessions
	Find      People
	Store     SignIns
	Throttles Throttles
	Passwords *password.Hasher
	Policy    password.Policy
	Tokens    *token.Signer
	Now       func() time.Time
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
	return &Users{
		UsersConfig: c,
		users: otter.Must(&otter.Options[registry.UserID, *registry.User]{
			MaximumSize: 10_000, ExpiryCalculator: otter.ExpiryWriting[registry.UserID, *registry.User](personFresh),
			Logger: &otter.NoopLogger{},
		}),
		sessions: otter.Must(&otter.Options[registry.SessionID, *signedIn]{
			MaximumSize: 10_000, ExpiryCalculator: otter.ExpiryWriting[registry.SessionID, *signedIn](personFresh),
			Logger: &otter.NoopLogger{},
		}),
	}
}

// A Person is somebody signed in, as of now: the account and the session.
type Person struct {
	User    registry.User
	Session registry.UserSession
}

// A Client is where a sign-in comes from.
type Client struct {
	IP        string
	UserAgent string
	Kind      string // "api" or "browser"
}

// Tokens are the outcome of a sign-in. Access and Refresh are secrets.
type Tokens struct {
	Access    string
	Refresh   string
	ExpiresIn time.Duration // of the access token
	User      registry.UserID
	Session   registry.SessionID
}

// Verify returns who holds an access token. The account and the session are as
// they are now, not as they were when the token was made.
//
// Errors: token.ErrExpired, token.ErrInvalid (also for a session that was ended
// and an account that is disabled), or that the store did not answer.
func (u *Users) Verify(ctx context.Context, accessToken string) (Person, error) {
	claims, err := u.Tokens.Verify(accessToken)
	if err != nil {
		return Person{}, err
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
	return Person{User: *user, Session: in.session}, nil
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

// Issue signs a person in with a password. From outside, an unknown login, a
// wrong password and a disabled account look and last the same.
//
// Errors: a *RefusedError (ErrUnauthenticated), a *LimitedError (ErrLimited)
// after too many failures, or that the store did not answer.
func (u *Users) Issue(ctx context.Context, login, pass string, from Client) (Tokens, error) {
	if err := u.throttled(ctx, login, from.IP); err != nil {
		return Tokens{}, err
	}
	user, err := u.Find.UserByLogin(ctx, login)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return Tokens{}, err
	}
	ok, stale, err := u.Passwords.Verify(ctx, user.PasswordHash, pass)
	switch {
	case errors.Is(err, password.ErrBusy):
		return Tokens{}, &LimitedError{RetryAfter: time.Second}
	case err != nil:
		return Tokens{}, fmt.Errorf("check the password of user %s: %w", user.ID, err)
	case !ok, user.Status != registry.Enabled:
		if err := u.failed(ctx, login, from.IP); err != nil {
			return Tokens{}, err
		}
		return Tokens{}, &RefusedError{Reason: refusal(user, ok), User: user.ID}
	}
	if stale {
		if err := u.rehash(ctx, user.ID, pass); err != nil {
			return Tokens{}, err
		}
	}
	if err := u.succeeded(ctx, login, from.IP); err != nil {
		return Tokens{}, err
	}
	return u.SignIn(ctx, user.ID, "local", from)
}

func refusal(u registry.User, ok bool) registry.Reason {
	switch {
	case u.ID == "":
		return registry.ReasonUnknownUser
	case !ok:
		return registry.ReasonWrongPassword
	}
	return registry.ReasonUserDisabled
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
// returns its first tokens. It is where every way to sign in ends.
func (u *Users) SignIn(ctx context.Context, user registry.UserID, provider string, from Client) (Tokens, error) {
	now := u.Now()
	s := registry.UserSession{
		ID: registry.SessionID(uuid.NewString()), User: user, Provider: provider,
		Kind: from.Kind, IP: from.IP, UserAgent: cut(from.UserAgent, 256),
		CreatedAt: now, LastSeen: now, Expires: now.Add(SessionLife),
	}
	if err := u.Store.InsertSession(ctx, s); err != nil {
		return Tokens{}, err
	}
	return u.next(ctx, s, [32]byte{})
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
	expires := now.Add(RefreshIdle)
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
func (u *Users) Refresh(ctx context.Context, refresh string, _ Client) (Tokens, error) {
	now := u.Now()
	t, first, err := u.Store.UseRefreshToken(ctx, token.HashRefresh(refresh), now)
	if err != nil {
		return Tokens{}, nobody(err)
	}
	s, err := u.Store.Session(ctx, t.Session)
	if err != nil {
		return Tokens{}, nobody(err)
	}
	switch {
	case !live(s, now):
		return Tokens{}, token.ErrInvalid
	case !first && now.Sub(t.UsedAt) > reuseGrace:
		if err := u.Live.RevokeSession(ctx, s.User, s.ID); err != nil {
			return Tokens{}, nobody(err)
		}
		return Tokens{}, token.ErrInvalid
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
func (u *Users) Revoke(ctx context.Context, refresh string) error {
	t, _, err := u.Store.UseRefreshToken(ctx, token.HashRefresh(refresh), u.Now())
	if err != nil {
		return nobody(err)
	}
	s, err := u.Store.Session(ctx, t.Session)
	if err != nil {
		return nobody(err)
	}
	return nobody(u.Live.RevokeSession(ctx, s.User, s.ID))
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
