package api

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
)

// What can go wrong before a handler is asked, and what only this door knows.
var (
	errNoToken     = errors.New("no access token")
	errMalformed   = errors.New("malformed body")
	errMediaType   = errors.New("not application/json")
	errMethod      = errors.New("no such method here")
	errCrossOrigin = errors.New("cross-origin request")
	errOldPassword = errors.New("wrong old password")

	errAppKey     = errors.New("wrong key of the application")
	errEvidence   = errors.New("two tokens that differ")
	errPersonOnly = errors.New("an API key asks for what only a person may")

	errPasswordFirst  = errors.New("the password must be changed first")
	errFactorFirst    = errors.New("a second factor must be enrolled first")
	errReauthenticate = errors.New("signed in too long ago for this")

	errFactorWanted = errors.New("a second factor is wanted")
	errFactorWrong  = errors.New("wrong second factor")
	errTicket       = errors.New("no such sign-in waits")
)

// A problem is how an error looks from outside.
type problem struct {
	status     int
	word       ErrorError
	message    string
	retryAfter time.Duration
}

// fieldOf is the field that an error is about, "" when it is about none.
func fieldOf(err error) string {
	var invalid *registry.InvalidError
	var exists *registry.ExistsError
	switch {
	case errors.As(err, &invalid):
		return invalid.Field
	case errors.As(err, &exists):
		return exists.Field
	}
	return ""
}

// away is how long to wait when a part of us does not answer.
const away = 2 * time.Second

// errorProblems are the errors of this door and of tokens; the first that fits
// counts.
var errorProblems = []struct {
	err error
	problem
}{
	{errNoToken, problem{401, ErrorErrorUnauthenticated, "Sign in and send the access token as Bearer.", 0}},
	{token.ErrExpired, problem{401, ErrorErrorExpiredOauthToken, "The token has expired.", 0}},
	{token.ErrInvalid, problem{401, ErrorErrorInvalidOauthToken, "The token is not valid.", 0}},
	{errEvidence, problem{401, ErrorErrorInvalidOauthToken, "The tokens of this request differ.", 0}},
	{errAppKey, problem{403, ErrorErrorInvalidAPIKey, "The key of the application is wrong. GET /api/config tells it.", 0}},
	{errPersonOnly, problem{403, ErrorErrorUnauthorizedAccess, "An API key cannot do this. Sign in.", 0}},
	{errOldPassword, problem{403, ErrorErrorUnauthorizedAccess, "The old password is wrong.", 0}},
	{errPasswordFirst, problem{403, ErrorErrorPasswordChangeRequired, "Change the password first: PATCH /api/users/secret.", 0}},
	{errFactorFirst, problem{403, ErrorErrorSecondFactorEnrolmentRequired, "Enrol a second factor first, then sign in again.", 0}},
	{errReauthenticate, problem{403, ErrorErrorReauthRequired, "Sign in again first: this asks for a sign-in of the last 15 minutes.", 0}},
	{errFactorWanted, problem{401, ErrorErrorSecondFactorRequired, "Show a second factor, with the ticket: POST /api/users/tokens/second-factor.", 0}},
	{errFactorWrong, problem{401, ErrorErrorUnauthenticated, "The second factor is wrong, or was used before.", 0}},
	{errTicket, problem{401, ErrorErrorUnauthenticated, "No sign-in waits with this ticket (any more). Sign in again.", 0}},
	{errCrossOrigin, problem{403, ErrorErrorUnauthorizedAccess, "Changes from another origin are refused.", 0}},
	{errMalformed, problem{400, ErrorErrorMalformedRequest, "The body is not the JSON that is expected here.", 0}},
	{errMediaType, problem{415, ErrorErrorUnsupportedMediaType, "Send the body as application/json.", 0}},
	{errMethod, problem{405, ErrorErrorMethodNotAllowed, "This path does not have that method.", 0}},
	{authn.ErrNoMail, problem{501, ErrorErrorMailNotConfigured, "Mail is not configured on this server, so no key can be sent.", 0}},
}

// kindProblems are all other outcomes.
var kindProblems = map[adapters.Kind]problem{
	adapters.Unauthenticated: {401, ErrorErrorUnauthenticated, "Name or password is wrong.", 0},
	adapters.Denied:          {403, ErrorErrorUnauthorizedAccess, "You may not do this.", 0},
	adapters.Revoked:         {401, ErrorErrorInvalidOauthToken, "The session has ended.", 0},
	adapters.Invalid:         {400, ErrorErrorRecordInvalid, "The record breaks a rule.", 0},
	adapters.InvalidTopic:    {400, ErrorErrorRecordInvalid, "The topic breaks a rule.", 0},
	adapters.InvalidContent:  {400, ErrorErrorRecordInvalid, "The content breaks a rule.", 0},
	adapters.TooLarge:        {413, ErrorErrorTooLarge, "The body is too large.", 0},
	adapters.NotFound:        {404, ErrorErrorRecordNotFound, "There is no such record.", 0},
	adapters.Exists:          {409, ErrorErrorRecordExists, "The record exists already.", 0},
	adapters.Conflict:        {409, ErrorErrorConflict, "The state of things does not allow it.", 0},
	adapters.Limited:         {429, ErrorErrorTooManyRequests, "Too many attempts. Try again later.", time.Second},
	adapters.Unavailable:     {503, ErrorErrorUnavailable, "This cannot be answered now. Try again later.", away},
	adapters.Internal:        {500, ErrorErrorAPIResourceError, "Something went wrong here. The log has more under the request id.", 0},
}

// claimReasons look alike from outside.
var claimReasons = []registry.Reason{registry.ReasonClaimUnknown, registry.ReasonClaimUsed, registry.ReasonClaimExpired}

// problemOf is the one place where an error becomes a status. What a record
// breaks is told in the error's own words, which hold no secret.
func problemOf(method string, err error) problem {
	for _, e := range errorProblems {
		if errors.Is(err, e.err) {
			return e.problem
		}
	}
	if errors.As(err, new(*http.MaxBytesError)) {
		return kindProblems[adapters.TooLarge]
	}
	kind := adapters.KindOf(err)
	p, known := kindProblems[kind]
	if !known {
		p = kindProblems[adapters.Internal]
	}
	var (
		invalid *registry.InvalidError
		exists  *registry.ExistsError
		limited *authn.LimitedError
		refused *authn.RefusedError
	)
	switch {
	case kind == adapters.Invalid && errors.As(err, &invalid):
		p.message = invalid.Error()
	case kind == adapters.Exists && errors.As(err, &exists):
		p.message = exists.Error()
		if method == http.MethodPost { // a creation, as SuperMQ's clients expect
			p.status = http.StatusUnprocessableEntity
		}
	case errors.Is(err, registry.ErrFrozen):
		p.message = registry.ErrFrozen.Error()
	case errors.Is(err, registry.ErrStale):
		p.message = "Somebody else changed this meanwhile. Look at it again, then change it."
	case errors.Is(err, registry.ErrLastOwner):
		p.message = registry.ErrLastOwner.Error()
	case errors.As(err, &refused) && refused.Reason == registry.ReasonSetUpToken:
		p.message = "The set-up token is wrong, used or too old."
	case errors.As(err, &refused) && refused.Reason == registry.ReasonKeyInvalid:
		p.message = "The key is wrong, used or too old. Ask for another."
	case errors.As(err, &refused) && slices.Contains(claimReasons, refused.Reason):
		p.message = "The claim token is wrong, used or too old."
	case errors.As(err, &limited) && limited.RetryAfter > 0:
		p.retryAfter = limited.RetryAfter
	}
	return p
}
