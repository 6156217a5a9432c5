package authn

import (
	"context"
	"errors"
	"time"

	"github.com/postern-io/postern/registry"
)

// ErrNoMail is returned for what cannot be done without mail, on a server that
// has none configured.
var ErrNoMail = errors.New("mail is not configured")

// A Mailer posts letters. It is safe for concurrent use.
type Mailer interface {
	// Post puts a letter in line and returns at once, with ErrLimited when the
	// line is full. write is called when the letter's turn comes, by another
	// goroutine and with a context of its own; a letter to "" is not sent. So a
	// caller cannot tell from the time whether there was anything to send.
	Post(write func(context.Context) (Letter, error)) error
}

// A LetterKind says what a letter is about.
type LetterKind string

const (
	LetterRecovery LetterKind = "recovery" // with a key that sets a new password
	LetterVerify   LetterKind = "verify"   // with a key that proves the address
	LetterInvite   LetterKind = "invite"   // with a key that chooses the first password

	// Notices: this was changed (C18). They hold no key.
	LetterPassword LetterKind = "password"
	LetterEmail    LetterKind = "email" // goes to the old address
	LetterRole     LetterKind = "role"
	LetterFactor   LetterKind = "factor"
)

// A Letter is one mail to one person. Nothing in it was chosen by a stranger but
// the address.
type Letter struct {
	Kind LetterKind
	To   string
	Key  registry.Secret
	Life time.Duration // of the key
	Role registry.Role // of LetterRole: what it is now
}

// Notify tells a person what was changed of their account, at the address that
// user has. Without mail, or without an address, it does nothing; a full line is
// logged, because what was changed stays so.
func (u *Users) Notify(user registry.User, what LetterKind) {
	if u.Mail == nil || user.Email == "" {
		return
	}
	u.post(user.ID, Letter{Kind: what, To: user.Email, Role: user.Role})
}

// post puts a finished letter in line.
func (u *Users) post(user registry.UserID, l Letter) {
	u.postLater(user, l.Kind, func(context.Context) (Letter, error) { return l, nil })
}

func (u *Users) postLater(user registry.UserID, what LetterKind, write func(context.Context) (Letter, error)) {
	if err := u.Mail.Post(write); err != nil {
		u.Log.Warn("letter not sent", "kind", what, "user", user, "err", err)
	}
}

// keyLetter makes a one-time key that is bound to the user's address as it is
// now and writes the letter that brings it. Older keys of the kind are void.
func (u *Users) keyLetter(ctx context.Context, user registry.User, kind LetterKind, purpose registry.KeyPurpose, life time.Duration) (Letter, error) {
	if err := u.Keys.DropKeys(ctx, user.ID, purpose); err != nil {
		return Letter{}, err
	}
	text, err := u.newKey(ctx, user.ID, purpose, user.Email, life)
	if err != nil {
		return Letter{}, err
	}
	return Letter{Kind: kind, To: user.Email, Key: registry.SecretOf(text), Life: life}, nil
}
