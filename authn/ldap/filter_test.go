package ldap

import (
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// C59: whatever is typed, the filter keeps its conditions, and the value in it
// is what was typed.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"alice", "*", "alice)(uid=*", "x)(|(cn=*", `O'Neil \2C (x*)`, `\`, `\2a`, "{username}", "a\x00b", "\xff", "ü", ""} {
		f.Add(s)
	}
	var templates []template
	for _, text := range []string{
		"(cn={username})", "(&(|(objectClass=inetOrgPerson)(objectClass=groupOfNames))(cn={username}))",
		"(|(uid={username})(mail={username}@example.org)(cn~={username})(cn:dn:caseExactMatch:={username})(!(cn>={username})))",
	} {
		t, err := newTemplate("authentication_filter", text, "{username}")
		if err != nil {
			f.Fatal(err)
		}
		templates = append(templates, t)
	}
	f.Fuzz(func(t *testing.T, login string) {
		for _, template := range templates {
			want, err := ldap.CompileFilter(template.with("sample"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := ldap.CompileFilter(template.with(login))
			if err != nil {
				t.Fatalf("%s with %q does not compile: %v", template.text, login, err)
			}
			if names(got) != names(want) {
				t.Errorf("%s with %q: got %s, want %s", template.text, login, names(got), names(want))
			}
			wanted := values(want)
			for i, v := range values(got) {
				if expected := strings.ReplaceAll(wanted[i], "sample", login); v != expected {
					t.Errorf("%s with %q: value %d is %q, want %q", template.text, login, i, v, expected)
				}
			}
		}
	})
}

// values lists what names leaves out.
func values(p *ber.Packet) (list []string) {
	switch p.Tag {
	case ldap.FilterAnd, ldap.FilterOr, ldap.FilterNot:
		for _, child := range p.Children {
			list = append(list, values(child)...)
		}
	case ldap.FilterExtensibleMatch:
		for _, child := range p.Children {
			if child.Tag == ldap.MatchingRuleAssertionMatchValue {
				list = append(list, child.Data.String())
			}
		}
	case ldap.FilterPresent, ldap.FilterSubstrings:
	default:
		list = append(list, p.Children[1].Data.String())
	}
	return list
}

func TestFoldGroup(t *testing.T) {
	for _, test := range []struct{ it, a, b string }{
		{"folds case", "CN=Admins,OU=Groups,DC=Example,DC=Org", "cn=admins,ou=groups,dc=example,dc=org"},
		{"folds case beyond ASCII", "cn=ÄRZTE", "cn=ärzte"},
		{"drops spaces that mean nothing", "cn = Admins , ou=Groups", "cn=admins,ou=groups"},
		{"makes one space of several", "cn=Big  Admins", "cn=big admins"},
		{"reads escapes of both kinds", `cn=O'Neil \2c (x*)`, `CN=o'neil \, (x*)`},
		{"reads a value in hexadecimal", "cn=#0406416D696E7321", "cn=amins!"},
		{"sorts a first part of several", "cn=a+ou=b,dc=x", "OU=B+CN=A,dc=x"},
		{"takes ; for a comma, as RFC 1779 did", "cn=a;dc=x", "cn=a,dc=x"},
		{"folds what is no DN", "Admins", "admins"},
	} {
		if FoldGroup(test.a) != FoldGroup(test.b) {
			t.Errorf("it %s: %q gives %q, %q gives %q", test.it, test.a, FoldGroup(test.a), test.b, FoldGroup(test.b))
		}
	}
	for _, test := range []struct{ it, a, b string }{
		{"keeps a comma in a value", `cn=a\,ou=b`, "cn=a,ou=b"},
		{"keeps the order", "cn=a,cn=b", "cn=b,cn=a"},
		{"keeps attributes", "cn=a", "ou=a"},
		{"keeps the rest", "cn=admins,dc=a", "cn=admins,dc=b"},
		{"keeps bytes that are no text", "cn=\\ff", "cn=\\fe"},
		{"keeps a plus in a value", `cn=a\+ou=b`, "cn=a+ou=b"},
		{"tells a DN from a name", "cn=admins", "admins"},
	} {
		if FoldGroup(test.a) == FoldGroup(test.b) {
			t.Errorf("it %s: %q and %q both give %q", test.it, test.a, test.b, FoldGroup(test.a))
		}
	}
}

func TestFirstRDN(t *testing.T) {
	for dn, want := range map[string]string{
		"cn=Admins,ou=groups,dc=example,dc=org": "Admins",
		`CN=O'Neil \2C (x*),dc=x`:               "O'Neil , (x*)",
		"Admins":                                "Admins",
		"":                                      "",
		"cn=a+ou=b,dc=x":                        "cn=a+ou=b,dc=x",
		"cn=a,":                                 "cn=a,",
	} {
		if got := FirstRDN(dn); got != want {
			t.Errorf("%q: got %q, want %q", dn, got, want)
		}
	}
}

// Folding twice is folding once: a folded key can be kept and folded again.
func FuzzFoldGroup(f *testing.F) {
	for _, s := range []string{"cn=Admins,dc=x", `cn=\20a\20`, "cn=#04024869", `cn=\#a`, "a", "=", "cn=a+b=c", `cn=\ff`, "CN=\u212a", "cn=İ", "\\\n=\x10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := FoldGroup(s)
		if twice := FoldGroup(once); twice != once {
			t.Errorf("%q: got %q, and from that %q", s, once, twice)
		}
		FirstRDN(s)
	})
}
