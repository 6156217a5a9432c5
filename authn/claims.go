package authn

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/postern-io/postern/registry"
)

// A Claimer turns claim tokens into devices, as *registry.Registry does. A token
// that it does not take is a *registry.ClaimError.
type Claimer interface {
	UseClaim(ctx context.Context, u registry.ClaimUse) (registry.Claimed, error)
}

// Claims lets whoever holds a claim token become a device. Tokens cannot be
// guessed (256 bits); the limits spare the database. It is safe for concurrent
// use.
type Claims struct {
	claimer     Claimer
	certificate bool
	now         func() time.Time
	wrong       *failures
}

// ClaimsConfig is what NewClaims needs.
type ClaimsConfig struct {
	Claimer            Claimer
	Limits             Limits           // of wrong tokens, by source; zero: no limits
	RequireCertificate bool             // AUTH=x509: without a signing request a claim would give nothing of use
	Now                func() time.Time // default time.Now
}

// NewClaims returns a Claims that has seen no wrong token yet.
func NewClaims(c ClaimsConfig) *Claims {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Claims{claimer: c.Claimer, certificate: c.RequireCertificate, now: c.Now, wrong: newFailures(c.Limits)}
}

// Use is UseClaim for somebody at that address.
//
// Errors: a *RefusedError for a token that is not taken; a *LimitedError,
// without a look at the token, when too many were wrong before; a
// *registry.InvalidError without a signing request where one is required; and
// what else UseClaim returns.
func (c *Claims) Use(ctx context.Context, from netip.Addr, u registry.ClaimUse) (registry.Claimed, error) {
	if c.certificate && u.Request == "" {
		return registry.Claimed{}, &registry.InvalidError{Field: "csr", Reason: "must be there: devices come in by certificate alone"}
	}
	source := &Credential{Remote: from}
	if wait, blocked := c.wrong.blocked(c.now(), source); blocked {
		return registry.Claimed{}, &LimitedError{RetryAfter: wait}
	}
	var refused *registry.ClaimError
	var got registry.Claimed
	var err error = &registry.ClaimError{Reason: registry.ReasonClaimUnknown}
	if registry.IsClaimToken(u.Token.Reveal()) {
		got, err = c.claimer.UseClaim(ctx, u)
	}
	if errors.As(err, &refused) {
		c.wrong.count(c.now(), source)
		return registry.Claimed{}, &RefusedError{Reason: refused.Reason}
	}
	return got, err
}
