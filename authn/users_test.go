package authn_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/password"
	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

const passphrase = "seven quiet lamps above the harbour"

// office is a users service on a real store, with a clock that the test moves.
type office struct {
	*authn.Users
	registry *registry.Registry
	store    *store.Store
	mu       sync.Mutex
	now      time.Time
}

var from = authn.Client{IP: "192.0.2.7", UserAgent: "test", Kind: "api"}

func newOffice(t *testing.T) *office {
	t.Helper()
	return newOfficeOn(t)
}

func newOfficeOn(t testing.TB) *office {
	t.Helper()
	s, err := store.Open(t.Context(), "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	o := &office{store: s, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	_, key, _ := ed25519.GenerateKey(nil)
	o.registry = &registry.Registry{Store: s, Now: o.clock, NewID: uuid.NewString}
	o.Users = authn.NewUsers(authn.UsersConfig{
		Accounts: o.registry, Arrivals: o.registry, Live: o.registry, Find: s, Links: s, Store: s, Flows: s, Keys: s, Throttles: s, Audit: s, APIKeys: s, KeyRing: o.registry,
		Passwords: password.NewHasher(), Now: o.clock,
		Tokens: &token.Signer{Issuer: "https://postern.example", Audience: "postern", Life: 15 * time.Minute, Now: o.clock, Keys: token.Keys{Active: key}},
	})
	o.registry.OnChange = func(_ context.Context, changes []registry.Change) {
		for _, c := range changes {
			o.Changed(c)
		}
	}
	return o
}

func (o *office) clock() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

func (o *office) pass(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = o.now.Add(d)
}

func (o *office) jane(t *testing.T) registry.User {
	t.Helper()
	u, err := o.Register(t.Context(), "", authn.NewUser{Username: "jane", Email: "Jane@example.com", Password: passphrase, Role: registry.Editor})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (o *office) signIn(t *testing.T) authn.Tokens {
	t.Helper()
	tokens, err := o.Issue(t.Context(), "jane", passphrase, from)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestSignIn(t *testing.T) {
	o := newOffice(t)
	jane := o.jane(t)
	for _, login := range []string{"jane", "JANE", "jane@example.com"} {
		tokens, err := o.Issue(t.Context(), login, passphrase, from)
		if err != nil {
			t.Fatalf("%s: %v", login, err)
		}
		p, err := o.Verify(t.Context(), tokens.Access)
		if err != nil || p.User.ID != jane.ID || p.User.Role != registry.Editor || p.Session.IP != from.IP {
			t.Errorf("%s: got %+v, %v", login, p, err)
		}
		if _, err := o.Verify(t.Context(), tokens.Refresh); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("C38: a refresh token as access token: got %v", err)
		}
		if _, err := o.Refresh(t.Context(), tokens.Access, from); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("C38: an access token as refresh token: got %v", err)
		}
	}
	sessions, err := o.Sessions(t.Context(), jane.ID)
	if err != nil || len(sessions) != 3 {
		t.Errorf("got %d sessions, %v, want 3", len(sessions), err)
	}
}

func TestSignInRefused(t *testing.T) {
	o := newOffice(t)
	jane := o.jane(t)
	try := func(login, pass string) error {
		_, err := o.Issue(t.Context(), login, pass, from)
		return err
	}
	for name, test := range map[string]struct {
		err  error
		want registry.Reason
	}{
		"wrong password":     {try("jane", passphrase+"x"), registry.ReasonWrongPassword},
		"unknown user":       {try("john", passphrase), registry.ReasonUnknownUser},
		"nobody":             {try("", ""), registry.ReasonUnknownUser},
		"the dummy password": {try("john", "no account has this password"), registry.ReasonUnknownUser},
	} {
		wantReason(t, name, test.err, test.want)
	}
	if _, err := o.registry.UpdateUser(t.Context(), "", jane.ID, func(u *registry.User) error { u.Status = registry.Disabled; return nil }); err != nil {
		t.Fatal(err)
	}
	wantReason(t, "disabled", try("jane", passphrase), registry.ReasonUserDisabled)
}

// C09: guessing is slowed down for one address, nobody is locked out for good,
// and a restart forgets nothing (the counters are in the store).
func TestGuessingPasswordsIsSlow(t *testing.T) {
	o := newOffice(t)
	o.jane(t)
	var limited *authn.LimitedError
	tried := 0
	for range 20 {
		_, err := o.Issue(t.Context(), "jane", "wrong", from)
		if errors.As(err, &limited) {
			continue
		}
		tried++
		wantReason(t, "guess", err, registry.ReasonWrongPassword)
	}
	if tried != 10 {
		t.Errorf("%d of 20 guesses were looked at, want 10", tried)
	}
	if _, err := o.Issue(t.Context(), "jane", passphrase, from); !errors.As(err, &limited) || limited.RetryAfter <= 0 {
		t.Errorf("the right password during the block: got %v, want limited", err)
	}
	elsewhere := authn.Client{IP: "198.51.100.1", Kind: "api"}
	if _, err := o.Issue(t.Context(), "jane", passphrase, elsewhere); err != nil {
		t.Errorf("from another address: %v", err)
	}
	o.pass(16 * time.Minute)
	if _, err := o.Issue(t.Context(), "jane", passphrase, from); err != nil {
		t.Errorf("after the window: %v", err)
	}
}

func TestRefreshRotates(t *testing.T) {
	o := newOffice(t)
	o.jane(t)
	first := o.signIn(t)
	second, err := o.Refresh(t.Context(), first.Refresh, from)
	if err != nil || second.Refresh == first.Refresh {
		t.Fatal(err)
	}
	o.pass(time.Second)
	if _, err := o.Refresh(t.Context(), first.Refresh, from); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("a retry: got %v, want refused", err)
	}
	if _, err := o.Verify(t.Context(), second.Access); err != nil {
		t.Errorf("a retry must not end the session: %v", err)
	}
	o.pass(time.Minute)
	if _, err := o.Refresh(t.Context(), first.Refresh, from); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("reuse: got %v, want refused", err)
	}
	if _, err := o.Verify(t.Context(), second.Access); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("C53: the access token of a family that was reused: got %v, want invalid", err)
	}
	if _, err := o.Refresh(t.Context(), second.Refresh, from); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("C53: the newest refresh token of a family that was reused: got %v, want invalid", err)
	}
}

// C53: of many uses at once one wins.
func TestRefreshRace(t *testing.T) {
	o := newOffice(t)
	o.jane(t)
	tokens := o.signIn(t)
	won := make(chan bool)
	for range 20 {
		go func() { _, err := o.Refresh(context.Background(), tokens.Refresh, from); won <- err == nil }()
	}
	winners := 0
	for range 20 {
		if <-won {
			winners++
		}
	}
	if winners != 1 {
		t.Errorf("%d of 20 won, want 1", winners)
	}
}

// C48: idle and absolute ends.
func TestSessionEnds(t *testing.T) {
	o := newOffice(t)
	o.jane(t)
	idle := o.signIn(t)
	o.pass(authn.DefaultRefreshIdle + time.Second)
	if _, err := o.Refresh(t.Context(), idle.Refresh, from); !errors.Is(err, token.ErrExpired) {
		t.Errorf("idle for too long: got %v, want expired", err)
	}
	if _, err := o.Verify(t.Context(), idle.Access); !errors.Is(err, token.ErrExpired) {
		t.Errorf("access token after its life: got %v, want expired", err)
	}
	busy := o.signIn(t)
	var err error
	for i := 0; ; i++ {
		o.pass(authn.DefaultRefreshIdle - time.Minute)
		if busy, err = o.Refresh(t.Context(), busy.Refresh, from); err != nil {
			if days := i * 24; days < 29*24-24 || days > 31*24 {
				t.Errorf("a busy session ended after %d refreshes", i)
			}
			break
		}
		if i > 40 {
			t.Fatal("a busy session never ends")
		}
	}
}

func TestEndsAtOnce(t *testing.T) {
	o := newOffice(t)
	jane := o.jane(t)
	for name, end := range map[string]func(p authn.Person, t1 authn.Tokens) error{
		"C49 revoke":       func(_ authn.Person, tokens authn.Tokens) error { return o.Revoke(t.Context(), tokens.Refresh, from) },
		"C51 one session":  func(p authn.Person, _ authn.Tokens) error { return o.EndSession(t.Context(), jane.ID, p.Session.ID) },
		"C50 all sessions": func(authn.Person, authn.Tokens) error { return o.EndAllSessions(t.Context(), jane.ID) },
		"C45 disable": func(authn.Person, authn.Tokens) error {
			_, err := o.registry.UpdateUser(t.Context(), "", jane.ID, func(u *registry.User) error { u.Status = registry.Disabled; return nil })
			return err
		},
	} {
		if _, err := o.registry.UpdateUser(t.Context(), "", jane.ID, func(u *registry.User) error { u.Status = registry.Enabled; return nil }); err != nil {
			t.Fatal(err)
		}
		tokens := o.signIn(t)
		p, err := o.Verify(t.Context(), tokens.Access)
		if err != nil {
			t.Fatalf("%s: before: %v", name, err)
		}
		if err := end(p, tokens); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := o.Verify(t.Context(), tokens.Access); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: access token: got %v, want invalid", name, err)
		}
		if _, err := o.Refresh(t.Context(), tokens.Refresh, from); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: refresh token: got %v, want invalid", name, err)
		}
	}
}

// C46: the role is the one of now.
func TestDemotionHoldsAtOnce(t *testing.T) {
	o := newOffice(t)
	jane := o.jane(t)
	tokens := o.signIn(t)
	if _, err := o.Verify(t.Context(), tokens.Access); err != nil {
		t.Fatal(err)
	}
	if _, err := o.registry.UpdateUser(t.Context(), "", jane.ID, func(u *registry.User) error { u.Role = registry.Viewer; return nil }); err != nil {
		t.Fatal(err)
	}
	if p, err := o.Verify(t.Context(), tokens.Access); err != nil || p.User.Role != registry.Viewer {
		t.Errorf("got %v, %v, want viewer", p.User.Role, err)
	}
}

func TestChangePassword(t *testing.T) {
	o := newOffice(t)
	o.jane(t)
	mine, other := o.signIn(t), o.signIn(t)
	p, err := o.Verify(t.Context(), mine.Access)
	if err != nil {
		t.Fatal(err)
	}
	const next = "three tall birches by the canal"
	_, err = o.ChangePassword(t.Context(), p, "wrong", next)
	wantReason(t, "C06 wrong current password", err, registry.ReasonWrongPassword)
	var invalid *registry.InvalidError
	if _, err := o.ChangePassword(t.Context(), p, passphrase, "password1234567"); !errors.As(err, &invalid) {
		t.Errorf("C04 weak: got %v", err)
	}
	if _, err := o.ChangePassword(t.Context(), p, passphrase, next); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Verify(t.Context(), mine.Access); err != nil {
		t.Errorf("C19 the own session: %v", err)
	}
	if _, err := o.Verify(t.Context(), other.Access); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("C19 another session: got %v, want ended", err)
	}
	if _, err := o.Issue(t.Context(), "jane", next, from); err != nil {
		t.Errorf("the new password: %v", err)
	}
}

func TestSetUpHappensOnce(t *testing.T) {
	o := newOffice(t)
	first := authn.NewUser{Username: "root", Email: "root@example.com", Password: passphrase}
	u, err := o.SetUp(t.Context(), o.registry, first)
	if err != nil || u.Role != registry.Owner || strings.Contains(u.PasswordHash, passphrase) {
		t.Fatalf("got %+v, %v", u.Role, err)
	}
	if _, err := o.SetUp(t.Context(), o.registry, authn.NewUser{Username: "evil", Password: passphrase}); !errors.Is(err, registry.ErrExists) {
		t.Errorf("a second time: got %v, want exists", err)
	}
}

func wantReason(t *testing.T, name string, err error, want registry.Reason) {
	t.Helper()
	var refused *authn.RefusedError
	if !errors.As(err, &refused) || refused.Reason != want || !errors.Is(err, authn.ErrUnauthenticated) {
		t.Errorf("%s: got %v, want refusal %s", name, err, want)
	}
}

// C10: an unknown name, a wrong password and a disabled account cost the same
// work. The bound is wide, because machines are busy; without the work an
// answer comes a hundred times sooner.
func TestRefusalsTakeTheSameTime(t *testing.T) {
	o := newOffice(t)
	jane := o.jane(t)
	off, err := o.Register(t.Context(), "", authn.NewUser{Username: "off", Email: "off@example.com", Password: passphrase})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.registry.UpdateUser(t.Context(), jane.ID, off.ID, func(u *registry.User) error { u.Status = registry.Disabled; return nil }); err != nil {
		t.Fatal(err)
	}
	const samples = 9
	took := map[string][]time.Duration{}
	for range samples {
		for login, pass := range map[string]string{"nobody": passphrase, "jane": "wrong", "off": passphrase} {
			o.pass(time.Hour) // no throttle
			start := time.Now()
			if _, err := o.Issue(t.Context(), login, pass, from); !errors.Is(err, authn.ErrUnauthenticated) {
				t.Fatalf("%s: got %v", login, err)
			}
			took[login] = append(took[login], time.Since(start))
		}
	}
	median := func(login string) time.Duration {
		slices.Sort(took[login])
		return took[login][samples/2]
	}
	for _, login := range []string{"nobody", "off"} {
		if ratio := float64(median(login)) / float64(median("jane")); ratio < 0.4 || ratio > 2.5 {
			t.Errorf("C10: %s takes %.2f of the time of a wrong password", login, ratio)
		}
	}
}
