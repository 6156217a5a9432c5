package api

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/pquerna/otp/totp"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/factor"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// party is the site as an authenticator knows it.
var party = virtualwebauthn.RelyingParty{ID: "postern.example", Name: "Postern", Origin: "https://postern.example"}

// factorsAt is when codes are made and checked, so that no test crosses into the
// next thirty seconds.
var factorsAt = time.Now()

func newFactors(t testing.TB, s *store.Store, rpID string) *factor.Factors {
	t.Helper()
	f, err := factor.New(factor.Config{Store: s, Now: func() time.Time { return factorsAt }, RPID: rpID, Origins: []string{party.Origin}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// code is what a generator shows, so many steps from now.
func code(t testing.TB, secret string, steps int) string {
	t.Helper()
	c, err := totp.GenerateCode(secret, factorsAt.Add(time.Duration(steps)*30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// withPassword gives somebody the good password.
func (s *site) withPassword(name string) {
	s.t.Helper()
	hash, err := passwords.Hash(s.t.Context(), goodPassword)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.api.Registry.UpdateUser(s.t.Context(), "", s.users[name].ID, func(u *registry.User) error { u.PasswordHash = hash; return nil }); err != nil {
		s.t.Fatal(err)
	}
}

// beginTOTP makes a generator for somebody who has none then.
func (s *site) beginTOTP(name string) factor.NewTOTP {
	s.t.Helper()
	err := s.api.Factors.DeleteTOTP(s.t.Context(), s.users[name].ID)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		s.t.Fatal(err)
	}
	made, err := s.api.Factors.BeginTOTP(s.t.Context(), s.users[name])
	if err != nil {
		s.t.Fatal(err)
	}
	return made
}

// withTOTP gives somebody a generator, whose code of the step before now is
// used, and returns its secret and the recovery codes.
func (s *site) withTOTP(name string) (secret string, recovery []string) {
	s.t.Helper()
	made := s.beginTOTP(name)
	var err error
	if recovery, err = s.api.Factors.ConfirmTOTP(s.t.Context(), s.users[name].ID, code(s.t, made.Secret, -1)); err != nil {
		s.t.Fatal(err)
	}
	return made.Secret, recovery
}

// An authenticator is somebody's, with one credential.
type authenticator struct {
	virtualwebauthn.Authenticator
	credential virtualwebauthn.Credential
}

func newAuthenticator() *authenticator {
	c := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	for len(c.Key.AttestationData()) != 77 { // the library drops leading zeros, which a real authenticator does not
		c = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	}
	return &authenticator{virtualwebauthn.NewAuthenticator(), c}
}

func (a *authenticator) create(t testing.TB, options []byte) json.RawMessage {
	t.Helper()
	o, err := virtualwebauthn.ParseAttestationOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	a.credential.Counter++
	return json.RawMessage(virtualwebauthn.CreateAttestationResponse(party, a.Authenticator, a.credential, *o))
}

func (a *authenticator) get(t testing.TB, options []byte) json.RawMessage {
	t.Helper()
	o, err := virtualwebauthn.ParseAssertionOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	a.credential.Counter++
	return json.RawMessage(virtualwebauthn.CreateAssertionResponse(party, a.Authenticator, a.credential, *o))
}

// withPasskey gives somebody a passkey.
func (s *site) withPasskey(name string) (*authenticator, registry.Passkey) {
	s.t.Helper()
	a := newAuthenticator()
	options, err := s.api.Factors.BeginPasskey(s.t.Context(), s.users[name])
	if err != nil {
		s.t.Fatal(err)
	}
	p, _, err := s.api.Factors.ConfirmPasskey(s.t.Context(), s.users[name], "key ring", a.create(s.t, options))
	if err != nil {
		s.t.Fatal(err)
	}
	return a, p
}

// ticket begins a sign-in that waits for its second factor.
func (s *site) ticket(name string) string {
	s.t.Helper()
	w := s.do("POST", "/users/tokens/issue", "", object{"username": name, "password": goodPassword})
	e := decode[Error](s.t, w)
	if w.Code != 401 || e.Error != ErrorErrorSecondFactorRequired || e.Ticket == "" {
		s.t.Fatalf("no ticket: %d %s", w.Code, w.Body)
	}
	return e.Ticket
}

// factorRequests are the good requests of the operations in factors.go.
func (s *site) factorRequests() map[string]func() request {
	as := func(path string, body any) func() request {
		return func() request { return request{path, s.owner, body} }
	}
	viewer := func() string { s.withPassword("viewer"); return "viewer" }
	return map[string]func() request{
		"showSecondFactor": func() request {
			secret, _ := s.withTOTP(viewer())
			return request{"/users/tokens/second-factor", "", object{"ticket": s.ticket("viewer"), "code": code(s.t, secret, 0)}}
		},
		"challengePasskey": func() request {
			s.withPasskey(viewer())
			return request{"/users/tokens/second-factor/passkey", "", object{"ticket": s.ticket("viewer")}}
		},
		"listFactors": func() request {
			s.withPasskey("owner")
			return request{"/users/factors", s.owner, nil}
		},
		"beginTOTP": as("/users/factors/totp", nil),
		"confirmTOTP": func() request {
			return request{"/users/factors/totp/confirm", s.owner, object{"code": code(s.t, s.beginTOTP("owner").Secret, 0)}}
		},
		"deleteTOTP": func() request {
			s.withTOTP("owner")
			return request{"/users/factors/totp", s.owner, nil}
		},
		"renewRecoveryCodes": func() request {
			s.withTOTP("owner")
			return request{"/users/factors/recovery-codes", s.owner, nil}
		},
		"beginPasskey": as("/users/factors/passkeys", nil),
		"confirmPasskey": func() request {
			options, err := s.api.Factors.BeginPasskey(s.t.Context(), s.users["owner"])
			if err != nil {
				s.t.Fatal(err)
			}
			return request{"/users/factors/passkeys/confirm", s.owner, object{"name": "key ring", "passkey": newAuthenticator().create(s.t, options)}}
		},
		"deletePasskey": func() request {
			_, p := s.withPasskey("owner")
			return request{"/users/factors/passkeys/" + p.ID, s.owner, nil}
		},
		"resetFactors": as("/users/"+string(s.users["viewer"].ID)+"/factors/reset", nil),
	}
}

// provokeFactor edits a good request so that it is answered with the status;
// false when nothing of that is special to second factors.
func (s *site) provokeFactor(op operation, status int, r *request) bool {
	s.t.Helper()
	ours := op.id == "showSecondFactor" || op.id == "challengePasskey"
	switch {
	case op.id == "beginPasskey" && status == 400:
		s.api.Factors = newFactors(s.t, s.store, "") // no host name
	case ours && status == 401:
		r.body.(object)["ticket"] = "wrong"
	case op.id == "challengePasskey" && status == 404:
		s.withTOTP("editor")
		s.withPassword("editor")
		r.body.(object)["ticket"] = s.ticket("editor")
	case status == 403 && strings.HasPrefix(op.path, "/users/factors"):
		r.token = s.stale("owner")
	case status == 404 && strings.HasPrefix(op.path, "/users/factors"):
		r.token = s.stranger
	case op.id == "beginTOTP" && status == 422:
		s.withTOTP("owner")
	case op.id == "showSecondFactor" && status == 429:
		for range 10 {
			s.do("POST", r.path, "", object{"ticket": s.ticket("viewer"), "code": "12345x"})
		}
	default:
		return false
	}
	return true
}

// TestEnforcedSecondFactor goes all the way of somebody whose role needs a
// second factor: C14, C20, C21, C47.
func TestEnforcedSecondFactor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.api.Users.RequireFactor = registry.Admin
	s.withPassword("admin")
	s.withPassword("editor")
	signIn := func(name string, more object) Tokens {
		t.Helper()
		body := object{"username": name, "password": goodPassword}
		for k, v := range more {
			body[k] = v
		}
		w := s.do("POST", "/users/tokens/issue", "", body)
		if w.Code != 201 {
			t.Fatalf("sign in %s: %d %s", name, w.Code, w.Body)
		}
		return decode[Tokens](t, w)
	}
	if w := s.do("GET", "/domains", signIn("editor", nil).AccessToken, nil); w.Code != 200 {
		t.Errorf("an editor needs none: got %d %s", w.Code, w.Body)
	}

	other, mine := signIn("admin", nil), signIn("admin", nil)
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/users", 403}, {"GET", "/domains", 403}, {"POST", "/domains", 403}, {"GET", "/users/sessions", 403},
		{"POST", "/users/" + string(s.users["viewer"].ID) + "/factors/reset", 403}, {"GET", "/users/profile", 200}, {"GET", "/users/factors", 200},
	} {
		w := s.do(c.method, c.path, mine.AccessToken, nil)
		if w.Code != c.want || c.want == 403 && decode[Error](t, w).Error != ErrorErrorSecondFactorEnrolmentRequired {
			t.Errorf("%s %s before enrolment: got %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
	secret := decode[NewTOTP](t, s.do("POST", "/users/factors/totp", mine.AccessToken, nil)).Secret
	w := s.do("POST", "/users/factors/totp/confirm", mine.AccessToken, object{"code": code(t, secret, -1)})
	enrolled := decode[Enrolled](t, w)
	if w.Code != 201 || len(enrolled.RecoveryCodes) != 10 || !enrolled.SignInAgain {
		t.Fatalf("confirm: %d %s", w.Code, w.Body)
	}
	if w := s.do("GET", "/users/profile", other.AccessToken, nil); w.Code != 401 {
		t.Errorf("the other session after enrolment: got %d", w.Code)
	}
	if w := s.do("POST", "/users/tokens/refresh", other.RefreshToken, nil); w.Code != 401 {
		t.Errorf("its refresh token: got %d", w.Code)
	}
	if w := s.do("GET", "/users", mine.AccessToken, nil); w.Code != 403 {
		t.Errorf("C47: the session that enrolled is stepped up in place: %d", w.Code)
	}
	if w := s.do("POST", "/users/factors/totp", mine.AccessToken, nil); w.Code != 422 {
		t.Errorf("a confirmed generator is replaced without a word: %d %s", w.Code, w.Body)
	}

	full := signIn("admin", object{"otp": code(t, secret, 0)})
	if w := s.do("GET", "/users", full.AccessToken, nil); w.Code != 200 {
		t.Errorf("with the second factor: got %d %s", w.Code, w.Body)
	}
	for name, otp := range map[string]string{"the same code again": code(t, secret, 0), "an earlier code": code(t, secret, -1), "no code": "000000x"} {
		w := s.do("POST", "/users/tokens/issue", "", object{"username": "admin", "password": goodPassword, "otp": otp})
		if w.Code != 401 || decode[Error](t, w).Ticket != "" {
			t.Errorf("C20: %s: got %d %s", name, w.Code, w.Body)
		}
	}

	// C14: a new password alone does not open the account.
	next := "another " + goodPassword
	if w := s.do("PATCH", "/users/secret", full.AccessToken, object{"old_secret": goodPassword, "new_secret": next}); w.Code != 200 {
		t.Fatalf("change the password: %d %s", w.Code, w.Body)
	}
	w = s.do("POST", "/users/tokens/issue", "", object{"username": "admin", "password": next})
	e := decode[Error](t, w)
	if w.Code != 401 || e.Error != ErrorErrorSecondFactorRequired || !slices.Equal(e.Methods, []ErrorMethods{ErrorMethodsTotp, ErrorMethodsRecovery}) {
		t.Fatalf("C14: got %d %s", w.Code, w.Body)
	}
	w = s.do("POST", "/users/tokens/second-factor", "", object{"ticket": e.Ticket, "recovery_code": strings.ToLower(enrolled.RecoveryCodes[3])})
	if w.Code != 201 {
		t.Errorf("a recovery code: got %d %s", w.Code, w.Body)
	}
	if w := s.do("POST", "/users/tokens/issue", "", object{"username": "admin", "password": next, "otp": enrolled.RecoveryCodes[3]}); w.Code != 401 {
		t.Errorf("C21: the same recovery code again: got %d", w.Code)
	}
	if w := s.do("POST", "/users/tokens/second-factor", "", object{"ticket": e.Ticket, "recovery_code": enrolled.RecoveryCodes[4]}); w.Code != 401 {
		t.Errorf("the same ticket again: got %d", w.Code)
	}
	again := decode[Tokens](t, s.do("POST", "/users/tokens/issue", "", object{"username": "admin", "password": next, "otp": enrolled.RecoveryCodes[5]}))
	if w := s.do("DELETE", "/users/factors/totp", again.AccessToken, nil); w.Code != 204 {
		t.Fatalf("remove: %d %s", w.Code, w.Body)
	}
	if w := s.do("GET", "/users/profile", full.AccessToken, nil); w.Code != 401 {
		t.Errorf("another session after removal: got %d", w.Code)
	}
	if f := decode[Factors](t, s.do("GET", "/users/factors", again.AccessToken, nil)); f.Totp || f.RecoveryCodes != 0 {
		t.Errorf("C21: after the last factor has gone: %+v", f)
	}
	for _, secret := range append([]string{secret, e.Ticket}, enrolled.RecoveryCodes...) {
		if strings.Contains(s.log.String(), secret) {
			t.Error("a secret stands in the log")
		}
	}
}

// TestPasskeyAtTheDoor: enrol, sign in, replay, remove.
func TestPasskeyAtTheDoor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.withPassword("viewer")
	options := s.do("POST", "/users/factors/passkeys", s.viewer, nil)
	a := newAuthenticator()
	w := s.do("POST", "/users/factors/passkeys/confirm", s.viewer, object{"name": "key ring", "passkey": a.create(t, options.Body.Bytes())})
	made := decode[Enrolled](t, w)
	if w.Code != 201 || made.PasskeyID == "" || len(made.RecoveryCodes) != 10 || made.SignInAgain {
		t.Fatalf("confirm: %d %s", w.Code, w.Body)
	}
	ticket := s.ticket("viewer")
	options = s.do("POST", "/users/tokens/second-factor/passkey", "", object{"ticket": ticket})
	answer := a.get(t, options.Body.Bytes())
	if w := s.do("POST", "/users/tokens/second-factor", "", object{"ticket": ticket, "passkey": answer}); w.Code != 201 {
		t.Fatalf("sign in: %d %s", w.Code, w.Body)
	}
	if w := s.do("POST", "/users/tokens/second-factor", "", object{"ticket": s.ticket("viewer"), "passkey": answer}); w.Code != 401 {
		t.Errorf("C23: the same answer at another sign-in: got %d", w.Code)
	}
	w = s.do("GET", "/users/factors", s.viewer, nil)
	if f := decode[Factors](t, w); len(f.Passkeys) != 1 || f.Passkeys[0].Name != "key ring" || f.Passkeys[0].LastUsed == nil || strings.Contains(w.Body.String(), "publicKey") {
		t.Errorf("list: %s", w.Body)
	}
	if w := s.do("DELETE", "/users/factors/passkeys/"+made.PasskeyID, s.admin, nil); w.Code != 404 {
		t.Errorf("another's passkey: got %d", w.Code)
	}
	if w := s.do("DELETE", "/users/factors/passkeys/"+made.PasskeyID, s.viewer, nil); w.Code != 204 {
		t.Errorf("remove: %d %s", w.Code, w.Body)
	}
	if w := s.do("POST", "/users/tokens/issue", "", object{"username": "viewer", "password": goodPassword}); w.Code != 201 {
		t.Errorf("without a factor: %d %s", w.Code, w.Body)
	}
}

// TestResetOfFactors: administrators help those whom they manage, and nobody
// else.
func TestResetOfFactors(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, c := range []struct {
		name, target, token string
		want                int
	}{
		{"lets an admin reset a viewer", "viewer", s.admin, 204}, {"refuses an admin an owner", "owner", s.admin, 403},
		{"refuses an admin another admin", "admin", s.admin, 403}, {"refuses an editor", "viewer", s.editor, 403},
		{"refuses people themselves", "stranger", s.stranger, 403}, {"refuses a sign-in of an hour ago", "viewer", s.stale("admin"), 403},
		{"lets an owner reset an admin", "admin", s.owner, 204},
	} {
		s.withPassword(c.target)
		secret, _ := s.withTOTP(c.target)
		if w := s.do("POST", "/users/"+string(s.users[c.target].ID)+"/factors/reset", c.token, nil); w.Code != c.want {
			t.Errorf("it %s: got %d, want %d: %s", c.name, w.Code, c.want, w.Body)
		}
		w := s.do("POST", "/users/tokens/issue", "", object{"username": c.target, "password": goodPassword})
		if got := w.Code == 201; got != (c.want == 204) {
			t.Errorf("it %s: then the password alone is answered %d (%s)", c.name, w.Code, secret[:1])
		}
		if err := s.api.Factors.Drop(t.Context(), s.users[c.target].ID); err != nil {
			t.Fatal(err)
		}
	}
	if w := s.do("GET", "/users/profile", s.viewer, nil); w.Code != 401 {
		t.Errorf("the sessions of who was reset: got %d", w.Code)
	}
	events, err := s.store.Audit(t.Context(), registry.AuditQuery{Action: authn.FactorsReset, Limit: 10})
	if err != nil || events.Total != 2 {
		t.Errorf("audit trail: %+v, %v", events, err)
	}
}

// TestSecondFactorIsNotGuessed is C22: a ticket is good for five codes, and ten
// wrong ones make everybody at that address wait.
func TestSecondFactorIsNotGuessed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.withPassword("viewer")
	secret, _ := s.withTOTP("viewer")
	ticket := s.ticket("viewer")
	for i := range 5 {
		if w := s.do("POST", "/users/tokens/second-factor", "", object{"ticket": ticket, "code": "00000x"}); w.Code != 401 {
			t.Fatalf("wrong code %d: got %d", i, w.Code)
		}
	}
	if w := s.do("POST", "/users/tokens/second-factor", "", object{"ticket": ticket, "code": code(t, secret, 0)}); w.Code != 401 {
		t.Errorf("the right code after five wrong ones: got %d", w.Code)
	}
	ticket = s.ticket("viewer")
	for range 5 {
		s.do("POST", "/users/tokens/second-factor", "", object{"ticket": ticket, "code": "00000x"})
	}
	if w := s.do("POST", "/users/tokens/second-factor", "", object{"ticket": s.ticket("viewer"), "code": code(t, secret, 0)}); w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("after ten wrong codes: got %d %s", w.Code, w.Body)
	}
}

// counting counts the proofs that are looked at, and is slow to look.
type counting struct {
	*factor.Factors
	looked  atomic.Int64
	release chan struct{}
}

func (c *counting) Check(ctx context.Context, user registry.UserID, p authn.Proof) (string, error) {
	c.looked.Add(1)
	<-c.release
	return c.Factors.Check(ctx, user, p)
}

// TestGuessesAtOnce is C22: of codes that come together with one ticket, no more
// are looked at than of codes that come in turn.
func TestGuessesAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.withPassword("viewer")
	s.withTOTP("viewer")
	ticket := s.ticket("viewer")
	c := &counting{Factors: s.api.Factors, release: make(chan struct{})}
	s.api.Users.Factors = c
	answers := make(chan int, 8)
	for range 8 { // fewer than the address may fail
		go func() {
			answers <- s.do("POST", "/users/tokens/second-factor", "", object{"ticket": ticket, "code": "00000x"}).Code
		}()
	}
	// Those beyond five are answered while the five are still being looked at.
	for range 3 {
		select {
		case got := <-answers:
			if got != 401 {
				t.Errorf("one too many: got %d", got)
			}
		case <-time.After(10 * time.Second):
			close(c.release)
			t.Fatalf("%d codes are looked at", c.looked.Load())
		}
	}
	close(c.release)
	for range 5 {
		<-answers
	}
	if n := c.looked.Load(); n != 5 {
		t.Errorf("%d codes were looked at, want 5", n)
	}
}
