package factor_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/factor"
	"github.com/postern-io/postern/registry"
)

// An authenticator has one credential.
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

func (a *authenticator) create(t testing.TB, rp virtualwebauthn.RelyingParty, options json.RawMessage) json.RawMessage {
	t.Helper()
	o, err := virtualwebauthn.ParseAttestationOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	a.credential.Counter++
	return json.RawMessage(virtualwebauthn.CreateAttestationResponse(rp, a.Authenticator, a.credential, *o))
}

func (a *authenticator) get(t testing.TB, rp virtualwebauthn.RelyingParty, options json.RawMessage) json.RawMessage {
	t.Helper()
	o, err := virtualwebauthn.ParseAssertionOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	a.credential.Counter++
	return json.RawMessage(virtualwebauthn.CreateAssertionResponse(rp, a.Authenticator, a.credential, *o))
}

// register gives ann a passkey.
func (d *desk) register(t testing.TB, a *authenticator) (registry.Passkey, []string) {
	t.Helper()
	return d.registerFor(t, a, d.ann)
}

func (d *desk) registerFor(t testing.TB, a *authenticator, user registry.User) (registry.Passkey, []string) {
	t.Helper()
	options, err := d.BeginPasskey(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	p, codes, err := d.ConfirmPasskey(t.Context(), user, "key ring", a.create(t, party, options))
	if err != nil {
		t.Fatal(err)
	}
	return p, codes
}

func (d *desk) challenge(t testing.TB) json.RawMessage {
	t.Helper()
	options, err := d.Challenge(t.Context(), d.ann)
	if err != nil {
		t.Fatal(err)
	}
	return options
}

// C23: what an authenticator answers at a sign-in.
func TestAssertions(t *testing.T) {
	elsewhere := func(edit func(*virtualwebauthn.RelyingParty)) func(*testing.T, *desk, *authenticator) json.RawMessage {
		return func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			rp := party
			edit(&rp)
			return a.get(t, rp, d.challenge(t))
		}
	}
	good := elsewhere(func(*virtualwebauthn.RelyingParty) {})
	for _, c := range []struct {
		name   string
		answer func(*testing.T, *desk, *authenticator) json.RawMessage
		want   bool
	}{
		{"takes a good answer", good, true},
		{"refuses another origin", elsewhere(func(rp *virtualwebauthn.RelyingParty) { rp.Origin = "https://evil.example" }), false},
		{"refuses plain HTTP", elsewhere(func(rp *virtualwebauthn.RelyingParty) { rp.Origin = "http://postern.example" }), false},
		{"refuses another RP id", elsewhere(func(rp *virtualwebauthn.RelyingParty) { rp.ID = "evil.example" }), false},
		{"refuses a user who was not verified", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			a.Options.UserNotVerified = true
			return a.get(t, party, d.challenge(t))
		}, false},
		{"refuses a user who was not present", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			a.Options.UserNotPresent = true
			return a.get(t, party, d.challenge(t))
		}, false},
		{"refuses a counter that stands", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			a.credential.Counter--
			return a.get(t, party, d.challenge(t))
		}, false},
		{"refuses a counter that goes back", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			first := good(t, d, a)
			if !d.shows(t, d.Factors, d.ann.ID, authn.Proof{Passkey: first}) {
				t.Error("the first is refused")
			}
			a.credential.Counter -= 2
			return a.get(t, party, d.challenge(t))
		}, false},
		{"refuses an answer again", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			a.credential.Counter = 1<<31 - 1 // so that it is not the counter that tells
			answer := good(t, d, a)
			if !d.shows(t, d.second, d.ann.ID, authn.Proof{Passkey: answer}) {
				t.Error("the first is refused")
			}
			return answer
		}, false},
		{"refuses a challenge that was replaced", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			old := d.challenge(t)
			d.challenge(t)
			return a.get(t, party, old)
		}, false},
		{"refuses a challenge of five minutes ago", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			options := d.challenge(t)
			d.now = d.now.Add(5 * time.Minute)
			return a.get(t, party, options)
		}, false},
		{"takes one of almost five minutes ago", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			options := d.challenge(t)
			d.now = d.now.Add(5*time.Minute - time.Second)
			return a.get(t, party, options)
		}, true},
		{"refuses a challenge that it did not give", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			d.challenge(t)
			return a.get(t, party, json.RawMessage(`{"publicKey":{"challenge":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","rpId":"postern.example"}}`))
		}, false},
		{"refuses the challenge of a registration", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			options, err := d.BeginPasskey(t.Context(), d.ann)
			if err != nil {
				t.Fatal(err)
			}
			return a.get(t, party, options)
		}, false},
		{"refuses another user's credential", func(t *testing.T, d *desk, _ *authenticator) json.RawMessage {
			bobs := newAuthenticator()
			d.registerFor(t, bobs, d.bob)
			return bobs.get(t, party, d.challenge(t))
		}, false},
		{"refuses another user's challenge", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			bobs := newAuthenticator()
			d.registerFor(t, bobs, d.bob)
			options, err := d.Challenge(t.Context(), d.bob)
			if err != nil {
				t.Fatal(err)
			}
			return a.get(t, party, options)
		}, false},
		{"refuses another user's handle", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			a.Options.UserHandle = []byte(d.bob.ID)
			return a.get(t, party, d.challenge(t))
		}, false},
		{"refuses a credential that was deleted", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			d.register(t, newAuthenticator())
			options := d.challenge(t)
			if err := d.DeletePasskey(t.Context(), d.ann.ID, base64.RawURLEncoding.EncodeToString(a.credential.ID)); err != nil {
				t.Fatal(err)
			}
			return a.get(t, party, options)
		}, false},
		{"takes one though another was deleted", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			p, _ := d.register(t, newAuthenticator())
			options := d.challenge(t)
			if err := d.DeletePasskey(t.Context(), d.ann.ID, p.ID); err != nil {
				t.Fatal(err)
			}
			return a.get(t, party, options)
		}, true},
		{"refuses another key", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			a.credential.Key = newAuthenticator().credential.Key
			return good(t, d, a)
		}, false},
		{"refuses what is too long", func(t *testing.T, d *desk, a *authenticator) json.RawMessage {
			return json.RawMessage(strings.TrimSuffix(string(good(t, d, a)), "}") + strings.Repeat(" ", 64<<10) + "}")
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, a := newDesk(t), newAuthenticator()
			d.register(t, a)
			if got := d.shows(t, d.Factors, d.ann.ID, authn.Proof{Passkey: c.answer(t, d, a)}); got != c.want {
				t.Errorf("it %s: taken: %v", c.name, got)
			}
		})
	}
}

// One answer of an authenticator lets one in, on whatever node.
func TestOneAnswer(t *testing.T) {
	d, a := newDesk(t), newAuthenticator()
	d.register(t, a)
	if won := d.together(t, authn.Proof{Passkey: a.get(t, party, d.challenge(t))}); won != 1 {
		t.Errorf("C23: one answer lets %d in", won)
	}
}

func TestRegistration(t *testing.T) {
	var invalid *registry.InvalidError
	for _, c := range []struct {
		name   string
		answer func(*testing.T, *desk, json.RawMessage) json.RawMessage
		want   bool
	}{
		{"takes a good one", func(t *testing.T, _ *desk, o json.RawMessage) json.RawMessage {
			return newAuthenticator().create(t, party, o)
		}, true},
		{"refuses another origin", func(t *testing.T, _ *desk, o json.RawMessage) json.RawMessage {
			rp := party
			rp.Origin = "https://evil.example"
			return newAuthenticator().create(t, rp, o)
		}, false},
		{"refuses another RP id", func(t *testing.T, _ *desk, o json.RawMessage) json.RawMessage {
			rp := party
			rp.ID = "evil.example"
			return newAuthenticator().create(t, rp, o)
		}, false},
		{"refuses a user who was not verified", func(t *testing.T, _ *desk, o json.RawMessage) json.RawMessage {
			a := newAuthenticator()
			a.Options.UserNotVerified = true
			return a.create(t, party, o)
		}, false},
		{"refuses a challenge of five minutes ago", func(t *testing.T, d *desk, o json.RawMessage) json.RawMessage {
			d.now = d.now.Add(5 * time.Minute)
			return newAuthenticator().create(t, party, o)
		}, false},
		{"refuses another user's challenge", func(t *testing.T, d *desk, _ json.RawMessage) json.RawMessage {
			o, err := d.BeginPasskey(t.Context(), d.bob)
			if err != nil {
				t.Fatal(err)
			}
			return newAuthenticator().create(t, party, o)
		}, false},
		{"refuses text", func(*testing.T, *desk, json.RawMessage) json.RawMessage { return json.RawMessage(`{"x`) }, false},
	} {
		d := newDesk(t)
		options, err := d.BeginPasskey(t.Context(), d.ann)
		if err != nil {
			t.Fatal(err)
		}
		answer := c.answer(t, d, options)
		_, codes, err := d.ConfirmPasskey(t.Context(), d.ann, "phone", answer)
		if c.want != (err == nil) || !c.want && !errors.As(err, &invalid) || c.want && len(codes) != 10 {
			t.Errorf("it %s: got %v", c.name, err)
		}
		if _, _, err := d.ConfirmPasskey(t.Context(), d.ann, "phone", answer); !errors.As(err, &invalid) {
			t.Errorf("it %s: the same again: got %v", c.name, err)
		}
	}

	d, a := newDesk(t), newAuthenticator()
	p, _ := d.register(t, a)
	for i := range factor.MaxPasskeys - 1 {
		if _, codes := d.register(t, newAuthenticator()); codes != nil {
			t.Errorf("passkey %d comes with recovery codes", i+2)
		}
	}
	if _, err := d.BeginPasskey(t.Context(), d.ann); !errors.As(err, &invalid) {
		t.Errorf("one too many: got %v", err)
	}
	if e, err := d.Enrolled(t.Context(), d.ann.ID); err != nil || len(e.Passkeys) != factor.MaxPasskeys || e.Passkeys[0].Name != "key ring" {
		t.Errorf("got %+v, %v", e, err)
	}
	options, err := d.BeginPasskey(t.Context(), d.bob)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.ConfirmPasskey(t.Context(), d.bob, "hers", a.create(t, party, options)); !errors.Is(err, registry.ErrExists) {
		t.Errorf("ann's credential for bob: got %v", err)
	}
	if err := d.DeletePasskey(t.Context(), d.bob.ID, p.ID); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("bob deletes ann's: got %v", err)
	}
	for _, name := range []string{"", "  ", "a\nb", fmt.Sprintf("%065d", 0), "a\x00"} {
		if _, _, err := d.ConfirmPasskey(t.Context(), d.ann, name, nil); !errors.As(err, &invalid) || invalid.Field != "name" {
			t.Errorf("name %q: got %v", name, err)
		}
	}
}
