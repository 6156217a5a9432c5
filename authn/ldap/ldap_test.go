package ldap_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/ldap"
	"github.com/postern-io/postern/authn/ldap/slapdtest"
	"github.com/postern-io/postern/registry"
)

// settings are those of the seed for a real slapd over LDAPS.
func settings(s *slapdtest.Server) ldap.Config {
	return ldap.Config{
		Server: s.LDAPSURL, CAFile: s.CAFile, BindDN: s.BindDN, BindPassword: s.BindPassword, BaseDN: slapdtest.BaseDN,
		AuthenticationFilter: slapdtest.AuthenticationFilter, AuthorizationFilter: slapdtest.AuthorizationFilter,
	}
}

func open(t *testing.T, c ldap.Config) *ldap.Provider {
	t.Helper()
	p, err := ldap.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// verify signs in and sees to what holds for every answer: an error names no
// password, and is one of the two that SecretProvider promises.
func verify(t *testing.T, p *ldap.Provider, c ldap.Config, login, secret string) (authn.Assertion, error) {
	t.Helper()
	a, err := p.Verify(t.Context(), login, secret)
	if err == nil {
		return a, nil
	}
	for _, hidden := range []string{secret, c.BindPassword} {
		if hidden != "" && strings.Contains(err.Error(), hidden) {
			t.Errorf("the error tells a password: %v", err)
		}
	}
	if errors.Is(err, authn.ErrProvider) == errors.Is(err, authn.ErrUnauthenticated) {
		t.Errorf("got %v, want one of ErrProvider and ErrUnauthenticated", err)
	}
	return a, err
}

// reason is "" for no refusal.
func reason(err error) registry.Reason {
	var refused *authn.RefusedError
	if errors.As(err, &refused) {
		return refused.Reason
	}
	return ""
}

// C59, M12, M13: the seed's filters against a real slapd, over each transport.
func TestVerify(t *testing.T) {
	t.Parallel()
	s := slapdtest.Start(t)
	root := s.Root(t)
	locked := slapdtest.Person("locked", "Has", "None", "x")
	delete(locked, "userPassword")
	slapdtest.Add(t, root, "uid=locked,ou=people,"+slapdtest.BaseDN, locked)

	for _, transport := range []struct {
		name string
		set  func(*ldap.Config)
	}{
		{"LDAPS", func(*ldap.Config) {}},
		{"StartTLS", func(c *ldap.Config) { c.Server, c.StartTLS = s.URL, true }},
		{"loopback", func(c *ldap.Config) { c.Server, c.CAFile = s.URL, "" }},
		{"a bare host", func(c *ldap.Config) { c.Server = strings.TrimPrefix(s.LDAPSURL, "ldaps://") }},
	} {
		c := settings(s)
		transport.set(&c)
		p := open(t, c)
		for _, test := range []struct {
			it, login, secret string
			want              registry.Reason
			dn                string // of the assertion, which stands beside most errors
		}{
			{"lets alice in", "alice", slapdtest.AlicePassword, "", slapdtest.AliceDN},
			{"compares names as the directory does", "ALICE", slapdtest.AlicePassword, "", slapdtest.AliceDN},
			{"lets in a name in which everything is special", slapdtest.ONeil, slapdtest.ONeilPassword, "", slapdtest.ONeilDN},
			{"refuses a wrong password", "alice", "alice", registry.ReasonWrongPassword, slapdtest.AliceDN},
			{"refuses another's password", "alice", slapdtest.BobPassword, registry.ReasonWrongPassword, slapdtest.AliceDN},
			{"refuses an empty password", "alice", "", registry.ReasonWrongPassword, ""},
			{"refuses an empty name", "", "x", registry.ReasonWrongPassword, ""},
			{"refuses an entry without a password", "locked", "x", registry.ReasonWrongPassword, "uid=locked,ou=people," + slapdtest.BaseDN},
			{"refuses a group as a person", "group", "x", registry.ReasonWrongPassword, slapdtest.GroupDN},
			{"refuses an unknown name", "mallory", "x", registry.ReasonUnknownUser, ""},
			{"takes * for a name", "*", slapdtest.AlicePassword, registry.ReasonUnknownUser, ""},
			{"takes al* for a name", "al*", slapdtest.AlicePassword, registry.ReasonUnknownUser, ""},
			{"takes a closing bracket for a name", "alice)(uid=*", slapdtest.AlicePassword, registry.ReasonUnknownUser, ""},
			{"takes an alternative for a name", "x)(|(cn=*", slapdtest.AlicePassword, registry.ReasonUnknownUser, ""},
			{"takes a whole filter for a name", "x))(|(cn=alice", slapdtest.AlicePassword, registry.ReasonUnknownUser, ""},
			{"takes an escape for a name", `\61lice`, slapdtest.AlicePassword, registry.ReasonUnknownUser, ""},
			{"takes a placeholder for a name", "{username}", slapdtest.AlicePassword, registry.ReasonUnknownUser, ""},
			{"refuses a name of two entries", "twin", slapdtest.TwinPassword, registry.ReasonAmbiguousUser, ""},
			{"refuses whom the authorization filter does not find", "bob", slapdtest.BobPassword, registry.ReasonNotAuthorized, slapdtest.BobDN},
		} {
			t.Run(transport.name+"/it "+test.it, func(t *testing.T) {
				a, err := verify(t, p, c, test.login, test.secret)
				if reason(err) != test.want || errors.Is(err, authn.ErrProvider) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				if dn, _ := a.Claims["dn"].(string); dn != test.dn {
					t.Errorf("dn: got %q, want %q", dn, test.dn)
				}
			})
		}
	}
}

func TestAssertion(t *testing.T) {
	t.Parallel()
	s := slapdtest.Start(t)
	c := settings(s)
	now := time.Now().Truncate(time.Second)
	c.Now = func() time.Time { return now }
	a, err := verify(t, open(t, c), c, "Admin", slapdtest.AdminPassword)
	if err != nil {
		t.Fatal(err)
	}
	groups := []string{slapdtest.AdminsDN, slapdtest.GroupDN}
	if a.Groups == nil || !slices.Equal(*a.Groups, groups) {
		t.Errorf("groups: got %v, want %v", a.Groups, groups)
	}
	got := []string{a.Provider, a.Login, a.Email, a.FirstName, a.LastName}
	if want := []string{"ldap", "admin", "admin@example.org", "Ada", "Min"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if a.EmailVerified || !a.AuthTime.Equal(now) || !slices.Equal(a.AMR, []string{"pwd"}) {
		t.Errorf("got verified %t, at %v by %v; want false, %v, pwd", a.EmailVerified, a.AuthTime, a.AMR, now)
	}

	c.AuthorizationFilter = ""
	c.UsernameAttribute, c.EmailAttribute, c.FirstNameAttribute, c.LastNameAttribute = "sn", "cn", "mail", "description"
	a, err = verify(t, open(t, c), c, "bob", slapdtest.BobPassword)
	if err != nil {
		t.Fatalf("without an authorization filter: %v", err)
	}
	got = []string{a.Login, a.Email, a.FirstName, a.LastName}
	if want := []string{"Builder", "bob", "bob@example.org", ""}; !slices.Equal(got, want) {
		t.Errorf("other attributes: got %q, want %q", got, want)
	}
	if a.Groups == nil || len(*a.Groups) != 0 {
		t.Errorf("groups of somebody without: got %v, want an empty list", a.Groups)
	}
}

// An identity outlives the name.
func TestSubject(t *testing.T) {
	t.Parallel()
	s := slapdtest.Start(t)
	root := s.Root(t)
	c := settings(s)
	c.AuthorizationFilter = ""
	subject := func(c ldap.Config, login, secret string) string {
		t.Helper()
		a, err := verify(t, open(t, c), c, login, secret)
		if err != nil {
			t.Fatal(err)
		}
		return a.Subject
	}

	before := subject(c, "alice", slapdtest.AlicePassword)
	if len(before) != 36 {
		t.Errorf("got %q, want a UUID", before)
	}
	if err := root.ModifyDN(goldap.NewModifyDNRequest(slapdtest.AliceDN, "uid=alicia", true, "ou=staff,"+slapdtest.BaseDN)); err != nil {
		t.Fatal(err)
	}
	if after := subject(c, "alice", slapdtest.AlicePassword); after != before {
		t.Errorf("after a rename: got %q, want %q", after, before)
	}

	// Below ou=hidden nobody sees an entryUUID.
	guarded := slapdtest.Person("guarded", "G", "U", "id as windows")
	guarded["objectClass"] = append(guarded["objectClass"], "guidHolder")
	guarded["objectGUID"] = []string{"\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff"}
	slapdtest.Add(t, root, "uid=guarded,ou=hidden,"+slapdtest.BaseDN, guarded)
	if got, want := subject(c, "guarded", "id as windows"), "00112233-4455-6677-8899-aabbccddeeff"; got != want {
		t.Errorf("objectGUID: got %q, want %q", got, want)
	}
	slapdtest.Add(t, root, "uid=Plain,ou=hidden,"+slapdtest.BaseDN, slapdtest.Person("Plain", "P", "L", "nothing else"))
	if got, want := subject(c, "plain", "nothing else"), "uid=plain,ou=hidden,"+slapdtest.BaseDN; got != want {
		t.Errorf("normalized DN: got %q, want %q", got, want)
	}

	c.UserIDAttribute = "dn"
	if got, want := subject(c, "alice", slapdtest.AlicePassword), "uid=alicia,ou=staff,"+slapdtest.BaseDN; got != want {
		t.Errorf("dn: got %q, want %q", got, want)
	}
	c.UserIDAttribute = "MAIL"
	if got, want := subject(c, "alice", slapdtest.AlicePassword), "alice@example.org"; got != want {
		t.Errorf("mail: got %q, want %q", got, want)
	}
	for _, attribute := range []string{"employeeNumber", "objectClass"} { // none, and several for guarded
		c.UserIDAttribute = attribute
		if a, err := verify(t, open(t, c), c, "guarded", "id as windows"); reason(err) != registry.ReasonSubjectMissing || a.Claims["dn"] == nil {
			t.Errorf("%s: got %v, want %s with what was seen", attribute, err, registry.ReasonSubjectMissing)
		}
		if _, err := verify(t, open(t, c), c, "guarded", "another id"); reason(err) != registry.ReasonWrongPassword {
			t.Errorf("%s and a wrong password: got %v, want %s", attribute, err, registry.ReasonWrongPassword)
		}
	}
}

func TestManyGroups(t *testing.T) {
	t.Parallel()
	s := slapdtest.Start(t)
	root := s.Root(t)
	c := settings(s)
	c.AuthorizationFilter, c.GroupAttribute = "", "description"
	p := open(t, c)
	values := make([]string, ldap.MaxGroups+1)
	for i := range values {
		values[i] = "cn=" + strings.Repeat("g", i+1) + ",ou=groups"
	}
	most := slapdtest.Person("most", "M", "O", "many groups")
	most["description"] = values[:ldap.MaxGroups]
	slapdtest.Add(t, root, "uid=most,ou=people,"+slapdtest.BaseDN, most)
	long := 0
	for _, v := range most["description"] {
		if len(v) > 1024 {
			long++
		}
	}
	a, err := verify(t, p, c, "most", "many groups")
	if err != nil || len(*a.Groups) != ldap.MaxGroups-long {
		t.Errorf("got %v, want the %d groups of at most 1,024 bytes", err, ldap.MaxGroups-long)
	}
	more := slapdtest.Person("more", "M", "O", "many groups")
	more["description"] = values
	slapdtest.Add(t, root, "uid=more,ou=people,"+slapdtest.BaseDN, more)
	a, err = verify(t, p, c, "more", "many groups")
	if reason(err) != registry.ReasonAssertionInvalid || a.Claims["group_count"] != ldap.MaxGroups+1 {
		t.Errorf("got %v and %v, want %s and %d", err, a.Claims["group_count"], registry.ReasonAssertionInvalid, ldap.MaxGroups+1)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := slapdtest.Start(t)
	c := settings(s)
	p := open(t, c)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			login, secret, want := "alice", slapdtest.AlicePassword, registry.Reason("")
			if i%2 == 1 {
				login, secret, want = "bob", slapdtest.BobPassword, registry.ReasonNotAuthorized
			}
			if a, err := p.Verify(t.Context(), login, secret); reason(err) != want || errors.Is(err, authn.ErrProvider) || a.Login != login {
				t.Errorf("%s: got %q, %v; want %q", login, a.Login, err, want)
			}
		})
	}
	wg.Wait()
}
