package authn_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
)

const newPhrase = "three tall birches by the canal"

// postbox keeps letters instead of sending them. Held, it does not write them
// before deliver.
type postbox struct {
	t       *testing.T
	letters []authn.Letter
	hold    bool
	full    bool
	held    []func(context.Context) (authn.Letter, error)
}

func (p *postbox) Post(write func(context.Context) (authn.Letter, error)) error {
	if p.full {
		return authn.ErrLimited
	}
	p.held = append(p.held, write)
	if !p.hold {
		p.deliver()
	}
	return nil
}

func (p *postbox) deliver() {
	p.t.Helper()
	for _, write := range p.held {
		l, err := write(p.t.Context())
		if err != nil {
			p.t.Errorf("write a letter: %v", err)
		}
		if l.To != "" {
			p.letters = append(p.letters, l)
		}
	}
	p.held = nil
}

// take returns the letters of a kind and empties the box.
func (p *postbox) take(kind authn.LetterKind) []authn.Letter {
	var found []authn.Letter
	for _, l := range p.letters {
		if l.Kind == kind {
			found = append(found, l)
		}
	}
	p.letters = nil
	return found
}

// one returns the only letter of a kind.
func (p *postbox) one(kind authn.LetterKind) authn.Letter {
	p.t.Helper()
	all := p.take(kind)
	if len(all) != 1 {
		p.t.Fatalf("got %d letters %s, want 1", len(all), kind)
	}
	return all[0]
}

func mailOffice(t *testing.T) (*office, *postbox) {
	o, box := newOffice(t), &postbox{t: t}
	o.Mail = box
	return o, box
}

func (o *office) recoveryKey(t *testing.T, box *postbox) string {
	t.Helper()
	if err := o.RequestReset(t.Context(), "jane@EXAMPLE.com", from); err != nil {
		t.Fatal(err)
	}
	return box.one(authn.LetterRecovery).Key.Reveal()
}

func TestResetByMail(t *testing.T) {
	o, box := mailOffice(t)
	jane := o.jane(t)
	before := o.signIn(t)
	if err := o.RequestReset(t.Context(), "jane@example.com", from); err != nil {
		t.Fatal(err)
	}
	l := box.one(authn.LetterRecovery)
	if l.To != jane.Email || l.Life > 15*time.Minute {
		t.Errorf("C15: got a letter to %q for %s, want %q and 15 minutes at most", l.To, l.Life, jane.Email)
	}
	key := l.Key.Reveal()
	var invalid *registry.InvalidError
	if err := o.Reset(t.Context(), key, "short", from); !errors.As(err, &invalid) {
		t.Errorf("a weak password: got %v, want invalid", err)
	}
	if err := o.Reset(t.Context(), key, newPhrase, from); err != nil {
		t.Fatalf("the key after a weak password: %v", err)
	}
	if _, err := o.Verify(t.Context(), before.Access); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("C19: an old access token: got %v, want invalid", err)
	}
	if _, err := o.Refresh(t.Context(), before.Refresh, from); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("C19: an old refresh token: got %v, want invalid", err)
	}
	if n := box.one(authn.LetterPassword); n.To != jane.Email || !n.Key.IsZero() {
		t.Errorf("C18: got the notice %+v", n)
	}
	_, err := o.Issue(t.Context(), "jane", passphrase, from)
	wantReason(t, "the old password", err, registry.ReasonWrongPassword)
	if _, err := o.Issue(t.Context(), "jane", newPhrase, from); err != nil {
		t.Errorf("the new password: %v", err)
	}
	wantReason(t, "C15: a second use", o.Reset(t.Context(), key, passphrase, from), registry.ReasonKeyInvalid)
	if u, err := o.Find.User(t.Context(), jane.ID); err != nil || !u.EmailVerified {
		t.Errorf("the address is not proved by its key: %v", err)
	}
}

// C15: what a recovery key is not good for.
func TestRecoveryKeysAreBound(t *testing.T) {
	for name, spoil := range map[string]func(*office, *postbox, registry.User){
		"it ends after 15 minutes": func(o *office, _ *postbox, _ registry.User) { o.pass(15 * time.Minute) },
		"it ends with a newer one": func(o *office, box *postbox, _ registry.User) { o.recoveryKey(t, box) },
		"it ends with the address": func(o *office, _ *postbox, u registry.User) {
			o.edit(t, u.ID, func(u *registry.User) { u.Email = "other@example.com" })
		},
		"it ends with the account": func(o *office, _ *postbox, u registry.User) {
			o.edit(t, u.ID, func(u *registry.User) { u.Status = registry.Disabled })
		},
		"it ends with a change of the password": func(o *office, _ *postbox, _ registry.User) {
			p, err := o.Verify(t.Context(), o.signIn(t).Access)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := o.ChangePassword(t.Context(), p, passphrase, "a slow green barge at the lock"); err != nil {
				t.Fatal(err)
			}
		},
		"it ends with a password that somebody set": func(o *office, _ *postbox, u registry.User) {
			if _, err := o.SetPassword(t.Context(), "", u.ID, "a slow green barge at the lock", nobodyMinds, from); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, box := mailOffice(t)
			jane := o.jane(t)
			key := o.recoveryKey(t, box)
			spoil(o, box, jane)
			wantReason(t, name, o.Reset(t.Context(), key, newPhrase, from), registry.ReasonKeyInvalid)
		})
	}
	t.Run("it is for its purpose alone", func(t *testing.T) {
		o, box := mailOffice(t)
		o.jane(t)
		key := o.recoveryKey(t, box)
		wantReason(t, "as an invitation", o.AcceptInvite(t.Context(), key, newPhrase, from), registry.ReasonKeyInvalid)
		wantReason(t, "as a verification", o.VerifyEmail(t.Context(), key, from), registry.ReasonKeyInvalid)
		_, err := o.Recover(t.Context(), key, from)
		wantReason(t, "as a key from the host", err, registry.ReasonKeyInvalid)
		if err := o.Reset(t.Context(), key, newPhrase, from); err != nil {
			t.Errorf("as what it is: %v", err)
		}
	})
}

func nobodyMinds(registry.User) error { return nil }

func (o *office) edit(t *testing.T, id registry.UserID, edit func(*registry.User)) {
	t.Helper()
	if _, err := o.registry.UpdateUser(t.Context(), "", id, func(u *registry.User) error { edit(u); return nil }); err != nil {
		t.Fatal(err)
	}
}

// C16: who asks learns nothing, and nobody gets mail who has no use for it.
func TestNoLetterForStrangers(t *testing.T) {
	o, box := mailOffice(t)
	jane := o.jane(t)
	ask := func(address string) []authn.Letter {
		t.Helper()
		if err := o.RequestReset(t.Context(), address, from); err != nil {
			t.Errorf("%s: got %v, want the same answer for all", address, err)
		}
		o.pass(time.Hour) // no throttle
		return box.take(authn.LetterRecovery)
	}
	none := func(name, address string) {
		t.Helper()
		if n := len(ask(address)); n != 0 {
			t.Errorf("%s: got %d letters, want none", name, n)
		}
	}
	none("an unknown address", "nobody@example.com")
	none("a name", "jane")
	none("nothing", "")
	o.edit(t, jane.ID, func(u *registry.User) { u.Status = registry.Disabled })
	none("a disabled account", jane.Email)
	ldap, err := o.registry.CreateUser(t.Context(), "", registry.User{Username: "lou", Email: "lou@example.com", Provider: "ldap"})
	if err != nil {
		t.Fatal(err)
	}
	none("an account of another provider", ldap.Email)
	if _, err := o.registry.CreateUser(t.Context(), "", registry.User{Username: "new", Email: "new@example.com"}); err != nil {
		t.Fatal(err)
	}
	if n := len(ask("new@example.com")); n != 1 {
		t.Errorf("a local account without a password: got %d letters, want 1", n)
	}
	o.SetProviders([]authn.Provider{{Key: "ldap"}}...)
	none("local passwords are off", "new@example.com")
}

// C16: the account is looked up when the letter is written, so the answer takes
// no longer for one that is there.
func TestAnswerBeforeTheLookUp(t *testing.T) {
	o, box := mailOffice(t)
	box.hold = true
	if err := o.RequestReset(t.Context(), "jane@example.com", from); err != nil {
		t.Fatal(err)
	}
	o.jane(t)
	box.deliver()
	if n := len(box.take(authn.LetterRecovery)); n != 1 {
		t.Errorf("got %d letters to an account that was made after the answer, want 1", n)
	}
}

func TestRecoveryIsThrottled(t *testing.T) {
	o, box := mailOffice(t)
	o.jane(t)
	asked := func(address func(i int) string, ip func(i int) string) (n int) {
		for i := range 60 {
			err := o.RequestReset(t.Context(), address(i), authn.Client{IP: ip(i)})
			switch {
			case err == nil:
				n++
			case !errors.Is(err, authn.ErrLimited):
				t.Fatal(err)
			}
		}
		return n
	}
	always := func(s string) func(int) string { return func(int) string { return s } }
	different := func(i int) string { return string(rune('a'+i%26)) + string(rune('a'+i/26)) + "@example.com" }
	if n := asked(always("jane@example.com"), func(i int) string { return different(i) }); n != 5 {
		t.Errorf("%d of 60 requests for one address were taken, want 5", n)
	}
	if n := len(box.take(authn.LetterRecovery)); n != 5 {
		t.Errorf("got %d letters, want 5", n)
	}
	if n := asked(different, always("203.0.113.9")); n != 30 {
		t.Errorf("%d of 60 requests from one source were taken, want 30", n)
	}
	tried := 0
	for range 60 {
		if err := o.Reset(t.Context(), "pok_wrong", newPhrase, authn.Client{IP: "203.0.113.10"}); !errors.Is(err, authn.ErrLimited) {
			tried++
		}
	}
	if tried != 30 {
		t.Errorf("%d of 60 wrong keys from one source were looked at, want 30", tried)
	}
	box.full = true
	if err := o.RequestReset(t.Context(), "late@example.com", authn.Client{IP: "203.0.113.11"}); !errors.Is(err, authn.ErrLimited) {
		t.Errorf("a full line: got %v, want limited", err)
	}
}

func TestWithoutMail(t *testing.T) {
	o := newOffice(t)
	jane := o.jane(t)
	if err := o.RequestReset(t.Context(), jane.Email, from); !errors.Is(err, authn.ErrNoMail) {
		t.Errorf("a reset: got %v, want no mail", err)
	}
	if err := o.InviteAgain(t.Context(), "", jane, from); !errors.Is(err, authn.ErrNoMail) {
		t.Errorf("an invitation: got %v, want no mail", err)
	}
	var invalid *registry.InvalidError
	if _, err := o.Invite(t.Context(), "", authn.NewUser{Username: "x", Email: "x@example.com"}, from); !errors.As(err, &invalid) {
		t.Errorf("an account without a password: got %v, want invalid", err)
	}
	o.Notify(jane, authn.LetterRole)
	o.EmailChanged(t.Context(), jane, registry.User{Email: "new@example.com"}, from)
}

func TestInvitation(t *testing.T) {
	o, box := mailOffice(t)
	boss := o.jane(t)
	invite := func(name string) (registry.User, string) {
		t.Helper()
		u, err := o.Invite(t.Context(), boss.ID, authn.NewUser{Username: name, Email: name + "@example.com", Role: registry.Viewer}, from)
		if err != nil {
			t.Fatal(err)
		}
		l := box.one(authn.LetterInvite)
		if l.To != u.Email || l.Life > 24*time.Hour {
			t.Errorf("C12: got a letter to %q for %s, want %q and a day at most", l.To, l.Life, u.Email)
		}
		return u, l.Key.Reveal()
	}
	ann, key := invite("ann")
	_, err := o.Issue(t.Context(), "ann", "", from)
	wantReason(t, "before it was accepted", err, registry.ReasonWrongPassword)
	if err := o.InviteAgain(t.Context(), boss.ID, ann, from); err != nil {
		t.Fatal(err)
	}
	again := box.one(authn.LetterInvite).Key.Reveal()
	wantReason(t, "the key before the last", o.AcceptInvite(t.Context(), key, newPhrase, from), registry.ReasonKeyInvalid)
	if err := o.AcceptInvite(t.Context(), again, newPhrase, from); err != nil {
		t.Fatal(err)
	}
	wantReason(t, "C12: a second use", o.AcceptInvite(t.Context(), again, passphrase, from), registry.ReasonKeyInvalid)
	if _, err := o.Issue(t.Context(), "ann", newPhrase, from); err != nil {
		t.Errorf("the password: %v", err)
	}
	ann, err = o.Find.User(t.Context(), ann.ID)
	if err != nil || !ann.EmailVerified || ann.MustChange {
		t.Errorf("after it was accepted: got %+v, %v", ann, err)
	}
	var invalid *registry.InvalidError
	if err := o.InviteAgain(t.Context(), boss.ID, ann, from); !errors.As(err, &invalid) {
		t.Errorf("somebody who has a password: got %v, want invalid", err)
	}
	_, key = invite("bob")
	o.pass(24 * time.Hour)
	wantReason(t, "C12: after a day", o.AcceptInvite(t.Context(), key, newPhrase, from), registry.ReasonKeyInvalid)
}

func TestVerifyEmail(t *testing.T) {
	o, box := mailOffice(t)
	jane := o.jane(t)
	verified := func() bool {
		t.Helper()
		u, err := o.Find.User(t.Context(), jane.ID)
		if err != nil {
			t.Fatal(err)
		}
		return u.EmailVerified
	}
	o.AskToVerify(t.Context(), jane, from)
	stale := box.one(authn.LetterVerify).Key.Reveal()
	moved, err := o.registry.UpdateUser(t.Context(), jane.ID, jane.ID, func(u *registry.User) error { u.Email = "moved@example.com"; return nil })
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, "the key of the address before", o.VerifyEmail(t.Context(), stale, from), registry.ReasonKeyInvalid)
	o.EmailChanged(t.Context(), jane, moved, from)
	letters := box.letters
	box.letters = nil
	if len(letters) != 2 || letters[0].Kind != authn.LetterEmail || letters[0].To != jane.Email || letters[1].Kind != authn.LetterVerify || letters[1].To != moved.Email {
		t.Fatalf("C18: got %+v, want a notice to %s and a key to %s", letters, jane.Email, moved.Email)
	}
	if verified() {
		t.Error("the address is verified before the key was shown")
	}
	if err := o.VerifyEmail(t.Context(), letters[1].Key.Reveal(), from); err != nil || !verified() {
		t.Errorf("the key: got %v", err)
	}
	wantReason(t, "a second use", o.VerifyEmail(t.Context(), letters[1].Key.Reveal(), from), registry.ReasonKeyInvalid)
	moved.EmailVerified = true
	o.AskToVerify(t.Context(), moved, from)
	if len(box.letters) != 0 {
		t.Error("a verified address is asked again")
	}
}

// C13: a password that somebody else gave opens nothing but its own change.
func TestSetPassword(t *testing.T) {
	o, box := mailOffice(t)
	jane := o.jane(t)
	before := o.signIn(t)
	denied := errors.New("may not")
	if _, err := o.SetPassword(t.Context(), "boss", jane.ID, newPhrase, func(registry.User) error { return denied }, from); !errors.Is(err, denied) {
		t.Errorf("who may not: got %v", err)
	}
	var invalid *registry.InvalidError
	if _, err := o.SetPassword(t.Context(), jane.ID, jane.ID, newPhrase, nobodyMinds, from); !errors.As(err, &invalid) {
		t.Errorf("C06: the own password without the old one: got %v, want invalid", err)
	}
	lou, err := o.registry.CreateUser(t.Context(), "", registry.User{Username: "lou", Provider: "ldap"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.SetPassword(t.Context(), "boss", lou.ID, newPhrase, nobodyMinds, from); !errors.As(err, &invalid) {
		t.Errorf("an account of another provider: got %v, want invalid", err)
	}
	if _, err := o.SetPassword(t.Context(), "boss", jane.ID, newPhrase, nobodyMinds, from); err != nil {
		t.Fatal(err)
	}
	if n := box.one(authn.LetterPassword); n.To != jane.Email {
		t.Errorf("C18: got the notice %+v", n)
	}
	if _, err := o.Verify(t.Context(), before.Access); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("C19: got %v, want invalid", err)
	}
	tokens, err := o.Issue(t.Context(), "jane", newPhrase, from)
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.Verify(t.Context(), tokens.Access)
	if err != nil || p.Only != registry.ReasonPasswordMustChange {
		t.Fatalf("got %q, %v, want only the change", p.Only, err)
	}
	if _, err := o.ChangePassword(t.Context(), p, newPhrase, "a slow green barge at the lock"); err != nil {
		t.Fatal(err)
	}
	if p, err := o.Verify(t.Context(), tokens.Access); err != nil || p.Only != "" {
		t.Errorf("after the change: got %q, %v, want all", p.Only, err)
	}
	box.one(authn.LetterPassword)
}

// C11: the defaults of other products, when they are configured, are good for
// their own change and from this machine alone.
func TestWellKnownPasswords(t *testing.T) {
	for _, pass := range []string{"admin", "12345678"} {
		o := newOffice(t)
		if _, err := o.SetUp(t.Context(), o.registry, authn.NewUser{Username: "admin", Password: pass}); err == nil {
			t.Fatalf("%s: somebody may choose it", pass)
		}
		if _, err := o.SetUpConfigured(t.Context(), o.registry, authn.NewUser{Username: "admin", Email: "admin@admin.com", Password: pass}); err != nil {
			t.Fatal(err)
		}
		_, err := o.Issue(t.Context(), "admin@admin.com", pass, from)
		wantReason(t, pass+" from elsewhere", err, registry.ReasonLoopbackOnly)
		here := authn.Client{IP: "127.0.0.1"}
		tokens, err := o.Issue(t.Context(), "admin", pass, here)
		if err != nil {
			t.Fatal(err)
		}
		p, err := o.Verify(t.Context(), tokens.Access)
		if err != nil || p.Only != registry.ReasonPasswordMustChange {
			t.Errorf("%s: got %q, %v, want only the change", pass, p.Only, err)
		}
		if _, err := o.ChangePassword(t.Context(), p, pass, newPhrase); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Issue(t.Context(), "admin", newPhrase, from); err != nil {
			t.Errorf("%s: after the change, from elsewhere: %v", pass, err)
		}
	}
	o := newOffice(t)
	if _, err := o.SetUpConfigured(t.Context(), o.registry, authn.NewUser{Username: "admin", Password: "weak"}); err == nil {
		t.Error("a weak password of no product was taken")
	}
}

func TestBreakGlass(t *testing.T) {
	o := newOffice(t)
	jane := o.jane(t)
	o.edit(t, jane.ID, func(u *registry.User) { u.Status, u.RoleSource, u.MustChange = registry.Disabled, "ldap", true })
	key, err := o.BreakGlass(t.Context(), o.registry, jane.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	o.SetProviders([]authn.Provider{{Key: "ldap"}}...) // no local passwords
	tokens, err := o.Recover(t.Context(), key, from)
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.Verify(t.Context(), tokens.Access)
	if err != nil || p.User.Role != registry.Owner || p.User.RoleSource != "" || p.Session.Provider != authn.RecoveryProvider || p.Only != "" {
		t.Errorf("got %+v, %v, want an owner", p, err)
	}
	_, err = o.Recover(t.Context(), key, from)
	wantReason(t, "a second use", err, registry.ReasonKeyInvalid)
	if _, err := o.ChangePassword(t.Context(), p, "", newPhrase); err != nil {
		t.Errorf("a new password without the old one: %v", err)
	}
	o.pass(authn.FreshFor)
	p, err = o.Verify(t.Context(), tokens.Access)
	if errors.Is(err, token.ErrExpired) {
		if tokens, err = o.Refresh(t.Context(), tokens.Refresh, from); err == nil {
			p, err = o.Verify(t.Context(), tokens.Access)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.ChangePassword(t.Context(), p, "", passphrase)
	wantReason(t, "C06: later, without the old one", err, registry.ReasonWrongPassword)

	key, err = o.BreakGlass(t.Context(), o.registry, jane.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	o.pass(15 * time.Minute)
	_, err = o.Recover(t.Context(), key, from)
	wantReason(t, "after 15 minutes", err, registry.ReasonKeyInvalid)

	if key, err = o.BreakGlass(t.Context(), o.registry, jane.ID, false); err != nil {
		t.Fatal(err)
	}
	if _, err := o.registry.CreateUser(t.Context(), "", registry.User{Username: "other", Role: registry.Owner}); err != nil {
		t.Fatal(err)
	}
	o.edit(t, jane.ID, func(u *registry.User) { u.Status = registry.Disabled })
	_, err = o.Recover(t.Context(), key, from)
	wantReason(t, "C45: disabled after the key was made", err, registry.ReasonKeyInvalid)
}

// enrolled is a second factor that everybody has.
type enrolled struct{}

func (enrolled) Methods(context.Context, registry.UserID) ([]string, error) {
	return []string{"totp"}, nil
}

func (enrolled) Challenge(context.Context, registry.User) (json.RawMessage, error) { return nil, nil }

func (enrolled) Check(context.Context, registry.UserID, authn.Proof) (string, error) {
	return "otp", nil
}

// C14: neither a letter nor the host spares anybody the second factor.
func TestRecoveryAsksForTheFactor(t *testing.T) {
	o, box := mailOffice(t)
	jane := o.jane(t)
	o.Factors = enrolled{}
	var pending *authn.SecondFactorError
	if _, err := o.Issue(t.Context(), "jane", passphrase, from); !errors.As(err, &pending) {
		t.Fatalf("got %v, want the second factor", err)
	}
	ticket := pending.Ticket
	if err := o.Reset(t.Context(), o.recoveryKey(t, box), newPhrase, from); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Issue(t.Context(), "jane", newPhrase, from); !errors.As(err, &pending) {
		t.Errorf("after a reset: got %v, want the second factor", err)
	}
	_, err := o.SecondFactor(t.Context(), ticket, authn.Proof{}, from)
	wantReason(t, "a sign-in with the old password that waited", err, registry.ReasonKeyInvalid)
	key, err := o.BreakGlass(t.Context(), o.registry, jane.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Recover(t.Context(), key, from); !errors.As(err, &pending) {
		t.Fatalf("from the host: got %v, want the second factor", err)
	}
	tokens, err := o.SecondFactor(t.Context(), pending.Ticket, authn.Proof{}, from)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := o.Verify(t.Context(), tokens.Access); err != nil || p.Session.Provider != authn.RecoveryProvider {
		t.Errorf("got %+v, %v", p.Session, err)
	}
}

// C18: a changed second factor is told to the person, and ends the sign-ins but
// the one that it came by.
func TestFactorNotice(t *testing.T) {
	o, box := mailOffice(t)
	jane := o.jane(t)
	mine, other := o.signIn(t), o.signIn(t)
	p, err := o.Verify(t.Context(), mine.Access)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.FactorChanged(t.Context(), authn.FactorRemoved, "totp", p, jane.ID, from); err != nil {
		t.Fatal(err)
	}
	if l := box.one(authn.LetterFactor); l.To != jane.Email || l.Key.Reveal() != "" {
		t.Errorf("the letter goes to %q", l.To)
	}
	if _, err := o.Verify(t.Context(), mine.Access); err != nil {
		t.Errorf("the own session: %v", err)
	}
	if _, err := o.Verify(t.Context(), other.Access); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("another session: got %v, want ended", err)
	}
}
