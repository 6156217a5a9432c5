package api

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/postern-io/postern/registry"
)

// This file is what clients of Mage know: a key that names the application,
// POST /sessions to sign in, PUT to sign out, and their table of errors.

// application checks the key of the application: it must be right where it is
// sent, and be there where it is needed. It is public, so a plain comparison
// will do.
func (s *Server) application(r *http.Request, needed bool) error {
	keys := r.Header["X-Api-Key"]
	if needed && len(keys) == 0 {
		return errAppKey
	}
	for _, k := range keys {
		if k == "" || k != s.AppKey {
			return errAppKey
		}
	}
	return nil
}

// viewConfig is what a sign-in page needs to know before anybody signs in.
func (s *Server) viewConfig(context.Context, *call) (answer, error) {
	body := Config{APIKey: s.AppKey, SelfRegister: s.SelfRegister, Mail: s.Users.Mail != nil, Providers: []ConfigProvider{}}
	for _, p := range s.Users.Providers() {
		kind := "password"
		switch {
		case p.Redirect != nil:
			kind = "redirect"
		case p.Request != nil:
			kind = "header"
		default:
			body.PasswordLogin = true
		}
		body.Providers = append(body.Providers, ConfigProvider{Key: p.Key, Title: p.Title, Kind: kind})
	}
	return ok(body)
}

func (s *Server) createSeedSession(ctx context.Context, c *call) (answer, error) {
	var in SeedSignIn
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if in.APIKey != "" && in.APIKey != s.AppKey || in.APIKey == "" && len(c.request.Header["X-Api-Key"]) == 0 {
		return answer{}, errAppKey
	}
	login := in.Session.Email
	switch {
	case login == "":
		login = in.Session.Username
	case in.Session.Username != "" && in.Session.Username != login:
		return answer{}, &registry.InvalidError{Field: "session", Reason: "must hold an email or a username, not two that differ"}
	}
	if login == "" || len(login) > registry.MaxName || strings.ContainsFunc(login, unicode.IsControl) {
		return answer{}, &registry.InvalidError{Field: "email", Reason: "must be a username or an e-mail address"}
	}
	t, err := s.Users.Issue(ctx, login, in.Session.Password, c.where())
	if err != nil {
		return answer{}, err
	}
	u, err := s.Registry.User(ctx, t.User)
	if err != nil {
		return answer{}, err
	}
	return seedSession(t.Access, s.Users.Now().Add(t.ExpiresIn), u)
}

func (s *Server) viewSeedSession(_ context.Context, c *call) (answer, error) {
	return seedSession("", c.person.Session.Expires, c.person.User)
}

// leaveSeedSession signs out. The seed's pages set the end of the session by a
// PUT and name any session; ours ends that of the token.
func (s *Server) leaveSeedSession(ctx context.Context, c *call) (answer, error) {
	if c.person.Session.ID == "" { // who comes by a proxy has none
		return answer{}, errPersonOnly
	}
	if err := s.Users.SignOut(ctx, c.person, c.where()); err != nil {
		return answer{}, err
	}
	return seedSession("", s.Users.Now(), c.person.User)
}

func seedSession(token string, expires time.Time, u registry.User) (answer, error) {
	var body SeedSession
	body.Session.Token, body.Session.Expires, body.Session.User = token, expires.UTC(), userOf(u)
	return ok(body)
}

// seedRow is a row of the seed's table of errors (users.md M10): its numbers,
// sent as what they are, with its types.
type seedRow struct {
	status int
	word   string
	text   string
}

// seedTable gives each of our words its row. Words that are not here are 500.
var seedTable = map[ErrorError]seedRow{
	ErrorErrorExpiredOauthToken:    {401, "expired_oauth_token", "Expired OAuth token"},
	ErrorErrorInvalidOauthToken:    {401, "invalid_oauth_token", "Invalid OAuth token"},
	ErrorErrorRecordInvalid:        {402, "record_invalid", "Record invalid"},
	ErrorErrorMalformedRequest:     {402, "record_invalid", "Record invalid"},
	ErrorErrorUnsupportedMediaType: {402, "record_invalid", "Record invalid"},
	ErrorErrorInvalidAPIKey:        {403, "invalid_api_key", "Invalid API key"},
	ErrorErrorUnauthorizedAccess:   {403, "unauthorized_access", "Unauthorized access"},
	ErrorErrorRecordNotFound:       {404, "record_not_found", "Record not found"},
	ErrorErrorAPIResourceError:     {500, "api_resource_error", "API resource error"},
}

// seedError is an error in the seed's form. A number that its table does not
// have and HTTP needs (413, 429, 503) stays, with the type of the last row.
func seedError(p problem) (int, SeedError) {
	row, known := seedTable[p.word]
	switch {
	case known:
	case p.word == ErrorErrorUnauthenticated && p.message == errorProblems[0].message: // no token
		row = seedTable[ErrorErrorInvalidOauthToken]
	case p.status == http.StatusUnauthorized, p.status == http.StatusForbidden: // a wrong password, or a second factor is wanted
		row = seedTable[ErrorErrorUnauthorizedAccess]
	default:
		row = seedTable[ErrorErrorAPIResourceError]
		row.status = p.status
	}
	var body SeedError
	body.Status = row.status
	body.Error.Code, body.Error.Type, body.Error.Message, body.Error.Errors = row.status, row.word, row.text, []string{p.message}
	return row.status, body
}
