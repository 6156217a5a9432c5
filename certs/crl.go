package certs

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"time"

	"github.com/postern-io/postern/registry"
)

// ListLife is how long a revocation list may be relied on by who cannot fetch a
// newer one. The registry has it made anew at half of that, and with every
// revocation.
const ListLife = 24 * time.Hour

// RevocationList signs a CRL of version 2 (RFC 5280 §5) with that number and
// those lines. It is dated a little back, for clocks that run behind ours. The
// Revision of the result is the registry's to say. A line whose serial number is
// no hexadecimal is an error, and so is an issuer whose certificate has no
// subject key identifier or may not sign lists. It is safe for concurrent use.
func (i *Issuer) RevocationList(number int64, lines []registry.Revocation, now time.Time) (registry.RevocationList, error) {
	now = now.UTC().Truncate(time.Second) // as exact as a CRL is
	list := registry.RevocationList{Authority: i.ID, Number: number, ThisUpdate: now.Add(-backdate), NextUpdate: now.Add(ListLife)}
	entries := make([]x509.RevocationListEntry, len(lines))
	for n, l := range lines {
		serial, ok := new(big.Int).SetString(l.Serial, 16)
		if !ok {
			return registry.RevocationList{}, fmt.Errorf("list revocations: serial number %q is not hexadecimal", l.Serial)
		}
		// Unspecified is left out of the list, as RFC 5280 §5.3.1 asks.
		entries[n] = x509.RevocationListEntry{SerialNumber: serial, RevocationTime: l.At, ReasonCode: int(l.Reason)}
	}
	var err error
	list.DER, err = x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(number), ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate, RevokedCertificateEntries: entries,
	}, i.Certificate, i.Key)
	if err != nil {
		return registry.RevocationList{}, fmt.Errorf("sign revocation list %d: %w", number, err)
	}
	return list, nil
}

// SerialText is how the records write a serial number: lower-case hexadecimal
// without leading zeros.
func SerialText(n *big.Int) string { return n.Text(16) }
