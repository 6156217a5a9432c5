package api

import (
	"context"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// TestSignInsAreAudited is C63: each outcome is in the log with provider,
// source and reason, and no secret and no name that was typed. It is C10, too:
// from outside, the refusals are one.
func TestSignInsAreAudited(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	person, err := s.api.Users.Register(t.Context(), "", authn.NewUser{Username: "ann", Email: "ann@example.com", Password: goodPassword})
	if err != nil {
		t.Fatal(err)
	}
	sleeper, err := s.api.Users.Register(t.Context(), "", authn.NewUser{Username: "sleeper", Email: "sleeper@example.com", Password: goodPassword})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.api.Registry.UpdateUser(t.Context(), "", sleeper.ID, func(u *registry.User) error { u.Status = registry.Disabled; return nil }); err != nil {
		t.Fatal(err)
	}
	const canary = "canary that nobody may read"
	var answers []string
	for _, test := range []struct{ name, username, password, line string }{
		{"it tells of a sign-in", "ann", goodPassword, "msg=sign-in provider=local source=192.0.2.1 user=" + string(person.ID)},
		{"it tells of a wrong password", "ann", canary, `msg="sign-in refused" provider=local source=192.0.2.1 user=` + string(person.ID) + " reason=wrong_password"},
		{"it tells of an unknown name", canary, canary, `msg="sign-in refused" provider=local source=192.0.2.1 user="" reason=unknown_user`},
		{"it tells of a disabled account", "sleeper", goodPassword, `msg="sign-in refused" provider=local source=192.0.2.1 user=` + string(sleeper.ID) + " reason=user_disabled"},
	} {
		s.log.Reset()
		w := s.do("POST", "/users/tokens/issue", "", object{"username": test.username, "password": test.password})
		if !strings.Contains(s.log.String(), test.line) {
			t.Errorf("%s: the log has no %q:\n%s", test.name, test.line, s.log)
		}
		secrets := []string{"canary", goodPassword}
		if w.Code == 201 {
			tokens := decode[Tokens](t, w)
			secrets = append(secrets, tokens.AccessToken, tokens.RefreshToken)
		} else {
			answers = append(answers, w.Result().Status+withoutID(w))
		}
		for _, secret := range secrets {
			if strings.Contains(s.log.String(), secret) {
				t.Errorf("%s: the log holds %q:\n%s", test.name, secret, s.log)
			}
		}
	}
	for _, a := range answers {
		if a != answers[0] {
			t.Errorf("C10: two refusals look different: %s and %s", answers[0], a)
		}
	}

	s.log.Reset()
	s.do("POST", "/users/tokens/refresh", canary, nil)
	if text := s.log.String(); !strings.Contains(text, `msg="refresh refused" provider="" source=192.0.2.1 reason=token_invalid`) || strings.Contains(text, "canary") {
		t.Errorf("a refused refresh: got\n%s", text)
	}
}

func withoutID(w *httptest.ResponseRecorder) string {
	return regexp.MustCompile(`"request_id":"[^"]*"`).ReplaceAllString(w.Body.String(), "")
}

func TestWrongSetUpTokenSaysSo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.api.SetUp = refusedSetUp{}
	w := s.do("POST", "/setup", "", object{"token": "x", "credentials": object{"username": "first", "secret": goodPassword}})
	if w.Code != 401 || !strings.Contains(w.Body.String(), "set-up token") {
		t.Errorf("got %d %s, want a 401 that speaks of the token", w.Code, w.Body)
	}
}

type refusedSetUp struct{}

func (refusedSetUp) Complete(context.Context, string, authn.NewUser) (registry.User, error) {
	return registry.User{}, &authn.RefusedError{Reason: registry.ReasonSetUpToken}
}
