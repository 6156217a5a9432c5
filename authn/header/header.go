// Package header reads who somebody is from what a trusted proxy says in a
// request's headers, as in the header authentication of Onegini's identity
// provider (spec/users.md §1.2, §2.8). It authenticates nobody itself: all of
// that is the proxy's, so the one question here is whether the proxy speaks.
//
//	peer trusted?  address in TrustedProxies, or a certificate of ProxyRoots
//	   │ no   identity headers are ignored, or refused with FailIfMissing
//	   ▼ yes
//	one principal, plain text, once, under its exact name
//
// The proxy must set the headers itself in every request, so that what a client
// sends is overwritten. Headers under names that some servers take for the same
// (Remote_User, Remote.User) are refused, not read.
package header

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/postern-io/postern/authn"
)

// Key is the key of the provider in identities, settings and logs.
const Key = "header"

// A Config says which headers to read, and from whom. TrustedProxies or
// ProxyRoots must be given.
type Config struct {
	PrincipalHeader string // who: remote-user when empty
	GroupHeader     string // remote-groups when empty
	ClientIPHeader  string // x-forwarded-for when empty
	EmailHeader     string // not read when empty
	NameHeader      string // not read when empty

	// FailIfMissing refuses a request that names nobody, or names somebody
	// through a peer that is not trusted. Without it such a request says
	// nothing, and other ways to sign in are open.
	FailIfMissing bool

	// TrustedProxies are the addresses of proxies. A network of everybody (/0)
	// is refused.
	TrustedProxies []netip.Prefix
	// ProxyRoots trusts a peer by its client certificate, wherever it is. With
	// ProxyNames the certificate must have one of them as a DNS name, or as its
	// common name; without, every certificate of these roots is a proxy's, so
	// they must not be those that devices get theirs from.
	ProxyRoots *x509.CertPool
	ProxyNames []string

	Now func() time.Time // nil means time.Now; for the validity of certificates
}

// A Provider reads trusted headers. It is an authn.RequestProvider, and safe for
// concurrent use.
type Provider struct {
	c        Config
	identity []string // the headers that say who somebody is, canonical
}

var _ authn.RequestProvider = (*Provider)(nil)

// New returns a provider, or an error that says what would be right.
func New(c Config) (*Provider, error) {
	if len(c.TrustedProxies) == 0 && c.ProxyRoots == nil {
		return nil, errors.New("TrustedProxies (such as 10.1.2.3/32, the proxy's address) or ProxyRoots (the CA of its client certificate) must be given: else anybody could send the header")
	}
	if len(c.ProxyNames) > 0 && c.ProxyRoots == nil {
		return nil, errors.New("ProxyNames need ProxyRoots")
	}
	proxies := make([]netip.Prefix, 0, len(c.TrustedProxies))
	for _, p := range c.TrustedProxies {
		p = unmapped(p)
		if !p.IsValid() || p.Bits() == 0 {
			return nil, fmt.Errorf("TrustedProxies: %v must be the network of the proxies, not everybody's", p)
		}
		proxies = append(proxies, p)
	}
	c.TrustedProxies, c.ProxyNames = proxies, slices.Clone(c.ProxyNames)
	c.PrincipalHeader = cmp.Or(c.PrincipalHeader, "remote-user")
	c.GroupHeader = cmp.Or(c.GroupHeader, "remote-groups")
	c.ClientIPHeader = cmp.Or(c.ClientIPHeader, "x-forwarded-for")
	if c.Now == nil {
		c.Now = time.Now
	}
	seen := map[string]bool{}
	p := &Provider{}
	for _, h := range []struct {
		field string
		name  *string
	}{
		{"PrincipalHeader", &c.PrincipalHeader}, {"GroupHeader", &c.GroupHeader}, {"EmailHeader", &c.EmailHeader}, {"NameHeader", &c.NameHeader},
		{"ClientIPHeader", &c.ClientIPHeader},
	} {
		if *h.name == "" {
			continue
		}
		if err := checkName(*h.name); err != nil {
			return nil, fmt.Errorf("%s %q %w", h.field, *h.name, err)
		}
		*h.name = http.CanonicalHeaderKey(*h.name)
		if seen[fold(*h.name)] {
			return nil, fmt.Errorf("%s %q must be another header than the others", h.field, *h.name)
		}
		seen[fold(*h.name)] = true
		if h.field != "ClientIPHeader" {
			p.identity = append(p.identity, *h.name)
		}
	}
	p.c = c
	return p, nil
}

// checkName takes letters, digits and hyphens: a part of what RFC 9110 §5.6.2
// allows, and what every proxy passes on as it is. Headers with a meaning of
// their own do not get a second one; Host is not among a request's headers.
func checkName(name string) error {
	for _, r := range name {
		if r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return errors.New("must have letters, digits and hyphens only")
		}
	}
	switch strings.ToLower(name) {
	case "authorization", "proxy-authorization", "cookie", "set-cookie", "host", "connection", "upgrade", "te", "trailer", "transfer-encoding",
		"keep-alive", "content-length", "content-type", "origin", "referer", "user-agent":
		return errors.New("has a meaning of its own; remote-user would be right")
	}
	return nil
}

// fold returns what servers that turn headers into variables make of a name
// (RFC 3875 §4.1.18; PHP does it to dots too).
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		}
		return '-'
	}, name)
}
