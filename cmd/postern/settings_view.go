package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/postern-io/postern/adapters/api"
)

// View implements api.SignInSettings: what counts on this node.
func (s *signIn) View(ctx context.Context) (api.AuthenticationSettings, error) {
	if err := s.reload(ctx); err != nil {
		return api.AuthenticationSettings{}, err
	}
	state := s.now.Load()
	all := api.AuthenticationSettings{Revision: state.settings.Revision, ChangedBy: string(state.settings.UpdatedBy)}
	if at := state.settings.UpdatedAt; !at.IsZero() {
		all.ChangedAt = &at
	}
	values := flagsOf(&state.people)
	for _, w := range ways {
		made := state.ways[w.key]
		shown := api.AuthenticationWay{Key: w.key, Kind: w.kind, Title: values[w.prefix+"-title"], On: made.on && made.err == nil}
		if made.err != nil {
			shown.Wrong = sentence(fieldError(made.err).Error())
		}
		s.start.set.VisitAll(func(flag *pflag.Flag) {
			if concerns(flag.Name, w.key) {
				shown.Settings = append(shown.Settings, s.setting(state, flag, values[flag.Name]))
			}
		})
		all.Ways = append(all.Ways, shown)
	}
	return all, nil
}

func (s *signIn) setting(state *signInState, flag *pflag.Flag, value string) api.AuthenticationSetting {
	_, usage := pflag.UnquoteUsage(flag)
	v := api.AuthenticationSetting{Name: flag.Name, Usage: usage, Kind: "text", Default: strings.Trim(flag.DefValue, "[]"), Set: value != "", Source: "default"}
	switch {
	case slices.Contains(providerSecrets, flag.Name):
		v.Kind = "secret"
	case flag.Value.Type() == "bool":
		v.Kind = "switch"
	case strings.HasSuffix(flag.Name, "-role-map"):
		v.Kind = "roles"
	case strings.HasSuffix(flag.Name, "-sync"):
		v.Kind, v.Choices = "choice", []string{"always", "first", "never"}
	case strings.HasSuffix(flag.Name, "-default-role"):
		v.Kind, v.Choices = "choice", []string{"", "viewer", "editor", "admin"}
	case flag.Name == "auth-providers":
		v.Kind, v.Choices = "choice", []string{"local", "ldap", "ldap,local", "local,ldap"}
	case flag.Value.Type() == "stringSlice":
		v.Kind = "list"
	}
	if v.Kind != "secret" {
		v.Value = value
	}
	if _, stored := state.values[flag.Name]; stored || state.wrong[flag.Name] != nil {
		v.Source = "stored"
	}
	if err := state.wrong[flag.Name]; err != nil {
		v.Wrong = sentence("It " + err.Error())
	}
	by := givenBy(flag)
	switch why := fixed(flag.Name); {
	case by != "":
		v.Source, v.Locked = "environment", "Set by "+by+"."
	case why != "":
		v.Locked = why
	default:
		v.Locked = s.goesWithSecret(flag.Name)
	}
	return v
}

// goesWithSecret says why an address cannot be changed: what would be sent there
// is not stored.
func (s *signIn) goesWithSecret(name string) string {
	for secret, places := range sentTo {
		flag := s.start.set.Lookup(secret)
		if by := givenBy(flag); by != "" && flag.Value.String() != "" && slices.Contains(places, name) {
			return "It says where a secret is sent that is set by " + by + "; both are changed there."
		}
	}
	return ""
}

func sentence(text string) string { return strings.TrimSuffix(text, ".") + "." }
