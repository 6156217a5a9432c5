package authn

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
)

// vouchedFor is how often the audit trail tells of somebody who comes by a
// trusted proxy, which says who it is at every request.
const vouchedFor = 10 * time.Minute

// FromRequest returns who a trusted proxy says is asking. present is false when
// nothing is said of anybody; then others may be asked. There is no session: the
// role is what the groups of this very request give (Onegini, O9), so it can
// neither be kept nor refreshed.
//
// Errors are those of Issue.
func (u *Users) FromRequest(ctx context.Context, r *http.Request, from Client) (who Person, present bool, err error) {
	for _, p := range u.Providers() {
		if p.Request == nil {
			continue
		}
		a, present, err := p.Request.FromRequest(r)
		if !present && err == nil {
			continue
		}
		at := newAttempt("sign-in", p.Key, from)
		var user registry.User
		if err == nil {
			a.Provider = p.Key
			user, err = u.arrive(ctx, at, p, a, from)
		} else {
			at.saw(a)
		}
		if err == nil {
			user.Role = p.Rules.now(a)
		}
		if err := u.toldOnce(ctx, at, a, user, err); err != nil {
			return Person{}, true, err
		}
		now := u.Now()
		return Person{User: user, Fresh: true, Session: registry.UserSession{
			User: user.ID, Provider: p.Key, Kind: from.Kind, IP: from.IP, UserAgent: from.UserAgent, CreatedAt: now, LastSeen: now, AuthenticatedAt: now,
		}}, true, nil
	}
	return Person{}, false, nil
}

// now returns the role that this request's groups give, at most admin: who comes
// by a header never manages owners and admins (O7).
func (r Rules) now(a Assertion) registry.Role {
	if a.Groups == nil {
		return min(r.DefaultRole, registry.Admin)
	}
	role, _ := r.mapped(*a.Groups)
	if role == registry.NoRole {
		role = r.DefaultRole
	}
	return min(role, registry.Admin)
}

// toldOnce writes down an arrival, unless the same was written a short time ago.
func (u *Users) toldOnce(ctx context.Context, at *attempt, a Assertion, user registry.User, err error) error {
	key := at.event.IP + "\n" + a.Subject
	if a.Groups != nil {
		key += "\n" + strings.Join(*a.Groups, "\n")
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		key += "\n" + string(refused.Reason)
	}
	hash := token.Hash(key)
	if _, told := u.vouched.GetIfPresent(hash); told {
		return err
	}
	_, err = u.ended(ctx, at, Tokens{User: user.ID}, err)
	if err == nil || errors.As(err, &refused) {
		u.vouched.Set(hash, struct{}{})
	}
	return err
}
