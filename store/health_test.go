package store_test

import (
	"testing"
	"time"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// TestHealth makes devices in each state that health looks for, beside one that
// is as it should be in each way.
func TestHealth(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		now := noon
		r.Now = func() time.Time { return now }
		sign := authority(t, r, "a")
		home, away := newDomain(t, r, "home"), newDomain(t, r, "away")
		serial := 0
		issue := func(d registry.Device, ends time.Duration) registry.CertificateID {
			t.Helper()
			serial++
			number := string(rune('a' + serial))
			return must[registry.Certificate](t)(r.IssueCertificate(ctx, "", d.Domain, d.ID, number, sign(number, now.Add(ends)))).ID
		}
		use := func(secret registry.SecretID) {
			t.Helper()
			if err := s.TouchSecret(ctx, []registry.SecretID{secret}, now); err != nil {
				t.Fatal(err)
			}
		}
		secrets := func(d registry.Device) []registry.DeviceSecret {
			return must[[]registry.DeviceSecret](t)(s.DeviceSecrets(ctx, d.ID))
		}
		const day = 24 * time.Hour

		// A year ago: secrets that nobody rotated since, and the others below.
		now = noon.Add(-registry.SecretAge - day)
		old := newDevice(t, r, home.ID)
		now = noon.Add(-10 * day)
		ending, renewed, unused, disabled, shared, elsewhere := newDevice(t, r, home.ID), newDevice(t, r, home.ID), newDevice(t, r, home.ID), newDevice(t, r, home.ID), newDevice(t, r, home.ID), newDevice(t, r, away.ID)
		inTime, twoEnding := newDevice(t, r, home.ID), newDevice(t, r, home.ID)
		idle, waiting, busy := newDevice(t, r, home.ID), newDevice(t, r, home.ID), newDevice(t, r, home.ID)
		want := map[registry.HealthKind][]registry.Finding{}
		found := func(kind registry.HealthKind, d registry.Device, f registry.Finding) {
			f.Kind, f.Domain, f.Device, f.Name = kind, d.Domain, d.ID, d.Name
			want[kind] = append(want[kind], f)
		}
		used := []registry.CertificateID{}
		before, after := issue(twoEnding, 11*day), issue(twoEnding, 12*day)
		found(registry.CertificateEnds, twoEnding, registry.Finding{Certificate: after, At: now.Add(12 * day)})
		soon := issue(ending, 13*day)
		found(registry.CertificateEnds, ending, registry.Finding{Certificate: soon, At: now.Add(13 * day)})
		first := issue(renewed, 13*day)
		midway := issue(inTime, 20*day) // half of its life is before it
		never := issue(unused, 60*day)
		found(registry.CertificateUnused, unused, registry.Finding{Certificate: never, At: now})
		kept := issue(disabled, 60*day)
		found(registry.CertificateOfDisabled, disabled, registry.Finding{Certificate: kept, At: now.Add(60 * day)})
		twice := issue(shared, 60*day)
		issue(elsewhere, 13*day)
		gone := issue(shared, 13*day) // revoked below: nothing is the matter with it
		for _, d := range []registry.Device{idle, waiting, busy} {
			use(secrets(d)[0].ID)
			must[registry.NewDevice](t)(r.RotateSecret(ctx, "", home.ID, d.ID, registry.Secret{}, 30*day))
		}

		now = noon.Add(-2 * day)
		for _, d := range []registry.Device{idle, busy} {
			use(secrets(d)[0].ID) // the newest comes first
		}

		now = noon
		use(secrets(busy)[1].ID)
		last := secrets(idle)[1]
		found(registry.SecretIdle, idle, registry.Finding{Secret: last.ID, At: noon.Add(-10 * day)})
		found(registry.SecretNotTaken, waiting, registry.Finding{Secret: secrets(waiting)[1].ID, At: noon.Add(20 * day)})
		found(registry.SecretOld, old, registry.Finding{Secret: secrets(old)[0].ID, At: noon.Add(-registry.SecretAge - day)})
		used = append(used, soon, first, midway, before, after, kept, twice, issue(renewed, 60*day))
		if err := s.TouchCertificates(ctx, used, now); err != nil {
			t.Fatal(err)
		}
		must[registry.Certificate](t)(r.RevokeCertificate(ctx, home.ID, gone, registry.Superseded))
		must[registry.Device](t)(r.UpdateDevice(ctx, "", home.ID, disabled.ID, func(d *registry.Device) error { d.Status = registry.Disabled; return nil }))
		for _, at := range []time.Time{noon.Add(-time.Hour), noon.Add(-2 * time.Hour)} { // the later stays
			if err := s.MarkShared(ctx, []registry.CertificateID{twice, "of another authority"}, at); err != nil {
				t.Fatal(err)
			}
		}
		found(registry.CertificateShared, shared, registry.Finding{Certificate: twice, At: noon.Add(-time.Hour)})

		counts := must[map[registry.HealthKind]int](t)(r.Health(ctx, home.ID))
		for _, kind := range registry.HealthKinds() {
			got := must[registry.List[registry.Finding]](t)(r.Findings(ctx, registry.HealthQuery{Domain: home.ID, Kind: kind, Limit: 10}))
			if got.Total != len(want[kind]) || counts[kind] != got.Total {
				t.Errorf("%s: %d found, %d counted, want %d: %+v", kind, got.Total, counts[kind], len(want[kind]), got.Items)
				continue
			}
			same(t, got.Items, want[kind])
		}
		if all := must[map[registry.HealthKind]int](t)(s.Health(ctx, "", noon)); all[registry.CertificateEnds] != 3 {
			t.Errorf("in all domains %d certificates end, want 3", all[registry.CertificateEnds])
		}
		for _, q := range []registry.HealthQuery{{Domain: home.ID, Kind: "weather", Limit: 10}, {Domain: home.ID, Kind: registry.SecretOld}} {
			if _, err := r.Findings(ctx, q); err == nil {
				t.Errorf("%+v was answered", q)
			}
		}
	})
}
