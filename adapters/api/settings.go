package api

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// A SettingChange is what is to become of settings by their names; nil returns
// one to what the server starts with.
type SettingChange = map[string]*string

// SignInSettings are the settings of signing in that can be changed while the
// server runs. It is safe for concurrent use.
type SignInSettings interface {
	View(ctx context.Context) (AuthenticationSettings, error)
	// Change changes all or nothing, on every node. Errors: registry.ErrStale when
	// revision is no longer that of the settings, a *registry.InvalidError that
	// names the setting, or "confirm" when by must confirm with the user name.
	Change(ctx context.Context, by authn.Person, revision int64, changes SettingChange, confirm string) error
	// Test tries a way to sign in as the changes would make it, and keeps nothing.
	// Errors are those of Change.
	Test(ctx context.Context, way string, changes SettingChange) ([]authn.Step, error)
}

const (
	// maxSettingChanges bounds one change; there are fewer settings.
	maxSettingChanges = 200
	maxSettingName    = 100

	settingLetters = "abcdefghijklmnopqrstuvwxyz0123456789-" // of the name of a setting
)

func (s *Server) viewAuthentication(ctx context.Context, _ *call) (answer, error) {
	all, err := s.SignIn.View(ctx)
	if err != nil {
		return answer{}, err
	}
	return ok(all)
}

func (s *Server) changeAuthentication(ctx context.Context, c *call) (answer, error) {
	var in AuthenticationChange
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if err := checkSettings(in.Changes); err != nil {
		return answer{}, err
	}
	if err := s.SignIn.Change(ctx, c.person, in.Revision, in.Changes, in.Confirm); err != nil {
		return answer{}, err
	}
	c.tellSettings(in.Changes)
	return s.viewAuthentication(ctx, c)
}

func (s *Server) testAuthentication(ctx context.Context, c *call) (answer, error) {
	var in AuthenticationTest
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if err := checkSettings(in.Changes); err != nil {
		return answer{}, err
	}
	steps, err := s.SignIn.Test(ctx, in.Way, in.Changes)
	if err != nil {
		return answer{}, err
	}
	c.object = in.Way
	c.tellSettings(in.Changes)
	out := AuthenticationTested{Ok: true, Steps: []AuthenticationStep{}}
	for _, step := range steps {
		out.Ok = out.Ok && step.OK
		out.Steps = append(out.Steps, AuthenticationStep{Ok: step.OK, Says: step.Says})
	}
	return ok(out)
}

func checkSettings(changes SettingChange) error {
	for name := range changes {
		if name == "" || len(name) > maxSettingName || len(changes) > maxSettingChanges || strings.Trim(name, settingLetters) != "" {
			return &registry.InvalidError{Field: "changes", Reason: "must name settings that there are"}
		}
	}
	return nil
}

// tellSettings has the audit trail name the settings that were changed, never the
// values. It is told only of names that there are: somebody may have mistaken a
// secret for one.
func (c *call) tellSettings(changes SettingChange) {
	if len(changes) > 0 {
		c.details = registry.Metadata{"settings": slices.Sorted(maps.Keys(changes))}
	}
}
