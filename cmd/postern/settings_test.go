package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/postern-io/postern/adapters/api"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

const signingKey = "c0ffee5badc0de9d8e7f60514233241516f7e8d9cabb0a1b2c3d4e5f60718293"

func text(s string) *string { return &s }

// company are the settings of a sign-in by JWT.
func company() api.SettingChange {
	return api.SettingChange{
		"auth-jwt-enabled": text("true"), "auth-jwt-idp-uri": text("https://idp.example/"), "auth-jwt-shared-secret": text(signingKey),
	}
}

func with(a, b api.SettingChange) api.SettingChange {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}

func keysOf(providers []authn.Provider) (keys []string) {
	for _, p := range providers {
		keys = append(keys, p.Key)
	}
	return keys
}

// changer changes settings as ann, who owns the server.
type changer struct {
	t   *testing.T
	h   *house
	ann registry.User
}

func newChanger(t *testing.T, h *house) *changer {
	t.Helper()
	ann, err := h.store.UserByLogin(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	return &changer{t, h, ann}
}

func (c *changer) change(changes api.SettingChange, confirm string) error {
	c.t.Helper()
	view, err := c.h.signIn.View(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return c.h.signIn.Change(c.t.Context(), authn.Person{User: c.ann}, view.Revision, changes, confirm)
}

func (c *changer) setting(name string) api.AuthenticationSetting {
	c.t.Helper()
	view, err := c.h.signIn.View(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, w := range view.Ways {
		for _, s := range w.Settings {
			if s.Name == name {
				return s
			}
		}
	}
	c.t.Fatalf("there is no setting %s", name)
	return api.AuthenticationSetting{}
}

func (c *changer) refused(what, field, words string, err error) {
	c.t.Helper()
	var invalid *registry.InvalidError
	if !errors.As(err, &invalid) || invalid.Field != field || !strings.Contains(invalid.Reason, words) {
		c.t.Errorf("%s: got %v, want a refusal of %s that says %q", what, err, field, words)
	}
	if err != nil && strings.Contains(err.Error(), signingKey) {
		c.t.Errorf("%s: the refusal holds the secret", what)
	}
}

// The environment wins, then what is stored, then the default; taking away what
// is stored goes back.
func TestSettingsPrecedence(t *testing.T) {
	serving(t, func(c *Config) {
		if err := applyEnv(c.set, []string{"MB_JWT_ATTRIBUTE_EMAIL=mail", "POSTERN_AUTH_OIDC_SCOPES=openid,mail"}); err != nil {
			t.Fatal(err)
		}
	}, func(_ *host, h *house) {
		c := newChanger(t, h)
		if err := c.change(with(company(), api.SettingChange{"auth-jwt-attribute-groups": text("teams")}), ""); err != nil {
			t.Error(err)
			return
		}
		for name, want := range map[string]api.AuthenticationSetting{
			"auth-jwt-attribute-email":     {Value: "mail", Source: "environment", Locked: "Set by MB_JWT_ATTRIBUTE_EMAIL in the environment."},
			"auth-oidc-scopes":             {Value: "openid,mail", Source: "environment", Locked: "Set by POSTERN_AUTH_OIDC_SCOPES in the environment."},
			"auth-jwt-attribute-groups":    {Value: "teams", Source: "stored"},
			"auth-jwt-attribute-firstname": {Value: "first_name", Source: "default"},
			"auth-jwt-shared-secret":       {Value: "", Source: "stored"},
			"auth-jwt-ca-file":             {Source: "default", Locked: "It names a file of the server, so it is set in the environment."},
		} {
			if got := c.setting(name); got.Value != want.Value || got.Source != want.Source || got.Locked != want.Locked {
				t.Errorf("%s: got %q of %s, locked %q", name, got.Value, got.Source, got.Locked)
			}
		}
		if !c.setting("auth-jwt-shared-secret").Set || c.setting("auth-jwt-previous-secret").Set {
			t.Error("whether a secret is set is told wrongly")
		}
		c.refused("what the environment sets", "auth-jwt-attribute-email", "MB_JWT_ATTRIBUTE_EMAIL", c.change(api.SettingChange{"auth-jwt-attribute-email": text("x")}, ""))
		if got := keysOf(h.users.Providers()); !slices.Equal(got, []string{"local", "jwt"}) {
			t.Errorf("the ways to sign in are %v", got)
		}
		if err := c.change(api.SettingChange{"auth-jwt-enabled": nil, "auth-jwt-attribute-groups": nil}, ""); err != nil {
			t.Error(err)
		}
		if got := c.setting("auth-jwt-attribute-groups"); got.Value != "groups" || got.Source != "default" {
			t.Errorf("back to the default: got %+v", got)
		}
		if got := keysOf(h.users.Providers()); !slices.Equal(got, []string{"local"}) {
			t.Errorf("the ways to sign in are %v", got)
		}
	})
}

func TestSettingsRefused(t *testing.T) {
	serving(t, nil, func(_ *host, h *house) {
		c := newChanger(t, h)
		for _, test := range []struct {
			what, field, words string
			changes            api.SettingChange
		}{
			{"no setting", "auth-nothing", "is no setting", api.SettingChange{"auth-nothing": text("x")}},
			{"another room's setting", "mqtt-addr", "cannot be changed", api.SettingChange{"mqtt-addr": text(":1")}},
			{"the listener's", "auth-header-enabled", "cannot be changed", api.SettingChange{"auth-header-enabled": text("true")}},
			{"a file of the server", "auth-jwt-public-key-file", "cannot be changed", api.SettingChange{"auth-jwt-public-key-file": text("/etc/passwd")}},
			{"sign-in as a whole", "auth-required", "cannot be changed", api.SettingChange{"auth-required": text("false")}},
			{"strangers", "auth-local-self-register", "cannot be changed", api.SettingChange{"auth-local-self-register": text("true")}},
			{"no truth value", "auth-jwt-enabled", "true or false", with(company(), api.SettingChange{"auth-jwt-enabled": text("perhaps")})},
			{"a key to guess", "auth-jwt-shared-secret", "at least 32 bytes", with(company(), api.SettingChange{"auth-jwt-shared-secret": text("secret")})},
			{"no key at all", "auth-jwt-shared-secret", "is missing", api.SettingChange{"auth-jwt-enabled": text("true"), "auth-jwt-idp-uri": text("https://idp.example/")}},
			{"no map", "auth-jwt-role-map", "must be JSON", with(company(), api.SettingChange{"auth-jwt-role-map": text("{")})},
			{"a group that makes owners", "auth-jwt-role-map", "allow-owner-mapping", with(company(), api.SettingChange{"auth-jwt-role-map": text(`{"a":"owner"}`)})},
			{"a provider that there is not", "auth-providers", "give local", api.SettingChange{"auth-providers": text("kerberos")}},
			{"a directory without an address", "auth-ldap-server", "must be", api.SettingChange{"auth-providers": text("ldap,local")}},
			{"an address in the clear", "auth-oidc-issuer", "https", api.SettingChange{"auth-oidc-client-id": text("us"), "auth-oidc-issuer": text("http://idp.example")}},
			{"a value too long", "auth-jwt-title", "at most", api.SettingChange{"auth-jwt-title": text(strings.Repeat("x", maxValue+1))}},
			{"a control character", "auth-jwt-title", "control", api.SettingChange{"auth-jwt-title": text("a\x00b")}},
		} {
			c.refused(test.what, test.field, test.words, c.change(test.changes, ""))
		}
		if all, err := h.registry.Settings(t.Context()); err != nil || all.Revision != 0 || len(all.Items) != 0 {
			t.Errorf("something was kept: %+v, %v", all, err)
		}
		// Another has changed them since.
		if err := c.change(company(), ""); err != nil {
			t.Error(err)
		}
		if err := h.signIn.Change(t.Context(), authn.Person{User: c.ann}, 0, api.SettingChange{"auth-jwt-title": text("x")}, ""); !errors.Is(err, registry.ErrStale) {
			t.Errorf("from an old revision: got %v", err)
		}
	})
}

// No secret stands in the database, neither in a table nor in what is left of one.
func TestSettingsAreSealed(t *testing.T) {
	serving(t, nil, func(on *host, h *house) {
		c := newChanger(t, h)
		if err := c.change(with(company(), api.SettingChange{"auth-oidc-client-secret": text("the-secret-of-a-client")}), ""); err != nil {
			t.Error(err)
		}
		all, err := h.registry.Settings(t.Context())
		if err != nil {
			t.Error(err)
		}
		for _, v := range all.Items {
			if secret := slices.Contains(providerSecrets, v.Name); v.Sealed != secret || strings.Contains(v.Value, signingKey) || v.UpdatedBy != c.ann.ID || v.UpdatedAt.IsZero() {
				t.Errorf("%s is kept as %+v", v.Name, v)
			}
		}
		for _, file := range []string{"postern.db", "postern.db-wal"} {
			bytes, err := os.ReadFile(on.data + "/" + file)
			if err != nil {
				t.Error(err)
			}
			if strings.Contains(string(bytes), signingKey) || strings.Contains(string(bytes), "the-secret-of-a-client") {
				t.Errorf("a secret stands in %s", file)
			}
		}
		sealed := all.Items[slices.IndexFunc(all.Items, func(v registry.Setting) bool { return v.Sealed })]
		if _, err := h.signIn.seal.open("auth-jwt-previous-secret", sealed.Value); err == nil {
			t.Error("a secret opens under another name")
		}
	})
}

// C12 of seed 3's warning: nobody locks everybody out, and who locks out
// themselves says that they mean it.
func TestSettingsLockOut(t *testing.T) {
	serving(t, nil, func(_ *host, h *house) {
		ctx := t.Context()
		c := newChanger(t, h)
		off := api.SettingChange{"auth-local-enabled": text("false")}
		c.refused("the only way in", "auth-local-enabled", "no owner could sign in", c.change(off, "ann"))
		c.refused("the same in one change", "auth-local-enabled", "no owner could sign in", c.change(with(company(), off), "ann"))
		c.refused("the list without it", "auth-ldap-server", "must be", c.change(api.SettingChange{"auth-providers": text("ldap")}, "ann"))
		if err := c.change(company(), ""); err != nil {
			t.Error(err)
		}
		// Another owner is linked; ann is not.
		bob, err := h.registry.CreateUser(ctx, "", registry.User{Username: "bob", Role: registry.Owner})
		if err == nil {
			err = h.registry.Link(ctx, registry.LinkedIdentity{Provider: "jwt", Subject: "bob", User: bob.ID})
		}
		if err != nil {
			t.Error(err)
		}
		c.refused("without a word", "confirm", "user name", c.change(off, ""))
		c.refused("with another's name", "confirm", "user name", c.change(off, "bob"))
		signIn := func() error {
			_, err := h.users.Issue(ctx, "ann", phrase, authn.Client{IP: "192.0.2.1"})
			return err
		}
		if err := signIn(); err != nil {
			t.Errorf("before: %v", err)
		}
		if err := c.change(off, "ann"); err != nil {
			t.Errorf("confirmed: %v", err)
		}
		if err := signIn(); !errors.Is(err, authn.ErrUnauthenticated) {
			t.Errorf("a password, with passwords off: %v", err)
		}
		// The provider that lets the only owner in cannot go either.
		c.refused("the last way of the last owner", "auth-jwt-enabled", "no owner could sign in", c.change(api.SettingChange{"auth-jwt-enabled": text("false")}, "ann"))
		if err := c.change(api.SettingChange{"auth-local-enabled": nil}, ""); err != nil {
			t.Errorf("on again: %v", err)
		}
		if err := signIn(); err != nil {
			t.Errorf("a password, with passwords on again: %v", err)
		}
	})
}

// Who may write a secret cannot read it by having it sent elsewhere.
func TestSettingsSecretsStay(t *testing.T) {
	serving(t, nil, func(_ *host, h *house) {
		c := newChanger(t, h)
		site := httptest.NewServer(nil)
		defer site.Close()
		directory := api.SettingChange{"auth-ldap-server": text("ldaps://directory.example"), "auth-ldap-bind-dn": text("cn=us"),
			"auth-ldap-bind-password": text("of the service account"), "auth-ldap-base-dn": text("dc=example"), "auth-providers": text("local,ldap")}
		if err := c.change(directory, ""); err != nil {
			t.Error(err)
		}
		elsewhere := api.SettingChange{"auth-ldap-server": text("ldaps://evil.example")}
		c.refused("another directory", "auth-ldap-bind-password", "given again", c.change(elsewhere, ""))
		_, err := h.signIn.Test(t.Context(), "ldap", elsewhere)
		c.refused("a test of another directory", "auth-ldap-bind-password", "given again", err)
		if err := c.change(with(elsewhere, api.SettingChange{"auth-ldap-bind-password": text("another")}), ""); err != nil {
			t.Errorf("with the password: %v", err)
		}
		if err := c.change(api.SettingChange{"auth-ldap-base-dn": text("dc=other")}, ""); err != nil {
			t.Errorf("something else: %v", err)
		}
	})
}

// restarted runs a server on a data directory, changes settings, and runs it
// again with edit.
func restarted(t *testing.T, first func(*changer), edit func(*Config), then func(*house)) {
	t.Helper()
	c := quiet(t)
	c.OwnerEmail, c.OwnerUsername, c.OwnerPassword = "ann@example.com", "ann", phrase
	for i, do := range []func(*house){func(h *house) { first(newChanger(t, h)) }, then} {
		if i == 1 && edit != nil {
			edit(c)
		}
		ctx, stop := context.WithCancel(t.Context())
		ran := false
		err := serve(ctx, c, slog.New(slog.DiscardHandler), func(h *house) { defer stop(); ran = true; do(h) })
		stop()
		if err != nil || !ran {
			t.Fatal(i, err)
		}
	}
}

// A stored setting that cannot be used any more does not keep the server from
// starting, and opens nothing.
func TestSettingsBrokenAtTheStart(t *testing.T) {
	for name, test := range map[string]struct {
		sealed string // put in the place of the signing key
		env    string
		keys   []string
	}{
		"as it was":                             {keys: []string{"jwt"}},
		"sealed under another key":              {sealed: "bm90IHNlYWxlZCB1bmRlciB0aGlzIGtleSBvZiB0aGUgc2VydmVy"},
		"not even sealed":                       {sealed: "?"},
		"the environment wins":                  {env: "POSTERN_AUTH_LOCAL_ENABLED=true", keys: []string{"local", "jwt"}},
		"it does not go with what is there now": {env: "POSTERN_AUTH_JWT_STRICT_CLAIMS=true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			restarted(t, func(c *changer) {
				if err := c.h.registry.Link(t.Context(), registry.LinkedIdentity{Provider: "jwt", Subject: "ann", User: c.ann.ID}); err != nil {
					t.Error(err)
				}
				if err := c.change(with(company(), api.SettingChange{"auth-local-enabled": text("false")}), ""); err != nil {
					t.Error(err)
				}
				if test.sealed != "" {
					if _, err := c.h.registry.ChangeSettings(t.Context(), "", 1, func(registry.Settings, registry.WayReader) (registry.SettingsChange, error) {
						return registry.SettingsChange{Put: []registry.Setting{{Name: "auth-jwt-shared-secret", Value: test.sealed, Sealed: true}}}, nil
					}); err != nil {
						t.Error(err)
					}
				}
			}, func(c *Config) {
				if test.env == "" {
					return
				}
				if err := applyEnv(c.set, []string{test.env}); err != nil {
					t.Fatal(err)
				}
			}, func(h *house) {
				if got := keysOf(h.users.Providers()); !slices.Equal(got, test.keys) {
					t.Errorf("the ways to sign in are %v, want %v", got, test.keys)
				}
				view, err := h.signIn.View(t.Context())
				if err != nil {
					t.Error(err)
				}
				for _, w := range view.Ways {
					if wrong := w.Key == "jwt" && test.keys == nil; wrong != (w.Wrong != "") {
						t.Errorf("%s is told to be wrong: %q", w.Key, w.Wrong)
					}
				}
			})
		})
	}
}

// What is stored and cannot be read switches passwords off, never on.
func TestSettingsBrokenSwitch(t *testing.T) {
	for name, changes := range map[string]api.SettingChange{
		"the switch": {"auth-local-enabled": text("perhaps")}, "the list": {"auth-providers": text("telnet")},
		"a list that is none": {"auth-providers": text(`"ldap`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			restarted(t, func(c *changer) {
				_, err := c.h.registry.ChangeSettings(t.Context(), "", 0, func(registry.Settings, registry.WayReader) (change registry.SettingsChange, err error) {
					for name, value := range changes {
						change.Put = append(change.Put, registry.Setting{Name: name, Value: *value})
					}
					return change, nil
				})
				if err != nil {
					t.Error(err)
				}
			}, nil, func(h *house) {
				if got := keysOf(h.users.Providers()); len(got) != 0 {
					t.Errorf("the ways to sign in are %v", got)
				}
				if s := newChanger(t, h).setting("auth-local-enabled"); (s.Value == "false") != (s.Wrong != "") {
					t.Errorf("the switch is shown as %+v", s)
				}
			})
		})
	}
}
