package authn_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/registry"
)

// says is a provider that asserts what a test wants, in all three shapes.
type says struct {
	a   authn.Assertion
	err error
}

func (s *says) Verify(_ context.Context, login, secret string) (authn.Assertion, error) {
	if s.err == nil && (login != s.a.Login || secret != passphrase) {
		return authn.Assertion{}, &authn.RefusedError{Reason: registry.ReasonUnknownUser}
	}
	return s.a, s.err
}

func (s *says) Begin(_ context.Context, f authn.Flow) (string, error) {
	return "https://idp.example/?state=" + f.State + "&nonce=" + f.Nonce, nil
}

func (s *says) Complete(context.Context, authn.Flow, url.Values) (authn.Assertion, error) {
	return s.a, s.err
}

func (s *says) Unsolicited(context.Context, string) (authn.Assertion, error) { return s.a, s.err }

func (s *says) FromRequest(r *http.Request) (authn.Assertion, bool, error) {
	if s.err != nil {
		return s.a, false, s.err
	}
	name := r.Header.Get("Remote-User")
	return authn.Assertion{Subject: name, Login: name, Groups: s.a.Groups}, name != "", nil
}

// come signs somebody in at a redirect provider, as one browser does.
func (o *office) come(t *testing.T, provider string, said *says, a authn.Assertion) (authn.Person, error) {
	t.Helper()
	said.a = a
	r, err := o.Begin(t.Context(), provider, "/next", "", "", from)
	if err != nil {
		t.Fatal(err)
	}
	l, err := o.Complete(t.Context(), provider, callback(t, r), r.Browser, from)
	if err != nil {
		return authn.Person{}, err
	}
	if l.BackTo != "/next" {
		t.Errorf("it ends at %q", l.BackTo)
	}
	p, err := o.Verify(t.Context(), l.Tokens.Access)
	if err != nil {
		t.Fatal(err)
	}
	return p, nil
}

func callback(t *testing.T, r authn.Redirect) url.Values {
	t.Helper()
	u, err := url.Parse(r.Location)
	if err != nil {
		t.Fatal(err)
	}
	return url.Values{"state": {u.Query().Get("state")}, "code": {"c"}}
}

func groups(names ...string) *[]string { return &names }

// with gives an office one redirect provider of the key "oidc".
func with(t *testing.T, rules authn.Rules) (*office, *says) {
	o, said := newOffice(t), &says{}
	o.SetProviders([]authn.Provider{{Key: registry.LocalProvider}, {Key: "oidc", Redirect: said, Rules: rules}}...)
	return o, said
}

func ann() authn.Assertion {
	return authn.Assertion{Subject: "1", Login: "ann", Email: "ann@example.com", EmailVerified: true, FirstName: "Ann"}
}

func TestArrival(t *testing.T) {
	o, said := with(t, authn.Rules{Provision: true, DefaultRole: registry.Viewer})
	p, err := o.come(t, "oidc", said, ann())
	if err != nil {
		t.Fatal(err)
	}
	if u := p.User; u.Username != "ann" || u.Email != "ann@example.com" || !u.EmailVerified || u.Role != registry.Viewer || u.PasswordHash != "" || u.Provider != "oidc" || u.FirstName != "Ann" {
		t.Errorf("got %+v", u)
	}
	if p.Session.Provider != "oidc" || !p.Fresh || p.Only != "" {
		t.Errorf("got session %+v", p)
	}
	renamed := ann()
	renamed.Login, renamed.Email, renamed.FirstName = "other", "other@example.com", "Anne"
	again, err := o.come(t, "oidc", said, renamed)
	if err != nil || again.User.ID != p.User.ID || again.User.FirstName != "Anne" || again.User.Email != "ann@example.com" {
		t.Errorf("the same subject: got %+v, %v, want the same account with the new name", again.User, err)
	}
}

// Users.md §2.4, in its order.
func TestLinking(t *testing.T) {
	unverified := ann()
	unverified.EmailVerified = false
	local := registry.User{Username: "old", Email: "ann@example.com", PasswordHash: "x"}
	for _, test := range []struct {
		name   string
		rules  authn.Rules
		there  registry.User // before
		a      authn.Assertion
		want   registry.Reason // "" for success
		linked bool            // to the account that was there
	}{
		{"C24 refuses an address of another account", authn.Rules{Provision: true}, edit(local, func(u *registry.User) { u.EmailVerified = true }), ann(), registry.ReasonLinkRequired, false},
		{"links a verified address when that is on", authn.Rules{Provision: true, LinkByEmail: true}, edit(local, func(u *registry.User) { u.EmailVerified, u.Role = true, registry.Editor }), ann(), "", true},
		{"C27 never links an address that the provider has not verified", authn.Rules{Provision: true, LinkByEmail: true}, edit(local, func(u *registry.User) { u.EmailVerified = true }), unverified, registry.ReasonLinkRequired, false},
		{"links an unverified one of a trusted directory", authn.Rules{Provision: true, LinkByEmail: true, TrustedEmail: true}, edit(local, func(u *registry.User) { u.EmailVerified = true }), unverified, "", true},
		{"never links an address that is not verified here", authn.Rules{Provision: true, LinkByEmail: true}, edit(local, func(u *registry.User) { u.Role = registry.Viewer }), ann(), registry.ReasonLinkRequired, false},
		{"never links an admin", authn.Rules{Provision: true, LinkByEmail: true}, edit(local, func(u *registry.User) { u.EmailVerified, u.Role = true, registry.Admin }), ann(), registry.ReasonLinkRequired, false},
		{"does not replace an unproved account for an unproved address", authn.Rules{Provision: true}, local, unverified, registry.ReasonLinkRequired, false},
		{"does not replace one when it makes no accounts", authn.Rules{}, local, ann(), registry.ReasonLinkRequired, false},
		{"makes no account when that is off", authn.Rules{}, registry.User{Username: "other"}, ann(), registry.ReasonNotProvisioned, false},
		{"refuses an assertion of nobody", authn.Rules{Provision: true}, registry.User{Username: "other"}, authn.Assertion{Email: "ann@example.com", EmailVerified: true}, registry.ReasonSubjectMissing, false},
		{"refuses an address that is none", authn.Rules{Provision: true}, registry.User{Username: "other"}, authn.Assertion{Subject: "1", Email: "a@b@c"}, registry.ReasonAssertionInvalid, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, said := with(t, test.rules)
			there, err := o.registry.CreateUser(t.Context(), "", test.there)
			if err != nil {
				t.Fatal(err)
			}
			if test.there.EmailVerified != there.EmailVerified {
				t.Fatal("the account is not as it should be")
			}
			p, err := o.come(t, "oidc", said, test.a)
			if test.want != "" {
				wantReason(t, "sign-in", err, test.want)
				if links, err := o.registry.Identities(t.Context(), there.ID); err != nil || len(links) != 0 {
					t.Errorf("a refusal left %v, %v", links, err)
				}
				return
			}
			if err != nil || (p.User.ID == there.ID) != test.linked {
				t.Errorf("got %+v, %v", p.User, err)
			}
		})
	}
}

func edit(u registry.User, f func(*registry.User)) registry.User { f(&u); return u }

// C26: whoever registered an address that is not theirs keeps nothing of it.
func TestPreHijack(t *testing.T) {
	o, said := with(t, authn.Rules{Provision: true})
	if _, err := o.Register(t.Context(), "", authn.NewUser{Username: "thief", Email: "ann@example.com", Password: passphrase, FirstName: "T"}); err != nil {
		t.Fatal(err)
	}
	stolen, err := o.Issue(t.Context(), "thief", passphrase, from)
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.come(t, "oidc", said, ann())
	if err != nil || p.User.Username != "ann" || p.User.FirstName != "Ann" || !p.User.EmailVerified || p.User.PasswordHash != "" {
		t.Fatalf("the owner of the address: got %+v, %v", p.User, err)
	}
	for _, login := range []string{"thief", "ann", "ann@example.com"} {
		if _, err := o.Issue(t.Context(), login, passphrase, from); !errors.Is(err, authn.ErrUnauthenticated) {
			t.Errorf("the thief's password opens %s: %v", login, err)
		}
	}
	if _, err := o.Verify(t.Context(), stolen.Access); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("the thief's session lives: %v", err)
	}
	if _, err := o.Refresh(t.Context(), stolen.Refresh, from); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("the thief's refresh token lives: %v", err)
	}
}

// An account that was given a place somewhere is no longer its maker's to lose.
func TestMemberIsNotReplaced(t *testing.T) {
	o, said := with(t, authn.Rules{Provision: true})
	u, err := o.Register(t.Context(), "", authn.NewUser{Username: "member", Email: "ann@example.com", Password: passphrase})
	if err != nil {
		t.Fatal(err)
	}
	d, err := o.registry.CreateDomain(t.Context(), u.ID, registry.Domain{Name: "d"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.come(t, "oidc", said, ann())
	wantReason(t, "a member of "+d.Name, err, registry.ReasonLinkRequired)
}

// C24: neither the subject alone nor the address alone is the key.
func TestTwoProviders(t *testing.T) {
	o, said := with(t, authn.Rules{Provision: true})
	other := &says{}
	o.SetProviders(append(o.Providers(), authn.Provider{Key: "lab", Redirect: other, Rules: authn.Rules{Provision: true}})...)
	first, err := o.come(t, "oidc", said, ann())
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.come(t, "lab", other, ann())
	wantReason(t, "the same subject and address elsewhere", err, registry.ReasonLinkRequired)
	second, err := o.come(t, "lab", other, authn.Assertion{Subject: "1", Login: "ann"})
	if err != nil || second.User.ID == first.User.ID || second.User.Username == first.User.Username || !strings.HasPrefix(second.User.Username, "ann-") {
		t.Errorf("the same subject elsewhere: got %+v, %v, want an account of its own", second.User, err)
	}
}

// C44 and users.md §2.5.
func TestRoles(t *testing.T) {
	mapping := map[string]registry.Role{"ops": registry.Admin, "dev": registry.Editor, "all": registry.Viewer}
	always := authn.Rules{Provision: true, Sync: authn.SyncAlways, RoleMap: mapping}
	strict := always
	strict.Strict = true
	first := always
	first.Sync = authn.SyncFirst
	never := always
	never.Sync, never.DefaultRole = authn.SyncNever, registry.Viewer
	byName := authn.Rules{Provision: true, Sync: authn.SyncAlways}
	type visit struct {
		groups *[]string
		want   registry.Role
		refuse bool
	}
	for _, test := range []struct {
		name   string
		rules  authn.Rules
		visits []visit
	}{
		{"takes the highest of several", always, []visit{{groups("all", "OPS", "dev", "x"), registry.Admin, false}}},
		{"takes one group", always, []visit{{groups("dev"), registry.Editor, false}}},
		{"gives nothing for unknown groups", always, []visit{{groups("x"), registry.NoRole, false}}},
		{"follows the groups up and down", always, []visit{{groups("dev"), registry.Editor, false}, {groups("ops"), registry.Admin, false}, {groups(), registry.NoRole, false}}},
		{"leaves the role when nothing is said of groups", always, []visit{{groups("dev"), registry.Editor, false}, {nil, registry.Editor, false}}},
		{"looks at the first visit only", first, []visit{{groups("dev"), registry.Editor, false}, {groups("ops"), registry.Editor, false}, {groups(), registry.Editor, false}}},
		{"does not look at groups", never, []visit{{groups("ops"), registry.Viewer, false}, {groups(), registry.Viewer, false}}},
		{"refuses whom no group gives a role", strict, []visit{{groups("x"), 0, true}}},
		{"refuses somebody who lost the last group", strict, []visit{{groups("dev"), registry.Editor, false}, {groups("x"), 0, true}, {groups("all"), registry.Viewer, false}}},
		{"takes names of roles without a mapping", byName, []visit{{groups("Editor"), registry.Editor, false}}},
		{"never takes the name owner", byName, []visit{{groups("owner"), registry.NoRole, false}}},
	} {
		t.Run("it "+test.name, func(t *testing.T) {
			o, said := with(t, test.rules)
			for i, v := range test.visits {
				a := ann()
				a.Groups = v.groups
				p, err := o.come(t, "oidc", said, a)
				if v.refuse {
					wantReason(t, "visit", err, registry.ReasonNoMappedRole)
				} else if err != nil || p.User.Role != v.want {
					t.Errorf("visit %d: got %v, %v, want %v", i+1, p.User.Role, err, v.want)
				}
			}
		})
	}
}

// A person who gave a role is not overruled by a provider's groups.
func TestRoleOfAPersonStays(t *testing.T) {
	o, said := with(t, authn.Rules{Provision: true, Sync: authn.SyncAlways})
	a := ann()
	a.Groups = groups("editor")
	p, err := o.come(t, "oidc", said, a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.registry.UpdateUser(t.Context(), "", p.User.ID, func(u *registry.User) error {
		u.Role, u.RoleSource = registry.Viewer, ""
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if p, err = o.come(t, "oidc", said, a); err != nil || p.User.Role != registry.Viewer {
		t.Errorf("got %v, %v, want viewer", p.User.Role, err)
	}
}

// The last owner stays one, whatever a group says.
func TestSyncKeepsTheLastOwner(t *testing.T) {
	o, said := with(t, authn.Rules{Provision: true, Sync: authn.SyncAlways, RoleMap: map[string]registry.Role{"root": registry.Owner}})
	a := ann()
	a.Groups = groups("root")
	if p, err := o.come(t, "oidc", said, a); err != nil || p.User.Role != registry.Owner {
		t.Fatalf("got %v, %v", p.User.Role, err)
	}
	a.Groups = groups()
	if p, err := o.come(t, "oidc", said, a); err != nil || p.User.Role != registry.Owner {
		t.Errorf("got %v, %v, want owner", p.User.Role, err)
	}
}

// C45: disabled wins, by every way in.
func TestDisabledStaysOut(t *testing.T) {
	o, said := with(t, authn.Rules{Provision: true})
	p, err := o.come(t, "oidc", said, ann())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.registry.UpdateUser(t.Context(), "", p.User.ID, func(u *registry.User) error { u.Status = registry.Disabled; return nil }); err != nil {
		t.Fatal(err)
	}
	_, err = o.come(t, "oidc", said, ann())
	wantReason(t, "disabled", err, registry.ReasonUserDisabled)
}

// C28: a flow is this browser's, this provider's, used once, and not for long.
func TestFlowsAreBound(t *testing.T) {
	o, said := with(t, authn.Rules{Provision: true})
	o.SetProviders(append(o.Providers(), authn.Provider{Key: "lab", Redirect: said, Rules: authn.Rules{Provision: true}})...)
	said.a = ann()
	for _, test := range []struct {
		name string
		do   func(r authn.Redirect, back url.Values) error
		want registry.Reason
	}{
		{"it takes what it began", func(r authn.Redirect, back url.Values) error { return o.back(t, "oidc", back, r.Browser) }, ""},
		{"it refuses a second use", func(r authn.Redirect, back url.Values) error {
			if err := o.back(t, "oidc", back, r.Browser); err != nil {
				t.Error(err)
			}
			return o.back(t, "oidc", back, r.Browser)
		}, registry.ReasonFlowUnknown},
		{"it refuses another browser", func(r authn.Redirect, back url.Values) error {
			other, err := o.Begin(t.Context(), "oidc", "/", "", "", from)
			if err != nil {
				t.Fatal(err)
			}
			return o.back(t, "oidc", back, other.Browser)
		}, registry.ReasonFlowUnknown},
		{"it refuses a browser without the cookie", func(_ authn.Redirect, back url.Values) error { return o.back(t, "oidc", back, "") }, registry.ReasonFlowUnknown},
		{"it refuses another provider", func(r authn.Redirect, back url.Values) error { return o.back(t, "lab", back, r.Browser) }, registry.ReasonFlowUnknown},
		{"it refuses a provider that there is not", func(r authn.Redirect, back url.Values) error { return o.back(t, "local", back, r.Browser) }, registry.ReasonFlowUnknown},
		{"it refuses a state of nobody", func(r authn.Redirect, back url.Values) error {
			back.Set("state", "x")
			return o.back(t, "oidc", back, r.Browser)
		}, registry.ReasonFlowUnknown},
		{"it refuses two states", func(r authn.Redirect, back url.Values) error {
			back.Add("state", back.Get("state"))
			return o.back(t, "oidc", back, r.Browser)
		}, registry.ReasonFlowUnknown},
		{"it refuses none", func(r authn.Redirect, back url.Values) error {
			back.Del("state")
			return o.back(t, "oidc", back, r.Browser)
		}, registry.ReasonFlowUnknown},
		{"it refuses what took too long", func(r authn.Redirect, back url.Values) error {
			o.pass(11 * time.Minute)
			return o.back(t, "oidc", back, r.Browser)
		}, registry.ReasonFlowUnknown},
	} {
		r, err := o.Begin(t.Context(), "oidc", "/", "", "", from)
		if err != nil {
			t.Fatal(err)
		}
		err = test.do(r, callback(t, r))
		if test.want == "" && err != nil {
			t.Errorf("%s: %v", test.name, err)
		} else if test.want != "" {
			wantReason(t, test.name, err, test.want)
		}
	}
}

func (o *office) back(t *testing.T, provider string, callback url.Values, browser string) error {
	_, err := o.Complete(t.Context(), provider, callback, browser, from)
	return err
}

// A browser keeps its secret over several tabs, and one that others could have
// chosen for it is not taken.
func TestBrowserSecret(t *testing.T) {
	o, _ := with(t, authn.Rules{})
	first, err := o.Begin(t.Context(), "oidc", "//evil.example", "", "", from)
	if err != nil || len(first.Browser) != 43 {
		t.Fatalf("got %q, %v", first.Browser, err)
	}
	if l, err := o.Complete(t.Context(), "oidc", callback(t, first), first.Browser, from); l.BackTo != "/" {
		t.Errorf("C43: it ends at %q, %v", l.BackTo, err)
	}
	second, err := o.Begin(t.Context(), "oidc", "/", first.Browser, "", from)
	if err != nil || second.Browser != first.Browser || second.Location == first.Location {
		t.Errorf("a second tab: got %+v, %v", second, err)
	}
	if third, err := o.Begin(t.Context(), "oidc", "/", "1", "", from); err != nil || len(third.Browser) != 43 {
		t.Errorf("a short secret: got %q, %v", third.Browser, err)
	}
	if _, err := o.Begin(t.Context(), "none", "/", "", "", from); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("no such provider: %v", err)
	}
}

// C42: what nobody asked for is taken only where that is allowed.
func TestUnsolicited(t *testing.T) {
	o, said := with(t, authn.Rules{Provision: true})
	o.Providers()[1].Stateless = true
	said.a = ann()
	jwt := url.Values{"jwt": {"x"}, "return_to": {"/q"}}
	_, err := o.Unsolicited(t.Context(), "oidc", "x", from)
	wantReason(t, "not allowed", err, registry.ReasonAssertionUnexpected)
	wantReason(t, "no cookie", o.back(t, "oidc", jwt, ""), registry.ReasonAssertionUnexpected)

	r, err := o.Begin(t.Context(), "oidc", "/q", "", "", from)
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, "another path", o.back(t, "oidc", url.Values{"jwt": {"x"}, "return_to": {"/other"}}, r.Browser), registry.ReasonAssertionUnexpected)
	if err := o.back(t, "oidc", jwt, r.Browser); err != nil {
		t.Errorf("the browser that began it: %v", err)
	}
	wantReason(t, "a second use", o.back(t, "oidc", jwt, r.Browser), registry.ReasonAssertionUnexpected)

	o.Providers()[1].Unsolicited = said
	if tokens, err := o.Unsolicited(t.Context(), "oidc", "x", from); err != nil || tokens.Access == "" {
		t.Errorf("allowed: %v", err)
	}
}

func TestLinkByPerson(t *testing.T) {
	o, said := with(t, authn.Rules{})
	jane := o.jane(t)
	said.a = ann()
	link := func() error {
		r, err := o.Begin(t.Context(), "oidc", "/", "", jane.ID, from)
		if err != nil {
			t.Fatal(err)
		}
		l, err := o.Complete(t.Context(), "oidc", callback(t, r), r.Browser, from)
		if err == nil && (!l.Linked || l.Tokens.Access != "") {
			t.Errorf("got %+v", l)
		}
		return err
	}
	if err := link(); err != nil {
		t.Fatal(err)
	}
	wantReason(t, "a second time", link(), registry.ReasonLinkRequired)
	if p, err := o.come(t, "oidc", said, ann()); err != nil || p.User.ID != jane.ID {
		t.Errorf("signs in as %v, %v", p.User.Username, err)
	}
	if err := o.registry.Unlink(t.Context(), jane.ID, "oidc", "1"); err != nil {
		t.Fatal(err)
	}
	_, err := o.come(t, "oidc", said, ann())
	wantReason(t, "unlinked", err, registry.ReasonNotProvisioned)
}

func TestLastWayInStays(t *testing.T) {
	o, said := with(t, authn.Rules{Provision: true})
	p, err := o.come(t, "oidc", said, ann())
	if err != nil {
		t.Fatal(err)
	}
	var invalid *registry.InvalidError
	if err := o.registry.Unlink(t.Context(), p.User.ID, "oidc", "1"); !errors.As(err, &invalid) {
		t.Errorf("got %v, want it refused", err)
	}
}

// C65 and the order of providers: a directory that is away leaves local
// passwords working, and nobody is told that a password is wrong.
func TestPasswordProviders(t *testing.T) {
	o, directory := newOffice(t), &says{a: authn.Assertion{Subject: "uuid", Login: "dora", Email: "dora@example.com"}}
	o.SetProviders([]authn.Provider{{Key: "ldap", Secret: directory, Rules: authn.Rules{Provision: true}}, {Key: registry.LocalProvider}}...)
	jane := o.jane(t)
	try := func(login, pass string) (authn.Person, error) {
		tokens, err := o.Issue(t.Context(), login, pass, from)
		if err != nil {
			return authn.Person{}, err
		}
		return o.Verify(t.Context(), tokens.Access)
	}
	if p, err := try("dora", passphrase); err != nil || p.Session.Provider != "ldap" || p.User.Username != "dora" {
		t.Errorf("the directory: %+v, %v", p, err)
	}
	if p, err := try("jane", passphrase); err != nil || p.Session.Provider != registry.LocalProvider || p.User.ID != jane.ID {
		t.Errorf("local: %+v, %v", p, err)
	}
	_, err := try("jane", "wrong")
	wantReason(t, "wrong here, unknown there", err, registry.ReasonWrongPassword)
	_, err = try("nobody", "wrong")
	wantReason(t, "unknown", err, registry.ReasonUnknownUser)

	directory.err = authn.ErrProvider
	if _, err := try("jane", passphrase); err != nil {
		t.Errorf("local, with the directory away: %v", err)
	}
	if _, err := try("dora", passphrase); !errors.Is(err, authn.ErrProvider) || errors.Is(err, authn.ErrUnauthenticated) {
		t.Errorf("the directory is away: got %v, want ErrProvider", err)
	}
	o.SetProviders([]authn.Provider{{Key: "oidc", Redirect: directory}}...)
	_, err = try("jane", passphrase)
	wantReason(t, "no passwords here", err, registry.ReasonPasswordDisabled)
}

// M3: an owner made for the directory waits for its first sign-in, and is given
// to nobody else.
func TestAwaitedAccount(t *testing.T) {
	o, directory := newOffice(t), &says{a: authn.Assertion{Subject: "uuid-1", Login: "chief"}}
	o.SetProviders([]authn.Provider{{Key: "ldap", Secret: directory, Rules: authn.Rules{Provision: true}}, {Key: "oidc", Redirect: directory, Rules: authn.Rules{Provision: true}}}...)
	chief, err := o.registry.CreateFirstOwner(t.Context(), registry.User{Username: "chief", Provider: "ldap"})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := o.come(t, "oidc", directory, authn.Assertion{Subject: "evil", Login: "chief"}); err != nil || p.User.ID == chief.ID {
		t.Errorf("another provider's chief: got %v, %v", p.User.Role, err)
	}
	in := func(subject string) registry.User {
		directory.a = authn.Assertion{Subject: subject, Login: "chief"}
		tokens, err := o.Issue(t.Context(), "chief", passphrase, from)
		if err != nil {
			t.Fatal(err)
		}
		p, err := o.Verify(t.Context(), tokens.Access)
		if err != nil {
			t.Fatal(err)
		}
		return p.User
	}
	if u := in("uuid-1"); u.ID != chief.ID || u.Role != registry.Owner {
		t.Errorf("the directory's chief: got %v %v", u.Username, u.Role)
	}
	if u := in("uuid-2"); u.ID == chief.ID {
		t.Error("a second entry of that name got the owner's account")
	}
}

// A name that people choose for themselves at a provider claims no account, not
// even one of that provider which lost its identity.
func TestNameClaimsNothing(t *testing.T) {
	o, said := with(t, authn.Rules{Provision: true})
	p, err := o.come(t, "oidc", said, ann())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.registry.Link(t.Context(), registry.LinkedIdentity{Provider: "lab", Subject: "x", User: p.User.ID}); err != nil {
		t.Fatal(err)
	}
	if err := o.registry.Unlink(t.Context(), p.User.ID, "oidc", "1"); err != nil {
		t.Fatal(err)
	}
	if err := o.store.Update(t.Context(), func(tx registry.Tx) error { return tx.DeleteIdentity(t.Context(), p.User.ID, "lab", "x") }); err != nil {
		t.Fatal(err)
	}
	other, err := o.come(t, "oidc", said, authn.Assertion{Subject: "2", Login: "ann"})
	if err != nil || other.User.ID == p.User.ID {
		t.Errorf("got the account %v, %v", other.User.Username, err)
	}
}

// Users.md §2.8, row 11: names that a product would cut to one stay two people.
func TestLikeNamesStayApart(t *testing.T) {
	o, said := with(t, authn.Rules{Provision: true})
	ids := map[registry.UserID]bool{}
	for i, email := range []string{"a-very-long-name-indeed@x.example.com", "a.very.long.name.indeed@x.example.com", "A-very-long-name-indeed@y.example.com"} {
		p, err := o.come(t, "oidc", said, authn.Assertion{Subject: string(rune('a' + i)), Email: email, EmailVerified: true})
		if err != nil {
			t.Fatal(err)
		}
		ids[p.User.ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("three people have %d accounts", len(ids))
	}
}

// O6 to O9, C58: whom a proxy names has the role of that request, never above
// admin, and no session.
func TestVouched(t *testing.T) {
	o, proxy := newOffice(t), &says{}
	o.SetProviders(append(o.Providers(), authn.Provider{Key: "header", Request: proxy, Rules: authn.Rules{Provision: true, Sync: authn.SyncNever,
		RoleMap: map[string]registry.Role{"administrator": registry.Admin, "root": registry.Owner}}})...)
	ask := func(name string, in ...string) (authn.Person, bool, error) {
		proxy.a.Groups = &in
		r := httptest.NewRequest("GET", "/", nil)
		if name != "" {
			r.Header.Set("Remote-User", name)
		}
		return o.FromRequest(t.Context(), r, from)
	}
	if _, present, err := ask(""); present || err != nil {
		t.Errorf("nobody: got %v, %v", present, err)
	}
	first, present, err := ask("header-user", "Administrator")
	if err != nil || !present || first.User.Role != registry.Admin || first.Session.ID != "" || first.Session.Provider != "header" {
		t.Fatalf("got %+v, %v, %v", first, present, err)
	}
	for name, want := range map[string]registry.Role{"root": registry.Admin, "x": registry.NoRole} {
		if p, _, err := ask("header-user", name); err != nil || p.User.Role != want || p.User.ID != first.User.ID {
			t.Errorf("group %s: got %v, %v, want %v", name, p.User.Role, err, want)
		}
	}
	o.Providers()[1].Rules.Strict = true
	if p, _, err := ask("another", "administrator"); err != nil || p.User.Role != registry.Admin {
		t.Errorf("strict, with a group: got %v, %v", p.User.Role, err)
	}
	_, _, err = ask("a third", "x")
	wantReason(t, "strict, without one", err, registry.ReasonNoMappedRole)
	_, _, err = ask("header-user", "x")
	wantReason(t, "strict, known, without one", err, registry.ReasonNoMappedRole)
	o.Providers()[1].Rules.Strict = false
	row, err := o.registry.User(t.Context(), first.User.ID)
	if err != nil || row.Role != registry.NoRole {
		t.Errorf("the role is kept: %v, %v", row.Role, err)
	}
	jane := o.jane(t)
	if p, _, err := ask("jane", "administrator"); err != nil || p.User.ID == jane.ID {
		t.Errorf("O10: a name of the proxy is a local account: %v", err)
	}
	if _, err := o.registry.UpdateUser(t.Context(), "", first.User.ID, func(u *registry.User) error { u.Status = registry.Disabled; return nil }); err != nil {
		t.Fatal(err)
	}
	_, _, err = ask("header-user", "administrator")
	wantReason(t, "C45 disabled", err, registry.ReasonUserDisabled)
	proxy.err = &authn.RefusedError{Reason: registry.ReasonHeaderMissing}
	_, present, err = ask("header-user")
	wantReason(t, "refused", err, registry.ReasonHeaderMissing)
	if !present {
		t.Error("after a refusal others would be asked")
	}
}

// C63: what became of each attempt stands in the trail with its steps, and no
// claim that is nobody's business.
func TestAttemptsAreWrittenDown(t *testing.T) {
	o, said := with(t, authn.Rules{Provision: true, Sync: authn.SyncAlways, RoleMap: map[string]registry.Role{"ops": registry.Admin}})
	a := ann()
	a.Groups = groups("ops", "x")
	a.Claims = map[string]any{"sub": "1", "email": "ann@example.com", "phone_number": "canary", "at_hash": "canary", "groups": []any{"ops", "x"}}
	p, err := o.come(t, "oidc", said, a)
	if err != nil {
		t.Fatal(err)
	}
	event := func() registry.AuditEvent {
		list, err := o.store.Audit(t.Context(), registry.AuditQuery{Limit: 1})
		if err != nil || len(list.Items) != 1 {
			t.Fatalf("got %v, %v", list, err)
		}
		return list.Items[0]
	}
	e := event()
	steps := []any{"the identity is new here", `group "ops" gives the role admin`, "made the account ann with the role admin"}
	if e.Action != "sign-in" || e.Outcome != registry.AuditDone || e.Actor != p.User.ID || e.ActorName != "ann" || e.Provider != "oidc" || e.IP != from.IP || e.Object != string(p.Session.ID) {
		t.Errorf("got %+v", e)
	}
	if !reflect.DeepEqual(e.Details["steps"], steps) || strings.Contains(reflect.ValueOf(e.Details).String(), "canary") {
		t.Errorf("got %+v", e.Details)
	}
	if claims := e.Details["claims"].(map[string]any); claims["phone_number"] != "(redacted)" || claims["at_hash"] != "(redacted)" || claims["sub"] != "1" {
		t.Errorf("got %+v", claims)
	}
	o.pass(time.Second)
	said.err = &authn.RefusedError{Reason: registry.ReasonAssertionExpired}
	_, err = o.come(t, "oidc", said, a)
	wantReason(t, "refused", err, registry.ReasonAssertionExpired)
	if e := event(); e.Outcome != registry.AuditRefused || e.Reason != registry.ReasonAssertionExpired || e.Details["subject"] != "1" {
		t.Errorf("got %+v", e)
	}
}

// A stranger cannot fill the trail, nor the table of flows.
func TestStrangersAreBounded(t *testing.T) {
	o, _ := with(t, authn.Rules{})
	for range 150 {
		wantReason(t, "a state of nobody", o.back(t, "oidc", url.Values{"state": {"x"}}, ""), registry.ReasonFlowUnknown)
	}
	if list, err := o.store.Audit(t.Context(), registry.AuditQuery{Limit: 1}); err != nil || list.Total != 100 {
		t.Errorf("the trail has %d of 150, %v, want 100", list.Total, err)
	}
	begun := 0
	for range 1100 {
		_, err := o.Begin(t.Context(), "oidc", "/", "", "", from)
		switch {
		case err == nil:
			begun++
		case !errors.Is(err, authn.ErrLimited):
			t.Fatal(err)
		}
	}
	if begun != 1000 {
		t.Errorf("%d sign-ins begun, want 1000", begun)
	}
	if _, err := o.Begin(t.Context(), "oidc", "/", "", "", authn.Client{IP: "198.51.100.1"}); err != nil {
		t.Errorf("from another address: %v", err)
	}
}

// A sign-in that cannot be written down does not happen.
func TestUnwrittenSignInFails(t *testing.T) {
	o := newOffice(t)
	jane := o.jane(t)
	o.Audit = noTrail{}
	if _, err := o.Issue(t.Context(), "jane", passphrase, from); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("got %v, want it to fail", err)
	}
	if sessions, err := o.Sessions(t.Context(), jane.ID); err != nil || len(sessions) != 0 {
		t.Errorf("it left %d sessions, %v", len(sessions), err)
	}
}

type noTrail struct{}

func (noTrail) InsertAudit(context.Context, registry.AuditEvent) error {
	return registry.ErrUnavailable
}

func TestWellKnownPassword(t *testing.T) {
	o := newOffice(t)
	jane := o.jane(t)
	if _, err := o.registry.UpdateUser(t.Context(), "", jane.ID, func(u *registry.User) error { u.MustChange, u.LoopbackOnly = true, true; return nil }); err != nil {
		t.Fatal(err)
	}
	_, err := o.Issue(t.Context(), "jane", passphrase, from)
	wantReason(t, "from elsewhere", err, registry.ReasonLoopbackOnly)
	tokens, err := o.Issue(t.Context(), "jane", passphrase, authn.Client{IP: "::1", Kind: "api"})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := o.Verify(t.Context(), tokens.Access); err != nil || p.Only != registry.ReasonPasswordMustChange {
		t.Errorf("C13: got %q, %v, want that only the password can be changed", p.Only, err)
	}
}

// C52: a sign-in ages.
func TestFreshness(t *testing.T) {
	o := newOffice(t)
	o.jane(t)
	tokens := o.signIn(t)
	o.pass(10 * time.Minute)
	tokens, err := o.Refresh(t.Context(), tokens.Refresh, from)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := o.Verify(t.Context(), tokens.Access); err != nil || !p.Fresh {
		t.Errorf("after ten minutes: %v, %v", p.Fresh, err)
	}
	o.pass(6 * time.Minute)
	if p, err := o.Verify(t.Context(), tokens.Access); err != nil || p.Fresh {
		t.Errorf("after sixteen, in spite of a refresh: %v, %v", p.Fresh, err)
	}
}
