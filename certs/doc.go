// Package certs answers: whom do we vouch for? It owns the certificate
// authority that a first start makes, the server's own certificate, the
// certificates of devices, and the TLS configuration that verifies them.
//
//	first start ──▶ Authority (root, kept in the data directory)
//	                  ├──▶ ServerCertificate   localhost and host name
//	                  │      └──▶ ServerFiles  read again when they change
//	                  └──▶ IssueDevice         from a signing request
//	TLS handshake ──▶ ServerTLS.VerifyConnection ──▶ chain, time, key usage
//
// Which device a verified certificate names is authn's question. Keys are files
// of mode 0600; a looser one is refused.
package certs
