package ldap_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/ldap"
	"github.com/postern-io/postern/registry"
)

const somebody = "uid=alice,dc=example,dc=org"

// script answers the operations of one connection in their order, and tells of
// any that it has no answer for.
func script(t *testing.T, answers ...[]*ber.Packet) (*directory, ldap.Config) {
	d := newDirectory(t, func(n int, op *ber.Packet) []*ber.Packet {
		if op.Tag == goldap.ApplicationUnbindRequest {
			return nil
		}
		if n >= len(answers) {
			t.Errorf("asked for operation %d, number %d, want %d of them", op.Tag, n+1, len(answers))
			return nil
		}
		return answers[n]
	})
	return d, ldap.Config{
		Server: d.url, BindDN: "cn=reader", BindPassword: "the reader's", BaseDN: "dc=example,dc=org",
		AuthenticationFilter: "(uid={username})", AuthorizationFilter: "(member={user_dn})",
	}
}

func alice(attributes map[string][]string) []*ber.Packet {
	return searched(0, found(somebody, attributes))
}

// What a directory may answer to the password.
func TestAnswersToThePassword(t *testing.T) {
	t.Parallel()
	const ad = "80090308: LdapErr: DSID-0C09042A, comment: AcceptSecurityContext error, data %s, v3839"
	refused := map[string]registry.Reason{
		"49":                           registry.ReasonWrongPassword,
		"49 " + fmt.Sprintf(ad, "52e"): registry.ReasonWrongPassword,
		"49 " + fmt.Sprintf(ad, "525"): registry.ReasonWrongPassword,
		"19":                           registry.ReasonProviderRefused,
		"48":                           registry.ReasonProviderRefused,
		"53":                           registry.ReasonProviderRefused,
	}
	for _, state := range []string{"530", "531", "532", "533", "701", "773", "775"} {
		refused["49 "+fmt.Sprintf(ad, state)] = registry.ReasonProviderRefused
	}
	for code := range 123 {
		text := fmt.Sprint(code)
		if _, known := refused[text]; code != 0 && !known {
			refused[text] = "" // cannot tell
		}
	}
	for answer, want := range refused {
		t.Run(answer, func(t *testing.T) {
			t.Parallel()
			number, diagnostics, _ := strings.Cut(answer, " ")
			var code int64
			if _, err := fmt.Sscan(number, &code); err != nil {
				t.Fatal(err)
			}
			_, c := script(t, bound(0, ""), alice(nil), bound(code, diagnostics))
			a, err := verify(t, open(t, c), c, "alice", "open sesame")
			if reason(err) != want || err == nil {
				t.Errorf("got %v, want %q", err, want)
			}
			if a.Claims["dn"] != somebody {
				t.Errorf("claims: got %v, want what was found", a.Claims)
			}
		})
	}
}

// Whoever asks cannot count whether a name is known.
func TestUnknownNamesCostTheSame(t *testing.T) {
	t.Parallel()
	want := []ber.Tag{goldap.ApplicationBindRequest, goldap.ApplicationSearchRequest, goldap.ApplicationBindRequest}
	for it, test := range map[string]struct {
		found []*ber.Packet
		want  registry.Reason
	}{
		"wrong":     {alice(nil), registry.ReasonWrongPassword},
		"unknown":   {searched(0), registry.ReasonUnknownUser},
		"ambiguous": {searched(0, found(somebody, nil), found("uid=alice,ou=x", nil)), registry.ReasonAmbiguousUser},
	} {
		t.Run(it, func(t *testing.T) {
			d, c := script(t, bound(0, ""), test.found, bound(49, ""))
			if _, err := verify(t, open(t, c), c, "alice", "open sesame"); reason(err) != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if got := d.operations(); !slices.Equal(got[:min(len(got), 3)], want) {
				t.Errorf("asked %v, want %v", got, want)
			}
			if sent := strings.Contains(d.transcript(), "open sesame"); sent != (it == "wrong") {
				t.Errorf("password sent: %t", sent)
			}
		})
	}
	t.Run("a directory that accepts anything", func(t *testing.T) {
		_, c := script(t, bound(0, ""), searched(0), bound(0, ""))
		if _, err := verify(t, open(t, c), c, "alice", "open sesame"); !errors.Is(err, authn.ErrProvider) {
			t.Errorf("got %v, want ErrProvider", err)
		}
	})
}

// What a directory may answer to the searches.
func TestAnswersToSearches(t *testing.T) {
	t.Parallel()
	const cannotTell = registry.ReasonProviderUnavailable
	ok, no := bound(0, ""), bound(49, "")
	three := []*ber.Packet{found(somebody, nil), found("uid=b", nil), found("uid=c", nil)}
	for _, test := range []struct {
		it      string
		answers [][]*ber.Packet
		want    registry.Reason // "": let in
	}{
		{"lets in whom the second search finds", [][]*ber.Packet{ok, alice(nil), ok, ok, searched(0, found("cn=g", nil))}, ""},
		{"lets in whom it finds often", [][]*ber.Packet{ok, alice(nil), ok, ok, searched(4, found("cn=g", nil))}, ""},
		{"lets in whom it finds often, whatever the limit", [][]*ber.Packet{ok, alice(nil), ok, ok, searched(0, three...)}, ""},
		{"refuses whom it does not find", [][]*ber.Packet{ok, alice(nil), ok, ok, searched(0)}, registry.ReasonNotAuthorized},
		{"cannot tell when it found nothing for a limit", [][]*ber.Packet{ok, alice(nil), ok, ok, searched(4)}, cannotTell},
		{"cannot tell when the second search fails", [][]*ber.Packet{ok, alice(nil), ok, ok, searched(51)}, cannotTell},
		{"cannot tell when the second search fails after an entry", [][]*ber.Packet{ok, alice(nil), ok, ok, searched(51, found("cn=g", nil))}, cannotTell},
		{"cannot tell when the second search is referred", [][]*ber.Packet{ok, alice(nil), ok, ok, searched(10)}, cannotTell},
		{"cannot tell when it may not search a second time", [][]*ber.Packet{ok, alice(nil), ok, no}, cannotTell},
		{"cannot tell when the second search ends in silence", [][]*ber.Packet{ok, alice(nil), ok, ok, nil}, cannotTell},
		{"refuses more entries than were asked for", [][]*ber.Packet{ok, searched(0, three...), no}, registry.ReasonAmbiguousUser},
		{"refuses what a limit cut", [][]*ber.Packet{ok, searched(4, found(somebody, nil)), no}, registry.ReasonAmbiguousUser},
		{"cannot tell when a limit cut everything", [][]*ber.Packet{ok, searched(4)}, cannotTell},
		{"cannot tell when the search fails after an entry", [][]*ber.Packet{ok, searched(3, found(somebody, nil))}, cannotTell},
		{"cannot tell for an entry without a name", [][]*ber.Packet{ok, searched(0, found("", nil))}, cannotTell},
		{"cannot tell for an entry whose name is none", [][]*ber.Packet{ok, searched(0, found("alice", nil))}, cannotTell},
		{"cannot tell for an entry with a NUL in its name", [][]*ber.Packet{ok, searched(0, found("uid=alice\x00,dc=x", nil))}, cannotTell},
		{"cannot tell for an entry whose name is no text", [][]*ber.Packet{ok, searched(0, found("uid=al\xffice,dc=x", nil))}, cannotTell},
		{"cannot tell for an entry with an endless name", [][]*ber.Packet{ok, searched(0, found("uid="+strings.Repeat("a", 5000), nil))}, cannotTell},
		{"refuses groups in parts", [][]*ber.Packet{ok, alice(map[string][]string{"memberOf;range=0-1499": {"cn=g"}, "memberOf": {}}), ok}, registry.ReasonAssertionInvalid},
		{"cannot tell when the answer to the password is none", [][]*ber.Packet{ok, alice(nil), nil}, cannotTell},
		{"cannot tell when the answer to the password is an entry", [][]*ber.Packet{ok, alice(nil), {found(somebody, nil)}}, cannotTell},
	} {
		t.Run("it "+test.it, func(t *testing.T) {
			t.Parallel()
			_, c := script(t, test.answers...)
			_, err := verify(t, open(t, c), c, "alice", "open sesame")
			got := reason(err)
			if errors.Is(err, authn.ErrProvider) {
				got = cannotTell
			}
			if got != test.want {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// Attributes as other directories write them.
func TestAttributes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1025)
	for _, test := range []struct {
		it         string
		attributes map[string][]string
		want       []string // subject, login, email, first name, groups
	}{
		{"reads Active Directory", map[string][]string{
			"sAMAccountName": {"Alice"}, "cn": {"Alice Wonder"}, "objectGUID": {"\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff"},
			"MEMBEROF": {"CN=B,DC=x", "CN=A,DC=x"}, "Mail": {"alice@example.org"}, "givenName": {"Alice"},
		}, []string{"00112233-4455-6677-8899-aabbccddeeff", "Alice", "alice@example.org", "Alice", "CN=A,DC=x CN=B,DC=x"}},
		{"prefers entryUUID, without case", map[string][]string{"entryUUID": {"00112233-4455-6677-8899-AABBCCDDEEFF"}, "objectGUID": {"0123456789abcdef"}},
			[]string{"00112233-4455-6677-8899-aabbccddeeff", "", "", "", ""}},
		{"passes over an objectGUID of another size", map[string][]string{"objectGUID": {"0123456789abcde"}}, []string{somebody, "", "", "", ""}},
		{"takes the name that was typed", map[string][]string{"uid": {"al", "ALICE", "ally"}}, []string{somebody, "ALICE", "", "", ""}},
		{"takes one name of others", map[string][]string{"uid": {"al", "ally"}}, []string{somebody, "al", "", "", ""}},
		{"passes over what is no text", map[string][]string{
			"uid": {"\xff\xfe", "a\x00", long, ""}, "mail": {long, "m@example.org"}, "givenName": {"\xff"}, "memberOf": {"", long, "cn=g\n", "cn=g", "cn=g"},
		}, []string{somebody, "", "m@example.org", "", "cn=g"}},
	} {
		t.Run("it "+test.it, func(t *testing.T) {
			_, c := script(t, bound(0, ""), alice(test.attributes), bound(0, ""))
			c.AuthorizationFilter = ""
			a, err := verify(t, open(t, c), c, "alice", "open sesame")
			if err != nil {
				t.Fatal(err)
			}
			got := []string{a.Subject, a.Login, a.Email, a.FirstName, strings.Join(*a.Groups, " ")}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A directory cannot fill the log.
func TestErrorsAreBrief(t *testing.T) {
	t.Parallel()
	_, c := script(t, bound(80, strings.Repeat("\x1b[31mx", 100_000)))
	_, err := verify(t, open(t, c), c, "alice", "open sesame")
	if !errors.Is(err, authn.ErrProvider) || len(err.Error()) > 2000 || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("got an error of %d bytes: %.200q", len(err.Error()), err)
	}
}
