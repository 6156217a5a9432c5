package password

import (
	"fmt"
	"strings"
	"unicode/utf8"

	zxcvbn "github.com/nbutton23/zxcvbn-go"

	"github.com/postern-io/postern/registry"
)

const (
	// DefaultMinLength is NIST SP 800-63B-4 §3.1.1.2 for a password that is the
	// only factor, in characters.
	DefaultMinLength = 15
	// FloorMinLength is the least that may be configured: a password beside a
	// second factor.
	FloorMinLength = 8
	// MaxLength bounds the work of a check, in bytes. Nothing below it is cut.
	MaxLength = 1024

	// leastEntropy in bits; a password that a dictionary attack with the
	// context finds sooner is refused.
	leastEntropy = 28
	// strengthPrefix bounds the estimator, whose cost grows with the square of
	// the length: what is strong after so many bytes stays strong.
	strengthPrefix = 100
)

// A Policy says which passwords are good enough. There are no composition
// rules: a long lower-case phrase is fine (NIST SP 800-63B-4 §3.1.1.2).
type Policy struct {
	MinLength int // characters; 0 means DefaultMinLength
}

// Check returns a *registry.InvalidError that says what would be right. context
// are words an attacker would try first, such as the e-mail address and the
// product: they do not add to a password's strength.
func (p Policy) Check(password string, context ...string) error {
	least := p.MinLength
	if least == 0 {
		least = DefaultMinLength
	}
	invalid := func(format string, args ...any) error {
		return &registry.InvalidError{Field: "password", Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case !utf8.ValidString(password):
		return invalid("must be UTF-8 text")
	case utf8.RuneCountInString(password) < least:
		return invalid("must have at least %d characters; a phrase of several words is easy to remember", least)
	case len(password) > MaxLength:
		return invalid("must have at most %d bytes", MaxLength)
	}
	words := []string{"postern", "password", "nats", "mqtt"}
	for _, c := range context {
		words = append(words, strings.FieldsFunc(strings.ToLower(c), func(r rune) bool { return r == '@' || r == '.' || r == ' ' })...)
	}
	head := password
	if len(head) > strengthPrefix {
		head = head[:strengthPrefix]
	}
	if zxcvbn.PasswordStrength(head, words).Entropy < leastEntropy {
		return invalid("is among the first that would be guessed; use words that do not belong together")
	}
	return nil
}
