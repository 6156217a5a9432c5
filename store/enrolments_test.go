package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

func setStatus(t *testing.T, r *registry.Registry, domain registry.DomainID, device registry.DeviceID, status registry.Status) {
	t.Helper()
	var err error
	if device == "" {
		_, err = r.UpdateDomain(t.Context(), "", domain, func(d *registry.Domain) error { d.Status = status; return nil })
	} else {
		_, err = r.UpdateDevice(t.Context(), "", domain, device, func(d *registry.Device) error { d.Status = status; return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestEnrolling(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		home, away := newDomain(t, r, "home"), newDomain(t, r, "away")
		d := newDevice(t, r, home.ID)
		sign := authority(t, r, "a")
		soon := noon.Add(time.Hour)
		enrol := func(serial, request string) (registry.Certificate, error) {
			return r.EnrolDevice(ctx, home.ID, d.ID, request, sign(serial, soon))
		}
		renew := func(old registry.CertificateID, serial, request string) (registry.Certificate, error) {
			return r.RenewCertificate(ctx, home.ID, d.ID, old, request, sign(serial, soon))
		}
		first := must[registry.Certificate](t)(enrol("1", "one"))
		if again := must[registry.Certificate](t)(enrol("2", "one")); again.ID != first.ID || first.CreatedBy != "" || first.Replaces != "" {
			t.Errorf("first %+v, again %s", first, again.ID)
		}

		second := must[registry.Certificate](t)(renew(first.ID, "3", "one")) // a program that keeps its request
		if second.ID == first.ID || second.Replaces != first.ID {
			t.Errorf("renewed: %+v", second)
		}
		same(t, must[registry.Certificate](t)(s.Certificate(ctx, second.ID)), second)
		if again := must[registry.Certificate](t)(renew(first.ID, "4", "one")); again.ID != second.ID {
			t.Errorf("renewed again: %s", again.ID)
		}
		if old := must[registry.Certificate](t)(s.Certificate(ctx, first.ID)); old.Status(noon) != "valid" {
			t.Errorf("the old one is %s at once", old.Status(noon))
		}
		third := must[registry.Certificate](t)(renew(second.ID, "5", "one"))
		if third.ID == second.ID || third.Replaces != second.ID {
			t.Errorf("renewed from the second: %+v", third)
		}

		other := newDevice(t, r, home.ID)
		ended := must[registry.Certificate](t)(r.EnrolDevice(ctx, home.ID, d.ID, "ended", sign("6", noon)))
		for _, c := range []struct {
			name string
			do   func() error
			want error
		}{
			{"another device's certificate", func() error {
				_, err := r.RenewCertificate(ctx, home.ID, other.ID, first.ID, "x", sign("20", soon))
				return err
			}, registry.ErrNotRenewable},
			{"a certificate in another domain", func() error {
				_, err := r.RenewCertificate(ctx, away.ID, d.ID, first.ID, "x", sign("21", soon))
				return err
			}, registry.ErrNotRenewable},
			{"somebody else's certificate", func() error { _, err := renew("none of ours", "22", "x"); return err }, registry.ErrNotRenewable},
			{"one that ended", func() error { _, err := renew(ended.ID, "23", "x"); return err }, registry.ErrNotRenewable},
			{"one that is held", func() error {
				must[registry.Certificate](t)(r.RevokeCertificate(ctx, home.ID, first.ID, registry.CertificateHold))
				_, err := renew(first.ID, "24", "x")
				return err
			}, registry.ErrNotRenewable},
			{"one that is revoked", func() error {
				must[registry.Certificate](t)(r.RevokeCertificate(ctx, home.ID, first.ID, registry.KeyCompromise))
				_, err := renew(first.ID, "25", "one") // known, too
				return err
			}, registry.ErrNotRenewable},
			{"a device of another domain", func() error {
				_, err := r.EnrolDevice(ctx, away.ID, d.ID, "x", sign("26", soon))
				return err
			}, registry.ErrNotFound},
			{"a disabled device", func() error {
				setStatus(t, r, home.ID, d.ID, registry.Disabled)
				_, err := enrol("27", "one")
				_, err2 := renew(second.ID, "28", "one")
				setStatus(t, r, home.ID, d.ID, registry.Enabled)
				return errors.Join(err, err2)
			}, registry.ErrDisabled},
			{"a disabled domain", func() error {
				setStatus(t, r, home.ID, "", registry.Disabled)
				_, err := enrol("29", "one")
				return err
			}, registry.ErrDisabled},
			{"a frozen domain", func() error {
				setStatus(t, r, home.ID, "", registry.Frozen)
				_, err := renew(second.ID, "30", "one")
				return err
			}, registry.ErrFrozen},
		} {
			if err := c.do(); !errors.Is(err, c.want) {
				t.Errorf("%s: got %v, want %v", c.name, err, c.want)
			}
		}
		if got := must[registry.List[registry.Certificate]](t)(s.Certificates(ctx, registry.CertificateQuery{Domain: home.ID, Limit: 100})); got.Total != 4 {
			t.Errorf("%d certificates, want 4: a refusal left one", got.Total)
		}
	})
}
