package api

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/registry"
)

// An AuditTrail keeps and shows who did what. It is safe for concurrent use.
type AuditTrail interface {
	InsertAudit(ctx context.Context, e registry.AuditEvent) error
	Audit(ctx context.Context, q registry.AuditQuery) (registry.List[registry.AuditEvent], error)
}

// words name, in the audit trail, the operations that the actions of authz do
// not name.
var words = map[string]string{
	"POST /users":                      "user.register",
	"DELETE /users/sessions/{session}": "session.end",
	"DELETE /users/sessions":           "session.end-all",
	"POST /users/keys":                 "key.create",
	"DELETE /users/keys/{key}":         "key.revoke",
	"POST /setup":                      "setup",
	"POST /users/identities/unlink":    "identity.unlink",

	"POST /{domain}/clients/{client}/certs":      "certificate.issue",
	"POST /{domain}/certs/{certificate}/revoke":  "certificate.revoke",
	"POST /{domain}/certs/{certificate}/release": "certificate.release",

	"DELETE /{domain}/clients/{client}/secrets/{secret}": "client.secret.end",

	"POST /{domain}/claims":                                           "claim.create",
	"DELETE /{domain}/claims/{claim}":                                 "claim.delete",
	"POST /claim":                                                     "claim.use",
	"POST /{domain}/authorities":                                      "authority.import",
	"PATCH /{domain}/authorities/{authority}":                         "authority.update",
	"DELETE /{domain}/authorities/{authority}":                        "authority.delete",
	"POST /{domain}/authorities/{authority}/prove":                    "authority.prove",
	"POST /{domain}/authorities/{authority}/enable":                   "authority.enable",
	"POST /{domain}/authorities/{authority}/disable":                  "authority.disable",
	"POST /{domain}/authorities/{authority}/crl":                      "authority.crl",
	"POST /{domain}/authorities/{authority}/principals":               "principal.bind",
	"DELETE /{domain}/authorities/{authority}/principals/{principal}": "principal.unbind",

	"POST /settings/authentication/test": "settings.test",

	"POST /users/factors/totp":     "factor.totp.begin",
	"POST /users/factors/passkeys": "factor.passkey.begin",
}

// toldElsewhere are the operations that sign people in and out, and those with
// passwords and keys: authn writes them down itself, with all that was seen.
var toldElsewhere = map[string]bool{
	"POST /users/tokens/issue":   true,
	"POST /users/tokens/refresh": true,
	"POST /users/tokens/revoke":  true,
	"POST /users/tokens/recover": true,

	"POST /users/tokens/second-factor":         true,
	"POST /users/tokens/second-factor/passkey": true, // a question; the answer is told
	"POST /users/factors/totp/confirm":         true,
	"DELETE /users/factors/totp":               true,
	"POST /users/factors/recovery-codes":       true,
	"POST /users/factors/passkeys/confirm":     true,
	"DELETE /users/factors/passkeys/{passkey}": true,
	"POST /users/{user}/factors/reset":         true,
	"POST /sessions":                           true,
	"PUT /sessions/{session}":                  true,
	"DELETE /sessions/{session}":               true,
	"POST " + oauthRoute.pattern:               true,

	"PATCH /users/secret":            true,
	"PATCH /users/{user}/secret":     true,
	"POST /users/{user}/invite":      true,
	"POST /users/invitations/accept": true,
	"POST /users/verify-email":       true,
	"POST /password/reset-request":   true,
	"PUT /password/reset":            true,
}

// word is what an operation is called in the audit trail; "" for one that
// changes nothing or is told elsewhere.
func (rt route) word() string {
	name := rt.method + " " + rt.pattern
	switch {
	case rt.method == http.MethodGet, toldElsewhere[name]:
		return ""
	case words[name] != "":
		return words[name]
	case rt.need == anybody, rt.need == signedIn:
		return ""
	}
	return string(rt.need)
}

// tellTime bounds how long an answer waits for the audit trail.
const tellTime = 5 * time.Second

// tell writes an operation down, done or not. What strangers are refused is in
// the log alone: they must not be able to fill the trail. What was done and
// cannot be written down is in the log as an error of ours: it is too late to
// undo it.
func (s *Server) tell(ctx context.Context, rt route, c *call, a answer, err error) {
	word := rt.word()
	if word == "" || s.Audit == nil || err != nil && c.by() == "" {
		return
	}
	from := c.where()
	e := registry.AuditEvent{
		ID: registry.AuditID(s.NewID()), At: time.Now().UTC(), Action: word, Outcome: registry.AuditDone,
		Actor: c.by(), ActorName: c.person.User.Username, Object: c.about(a), Domain: c.domain,
		Provider: c.person.Session.Provider, IP: from.IP, UserAgent: from.UserAgent, Request: c.id, Details: registry.Metadata{},
	}
	if err != nil {
		e.Outcome, e.Reason = registry.AuditRefused, adapters.ReasonOf(err)
		if kind := adapters.KindOf(err); (kind == adapters.Internal || kind == adapters.Unavailable) && problemOf(rt.method, err).status >= 500 {
			e.Outcome = registry.AuditFailed
		} else if kind == adapters.Internal {
			e.Reason = "" // one of this door's own refusals
		}
	}
	if c.person.Key != "" {
		e.Details["api_key"] = string(c.person.Key)
	}
	if id, err := registry.ParseID(c.request.URL.Query().Get("user")); err == nil {
		e.Details["user"] = id
	}
	maps.Copy(e.Details, c.details)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTime)
	defer cancel()
	if err := s.Audit.InsertAudit(ctx, e); err != nil {
		s.Log.Error("audit trail not written", "request", c.id, "action", word, "outcome", e.Outcome, "actor", e.Actor, "object", e.Object, "err", err)
	}
}

// about is what an operation was done to: what it made, else the noun of the
// path, the inner one first.
func (c *call) about(a answer) string {
	if c.object != "" {
		return c.object
	}
	if a.location != "" {
		return a.location[strings.LastIndexByte(a.location, '/')+1:]
	}
	for _, name := range []string{"client", "channel", "user", "key", "session", "claim"} {
		if id := c.pathID(name); id != "" {
			return id
		}
	}
	return string(c.domain)
}

func (s *Server) listAudit(ctx context.Context, c *call) (answer, error) {
	page, err := c.page()
	if err == nil {
		err = page.Check()
	}
	if err != nil {
		return answer{}, err
	}
	v := c.request.URL.Query()
	q := registry.AuditQuery{
		Action: v.Get("action"), Outcome: v.Get("outcome"), Actor: registry.UserID(v.Get("actor")), Object: v.Get("object"),
		Domain: registry.DomainID(v.Get("domain")), Provider: v.Get("provider"), IP: v.Get("ip"), Request: v.Get("request"),
		Offset: page.Offset, Limit: page.Limit,
	}
	for key, to := range map[string]*time.Time{"from": &q.From, "to": &q.To} {
		if text := v.Get(key); text != "" {
			if *to, err = time.Parse(time.RFC3339, text); err != nil {
				return answer{}, &registry.InvalidError{Field: key, Reason: "must be a time such as 2026-01-02T15:04:05Z"}
			}
		}
	}
	switch q.Outcome {
	case "", registry.AuditDone, registry.AuditRefused, registry.AuditFailed:
	default:
		return answer{}, &registry.InvalidError{Field: "outcome", Reason: "must be done, refused or failed"}
	}
	list, err := s.Audit.Audit(ctx, q)
	if err != nil {
		return answer{}, err
	}
	return ok(AuditPage{Total: list.Total, Offset: q.Offset, Limit: q.Limit, Events: each(list.Items, func(e registry.AuditEvent) AuditEvent {
		e.Details = nil
		return eventOf(e)
	})})
}

func (s *Server) viewAudit(ctx context.Context, c *call) (answer, error) {
	id := c.pathID("event")
	if id == "" {
		return answer{}, registry.ErrNotFound
	}
	list, err := s.Audit.Audit(ctx, registry.AuditQuery{ID: registry.AuditID(id), Limit: 1})
	if err != nil {
		return answer{}, err
	}
	if len(list.Items) == 0 {
		return answer{}, registry.ErrNotFound
	}
	return ok(eventOf(list.Items[0]))
}

func eventOf(e registry.AuditEvent) AuditEvent {
	return AuditEvent{
		ID: string(e.ID), At: e.At, Action: e.Action, Outcome: e.Outcome, Reason: string(e.Reason),
		Actor: string(e.Actor), ActorName: e.ActorName, Object: e.Object, Domain: string(e.Domain), Provider: e.Provider,
		IP: e.IP, UserAgent: e.UserAgent, Request: e.Request, Details: Metadata(e.Details),
	}
}
