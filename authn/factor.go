package authn

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
)

// SecondFactors checks what somebody shows beside a password.
type SecondFactors interface {
	// Methods names what the user has enrolled: "totp", "passkey", "recovery".
	// Recovery codes alone are no second factor: without another it is empty.
	Methods(ctx context.Context, user registry.UserID) ([]string, error)
	// Check takes a proof once and returns its word of RFC 8176. A wrong one is
	// a *RefusedError with ReasonSecondFactorWrong.
	Check(ctx context.Context, user registry.UserID, p Proof) (amr string, err error)
	// Challenge returns the argument of navigator.credentials.get() for a user
	// who has a passkey; else it is registry.ErrNotFound. The challenge in it is
	// good for one answer.
	Challenge(ctx context.Context, user registry.User) (json.RawMessage, error)
}

// A Proof is a second factor as it is shown; one of its fields is set.
type Proof struct {
	Code         string          // of a generator
	RecoveryCode string          // one of those printed at the enrolment
	Passkey      json.RawMessage // answer of navigator.credentials.get()
}

// A SecondFactorError is an ErrUnauthenticated that asks for more: whoever holds
// the ticket and a second factor of the account is in. The ticket is a secret.
type SecondFactorError struct {
	User    registry.UserID
	Ticket  string
	Methods []string
}

func (e *SecondFactorError) Error() string {
	return "second factor wanted: " + strings.Join(e.Methods, ", ")
}

// Is makes every SecondFactorError an ErrUnauthenticated.
func (e *SecondFactorError) Is(target error) bool { return target == ErrUnauthenticated }

const (
	// ticketLife is how long the second factor of a sign-in may take.
	ticketLife = 5 * time.Minute
	// maxWrong is how many wrong second factors end a ticket.
	maxWrong = 5
)

// pending is a sign-in that waits for its second factor.
type pending struct {
	Provider string   `json:"provider"`
	AMR      []string `json:"amr"`
	Kind     string   `json:"kind"`
}

// askFactor keeps a sign-in until its second factor comes, and returns a
// *SecondFactorError.
func (u *Users) askFactor(ctx context.Context, user registry.UserID, p pending, methods []string) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	ticket, err := u.newKey(ctx, user, registry.KeyFactor, string(data), ticketLife)
	if err != nil {
		return err
	}
	return &SecondFactorError{User: user, Ticket: ticket, Methods: methods}
}

// IssueWith is Issue for who shows the second factor together with the password.
// An account without one does not look at it.
//
// Errors are those of Issue but for the *SecondFactorError, and those of
// SecondFactor.
func (u *Users) IssueWith(ctx context.Context, login, pass string, proof Proof, from Client) (Tokens, error) {
	t, err := u.Issue(ctx, login, pass, from)
	var more *SecondFactorError
	if !errors.As(err, &more) {
		return t, err
	}
	return u.SecondFactor(ctx, more.Ticket, proof, from)
}

// PasskeyChallenge returns the argument of navigator.credentials.get() for a
// sign-in that waits for its second factor. The ticket stays good.
//
// Errors: a *RefusedError with ReasonKeyInvalid for a ticket that is no longer
// good, registry.ErrNotFound when the account has no passkey, or that the store
// did not answer.
func (u *Users) PasskeyChallenge(ctx context.Context, ticket string) (json.RawMessage, error) {
	user, _, err := u.waiting(ctx, token.Hash(ticket))
	if err != nil {
		return nil, err
	}
	return u.Factors.Challenge(ctx, user)
}

// SecondFactor ends a sign-in that waits for its second factor. Five wrong ones
// end the ticket, and count as wrong passwords do.
//
// Errors: a *RefusedError with ReasonKeyInvalid for a ticket that is unknown,
// used or too old, with ReasonSecondFactorWrong for a wrong factor; a
// *LimitedError; or that the store did not answer.
func (u *Users) SecondFactor(ctx context.Context, ticket string, proof Proof, from Client) (Tokens, error) {
	at := newAttempt("sign-in", "", from)
	t, err := u.secondFactor(ctx, at, ticket, proof, from)
	return u.ended(ctx, at, t, err)
}

func (u *Users) secondFactor(ctx context.Context, at *attempt, ticket string, proof Proof, from Client) (Tokens, error) {
	hash := token.Hash(ticket)
	user, p, err := u.waiting(ctx, hash)
	at.event.Provider = p.Provider
	if err != nil {
		return Tokens{}, err
	}
	if err := u.throttled(ctx, "factor:"+string(user.ID), from.IP); err != nil {
		return Tokens{}, err
	}
	// Counted before it is looked at: of many guesses at once no more than
	// maxWrong are.
	if n, err := u.Keys.CountKeyFailure(ctx, hash); err != nil {
		return Tokens{}, keyInvalid(err)
	} else if n > maxWrong {
		return Tokens{}, &RefusedError{Reason: registry.ReasonKeyInvalid, User: user.ID}
	}
	amr, err := u.Factors.Check(ctx, user.ID, proof)
	var wrong *RefusedError
	if errors.As(err, &wrong) {
		if err := u.failed(ctx, "factor:"+string(user.ID), from.IP); err != nil {
			return Tokens{}, err
		}
		wrong.User = user.ID
	}
	if err != nil {
		return Tokens{}, err
	}
	if _, err := u.Keys.UseKey(ctx, hash, registry.KeyFactor, u.Now()); err != nil {
		return Tokens{}, keyInvalid(err) // another was quicker with the same ticket
	}
	if err := u.succeeded(ctx, "factor:"+string(user.ID), from.IP); err != nil {
		return Tokens{}, err
	}
	at.step("the second factor is right: %s", amr)
	from.Kind = p.Kind
	return u.SignIn(ctx, user.ID, p.Provider, from, append(p.AMR, amr, "mfa")...)
}

// waiting returns whose sign-in waits for its second factor.
func (u *Users) waiting(ctx context.Context, ticket [32]byte) (user registry.User, p pending, err error) {
	key, err := u.Keys.OneTimeKey(ctx, ticket, registry.KeyFactor, u.Now())
	switch {
	case err != nil:
		return user, p, keyInvalid(err)
	case key.Failures >= maxWrong, u.Factors == nil:
		return user, p, &RefusedError{Reason: registry.ReasonKeyInvalid, User: key.User}
	}
	if err := json.Unmarshal([]byte(key.Data), &p); err != nil {
		return user, p, err
	}
	if _, known := u.provider(p.Provider); !known && p.Provider != RecoveryProvider { // switched off meanwhile
		return user, p, &RefusedError{Reason: registry.ReasonKeyInvalid, User: key.User}
	}
	if user, err = u.Find.User(ctx, key.User); err != nil {
		return user, p, keyInvalid(err)
	}
	if user.Status != registry.Enabled {
		return user, p, &RefusedError{Reason: registry.ReasonUserDisabled, User: user.ID}
	}
	return user, p, nil
}

// The actions of the audit trail that change somebody's second factors.
const (
	FactorEnrolled = "factor.enrol"
	FactorRemoved  = "factor.remove"
	FactorRenewed  = "factor.recovery-codes"
	FactorsReset   = "factor.reset" // all of somebody else's
)

// FactorChanged is told once second factors of a user have changed: which, and by
// whom. It ends the sign-ins of the user, but for the one that the change came
// by, and writes the change down. Who was open to enrolling alone stays so until
// the next sign-in, which has a new session (C47). The person gets a notice (C18).
func (u *Users) FactorChanged(ctx context.Context, action, which string, by Person, user registry.UserID, from Client) error {
	whose, err := u.Find.User(ctx, user)
	if err == nil {
		u.Notify(whose, LetterFactor)
	}
	return errors.Join(
		err,
		u.Live.RevokeSessions(ctx, user, by.Session.ID),
		u.record(ctx, registry.AuditEvent{
			Action: action, Outcome: registry.AuditDone, Actor: by.User.ID, ActorName: by.User.Username, Object: string(user),
			IP: from.IP, UserAgent: from.UserAgent, Request: from.Request, Details: registry.Metadata{"factor": which},
		}),
	)
}
