package authn

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/postern-io/postern/registry"
)

// Links keeps which identity at a provider is whose.
type Links interface {
	Identity(ctx context.Context, provider, subject string) (registry.LinkedIdentity, error)
	Identities(ctx context.Context, user registry.UserID) ([]registry.LinkedIdentity, error)
	TouchIdentity(ctx context.Context, provider, subject string, at time.Time) error
}

// Arrivals makes and links the accounts of people whom a provider sends.
type Arrivals interface {
	CreateUserFor(ctx context.Context, u registry.User, i registry.LinkedIdentity) (registry.User, error)
	Replace(ctx context.Context, id registry.UserID, u registry.User, i registry.LinkedIdentity) (registry.User, error)
	Link(ctx context.Context, i registry.LinkedIdentity) error
}

// admit is the way that every assertion goes: identity, account, state, role,
// second factor, session.
func (u *Users) admit(ctx context.Context, at *attempt, p Provider, a Assertion, from Client) (Tokens, error) {
	user, err := u.arrive(ctx, at, p, a, from)
	if err != nil {
		return Tokens{}, err
	}
	if p.typed() && u.Factors != nil {
		methods, err := u.Factors.Methods(ctx, user.ID)
		if err != nil {
			return Tokens{}, err
		}
		if len(methods) > 0 {
			at.step("the account has a second factor, which is asked for")
			return Tokens{}, u.askFactor(ctx, user.ID, pending{Provider: p.Key, AMR: a.AMR, Kind: from.Kind}, methods)
		}
	}
	return u.SignIn(ctx, user.ID, p.Key, from, a.AMR...)
}

// typed reports whether people type a password for this provider: then a second
// factor is ours to ask for, not the provider's.
func (p Provider) typed() bool { return p.Redirect == nil && p.Request == nil }

// arrive finds or makes the account of an assertion, and brings it up to date.
func (u *Users) arrive(ctx context.Context, at *attempt, p Provider, a Assertion, from Client) (registry.User, error) {
	at.saw(a)
	user, made, err := u.accountOf(ctx, at, p, a)
	if err != nil {
		return registry.User{}, err
	}
	at.event.Actor, at.event.ActorName = user.ID, user.Username
	switch {
	case user.Status != registry.Enabled:
		at.step("the account is %s", user.Status)
		return user, &RefusedError{Reason: registry.ReasonUserDisabled, User: user.ID}
	case user.LoopbackOnly && p.Key == registry.LocalProvider && !from.loopback():
		at.step("the account has a well-known password, which opens nothing from elsewhere")
		return user, &RefusedError{Reason: registry.ReasonLoopbackOnly, User: user.ID}
	case p.Key == registry.LocalProvider, made:
		return user, nil
	}
	return u.refresh(ctx, at, p, a, user)
}

func (c Client) loopback() bool {
	ip, err := netip.ParseAddr(c.IP)
	return err == nil && ip.Unmap().IsLoopback()
}

// accountOf returns whose assertion it is; made says that the account is new. The key is provider and subject, never
// an e-mail address (C24).
func (u *Users) accountOf(ctx context.Context, at *attempt, p Provider, a Assertion) (user registry.User, made bool, err error) {
	if p.Key == registry.LocalProvider {
		user, err = u.Find.User(ctx, registry.UserID(a.Subject))
		return user, false, err
	}
	if a.Subject == "" {
		return user, false, &RefusedError{Reason: registry.ReasonSubjectMissing}
	}
	for range 3 {
		link, err := u.Links.Identity(ctx, p.Key, a.Subject)
		if err == nil {
			if err := u.Links.TouchIdentity(ctx, p.Key, a.Subject, u.Now()); err != nil {
				return user, false, err
			}
			user, err = u.Find.User(ctx, link.User)
			return user, false, err
		}
		if !errors.Is(err, registry.ErrNotFound) {
			return user, false, err
		}
		user, err = u.newcomer(ctx, at, p, a)
		// Somebody else may have made it, or taken the name, at this moment.
		if !errors.Is(err, registry.ErrExists) {
			return user, user.Provider == p.Key, err
		}
	}
	return user, false, &RefusedError{Reason: registry.ReasonLinkRequired}
}

// newcomer links or makes an account for an identity that has none, by the
// rules of users.md §2.4 in their order.
func (u *Users) newcomer(ctx context.Context, at *attempt, p Provider, a Assertion) (registry.User, error) {
	at.step("the identity is new here")
	link := registry.LinkedIdentity{Provider: p.Key, Subject: a.Subject, Email: a.Email}
	verified := a.Email != "" && (a.EmailVerified || p.Rules.TrustedEmail)
	if user, err := u.awaited(ctx, p, a); err != nil || user.ID != "" {
		if err == nil {
			at.step("the account %s was made for it", user.Username)
			link.User = user.ID
			err = u.Arrivals.Link(ctx, link)
		}
		return user, err
	}
	owner, err := u.byEmail(ctx, a.Email)
	if err != nil {
		return registry.User{}, err
	}
	if owner.ID != "" {
		at.step("its e-mail address is that of the account %s", owner.ID)
		switch {
		case verified && p.Rules.LinkByEmail && owner.EmailVerified && owner.Role < registry.Admin:
			at.step("both have it verified, so the identity is linked to that account")
			link.User = owner.ID
			return owner, u.Arrivals.Link(ctx, link)
		case !verified || !owner.Unproved() || !p.Rules.Provision:
			return registry.User{}, &RefusedError{Reason: registry.ReasonLinkRequired, User: owner.ID}
		}
		at.step("nobody ever proved that address there, so the account is made anew for the identity")
	}
	if !p.Rules.Provision {
		return registry.User{}, &RefusedError{Reason: registry.ReasonNotProvisioned}
	}
	if p.Rules.keepsOut(a, at, true) {
		return registry.User{}, &RefusedError{Reason: registry.ReasonNoMappedRole}
	}
	role, _ := p.Rules.role(a, at)
	next := registry.User{Provider: p.Key, Email: a.Email, EmailVerified: verified, Role: role}
	if p.Rules.Sync == SyncAlways {
		next.RoleSource = p.Key
	}
	told(&next, a)
	if next.Username, err = u.freeName(ctx, a, owner.Username); err != nil {
		return registry.User{}, err
	}
	var user registry.User
	if owner.ID != "" {
		user, err = u.Arrivals.Replace(ctx, owner.ID, next, link)
	} else {
		user, err = u.Arrivals.CreateUserFor(ctx, next, link)
	}
	var invalid *registry.InvalidError
	if errors.As(err, &invalid) {
		at.step("no account can be made of it: %s", invalid)
		return registry.User{}, &RefusedError{Reason: registry.ReasonAssertionInvalid}
	}
	if err == nil {
		at.step("made the account %s with the role %s", user.Username, roleWord(user.Role))
	}
	return user, err
}

// awaited returns the account that was made for somebody of this directory and
// that nobody has used: the same name, the same provider, no identity yet. Only
// a directory, whose names are unique and given by an administrator, can claim
// an account so.
func (u *Users) awaited(ctx context.Context, p Provider, a Assertion) (registry.User, error) {
	if p.Secret == nil || a.Login == "" || strings.Contains(a.Login, "@") {
		return registry.User{}, nil
	}
	user, err := u.Find.UserByLogin(ctx, a.Login)
	if errors.Is(err, registry.ErrNotFound) || err == nil && user.Provider != p.Key {
		return registry.User{}, nil
	}
	if err != nil {
		return registry.User{}, err
	}
	links, err := u.Links.Identities(ctx, user.ID)
	if err != nil || len(links) > 0 {
		return registry.User{}, err
	}
	return user, nil
}

// byEmail returns the account with that address, or none.
func (u *Users) byEmail(ctx context.Context, email string) (registry.User, error) {
	if !strings.Contains(email, "@") {
		return registry.User{}, nil
	}
	user, err := u.Find.UserByLogin(ctx, email)
	if errors.Is(err, registry.ErrNotFound) {
		return registry.User{}, nil
	}
	return user, err
}

// told copies what a provider tells of a person.
func told(user *registry.User, a Assertion) {
	for _, f := range []struct {
		to   *string
		from string
	}{{&user.FirstName, a.FirstName}, {&user.LastName, a.LastName}, {&user.ProfilePicture, a.Picture}} {
		if f.from != "" {
			*f.to = f.from
		}
	}
	if a.Attributes != nil {
		user.Attributes = a.Attributes
	}
}

// refresh brings an account up to date with what the provider says today:
// names and attributes when the provider made it, the role when the provider
// gave it. The last owner stays one.
func (u *Users) refresh(ctx context.Context, at *attempt, p Provider, a Assertion, user registry.User) (registry.User, error) {
	role, known := user.Role, false
	if p.Rules.Sync == SyncAlways && user.RoleSource == p.Key {
		if r, says := p.Rules.role(a, at); says {
			role, known = r, true
		}
	}
	if p.Rules.keepsOut(a, at, false) {
		return user, &RefusedError{Reason: registry.ReasonNoMappedRole, User: user.ID}
	}
	next := user
	if user.Provider == p.Key {
		told(&next, a)
	}
	if known {
		next.Role = role
	}
	if same(user, next) {
		return user, nil
	}
	updated, err := u.Accounts.UpdateUser(ctx, "", user.ID, func(row *registry.User) error {
		if row.Provider == p.Key {
			told(row, a)
		}
		if known && row.RoleSource == p.Key {
			row.Role = role
		}
		return nil
	})
	var invalid *registry.InvalidError
	switch {
	case errors.Is(err, registry.ErrLastOwner):
		at.step("the last owner keeps that role")
		return user, nil
	case errors.As(err, &invalid):
		at.step("what the provider tells cannot be kept: %s", invalid)
		return user, &RefusedError{Reason: registry.ReasonAssertionInvalid, User: user.ID}
	case err != nil:
		return user, err
	}
	if updated.Role != user.Role {
		at.step("the role changes from %s to %s", roleWord(user.Role), roleWord(updated.Role))
	}
	return updated, nil
}

// same reports whether a refresh would change nothing.
func same(a, b registry.User) bool {
	return a.FirstName == b.FirstName && a.LastName == b.LastName && a.ProfilePicture == b.ProfilePicture &&
		a.Role == b.Role && maps.Equal(a.Attributes, b.Attributes)
}

// freeName returns a name for a new account that nobody has: what the provider
// calls the person, with random digits behind it when that is taken. The name
// is for people to read; nothing is decided by it.
func (u *Users) freeName(ctx context.Context, a Assertion, mine string) (string, error) {
	wish := nameFrom(a.Login)
	if wish == "" {
		local, _, _ := strings.Cut(a.Email, "@")
		wish = nameFrom(local)
	}
	if wish == "" {
		wish = "user"
	}
	name := wish
	for range 5 {
		_, err := u.Find.UserByLogin(ctx, name)
		switch {
		case errors.Is(err, registry.ErrNotFound), err == nil && strings.EqualFold(name, mine):
			return name, nil
		case err != nil:
			return "", err
		}
		var b [4]byte
		rand.Read(b[:])
		name = wish + "-" + hex.EncodeToString(b[:])
	}
	return name, nil
}

// nameFrom makes a user name of what a provider says: without what a user name
// must not have, and with room for the digits.
func nameFrom(s string) string {
	local, _, _ := strings.Cut(s, "@")
	name := []rune(strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar || r == '\u2028' || r == '\u2029' {
			return -1
		}
		return r
	}, local)))
	return strings.TrimSpace(string(name[:min(len(name), registry.MaxUsername-9)]))
}

// provider returns the provider of that key.
func (u *Users) provider(key string) (Provider, bool) {
	all := u.Providers()
	i := slices.IndexFunc(all, func(p Provider) bool { return p.Key == key })
	if i < 0 {
		return Provider{}, false
	}
	return all[i], true
}
