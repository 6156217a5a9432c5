package api

import (
	"context"

	"github.com/postern-io/postern/registry"
)

func (s *Server) viewHealth(ctx context.Context, c *call) (answer, error) {
	var out Health
	page, err := c.page()
	if err != nil {
		return answer{}, err
	}
	if kind := c.request.URL.Query().Get("kind"); kind != "" {
		list, err := s.Registry.Findings(ctx, registry.HealthQuery{Domain: c.domain, Kind: registry.HealthKind(kind), Offset: page.Offset, Limit: page.Limit})
		if err != nil {
			return answer{}, err
		}
		out.Total, out.Offset, out.Limit = list.Total, page.Offset, page.Limit
		out.Findings = make([]Finding, len(list.Items))
		for i, f := range list.Items {
			out.Findings[i] = Finding{ClientID: string(f.Device), Name: f.Name, CertificateID: string(f.Certificate), SecretID: string(f.Secret), At: f.At}
		}
	}
	counts, err := s.Registry.Health(ctx, c.domain)
	if err != nil {
		return answer{}, err
	}
	for _, kind := range registry.HealthKinds() {
		out.Kinds = append(out.Kinds, HealthOfKind{Kind: HealthKind(kind), Total: counts[kind], Advice: kind.Advice()})
	}
	return ok(out)
}
