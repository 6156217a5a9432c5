// Package pki is the door for everybody else: whoever was shown one of our
// certificates asks here what became of it. It owns the paths, the encodings and
// what HTTP caches may keep. What is signed is certs' to say, what was revoked
// the registry's. Nobody is asked who he is, for nothing here is secret; but by
// EST, devices that say who they are get their certificates too.
//
//	GET  /pki/ca.crt        the roots, PEM          /pki/ca.der  the first, DER
//	GET  /pki/chain.pem     our issuing authorities, then the roots
//	GET  /pki/crl.der       CRL of the present authority; /pki/crl.pem
//	GET  /pki/crl/<id>.crl  of the one of that fingerprint; /pki/crl/<id>.pem
//	GET  /pki/crls.pem      of all of them and of the roots
//	POST /pki/ocsp          OCSP (RFC 6960)
//	GET  /pki/ocsp/<base64> the same, for caches (RFC 5019)
//	GET  /.well-known/est/cacerts   the chain again, for EST (RFC 7030)
//	POST /.well-known/est/simpleenroll    a first certificate
//	POST /.well-known/est/simplereenroll  the next one
//
// Programs that check every certificate of a chain (curl --crlfile, nginx
// ssl_crl) need the root's list too, and take crls.pem; openssl verify
// -crl_check takes crl.pem.
//
// # Freshness
//
// A CRL that is fetched after a revocation was answered has it: every request
// asks the registry, and only the encoding of a list is kept. So caches must ask
// again each time, and are answered 304 by the list's ETag. If-Modified-Since is
// not heard: it counts seconds, and two lists can be of one.
//
// An OCSP answer may be cached for a minute when it was got by GET and has no
// nonce. It says that it is good for an hour (certs.AnswerLife), but a
// revocation should not be late by that. It has no ETag: each is signed anew,
// so none would ever match.
//
// # Who is answered
//
// A certificate that one of our issuers never made is "unknown". About another
// issuer's, or of two issuers at once, we may not speak: "unauthorized" (RFC
// 6960 §2.3). What is not OCSP is "malformedRequest", and when the store does
// not answer it is "tryLater". As clients expect, all these come with status
// 200; HTTP's own errors are for what is wrong with the HTTP.
//
// # Enrolment
//
// A first certificate is for whoever shows by HTTP Basic the secret of a device
// (the user is its id, or empty), or a claim token, which makes the device; or by
// a client certificate that names the device, such as its maker's. With AUTH=x509
// a bare secret is not enough here either: it would be a way round that setting
// for whoever has stolen one. There a first certificate takes a claim token.
// What has the form of a claim token is one, and is not looked for among secrets.
//
// The next certificate is for whoever shows the one before: one of ours, in our
// records, that is good now. The request's names must be the old one's, or none.
// The old one stays good until its end, so that a device that fails in between
// is not locked out.
//
// # Bounds
//
// A question has 16 KiB and asks about 16 certificates at most; a signing request
// has 16 KiB in base64. A few questions are worked on at once, however many come;
// who waits longer than two seconds is told to try later. Who shows a wrong
// secret or token too often is not heard for a while.
//
// # Paths
//
// Base64 has slashes, two of them in a row at times. Mount Handler before
// anything that cleans paths, as http.ServeMux does.
package pki
