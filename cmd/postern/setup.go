package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/ldap"
	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

// setUpLife bounds how long the one-time set-up token is good (ASVS 6.4.1).
const setUpLife = 24 * time.Hour

// setUpToken is the file of the data directory that the token stands in.
const setUpToken = "setup-token"

// setUp lets whoever holds the one-time token make the first owner. The token
// stands in the data directory, and nowhere once there is an owner.
type setUp struct {
	users    *authn.Users
	registry *registry.Registry
	path     string
	now      func() time.Time

	mu      sync.Mutex
	hash    [32]byte
	expires time.Time // zero: there is nothing to set up
}

// firstOwner makes the configured owner, or offers a set-up token, when there
// is no owner yet.
func (h *house) firstOwner(ctx context.Context, c *Config) error {
	h.setUp = &setUp{users: h.users, registry: h.registry, path: filepath.Join(c.DataDir, setUpToken), now: time.Now}
	has, err := h.registry.HasOwner(ctx)
	if err != nil {
		return err
	}
	if has {
		return h.setUp.forget()
	}
	if name := c.People.LDAP.OwnerAccount; name != "" && slices.Contains(c.People.Providers, ldap.Name) {
		_, err := h.registry.CreateFirstOwner(ctx, registry.User{Username: name, Provider: ldap.Name})
		if errors.Is(err, registry.ErrExists) { // another node was first
			err = nil
		}
		return err
	}
	if c.OwnerEmail == "" {
		return h.setUp.offer()
	}
	name := c.OwnerUsername
	if name == "" {
		name, _, _ = strings.Cut(c.OwnerEmail, "@")
	}
	owner, err := h.users.SetUpConfigured(ctx, h.registry, authn.NewUser{Username: name, Email: c.OwnerEmail, Password: c.OwnerPassword})
	if err == nil && owner.MustChange {
		h.log.Warn("the first owner has the well-known password of another product: it signs in from this machine alone, and only to change it (postern login, postern password)", "user", owner.Username)
	}
	if errors.Is(err, registry.ErrExists) { // another node was first
		err = nil
	}
	return err
}

// offer makes a token and keeps it where only the operator can read it.
func (s *setUp) offer() error {
	var b [32]byte
	rand.Read(b[:])
	text := base64.RawURLEncoding.EncodeToString(b[:])
	if err := s.forget(); err != nil {
		return err
	}
	s.mu.Lock()
	s.hash, s.expires = sha256.Sum256([]byte(text)), s.now().Add(setUpLife)
	s.mu.Unlock()
	return certs.WritePrivate(s.path, []byte(text+"\n"))
}

func (s *setUp) forget() error {
	s.mu.Lock()
	s.expires = time.Time{}
	s.mu.Unlock()
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Complete makes the first owner for whoever holds the token, once.
//
// Errors: authn.ErrUnauthenticated for a token that is wrong, used or expired;
// *registry.InvalidError for an account that will not do, after which the token
// is still good.
func (s *setUp) Complete(ctx context.Context, token string, owner authn.NewUser) (registry.User, error) {
	hash := sha256.Sum256([]byte(token))
	s.mu.Lock()
	good := subtle.ConstantTimeCompare(hash[:], s.hash[:]) == 1 && s.now().Before(s.expires)
	s.mu.Unlock()
	if !good {
		return registry.User{}, &authn.RefusedError{Reason: registry.ReasonSetUpToken}
	}
	u, err := s.users.SetUp(ctx, s.registry, owner)
	if err != nil && !errors.Is(err, registry.ErrExists) {
		return registry.User{}, err
	}
	return u, errors.Join(err, s.forget())
}

// announceSetUp tells the operator, once, how to make the first owner. The
// token itself stands in a file of mode 0600 and not in the log, which others
// may read.
func (h *house) announceSetUp(c *Config) {
	h.setUp.mu.Lock()
	waiting := !h.setUp.expires.IsZero()
	h.setUp.mu.Unlock()
	if waiting {
		h.log.Warn("there is no owner yet: run postern quickstart, or postern setup, on this machine, or open the page with the token", "page", strings.TrimSuffix(c.publicURL(), "/")+"/setup", "token file", h.setUp.path, "good for", setUpLife)
	}
}
