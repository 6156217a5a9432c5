package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/postern-io/postern/adapters/api"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

const (
	// maxValue bounds the bytes of one value; sealed it is below registry.MaxSetting.
	maxValue = 32 << 10
	// testTime bounds how long a way to sign in may be tried.
	testTime = 10 * time.Second
)

// sentTo are the settings that say where a secret is sent. With another address
// the secret must be given again: who may write it must not be able to read it.
var sentTo = map[string][]string{
	"auth-ldap-bind-password":   {"auth-ldap-server", "auth-ldap-start-tls", "auth-ldap-server-name"},
	"auth-google-client-secret": {"auth-google-issuer"},
	"auth-oidc-client-secret":   {"auth-oidc-issuer", "auth-oidc-auth-url", "auth-oidc-token-url", "auth-oidc-jwks-url"},
	"auth-lab-client-secret":    {"auth-lab-issuer", "auth-lab-auth-url", "auth-lab-token-url", "auth-lab-jwks-url"},
}

// Change implements api.SignInSettings.
func (s *signIn) Change(ctx context.Context, by authn.Person, revision int64, changes api.SettingChange, confirm string) error {
	_, err := s.house.registry.ChangeSettings(ctx, by.User.ID, revision, func(now registry.Settings, who registry.WayReader) (registry.SettingsChange, error) {
		before := s.state(now, s.now.Load())
		after, change, err := s.propose(before, changes)
		if err != nil {
			return change, err
		}
		err = ownersGetIn(ctx, who, after.providers)
		if errors.Is(err, errNoOwner) {
			return change, &registry.InvalidError{Field: guarded(changes), Reason: "would lock everybody out: no owner could sign in, because passwords kept here " +
				"would be off and no owner is linked to another way that is on. Link one first, under Account, or map a group to owner"}
		}
		if err != nil {
			return change, err
		}
		return change, s.confirmed(ctx, by, who, before, after, confirm)
	})
	return err
}

// guarded is the setting that a refusal of ownersGetIn is about.
func guarded(changes api.SettingChange) string {
	for _, name := range []string{"auth-local-enabled", "auth-providers"} {
		if _, changed := changes[name]; changed {
			return name
		}
	}
	return slices.Sorted(maps.Keys(changes))[0]
}

// confirmed refuses to take away the last way in of who does it, unless they say
// that they mean it.
func (s *signIn) confirmed(ctx context.Context, by authn.Person, who registry.WayReader, before, after *signInState, confirm string) error {
	user, err := who.User(ctx, by.User.ID)
	if errors.Is(err, registry.ErrNotFound) { // everybody, who signs in by nothing
		return nil
	}
	if err != nil {
		return err
	}
	links, err := who.Identities(ctx, user.ID)
	if err != nil {
		return err
	}
	comesIn := func(providers []authn.Provider) bool {
		return slices.ContainsFunc(providers, func(p authn.Provider) bool {
			linked := slices.ContainsFunc(links, func(l registry.LinkedIdentity) bool { return l.Provider == p.Key })
			return linked || p.Key == registry.LocalProvider && user.PasswordHash != "" || p.Key == user.Provider && p.Key != registry.LocalProvider && len(links) == 0
		})
	}
	if comesIn(before.providers) && !comesIn(after.providers) && confirm != user.Username {
		return &registry.InvalidError{Field: "confirm", Reason: "must be your user name: after this you cannot sign in yourself any more"}
	}
	return nil
}

// propose returns what the ways to sign in would be, and what is to be stored for
// it. All that the changes concern must be right; what is wrong elsewhere stays
// as it is.
func (s *signIn) propose(before *signInState, changes api.SettingChange) (*signInState, registry.SettingsChange, error) {
	var change registry.SettingsChange
	values, wrong := maps.Clone(before.values), maps.Clone(before.wrong)
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		value := changes[name]
		if err := s.allowed(name, value); err != nil {
			return nil, change, err
		}
		delete(wrong, name)
		if value == nil {
			delete(values, name)
			change.Drop = append(change.Drop, name)
			continue
		}
		if was, stored := before.values[name]; stored && was == *value && before.wrong[name] == nil {
			continue
		}
		values[name] = *value
		put := registry.Setting{Name: name, Value: *value, Sealed: slices.Contains(providerSecrets, name)}
		if put.Sealed {
			put.Value = s.seal.close(name, *value)
		}
		change.Put = append(change.Put, put)
	}
	after := s.made(before.settings, values, wrong, before)
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if err := after.wrong[name]; err != nil {
			return nil, change, &registry.InvalidError{Field: name, Reason: err.Error()}
		}
	}
	for _, w := range ways {
		concerned := slices.ContainsFunc(slices.Collect(maps.Keys(changes)), func(name string) bool { return concerns(name, w.key) })
		if err := after.ways[w.key].err; concerned && err != nil {
			return nil, change, fieldError(err)
		}
	}
	return after, change, s.secretsStay(before, after, changes)
}

// allowed refuses a change that cannot be, whatever the rest.
func (s *signIn) allowed(name string, value *string) error {
	no := func(reason string) error { return &registry.InvalidError{Field: name, Reason: reason} }
	flag := s.start.set.Lookup(name)
	if flag == nil {
		return no("is no setting")
	}
	if fixed(name) != "" {
		return no("cannot be changed while the server runs")
	}
	if value == nil {
		return nil
	}
	control := func(r rune) bool { return unicode.IsControl(r) && !(r == '\n' || r == '\r' || r == '\t') }
	switch by := givenBy(flag); {
	case by != "":
		return no("is set by " + by + ", which wins")
	case len(*value) > maxValue:
		return no(fmt.Sprintf("must have at most %d bytes", maxValue))
	case !utf8.ValidString(*value), strings.ContainsFunc(*value, control):
		return no("must be text without control characters")
	}
	return nil
}

// secretsStay refuses to send a secret that is there to another address than the
// one that it was given for.
func (s *signIn) secretsStay(before, after *signInState, changes api.SettingChange) error {
	was, next := flagsOf(&before.people), flagsOf(&after.people)
	for secret, places := range sentTo {
		if next[secret] == "" || changes[secret] != nil || was[secret] != next[secret] {
			continue
		}
		for _, place := range places {
			switch by := givenBy(s.start.set.Lookup(secret)); {
			case was[place] == next[place]:
			case by != "":
				return &registry.InvalidError{Field: place, Reason: "says where a secret is sent that is set by " + by + ": change both there"}
			default:
				return &registry.InvalidError{Field: secret, Reason: "must be given again, because it would be sent to another address"}
			}
		}
	}
	return nil
}

// flagsOf returns the values of settings by their names.
func flagsOf(p *people) map[string]string {
	values := map[string]string{}
	was := *p
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	bound := was
	bound.flags(f) // which fills in the defaults
	bound = was    // and this puts back what was there
	f.VisitAll(func(flag *pflag.Flag) { values[flag.Name] = valueOf(flag) })
	return values
}

func valueOf(flag *pflag.Flag) string {
	if list, is := flag.Value.(pflag.SliceValue); is {
		return strings.Join(list.GetSlice(), ",")
	}
	return flag.Value.String()
}

// Test implements api.SignInSettings. It tries the way also while it is off.
func (s *signIn) Test(ctx context.Context, key string, changes api.SettingChange) ([]authn.Step, error) {
	i := slices.IndexFunc(ways, func(w way) bool { return w.key == key })
	if i < 0 || ways[i].kind == "header" || key == registry.LocalProvider {
		return nil, &registry.InvalidError{Field: "way", Reason: "must be ldap, google, oidc, lab or jwt: the others have nobody to ask"}
	}
	select {
	case s.tests <- struct{}{}:
		defer func() { <-s.tests }()
	default:
		return nil, &authn.LimitedError{RetryAfter: time.Second}
	}
	all, err := s.house.registry.Settings(ctx)
	if err != nil {
		return nil, err
	}
	after, _, err := s.propose(s.state(all, s.now.Load()), changes)
	if err != nil {
		return nil, err
	}
	if name := after.wrongIn(key); name != "" {
		return nil, &registry.InvalidError{Field: name, Reason: after.wrong[name].Error()}
	}
	p, err := ways[i].provider(&after.people, s.start.publicURL(), s.house.store)
	if err != nil {
		return nil, fieldError(err)
	}
	var check authn.Checker
	switch {
	case p.Secret != nil:
		check, _ = p.Secret.(authn.Checker)
	case p.Redirect != nil:
		check, _ = p.Redirect.(authn.Checker)
	}
	if check == nil {
		return nil, fmt.Errorf("the way to sign in %s cannot be tried", key)
	}
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	return check.Check(ctx), nil
}
