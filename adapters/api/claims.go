package api

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

func (s *Server) createClaims(ctx context.Context, c *call) (answer, error) {
	var in NewClaims
	if err := c.optionalBody(&in); err != nil {
		return answer{}, err
	}
	n := 1
	if in.Count != nil {
		n = *in.Count
	}
	claim := registry.Claim{Device: registry.DeviceID(in.ClientID), Name: in.Name, Tags: in.Tags, Metadata: registry.Metadata(in.Metadata), Expires: in.ExpiresAt}
	for _, channel := range in.Channels {
		rights, err := rightsOf(channel.Types)
		if err != nil {
			return answer{}, err
		}
		claim.Rights = append(claim.Rights, registry.ClaimRights{Channel: registry.ChannelID(channel.ChannelID), Rights: rights})
	}
	made, err := s.Registry.CreateClaims(ctx, c.by(), c.domain, n, claim)
	if err != nil {
		return answer{}, err
	}
	if c.object = made[0].Batch; n == 1 {
		c.object = string(made[0].ID)
	}
	return answer{status: http.StatusCreated, body: ClaimPage{Total: n, Limit: n, Claims: each(made, func(m registry.NewClaim) Claim {
		out := s.claimOf(m.Claim)
		out.Token = m.Token.Reveal()
		return out
	})}}, nil
}

func (s *Server) listClaims(ctx context.Context, c *call) (answer, error) {
	page, err := c.page()
	if err != nil {
		return answer{}, err
	}
	list, err := s.Registry.Claims(ctx, registry.ClaimQuery{
		Domain: c.domain, Status: c.request.URL.Query().Get("status"), Offset: page.Offset, Limit: page.Limit,
	})
	if err != nil {
		return answer{}, err
	}
	return ok(ClaimPage{Total: list.Total, Offset: page.Offset, Limit: page.Limit, Claims: each(list.Items, s.claimOf)})
}

func (s *Server) deleteClaim(ctx context.Context, c *call) (answer, error) {
	return done(s.Registry.DeleteClaim(ctx, c.domain, registry.ClaimID(c.pathID("claim"))))
}

// claim makes whoever holds a token a device.
func (s *Server) claim(ctx context.Context, c *call) (answer, error) {
	var in ClaimUse
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	use := registry.ClaimUse{Token: registry.SecretOf(in.Token)}
	if in.Csr != "" {
		request, err := certs.ParseRequest([]byte(in.Csr))
		if err != nil {
			return answer{}, err
		}
		use.Request = request.Fingerprint
		use.Sign = func(d registry.Device) (registry.Certificate, error) { return s.Certs.IssueDevice(d, request) }
	}
	from, err := netip.ParseAddr(c.from)
	if err != nil {
		from = netip.Addr{} // all of these are one source
	}
	got, err := s.Claims.Use(ctx, from, use)
	if err != nil {
		return answer{}, err
	}
	c.domain, c.object = got.Device.Domain, string(got.Device.ID)
	out := Claimed{ClientID: string(got.Device.ID), DomainID: string(got.Device.Domain), Secret: got.Secret.Reveal()}
	if got.Certificate.ID != "" {
		shown, err := s.certificateOf(got.Certificate)
		if err != nil {
			return answer{}, err
		}
		out.Certificate = &shown
	}
	return answer{status: http.StatusCreated, body: out}, nil
}

func (s *Server) claimOf(c registry.Claim) Claim {
	out := Claim{
		ID: string(c.ID), Status: ClaimStatus(c.Status(s.Registry.Now())), ClientID: string(c.Device), Name: c.Name,
		Tags: c.Tags, Metadata: Metadata(c.Metadata), ExpiresAt: c.Expires, CreatedAt: c.CreatedAt, CreatedBy: string(c.CreatedBy),
		UsedAt: unlessZero(c.UsedAt),
		Channels: each(c.Rights, func(r registry.ClaimRights) ClaimChannel {
			return ClaimChannel{ChannelID: string(r.Channel), Types: r.Rights.Names()}
		}),
	}
	if out.Tags == nil {
		out.Tags = Tags{}
	}
	return out
}
