package authn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
)

// An Auditor keeps the audit trail.
type Auditor interface {
	InsertAudit(ctx context.Context, e registry.AuditEvent) error
}

// An attempt is a sign-in under way: what is told of it afterwards, in the audit
// trail and by `postern explain-login`.
type attempt struct {
	event registry.AuditEvent
	steps []string
}

func newAttempt(action, provider string, from Client) *attempt {
	return &attempt{event: registry.AuditEvent{Action: action, Provider: provider, IP: from.IP, UserAgent: from.UserAgent,
		Request: from.Request, Details: registry.Metadata{}}}
}

// step notes what was decided, in words for an administrator.
func (a *attempt) step(format string, args ...any) {
	if len(a.steps) < maxSteps {
		a.steps = append(a.steps, cut(fmt.Sprintf(format, args...), maxShown))
	}
}

const (
	maxSteps  = 20
	maxShown  = 256 // bytes of a step or a claim
	maxClaims = 64
)

// saw notes an assertion: whom it names and, redacted, its claims.
func (a *attempt) saw(as Assertion) {
	if as.Provider != "" {
		a.event.Provider = as.Provider
	}
	if as.Subject != "" && as.Provider != registry.LocalProvider {
		a.event.Details["subject"] = cut(as.Subject, maxShown)
	}
	if len(as.Claims) > 0 {
		a.event.Details["claims"] = redacted(as.Claims)
	}
	if as.Groups != nil {
		a.event.Details["groups"] = shownList(*as.Groups)
	}
}

// shownClaims are shown as they are; of the others, only that they were there.
// What is here is needed to see why somebody was refused or got a role, and
// is nothing that would let anybody in.
var shownClaims = []string{
	"sub", "iss", "aud", "azp", "iat", "exp", "nbf", "auth_time", "acr", "amr", "hd", "dn",
	"email", "mail", "email_verified", "preferred_username", "login", "groups", "memberof", "roles", "user_roles",
}

func redacted(claims map[string]any) map[string]any {
	shown := make(map[string]any, len(claims))
	for name, value := range claims {
		name = clean(name)
		switch {
		case len(shown) == maxClaims:
			return shown
		case !slices.Contains(shownClaims, strings.ToLower(name)):
			shown[name] = "(redacted)"
		default:
			shown[name] = shownValue(value)
		}
	}
	return shown
}

func shownValue(v any) any {
	switch v := v.(type) {
	case nil, bool, float64, int64, int:
		return v
	case []string:
		return shownList(v)
	case []any:
		words := make([]string, 0, min(len(v), maxClaims))
		for _, e := range v {
			words = append(words, fmt.Sprint(e))
		}
		return shownList(words)
	}
	return clean(fmt.Sprint(v))
}

func shownList(words []string) []any {
	shown := make([]any, 0, min(len(words), maxClaims))
	for _, w := range words {
		if len(shown) == maxClaims {
			break
		}
		shown = append(shown, clean(w))
	}
	return shown
}

// clean makes text fit for a database and a terminal.
func clean(s string) string {
	return cut(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s), maxShown)
}

// ended writes down what became of an attempt and returns it. A sign-in that
// cannot be written down does not happen: its session is ended.
func (u *Users) ended(ctx context.Context, a *attempt, t Tokens, err error) (Tokens, error) {
	e := &a.event
	log := u.Log.With("provider", e.Provider, "source", e.IP)
	var refused *RefusedError
	switch {
	case err == nil:
		e.Outcome = registry.AuditDone
		if t.User != "" {
			e.Actor, e.Object = t.User, string(t.Session)
		}
		log.Info(e.Action, "user", e.Actor, "session", t.Session)
	case errors.As(err, &refused):
		e.Outcome, e.Reason = registry.AuditRefused, refused.Reason
		if refused.User != "" {
			e.Actor = refused.User
		}
		log.Info(e.Action+" refused", "user", refused.User, "reason", refused.Reason)
	case errors.Is(err, ErrLimited):
		// In the log alone: a guesser must not be able to fill the trail.
		log.Info(e.Action+" refused", "reason", registry.ReasonTooManyAttempts)
		return t, err
	case errors.Is(err, token.ErrExpired), errors.Is(err, token.ErrInvalid):
		reason := registry.ReasonTokenInvalid
		if errors.Is(err, token.ErrExpired) {
			reason = registry.ReasonTokenExpired
		}
		log.Info(e.Action+" refused", "reason", reason)
		return t, err
	case errors.Is(err, ErrProvider):
		e.Outcome, e.Reason = registry.AuditFailed, registry.ReasonProviderUnavailable
		log.Warn(e.Action+" not possible", "reason", e.Reason, "err", err)
	default:
		return t, err // the store does not answer: nothing can be written down
	}
	if e.Outcome != registry.AuditDone && e.Actor == "" {
		if room, roomErr := u.roomFor(ctx, e.IP); roomErr != nil || !room {
			return t, cmp.Or(roomErr, err)
		}
	}
	if len(a.steps) > 0 {
		e.Details["steps"] = shownList(a.steps)
	}
	if auditErr := u.record(ctx, *e); auditErr != nil {
		if err == nil && t.Session != "" {
			auditErr = errors.Join(auditErr, u.Live.RevokeSession(ctx, t.User, t.Session))
		}
		return Tokens{}, auditErr
	}
	return t, err
}

// maxStrangers is how many attempts of nobody known the trail keeps from one
// address in throttleWindow. The log has them all.
const maxStrangers = 100

// roomFor counts an attempt of a stranger and reports whether the trail keeps
// it: whoever asks for nothing but refusals must not be able to fill it.
func (u *Users) roomFor(ctx context.Context, ip string) (bool, error) {
	c, err := u.Throttles.CountFailure(ctx, "trail:"+ip, u.Now(), throttleWindow)
	return c.Failures <= maxStrangers, err
}

// settled is ended for what signs nobody in. The actor, and the object when that
// is another, are those of the event.
func (u *Users) settled(ctx context.Context, a *attempt, err error) error {
	_, err = u.ended(ctx, a, Tokens{}, err)
	return err
}

// record adds an event to the audit trail.
func (u *Users) record(ctx context.Context, e registry.AuditEvent) error {
	if u.Audit == nil {
		return nil
	}
	if e.ID == "" {
		e.ID = registry.AuditID(u.newID())
	}
	e.At = u.Now().UTC()
	if e.ActorName == "" && e.Actor != "" {
		if user, err := u.Find.User(ctx, e.Actor); err == nil {
			e.ActorName = user.Username
		}
	}
	if err := u.Audit.InsertAudit(ctx, e); err != nil {
		return fmt.Errorf("write the audit trail: %w", err)
	}
	return nil
}
