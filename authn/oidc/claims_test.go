package oidc_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/authn/oidc"
)

// The id_token speaks first, userinfo fills in, and neither vouches for the
// other's address (C27).
func TestClaimsBecomeAnAssertion(t *testing.T) {
	t.Parallel()
	type said = map[string]any
	groups := func(g ...string) *[]string {
		if g == nil {
			g = []string{}
		}
		return &g
	}
	for _, test := range []struct {
		name           string
		change         func(*oidc.Config)
		token, info    said // on top of nothing but sub
		email, login   string
		verified       bool
		groups         *[]string
		first, picture string
	}{
		{name: "it takes a verified address", token: said{"email": "a@x.example", "email_verified": true, "groups": []string{"g"}},
			email: "a@x.example", login: "a", verified: true, groups: groups("g")},
		{name: "it reads true as text", token: said{"email": "a@x.example", "email_verified": "true"}, email: "a@x.example", login: "a", verified: true},
		{name: "it reads no other text as true", token: said{"email": "a@x.example", "email_verified": "yes"}, email: "a@x.example", login: "a"},
		{name: "it reads no number as true", token: said{"email": "a@x.example", "email_verified": 1}, email: "a@x.example", login: "a"},
		{name: "it does not verify by silence", token: said{"email": "a@x.example"}, email: "a@x.example", login: "a"},
		{name: "it takes the address of userinfo", info: said{"email": "a@x.example", "email_verified": true}, email: "a@x.example", login: "a", verified: true},
		{name: "it does not let the id_token verify userinfo's address", token: said{"email_verified": true}, info: said{"email": "a@x.example"}, email: "a@x.example", login: "a"},
		{name: "it does not let userinfo verify the id_token's address", token: said{"email": "a@x.example"}, info: said{"email": "b@x.example", "email_verified": true}, email: "a@x.example", login: "a"},
		{name: "it lets userinfo verify the same address", token: said{"email": "a@x.example"}, info: said{"email": "a@x.example", "email_verified": true}, email: "a@x.example", login: "a", verified: true},
		{name: "it fills in for an empty address", token: said{"email": ""}, info: said{"email": "a@x.example"}, email: "a@x.example", login: "a"},
		{name: "it prefers the user's own name", token: said{"email": "a@x.example", "preferred_username": "al"}, email: "a@x.example", login: "al"},
		{name: "it takes a name that is whole", token: said{"name": "A B", "picture": "https://x.example/a.png"}, first: "A B", picture: "https://x.example/a.png"},
		{name: "it takes no picture by script", token: said{"picture": "javascript:alert(1)"}},
		{name: "it takes no address that is no text", token: said{"email": []string{"a@x.example"}, "email_verified": true}},
		{name: "it takes one group as text", token: said{"groups": "g"}, groups: groups("g")},
		{name: "it takes an empty list of groups", token: said{"groups": []string{}}, groups: groups()},
		{name: "it takes only texts as groups", token: said{"groups": []any{"g", 7, nil, said{"h": 1}, ""}}, groups: groups("g")},
		{name: "it takes no nested groups", token: said{"groups": said{"g": true}}},
		{name: "it takes the groups of userinfo", token: said{"email": "a@x.example"}, info: said{"groups": []string{"g"}}, email: "a@x.example", login: "a", groups: groups("g")},
		{name: "it takes no groups unasked", change: func(c *oidc.Config) { c.GroupsClaim = "" }, token: said{"groups": []string{"g"}}},
		{name: "it reads other claims", change: func(c *oidc.Config) { c.EmailClaim, c.UsernameClaim, c.GroupsClaim = "mail", "uid", "roles" },
			token: said{"mail": "a@x.example", "uid": "al", "roles": []string{"g"}, "groups": []string{"h"}}, email: "a@x.example", login: "al", groups: groups("g")},
		{name: "it does not verify another claim's address by email_verified", change: func(c *oidc.Config) { c.EmailClaim = "upn" },
			token: said{"upn": "a@x.example", "email_verified": true}, email: "a@x.example", login: "a"},
		{name: "it verifies it by a claim of its own", change: func(c *oidc.Config) { c.EmailClaim, c.VerifiedClaim = "upn", "upn_verified" },
			token: said{"upn": "a@x.example", "upn_verified": true}, email: "a@x.example", login: "a", verified: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			liar, p := newLiar(t, test.change)
			liar.Claims = func(c map[string]any) {
				for _, name := range []string{"email", "email_verified", "groups"} {
					delete(c, name)
				}
				for name, v := range test.token {
					c[name] = v
				}
			}
			liar.Userinfo = map[string]any{"sub": "alice"}
			for name, v := range test.info {
				liar.Userinfo[name] = v
			}
			f := newFlow()
			a, err := p.Complete(t.Context(), f, liar.Sign(t, begin(t, p, f)))
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprint(a.Email, "|", a.Login, "|", a.EmailVerified, "|", a.FirstName, "|", a.Picture)
			want := fmt.Sprint(test.email, "|", test.login, "|", test.verified, "|", test.first, "|", test.picture)
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if (a.Groups == nil) != (test.groups == nil) || a.Groups != nil && !slices.Equal(*a.Groups, *test.groups) {
				t.Errorf("got groups %v, want %v", a.Groups, test.groups)
			}
		})
	}
}

func TestClaimsHoldNoToken(t *testing.T) {
	t.Parallel()
	liar, p := newLiar(t, nil)
	now := time.Now().Unix()
	liar.Claims = func(c map[string]any) {
		delete(c, "groups")
		c["access_token"], c["amr"], c["auth_time"], c["kept"] = "SECRET", []string{"pwd", "otp"}, now-60, "yes"
		c["_claim_names"] = map[string]string{"groups": "src"}
		c["_claim_sources"] = map[string]any{"src": map[string]string{"endpoint": "https://graph.example", "access_token": "SECRET"}}
	}
	delete(liar.Userinfo, "groups")
	liar.Userinfo["refresh_token"] = "SECRET"
	f := newFlow()
	a, err := p.Complete(t.Context(), f, liar.Sign(t, begin(t, p, f)))
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(a.Claims); a.Claims["kept"] != "yes" || strings.Contains(text, "SECRET") {
		t.Errorf("got claims %v", a.Claims)
	}
	if !slices.Equal(a.AMR, []string{"pwd", "otp"}) || a.AuthTime.Unix() != now-60 || a.Groups != nil {
		t.Errorf("got %+v", a)
	}
	liar.Claims = func(c map[string]any) { c["auth_time"] = now + 3600 }
	f = newFlow()
	if a, err = p.Complete(t.Context(), f, liar.Sign(t, begin(t, p, f))); err != nil || !a.AuthTime.IsZero() || a.AMR != nil {
		t.Errorf("got %+v, %v", a, err)
	}
}
