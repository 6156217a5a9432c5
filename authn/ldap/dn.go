package ldap

import (
	"strings"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

// FoldGroup returns the form in which names of groups are compared: two
// spellings of one distinguished name (case, spaces, escapes; RFC 4514, RFC 4518
// §2) fold to the same string. What is no distinguished name is lower-cased.
func FoldGroup(name string) string {
	dn, err := ldap.ParseDN(name)
	if err != nil || len(dn.RDNs) == 0 {
		return lower(name) // and spaces stay: fewer of them could make a DN of it
	}
	for _, rdn := range dn.RDNs {
		for _, a := range rdn.Attributes {
			a.Value = fold(a.Value)
		}
	}
	return dn.String()
}

// FirstRDN returns the value in front of a distinguished name, "Admin" of
// "cn=Admin,ou=groups,dc=example,dc=org". What is no distinguished name, or has
// several values there, is returned as it is.
func FirstRDN(dn string) string {
	parsed, err := ldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 || len(parsed.RDNs[0].Attributes) != 1 {
		return dn
	}
	return parsed.RDNs[0].Attributes[0].Value
}

// fold prepares a value for comparison: without case, and with one space where
// there are several.
func fold(s string) string {
	if !utf8.ValidString(s) {
		return s
	}
	return strings.Join(strings.Fields(lower(s)), " ")
}

// lower leaves what is not UTF-8 alone: ToLower would make different bytes the
// same.
func lower(s string) string {
	if !utf8.ValidString(s) {
		return s
	}
	return strings.ToLower(s)
}
