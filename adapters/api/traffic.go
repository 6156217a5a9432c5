package api

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/registry"
)

func (s *Server) viewTraffic(ctx context.Context, c *call) (answer, error) {
	var since time.Time
	if text := c.request.URL.Query().Get("since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, text); err != nil {
			return answer{}, &registry.InvalidError{Field: "since", Reason: "must be a time such as 2026-07-01T00:00:00Z"}
		}
	}
	t, err := s.Traffic.Traffic(ctx, c.domain, since)
	if err != nil {
		return answer{}, err
	}
	refused := make([]RefusedFor, 0, len(t.Refused))
	for why, n := range t.Refused {
		refused = append(refused, RefusedFor{Reason: string(why), Total: n})
	}
	slices.SortFunc(refused, func(a, b RefusedFor) int {
		return cmp.Or(b.Total-a.Total, cmp.Compare(a.Reason, b.Reason))
	})
	return ok(Traffic{
		Step: int(adapters.TrafficStep / time.Second), Sessions: t.Sessions, Devices: t.Devices, Partial: t.Partial,
		Points: each(t.Points, pointOf), Refused: refused,
	})
}

func pointOf(p adapters.TrafficPoint) TrafficPoint {
	return TrafficPoint{
		At: p.At(), Sessions: p.Sessions, Devices: p.Devices, Messages: p.Messages, Stored: p.Stored,
		Refused: p.Refused, Revoked: p.Revoked, AckP50Ms: ackOf(p, 0.5), AckP99Ms: ackOf(p, 0.99),
	}
}

func ackOf(p adapters.TrafficPoint, quantile float64) *float64 {
	took, known := p.Ack(quantile)
	if !known {
		return nil
	}
	ms := float64(took.Round(10*time.Microsecond)) / float64(time.Millisecond)
	return &ms
}

func (s *Server) listClientRefusals(ctx context.Context, c *call) (answer, error) {
	d, err := s.Registry.Device(ctx, c.domain, c.client())
	if err != nil {
		return answer{}, err
	}
	all, err := s.Traffic.Refusals(ctx, adapters.RefusalQuery{Domain: c.domain, Device: d.ID})
	if err != nil {
		return answer{}, err
	}
	return refusalsOf(each(all, func(r adapters.Refusal) ClientRefusal { return refusalOf(r, d.Name) }))
}

// listRefusals leaves out those of a device that is gone.
func (s *Server) listRefusals(ctx context.Context, c *call) (answer, error) {
	all, err := s.Traffic.Refusals(ctx, adapters.RefusalQuery{Domain: c.domain, Reason: registry.Reason(c.request.URL.Query().Get("reason"))})
	if err != nil {
		return answer{}, err
	}
	names := map[registry.DeviceID]string{}
	rows := []ClientRefusal{}
	for _, r := range all {
		name, known := names[r.Device]
		if !known {
			switch d, err := s.Registry.Device(ctx, c.domain, r.Device); {
			case errors.Is(err, registry.ErrNotFound):
				continue
			case err != nil:
				return answer{}, err
			default:
				name = d.Name
				names[d.ID] = name
			}
		}
		rows = append(rows, refusalOf(r, name))
	}
	return refusalsOf(rows)
}

func refusalsOf(rows []ClientRefusal) (answer, error) {
	return ok(ClientRefusalPage{Total: len(rows), Limit: len(rows), Refusals: rows})
}

func refusalOf(r adapters.Refusal, name string) ClientRefusal {
	return ClientRefusal{
		ClientID: string(r.Device), ClientName: name, Via: r.Via, Action: ClientRefusalAction(r.Action), Reason: string(r.Reason), Remote: r.Remote,
		Topic: r.Topic, Count: r.Count, FirstAt: r.First, LastAt: r.Last,
	}
}
