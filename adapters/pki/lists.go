package pki

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

// A publication is a revocation list in both encodings. With 100,000 lines the
// PEM alone is 6 MB: it is made once a list, not once a request.
type publication struct {
	number   int64
	made     time.Time
	der, pem *document
}

// list returns the revocation list of an issuer as it is now, in DER or PEM.
func (s *Server) list(ctx context.Context, i *certs.Issuer, asPEM bool) (*document, error) {
	l, err := s.Lists.RevocationList(ctx, i.ID, func(number int64, lines []registry.Revocation) (registry.RevocationList, error) {
		return i.RevocationList(number, lines, s.Now())
	})
	if err != nil {
		return nil, fmt.Errorf("revocation list of authority %s: %w", i.ID, err)
	}
	p := s.publish(l)
	if asPEM {
		return p.pem, nil
	}
	return p.der, nil
}

// publish returns the list encoded. One list of each issuer is kept.
func (s *Server) publish(l registry.RevocationList) *publication {
	s.mu.Lock() // also while it is encoded: others wait for it, and need not do it too
	defer s.mu.Unlock()
	// The time too: a database that was restored counts its numbers again.
	if p := s.published[l.Authority]; p != nil && p.number == l.Number && p.made.Equal(l.ThisUpdate) {
		return p
	}
	etag := fmt.Sprintf("\"%.16s-%d-%x\"", l.Authority, l.Number, l.ThisUpdate.Unix())
	p := &publication{
		number: l.Number, made: l.ThisUpdate,
		der: &document{kind: "application/pkix-crl", etag: etag, made: l.ThisUpdate, body: l.DER},
		pem: &document{kind: "application/x-pem-file", etag: etag, made: l.ThisUpdate, body: encodeList(l.DER)},
	}
	if s.published == nil {
		s.published = map[registry.AuthorityID]*publication{}
	}
	s.published[l.Authority] = p
	return p
}

// lists returns the revocation lists of all issuers and of the roots in PEM.
func (s *Server) lists(ctx context.Context, issuers []*certs.Issuer) (*document, error) {
	var parts [][]byte
	names := sha256.New()
	for _, i := range issuers {
		l, err := s.list(ctx, i, true)
		if err != nil {
			return nil, err
		}
		parts = append(parts, l.body)
		names.Write([]byte(l.etag))
	}
	if s.RootLists != nil {
		for _, raw := range s.RootLists() {
			parts = append(parts, encodeList(raw))
			names.Write(raw)
		}
	}
	etag := `"` + hex.EncodeToString(names.Sum(nil)[:16]) + `"`
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil || s.all.etag != etag {
		s.all = &document{kind: "application/x-pem-file", etag: etag, body: bytes.Join(parts, nil)}
	}
	return s.all, nil
}

func encodeList(raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: raw})
}

// present is the issuer that signs now.
func present(issuers []*certs.Issuer) *certs.Issuer {
	for _, i := range issuers {
		if !i.Retired {
			return i
		}
	}
	return issuers[0]
}

// roots are those of all issuers, each once.
func roots(issuers []*certs.Issuer) []*x509.Certificate {
	var all []*x509.Certificate
	for _, i := range issuers {
		if !slices.ContainsFunc(all, i.Root.Equal) {
			all = append(all, i.Root)
		}
	}
	return all
}

// chain is what a certificate of ours needs to be verified: the issuers, then
// the roots. The roots come last, so that a server may send the front of it.
func chain(issuers []*certs.Issuer) []*x509.Certificate {
	var all []*x509.Certificate
	for _, i := range issuers {
		if !i.Certificate.Equal(i.Root) {
			all = append(all, i.Certificate)
		}
	}
	return append(all, roots(issuers)...)
}

func certificates(all []*x509.Certificate) *document {
	return named("application/pem-certificate-chain", certs.EncodePEM(all...))
}

func certificate(c *x509.Certificate) *document { return named("application/pkix-cert", c.Raw) }

// named is a document that goes by its content.
func named(kind string, body []byte) *document {
	sum := sha256.Sum256(body)
	return &document{kind: kind, etag: `"` + hex.EncodeToString(sum[:16]) + `"`, body: body}
}
