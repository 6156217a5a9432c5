// Package authn answers one question: who are you?
//
// Devices takes the Credential that a door collected (an id, a secret, a
// verified client certificate, in any combination) and returns the one device
// that all of it names, or a refusal with its reason. Users does the same for
// people, whatever way they come:
//
//	name and password ─▶ SecretProvider   (local, ldap) ──┐
//	another site      ─▶ RedirectProvider (oidc, sso) ────┼─▶ Assertion
//	a trusted proxy   ─▶ RequestProvider  (header) ───────┘       │
//	                                                              ▼
//	    identity ─▶ account ─▶ state ─▶ role ─▶ second factor ─▶ session
//
// That is one path (admit.go), and each attempt is written down with what was
// decided on the way (attempt.go). A new way to sign in is a package that makes
// Assertions; nothing after them is its own. Devices go another way:
//
//	door ──Credential──▶ Devices ──▶ owner cache  (keyed hash of secret → device)
//	                        │    └──▶ record cache (device → status, secrets)
//	                        ▼ miss
//	                    Finder (the store)
//
// Both caches are bounded, load each key once however many ask for it, forget
// what a change notice names, and keep serving what they know when the store is
// away. What the device may then do is authz's business; how a refusal looks on
// a wire is the adapters'.
package authn
