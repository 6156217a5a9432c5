package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/url"
	"time"

	"github.com/postern-io/postern/registry"
)

// DeviceLife is how long a device's certificate is valid.
const DeviceLife = 30 * 24 * time.Hour

// A Request is a PKCS#10 request (RFC 2986) whose sender has the key in it.
// What else it proposes is not looked at, but by Renews.
type Request struct {
	Fingerprint string // SHA-256 of it, in hexadecimal
	key         crypto.PublicKey
	names       *x509.CertificateRequest
}

// ParseRequest reads a request in PEM. Keys are ECDSA on P-256, P-384 or P-521,
// Ed25519, or RSA of 2048 to 4096 bits. A request that will not do is a
// *registry.InvalidError.
func ParseRequest(text []byte) (Request, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" || len(bytes.TrimSpace(rest)) > 0 {
		return Request{}, invalidRequest("must be one PKCS#10 request in PEM (-----BEGIN CERTIFICATE REQUEST-----)")
	}
	return ParseRequestDER(block.Bytes)
}

// ParseRequestDER is ParseRequest for DER.
func ParseRequestDER(der []byte) (Request, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return Request{}, invalidRequest("is not a PKCS#10 request (RFC 2986)")
	}
	if err := acceptable(csr.PublicKey); err != nil {
		return Request{}, err
	}
	if err := csr.CheckSignature(); err != nil {
		return Request{}, invalidRequest("is not signed with its own key")
	}
	sum := sha256.Sum256(der)
	return Request{Fingerprint: hex.EncodeToString(sum[:]), key: csr.PublicKey, names: csr}, nil
}

func invalidRequest(reason string) error { return &registry.InvalidError{Field: "csr", Reason: reason} }

// IssueDevice signs a certificate for a device: the request proves possession of
// its key and proposes nothing else. The name is the device's URN and id, the use
// is client authentication, and the life is DeviceLife, or the rest of the
// authority's own.
func (a *Authority) IssueDevice(d registry.Device, request Request) (registry.Certificate, error) {
	return a.issueClient(string(d.ID), []*url.URL{DeviceURN(d.Domain, d.ID)}, request)
}

// IssueForSecret is IssueDevice with the secret of the device as the common name
// and no other, as the first users of this made theirs: the certificate is as
// good as the secret, and ends with it. Who has the certificate has the secret.
func (a *Authority) IssueForSecret(secret registry.Secret, request Request) (registry.Certificate, error) {
	return a.issueClient(secret.Reveal(), nil, request)
}

func (a *Authority) issueClient(name string, urns []*url.URL, request Request) (registry.Certificate, error) {
	issuer, now := a.issuer(), a.config.Now()
	ends := now.Add(DeviceLife)
	if ends.After(issuer.Certificate.NotAfter) {
		ends = issuer.Certificate.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-backdate),
		NotAfter:     ends,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:         urns,
	}
	if a.config.URL != "" {
		template.OCSPServer = []string{a.config.URL + "/pki/ocsp"}
		template.CRLDistributionPoints = []string{a.config.URL + "/pki/crl/" + string(issuer.ID) + ".crl"}
		template.IssuingCertificateURL = []string{a.config.URL + "/pki/chain.pem"}
	}
	leaf, err := sign(template, issuer.Certificate, request.key, issuer.Key)
	if err != nil {
		return registry.Certificate{}, err
	}
	return registry.Certificate{
		ID: registry.CertificateID(registry.Fingerprint(leaf)), Authority: issuer.ID, Serial: SerialText(leaf.SerialNumber),
		Subject: leaf.Subject.String(), Key: keyKind(leaf.PublicKey), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, DER: leaf.Raw,
	}, nil
}

// Chain returns a certificate of ours with the issuing authority above it, as a
// device shows them; the root, which whoever trusts it has, is left out.
func (a *Authority) Chain(c registry.Certificate) ([]*x509.Certificate, error) {
	leaf, err := x509.ParseCertificate(c.DER)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s: %w", c.ID, err)
	}
	for _, i := range a.Issuers() {
		if i.ID == c.Authority {
			return []*x509.Certificate{leaf, i.Certificate}, nil
		}
	}
	return []*x509.Certificate{leaf}, nil
}

func keyKind(key crypto.PublicKey) string {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return fmt.Sprintf("%T", key)
}

func acceptable(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= minRSA && bits <= 4096 {
			return nil
		}
	}
	return invalidRequest("must have an ECDSA (P-256, P-384, P-521), Ed25519 or RSA (2048 to 4096 bits) key")
}

// DeviceURN is the name of a device in a certificate.
func DeviceURN(domain registry.DomainID, device registry.DeviceID) *url.URL {
	return &url.URL{Scheme: "urn", Opaque: "postern:" + string(domain) + ":" + string(device)}
}
