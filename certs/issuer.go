package certs

import (
	"crypto"
	"crypto/x509"

	"github.com/postern-io/postern/registry"
)

// An Issuer is an issuing authority of ours, opened: it signs certificates of
// devices, lists of what was revoked, and OCSP answers. It does not change.
type Issuer struct {
	ID          registry.AuthorityID
	Certificate *x509.Certificate
	Root        *x509.Certificate // that signed it
	Key         crypto.Signer
	Retired     bool // signs no more certificates

	rootList *x509.RevocationList // of the root; nil when the issuer was not opened by an Authority
}
