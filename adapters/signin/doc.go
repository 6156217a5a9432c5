// Package signin is the door through which browsers sign in: the way to another
// site and back, the JWT of a company's own identity provider, a name and a
// password in a form, and the cookies that a session lives in afterwards.
//
//	GET /oauth/login/{p} ─▶ authn.Users.Begin ─▶ 303 to the provider
//	                                              (cookie: which browser)
//	GET /oauth/callback/{p} ─▶ authn.Users.Complete ─▶ 303 back, with cookies
//
// It owns the routes (server.go, one literal table), the cookies and the words
// that a browser is shown. Who somebody is and may be is authn's business. The
// tokens of a session are in HttpOnly cookies and never in a URL, a page or a
// script.
//
// A cookie that a browser adds by itself must not let another site act: whatever
// changes something is a POST, and a POST from another site is refused
// (http.CrossOriginProtection), but for /auth/sso, where it is answered with a
// page that asks the person to go on.
package signin
