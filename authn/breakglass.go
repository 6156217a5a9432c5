package authn

import (
	"context"
	"time"

	"github.com/postern-io/postern/registry"
)

const (
	// RecoveryProvider is the provider of sign-ins with a key from the host.
	RecoveryProvider = "recovery"

	breakGlassLife = 15 * time.Minute
)

// An OwnerMaker makes an account an enabled owner.
type OwnerMaker interface {
	MakeOwner(ctx context.Context, id registry.UserID, dropFactors bool) (registry.User, error)
}

// BreakGlass makes an account an enabled owner and returns a one-time key for it
// that is good for 15 minutes. It is for who owns the host, where no provider and
// no password is needed; no door offers it. The key is a secret.
//
// Errors: registry.ErrNotFound, or that the store did not answer.
func (u *Users) BreakGlass(ctx context.Context, owners OwnerMaker, id registry.UserID, dropFactors bool) (string, error) {
	user, err := owners.MakeOwner(ctx, id, dropFactors)
	if err != nil {
		return "", err
	}
	if err := u.Keys.DropKeys(ctx, id, registry.KeyBreakGlass); err != nil {
		return "", err
	}
	at := newAttempt("owner.recover", RecoveryProvider, Client{})
	at.event.Object = string(user.ID)
	at.event.Details["factors_dropped"] = dropFactors
	if err := u.settled(ctx, at, nil); err != nil {
		return "", err
	}
	return u.newKey(ctx, id, registry.KeyBreakGlass, "", breakGlassLife)
}

// Recover signs in whoever holds a key of BreakGlass, also where signing in by
// password is off. A second factor of the account is asked for as always. While
// the sign-in is fresh, ChangePassword asks for no old password.
//
// Errors: a *RefusedError with ReasonKeyInvalid, a *SecondFactorError, a
// *LimitedError, or that the store did not answer.
func (u *Users) Recover(ctx context.Context, key string, from Client) (Tokens, error) {
	at := newAttempt("sign-in", RecoveryProvider, from)
	t, err := u.recover(ctx, at, key, from)
	return u.ended(ctx, at, t, err)
}

func (u *Users) recover(ctx context.Context, at *attempt, text string, from Client) (Tokens, error) {
	key, user, err := u.keyShown(ctx, registry.KeyBreakGlass, text, from)
	if err != nil {
		return Tokens{}, err
	}
	if _, err := u.Keys.UseKey(ctx, key.Hash, registry.KeyBreakGlass, u.Now()); err != nil {
		return Tokens{}, keyInvalid(err)
	}
	at.event.Actor, at.event.ActorName = user.ID, user.Username
	u.users.Invalidate(user.ID) // the host changed it behind our back
	if u.Factors != nil {
		methods, err := u.Factors.Methods(ctx, user.ID)
		if err != nil {
			return Tokens{}, err
		}
		if len(methods) > 0 {
			return Tokens{}, u.askFactor(ctx, user.ID, pending{Provider: RecoveryProvider, Kind: from.Kind}, methods)
		}
	}
	return u.SignIn(ctx, user.ID, RecoveryProvider, from)
}
