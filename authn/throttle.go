package authn

import (
	"context"
	"strings"
	"time"

	"github.com/postern-io/postern/registry"
)

// Throttles counts failed sign-ins where a restart does not forget them.
type Throttles interface {
	Throttle(ctx context.Context, key string) (registry.Throttle, error)
	// CountFailure adds one; a count that began more than window ago starts anew.
	CountFailure(ctx context.Context, key string, now time.Time, window time.Duration) (registry.Throttle, error)
	BlockUntil(ctx context.Context, key string, until time.Time) error
	ForgetFailures(ctx context.Context, key string) error
}

const (
	throttleWindow = 15 * time.Minute
	// maxBlock keeps a block from ever being a lockout.
	maxBlock = 15 * time.Minute
)

// A throttle is what one kind of key may fail before it has to wait. The
// account as a whole has room for 100 (NIST SP 800-63B-4 §3.2.2), the account
// from one address for few: so a guesser is slowed down at once, and cannot
// keep the owner out from elsewhere.
type throttle struct {
	key  func(login, ip string) string
	free int
}

var throttles = []throttle{
	{func(login, ip string) string { return "pair:" + ip + ":" + login }, 10},
	{func(_, ip string) string { return "source:" + ip }, 100},
	{func(login, _ string) string { return "account:" + login }, 100},
}

// throttled returns a *LimitedError while any of the keys has to wait.
func (u *Users) throttled(ctx context.Context, login, ip string) error {
	return u.throttledBy(ctx, throttles, login, ip)
}

func (u *Users) throttledBy(ctx context.Context, ts []throttle, login, ip string) error {
	now := u.Now()
	for _, t := range ts {
		c, err := u.Throttles.Throttle(ctx, t.key(loginKey(login), ip))
		if err != nil {
			return err
		}
		if wait := c.BlockedUntil.Sub(now); wait > 0 {
			return &LimitedError{RetryAfter: wait}
		}
	}
	return nil
}

// failed counts a failure. Past the free ones each doubles the wait, from one
// second up to maxBlock.
func (u *Users) failed(ctx context.Context, login, ip string) error {
	return u.failedBy(ctx, throttles, login, ip)
}

func (u *Users) failedBy(ctx context.Context, ts []throttle, login, ip string) error {
	now := u.Now()
	for _, t := range ts {
		key := t.key(loginKey(login), ip)
		c, err := u.Throttles.CountFailure(ctx, key, now, throttleWindow)
		if err != nil {
			return err
		}
		if over := c.Failures - t.free; over >= 0 {
			block := min(time.Second<<min(over, 20), maxBlock)
			if err := u.Throttles.BlockUntil(ctx, key, now.Add(block)); err != nil {
				return err
			}
		}
	}
	return nil
}

// succeeded forgets what was failed for this account from this address. The
// address's own count stays: an attacker may own one good account.
func (u *Users) succeeded(ctx context.Context, login, ip string) error {
	key := throttles[0].key(loginKey(login), ip)
	return u.Throttles.ForgetFailures(ctx, key)
}

// loginKey bounds and folds what somebody typed.
func loginKey(login string) string { return strings.ToLower(cut(login, 254)) }
