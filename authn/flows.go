package authn

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
)

// Flows keeps sign-ins that went to another site.
type Flows interface {
	InsertFlow(ctx context.Context, f registry.SignInFlow) error
	// TakeFlow returns a flow once; after that it is registry.ErrNotFound.
	TakeFlow(ctx context.Context, state [32]byte) (registry.SignInFlow, error)
	// TakeFlowOf finds it by the browser, for a site that brings no state back.
	TakeFlowOf(ctx context.Context, provider string, browser [32]byte, backTo string) (registry.SignInFlow, error)
}

// flowThrottles bound how many sign-ins at other sites one address begins: each
// is kept for a while. A company behind one address has room.
var flowThrottles = []throttle{{func(_, ip string) string { return "flow-source:" + ip }, 1000}}

// flowLife is how long signing in at another site may take.
const flowLife = 10 * time.Minute

// A Redirect is where a browser goes to sign in, and the secret that it keeps in
// a cookie meanwhile: who brings the answer back without it is another browser.
type Redirect struct {
	Location string
	Browser  string
}

// Begin starts a sign-in at another site. backTo is where it ends (LocalPath).
// browser is the secret that the browser shows already, or "". With link, whose
// sign-in must be fresh, the identity becomes one of that account instead.
//
// Errors: registry.ErrNotFound for a provider that there is not, a *LimitedError
// when the address begins too many, ErrProvider.
func (u *Users) Begin(ctx context.Context, provider, backTo, browser string, link registry.UserID, from Client) (Redirect, error) {
	p, known := u.provider(provider)
	if !known || p.Redirect == nil {
		return Redirect{}, fmt.Errorf("sign-in provider %q: %w", provider, registry.ErrNotFound)
	}
	if err := u.throttledBy(ctx, flowThrottles, "", from.IP); err != nil {
		return Redirect{}, err
	}
	if err := u.failedBy(ctx, flowThrottles, "", from.IP); err != nil {
		return Redirect{}, err
	}
	if len(browser) != len(token.New("")) {
		browser = token.New("")
	}
	f := Flow{State: token.New(""), Nonce: token.New(""), Verifier: token.New(""), ReturnTo: LocalPath(backTo)}
	location, err := p.Redirect.Begin(ctx, f)
	if err != nil {
		return Redirect{}, err
	}
	return Redirect{location, browser}, u.Flows.InsertFlow(ctx, registry.SignInFlow{
		State: token.Hash(f.State), Provider: p.Key, Browser: token.Hash(browser), Nonce: f.Nonce, Verifier: f.Verifier,
		BackTo: f.ReturnTo, User: link, Expires: u.Now().Add(flowLife),
	})
}

// A Landing is where a sign-in at another site has ended. Linked says that an
// identity was linked and nobody signed in.
type Landing struct {
	Tokens Tokens
	BackTo string
	Linked bool
}

// Complete takes what a browser brought back from another site. The Landing
// names the path to go on at, also beside an error, as far as it is known.
//
// Errors are those of Issue.
func (u *Users) Complete(ctx context.Context, provider string, callback url.Values, browser string, from Client) (Landing, error) {
	at := newAttempt("sign-in", provider, from)
	l := Landing{BackTo: "/"}
	t, err := u.complete(ctx, at, &l, provider, callback, browser, from)
	l.Tokens, err = u.ended(ctx, at, t, err)
	return l, err
}

func (u *Users) complete(ctx context.Context, at *attempt, l *Landing, provider string, callback url.Values, browser string, from Client) (Tokens, error) {
	p, known := u.provider(provider)
	if !known || p.Redirect == nil {
		return Tokens{}, &RefusedError{Reason: registry.ReasonFlowUnknown}
	}
	kept, err := u.takeFlow(ctx, at, p, callback, browser)
	if err != nil {
		return Tokens{}, err
	}
	l.BackTo = kept.BackTo
	a, err := p.Redirect.Complete(ctx, Flow{State: callback.Get("state"), Nonce: kept.Nonce, Verifier: kept.Verifier, ReturnTo: kept.BackTo}, callback)
	a.Provider = p.Key
	if err != nil {
		at.saw(a)
		return Tokens{}, err
	}
	if kept.User != "" {
		l.Linked = true
		return Tokens{}, u.link(ctx, at, p, a, kept.User)
	}
	return u.admit(ctx, at, p, a, from)
}

// takeFlow returns the flow that a callback belongs to and uses it up. It must
// be this provider's, this browser's and not too old (C28).
func (u *Users) takeFlow(ctx context.Context, at *attempt, p Provider, callback url.Values, browser string) (f registry.SignInFlow, err error) {
	unknown := &RefusedError{Reason: registry.ReasonFlowUnknown}
	mine := token.Hash(browser)
	switch state := callback["state"]; {
	case len(state) == 1:
		f, err = u.Flows.TakeFlow(ctx, token.Hash(state[0]))
	case len(state) == 0 && p.Stateless && browser != "":
		f, err = u.Flows.TakeFlowOf(ctx, p.Key, mine, LocalPath(callback.Get("return_to")))
		unknown = &RefusedError{Reason: registry.ReasonAssertionUnexpected}
	case len(state) == 0 && p.Stateless:
		return f, &RefusedError{Reason: registry.ReasonAssertionUnexpected}
	default:
		return f, unknown
	}
	switch {
	case errors.Is(err, registry.ErrNotFound):
		at.step("no sign-in with this state is under way")
		return f, unknown
	case err != nil:
		return f, err
	case f.Provider != p.Key:
		at.step("the state belongs to a sign-in at %s", f.Provider)
	case subtle.ConstantTimeCompare(f.Browser[:], mine[:]) != 1:
		at.step("another browser began this sign-in")
	case !u.Now().Before(f.Expires):
		at.step("the sign-in took longer than %s", flowLife)
	default:
		return f, nil
	}
	return f, unknown
}

// Unsolicited takes an assertion that nobody asked for here: somebody began at
// the other site. The door has asked the person to go on (C42).
//
// Errors are those of Complete; a provider that does not allow it refuses with
// ReasonAssertionUnexpected.
func (u *Users) Unsolicited(ctx context.Context, provider, assertion string, from Client) (Tokens, error) {
	at := newAttempt("sign-in", provider, from)
	t, err := u.unsolicited(ctx, at, provider, assertion, from)
	return u.ended(ctx, at, t, err)
}

func (u *Users) unsolicited(ctx context.Context, at *attempt, provider, assertion string, from Client) (Tokens, error) {
	p, known := u.provider(provider)
	if !known || p.Unsolicited == nil {
		return Tokens{}, &RefusedError{Reason: registry.ReasonAssertionUnexpected}
	}
	at.step("the person began at the provider")
	a, err := p.Unsolicited.Unsolicited(ctx, assertion)
	a.Provider = p.Key
	if err != nil {
		at.saw(a)
		return Tokens{}, err
	}
	return u.admit(ctx, at, p, a, from)
}

// link gives an account one more identity.
func (u *Users) link(ctx context.Context, at *attempt, p Provider, a Assertion, user registry.UserID) error {
	at.event.Action = "identity.link"
	at.saw(a)
	if a.Subject == "" {
		return &RefusedError{Reason: registry.ReasonSubjectMissing, User: user}
	}
	err := u.Arrivals.Link(ctx, registry.LinkedIdentity{Provider: p.Key, Subject: a.Subject, User: user, Email: a.Email})
	if errors.Is(err, registry.ErrExists) {
		at.step("the identity belongs to an account already")
		return &RefusedError{Reason: registry.ReasonLinkRequired, User: user}
	}
	at.event.Actor, at.event.Object = user, string(user)
	return err
}
