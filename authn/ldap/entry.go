package ldap

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
	"github.com/google/uuid"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// MaxGroups bounds the groups of a person. Who has more is refused, because
// roles from some of them would be roles by chance; Windows draws its line at
// about the same number.
const MaxGroups = 1000

const (
	maxValue   = 1024 // bytes of a name, an address, a group, a subject
	dnIdentity = "dn" // UserIDAttribute: the distinguished name itself
)

// wanted lists the attributes to ask for. Operational ones come only by name
// (RFC 4511 §4.5.1.8).
func (p *Provider) wanted() []string {
	c := p.config
	list := []string{c.GroupAttribute, c.EmailAttribute, c.FirstNameAttribute, c.LastNameAttribute}
	list = slices.Concat(list, p.usernames(), p.identities())
	slices.SortFunc(list, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return slices.CompactFunc(list, strings.EqualFold) // each once, RFC 4511 §4.5.1.8
}

func (p *Provider) usernames() []string {
	if a := p.config.UsernameAttribute; a != "" {
		return []string{a}
	}
	return []string{"uid", "sAMAccountName", "cn"}
}

func (p *Provider) identities() []string {
	switch a := p.config.UserIDAttribute; {
	case a == "":
		return []string{"entryUUID", "objectGUID"}
	case strings.EqualFold(a, dnIdentity):
		return nil
	default:
		return []string{a}
	}
}

// assertion says what the entry says. The error is a *authn.RefusedError for an
// entry that names nobody or too many groups.
func (p *Provider) assertion(e *ldap.Entry, login string) (authn.Assertion, error) {
	c := p.config
	groups, count := groupsOf(e, c.GroupAttribute)
	a := authn.Assertion{
		Provider: Name, Subject: p.subject(e), Login: p.login(e, login),
		Email: text(e, c.EmailAttribute), FirstName: text(e, c.FirstNameAttribute), LastName: text(e, c.LastNameAttribute),
		Groups: &groups, AMR: []string{"pwd"},
	}
	a.Claims = map[string]any{
		"dn": e.DN, "subject": a.Subject, "login": a.Login, "email": a.Email,
		"first_name": a.FirstName, "last_name": a.LastName, "groups": groups,
	}
	switch {
	case count > MaxGroups:
		a.Claims["group_count"] = count
		return a, &authn.RefusedError{Reason: registry.ReasonAssertionInvalid}
	case a.Subject == "":
		return a, &authn.RefusedError{Reason: registry.ReasonSubjectMissing}
	}
	return a, nil
}

// subject falls back to the name only where no identity is configured: an
// operator who names an attribute wants no other. It is "" when there is none.
func (p *Provider) subject(e *ldap.Entry) string {
	for _, attribute := range p.identities() {
		if id := identity(e, attribute); id != "" {
			return id
		}
	}
	if a := p.config.UserIDAttribute; a != "" && !strings.EqualFold(a, dnIdentity) {
		return ""
	}
	if dn := FoldGroup(e.DN); len(dn) <= maxValue {
		return dn
	}
	return ""
}

// identity returns the one value of an attribute, "" when there are none or
// several.
func identity(e *ldap.Entry, attribute string) string {
	values := e.GetEqualFoldRawAttributeValues(attribute)
	if len(values) != 1 {
		return ""
	}
	switch v := values[0]; {
	case strings.EqualFold(attribute, "objectGUID"):
		return guid(v)
	case len(v) > maxValue || !plain(string(v)):
		return ""
	case strings.EqualFold(attribute, "entryUUID"): // compared without case (RFC 4530)
		return strings.ToLower(string(v))
	default:
		return string(v)
	}
}

// guid writes an objectGUID as Windows does: its first three fields are
// little-endian ([MS-DTYP] §2.3.4.2).
func guid(b []byte) string {
	if len(b) != 16 {
		return ""
	}
	var u uuid.UUID
	binary.BigEndian.PutUint32(u[0:], binary.LittleEndian.Uint32(b[0:]))
	binary.BigEndian.PutUint16(u[4:], binary.LittleEndian.Uint16(b[4:]))
	binary.BigEndian.PutUint16(u[6:], binary.LittleEndian.Uint16(b[6:]))
	copy(u[8:], b[8:])
	return u.String()
}

// login is the name as the directory writes it; of several, the one that was
// typed.
func (p *Provider) login(e *ldap.Entry, typed string) string {
	for _, attribute := range p.usernames() {
		values := texts(e, attribute)
		if i := slices.IndexFunc(values, func(v string) bool { return fold(v) == fold(typed) }); i >= 0 {
			return values[i]
		}
		if len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// groupsOf returns the groups, never nil, and how many the directory has; the
// list is empty when that is too many.
func groupsOf(e *ldap.Entry, attribute string) (groups []string, count int) {
	groups = []string{}
	for _, a := range e.Attributes {
		// Active Directory sends what is too long in parts ([MS-ADTS]
		// §3.1.1.3.1.3.3), of at least 1,500 values each.
		if name, _, ranged := strings.Cut(strings.ToLower(a.Name), ";range="); ranged && name == strings.ToLower(attribute) {
			return groups, MaxGroups + 1
		}
	}
	if count = len(e.GetEqualFoldAttributeValues(attribute)); count > MaxGroups {
		return groups, count
	}
	groups = append(groups, texts(e, attribute)...)
	slices.Sort(groups)
	return slices.Compact(groups), count
}

func text(e *ldap.Entry, attribute string) string {
	if values := texts(e, attribute); len(values) > 0 {
		return values[0]
	}
	return ""
}

// texts returns the values that can be text of an account. Photographs and the
// like in the wrong attribute are passed over.
func texts(e *ldap.Entry, attribute string) []string {
	values := slices.Clone(e.GetEqualFoldAttributeValues(attribute))
	return slices.DeleteFunc(values, func(v string) bool { return v == "" || len(v) > maxValue || !plain(v) })
}
