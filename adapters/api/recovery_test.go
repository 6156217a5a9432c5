package api

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// A postbox keeps letters instead of sending them.
type postbox struct {
	mu      sync.Mutex
	letters []authn.Letter
}

func (p *postbox) Post(write func(context.Context) (authn.Letter, error)) error {
	l, err := write(context.Background())
	if err != nil || l.To == "" {
		return nil // an error would be logged where letters are sent
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.letters = append(p.letters, l)
	return nil
}

// take returns the letters and empties the box.
func (p *postbox) take() []authn.Letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.letters
	p.letters = nil
	return all
}

// last returns the key in the last letter, which must be of the kind.
func (p *postbox) last(t testing.TB, kind authn.LetterKind) string {
	t.Helper()
	all := p.take()
	if len(all) == 0 || all[len(all)-1].Kind != kind {
		t.Fatalf("got %d letters, want a last one that is %s", len(all), kind)
	}
	return all[len(all)-1].Key.Reveal()
}

func (s *site) recoveryKey(name string) string {
	s.t.Helper()
	if w := s.do("POST", "/password/reset-request", "", object{"email": s.users[name].Email}); w.Code != 201 {
		s.t.Fatalf("ask for a key: %d %s", w.Code, w.Body)
	}
	return s.mail.last(s.t, authn.LetterRecovery)
}

func (s *site) invitationKey(name string) string {
	s.t.Helper()
	if w := s.do("POST", "/users/"+string(s.users[name].ID)+"/invite", s.owner, nil); w.Code != 204 {
		s.t.Fatalf("invite: %d %s", w.Code, w.Body)
	}
	return s.mail.last(s.t, authn.LetterInvite)
}

func (s *site) hostKey(name string) string {
	s.t.Helper()
	key, err := s.api.Users.BreakGlass(s.t.Context(), s.api.Registry, s.users[name].ID, false)
	if err != nil {
		s.t.Fatal(err)
	}
	return key
}

// C16: from outside, an address that nobody has is like one that somebody has.
func TestResetRequestTellsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	known := s.do("POST", "/password/reset-request", "", object{"email": "owner@example.com"})
	unknown := s.do("POST", "/password/reset-request", "", object{"email": "nobody@example.com"})
	if known.Code != 201 || known.Code != unknown.Code || known.Body.String() != unknown.Body.String() {
		t.Errorf("got %d %s, and %d %s", known.Code, known.Body, unknown.Code, unknown.Body)
	}
	if letters := s.mail.take(); len(letters) != 1 || letters[0].To != "owner@example.com" {
		t.Errorf("got %d letters, want the one to the account", len(letters))
	}
	for _, bad := range []string{"", "owner", "a@b\x00", "a@b\r\nBcc: c@d", strings.Repeat("a", 2000) + "@example.com"} {
		if w := s.do("POST", "/password/reset-request", "", object{"email": bad}); w.Code != 400 {
			t.Errorf("%.20q: got %d, want 400", bad, w.Code)
		}
	}
}

// The key may come as Bearer, as Magistrala's clients send it (G3).
func TestResetAsMagistrala(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	key := s.recoveryKey("editor")
	body := object{"password": goodPassword, "confirm_password": goodPassword + "!"}
	if w := s.do("PUT", "/password/reset", key, body); w.Code != 400 {
		t.Errorf("two passwords: got %d, want 400", w.Code)
	}
	body["confirm_password"] = goodPassword
	if w := s.do("PUT", "/password/reset", key, body); w.Code != 201 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	if w := s.do("GET", "/users/profile", s.editor, nil); w.Code != 401 {
		t.Errorf("C19: an old access token: got %d, want 401", w.Code)
	}
	if w := s.do("POST", "/users/tokens/issue", "", object{"username": "editor", "password": goodPassword}); w.Code != 201 {
		t.Errorf("the new password: got %d", w.Code)
	}
	if w := s.do("PUT", "/password/reset", key, body); w.Code != 401 || !strings.Contains(w.Body.String(), "The key") {
		t.Errorf("C15: a second use: got %d %s", w.Code, w.Body)
	}
	for _, secret := range []string{key, goodPassword} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log holds a secret")
		}
	}
}

func TestInviteByRegistration(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	body := func(name string) object {
		return object{"email": name + "@example.com", "credentials": object{"username": name}}
	}
	for who, want := range map[string]int{"": 400, s.stranger: 400, s.editor: 400, s.admin: 201} {
		if w := s.do("POST", "/users", who, body("dora")); w.Code != want {
			t.Errorf("an account without a password: got %d, want %d: %s", w.Code, want, w.Body)
		}
	}
	key := s.mail.last(t, authn.LetterInvite)
	if w := s.do("POST", "/users/invitations/accept", "", object{"token": key, "password": goodPassword}); w.Code != 204 {
		t.Fatalf("accept: got %d %s", w.Code, w.Body)
	}
	if w := s.do("POST", "/users/tokens/issue", "", object{"username": "dora", "password": goodPassword}); w.Code != 201 {
		t.Errorf("sign in: got %d", w.Code)
	}
	s.api.Users.Mail = nil
	if w := s.do("POST", "/users", s.admin, body("eve")); w.Code != 400 || !strings.Contains(w.Body.String(), "mail is not configured") {
		t.Errorf("without mail: got %d %s", w.Code, w.Body)
	}
}

// Whoever registers is asked to prove the address, strangers alone.
func TestRegistrationAsksToVerify(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	register := func(token, name string) User {
		t.Helper()
		w := s.do("POST", "/users", token, object{"email": name + "@example.com", "credentials": object{"username": name, "secret": goodPassword}})
		if w.Code != 201 {
			t.Fatalf("register: %d %s", w.Code, w.Body)
		}
		return decode[User](t, w)
	}
	register(s.admin, "fay")
	if n := len(s.mail.take()); n != 0 {
		t.Errorf("an account made by an administrator: got %d letters", n)
	}
	made := register("", "gil")
	if made.EmailVerified {
		t.Error("a new address is verified by itself")
	}
	if w := s.do("POST", "/users/verify-email", "", object{"token": s.mail.last(t, authn.LetterVerify)}); w.Code != 204 {
		t.Fatalf("verify: %d %s", w.Code, w.Body)
	}
	if u := decode[User](t, s.do("GET", "/users/"+made.ID, s.owner, nil)); !u.EmailVerified {
		t.Error("the address is not verified by its key")
	}
}

// C18: who is told of what.
func TestNotices(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	viewer := "/users/" + string(s.users["viewer"].ID)
	told := func(name string, want ...authn.Letter) {
		t.Helper()
		got := s.mail.take()
		for i, l := range got {
			if i >= len(want) || l.Kind != want[i].Kind || l.To != want[i].To || (want[i].Role != 0 && l.Role != want[i].Role) {
				t.Errorf("%s: letter %d is %s to %s", name, i, l.Kind, l.To)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: got %d letters, want %d", name, len(got), len(want))
		}
	}
	s.do("PATCH", viewer+"/role", s.owner, object{"role": "editor"})
	told("a role", authn.Letter{Kind: authn.LetterRole, To: "viewer@example.com", Role: registry.Editor})
	s.do("PATCH", viewer+"/role", s.owner, object{"role": "editor"})
	told("the same role")
	s.do("PATCH", viewer+"/role", s.editor, object{"role": "viewer"})
	told("a refused change")
	s.do("PATCH", viewer+"/email", s.owner, object{"email": "new@example.com"})
	told("an address", authn.Letter{Kind: authn.LetterEmail, To: "viewer@example.com"}, authn.Letter{Kind: authn.LetterVerify, To: "new@example.com"})
	s.do("PATCH", viewer+"/email", s.owner, object{"email": "new@example.com"})
	told("the same address again", authn.Letter{Kind: authn.LetterVerify, To: "new@example.com"})
	s.do("PATCH", viewer+"/secret", s.owner, object{"new_secret": goodPassword})
	told("a password", authn.Letter{Kind: authn.LetterPassword, To: "new@example.com"})
}

// C13: with a password that somebody else gave, the routes of the change are open
// and no others.
func TestOnlyTheChangeIsOpen(t *testing.T) {
	t.Parallel()
	open := map[string]bool{"changePassword": true, "viewProfile": true,
		"endSessions": true, "viewSeedSession": true, "leaveSeedSession": true, "endSeedSession": true} // and signing out
	routeOf := map[string]route{}
	for _, rt := range routes {
		routeOf[rt.method+" "+rt.pattern] = rt
	}
	s := newSite(t)
	const temporary = "four grey herons on the weir"
	if w := s.do("PATCH", "/users/"+string(s.users["admin"].ID)+"/secret", s.owner, object{"new_secret": temporary}); w.Code != 200 {
		t.Fatalf("set: %d %s", w.Code, w.Body)
	}
	w := s.do("POST", "/users/tokens/issue", "", object{"username": "admin", "password": temporary})
	if w.Code != 201 {
		t.Fatalf("sign in: %d %s", w.Code, w.Body)
	}
	admin := decode[Tokens](t, w).AccessToken
	for _, op := range operations(t) {
		if rt := routeOf[op.method+" "+op.path]; rt.need == anybody && op.id != "registerUser" || open[op.id] {
			continue
		}
		// Nothing of the request counts before who asks.
		path := regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(op.path, string(s.domain.ID))
		w := s.do(op.method, path, admin, object{})
		if e := decode[Error](t, w); w.Code != 403 || e.Error != ErrorErrorPasswordChangeRequired {
			t.Errorf("%s: got %d %.200s, want 403 password_change_required", op.id, w.Code, w.Body)
		}
	}
	if w := s.do("GET", "/users/profile", admin, nil); w.Code != 200 {
		t.Errorf("the profile: got %d", w.Code)
	}
	if w := s.do("PATCH", "/users/secret", admin, object{"old_secret": temporary, "new_secret": goodPassword}); w.Code != 200 {
		t.Fatalf("the change: %d %s", w.Code, w.Body)
	}
	if w := s.do("GET", "/users", admin, nil); w.Code != 200 {
		t.Errorf("after the change: got %d", w.Code)
	}
}

// C52: an old sign-in is not enough for a new address or a password of somebody
// else.
func TestFreshSignInIsAskedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	now := s.api.Users.Now
	s.api.Users.Now = func() time.Time { return now().Add(authn.FreshFor + time.Minute) }
	for name, r := range map[string]request{
		"the own address":               {"/users/" + string(s.users["owner"].ID) + "/email", s.owner, object{"email": "me@example.com"}},
		"the address of another":        {"/users/" + string(s.users["viewer"].ID) + "/email", s.owner, object{"email": "you@example.com"}},
		"the password of somebody else": {"/users/" + string(s.users["viewer"].ID) + "/secret", s.owner, object{"new_secret": goodPassword}},
	} {
		w := s.do("PATCH", r.path, r.token, r.body)
		if e := decode[Error](t, w); w.Code != 403 || e.Error != ErrorErrorReauthRequired {
			t.Errorf("%s: got %d %s, want 403 reauth_required", name, w.Code, w.Body)
		}
	}
	if w := s.do("PATCH", "/users/"+string(s.users["owner"].ID)+"/email", s.signIn(s.users["owner"].ID).Access, object{"email": "me@example.com"}); w.Code != 200 {
		t.Errorf("after signing in again: got %d %s", w.Code, w.Body)
	}
}

func TestOnlyOwnersSetPasswordsOfOwners(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, path := range []string{"/secret", "/invite"} {
		method, body := "PATCH", any(object{"new_secret": goodPassword})
		if path == "/invite" {
			method, body = "POST", nil
		}
		if w := s.do(method, "/users/"+string(s.users["owner"].ID)+path, s.admin, body); w.Code != 403 {
			t.Errorf("%s of an owner by an admin: got %d, want 403", path, w.Code)
		}
	}
	if w := s.do("PATCH", "/users/"+string(s.users["owner"].ID)+"/secret", s.owner, object{"new_secret": goodPassword}); w.Code != 400 {
		t.Errorf("C06: the own password by the way: got %d, want 400", w.Code)
	}
}

// A key from the host opens the API, once, and lets a new password be set.
func TestRecoverToken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	key := s.hostKey("stranger")
	w := s.do("POST", "/users/tokens/recover", "", object{"token": key})
	if w.Code != 201 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	access := decode[Tokens](t, w).AccessToken
	if w := s.do("GET", "/users", access, nil); w.Code != http.StatusOK {
		t.Errorf("an owner's list: got %d", w.Code)
	}
	if w := s.do("PATCH", "/users/secret", access, object{"old_secret": "", "new_secret": goodPassword}); w.Code != 200 {
		t.Errorf("a new password: got %d %s", w.Code, w.Body)
	}
	if w := s.do("POST", "/users/tokens/recover", "", object{"token": key}); w.Code != 401 {
		t.Errorf("a second use: got %d, want 401", w.Code)
	}
}
