package factor

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"github.com/postern-io/postern/registry"
)

// Six digits, SHA-1, thirty seconds: what every authenticator app does, and some
// do nothing else whatever the URL says.
const (
	secretSize = 20 // bytes: RFC 4226 §4 R6 asks for 16 and recommends 20
	digits     = otp.DigitsSix
	period     = 30 // seconds
	skew       = 1  // steps that a clock may be off, RFC 6238 §5.2
)

var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

// A NewTOTP is shown once, to whom it belongs.
type NewTOTP struct {
	Secret string // base32, to be typed
	URL    string // otpauth:, to be shown as a QR code
}

// BeginTOTP makes a secret for a code generator, which is no factor until it is
// confirmed. It replaces one that was never confirmed; a confirmed one is a
// *registry.ExistsError and has to be removed first.
func (f *Factors) BeginTOTP(ctx context.Context, user registry.User) (NewTOTP, error) {
	secret := make([]byte, secretSize)
	rand.Read(secret)
	key, err := totp.Generate(totp.GenerateOpts{
		Issuer: f.name, AccountName: user.Username, Secret: secret, Period: period, Digits: digits, Algorithm: otp.AlgorithmSHA1,
	})
	if err != nil {
		return NewTOTP{}, fmt.Errorf("make a TOTP secret for user %s: %w", user.ID, err)
	}
	err = f.store.InsertTOTP(ctx, registry.TOTP{User: user.ID, Sealed: f.sealed(user.ID, secret), CreatedAt: f.now()})
	if err != nil {
		return NewTOTP{}, err
	}
	return NewTOTP{Secret: key.Secret(), URL: key.URL()}, nil
}

// ConfirmTOTP makes the generator a factor of the user, who shows with a code
// that it works. When it is the first factor, it returns recovery codes, the
// only time. That code does not open a sign-in afterwards.
//
// Errors: a *registry.InvalidError for a wrong code, registry.ErrNotFound when
// there is nothing to confirm.
func (f *Factors) ConfirmTOTP(ctx context.Context, user registry.UserID, code string) (recovery []string, err error) {
	t, err := f.store.TOTP(ctx, user)
	switch {
	case err != nil:
		return nil, err
	case !t.ConfirmedAt.IsZero():
		return nil, fmt.Errorf("the generator of user %s is confirmed: %w", user, registry.ErrNotFound)
	}
	step, ok, err := f.step(t, code)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &registry.InvalidError{Field: "code", Reason: "is wrong or too old"}
	}
	codes, hashes := f.newCodes(user)
	t.ConfirmedAt, t.LastStep = f.now(), step
	first, err := f.store.ConfirmTOTP(ctx, t, hashes)
	if err != nil || !first {
		return nil, err
	}
	return codes, nil
}

// DeleteTOTP removes the generator, confirmed or not, and the recovery codes
// with the last factor. It is registry.ErrNotFound when there is none.
func (f *Factors) DeleteTOTP(ctx context.Context, user registry.UserID) error {
	return f.store.DeleteTOTP(ctx, user)
}

func (f *Factors) hasTOTP(ctx context.Context, user registry.UserID) (bool, error) {
	t, err := f.store.TOTP(ctx, user)
	if errors.Is(err, registry.ErrNotFound) {
		return false, nil
	}
	return err == nil && !t.ConfirmedAt.IsZero(), err
}

// checkTOTP takes a code, once.
func (f *Factors) checkTOTP(ctx context.Context, user registry.UserID, code string) error {
	t, err := f.store.TOTP(ctx, user)
	if err != nil {
		return orWrong(err)
	}
	if t.ConfirmedAt.IsZero() {
		return wrong()
	}
	step, ok, err := f.step(t, code)
	if err != nil {
		return err
	}
	if !ok {
		return wrong()
	}
	return orWrong(f.store.UseTOTPStep(ctx, user, step))
}

// step returns the latest time step in the window that the code belongs to. It
// takes as long for a wrong code as for a right one.
func (f *Factors) step(t registry.TOTP, code string) (step int64, ok bool, err error) {
	secret, err := f.opened(t.User, t.Sealed)
	if err != nil {
		return 0, false, err
	}
	code = strings.ReplaceAll(code, " ", "") // apps show 123 456
	now := f.now().Unix() / period
	for s := now - skew; s <= now+skew; s++ {
		right, err := hotp.GenerateCodeCustom(base32Text.EncodeToString(secret), uint64(s), hotp.ValidateOpts{Digits: digits, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			return 0, false, fmt.Errorf("TOTP of user %s: %w", t.User, err)
		}
		if subtle.ConstantTimeCompare([]byte(right), []byte(code)) == 1 {
			step, ok = s, true
		}
	}
	return step, ok, nil
}

// sealed encrypts a secret with AES-256-GCM, bound to its user: a row that is
// copied to another account does not open.
func (f *Factors) sealed(user registry.UserID, secret []byte) []byte {
	nonce := make([]byte, f.seal.NonceSize())
	rand.Read(nonce)
	return f.seal.Seal(nonce, nonce, secret, []byte(user))
}

func (f *Factors) opened(user registry.UserID, sealed []byte) ([]byte, error) {
	n := f.seal.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("TOTP of user %s: a sealed secret of %d bytes", user, len(sealed))
	}
	secret, err := f.seal.Open(nil, sealed[:n], sealed[n:], []byte(user))
	if err != nil {
		return nil, fmt.Errorf("TOTP of user %s: the secret was sealed under another key: %w", user, err)
	}
	return secret, nil
}

// orWrong turns "there is none" into a refusal and leaves the rest.
func orWrong(err error) error {
	if errors.Is(err, registry.ErrNotFound) {
		return wrong()
	}
	return err
}
