// Package password keeps passwords of people: which are good enough, how they
// are hashed, and how one is checked without giving the machine away.
//
// Hashes are argon2id PHC strings with the parameters of OWASP's ASVS 5.0
// (t=2, m=19 MiB, p=1). One verification costs 19 MiB and some milliseconds on
// purpose, so no more run at once than there are processors, and no more wait
// than a bound.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
)

const (
	passes  = 2
	memory  = 19 * 1024 // KiB
	threads = 1
	keySize = 32
	// maxWaiting bounds the verifications in line; at some 20 ms each the last
	// one waits about a second on two processors.
	maxWaiting = 100
)

// ErrBusy is returned when too many verifications wait already.
var ErrBusy = errors.New("too many password checks at once")

// A Hasher hashes and verifies passwords. It is safe for concurrent use.
type Hasher struct {
	slots   chan struct{}
	waiting atomic.Int64
	dummy   string
}

// NewHasher returns a Hasher that runs as many checks at once as there are
// processors.
func NewHasher() *Hasher {
	h := &Hasher{slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
	h.dummy = encode("no account has this password", passes, memory, threads)
	return h
}

// Hash returns the PHC string of a password.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.leave()
	return encode(password, passes, memory, threads), nil
}

// Verify reports whether password is the one that phc was made of. An empty phc
// takes as long as a real one and is always false: who asks cannot tell whether
// there is an account. stale is true when the hash should be made anew because
// its cost is below today's.
func (h *Hasher) Verify(ctx context.Context, phc, password string) (ok, stale bool, err error) {
	if err := h.enter(ctx); err != nil {
		return false, false, err
	}
	defer h.leave()
	known := phc != ""
	if !known {
		phc = h.dummy
	}
	p, err := decode(phc)
	if err != nil {
		return false, false, err
	}
	key := argon2.IDKey([]byte(password), p.salt, p.passes, p.memory, p.threads, uint32(len(p.key)))
	ok = subtle.ConstantTimeCompare(key, p.key) == 1 && known
	return ok, ok && (p.passes < passes || p.memory < memory), nil
}

func (h *Hasher) enter(ctx context.Context) error {
	if h.waiting.Add(1) > maxWaiting {
		h.waiting.Add(-1)
		return ErrBusy
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Hasher) leave() { <-h.slots }

func encode(password string, passes, memory uint32, threads uint8) string {
	salt := make([]byte, 16)
	rand.Read(salt)
	key := argon2.IDKey([]byte(password), salt, passes, memory, threads, keySize)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memory, passes, threads, b64(salt), b64(key))
}

type parameters struct {
	passes, memory uint32
	threads        uint8
	salt, key      []byte
}

// decode reads a PHC string. The bounds keep a damaged row from asking for more
// memory than the machine has.
func decode(phc string) (p parameters, err error) {
	bad := errors.New("stored password hash is not an argon2id PHC string")
	parts := strings.Split(phc, "$")
	var version int
	if len(parts) != 6 || parts[1] != "argon2id" {
		return p, bad
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return p, bad
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.passes, &p.threads); err != nil {
		return p, bad
	}
	if p.memory < 8 || p.memory > 1<<20 || p.passes < 1 || p.passes > 100 || p.threads < 1 {
		return p, bad
	}
	if p.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return p, bad
	}
	if p.key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil || len(p.key) < 16 || len(p.key) > 64 {
		return p, bad
	}
	return p, nil
}
