package api

import (
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

func document(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(Specification)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// A request is one call of an operation.
type request struct {
	path  string // with {…} filled in
	token string
	body  any
}

// good returns, for each operation, a request that succeeds on a new site as
// its owner.
func (s *site) good() map[string]func() request {
	d := "/" + string(s.domain.ID)
	domain, client, channel := "/domains"+d, d+"/clients/"+string(s.client.ID), d+"/channels/"+string(s.channel.ID)
	viewer := "/users/" + string(s.users["viewer"].ID)
	link := map[string]any{"client_ids": []string{string(s.client.ID)}, "channel_ids": []string{string(s.channel.ID)}, "types": []string{"Publish", "subscribe"}}
	toChannel := map[string]any{"client_ids": link["client_ids"], "types": link["types"]}
	as := func(path string, body any) func() request {
		return func() request { return request{path, s.owner, body} }
	}
	type m = map[string]any
	requests := map[string]func() request{
		"viewSpecification": as("/openapi.yaml", nil),
		"listenChannel":     as(channel+"/messages?subtopic=a/%2B", nil),
		"publishMessage":    as(channel+"/messages", m{"subtopic": "a/b", "payload": "21.5", "content_type": "text/plain"}),
		"listMatrix":        as(d+"/connections?client="+string(s.client.ID)+"&channel="+string(s.channel.ID), nil),
		"setConnections":    as(d+"/connections", m{"connections": []m{{"client_id": s.client.ID, "channel_id": s.channel.ID, "types": []string{"Subscribe"}}}}),
		"setUp":             as("/setup", m{"token": setUpToken, "credentials": m{"username": "first", "secret": goodPassword}}),
		"registerUser":      as("/users", m{"first_name": "B", "credentials": m{"username": "bob", "secret": goodPassword}, "role": "editor", "tags": nil, "created_at": "0001-01-01T00:00:00Z"}),
		"listUsers":         as("/users?limit=100&metadata=%7B%7D&with_attributes=false", nil),
		"viewProfile":       as("/users/profile", nil),
		"searchUsers":       as("/users/search?username=OWN", nil),
		"changePassword": func() request {
			hash, err := passwords.Hash(s.t.Context(), goodPassword)
			if err != nil {
				s.t.Fatal(err)
			}
			if _, err := s.api.Registry.UpdateUser(s.t.Context(), "", s.users["owner"].ID, func(u *registry.User) error { u.PasswordHash = hash; return nil }); err != nil {
				s.t.Fatal(err)
			}
			return request{"/users/secret", s.owner, m{"old_secret": goodPassword, "new_secret": goodPassword + " again"}}
		},
		"listSessions": as("/users/sessions?user="+string(s.users["viewer"].ID), nil),
		"endSession": func() request {
			s.signIn(s.users["viewer"].ID)
			sessions, err := s.api.Users.Sessions(s.t.Context(), s.users["viewer"].ID)
			if err != nil {
				s.t.Fatal(err)
			}
			return request{"/users/sessions/" + string(sessions[0].ID) + "?user=" + string(s.users["viewer"].ID), s.owner, nil}
		},
		"listIdentities": as("/users/identities?user="+string(s.users["viewer"].ID), nil),
		"unlinkIdentity": func() request {
			for _, subject := range []string{"1", "2"} {
				if err := s.api.Registry.Link(s.t.Context(), registry.LinkedIdentity{Provider: "oidc", Subject: subject, User: s.users["owner"].ID}); err != nil {
					s.t.Fatal(err)
				}
			}
			return request{"/users/identities/unlink", s.owner, m{"provider": "oidc", "subject": "1"}}
		},
		"endSessions":  as("/users/sessions?user="+string(s.users["viewer"].ID), nil),
		"createAPIKey": as("/users/keys", m{"name": "report", "role": "viewer"}),
		"listAPIKeys":  as("/users/keys?user="+string(s.users["viewer"].ID), nil),
		"revokeAPIKey": func() request {
			return request{"/users/keys/" + string(s.apiKey("viewer", registry.Viewer).ID) + "?user=" + string(s.users["viewer"].ID), s.owner, nil}
		},
		"listAudit": as("/audit?action=sign-in&outcome=done&limit=5&from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z", nil),
		"viewAudit": func() request {
			return request{"/audit/" + string(s.audited("sign-in").ID), s.owner, nil}
		},
		"viewConfig": as("/config", nil),

		"viewAuthentication":   as("/settings/authentication", nil),
		"changeAuthentication": as("/settings/authentication", m{"revision": 0, "changes": m{"auth-jwt-title": "Acme", "auth-jwt-issuer": nil}}),
		"testAuthentication":   as("/settings/authentication/test", m{"way": "jwt", "changes": m{"auth-jwt-title": "Acme"}}),

		"issueToken": func() request {
			w := s.do("POST", "/users", "", m{"email": "carl@example.com", "credentials": m{"username": "carl", "secret": goodPassword}})
			if w.Code != 201 {
				s.t.Fatalf("register: %d %s", w.Code, w.Body)
			}
			return request{"/users/tokens/issue", "", m{"username": "Carl@example.com", "password": goodPassword}}
		},
		"refreshToken": func() request {
			return request{"/users/tokens/refresh", s.signIn(s.users["viewer"].ID).Refresh, nil}
		},
		"revokeToken": func() request {
			return request{"/users/tokens/revoke", s.signIn(s.users["viewer"].ID).Refresh, nil}
		},
		"viewUser":           as(viewer, nil),
		"updateUser":         as(viewer, m{"first_name": "V", "metadata": m{"n": 12345678901234567}}),
		"deleteUser":         as(viewer, nil),
		"updateUserUsername": as(viewer+"/username", m{"username": "newname"}),
		"updateUserEmail":    as(viewer+"/email", m{"email": "new@example.com"}),
		"updateUserTags":     as(viewer+"/tags", m{"tags": []string{"a"}}),
		"updateUserPicture":  as(viewer+"/picture", m{"profile_picture": "https://example.com/a.png"}),
		"updateUserRole":     as(viewer+"/role", m{"role": "admin"}),
		"enableUser":         as(viewer+"/enable", nil),
		"disableUser":        as(viewer+"/disable", nil),

		"requestPasswordReset": as("/password/reset-request", m{"email": "viewer@example.com"}),
		"resetPassword": func() request {
			return request{"/password/reset", "", m{"token": s.recoveryKey("viewer"), "password": goodPassword, "confirm_password": goodPassword}}
		},
		"verifyEmail": func() request {
			s.api.Users.AskToVerify(s.t.Context(), s.users["viewer"], authn.Client{})
			return request{"/users/verify-email", "", m{"token": s.mail.last(s.t, authn.LetterVerify)}}
		},
		"acceptInvitation": func() request {
			return request{"/users/invitations/accept", "", m{"token": s.invitationKey("viewer"), "password": goodPassword}}
		},
		"recoverToken": func() request { return request{"/users/tokens/recover", "", m{"token": s.hostKey("viewer")}} },
		"inviteUser":   as(viewer+"/invite", nil),
		"setPassword":  as(viewer+"/secret", m{"new_secret": goodPassword}),

		"createDomain":  as("/domains", m{"name": "Two", "route": "two", "id": ""}),
		"listDomains":   as("/domains?order=name&dir=asc&status=all", nil),
		"viewDomain":    as(domain, nil),
		"updateDomain":  as(domain, m{"name": "New", "tags": []string{"x"}}),
		"deleteDomain":  as(domain, nil),
		"enableDomain":  as(domain+"/enable", nil),
		"disableDomain": as(domain+"/disable", nil),
		"freezeDomain":  as(domain+"/freeze", nil),
		"listMembers":   as(domain+"/members", nil),
		"addMember":     as(domain+"/members", m{"user_id": s.users["stranger"].ID, "role": "editor"}),
		"updateMember": func() request {
			s.join("viewer", registry.Viewer)
			return request{domain + "/members/" + string(s.users["viewer"].ID), s.owner, m{"role": "editor"}}
		},
		"removeMember": func() request {
			s.join("viewer", registry.Viewer)
			return request{domain + "/members/" + string(s.users["viewer"].ID), s.owner, nil}
		},

		"viewTraffic":        as(d+"/traffic?since=2020-01-01T00:00:00Z", nil),
		"listRefusals":       as(d+"/refusals?reason=right_missing", nil),
		"listClientRefusals": as(client+"/refusals", nil),

		"createClient":     as(d+"/clients", m{"name": "p", "credentials": m{"identity": "SN1", "secret": "brought-by-caller"}, "status": "disabled"}),
		"createClients":    as(d+"/clients/bulk", []m{{"name": "a"}, {"credentials": m{}}}),
		"listClients":      as(d+"/clients?channel="+string(s.channel.ID)+"&connection_type=Publish", nil),
		"viewClient":       as(client, nil),
		"updateClient":     as(client, m{"name": "q", "credentials": m{"identity": "x"}}),
		"updateClientTags": as(client+"/tags", m{"tags": []string{"a"}}),
		"rotateSecret":     as(client+"/secret", nil),
		"listSecrets":      as(client+"/secrets", nil),
		"endSecret": func() request {
			id := uuid.NewString() // of nothing, when the client is gone
			if held, err := s.api.Registry.Secrets(s.t.Context(), s.domain.ID, s.client.ID); err == nil && len(held) > 0 {
				id = string(held[0].ID)
			}
			return request{client + "/secrets/" + id, s.owner, nil}
		},
		"issueCertificate": as(client+"/certs", m{"csr": signingRequest(s.t)}),
		"listCertificates": as(d+"/certs?client="+string(s.client.ID)+"&status=valid&expires_before=2999-01-01T00:00:00Z", nil),
		"viewHealth":       as(d+"/health?kind=certificate_unused&limit=5", nil),
		"viewCertificate":  func() request { return request{d + "/certs/" + s.certificate(), s.owner, nil} },
		"revokeCertificate": func() request {
			return request{d + "/certs/" + s.certificate() + "/revoke", s.owner, m{"reason": "keyCompromise"}}
		},
		"releaseCertificate": func() request { return request{d + "/certs/" + s.certificate() + "/release", s.owner, nil} },
		"createClaims": as(d+"/claims", m{"count": 2, "name": "pump", "tags": []string{"a"}, "metadata": m{"site": "north"},
			"channels": []m{{"channel_id": s.channel.ID, "types": []string{"Publish", "subscribe"}}}}),
		"listClaims":  func() request { s.claimToken(); return request{d + "/claims?status=open&limit=5", s.owner, nil} },
		"deleteClaim": func() request { return request{d + "/claims/" + string(s.claimToken().ID), s.owner, nil} },
		"claim": func() request {
			return request{"/claim", "", m{"token": s.claimToken().Token.Reveal(), "csr": signingRequest(s.t)}}
		},
		"enableClient":          as(client+"/enable", nil),
		"disableClient":         as(client+"/disable", nil),
		"deleteClient":          as(client, nil),
		"listClientSessions":    as(client+"/sessions", nil),
		"endClientSession":      as(client+"/sessions/"+liveSession, nil),
		"listClientConnections": as(client+"/connections", nil),

		"createChannel":          as(d+"/channels", m{"name": "c", "route": "temp"}),
		"createChannels":         as(d+"/channels/bulk", []m{{"name": "a"}, {"name": "b", "store": false}}),
		"listChannels":           as(d+"/channels?client="+string(s.client.ID), nil),
		"viewChannel":            as(channel, nil),
		"updateChannel":          as(channel, m{"name": "q", "store": false}),
		"updateChannelTags":      as(channel+"/tags", m{"tags": []string{"a"}}),
		"enableChannel":          as(channel+"/enable", nil),
		"disableChannel":         as(channel+"/disable", nil),
		"deleteChannel":          as(channel, nil),
		"listChannelConnections": as(channel+"/connections", nil),
		"connect":                as(d+"/channels/connect", link),
		"disconnect":             as(d+"/channels/disconnect", link),
		"connectChannel":         as(channel+"/connect", toChannel),
		"disconnectChannel":      as(channel+"/disconnect", toChannel),
		"explain":                as(d+"/explain", m{"client_id": s.client.ID, "topic": "m/x/c/y", "action": "subscribe"}),
	}
	maps.Copy(requests, s.factorRequests())
	maps.Copy(requests, s.authorityRequests())
	return requests
}

// routeOf is the route of an operation.
func routeOf(op operation) route {
	for _, rt := range routes {
		if rt.method == op.method && rt.pattern == op.path {
			return rt
		}
	}
	return route{}
}

// stale returns an access token of somebody who signed in too long ago for what
// must be fresh.
func (s *site) stale(name string) string {
	s.t.Helper()
	now := s.api.Registry.Now()
	id := registry.SessionID(uuid.NewString())
	if err := s.store.InsertSession(s.t.Context(), registry.UserSession{ID: id, User: s.users[name].ID, Provider: registry.LocalProvider, Kind: "api",
		CreatedAt: now, LastSeen: now, Expires: now.Add(authn.FreshFor), AuthenticatedAt: now.Add(-authn.FreshFor)}); err != nil {
		s.t.Fatal(err)
	}
	text, err := s.api.Users.Tokens.Issue(s.users[name].ID, id)
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

func (s *site) join(name string, role registry.Role) {
	s.t.Helper()
	if err := s.api.Registry.AddMember(s.t.Context(), registry.Membership{Domain: s.domain.ID, User: s.users[name].ID, Role: role}); err != nil {
		s.t.Fatal(err)
	}
}

// An operation is one of the document, with its route.
type operation struct {
	id, method, path string
	*openapi3.Operation
}

// otherForms are the tags of operations whose errors do not look like Error;
// they have tests of their own.
var otherForms = []string{"sessions", "oauth2"}

func operations(t testing.TB) []operation {
	t.Helper()
	var ops []operation
	for path, item := range document(t).Paths.Map() {
		for method, op := range item.Operations() {
			if slices.Contains(otherForms, op.Tags[0]) {
				continue
			}
			ops = append(ops, operation{op.OperationID, method, path, op})
		}
	}
	slices.SortFunc(ops, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	return ops
}

// C67: no path is served that is not written down, and none is missing.
func TestRoutesAndDocumentAgree(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, op := range operations(t) {
		documented[op.method+" "+op.path] = true
	}
	for _, rt := range routes {
		if rt.rules&seedForm != 0 {
			continue // TestSeedRoutesAreDocumented
		}
		if !documented[rt.method+" "+rt.pattern] {
			t.Errorf("%s %s is not in openapi.yaml", rt.method, rt.pattern)
		}
		delete(documented, rt.method+" "+rt.pattern)
	}
	for path := range documented {
		t.Errorf("%s is in openapi.yaml and has no route", path)
	}
	if err := document(t).Validate(t.Context()); err != nil {
		t.Errorf("openapi.yaml: %v", err)
	}
}

// check holds an answer to the document: its status is listed, its body and
// headers are as described.
func (s *site) check(op operation, w *httptest.ResponseRecorder) {
	s.t.Helper()
	ref := op.Responses.Status(w.Code)
	if ref == nil {
		s.t.Errorf("%s: answer %d is not documented: %.200s", op.id, w.Code, w.Body)
		return
	}
	if len(ref.Value.Content) == 0 && w.Body.Len() > 0 {
		s.t.Errorf("%s: %d has a body: %.200s", op.id, w.Code, w.Body)
	}
	if media := ref.Value.Content.Get("application/json"); media != nil {
		if got := w.Header().Get("Content-Type"); got != "application/json" {
			s.t.Errorf("%s: %d is %q", op.id, w.Code, got)
		}
		if err := media.Schema.Value.VisitJSON(decode[any](s.t, w)); err != nil {
			s.t.Errorf("%s: %d breaks its schema: %v\n%.300s", op.id, w.Code, err, w.Body)
		}
	}
	for name, h := range ref.Value.Headers {
		if h.Value.Required && w.Header().Get(name) == "" {
			s.t.Errorf("%s: %d without %s", op.id, w.Code, name)
		}
	}
	if w.Code >= 400 {
		if e := decode[Error](s.t, w); !e.Error.Valid() || e.Message == "" || e.RequestID != w.Header().Get("X-Request-Id") {
			s.t.Errorf("%s: %d: %+v", op.id, w.Code, e)
		}
	}
}
