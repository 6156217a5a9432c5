// Package pki is the door for everybody else: whoever was shown one of our
// certificates asks here what became of it. It owns the paths, the encodings and
// what HTTP caches may keep. What is signed is certs' to say, what was revoked
// the registry's. Nobody is asked who he is, for nothing here is secret.
//
//	GET  /pki/ca.crt        the roots, PEM          /pki/ca.der  the first, DER
//	GET  /pki/chain.pem     our issuing authorities, then the roots
//	GET  /pki/crl.der       CRL of the present authority; /pki/crl.pem
//	GET  /pki/crl/<id>.crl  of the one of that fingerprint; /pki/crl/<id>.pem
//	GET  /pki/crls.pem      of all of them and of the roots
//	POST /pki/ocsp          OCSP (RFC 6960)
//	GET  /pki/ocsp/<base64> the same, for caches (RFC 5019)
//	GET  /.well-known/est/cacerts   the chain again, for EST (RFC 7030)
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
// # Bounds
//
// A request has 16 KiB and asks about 16 certificates at most. A few are worked
// on at once, however many come; who waits longer than two seconds is told to
// try later.
//
// # Paths
//
// Base64 has slashes, two of them in a row at times. Mount Handler before
// anything that cleans paths, as http.ServeMux does.
package pki
