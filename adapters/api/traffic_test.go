package api

import (
	"testing"

	"github.com/postern-io/postern/registry"
)

func TestTraffic(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := "/" + string(s.domain.ID)
	all := decode[Traffic](t, s.do("GET", d+"/traffic", s.viewer, nil))
	if all.Step != 5 || all.Sessions != 2 || all.Devices != 1 || len(all.Points) != 2 || all.Partial {
		t.Errorf("got %+v", all)
	}
	if p := all.Points[0]; p.Messages != 32 || p.Stored != 30 || p.Refused != 4 || p.Revoked != 1 || p.AckP50Ms == nil || *p.AckP50Ms <= 0 || *p.AckP99Ms < *p.AckP50Ms {
		t.Errorf("got %+v", p)
	}
	if p := all.Points[1]; p.AckP50Ms != nil || p.AckP99Ms != nil {
		t.Errorf("a step without messages has latencies: %+v", p)
	}
	if r := all.Refused; len(r) != 2 || r[0] != (RefusedFor{Reason: string(registry.ReasonWrongSecret), Total: 3}) {
		t.Errorf("the most frequent reason is not the first: %+v", r)
	}
	some := decode[Traffic](t, s.do("GET", d+"/traffic?since="+all.Points[0].At.Format("2006-01-02T15:04:05Z07:00"), s.viewer, nil))
	if len(some.Points) != 1 || !some.Points[0].At.Equal(all.Points[1].At) {
		t.Errorf("since the first: %+v", some.Points)
	}
}

func TestClientRefusals(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := "/" + string(s.domain.ID)
	for _, path := range []string{d + "/clients/" + string(s.client.ID) + "/refusals", d + "/refusals", d + "/refusals?reason=right_missing"} {
		all := decode[ClientRefusalPage](t, s.do("GET", path, s.viewer, nil))
		if all.Total != 1 || len(all.Refusals) != 1 {
			t.Fatalf("%s: got %+v", path, all)
		}
		if r := all.Refusals[0]; r.ClientID != string(s.client.ID) || r.ClientName != s.client.Name || r.Topic != "m/<script>" || r.Count != 7 || r.Action != "publish" || r.Reason != string(registry.ReasonRightMissing) || !r.LastAt.After(r.FirstAt) {
			t.Errorf("%s: got %+v", path, r)
		}
	}
	if all := decode[ClientRefusalPage](t, s.do("GET", d+"/refusals?reason=wrong_secret", s.viewer, nil)); all.Total != 0 || all.Refusals == nil {
		t.Errorf("for another reason: %+v", all)
	}
	// The same question about a device that is gone.
	if err := s.api.Registry.DeleteDevice(t.Context(), s.domain.ID, s.client.ID); err != nil {
		t.Fatal(err)
	}
	if all := decode[ClientRefusalPage](t, s.do("GET", d+"/refusals", s.viewer, nil)); all.Total != 0 {
		t.Errorf("of a device that is gone: %+v", all)
	}
}
