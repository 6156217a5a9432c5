package api

import (
	"testing"
	"time"

	"github.com/postern-io/postern/registry"
)

// TestHealth reads what an operator is told of one device in a domain.
func TestHealth(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := "/" + string(s.domain.ID)
	certificate := s.certificate()
	if err := s.store.MarkShared(t.Context(), []registry.CertificateID{registry.CertificateID(certificate)}, time.Now()); err != nil {
		t.Fatal(err)
	}
	all := decode[Health](t, s.do("GET", d+"/health", s.viewer, nil))
	if len(all.Kinds) != len(registry.HealthKinds()) || all.Findings != nil {
		t.Errorf("got %+v", all)
	}
	for _, k := range all.Kinds {
		if want := map[HealthKind]int{"certificate_shared": 1}[k.Kind]; k.Total != want || k.Advice == "" || !k.Kind.Valid() {
			t.Errorf("got %+v, want %d", k, want)
		}
	}
	one := decode[Health](t, s.do("GET", d+"/health?kind=certificate_shared", s.viewer, nil))
	if one.Total != 1 || len(one.Findings) != 1 || one.Findings[0].CertificateID != certificate || one.Findings[0].ClientID == "" || one.Findings[0].At.IsZero() {
		t.Errorf("got %+v", one)
	}
	if w := s.do("GET", d+"/health?kind=weather", s.viewer, nil); w.Code != 400 {
		t.Errorf("an unknown kind: %d", w.Code)
	}
}
