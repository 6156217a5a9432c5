package authn_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
)

// person signs jane in and returns her.
func (o *office) person(t *testing.T) authn.Person {
	t.Helper()
	p, err := o.Verify(t.Context(), o.signIn(t).Access)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (o *office) key(t *testing.T, p authn.Person, role registry.Role) (registry.APIKey, string) {
	t.Helper()
	k, text, err := o.CreateAPIKey(t.Context(), p, "report", role, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return k, text.Reveal()
}

// C62: what a key looks like, and that only its hash is kept.
func TestAPIKey(t *testing.T) {
	o := newOffice(t)
	jane := o.jane(t)
	k, text := o.key(t, o.person(t), registry.Viewer)
	if len(text) != 56 || !strings.HasPrefix(text, "pst_"+k.Prefix+"_") || len(k.Prefix) != 8 {
		t.Errorf("got a key of %d characters with the prefix %q", len(text), k.Prefix)
	}
	if secret, err := base64.RawURLEncoding.DecodeString(text[13:]); err != nil || len(secret) != 32 {
		t.Errorf("C66: the secret has %d bytes, %v", len(secret), err)
	}
	if k.Hash != token.Hash(text) || strings.Contains(fmt.Sprintf("%+v", k), text[13:]) {
		t.Error("the record holds another hash, or the secret")
	}
	if want := o.clock().Add(authn.DefaultKeyLife); !k.Expires.Equal(want) {
		t.Errorf("it ends at %v, want %v", k.Expires, want)
	}
	p, err := o.Verify(t.Context(), text)
	if err != nil || p.User.ID != jane.ID || p.User.Role != registry.Viewer || p.User.Ceiling != registry.Viewer ||
		p.Session.ID != "" || p.Key != k.ID || p.Fresh || p.Session.Provider != authn.APIKeyProvider {
		t.Errorf("got %+v, %v", p, err)
	}
	list, err := o.UserAPIKeys(t.Context(), jane.ID)
	if err != nil || len(list) != 1 || list[0].Name != "report" {
		t.Errorf("the list: %+v, %v", list, err)
	}
}

func TestAPIKeysAreMadeByPeople(t *testing.T) {
	o := newOffice(t)
	jane := o.jane(t)
	person := o.person(t)
	_, text := o.key(t, person, registry.Editor)
	program, err := o.Verify(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	now := o.clock()
	stale := person
	stale.Fresh = false
	for _, test := range []struct {
		name    string
		by      authn.Person
		label   string
		role    registry.Role
		expires time.Time
		refused registry.Reason
		invalid string
	}{
		{"it refuses a key to make one", program, "x", registry.Viewer, time.Time{}, registry.ReasonSessionRequired, ""},
		{"it refuses who comes by a proxy", authn.Person{User: jane, Fresh: true}, "x", registry.Viewer, time.Time{}, registry.ReasonSessionRequired, ""},
		{"it asks for a fresh sign-in", stale, "x", registry.Viewer, time.Time{}, registry.ReasonReauthenticate, ""},
		{"it refuses a role above the person's", person, "x", registry.Admin, time.Time{}, "", "role"},
		{"it refuses a key without a role", person, "x", registry.NoRole, time.Time{}, "", "role"},
		{"it refuses a key without a name", person, "", registry.Viewer, time.Time{}, "", "name"},
		{"it refuses control characters", person, "a\x00b", registry.Viewer, time.Time{}, "", "name"},
		{"it refuses an end in the past", person, "x", registry.Viewer, now, "", "expires_at"},
		{"it refuses more than a year", person, "x", registry.Viewer, now.Add(authn.MaxKeyLife + time.Second), "", "expires_at"},
		{"it takes a year", person, "x", registry.Viewer, now.Add(authn.MaxKeyLife), "", ""},
	} {
		_, _, err := o.CreateAPIKey(t.Context(), test.by, test.label, test.role, test.expires)
		var refused *authn.RefusedError
		var invalid *registry.InvalidError
		switch {
		case test.refused != "" && (!errors.As(err, &refused) || refused.Reason != test.refused),
			test.invalid != "" && (!errors.As(err, &invalid) || invalid.Field != test.invalid),
			test.refused == "" && test.invalid == "" && err != nil:
			t.Errorf("%s: got %v", test.name, err)
		}
	}
	for n := 2; n < registry.MaxAPIKeys; n++ {
		o.key(t, person, registry.Viewer)
	}
	if _, _, err := o.CreateAPIKey(t.Context(), person, "one too many", registry.Viewer, time.Time{}); !errors.As(err, new(*registry.InvalidError)) {
		t.Errorf("the key after %d: got %v", registry.MaxAPIKeys, err)
	}
}

// A role in a domain is one of the person's roles, too.
func TestAPIKeyOfADomainsMember(t *testing.T) {
	o := newOffice(t)
	jane := o.jane(t)
	d, err := o.registry.CreateDomain(t.Context(), jane.ID, registry.Domain{Name: "hers"})
	if err != nil {
		t.Fatal(err)
	}
	_, text := o.key(t, o.person(t), registry.Owner)
	p, err := o.Verify(t.Context(), text)
	if err != nil || p.User.Role != registry.Editor || p.User.Ceiling != registry.Owner {
		t.Errorf("domain %s: got %+v, %v", d.ID, p.User, err)
	}
}

// C62: whatever is wrong with a key, it is refused.
func TestAPIKeyRefused(t *testing.T) {
	o := newOffice(t)
	jane := o.jane(t)
	person := o.person(t)
	k, text := o.key(t, person, registry.Viewer)
	other, otherText := o.key(t, person, registry.Viewer)
	turned := []byte(text)
	turned[20] ^= 1
	for name, text := range map[string]string{
		"an empty one":            "pst_",
		"another secret":          string(turned),
		"the secret of another":   "pst_" + k.Prefix + otherText[12:],
		"an unknown prefix":       "pst_aaaaaaaa" + text[12:],
		"one in capitals":         strings.ToUpper(text),
		"one with a tail":         text + "x",
		"a tail in place":         text[:55],
		"a prefix that is none":   "pst_A1890-/\x00" + text[12:],
		"a secret not in base64":  text[:13] + strings.Repeat("!", 43),
		"bits beyond the secret":  text[:55] + "B",
		"a very long one":         "pst_" + strings.Repeat("a", 1<<16),
		"the prefix, then a line": "pst_" + k.Prefix + "\n" + text[13:],
	} {
		if _, err := o.Verify(t.Context(), text); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	if _, err := o.Verify(t.Context(), otherText); err != nil { // it is known to memory
		t.Fatal(err)
	}
	if err := o.RevokeAPIKey(t.Context(), jane.ID, other.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Verify(t.Context(), otherText); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("after it was revoked: got %v, want ErrInvalid", err)
	}
	if err := o.RevokeAPIKey(t.Context(), jane.ID, other.ID); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("revoked twice: %v", err)
	}
	if err := o.RevokeAPIKey(t.Context(), "somebody", k.ID); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("revoked by another: %v", err)
	}
	set := func(edit func(*registry.User)) {
		t.Helper()
		if _, err := o.registry.UpdateUser(t.Context(), "", jane.ID, func(u *registry.User) error { edit(u); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	set(func(u *registry.User) { u.Status = registry.Disabled })
	if _, err := o.Verify(t.Context(), text); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("of a disabled owner: got %v", err)
	}
	set(func(u *registry.User) { u.Status, u.Role = registry.Enabled, registry.NoRole })
	if p, err := o.Verify(t.Context(), text); err != nil || p.User.Role != registry.NoRole {
		t.Errorf("of a demoted owner: got %v, %v", p.User.Role, err)
	}
	set(func(u *registry.User) { u.Role = registry.Owner })
	if p, err := o.Verify(t.Context(), text); err != nil || p.User.Role != registry.Viewer {
		t.Errorf("of a promoted owner: got %v, %v", p.User.Role, err)
	}
	o.pass(authn.DefaultKeyLife)
	if _, err := o.Verify(t.Context(), text); !errors.Is(err, token.ErrExpired) {
		t.Errorf("after its life: got %v, want ErrExpired", err)
	}
	if _, err := o.registry.UpdatePassword(t.Context(), "", jane.ID, "", true, func(*registry.User) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Verify(t.Context(), text); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("after all were revoked: got %v", err)
	}
}

func TestAPIKeyRemembersItsUse(t *testing.T) {
	o := newOffice(t)
	jane := o.jane(t)
	_, text := o.key(t, o.person(t), registry.Viewer)
	used := func() time.Time {
		t.Helper()
		if _, err := o.Verify(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		list, err := o.UserAPIKeys(t.Context(), jane.ID)
		if err != nil {
			t.Fatal(err)
		}
		return list[0].LastUsed
	}
	first := used()
	if !first.Equal(o.clock()) {
		t.Errorf("first used at %v, want now", first)
	}
	o.pass(59 * time.Second)
	if again := used(); !again.Equal(first) {
		t.Errorf("within a minute: written again at %v", again)
	}
	o.pass(time.Second)
	if next := used(); !next.Equal(o.clock()) {
		t.Errorf("after a minute: %v, want now", next)
	}
}

// Wrong keys from one address are turned away unseen after a while; a key that
// is known, and other addresses, are not held up.
func TestWrongAPIKeysAreSlow(t *testing.T) {
	o := newOffice(t)
	o.jane(t)
	_, known := o.key(t, o.person(t), registry.Viewer)
	_, fresh := o.key(t, o.person(t), registry.Viewer)
	if _, err := o.VerifyFrom(t.Context(), known, from); err != nil {
		t.Fatal(err)
	}
	wrong := "pst_aaaaaaaa" + known[12:]
	var limited *authn.LimitedError
	for n := 0; limited == nil; n++ {
		if _, err := o.VerifyFrom(t.Context(), wrong, from); !errors.As(err, &limited) && !errors.Is(err, token.ErrInvalid) || n > 100 {
			t.Fatalf("attempt %d: %v", n, err)
		}
	}
	if limited.RetryAfter <= 0 {
		t.Errorf("try again after %v", limited.RetryAfter)
	}
	if _, err := o.VerifyFrom(t.Context(), known, from); err != nil {
		t.Errorf("a known key from that address: %v", err)
	}
	if _, err := o.VerifyFrom(t.Context(), fresh, from); !errors.Is(err, authn.ErrLimited) {
		t.Errorf("an unknown key from that address: got %v, want ErrLimited", err)
	}
	if _, err := o.VerifyFrom(t.Context(), fresh, authn.Client{IP: "192.0.2.8"}); err != nil {
		t.Errorf("from another address: %v", err)
	}
	o.pass(time.Minute)
	if _, err := o.VerifyFrom(t.Context(), wrong, from); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("a minute later: %v", err)
	}
}

// An access token that stands for a key may what the key may, and ends with it.
func TestKeyToken(t *testing.T) {
	o := newOffice(t)
	jane := o.jane(t)
	k, text := o.key(t, o.person(t), registry.Viewer)
	for _, id := range []string{k.Prefix, "pst_" + k.Prefix, string(k.ID)} {
		if _, err := o.KeyToken(t.Context(), id, text, from); err != nil {
			t.Errorf("named %s: %v", id, err)
		}
	}
	if _, err := o.KeyToken(t.Context(), string(jane.ID), text, from); !errors.Is(err, authn.ErrUnauthenticated) {
		t.Errorf("named otherwise: got %v", err)
	}
	if _, err := o.KeyToken(t.Context(), k.Prefix, o.signIn(t).Access, from); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("C38: an access token as a key: got %v", err)
	}
	tokens, err := o.KeyToken(t.Context(), k.Prefix, text, from)
	if err != nil || tokens.Refresh != "" {
		t.Fatalf("got %+v, %v", tokens, err)
	}
	p, err := o.Verify(t.Context(), tokens.Access)
	if err != nil || p.User.Role != registry.Viewer || p.User.Ceiling != registry.Viewer || p.Key != k.ID || p.Session.ID != "" || p.Fresh {
		t.Errorf("got %+v, %v", p, err)
	}
	if _, err := o.Refresh(t.Context(), tokens.Access, from); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("refreshed: %v", err)
	}
	if err := o.RevokeAPIKey(t.Context(), jane.ID, k.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Verify(t.Context(), tokens.Access); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("after the key was revoked: got %v, want ErrInvalid", err)
	}
}

func FuzzAPIKey(f *testing.F) {
	f.Add("pst_aaaaaaaa_" + strings.Repeat("A", 43))
	f.Add("pst_")
	f.Add("pst_ÄÄÄÄ_" + strings.Repeat("-", 43))
	o := newOfficeOn(f)
	f.Fuzz(func(t *testing.T, text string) {
		o.pass(time.Minute) // so that it is never too many
		if _, err := o.Verify(t.Context(), "pst_"+text); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%q: got %v, want ErrInvalid", text, err)
		}
	})
}
