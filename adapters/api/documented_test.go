package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// TestEveryDocumentedAnswer provokes each status that openapi.yaml lists for
// each operation, on a new site, and holds the answer to the document.
func TestEveryDocumentedAnswer(t *testing.T) {
	t.Parallel()
	for _, op := range operations(t) {
		for code := range op.Responses.Map() {
			if code == "default" {
				continue
			}
			want, err := strconv.Atoi(code)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(op.id+"/"+code, func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				w := s.provoke(op, want)
				if w.Code != want {
					t.Fatalf("got %d, want %d: %.300s\n%s", w.Code, want, w.Body, s.log)
				}
				s.check(op, w)
			})
		}
	}
}

type object = map[string]any

// provoke makes the operation answer with the status, or fails to.
func (s *site) provoke(op operation, status int) *httptest.ResponseRecorder {
	s.t.Helper()
	good := s.good()[op.id]
	send := func(r request, edits ...func(*http.Request)) *httptest.ResponseRecorder {
		return s.do(op.method, r.path, r.token, r.body, edits...)
	}
	r := good()
	if s.provokeFactor(op, status, &r) || s.provokeAuthority(op, status, &r) {
		return send(r)
	}
	switch status {
	case 200, 201, 204:
		return send(r)

	case 501:
		s.api.Users.Mail = nil
		return send(r)

	case 400:
		switch {
		case op.id == "registerUser":
			r.body.(object)["credentials"] = object{"username": "bob", "secret": "short"}
		case op.id == "listSessions", op.id == "listIdentities":
			r.path = op.path + "?user=x"
		case op.id == "listAPIKeys":
			r.path = "/users/keys?user=x"
		case op.id == "viewHealth":
			r.path = strings.Split(r.path, "?")[0] + "?kind=weather"
		case op.id == "viewTraffic":
			r.path = strings.Split(r.path, "?")[0] + "?since=yesterday"
		case op.id == "endSessions":
			r.path = "/users/sessions?keep=some"
		case op.id == "listenChannel":
			r.path = strings.Replace(r.path, "a/%2B", "%23/a", 1)
		case op.id == "listMatrix":
			r.path = strings.Split(r.path, "&")[0]
		case op.id == "searchUsers":
			r.path = "/users/search"
		case op.id == "inviteUser":
			s.do("PATCH", "/users/"+string(s.users["viewer"].ID)+"/secret", s.owner, object{"new_secret": goodPassword})
		case op.id == "releaseCertificate": // revoked for good
			s.do("POST", strings.Replace(r.path, "release", "revoke", 1), s.owner, nil)
		case op.RequestBody != nil:
			r.body = "{"
		default:
			r.path = strings.Split(r.path, "?")[0] + "?limit=0"
		}
		return send(r)

	case 401:
		switch op.id {
		case "issueToken":
			r.body.(object)["password"] = "wrong"
		case "claim", "setUp", "resetPassword", "verifyEmail", "acceptInvitation", "recoverToken":
			r.body.(object)["token"] = "wrong"
		case "registerUser":
			r.token = "not.a.token"
		default:
			r.token = ""
		}
		return send(r)

	case 403:
		r.token = s.stranger
		if routeOf(op).rules&fresh != 0 {
			r.token = s.stale("owner")
		}
		if op.id == "createAPIKey" {
			r.token = s.apiKey("owner", registry.Owner).text
		}
		if op.id == "changePassword" {
			r.token = s.owner
			r.body.(object)["old_secret"] = "wrong"
		}
		return send(r)

	case 404:
		none := uuid.NewString()
		switch op.id {
		case "addMember":
			r.body.(object)["user_id"] = none
		case "unlinkIdentity":
			r.body.(object)["subject"] = none
		case "endSession":
			r.path = "/users/sessions/" + none
		case "revokeAPIKey":
			r.path = "/users/keys/" + none
		default:
			ids := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`).FindAllStringIndex(r.path, -1)
			last := ids[0]
			if i := slices.IndexFunc(ids, func(i []int) bool { return i[0] > len(s.domain.ID) }); i >= 0 && strings.Count(op.path, "{") > 1 {
				last = ids[len(ids)-1]
			}
			r.path = r.path[:last[0]] + none + r.path[last[1]:]
		}
		return send(r)

	case 409:
		switch op.id {
		case "deleteUser", "disableUser", "updateUserRole":
			r.path = strings.Replace(r.path, string(s.users["viewer"].ID), string(s.users["owner"].ID), 1)
			if op.id == "updateUserRole" {
				r.body = object{"role": "viewer"}
			}
		case "changeAuthentication":
			r.body.(object)["revision"] = 7
		case "updateUserUsername":
			r.body = object{"username": "ADMIN"}
		case "updateUserEmail":
			r.body = object{"email": "admin@example.com"}
		default:
			_, err := s.api.Registry.UpdateDomain(s.t.Context(), "", s.domain.ID, func(d *registry.Domain) error { d.Status = registry.Frozen; return nil })
			if err != nil {
				s.t.Fatal(err)
			}
		}
		return send(r)

	case 415:
		return send(r, func(r *http.Request) {
			r.Header.Set("Content-Type", "text/plain")
			r.ContentLength = 2 // of a body that is there
		})

	case 422:
		switch op.id {
		case "createClients":
			r.body = []object{{"name": "new"}, {"id": s.client.ID}}
		case "createChannels":
			r.body = []object{{"name": "new"}, {"id": s.channel.ID}}
		default:
			if w := send(r); w.Code != 201 {
				s.t.Fatalf("the first: %d %s", w.Code, w.Body)
			}
		}
		return send(r)

	case 429:
		if op.id == "listenChannel" {
			s.talk.keep = true
			for range 50 {
				if w := s.listen(r.path, r.token); w.Code == status {
					return w
				}
			}
		}
		if op.id == "explain" {
			s.api.Explain = limited{}
			return send(r)
		}
		for range 50 {
			switch op.id {
			case "requestPasswordReset":
			case "issueToken":
				r.body.(object)["password"] = "wrong"
			case "changePassword":
				r.body.(object)["old_secret"] = "wrong"
			default:
				r.body.(object)["token"] = "wrong"
			}
			if w := send(r); w.Code == status {
				return w
			}
		}
		return send(r)
	}
	s.t.Fatalf("%s: nothing provokes %d", op.id, status)
	return nil
}

type limited struct{}

func (limited) Explain(context.Context, adapters.Question) (adapters.Explanation, error) {
	return adapters.Explanation{}, &authn.LimitedError{}
}
