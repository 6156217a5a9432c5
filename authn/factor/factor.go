package factor

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// A Store keeps second factors. Each method is atomic. What is not there, or
// was used up by another caller, is registry.ErrNotFound.
type Store interface {
	TOTP(ctx context.Context, user registry.UserID) (registry.TOTP, error)
	// InsertTOTP replaces an unconfirmed one; a confirmed one is registry.ErrExists.
	InsertTOTP(ctx context.Context, t registry.TOTP) error
	// ConfirmTOTP keeps the codes when this is the first factor, and says so.
	ConfirmTOTP(ctx context.Context, t registry.TOTP, codes [][32]byte) (first bool, err error)
	// UseTOTPStep takes a time step that is later than all taken before.
	UseTOTPStep(ctx context.Context, user registry.UserID, step int64) error
	// DeleteTOTP drops the recovery codes with the last factor, as DeletePasskey does.
	DeleteTOTP(ctx context.Context, user registry.UserID) error

	RecoveryCodes(ctx context.Context, user registry.UserID) (unused int, err error)
	ReplaceRecoveryCodes(ctx context.Context, user registry.UserID, codes [][32]byte) error
	UseRecoveryCode(ctx context.Context, user registry.UserID, code [32]byte, at time.Time) error

	Passkeys(ctx context.Context, user registry.UserID) ([]registry.Passkey, error)
	// InsertPasskey is registry.ErrExists for a credential that somebody has.
	InsertPasskey(ctx context.Context, p registry.Passkey, most int, codes [][32]byte) (first bool, err error)
	// UsePasskey compares the credential with before, and sets it.
	UsePasskey(ctx context.Context, p registry.Passkey, before string) error
	DeletePasskey(ctx context.Context, user registry.UserID, id string) error
	DropFactors(ctx context.Context, user registry.UserID) error

	InsertKey(ctx context.Context, k registry.OneTimeKey) error
	UseKey(ctx context.Context, hash [32]byte, purpose registry.KeyPurpose, now time.Time) (registry.OneTimeKey, error)
	DropKeys(ctx context.Context, user registry.UserID, purpose registry.KeyPurpose) error
}

// A Config is what New needs. RPID and Origins may be empty: then there are no
// passkeys.
type Config struct {
	Store Store
	// Key seals what must not be read out of the database. Every node has the
	// same; without it no generator and no recovery code is recognised.
	Key [32]byte
	Now func() time.Time
	// Name is what authenticator apps and browsers call this site; empty means
	// Postern.
	Name string
	// RPID is the host of the site, Origins the addresses of its pages (WebAuthn
	// §5.1.2). A passkey is bound to the host for good.
	RPID    string
	Origins []string
}

// Factors checks and keeps second factors. It is safe for concurrent use.
type Factors struct {
	store Store
	now   func() time.Time
	name  string
	seal  cipher.AEAD
	mac   []byte
	web   *webauthn.WebAuthn // nil: no passkeys
}

var _ authn.SecondFactors = (*Factors)(nil)

// New returns the second factors of a site. It fails for an RPID that no browser
// takes, such as an address.
func New(c Config) (*Factors, error) {
	f := &Factors{store: c.Store, now: c.Now, name: cmp.Or(c.Name, "Postern")}
	sealing, err := hkdf.Key(sha256.New, c.Key[:], nil, "postern totp secrets", 32)
	if err != nil {
		return nil, err
	}
	if f.mac, err = hkdf.Key(sha256.New, c.Key[:], nil, "postern recovery codes", 32); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(sealing)
	if err != nil {
		return nil, err
	}
	if f.seal, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	if c.RPID == "" {
		return f, nil
	}
	f.web, err = webauthn.New(&webauthn.Config{
		RPID: c.RPID, RPDisplayName: f.name, RPOrigins: c.Origins,
		// Which make an authenticator is of we do not ask: any will do.
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementPreferred, UserVerification: protocol.VerificationRequired,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("passkeys of %s: %w", c.RPID, err)
	}
	return f, nil
}

// Methods implements authn.SecondFactors.
func (f *Factors) Methods(ctx context.Context, user registry.UserID) ([]string, error) {
	o, err := f.Enrolled(ctx, user)
	if err != nil {
		return nil, err
	}
	var methods []string
	if o.TOTP {
		methods = append(methods, "totp")
	}
	if len(o.Passkeys) > 0 {
		methods = append(methods, "passkey")
	}
	if len(methods) > 0 && o.RecoveryCodes > 0 {
		methods = append(methods, "recovery")
	}
	return methods, nil
}

// Enrolled is what somebody has.
type Enrolled struct {
	TOTP          bool // confirmed
	Passkeys      []registry.Passkey
	RecoveryCodes int // that are unused
}

// Enrolled returns which factors a user has; none is no error.
func (f *Factors) Enrolled(ctx context.Context, user registry.UserID) (e Enrolled, err error) {
	if e.TOTP, err = f.hasTOTP(ctx, user); err != nil {
		return e, err
	}
	if e.Passkeys, err = f.store.Passkeys(ctx, user); err != nil {
		return e, err
	}
	e.RecoveryCodes, err = f.store.RecoveryCodes(ctx, user)
	return e, err
}

// Check implements authn.SecondFactors. Exactly one field of the proof must be
// set. Beside the refusal it fails only when the store does not answer.
func (f *Factors) Check(ctx context.Context, user registry.UserID, p authn.Proof) (amr string, err error) {
	code, recovery, passkey := p.Code != "", p.RecoveryCode != "", len(p.Passkey) > 0
	switch {
	case code && !recovery && !passkey:
		return "otp", f.checkTOTP(ctx, user, p.Code)
	case recovery && !code && !passkey:
		return "otp", f.checkRecovery(ctx, user, p.RecoveryCode)
	case passkey && !code && !recovery:
		return "pop", f.checkPasskey(ctx, user, p.Passkey)
	}
	return "", wrong()
}

// Drop removes all factors of a user.
func (f *Factors) Drop(ctx context.Context, user registry.UserID) error {
	return f.store.DropFactors(ctx, user)
}

func wrong() error { return &authn.RefusedError{Reason: registry.ReasonSecondFactorWrong} }
