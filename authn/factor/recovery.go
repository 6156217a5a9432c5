package factor

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"strings"

	"github.com/postern-io/postern/registry"
)

const (
	recoveryCodes = 10
	codeLetters   = 20 // of base32: 100 bits
	codeGroup     = 5
)

// NewRecoveryCodes replaces the recovery codes of a user who has a factor and
// returns the new ones, the only time. Without a factor it is
// registry.ErrNotFound.
func (f *Factors) NewRecoveryCodes(ctx context.Context, user registry.UserID) ([]string, error) {
	codes, hashes := f.newCodes(user)
	if err := f.store.ReplaceRecoveryCodes(ctx, user, hashes); err != nil {
		return nil, err
	}
	return codes, nil
}

// newCodes returns codes as people read them, and what is kept of them.
func (f *Factors) newCodes(user registry.UserID) (codes []string, hashes [][32]byte) {
	for range recoveryCodes {
		letters := rand.Text()[:codeLetters]
		var groups []string
		for i := 0; i < codeLetters; i += codeGroup {
			groups = append(groups, letters[i:i+codeGroup])
		}
		codes, hashes = append(codes, strings.Join(groups, "-")), append(hashes, f.codeHash(user, letters))
	}
	return codes, hashes
}

// checkRecovery takes a recovery code, once. It is found by its HMAC, so how
// long that takes tells nothing of the code.
func (f *Factors) checkRecovery(ctx context.Context, user registry.UserID, code string) error {
	letters := strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(code))
	if len(letters) != codeLetters {
		return wrong()
	}
	// Unused codes of somebody without a factor are not left behind; should
	// there be some, they let nobody in.
	methods, err := f.Methods(ctx, user)
	if err != nil {
		return err
	}
	if len(methods) == 0 {
		return wrong()
	}
	return orWrong(f.store.UseRecoveryCode(ctx, user, f.codeHash(user, letters), f.now()))
}

func (f *Factors) codeHash(user registry.UserID, letters string) [32]byte {
	h := hmac.New(sha256.New, f.mac)
	h.Write([]byte(string(user) + "\x00" + letters))
	return [32]byte(h.Sum(nil))
}
