package signin

import (
	"net/http"
	"time"

	"github.com/postern-io/postern/authn"
)

// Cookies names and makes the cookies of a site. Secure is for a site that is
// reached by https: then the names have the prefixes that keep other hosts and
// plain HTTP from setting them (RFC 6265bis §4.1.3). Without it the site is on
// loopback.
type Cookies struct{ Secure bool }

// refreshPath is the only place that is shown the refresh token.
const refreshPath = "/auth/refresh"

// Access is the name of the cookie that holds the access token.
func (c Cookies) Access() string { return c.host("at") }

func (c Cookies) refresh() string {
	if c.Secure {
		return "__Secure-rt"
	}
	return "rt"
}

// Resumable names a cookie that says no more than that the browser may hold a
// refresh token, which is shown at one path alone. Who asks for a page with an
// access token that has ended is sent there, and not to sign in.
func (c Cookies) Resumable() string { return c.host("resumable") }

func (c Cookies) flow() string   { return c.host("flow") }
func (c Cookies) ticket() string { return c.host("2f") }

func (c Cookies) host(name string) string {
	if c.Secure {
		return "__Host-" + name
	}
	return name
}

// set sends a cookie that scripts cannot read. Lax, because whoever comes back
// from another site must still be known; the refresh token is Strict.
func (c Cookies) set(w http.ResponseWriter, name, value, path string, life time.Duration, site http.SameSite) {
	age := int(life.Seconds())
	if value == "" {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: path, MaxAge: age, HttpOnly: true, Secure: c.Secure, SameSite: site})
}

// keep sends the tokens of a session.
func (c Cookies) keep(w http.ResponseWriter, t authn.Tokens, refreshIdle time.Duration) {
	c.set(w, c.Access(), t.Access, "/", t.ExpiresIn, http.SameSiteLaxMode)
	c.set(w, c.refresh(), t.Refresh, refreshPath, refreshIdle, http.SameSiteStrictMode)
	c.set(w, c.Resumable(), "1", "/", refreshIdle, http.SameSiteLaxMode)
}

// drop removes them.
func (c Cookies) drop(w http.ResponseWriter) {
	c.set(w, c.Access(), "", "/", 0, http.SameSiteLaxMode)
	c.set(w, c.refresh(), "", refreshPath, 0, http.SameSiteStrictMode)
	c.set(w, c.Resumable(), "", "/", 0, http.SameSiteLaxMode)
}

// value returns a cookie, "" when there is none or more than one: then somebody
// else has set one of them.
func value(r *http.Request, name string) string {
	if named := r.CookiesNamed(name); len(named) == 1 {
		return named[0].Value
	}
	return ""
}
