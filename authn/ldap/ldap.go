// Package ldap signs people in with the name and password of their directory:
// OpenLDAP, 389 Directory Server, Active Directory and whatever else speaks
// LDAP v3 (RFC 4511).
//
//	connect, TLS ─▶ bind as the service account
//	             ─▶ search {username}: exactly one entry
//	             ─▶ bind as that entry with the password
//	             ─▶ bind as the service account again
//	             ─▶ search {user_dn}: anything found lets them in
//
// All of it takes one connection and at most five seconds. Nothing is said
// before TLS stands (loopback aside), referrals are not followed, and whatever
// goes wrong on the way means "cannot tell", never "welcome". What the account
// is, which roles the groups give and whether an e-mail address counts is the
// pipeline's business (authn.Users).
//
// A connection per sign-in instead of a pool: the password's bind changes who a
// connection is, and one that is thrown away cannot be left as the wrong one.
package ldap

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// Name is the provider's key in assertions and identities.
const Name = "ldap"

const (
	maxLogin  = 256  // bytes; names of accounts have 64 characters
	maxSecret = 1024 // bytes
	maxDN     = 4096 // bytes
)

// A Provider is an authn.SecretProvider for one directory.
type Provider struct {
	config       Config
	mode         mode
	address      string // host:port
	tls          *tls.Config
	authenticate template
	authorize    template // zero: everybody who authenticates
	slots        chan struct{}
}

var _ authn.SecretProvider = (*Provider)(nil)

// Verify tells who has this name and password.
//
// Errors: a *authn.RefusedError with ReasonUnknownUser, ReasonAmbiguousUser,
// ReasonWrongPassword, ReasonProviderRefused (the directory holds the account
// back: locked, expired, disabled), ReasonNotAuthorized, ReasonSubjectMissing or
// ReasonAssertionInvalid (more groups than MaxGroups); authn.ErrProvider when
// the directory did not answer, not in time, or not as the settings expect. Once
// an entry was found the Assertion beside the error says which.
func (p *Provider) Verify(ctx context.Context, login, secret string) (authn.Assertion, error) {
	if reason := unsayable(login, secret); reason != "" {
		return authn.Assertion{}, &authn.RefusedError{Reason: reason}
	}
	c, close, err := p.open(ctx)
	if err != nil {
		return authn.Assertion{}, err
	}
	defer close()
	entry, err := p.find(c, login)
	if errors.Is(err, authn.ErrUnauthenticated) {
		if lies := p.pretend(c); lies != nil {
			return authn.Assertion{}, lies
		}
	}
	if err != nil {
		return authn.Assertion{}, err
	}
	a, unusable := p.assertion(entry, login)
	if err := bindPerson(c, entry.DN, secret); err != nil {
		return a, err
	}
	if unusable != nil {
		return a, unusable
	}
	if err := p.authorized(c, entry.DN); err != nil {
		return a, err
	}
	a.AuthTime = p.config.Now()
	return a, nil
}

// Test tells whether the directory can be reached, the service account can sign
// in and the base can be read. The error says what did not work, for an
// operator; it holds no password.
func (p *Provider) Test(ctx context.Context) error {
	c, close, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer close()
	found, err := c.Search(p.search(ldap.ScopeBaseObject, 1, "(objectClass=*)", noAttributes()))
	if err != nil {
		return unavailable("read %s as %s: %w", p.config.BaseDN, p.config.BindDN, brief(err))
	}
	if len(found.Entries) != 1 {
		return unavailable("%s may not read %s", p.config.BindDN, p.config.BaseDN)
	}
	return nil
}

// unsayable refuses what no directory should be asked. Without a password a bind
// succeeds as nobody (RFC 4513 §5.1.2); a NUL ends a password early for a
// directory that hands it to crypt(3).
func unsayable(login, secret string) registry.Reason {
	switch {
	case login == "", secret == "":
		return registry.ReasonWrongPassword
	case len(login) > maxLogin, !plain(login):
		return registry.ReasonUnknownUser
	case len(secret) > maxSecret, !utf8.ValidString(secret), strings.Contains(secret, "\x00"):
		return registry.ReasonWrongPassword
	}
	return ""
}

// find returns the one entry of that name.
func (p *Provider) find(c *ldap.Conn, login string) (*ldap.Entry, error) {
	found, err := c.Search(p.search(ldap.ScopeWholeSubtree, 2, p.authenticate.with(login), p.wanted()))
	switch {
	case errors.Is(err, ldap.ErrSizeLimitExceeded), // by our count; the next by the directory's
		ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) && len(found.Entries) > 0:
		return nil, &authn.RefusedError{Reason: registry.ReasonAmbiguousUser}
	case err != nil:
		return nil, unavailable("search below %s: %w", p.config.BaseDN, brief(err))
	case len(found.Entries) == 0:
		return nil, &authn.RefusedError{Reason: registry.ReasonUnknownUser}
	case len(found.Entries) > 1:
		return nil, &authn.RefusedError{Reason: registry.ReasonAmbiguousUser}
	}
	entry := found.Entries[0]
	// A bind with an empty name succeeds as nobody, whatever the password.
	dn, err := ldap.ParseDN(entry.DN)
	if err != nil || len(dn.RDNs) == 0 || len(entry.DN) > maxDN || !plain(entry.DN) {
		return nil, unavailable("the directory named an entry in no way that can be bound as")
	}
	return entry, nil
}

// pretend costs an unknown name the bind that a known one costs, so that the
// number of round trips does not tell them apart. It cannot imitate the time
// that a directory takes to hash a password. What was typed is not sent: it may
// be somebody's password elsewhere.
func (p *Provider) pretend(c *ldap.Conn) error {
	if err := c.Bind("cn="+rand.Text()+","+p.config.BaseDN, rand.Text()); err == nil {
		return unavailable("the directory accepts a name and a password that do not exist")
	}
	return nil // refused, or away by now: the name is unknown either way
}

// authorized looks for what lets the person in, as the service account: a person
// may see too little, or what they wrote themselves.
func (p *Provider) authorized(c *ldap.Conn, dn string) error {
	if p.authorize.text == "" {
		return nil
	}
	if err := p.bindService(c); err != nil {
		return err
	}
	found, err := c.Search(p.search(ldap.ScopeWholeSubtree, 1, p.authorize.with(dn), noAttributes()))
	more := errors.Is(err, ldap.ErrSizeLimitExceeded) || ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded)
	switch {
	case err != nil && !more, more && len(found.Entries) == 0:
		return unavailable("search below %s for what lets %s in: %w", p.config.BaseDN, dn, brief(err))
	case len(found.Entries) == 0:
		return &authn.RefusedError{Reason: registry.ReasonNotAuthorized}
	}
	return nil
}

// search never follows anything: aliases and referrals lead to entries that the
// operator did not name, on servers that would be told the password. Search
// references in an answer are passed over (RFC 4511 §4.5.3); a referral as the
// answer is an error.
func (p *Provider) search(scope, limit int, filter string, attributes []string) *ldap.SearchRequest {
	seconds := int((p.config.Timeout + time.Second - 1) / time.Second)
	req := ldap.NewSearchRequest(p.config.BaseDN, scope, ldap.NeverDerefAliases, limit, seconds, false, filter, attributes, nil)
	req.EnforceSizeLimit = true // a directory may ignore the limit
	return req
}

// noAttributes asks for entries alone (RFC 4511 §4.5.1.8).
func noAttributes() []string { return []string{"1.1"} }

// bindPerson checks the password. Everything that is not plainly a refusal means
// that the directory cannot tell.
func bindPerson(c *ldap.Conn, dn, secret string) error {
	err := c.Bind(dn, secret)
	switch {
	case err == nil:
		return nil
	case ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) && !heldBack(err):
		return &authn.RefusedError{Reason: registry.ReasonWrongPassword}
	case ldap.IsErrorAnyOf(err,
		ldap.LDAPResultInvalidCredentials,
		ldap.LDAPResultConstraintViolation,         // 389: locked after failures
		ldap.LDAPResultInappropriateAuthentication, // the entry has no password
		ldap.LDAPResultUnwillingToPerform):         // 389, eDirectory: inactive, expired
		return &authn.RefusedError{Reason: registry.ReasonProviderRefused}
	}
	return unavailable("bind as %s: %w", dn, brief(err))
}

// heldBack reads the state of an account out of Active Directory's diagnostics
// for result 49 ("… AcceptSecurityContext error, data 533, v3839"): the Windows
// error code in hexadecimal.
func heldBack(err error) bool {
	text := err.Error()
	for _, code := range []string{
		"530", // not at this time
		"531", // not from this computer
		"532", // password expired
		"533", // disabled
		"701", // account expired
		"773", // password must be changed
		"775", // locked
	} {
		if strings.Contains(text, fmt.Sprintf("AcceptSecurityContext error, data %s,", code)) {
			return true
		}
	}
	return false
}
