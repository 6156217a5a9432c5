package api

import (
	"context"
	"time"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

// issueCertificate signs a certificate for a device of the domain. A domain that
// is frozen, or a device that is disabled, gets none.
func (s *Server) issueCertificate(ctx context.Context, c *call) (answer, error) {
	var in CertificateRequest
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	d, err := s.Registry.Device(ctx, c.domain, c.client())
	if err != nil {
		return answer{}, err
	}
	domain, err := s.Registry.Domain(ctx, c.domain)
	if err != nil {
		return answer{}, err
	}
	if domain.Status == registry.Frozen {
		return answer{}, registry.ErrFrozen
	}
	if d.Status != registry.Enabled {
		return answer{}, &registry.InvalidError{Field: "client", Reason: "must be enabled to be given a certificate"}
	}
	leaf, err := s.Certs.IssueDevice(d, []byte(in.Csr))
	if err != nil {
		return answer{}, err
	}
	return created(Certificate{
		Certificate: string(certs.EncodePEM(leaf)), Ca: string(certs.EncodePEM(s.Certs.Chain()...)),
		SerialNumber: leaf.SerialNumber.Text(16), ExpiresAt: leaf.NotAfter.UTC().Truncate(time.Second),
	}, "")
}

// setUp makes the first owner.
func (s *Server) setUp(ctx context.Context, c *call) (answer, error) {
	var in SetUp
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	u, err := s.SetUp.Complete(ctx, in.Token, authn.NewUser{
		Username: in.Credentials.Username, Email: in.Email, Password: in.Credentials.Secret,
		FirstName: in.FirstName, LastName: in.LastName,
	})
	if err != nil {
		return answer{}, err
	}
	return created(userOf(u), "/users/"+string(u.ID))
}
