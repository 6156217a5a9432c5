//go:build unix

package slapdtest

import (
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// Passwords of the people of the directory.
const (
	AlicePassword = "alice likes long walks"
	BobPassword   = "bob likes short ones"
	AdminPassword = "admin watches the house"
	ONeilPassword = "o'neil (x*) , likes commas"
	TwinPassword  = "which twin is it"
)

// The distinguished names that tests ask for.
const (
	AliceDN  = "uid=alice,ou=people," + BaseDN
	BobDN    = "uid=bob,ou=people," + BaseDN
	GroupDN  = "cn=group,ou=groups," + BaseDN
	AdminsDN = "cn=Admins,ou=groups," + BaseDN

	// ONeil is a name in which everything is special to something.
	ONeil = "O'Neil , (x*)"
	// ONeilDN is how slapd writes its name (RFC 4514).
	ONeilDN = `cn=O'Neil \2C (x*),ou=people,` + BaseDN
)

// configuration is slapd.conf(5): the directory of the server, the base DN and
// the password of root.
const configuration = `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema

# What Active Directory calls it, for people without entryUUID.
attributetype ( 1.2.840.113556.1.4.2 NAME 'objectGUID' SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.32473.1.1 NAME 'guidHolder' SUP top AUXILIARY MAY objectGUID )

pidfile %[1]s/pid
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload refint
TLSCACertificateFile %[1]s/ca.pem
TLSCertificateFile %[1]s/server.pem
TLSCertificateKeyFile %[1]s/server.key

database mdb
maxsize 67108864
dbnosync
suffix "%[2]s"
rootdn "cn=root,%[2]s"
rootpw %[3]s
directory %[1]s/db
index objectClass,cn,uid,member eq
overlay memberof
memberof-group-oc groupOfNames
memberof-member-ad member
memberof-memberof-ad memberOf
overlay refint
refint_attributes member memberOf

access to dn.subtree="ou=hidden,%[2]s" attrs=entryUUID by * none
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=reader,%[2]s" read by * auth
`

// fill adds the entries through the server, because the overlay sees no others.
func (s *Server) fill(t testing.TB) {
	t.Helper()
	root := s.Root(t)
	add := func(dn string, attributes map[string][]string) {
		t.Helper()
		Add(t, root, dn, attributes)
	}
	add(BaseDN, map[string][]string{"objectClass": {"dcObject", "organization"}, "dc": {"example"}, "o": {"Example"}})
	add(s.BindDN, map[string][]string{"objectClass": {"organizationalRole", "simpleSecurityObject"}, "userPassword": {s.BindPassword}})
	for _, ou := range []string{"people", "staff", "hidden", "groups"} {
		add("ou="+ou+","+BaseDN, map[string][]string{"objectClass": {"organizationalUnit"}})
	}
	add(AliceDN, Person("alice", "Alice", "Wonder", AlicePassword))
	add(BobDN, Person("bob", "Bob", "Builder", BobPassword))
	add("uid=admin,ou=people,"+BaseDN, Person("admin", "Ada", "Min", AdminPassword))
	add("uid=twin,ou=people,"+BaseDN, Person("twin", "First", "Twin", TwinPassword))
	add("uid=twin,ou=staff,"+BaseDN, Person("twin", "Second", "Twin", TwinPassword))
	oneil := Person("oneil", "Pat", "O'Neil", ONeilPassword)
	oneil["cn"] = []string{ONeil}
	add(ONeilDN, oneil)
	add(GroupDN, map[string][]string{"objectClass": {"groupOfNames"}, "member": {AliceDN, ONeilDN, "uid=admin,ou=people," + BaseDN}})
	add(AdminsDN, map[string][]string{"objectClass": {"groupOfNames"}, "member": {"uid=admin,ou=people," + BaseDN}})
}

// Person returns the attributes of somebody whose uid and cn are the same and
// whose address is <uid>@example.org.
func Person(uid, first, last, password string) map[string][]string {
	return map[string][]string{
		"objectClass": {"inetOrgPerson"}, "uid": {uid}, "cn": {uid}, "givenName": {first}, "sn": {last},
		"mail": {uid + "@example.org"}, "userPassword": {password},
	}
}

// Add adds one entry. The attributes of its name may be left out.
func Add(t testing.TB, c *ldap.Conn, dn string, attributes map[string][]string) {
	t.Helper()
	parsed, err := ldap.ParseDN(dn)
	if err != nil {
		t.Fatalf("%s: %v", dn, err)
	}
	req := ldap.NewAddRequest(dn, nil)
	for name, values := range attributes {
		req.Attribute(name, values)
	}
	for _, a := range parsed.RDNs[0].Attributes {
		if _, given := attributes[a.Type]; !given {
			req.Attribute(a.Type, []string{a.Value})
		}
	}
	if err := c.Add(req); err != nil {
		t.Fatalf("add %s: %v", dn, err)
	}
}
