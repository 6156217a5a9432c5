package main

import (
	"crypto/hkdf"
	"crypto/sha256"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/postern-io/postern/authn/factor"
	"github.com/postern-io/postern/registry"
)

// factorSettings are the settings of second factors.
type factorSettings struct {
	Require string // least role that needs one; "": nobody
}

func (s *factorSettings) flags(f *pflag.FlagSet) {
	f.StringVar(&s.Require, "auth-require-second-factor", "", "least `role` that needs a second factor when it signs in with a password: viewer, editor, admin or owner; empty: nobody needs one")
}

func (s *factorSettings) validate(wrong func(flag, format string, args ...any)) {
	if role, err := registry.ParseRole(s.Require); err != nil || role.String() != s.Require {
		wrong("auth-require-second-factor", "is %q; give viewer, editor, admin or owner, or nothing", s.Require)
	}
}

// role is the least role that needs a second factor; the setting is validated.
func (s *factorSettings) role() registry.Role {
	role, _ := registry.ParseRole(s.Require)
	return role
}

// factors are the second factors of a server, sealed under a key that is derived
// from its secret key.
func (c *Config) factors(store factor.Store, secret []byte) (*factor.Factors, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "postern second factors", 32)
	if err != nil {
		return nil, err
	}
	rp, origin := c.relyingParty()
	return factor.New(factor.Config{Store: store, Key: [32]byte(key), Now: time.Now, RPID: rp, Origins: []string{origin}})
}

// relyingParty is what a passkey is bound to: the host of the public URL, and
// its origin. Browsers take a host name alone, over HTTPS or on localhost; else
// the host is empty and there are no passkeys.
func (c *Config) relyingParty() (host, origin string) {
	u, err := url.Parse(c.publicURL())
	if err != nil {
		return "", ""
	}
	host = strings.ToLower(u.Hostname())
	local := host == "localhost" || strings.HasSuffix(host, ".localhost")
	if net.ParseIP(host) != nil || u.Scheme != "https" && !local {
		return "", ""
	}
	port := u.Port()
	if port == map[string]string{"https": "443", "http": "80"}[u.Scheme] {
		port = "" // as browsers write an origin
	}
	if port != "" {
		return host, u.Scheme + "://" + host + ":" + port
	}
	return host, u.Scheme + "://" + host
}
