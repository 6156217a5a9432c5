//go:build unix

package slapdtest_test

import (
	"slices"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/postern-io/postern/authn/ldap/slapdtest"
)

func TestStart(t *testing.T) {
	t.Parallel()
	s := slapdtest.Start(t)
	got, err := s.Root(t).Search(ldap.NewSearchRequest(slapdtest.BaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 2, 5, false,
		"(uid=admin)", []string{"memberOf"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Entries) != 1 {
		t.Fatalf("got %d entries, want 1", len(got.Entries))
	}
	groups := got.Entries[0].GetAttributeValues("memberOf")
	slices.Sort(groups)
	if want := []string{slapdtest.AdminsDN, slapdtest.GroupDN}; !slices.Equal(groups, want) {
		t.Errorf("groups: got %q, want %q", groups, want)
	}
}

func TestOutages(t *testing.T) {
	t.Parallel()
	s := slapdtest.Start(t)
	s.Kill()
	if c, err := ldap.DialURL(s.URL); err == nil {
		c.Close()
		t.Error("a killed server answers")
	}
	s.Restart(t)
	root := s.Root(t) // the data is still there: so is root's suffix
	if _, err := root.Search(ldap.NewSearchRequest(slapdtest.AliceDN, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 5, false, "(objectClass=*)", nil, nil)); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	s.Pause(t)
	s.Resume(t)
	s.Root(t)
}
