package main

import (
	"cmp"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/postern-io/postern/authn"
)

// sessionFlags are the settings of sign-ins, of programs that come with a key,
// and of the audit trail.
func (c *Config) sessionFlags(f *pflag.FlagSet) {
	c.AccessTTL, c.RefreshIdle, c.RefreshAbsolute = 15*time.Minute, authn.DefaultRefreshIdle, authn.DefaultSessionLife
	f.Var(&span{&c.AccessTTL, time.Minute, time.Hour, "an access token is renewed by itself for as long as " + envName("auth-session-refresh-idle") + " says"},
		"auth-session-access-ttl", "life of an access token, at most 1h")
	f.Var(&span{&c.RefreshIdle, time.Minute, maxSession, ""}, "auth-session-refresh-idle", "how long a sign-in lasts that nobody uses")
	f.Var(&span{&c.RefreshAbsolute, time.Minute, maxSession, ""}, "auth-session-refresh-absolute", "how long a sign-in lasts at all")
	f.StringVar(&c.AppKey, "auth-app-key", "", "public `key` of our own application, for clients that send X-API-KEY; empty: one made from the server's key")
	f.DurationVar(&c.AuditKeep, "audit-keep", 9600*time.Hour, "how long the audit trail is kept, at least 24h")
}

// maxSession bounds a sign-in that nobody ends.
const maxSession = 366 * 24 * time.Hour

// validateSession is the part of Validate that the flags cannot tell.
func (c *Config) validateSession(wrong func(flag, format string, args ...any)) {
	if c.AccessTTL < time.Minute || c.AccessTTL > time.Hour {
		wrong("auth-session-access-ttl", "is %s; give 1m to 1h", c.AccessTTL)
	}
	if c.RefreshAbsolute < c.RefreshIdle {
		wrong("auth-session-refresh-absolute", "is %s; give no less than %s, which is %s", c.RefreshAbsolute, envName("auth-session-refresh-idle"), c.RefreshIdle)
	}
	if c.AuditKeep < 24*time.Hour {
		wrong("audit-keep", "is %s; give 24h or more", c.AuditKeep)
	}
	if len(c.AppKey) > 128 || strings.ContainsFunc(c.AppKey, func(r rune) bool { return r <= ' ' || r > '~' }) {
		wrong("auth-app-key", "is no key; give at most 128 printable characters without spaces")
	}
}

// A span is a duration within bounds, given as other products do in seconds or
// as ours are, such as 15m.
type span struct {
	to          *time.Duration
	least, most time.Duration
	hint        string // what to do instead of going beyond
}

func (s *span) String() string { return s.to.String() }
func (s *span) Type() string   { return "duration" }

func (s *span) Set(text string) error {
	d, err := time.ParseDuration(text)
	if seconds, e := strconv.Atoi(text); e == nil {
		if seconds > int(maxSession/time.Second) {
			seconds = int(maxSession/time.Second) + 1 // too long, and not around the corner of an int64
		}
		d, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil {
		return errors.New("give seconds, or a duration such as 15m")
	}
	if d < s.least || d > s.most {
		problem := fmt.Sprintf("give %s to %s", short(s.least), short(s.most))
		if s.hint != "" {
			problem += "; " + s.hint
		}
		return errors.New(problem)
	}
	*s.to = d
	return nil
}

// short is a duration without the zeros behind it.
func short(d time.Duration) string {
	return strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m")
}

// appKey returns the public key of our own application. Nodes that share the
// secret key have the same.
func (c *Config) appKey(secret []byte) (string, error) {
	made, err := hkdf.Key(sha256.New, secret, nil, "postern application key", 24)
	return cmp.Or(c.AppKey, base64.RawURLEncoding.EncodeToString(made)), err
}
