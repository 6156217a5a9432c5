package authn

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
)

// APIKeys reads API keys and notes their use.
type APIKeys interface {
	// APIKeyByPrefix returns a key, revoked and expired ones included.
	APIKeyByPrefix(ctx context.Context, prefix string) (registry.APIKey, error)
	// APIKeys returns those of a user that are not revoked, the newest first.
	APIKeys(ctx context.Context, user registry.UserID) ([]registry.APIKey, error)
	TouchAPIKey(ctx context.Context, id registry.APIKeyID, at time.Time) error
	HighestMembership(ctx context.Context, user registry.UserID) (registry.Role, error)
}

// KeyRing makes and ends API keys, so that every node hears of it.
type KeyRing interface {
	CreateAPIKey(ctx context.Context, k registry.APIKey) (registry.APIKey, error)
	RevokeAPIKey(ctx context.Context, user registry.UserID, id registry.APIKeyID) error
}

const (
	// APIKeyProvider stands as the provider of who comes with an API key.
	APIKeyProvider = "api-key"
	// APIKeyPrefix begins every API key: it tells people and scanners what the
	// string is, and us that it is no access token.
	APIKeyPrefix = "pst_"
	// DefaultKeyLife is how long an API key lives when nothing else is said.
	DefaultKeyLife = 90 * 24 * time.Hour
	// MaxKeyLife is the longest that an API key may live.
	MaxKeyLife = 366 * 24 * time.Hour

	prefixLength = 8  // 40 random bits
	secretLength = 43 // 256 random bits
	keyLength    = len(APIKeyPrefix) + prefixLength + 1 + secretLength

	// keySession begins the session of an access token that stands for a key.
	// Ids of sessions are UUIDs, so it is no session's.
	keySession = "key:"
	// touchEvery is how exactly the last use of a key is known.
	touchEvery = time.Minute
)

// wrongKeyLimits bound wrong keys from one address. They cannot be guessed (256
// bits); the limit spares the database.
var wrongKeyLimits = Limits{SourcePerSecond: 1, SourceBurst: 60}

// prefixEncoding has no letter that is both in capitals and not, and no _.
var prefixEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// keyHolder is a key with the account as it was when the key was read. As with
// signedIn, another account in the cache of users means: read it again.
type keyHolder struct {
	user *registry.User
	key  registry.APIKey
}

func newKeyCache() *otter.Cache[string, *keyHolder] {
	return otter.Must(&otter.Options[string, *keyHolder]{
		MaximumSize: 10_000, ExpiryCalculator: otter.ExpiryWriting[string, *keyHolder](personFresh),
		Logger: &otter.NoopLogger{},
	})
}

// CreateAPIKey makes a key by which a program acts for the person, with at most
// the role, until expires; the zero time means DefaultKeyLife from now. The text
// is returned once and not kept.
//
// Errors: a *RefusedError with ReasonSessionRequired when the person came by no
// session of its own (a key makes no keys, C62), or with ReasonReauthenticate
// when the sign-in is too long ago (C52); *registry.InvalidError for a name, a
// role above every role of the person, a time that is past or beyond MaxKeyLife,
// and for a key too many; or that the store did not answer.
func (u *Users) CreateAPIKey(ctx context.Context, p Person, name string, role registry.Role, expires time.Time) (registry.APIKey, registry.Secret, error) {
	var none registry.Secret
	switch {
	case p.Session.ID == "" || p.Key != "":
		return registry.APIKey{}, none, &RefusedError{Reason: registry.ReasonSessionRequired, User: p.User.ID}
	case !p.Fresh:
		return registry.APIKey{}, none, &RefusedError{Reason: registry.ReasonReauthenticate, User: p.User.ID}
	}
	member, err := u.APIKeys.HighestMembership(ctx, p.User.ID)
	if err != nil {
		return registry.APIKey{}, none, err
	}
	now := u.Now()
	if expires.IsZero() {
		expires = now.Add(DefaultKeyLife)
	}
	switch {
	case role == registry.NoRole:
		return registry.APIKey{}, none, &registry.InvalidError{Field: "role", Reason: "must be viewer, editor, admin or owner"}
	case role > max(p.User.Role, member):
		return registry.APIKey{}, none, &registry.InvalidError{Field: "role", Reason: "must not be above your own"}
	case !expires.After(now):
		return registry.APIKey{}, none, &registry.InvalidError{Field: "expires_at", Reason: "must be in the future"}
	case expires.After(now.Add(MaxKeyLife)):
		return registry.APIKey{}, none, &registry.InvalidError{Field: "expires_at", Reason: "must be within a year"}
	}
	prefix, text := newKey()
	k, err := u.KeyRing.CreateAPIKey(ctx, registry.APIKey{Hash: token.Hash(text), User: p.User.ID, Name: name, Prefix: prefix, Role: role, Expires: expires})
	if err != nil {
		return registry.APIKey{}, none, err
	}
	return k, registry.SecretOf(text), nil
}

// newKey returns pst_<prefix>_<secret>, and the prefix by which it is found.
func newKey() (prefix, text string) {
	var b [prefixLength * 5 / 8]byte
	rand.Read(b[:])
	prefix = prefixEncoding.EncodeToString(b[:])
	return prefix, token.New(APIKeyPrefix + prefix + "_")
}

// keyPrefixOf returns the part of a key by which it is found; "" when the text
// is no key that newKey could have made.
func keyPrefixOf(text string) string {
	if len(text) != keyLength || !strings.HasPrefix(text, APIKeyPrefix) || text[len(APIKeyPrefix)+prefixLength] != '_' {
		return ""
	}
	prefix := text[len(APIKeyPrefix):][:prefixLength]
	if _, err := prefixEncoding.DecodeString(prefix); err != nil {
		return ""
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(text[keyLength-secretLength:]); err != nil {
		return ""
	}
	return prefix
}

// UserAPIKeys returns the keys of a user that are not revoked, the newest first.
func (u *Users) UserAPIKeys(ctx context.Context, user registry.UserID) ([]registry.APIKey, error) {
	return u.APIKeys.APIKeys(ctx, user)
}

// RevokeAPIKey ends a key of a user, on every node at once; registry.ErrNotFound
// when there is no such key.
func (u *Users) RevokeAPIKey(ctx context.Context, user registry.UserID, id registry.APIKeyID) error {
	return u.KeyRing.RevokeAPIKey(ctx, user, id)
}

// KeyToken trades an API key for an access token that stands for it: the token
// may what the key may, and ends with it. There is no refresh token (RFC 6749
// §4.4.3): the key itself is better. id names the key: its prefix, with or
// without pst_, or its id.
//
// Errors are those of VerifyFrom.
func (u *Users) KeyToken(ctx context.Context, id, key string, from Client) (Tokens, error) {
	at := newAttempt("sign-in", APIKeyProvider, from)
	t, err := u.keyToken(ctx, id, key, from)
	return u.ended(ctx, at, t, err)
}

func (u *Users) keyToken(ctx context.Context, id, text string, from Client) (Tokens, error) {
	k, p, err := u.verifyKey(ctx, text, from)
	if err != nil {
		return Tokens{}, err
	}
	if id != k.Prefix && id != APIKeyPrefix+k.Prefix && id != string(k.ID) {
		return Tokens{}, badKey(registry.ReasonConflictingEvidence, k.User)
	}
	s := registry.SessionID(keySession + k.Prefix)
	access, err := u.Tokens.Issue(p.User.ID, s)
	if err != nil {
		return Tokens{}, err
	}
	return Tokens{Access: access, ExpiresIn: min(u.Tokens.Life, k.Expires.Sub(u.Now())), User: p.User.ID, Session: s}, nil
}

// badKey is a refusal that looks like that of any token that is none.
func badKey(reason registry.Reason, user registry.UserID) error {
	return errors.Join(token.ErrInvalid, &RefusedError{Reason: reason, User: user})
}

// verifyKey finds out whose key it is. Whoever sends wrong ones too often from
// one address has to wait, unless the key is right and known to memory.
func (u *Users) verifyKey(ctx context.Context, text string, from Client) (registry.APIKey, Person, error) {
	prefix := keyPrefixOf(text)
	if prefix == "" || u.APIKeys == nil {
		return registry.APIKey{}, Person{}, badKey(registry.ReasonKeyInvalid, "")
	}
	hash, source := token.Hash(text), &Credential{}
	source.Remote, _ = netip.ParseAddr(from.IP) // none: all of these are one source
	if in, known := u.keyHolders.GetIfPresent(prefix); !known || !sameHash(in.key.Hash, hash) {
		if wait, blocked := u.wrongKeys.blocked(u.Now(), source); blocked {
			return registry.APIKey{}, Person{}, &LimitedError{RetryAfter: wait}
		}
	}
	in, err := u.holder(ctx, prefix)
	if errors.Is(err, registry.ErrNotFound) || err == nil && !sameHash(in.key.Hash, hash) {
		u.wrongKeys.count(u.Now(), source)
		return registry.APIKey{}, Person{}, badKey(registry.ReasonKeyInvalid, "")
	}
	if err != nil {
		return registry.APIKey{}, Person{}, err
	}
	p, err := u.program(ctx, in, from)
	return in.key, p, err
}

// verifyKeyToken is VerifyFrom for an access token that stands for a key.
func (u *Users) verifyKeyToken(ctx context.Context, owner registry.UserID, prefix string, from Client) (Person, error) {
	if u.APIKeys == nil {
		return Person{}, token.ErrInvalid
	}
	in, err := u.holder(ctx, prefix)
	if err != nil {
		return Person{}, nobody(err)
	}
	if in.key.User != owner {
		return Person{}, token.ErrInvalid
	}
	return u.program(ctx, in, from)
}

func sameHash(a, b [32]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// holder returns a key and its account as they are now.
func (u *Users) holder(ctx context.Context, prefix string) (*keyHolder, error) {
	load := otter.LoaderFunc[registry.UserID, *registry.User](u.loadUser)
	in, known := u.keyHolders.GetIfPresent(prefix)
	owner := registry.UserID("")
	if known {
		owner = in.key.User
	} else {
		key, err := u.APIKeys.APIKeyByPrefix(ctx, prefix)
		if err != nil {
			return nil, err
		}
		owner = key.User
	}
	user, err := u.users.Get(ctx, owner, load)
	if err != nil {
		return nil, err
	}
	if known && in.user == user {
		return in, nil
	}
	// Read after the account, so that a notice of a change after this finds the
	// account in memory and makes this entry old.
	key, err := u.APIKeys.APIKeyByPrefix(ctx, prefix)
	if err != nil {
		return nil, err
	}
	if key.User != user.ID {
		return nil, registry.ErrNotFound
	}
	in = &keyHolder{user, key}
	u.keyHolders.Set(prefix, in)
	return in, nil
}

// program is who comes with a right key: the owner, with at most the key's role.
func (u *Users) program(ctx context.Context, in *keyHolder, from Client) (Person, error) {
	now, user, k := u.Now(), *in.user, in.key
	switch {
	case !k.RevokedAt.IsZero():
		return Person{}, badKey(registry.ReasonKeyInvalid, user.ID)
	case user.Status != registry.Enabled:
		return Person{}, badKey(registry.ReasonUserDisabled, user.ID)
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return Person{}, errors.Join(token.ErrExpired, &RefusedError{Reason: registry.ReasonKeyInvalid, User: user.ID})
	}
	u.touchKey(ctx, in, now)
	user.Ceiling = k.Role
	user.Role = user.AtMost(user.Role)
	p := Person{User: user, Key: k.ID, Ends: k.Expires, Session: registry.UserSession{
		User: user.ID, Provider: APIKeyProvider, Kind: cmp.Or(from.Kind, "api"), IP: from.IP, UserAgent: from.UserAgent,
		CreatedAt: k.CreatedAt, LastSeen: now, Expires: k.Expires,
	}}
	if user.MustChange && user.PasswordHash != "" {
		p.Only = registry.ReasonPasswordMustChange
	}
	return p, nil
}

// touchKey notes the use of a key, at most once in touchEvery. That it could not
// be noted is in the log: it is a hint, and no reason to turn somebody away.
func (u *Users) touchKey(ctx context.Context, in *keyHolder, now time.Time) {
	if now.Sub(in.key.LastUsed) < touchEvery {
		return
	}
	if err := u.APIKeys.TouchAPIKey(ctx, in.key.ID, now); err != nil {
		u.Log.Warn("last use of an API key not recorded", "key", in.key.ID, "err", err)
		return
	}
	touched := &keyHolder{in.user, in.key}
	touched.key.LastUsed = now
	u.keyHolders.ComputeIfPresent(in.key.Prefix, func(old *keyHolder) (*keyHolder, otter.ComputeOp) {
		if old == in {
			return touched, otter.WriteOp
		}
		return old, otter.CancelOp // it was read again meanwhile
	})
}
