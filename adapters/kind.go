package adapters

import (
	"context"
	"errors"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

// A Kind is an outcome as a door sees it.
type Kind int

// The kinds. Each wire has one table from these to its own codes.
const (
	Internal        Kind = iota // we broke a promise: log it, say a fixed sentence
	OK                          // no error
	Unauthenticated             // nobody we know
	Denied                      // known, but may not
	InvalidTopic                // the topic breaks a rule
	InvalidContent              // the payload is not what its type says
	Invalid                     // another input breaks a rule
	TooLarge                    // a message beyond the limit
	NotFound                    // no such noun
	Exists                      // a noun that must be unique is there already
	Conflict                    // the state of things does not allow it
	Limited                     // too much, too fast
	Unavailable                 // cannot tell or cannot carry now: try later
	Revoked                     // was let in, is no longer
)

// ErrInvalidContent is wrapped by a door that finds a payload not to be what
// its content type says.
var ErrInvalidContent = errors.New("invalid content")

// ErrLimited is wrapped by a door that has no room for more at once.
var ErrLimited = errors.New("too many at once")

// A RevokedError ends a session that was open when the ground for it went away.
type RevokedError struct{ Reason registry.Reason }

func (e *RevokedError) Error() string { return "revoked: " + string(e.Reason) }

// KindOf is the one place where an error becomes an outcome.
func KindOf(err error) Kind {
	var (
		revoked *RevokedError
		invalid *registry.InvalidError
	)
	switch {
	case err == nil:
		return OK
	case errors.As(err, &revoked):
		return Revoked
	case errors.Is(err, authn.ErrLimited), errors.Is(err, ErrLimited):
		return Limited
	case errors.Is(err, authn.ErrUnauthenticated), errors.Is(err, token.ErrInvalid), errors.Is(err, token.ErrExpired):
		return Unauthenticated
	case errors.Is(err, authz.ErrDenied):
		return Denied
	case errors.Is(err, messaging.ErrInvalidTopic):
		return InvalidTopic
	case errors.Is(err, messaging.ErrTooLarge):
		return TooLarge
	case errors.Is(err, ErrInvalidContent):
		return InvalidContent
	case errors.As(err, &invalid):
		return Invalid
	case errors.Is(err, registry.ErrNotFound):
		return NotFound
	case errors.Is(err, registry.ErrExists):
		return Exists
	case errors.Is(err, registry.ErrFrozen), errors.Is(err, registry.ErrDisabled), errors.Is(err, registry.ErrLastOwner), errors.Is(err, registry.ErrNotRenewable), errors.Is(err, registry.ErrStale):
		return Conflict
	case errors.Is(err, registry.ErrUnavailable), errors.Is(err, messaging.ErrUnavailable), errors.Is(err, authn.ErrProvider),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Unavailable
	}
	return Internal
}

// ReasonOf returns the reason of an error for the log, the metrics and the
// audit trail.
func ReasonOf(err error) registry.Reason {
	var (
		refused *authn.RefusedError
		denied  *authz.DeniedError
		revoked *RevokedError
	)
	switch {
	case errors.As(err, &refused):
		return refused.Reason
	case errors.As(err, &denied):
		return denied.Reason
	case errors.As(err, &revoked):
		return revoked.Reason
	case errors.Is(err, authn.ErrLimited):
		return registry.ReasonTooManyAttempts
	case errors.Is(err, token.ErrExpired):
		return registry.ReasonTokenExpired
	case errors.Is(err, token.ErrInvalid):
		return registry.ReasonTokenInvalid
	}
	return kindReasons[KindOf(err)]
}

var kindReasons = map[Kind]registry.Reason{
	InvalidTopic:   registry.ReasonInvalidTopic,
	InvalidContent: registry.ReasonInvalidContent,
	Invalid:        registry.ReasonMalformed,
	TooLarge:       registry.ReasonTooLarge,
	Limited:        registry.ReasonLimited,
	Unavailable:    registry.ReasonUnavailable,
	Internal:       registry.ReasonInternal,
}
