package ldap_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postern-io/postern/authn/ldap"
	"github.com/postern-io/postern/registry"
)

// A mistake stops the start and says which setting it is.
func TestNew(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		it    string
		set   func(*ldap.Config)
		field string // "": it is right
	}{
		{"takes the seed's settings", func(*ldap.Config) {}, ""},
		{"takes ldaps", func(c *ldap.Config) { c.Server = "ldaps://ldap.example.com:1636" }, ""},
		{"takes ldap with StartTLS", func(c *ldap.Config) { c.Server, c.StartTLS = "ldap://ldap.example.com/", true }, ""},
		{"takes a bare host with StartTLS", func(c *ldap.Config) { c.StartTLS = true }, ""},
		{"takes plain ldap on 127.0.0.1", func(c *ldap.Config) { c.Server = "ldap://127.0.0.1:1389" }, ""},
		{"takes plain ldap on ::1", func(c *ldap.Config) { c.Server = "ldap://[::1]" }, ""},
		{"takes plain ldap on localhost", func(c *ldap.Config) { c.Server = "ldap://localhost" }, ""},
		{"refuses plain ldap elsewhere", func(c *ldap.Config) { c.Server = "ldap://ldap.example.com" }, "server"},
		{"refuses plain ldap on a private network", func(c *ldap.Config) { c.Server = "ldap://10.0.0.1" }, "server"},
		{"refuses a name that begins like loopback", func(c *ldap.Config) { c.Server = "ldap://127.0.0.1.example.com" }, "server"},
		{"refuses no server", func(c *ldap.Config) { c.Server = "" }, "server"},
		{"refuses another scheme", func(c *ldap.Config) { c.Server = "https://ldap.example.com" }, "server"},
		{"refuses a socket", func(c *ldap.Config) { c.Server = "ldapi:///var/run/slapd/ldapi" }, "server"},
		{"refuses a password in the URL", func(c *ldap.Config) { c.Server = "ldaps://u:p@ldap.example.com" }, "server"},
		{"refuses a base in the URL", func(c *ldap.Config) { c.Server = "ldaps://ldap.example.com/dc=example" }, "server"},
		{"refuses a port that is none", func(c *ldap.Config) { c.Server = "ldaps://ldap.example.com:ldap" }, "server"},
		{"refuses StartTLS in TLS", func(c *ldap.Config) { c.Server, c.StartTLS = "ldaps://ldap.example.com", true }, "start_tls"},
		{"refuses a file that is not there", func(c *ldap.Config) { c.CAFile = empty + ".not" }, "ca_file"},
		{"refuses a file without certificates", func(c *ldap.Config) { c.CAFile = empty }, "ca_file"},
		{"refuses no service account", func(c *ldap.Config) { c.BindDN = "" }, "bind_dn"},
		{"takes a service account of Active Directory", func(c *ldap.Config) { c.BindDN = "svc@example.com" }, ""},
		{"refuses a service account without a password", func(c *ldap.Config) { c.BindPassword = "" }, "bind_password"},
		{"refuses no base", func(c *ldap.Config) { c.BaseDN = " " }, "base_dn"},
		{"refuses a base that is no DN", func(c *ldap.Config) { c.BaseDN = "example.org" }, "base_dn"},
		{"refuses no filter", func(c *ldap.Config) { c.AuthenticationFilter = "" }, "authentication_filter"},
		{"refuses a filter for everybody", func(c *ldap.Config) { c.AuthenticationFilter = "(cn=alice)" }, "authentication_filter"},
		{"refuses the other's placeholder", func(c *ldap.Config) { c.AuthenticationFilter = "(cn={user_dn})" }, "authentication_filter"},
		{"refuses a placeholder that it does not know", func(c *ldap.Config) { c.AuthenticationFilter = "(&(cn={username})(o={domain}))" }, "authentication_filter"},
		{"refuses a filter that does not close", func(c *ldap.Config) { c.AuthenticationFilter = "(&(cn={username})" }, "authentication_filter"},
		{"refuses a filter without brackets", func(c *ldap.Config) { c.AuthenticationFilter = "cn={username}" }, "authentication_filter"},
		{"refuses two filters", func(c *ldap.Config) { c.AuthenticationFilter = "(cn={username})(uid={username})" }, "authentication_filter"},
		{"refuses a name as attribute", func(c *ldap.Config) { c.AuthenticationFilter = "({username}=x)" }, "authentication_filter"},
		{"refuses a name as presence", func(c *ldap.Config) { c.AuthenticationFilter = "({username}=*)" }, "authentication_filter"},
		{"refuses a name as matching rule", func(c *ldap.Config) { c.AuthenticationFilter = "(cn:{username}:=x)" }, "authentication_filter"},
		{"refuses a name as operator", func(c *ldap.Config) { c.AuthenticationFilter = "({username}(cn=x))" }, "authentication_filter"},
		{"takes a name several times", func(c *ldap.Config) {
			c.AuthenticationFilter = "(|(uid={username})(mail={username}@example.org)(cn:caseExactMatch:={username}))"
		}, ""},
		{"takes braces as values", func(c *ldap.Config) { c.AuthenticationFilter = `(&(uid={username})(description=\7bx\7d))` }, ""},
		{"takes no authorization filter", func(c *ldap.Config) { c.AuthorizationFilter = "" }, ""},
		{"refuses an authorization filter for everybody", func(c *ldap.Config) { c.AuthorizationFilter = "(cn=group)" }, "authorization_filter"},
		{"refuses an authorization filter that does not close", func(c *ldap.Config) { c.AuthorizationFilter = "(member={user_dn}" }, "authorization_filter"},
		{"takes Active Directory's nested groups", func(c *ldap.Config) {
			c.AuthorizationFilter = "(&(distinguishedName={user_dn})(memberOf:1.2.840.113556.1.4.1941:=cn=group,dc=example,dc=org))"
		}, ""},
		{"refuses every attribute for groups", func(c *ldap.Config) { c.GroupAttribute = "*" }, "group_attr"},
		{"refuses no attribute for identity", func(c *ldap.Config) { c.UserIDAttribute = "1.1" }, "user_id_attr"},
		{"refuses two attributes for a name", func(c *ldap.Config) { c.UsernameAttribute = "uid,cn" }, "username_attr"},
		{"refuses an option of an attribute", func(c *ldap.Config) { c.EmailAttribute = "mail;binary" }, "email_attr"},
		{"refuses a space in an attribute", func(c *ldap.Config) { c.FirstNameAttribute = "given name" }, "first_name_attr"},
		{"refuses an attribute that begins with a hyphen", func(c *ldap.Config) { c.LastNameAttribute = "-sn" }, "last_name_attr"},
		{"takes an attribute by its OID", func(c *ldap.Config) { c.EmailAttribute = "0.9.2342.19200300.100.1.3" }, ""},
		{"refuses more time than a sign-in has", func(c *ldap.Config) { c.Timeout = 6 * time.Second }, "timeout"},
		{"refuses less than no time", func(c *ldap.Config) { c.Timeout = -1 }, "timeout"},
	} {
		t.Run("it "+test.it, func(t *testing.T) {
			c := ldap.Config{
				Server: "ldap.example.com", BindDN: "cn=ldap,dc=example,dc=org", BindPassword: "secret", BaseDN: "dc=example,dc=org",
				AuthenticationFilter: "(&(|(objectClass=inetOrgPerson)(objectClass=groupOfNames))(cn={username}))",
				AuthorizationFilter:  "(&(objectClass=groupOfNames)(cn=group)(member={user_dn}))",
			}
			test.set(&c)
			_, err := ldap.New(c)
			var invalid *registry.InvalidError
			switch {
			case test.field == "" && err != nil:
				t.Errorf("got %v, want it taken", err)
			case test.field != "" && (!errors.As(err, &invalid) || invalid.Field != test.field):
				t.Errorf("got %v, want an InvalidError of %s", err, test.field)
			}
		})
	}
}
