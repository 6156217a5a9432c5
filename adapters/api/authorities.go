package api

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

// importAuthority keeps an authority of somebody else. It vouches for nobody
// until its possession is proved.
func (s *Server) importAuthority(ctx context.Context, c *call) (answer, error) {
	var in NewAuthority
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	a, err := s.Imports.Authority([]byte(in.Certificate))
	if err != nil {
		return answer{}, err
	}
	a.Source, a.StaleList = registry.NameSource(in.Source), registry.StalePolicy(in.StaleList)
	if in.Name != "" {
		a.Name = in.Name
	}
	if a.LongestLife, err = lifeFrom(in.LongestLife); err != nil {
		return answer{}, err
	}
	if a.Arrival, err = arrivalFrom(in.Arrival); err != nil {
		return answer{}, err
	}
	if a.ListURL, err = s.listURL(ctx, c, in.CrlURL); err != nil {
		return answer{}, err
	}
	a, err = s.Registry.ImportAuthority(ctx, c.by(), c.domain, a)
	if err != nil {
		return answer{}, err
	}
	out, err := s.authorityOf(ctx, a)
	if err != nil {
		return answer{}, err
	}
	return created(out, "/"+string(c.domain)+"/authorities/"+out.ID)
}

// listURL lets only an administrator of the platform say where the server
// fetches something: it stands where others may not reach.
func (s *Server) listURL(ctx context.Context, c *call, url string) (string, error) {
	if url == "" {
		return "", nil
	}
	return url, s.People.Allow(ctx, c.person.User, authz.AuthorityOverride, "")
}

func lifeFrom(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	life, err := time.ParseDuration(text)
	if err != nil {
		return 0, &registry.InvalidError{Field: "longest_life", Reason: "must be a duration such as 2160h"}
	}
	return life, nil
}

func arrivalFrom(in Arrival) (out registry.Arrival, err error) {
	out = registry.Arrival{Register: in.Register, MaxPending: in.MaxPending, Approve: in.Approve, Tags: in.Tags}
	for _, g := range in.Channels {
		grant := registry.ChannelGrant{}
		id, err := registry.ParseID(g.ChannelID)
		if err != nil {
			return out, &registry.InvalidError{Field: "channels", Reason: "must be channels of the domain"}
		}
		grant.Channel = registry.ChannelID(id)
		if grant.Rights, err = rightsOf(g.Types); err != nil {
			return out, err
		}
		out.Grants = append(out.Grants, grant)
	}
	return out, nil
}

func (s *Server) listAuthorities(ctx context.Context, c *call) (answer, error) {
	all, err := s.Registry.ImportedAuthorities(ctx, c.domain)
	if err != nil {
		return answer{}, err
	}
	out := AuthorityPage{Total: len(all), Authorities: make([]Authority, len(all))}
	for i, a := range all {
		if out.Authorities[i], err = s.authorityOf(ctx, a); err != nil {
			return answer{}, err
		}
	}
	return ok(out)
}

func (s *Server) viewAuthority(ctx context.Context, c *call) (answer, error) {
	a, err := s.Registry.ImportedAuthority(ctx, c.domain, c.authority())
	return s.authority(ctx, a, err)
}

func (s *Server) updateAuthority(ctx context.Context, c *call) (answer, error) {
	var in AuthorityPatch
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	a, err := s.Registry.UpdateImported(ctx, c.by(), c.domain, c.authority(), func(a *registry.ImportedAuthority) (err error) {
		if in.Name != nil {
			a.Name = *in.Name
		}
		if in.StaleList != nil {
			a.StaleList = registry.StalePolicy(*in.StaleList)
		}
		if in.LongestLife != nil {
			a.LongestLife, err = lifeFrom(*in.LongestLife)
		}
		if err == nil && in.Arrival != nil {
			a.Arrival, err = arrivalFrom(*in.Arrival)
		}
		if err == nil && in.CrlURL != nil && *in.CrlURL != a.ListURL {
			a.ListURL, err = s.listURL(ctx, c, *in.CrlURL)
		}
		return err
	})
	return s.authority(ctx, a, err)
}

func (s *Server) deleteAuthority(ctx context.Context, c *call) (answer, error) {
	return done(s.Registry.DeleteImported(ctx, c.domain, c.authority()))
}

func (s *Server) proveAuthority(ctx context.Context, c *call) (answer, error) {
	var in AuthorityProof
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	a, err := s.Registry.ProveAuthority(ctx, c.by(), c.domain, c.authority(), func(a registry.ImportedAuthority) error {
		return s.Imports.Proof(a, []byte(in.Certificate))
	})
	return s.authority(ctx, a, err)
}

// overrideProof lets an authority vouch on the word of an administrator of the
// platform, which stays with it and in the audit trail.
func (s *Server) overrideProof(ctx context.Context, c *call) (answer, error) {
	var in ProofOverride
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	a, err := s.Registry.OverrideProof(ctx, c.by(), c.domain, c.authority(), in.Reason)
	if err == nil {
		c.details = registry.Metadata{"reason": in.Reason}
	}
	return s.authority(ctx, a, err)
}

func (s *Server) enableAuthority(ctx context.Context, c *call) (answer, error) {
	a, err := s.Registry.EnableAuthority(ctx, c.by(), c.domain, c.authority())
	return s.authority(ctx, a, err)
}

func (s *Server) disableAuthority(ctx context.Context, c *call) (answer, error) {
	a, err := s.Registry.DisableAuthority(ctx, c.by(), c.domain, c.authority())
	return s.authority(ctx, a, err)
}

// putList takes the CRL of an authority, in force at once on every node.
func (s *Server) putList(ctx context.Context, c *call) (answer, error) {
	var in RevocationList
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	a, err := s.Registry.ImportedAuthority(ctx, c.domain, c.authority())
	if err != nil {
		return answer{}, err
	}
	l, err := s.Imports.List(a, []byte(in.Crl))
	if err == nil {
		_, err = s.Registry.PutForeignList(ctx, c.domain, l)
	}
	return s.authority(ctx, a, err)
}

func (s *Server) listPrincipals(ctx context.Context, c *call) (answer, error) {
	q, err := c.page()
	if err != nil {
		return answer{}, err
	}
	q.Descending = false
	q.Device = registry.DeviceID(c.request.URL.Query().Get("client"))
	list, err := s.Registry.Principals(ctx, c.domain, c.authority(), q)
	if err != nil {
		return answer{}, err
	}
	return ok(PrincipalPage{Total: list.Total, Offset: q.Offset, Limit: q.Limit, Principals: each(list.Items, principalOf)})
}

func (s *Server) bindPrincipal(ctx context.Context, c *call) (answer, error) {
	var in NewPrincipal
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	id, err := registry.ParseID(in.ClientID)
	if err != nil {
		return answer{}, &registry.InvalidError{Field: "client_id", Reason: "must be an id"}
	}
	p, err := s.Registry.Bind(ctx, c.domain, c.authority(), in.Name, registry.DeviceID(id))
	if err != nil {
		return answer{}, err
	}
	c.object = string(p.Device)
	return answer{status: 201, body: principalOf(p)}, nil
}

func (s *Server) unbindPrincipal(ctx context.Context, c *call) (answer, error) {
	return done(s.Registry.Unbind(ctx, c.domain, c.authority(), c.request.PathValue("principal")))
}

func principalOf(p registry.Principal) Principal {
	return Principal{Name: p.Name, ClientID: string(p.Device), CreatedAt: p.CreatedAt}
}

// authority is the imported authority of the path; "", which nothing has, when
// it is no fingerprint. It is what the audit event is about.
func (c *call) authority() registry.AuthorityID {
	id, err := registry.ParseFingerprint(c.request.PathValue("authority"))
	if err != nil {
		return ""
	}
	c.object = id
	return registry.AuthorityID(id)
}

func (s *Server) authority(ctx context.Context, a registry.ImportedAuthority, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	out, err := s.authorityOf(ctx, a)
	if err != nil {
		return answer{}, err
	}
	return ok(out)
}

func (s *Server) authorityOf(ctx context.Context, a registry.ImportedAuthority) (Authority, error) {
	ca, err := x509.ParseCertificate(a.DER)
	if err != nil {
		return Authority{}, fmt.Errorf("read authority %s: %w", a.ID, err)
	}
	out := Authority{
		ID: string(a.ID), Name: a.Name, Status: AuthorityStatus(a.Status), Source: NameSource(a.Source), Subject: ca.Subject.String(),
		NotBefore: ca.NotBefore, ExpiresAt: ca.NotAfter, Certificate: string(certs.EncodePEM(ca)),
		CrlURL: a.ListURL, StaleList: StalePolicy(a.StaleList), Arrival: arrivalOf(a.Arrival),
		CreatedAt: a.CreatedAt, CreatedBy: string(a.CreatedBy), UpdatedAt: a.UpdatedAt, UpdatedBy: string(a.UpdatedBy),
		OverrideBy: string(a.OverrideBy), OverrideReason: a.OverrideWhy, ProvedAt: unlessZero(a.ProvedAt),
	}
	if a.LongestLife > 0 {
		out.LongestLife = a.LongestLife.String()
	}
	if a.Status == registry.ImportUnproved {
		out.Nonce = a.Nonce
	}
	l, err := s.Registry.ForeignList(ctx, a.Domain, a.ID)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return out, nil
	case err != nil:
		return Authority{}, err
	}
	out.Crl = &ListState{Number: l.Number, ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate, Lines: l.Lines, FetchedAt: l.FetchedAt,
		Stale: !s.Registry.Now().Before(l.NextUpdate)}
	return out, nil
}

func arrivalOf(v registry.Arrival) Arrival {
	return Arrival{Register: v.Register, MaxPending: v.MaxPending, Approve: v.Approve, Tags: v.Tags, Channels: each(v.Grants, func(g registry.ChannelGrant) ChannelGrant {
		return ChannelGrant{ChannelID: string(g.Channel), Types: g.Rights.Names()}
	})}
}
