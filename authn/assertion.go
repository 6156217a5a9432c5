package authn

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// ErrProvider is wrapped when a sign-in provider did not answer, or not in
// time. It says nothing about who somebody is: try later, or another way in.
var ErrProvider = errors.New("sign-in provider unavailable")

// An Assertion is what a provider says of somebody. Every way to sign in
// begins with one and then goes the same way: identity → account → roles →
// second factor → session (Users.Admit).
type Assertion struct {
	Provider string // key of the provider: "local", "ldap", "google", "oidc", "lab", "jwt", "header"
	Subject  string // never changes and is never given to somebody else, within the provider

	Login         string // name for a new account; "" leaves it to the e-mail address
	Email         string
	EmailVerified bool // the provider has seen that the address is theirs
	FirstName     string
	LastName      string
	Picture       string // URL

	// Groups are what roles are mapped from. Nil means that the provider said
	// nothing of groups, which leaves roles as they are; empty means none.
	Groups *[]string
	// Attributes replace those of the account; nil leaves them.
	Attributes map[string]string

	AuthTime time.Time // when the provider saw the person; zero: now
	AMR      []string  // how (RFC 8176): "pwd", "otp", "hwk", …; nil when it did not say

	// Claims are what was seen, for `postern explain-login`. The pipeline
	// redacts them before they are kept. They never hold a token or a secret.
	Claims map[string]any
}

// A SecretProvider checks a name and a password that somebody typed. It is safe
// for concurrent use, gives up by itself after 5 seconds, and returns
//
//	*RefusedError   for an unknown name, a wrong password, or somebody who may
//	                not come in, with the reason
//	ErrProvider     when it cannot tell
//
// An Assertion beside an error holds what was seen, for the audit trail alone.
type SecretProvider interface {
	Verify(ctx context.Context, login, secret string) (Assertion, error)
}

// A Flow is one sign-in at another site, from the redirect to the answer. All
// of it is random and of this flow alone, and the pipeline has bound it to the
// browser that began it; it is kept for ten minutes and used once.
type Flow struct {
	State    string // 256 random bits, base64url
	Nonce    string // the same
	Verifier string // PKCE code verifier (RFC 7636 §4.1)
	ReturnTo string // path below our own base to end at, checked (LocalPath)
}

// A RedirectProvider signs people in at another site. It is safe for concurrent
// use. Begin returns the URL to send the browser to. Complete takes what the
// browser brought back; whether state belongs to this browser and was not used
// before has been checked. Errors are those of SecretProvider.
type RedirectProvider interface {
	Begin(ctx context.Context, f Flow) (location string, err error)
	Complete(ctx context.Context, f Flow, callback url.Values) (Assertion, error)
}

// An UnsolicitedProvider takes an assertion that nobody asked for here: somebody
// began at the other site. Errors are those of SecretProvider.
type UnsolicitedProvider interface {
	Unsolicited(ctx context.Context, assertion string) (Assertion, error)
}

// A RequestProvider reads who somebody is from a request that a trusted proxy
// passed on. present is false, without an error, when the request says nothing
// and others may be asked. Errors are those of SecretProvider.
type RequestProvider interface {
	FromRequest(r *http.Request) (a Assertion, present bool, err error)
}

// LocalPath returns where a sign-in may end: path itself when it is a path of
// this site and nothing that a browser could take for another (spec/users.md
// §2.6, C43), else "/".
func LocalPath(path string) string {
	if !localPath(path) {
		return "/"
	}
	u, err := url.Parse(path)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || !localPath(u.String()) {
		return "/"
	}
	return u.String()
}

// localPath goes by the bytes, because Go's parser is not the browser's: that
// one reads \ as / and drops tabs and line breaks.
func localPath(p string) bool {
	if len(p) == 0 || len(p) > 2048 || p[0] != '/' || len(p) > 1 && (p[1] == '/' || p[1] == '\\') {
		return false
	}
	for i := range len(p) {
		if p[i] <= 0x20 || p[i] == '\\' || p[i] == 0x7f {
			return false
		}
	}
	return true
}
