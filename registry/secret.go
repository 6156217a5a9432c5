package registry

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"log/slog"
	"sync"
	"time"
)

const (
	// MinSecretLength is the least number of bytes of a secret that a caller
	// brings; the ones made here have 43.
	MinSecretLength = 16
	// MaxSecretLength is what fits the common name of a certificate (RFC 5280
	// appendix A.1, ub-common-name).
	MaxSecretLength = 64
)

const redacted = "[redacted]"

// A Secret is shown once, at birth, and otherwise only held while it is being
// checked. It redacts itself in fmt, JSON and slog; Reveal is the one way out.
type Secret struct{ text string }

// NewSecret makes a secret of 256 random bits: 43 characters of base64url.
func NewSecret() Secret {
	var b [32]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return Secret{base64.RawURLEncoding.EncodeToString(b[:])}
}

// SecretOf wraps text that was shown to us.
func SecretOf(text string) Secret { return Secret{text} }

// Reveal returns the text. Call it where a secret is handed to its owner, and
// nowhere else.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.text == "" }

// Equal compares in constant time for secrets of the same length.
func (s Secret) Equal(t Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.text), []byte(t.text)) == 1
}

// Check tells whether a caller may bring s as a device secret: 16 to 64
// printable ASCII characters without space.
func (s Secret) Check() error {
	if n := len(s.text); n < MinSecretLength || n > MaxSecretLength {
		return &InvalidError{Field: "secret", Reason: "must have 16 to 64 characters"}
	}
	for i := range len(s.text) {
		if c := s.text[i]; c <= ' ' || c > '~' {
			return &InvalidError{Field: "secret", Reason: "must be printable ASCII without spaces"}
		}
	}
	return nil
}

func (s Secret) String() string               { return redacted }
func (s Secret) GoString() string             { return redacted }
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }

// A SecretHash is what we keep of a device secret: HMAC-SHA-256 under the
// server key.
type SecretHash [sha256.Size]byte

// A SecretHasher turns secrets into their hashes. It is a keyed hash and not
// argon2 because it runs on every connect and the secrets are 256 random bits;
// the key, which is not in the database, makes a stolen database worthless and
// lets a lookup by secret alone be one index probe. It is safe for concurrent
// use and does not allocate.
type SecretHasher struct{ pool sync.Pool }

// NewSecretHasher returns a hasher under key, which must have 32 bytes or more.
func NewSecretHasher(key []byte) (*SecretHasher, error) {
	if len(key) < 32 {
		return nil, &InvalidError{Field: "secret key", Reason: "must have at least 32 bytes"}
	}
	k := append([]byte(nil), key...)
	return &SecretHasher{pool: sync.Pool{New: func() any {
		return &macState{mac: hmac.New(sha256.New, k)}
	}}}, nil
}

type macState struct {
	mac hash.Hash
	in  [MaxSecretLength]byte
	sum [sha256.Size]byte
}

// Hash returns the keyed hash of s.
func (h *SecretHasher) Hash(s Secret) SecretHash {
	m := h.pool.Get().(*macState)
	m.mac.Reset()
	for text := s.text; text != ""; {
		n := copy(m.in[:], text)
		m.mac.Write(m.in[:n])
		text = text[n:]
	}
	m.mac.Sum(m.sum[:0])
	out := SecretHash(m.sum)
	clear(m.in[:])
	h.pool.Put(m)
	return out
}

// A DeviceSecret is the record of one secret of a device. A device may hold two
// during a rotation: the new one and, until Expires, the old one.
type DeviceSecret struct {
	ID       SecretID
	Device   DeviceID
	Hash     SecretHash
	Created  time.Time
	LastUsed time.Time // zero when never used
	Expires  time.Time // zero when it does not expire
}

// Valid reports whether the secret may be used at now.
func (s DeviceSecret) Valid(now time.Time) bool {
	return s.Expires.IsZero() || now.Before(s.Expires)
}
