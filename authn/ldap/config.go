package ldap

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"github.com/postern-io/postern/registry"
)

// MaxTimeout is the default and the bound of Config.Timeout (C65).
const MaxTimeout = 5 * time.Second

const (
	// maxAtOnce bounds the connections to the directory; each lives for one
	// sign-in. The rest wait, within their own time.
	maxAtOnce = 32
	maxCAFile = 1 << 20 // bytes
)

// Config says where the directory is and what is asked of it. The names in
// errors are those of the settings auth.ldap.*.
type Config struct {
	// Server is ldap://host[:port], ldaps://host[:port], or a bare host[:port],
	// which means ldaps, or ldap with StartTLS. Plain ldap is for a server on
	// loopback alone.
	Server     string
	StartTLS   bool   // demand TLS on an ldap:// connection before anything is said
	CAFile     string // PEM of the authorities to trust; "": those of the system
	ServerName string // name in the server's certificate; default: the host of Server

	BindDN       string // service account, which may search
	BindPassword string
	BaseDN       string // what is searched, with everything below

	// AuthenticationFilter finds somebody: an RFC 4515 filter with {username}
	// where a value stands.
	AuthenticationFilter string
	// AuthorizationFilter finds anything below BaseDN when they may come in,
	// with {user_dn} where a value stands. "" lets in everybody who
	// authenticates.
	AuthorizationFilter string

	GroupAttribute string // default memberOf
	// UserIDAttribute never changes and has one value. The default is entryUUID,
	// else objectGUID, else the normalized DN; "dn" is the last of these.
	UserIDAttribute    string
	UsernameAttribute  string // default uid, else sAMAccountName, else cn
	EmailAttribute     string // default mail
	FirstNameAttribute string // default givenName
	LastNameAttribute  string // default sn

	Timeout time.Duration    // of a whole Verify or Test; default and at most MaxTimeout
	Now     func() time.Time // default time.Now
}

// New checks c and returns a Provider; it does not ask the directory.
//
// Errors: a *registry.InvalidError that names the setting and says what would be
// right.
func New(c Config) (*Provider, error) {
	p := &Provider{config: c, slots: make(chan struct{}, maxAtOnce)}
	p.config.defaults()
	err := errors.Join(p.server(), p.account(), p.filters(), p.attributes())
	if c.Timeout < 0 || c.Timeout > MaxTimeout {
		err = errors.Join(err, invalid("timeout", "must be more than 0 and at most %s", MaxTimeout))
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (c *Config) defaults() {
	for _, d := range []struct {
		setting *string
		value   string
	}{
		{&c.GroupAttribute, "memberOf"}, {&c.EmailAttribute, "mail"}, {&c.FirstNameAttribute, "givenName"}, {&c.LastNameAttribute, "sn"},
	} {
		if *d.setting == "" {
			*d.setting = d.value
		}
	}
	if c.Timeout == 0 {
		c.Timeout = MaxTimeout
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

func invalid(field, format string, args ...any) error {
	return &registry.InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// server settles how the directory is reached.
func (p *Provider) server() error {
	text := p.config.Server
	if !strings.Contains(text, "://") {
		scheme := "ldaps://"
		if p.config.StartTLS {
			scheme = "ldap://"
		}
		text = scheme + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return invalid("server", "must be ldaps://host:port, ldap://host:port or a host")
	}
	host, port := u.Hostname(), u.Port()
	switch u.Scheme {
	case "ldaps":
		if p.config.StartTLS {
			return invalid("start_tls", "must be off with ldaps://, which is TLS already; or write ldap://")
		}
		p.mode = modeLDAPS
	case "ldap":
		p.mode = modePlain
		if p.config.StartTLS {
			p.mode = modeStartTLS
		}
	default:
		return invalid("server", "must begin with ldaps:// or ldap://")
	}
	if p.mode == modePlain && !loopback(host) {
		return invalid("server", "would be sent passwords in the clear: use ldaps://, or switch start_tls on")
	}
	if port == "" {
		port = ldap.DefaultLdapPort
		if p.mode == modeLDAPS {
			port = ldap.DefaultLdapsPort
		}
	}
	p.address = net.JoinHostPort(host, port)
	p.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: p.config.ServerName, Time: p.config.Now}
	if p.tls.ServerName == "" {
		p.tls.ServerName = host
	}
	p.tls.RootCAs, err = authorities(p.config.CAFile)
	return err
}

// loopback goes by the name; connect looks at the address that it led to.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// authorities returns nil, which means those of the system, for no file.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, invalid("ca_file", "must be a readable file: %v", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCAFile))
	if err != nil {
		return nil, invalid("ca_file", "must be a readable file: %v", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, invalid("ca_file", "must hold certificates in PEM; %s has none", file)
	}
	return pool, nil
}

func (p *Provider) account() error {
	var errs []error
	if c := p.config; c.BindDN == "" || !plain(c.BindDN) {
		errs = append(errs, invalid("bind_dn", "must name the service account that may search"))
	}
	// A bind without a password succeeds as nobody (RFC 4513 §5.1.2).
	if p.config.BindPassword == "" {
		errs = append(errs, invalid("bind_password", "must be the password of bind_dn"))
	}
	dn, err := ldap.ParseDN(p.config.BaseDN)
	switch {
	case err != nil:
		errs = append(errs, invalid("base_dn", "must be a distinguished name such as dc=example,dc=org: %v", err))
	case len(dn.RDNs) == 0:
		errs = append(errs, invalid("base_dn", "must be the distinguished name to search below, such as dc=example,dc=org"))
	}
	return errors.Join(errs...)
}

func (p *Provider) filters() (err error) {
	if p.config.AuthenticationFilter == "" {
		return invalid("authentication_filter", "must find somebody by {username}, for example (uid={username})")
	}
	if p.authenticate, err = newTemplate("authentication_filter", p.config.AuthenticationFilter, "{username}"); err != nil {
		return err
	}
	if p.config.AuthorizationFilter == "" {
		return nil
	}
	p.authorize, err = newTemplate("authorization_filter", p.config.AuthorizationFilter, "{user_dn}")
	return err
}

func (p *Provider) attributes() error {
	c := p.config
	var errs []error
	for _, a := range []struct{ setting, name string }{
		{"group_attr", c.GroupAttribute}, {"user_id_attr", c.UserIDAttribute}, {"username_attr", c.UsernameAttribute},
		{"email_attr", c.EmailAttribute}, {"first_name_attr", c.FirstNameAttribute}, {"last_name_attr", c.LastNameAttribute},
	} {
		if a.name != "" && !attributeName(a.name) {
			errs = append(errs, invalid(a.setting, "must be the name of one attribute, such as mail"))
		}
	}
	return errors.Join(errs...)
}

// attributeName tells whether s is a descr or a numericoid (RFC 4512 §1.4). "*"
// and "1.1" would mean something else in a search.
func attributeName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && (i == 0 || c != '-' && c != '.') {
			return false
		}
	}
	return s != "" && s != "1.1"
}

// plain tells whether s is UTF-8 without control characters.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
