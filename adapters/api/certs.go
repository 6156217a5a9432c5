package api

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"time"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

// issueCertificate signs a certificate for a device of the domain, and makes its
// key when the caller has none. A domain that is frozen, or a device that is
// disabled, gets none.
func (s *Server) issueCertificate(ctx context.Context, c *call) (answer, error) {
	var in CertificateRequest
	if err := c.optionalBody(&in); err != nil {
		return answer{}, err
	}
	request, err := certs.ParseRequest([]byte(in.Csr))
	var made *certs.MadeKey
	switch {
	case in.Csr == "" && in.Password != "":
		err = certs.CheckPassword(in.Password)
	case in.Csr == "":
		err = nil
	case in.Password != "":
		err = &registry.InvalidError{Field: "password", Reason: "is for a key that is made here; with a signing request the key stays where it is"}
	}
	if err == nil && in.Csr == "" {
		made, request, err = certs.MakeKey()
	}
	if err != nil {
		return answer{}, err
	}
	var issued registry.Certificate
	if in.Secret != "" {
		secret := registry.SecretOf(in.Secret)
		issued, err = s.Registry.IssueSecretCertificate(ctx, c.by(), c.domain, c.client(), secret, func(registry.Device) (registry.Certificate, error) {
			return s.Certs.IssueForSecret(secret, request)
		})
	} else {
		issued, err = s.Registry.IssueCertificate(ctx, c.by(), c.domain, c.client(), request.Fingerprint, func(d registry.Device) (registry.Certificate, error) {
			return s.Certs.IssueDevice(d, request)
		})
	}
	if err != nil {
		return answer{}, err
	}
	out, err := s.certificateOf(issued)
	if err == nil && made != nil {
		err = s.showKey(&out, issued, made, in.Password)
	}
	if err != nil {
		return answer{}, err
	}
	return created(out, "/"+string(c.domain)+"/certs/"+out.ID)
}

// showKey adds a key that was made here, in the form asked for.
func (s *Server) showKey(out *Certificate, issued registry.Certificate, made *certs.MadeKey, password string) (err error) {
	if password == "" {
		out.PrivateKey, err = made.PEM()
		return err
	}
	chain, err := s.Certs.Chain(issued)
	if err != nil {
		return err
	}
	file, err := made.PKCS12(append(chain, s.Certs.Root()), password)
	out.Pkcs12 = base64.StdEncoding.EncodeToString(file)
	return err
}

func (s *Server) listCertificates(ctx context.Context, c *call) (answer, error) {
	page, err := c.page()
	if err != nil {
		return answer{}, err
	}
	v := c.request.URL.Query()
	q := registry.CertificateQuery{
		Domain: c.domain, Device: registry.DeviceID(v.Get("client")), Status: v.Get("status"), Offset: page.Offset, Limit: page.Limit,
	}
	if id := v.Get("id"); id != "" {
		fingerprint, err := registry.ParseFingerprint(id)
		if err != nil {
			return answer{}, err
		}
		q.ID = registry.CertificateID(fingerprint)
	}
	if before := v.Get("expires_before"); before != "" {
		if q.Before, err = time.Parse(time.RFC3339, before); err != nil {
			return answer{}, &registry.InvalidError{Field: "expires_before", Reason: "must be a time such as 2026-01-31T00:00:00Z"}
		}
	}
	list, err := s.Registry.Certificates(ctx, q)
	if err != nil {
		return answer{}, err
	}
	out := CertificatePage{Total: list.Total, Offset: q.Offset, Limit: q.Limit, Certs: make([]Certificate, len(list.Items))}
	for i, item := range list.Items {
		if out.Certs[i], err = s.certificateOf(item); err != nil {
			return answer{}, err
		}
	}
	return ok(out)
}

func (s *Server) viewCertificate(ctx context.Context, c *call) (answer, error) {
	return s.certificate(s.Registry.Certificate(ctx, c.domain, c.certificate()))
}

func (s *Server) revokeCertificate(ctx context.Context, c *call) (answer, error) {
	var in Revocation
	if err := c.optionalBody(&in); err != nil {
		return answer{}, err
	}
	reason, err := registry.ParseRevocationReason(string(in.Reason))
	if err != nil {
		return answer{}, err
	}
	return s.certificate(s.Registry.RevokeCertificate(ctx, c.domain, c.certificate(), reason))
}

func (s *Server) releaseCertificate(ctx context.Context, c *call) (answer, error) {
	return s.certificate(s.Registry.ReleaseCertificate(ctx, c.domain, c.certificate()))
}

// certificate is the certificate of the path; "", which nothing has, when it is
// no fingerprint.
func (c *call) certificate() registry.CertificateID {
	id, err := registry.ParseFingerprint(c.request.PathValue("certificate"))
	if err != nil {
		return ""
	}
	return registry.CertificateID(id)
}

func (s *Server) certificate(c registry.Certificate, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	out, err := s.certificateOf(c)
	if err != nil {
		return answer{}, err
	}
	return ok(out)
}

func (s *Server) certificateOf(c registry.Certificate) (Certificate, error) {
	var chain []*x509.Certificate // none of a certificate whose name is a secret, but when it is issued
	if len(c.DER) > 0 {
		var err error
		if chain, err = s.Certs.Chain(c); err != nil {
			return Certificate{}, err
		}
	}
	out := Certificate{
		ID: string(c.ID), ClientID: string(c.Device), SerialNumber: c.Serial, Subject: c.Subject, KeyType: c.Key,
		NotBefore: c.NotBefore, ExpiresAt: c.NotAfter, Status: CertificateStatus(c.Status(s.Registry.Now())),
		CreatedAt: c.CreatedAt, CreatedBy: string(c.CreatedBy), LastUsed: unlessZero(c.LastUsed), RevokedAt: unlessZero(c.RevokedAt),
		Certificate: string(certs.EncodePEM(chain...)), Ca: string(certs.EncodePEM(s.Certs.Root())),
	}
	if out.RevokedAt != nil {
		out.Reason = c.Reason.String()
	}
	return out, nil
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
