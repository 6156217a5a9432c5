// Package oidc signs people in at an OpenID provider: Google, a company's own,
// or the one that only an authorization and a token URL are known of.
//
//	Begin     state, nonce, PKCE ──▶ the provider's page
//	Complete  callback ──▶ iss ──▶ code for tokens ──▶ id_token verified
//	                                     └──▶ userinfo, for what it lacks
//	          ──▶ authn.Assertion
//
// It is OpenID Connect Core 1.0 with the code flow alone, and the advice of
// RFC 9700: PKCE S256 always (RFC 7636), the issuer in the callback (RFC 9207),
// one exact redirect URI. An id_token is never taken unverified: signature by
// the provider's keys under an algorithm of our list, issuer, audience,
// authorized party, nonce, times, and the hash of the access token. The access
// token asks userinfo once and is forgotten.
//
// Who somebody is, is the provider's sub under the Config's Key (C24). So a Key
// belongs to one issuer for good: who changes to another provider takes another
// Key, or the new one's numbers would be read as the old one's people.
//
// # When the provider is away
//
// Nothing is asked of it before somebody signs in, so a start does not wait for
// it. What discovery says is kept for an hour, and longer while no newer answer
// is to be had. One try runs at a time and everybody waits for that one; after a
// failure the next five seconds answer at once with the same failure, so a dead
// provider does not cost each visitor a wait. Begin, Complete and Test each end
// within Config.Timeout, whatever the provider does. Its redirects are not
// followed: a token request that is redirected would show the code and the
// client's secret to somebody else.
//
// # Only two URLs
//
// Where an authorization and a token URL are all there is, the discovery
// document is looked for above the former's path. It is believed when it is
// that of the place where it was found, and names exactly these two URLs.
//
// # A constant state
//
// One seed sets a constant state for all sign-ins. A state is of one flow here,
// so there is nothing to set; mixing such a constant in would add nothing to
// 256 random bits.
package oidc
