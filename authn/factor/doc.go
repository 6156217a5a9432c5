// Package factor keeps second factors: code generators (TOTP, RFC 6238),
// recovery codes, and passkeys (WebAuthn Level 3). It implements
// authn.SecondFactors, and serves those who enrol and remove a factor.
//
// When a factor is asked for, who may enrol one, and what ends with it is the
// business of authn.Users and of the door; this package checks what is shown.
//
//	begin TOTP ─ secret, once ─▶ confirm with a code ─▶ a factor, recovery codes once
//	begin passkey ─ challenge ─▶ confirm with a new credential ─▶ likewise
//	sign-in ─ ticket ─▶ Check(code | recovery code | answer to a challenge)
//
// Whatever is good once is used up by one statement of the database, so that of
// two nodes one takes it: a time step, a recovery code, a challenge, a value of
// a signature counter.
//
// The secret of a generator has to be known to check a code, so it is sealed
// under a key that is not in the database. A recovery code has 100 random bits;
// what is kept is its HMAC under another such key, so that neither a copy of
// the database nor a guess that fits any of many accounts opens one.
package factor
