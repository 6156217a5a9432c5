package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/pflag"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/header"
	"github.com/postern-io/postern/authn/ldap"
	"github.com/postern-io/postern/registry"
)

// maxTests bounds the ways to sign in that are tried at once.
const maxTests = 4

// signIn is how people sign in, which can be changed while the server runs. What
// the environment or the command line gives wins; then comes what is stored, then
// the default.
//
//	Change ─▶ registry.ChangeSettings ─▶ notice ─▶ every node: reload ─▶ Users.SetProviders
//
// A stored setting that cannot be used leaves its way to sign in out, and never
// opens one: who cannot come in that way must not find another open for it.
type signIn struct {
	house *house
	start *Config // what the server was started with; it is not changed
	seal  settingSeal
	tests chan struct{}

	mu  sync.Mutex // held over a reload, so that an older one does not win
	now atomic.Pointer[signInState]
}

// A signInState is what stored settings make of the ways to sign in. It is not
// changed once it is made.
type signInState struct {
	settings  registry.Settings
	people    people
	values    map[string]string // of the stored settings that count
	wrong     map[string]error  // of stored settings, by name
	ways      map[string]wayState
	providers []authn.Provider // of the ways that are on and not wrong
}

type wayState struct {
	provider authn.Provider
	on       bool
	err      error // why it is left out
}

// newSignIn reads the stored settings. What is wrong with one is logged and its
// way left out; what the server was started with must be right.
func newSignIn(ctx context.Context, h *house, c *Config, key []byte) (*signIn, error) {
	seal, err := newSettingSeal(key)
	if err != nil {
		return nil, err
	}
	s := &signIn{house: h, start: c, seal: seal, tests: make(chan struct{}, maxTests)}
	all, err := h.registry.Settings(ctx)
	if err != nil {
		return nil, err
	}
	state := s.state(all, nil)
	var problems []error
	for _, w := range ways {
		if err := state.ways[w.key].err; err != nil && !state.storedFor(w.key) {
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		return nil, &usageError{errors.Join(problems...)}
	}
	if p, ok := state.ways[header.Key].provider.Request.(*header.Provider); ok {
		h.clientIP = func(r *http.Request) string { return p.ClientIP(r) }
	}
	s.tell(state)
	s.now.Store(state)
	return s, nil
}

// ownersGetIn refuses a start after which no owner could sign in. When that is
// because of what is stored the server starts all the same: to mend it, it must
// run.
func (s *signIn) ownersGetIn(ctx context.Context) error {
	err := ownersGetIn(ctx, s.house.store, s.house.users.Providers())
	switch {
	case !errors.Is(err, errNoOwner):
		return err
	case len(s.now.Load().values)+len(s.now.Load().wrong) > 0:
		s.house.log.Error("no owner could sign in with the stored settings: run postern recover-owner on this machine, and mend them on the page", "page", s.start.publicURL()+"/settings/authentication")
		return nil
	}
	return &usageError{fmt.Errorf("%w (%s, %s); link one first, map a group to owner (…_ROLE_MAP with …_ALLOW_OWNER_MAPPING), name one with %s, or leave passwords on",
		err, envName("auth-local-enabled"), envName("auth-providers"), envName("auth-ldap-owner"))}
}

// reload reads the stored settings and, when they have changed, puts the ways to
// sign in that they make in the place of those that there are.
func (s *signIn) reload(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.house.registry.Settings(ctx)
	if err != nil {
		return err
	}
	before := s.now.Load()
	if all.Revision <= before.settings.Revision {
		return nil
	}
	state := s.state(all, before)
	s.now.Store(state)
	s.house.users.SetProviders(state.providers...)
	s.house.log.Info("the settings of signing in have changed", "revision", all.Revision, "by", all.UpdatedBy)
	s.tell(state)
	return nil
}

// tell logs what is left out.
func (s *signIn) tell(state *signInState) {
	for _, w := range ways {
		if err := state.ways[w.key].err; err != nil && state.storedFor(w.key) {
			s.house.log.Error("a way to sign in is left out, because its stored settings cannot be used", "provider", w.key, "err", err)
		}
	}
}

// state makes the ways to sign in of the stored settings. Those of before whose
// settings are the same stay, with what they know.
func (s *signIn) state(all registry.Settings, before *signInState) *signInState {
	values, wrong := map[string]string{}, map[string]error{}
	for _, v := range all.Items {
		switch from := s.start.set.Lookup(v.Name); {
		case from == nil || fixed(v.Name) != "" || givenBy(from) != "": // of another version, or outdone
		case !v.Sealed:
			values[v.Name] = v.Value
		default:
			text, err := s.seal.open(v.Name, v.Value)
			if err != nil {
				wrong[v.Name] = err
				continue
			}
			values[v.Name] = text
		}
	}
	return s.made(all, values, wrong, before)
}

func (s *signIn) made(all registry.Settings, values map[string]string, wrong map[string]error, before *signInState) *signInState {
	state := &signInState{settings: all, values: values, wrong: wrong, ways: map[string]wayState{}}
	state.providers = []authn.Provider{} // nil would mean passwords
	config := *s.start
	config.People = s.start.overlaid(values, wrong)
	config.People.validate(&config, func(flag, format string, args ...any) {
		if _, stored := values[flag]; stored && wrong[flag] == nil {
			wrong[flag] = fmt.Errorf(format, args...)
		}
	})
	p := &config.People
	state.people = *p
	for _, w := range ways {
		state.ways[w.key] = s.way(w, p, before)
		if name := state.wrongIn(w.key); name != "" {
			made := state.ways[w.key]
			made.err = errors.Join(fmt.Errorf("%s %w", envName(name), wrong[name]), made.err)
			state.ways[w.key] = made
		}
	}
	order := slices.Concat(p.Providers, []string{"google", "oidc", "lab", "jwt", header.Key})
	for _, key := range order {
		if made := state.ways[key]; made.on && made.err == nil {
			state.providers = append(state.providers, made.provider)
		}
	}
	return state
}

// way makes one way to sign in, unless it is there already.
func (s *signIn) way(w way, p *people, before *signInState) (made wayState) {
	if made.on = w.on(p); !made.on {
		return made
	}
	if before != nil {
		if was := before.ways[w.key]; was.on && was.err == nil && reflect.DeepEqual(w.settings(&before.people), w.settings(p)) {
			return was
		}
	}
	made.provider, made.err = w.provider(p, s.start.publicURL(), s.house.store)
	return made
}

// overlaid are the settings of signing in that the server was started with, with
// stored values where nothing was given. What is wrong with a value is noted.
func (c *Config) overlaid(values map[string]string, wrong map[string]error) people {
	var p people
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	p.flags(f)
	f.VisitAll(func(flag *pflag.Flag) {
		from := c.set.Lookup(flag.Name)
		value, stored := values[flag.Name]
		var err error
		switch {
		case givenBy(from) != "":
			if list, is := from.Value.(pflag.SliceValue); is {
				err = flag.Value.(pflag.SliceValue).Replace(slices.Clone(list.GetSlice()))
			} else {
				err = flag.Value.Set(from.Value.String())
			}
		case stored:
			err = flag.Value.Set(value)
		}
		switch {
		case err == nil:
		case flag.Value.Type() == "bool":
			wrong[flag.Name] = errors.New("must be true or false")
		default:
			wrong[flag.Name] = errors.New("must be words divided by commas")
		}
	})
	return p
}

// fixed says why a setting can be changed by a start alone; "" when it can be
// changed while the server runs.
func fixed(name string) string {
	switch {
	case strings.HasPrefix(name, "auth-header-"):
		return "It goes with the server's listeners, so it is set in the environment and counts from the next start."
	case strings.HasSuffix(name, "-ca-file"), strings.HasSuffix(name, "-public-key-file"):
		return "It names a file of the server, so it is set in the environment."
	case name == "auth-ldap-owner":
		return "It counts at a start that finds no owner, so it is set in the environment."
	case name == "auth-local-enabled", name == "auth-providers":
		return ""
	}
	for _, w := range ways {
		if w.key != registry.LocalProvider && strings.HasPrefix(name, w.prefix+"-") {
			return ""
		}
	}
	return "It is no setting of signing in that can be changed while the server runs."
}

// concerns reports whether a setting is one of that way to sign in.
func concerns(name, key string) bool {
	switch name {
	case "auth-providers": // which of the two takes a password
		return key == registry.LocalProvider || key == ldap.Name
	case "auth-local-enabled":
		return key == registry.LocalProvider
	}
	return strings.HasPrefix(name, "auth-"+key+"-") && key != registry.LocalProvider
}

// storedFor reports whether a stored setting counts in a way to sign in.
func (st *signInState) storedFor(key string) bool {
	for name := range st.values {
		if concerns(name, key) {
			return true
		}
	}
	return st.wrongIn(key) != ""
}

// wrongIn is a stored setting of a way to sign in that cannot be used.
func (st *signInState) wrongIn(key string) string {
	for name := range st.wrong {
		if concerns(name, key) {
			return name
		}
	}
	return ""
}

// variable is a name as it stands in the errors of settings.
var variable = regexp.MustCompile(envPrefix + `[A-Z0-9_]+`)

// fieldError makes of what is wrong with settings, which speaks of variables, an
// error that names the first of them by its name here.
func fieldError(err error) error {
	text, _, _ := strings.Cut(err.Error(), "\n") // of several, one after the other
	text = variable.ReplaceAllStringFunc(text, func(v string) string {
		return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(v, envPrefix), "_", "-"))
	})
	name, reason, _ := strings.Cut(text, " ")
	switch field := strings.TrimRight(name, ",:"); {
	case !strings.HasPrefix(field, "auth-"):
	case strings.HasSuffix(name, ","): // one of several
		return &registry.InvalidError{Field: field, Reason: "is missing: " + text}
	default:
		return &registry.InvalidError{Field: field, Reason: reason}
	}
	return &registry.InvalidError{Field: "changes", Reason: "will not do: " + text}
}
