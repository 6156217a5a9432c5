package authn_test

import (
	"net/url"
	"testing"

	"github.com/postern-io/postern/authn"
)

// C43: a sign-in ends at a path of this site or at "/".
func TestLocalPath(t *testing.T) {
	for _, good := range []string{"/", "/x", "/question/1?a=b&c=%2F%2Fevil.example", "/a//b", "/x#y", "/settings/workspace/users"} {
		if got := authn.LocalPath(good); got != good {
			t.Errorf("%q: got %q, want it kept", good, got)
		}
	}
	for _, bad := range []string{
		"", "x", "//evil.example", "///evil.example", `/\evil.example`, `/./\evil.example`, `\\evil.example`, "https://evil.example", "https:evil.example",
		"javascript:alert(1)", "/\tevil", "/\n/evil.example", "/ /evil", "/a\\b", "/\x00", "/\x7f", " /x", "/%zz", "http:/evil", "?x", "#x",
	} {
		if got := authn.LocalPath(bad); got != "/" {
			t.Errorf("%q: got %q, want /", bad, got)
		}
	}
}

func FuzzLocalPath(f *testing.F) {
	for _, s := range []string{"/", "//x", `/\x`, "/a/../b", "/%2f/x", "/x?y#z"} {
		f.Add(s)
	}
	base, err := url.Parse("https://postern.example/auth/sso")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got := authn.LocalPath(path)
		u, err := base.Parse(got)
		if err != nil || u.Host != base.Host || u.Scheme != base.Scheme || u.User != nil {
			t.Errorf("%q: got %q, which leads to %v (%v)", path, got, u, err)
		}
		if again := authn.LocalPath(got); again != got {
			t.Errorf("%q: got %q, and from that %q", path, got, again)
		}
	})
}
