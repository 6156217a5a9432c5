package authn

import (
	"crypto/x509"
	"encoding/asn1"
	"net/netip"
	"strings"

	"github.com/postern-io/postern/registry"
)

// A Credential is everything that was shown at a door by one device. The door
// fills it in with ShowDeviceID, ShowSecret and the certificate of the TLS
// connection; it decides nothing. Of several pieces of evidence none overrides
// another: Devices refuses them unless all name the same device.
type Credential struct {
	DeviceID string              // claimed id; "" when none was shown
	Secret   registry.Secret     // zero when none was shown
	Chain    []*x509.Certificate // shown in the TLS handshake, the device's own first; empty when none was
	Via      string              // the door: "mqtt", "http", "ws"
	Remote   netip.Addr          // where it came from, for limits and the log

	conflict bool
}

// ShowDeviceID adds a claimed device id. The empty string says nothing.
func (c *Credential) ShowDeviceID(id string) {
	switch {
	case id == "":
	case c.DeviceID == "":
		c.DeviceID = id
	case c.DeviceID != id:
		c.conflict = true
	}
}

// ShowSecret adds a secret. The empty string says nothing.
func (c *Credential) ShowSecret(text string) {
	s := registry.SecretOf(text)
	switch {
	case s.IsZero():
	case c.Secret.IsZero():
		c.Secret = s
	case !c.Secret.Equal(s):
		c.conflict = true
	}
}

// ShowConflict marks evidence that contradicts itself in a way that only the
// door can see, such as two Authorization headers.
func (c *Credential) ShowConflict() { c.conflict = true }

// Conflicts reports whether the evidence contradicts itself, for a door that asks
// others than Devices.
func (c *Credential) Conflicts() bool { return c.conflict }

var oidCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// commonName returns the one common name of a certificate. Subject.CommonName
// would silently be the last of several, so we count them ourselves.
func commonName(cert *x509.Certificate) (name string, count int) {
	for _, attr := range cert.Subject.Names {
		if !attr.Type.Equal(oidCommonName) {
			continue
		}
		count++
		name, _ = attr.Value.(string)
	}
	return name, count
}

// urnNames returns the devices that a certificate names with a subject
// alternative name of the form urn:postern:<domain>:<device>.
func urnNames(cert *x509.Certificate) []urn {
	var names []urn
	for _, u := range cert.URIs {
		rest, ok := strings.CutPrefix(u.Opaque, "postern:")
		if !strings.EqualFold(u.Scheme, "urn") || !ok {
			continue
		}
		domain, device, _ := strings.Cut(rest, ":")
		names = append(names, urn{registry.DomainID(domain), device})
	}
	return names
}

type urn struct {
	domain registry.DomainID
	device string
}
