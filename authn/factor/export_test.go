package factor

import (
	"testing"

	"github.com/postern-io/postern/registry"
)

// InsertSecret keeps a secret of the test's choice, unconfirmed.
func InsertSecret(t testing.TB, f *Factors, user registry.UserID, secret []byte) {
	t.Helper()
	if err := f.store.InsertTOTP(t.Context(), registry.TOTP{User: user, Sealed: f.sealed(user, secret), CreatedAt: f.now()}); err != nil {
		t.Fatal(err)
	}
}

// RawSecret is a secret as it was before it was written in base32.
func RawSecret(t testing.TB, text string) string {
	t.Helper()
	raw, err := base32Text.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
