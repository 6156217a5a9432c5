package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// authority makes one, and sign a certificate of it; the signatures are not
// looked at here.
func authority(t testing.TB, r *registry.Registry, id registry.AuthorityID) func(serial string, ends time.Time) func(registry.Device) (registry.Certificate, error) {
	t.Helper()
	_, err := r.RotateAuthority(t.Context(), func() (registry.Authority, error) {
		return registry.Authority{ID: id, DER: []byte("der"), Root: []byte("root"), RootList: []byte{}, Key: []byte("sealed")}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return func(serial string, ends time.Time) func(registry.Device) (registry.Certificate, error) {
		return func(registry.Device) (registry.Certificate, error) {
			return registry.Certificate{
				ID: registry.CertificateID(string(id) + serial), Authority: id, Serial: serial, Subject: "CN=x", Key: "ECDSA P-256",
				NotBefore: r.Now(), NotAfter: ends, DER: []byte{1, 2, 3},
			}, nil
		}
	}
}

func TestCertificates(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		var told []registry.Change
		r.OnChange = func(_ context.Context, changes []registry.Change) { told = append(told, changes...) }
		home := newDomain(t, r, "home")
		away := newDomain(t, r, "away")
		d := newDevice(t, r, home.ID)
		sign := authority(t, r, "a")
		issue := func(serial, request string, ends time.Time) registry.Certificate {
			t.Helper()
			return must[registry.Certificate](t)(r.IssueCertificate(ctx, "u", home.ID, d.ID, request, sign(serial, ends)))
		}
		c := issue("1", "first", noon.Add(time.Hour))
		same(t, must[registry.Certificate](t)(r.Certificate(ctx, home.ID, c.ID)), c)
		same(t, must[registry.Certificate](t)(s.CertificateBySerial(ctx, "a", "1")), c)
		if again := issue("2", "first", noon.Add(time.Hour)); again.ID != c.ID {
			t.Errorf("the same request made another certificate: %s", again.ID)
		}
		if _, err := r.Certificate(ctx, away.ID, c.ID); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("in another domain: %v", err)
		}
		if _, err := r.RevokeCertificate(ctx, away.ID, c.ID, registry.KeyCompromise); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("revoked from another domain: %v", err)
		}
		if _, err := r.IssueCertificate(ctx, "u", away.ID, d.ID, "x", sign("9", noon)); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("issued in another domain: %v", err)
		}

		told = nil
		held := must[registry.Certificate](t)(r.RevokeCertificate(ctx, home.ID, c.ID, registry.CertificateHold))
		if held.Status(noon) != "held" || len(told) != 1 || told[0] != (registry.Change{Domain: home.ID, Device: d.ID, Certificate: c.ID}) {
			t.Errorf("held: %s, told %+v", held.Status(noon), told)
		}
		if got := must[[]registry.CertificateID](t)(s.RevokedCertificates(ctx, noon)); len(got) != 1 || got[0] != c.ID {
			t.Errorf("revoked: %v", got)
		}
		if other := issue("3", "first", noon.Add(time.Hour)); other.ID == c.ID {
			t.Error("a held certificate was given out again")
		}
		free := must[registry.Certificate](t)(r.ReleaseCertificate(ctx, home.ID, c.ID))
		same(t, free, c)
		gone := must[registry.Certificate](t)(r.RevokeCertificate(ctx, home.ID, c.ID, registry.KeyCompromise))
		if gone.Status(noon) != "revoked" || gone.Reason != registry.KeyCompromise {
			t.Errorf("revoked: %+v", gone)
		}
		told = nil
		if again := must[registry.Certificate](t)(r.RevokeCertificate(ctx, home.ID, c.ID, registry.Superseded)); again.Reason != registry.KeyCompromise || len(told) != 0 {
			t.Errorf("revoked twice: %+v, told %v", again, told)
		}
		var invalid *registry.InvalidError
		if _, err := r.ReleaseCertificate(ctx, home.ID, c.ID); !errors.As(err, &invalid) {
			t.Errorf("released though revoked for good: %v", err)
		}

		// A disabled device, or one of a frozen domain, gets none; the other is
		// about taking away.
		if _, err := r.UpdateDevice(ctx, "", home.ID, d.ID, func(d *registry.Device) error { d.Status = registry.Disabled; return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := r.IssueCertificate(ctx, "u", home.ID, d.ID, "y", sign("10", noon)); !errors.As(err, &invalid) {
			t.Errorf("issued to a disabled device: %v", err)
		}
		if _, err := r.UpdateDevice(ctx, "", home.ID, d.ID, func(d *registry.Device) error { d.Status = registry.Enabled; return nil }); err != nil {
			t.Fatal(err)
		}
		old := issue("4", "old", noon.Add(-time.Minute))
		for status, want := range map[string]int{"": 3, "valid": 1, "revoked": 1, "held": 0, "expired": 1} {
			got := must[registry.List[registry.Certificate]](t)(r.Certificates(ctx, registry.CertificateQuery{Domain: home.ID, Device: d.ID, Status: status, Limit: 10}))
			if got.Total != want || len(got.Items) != want {
				t.Errorf("%q: %d certificates, want %d", status, got.Total, want)
			}
		}
		if got := must[registry.List[registry.Certificate]](t)(r.Certificates(ctx, registry.CertificateQuery{Domain: home.ID, Before: noon, Limit: 10})); got.Total != 1 || got.Items[0].ID != old.ID {
			t.Errorf("ends before noon: %+v", got)
		}
		for _, q := range []registry.CertificateQuery{{Limit: 0}, {Limit: 10, Status: "good"}, {Limit: 101}, {Limit: 1, Offset: -1}} {
			if _, err := r.Certificates(ctx, q); !errors.As(err, &invalid) {
				t.Errorf("%+v: %v", q, err)
			}
		}
		if err := s.TouchCertificates(ctx, []registry.CertificateID{c.ID, "of somebody else"}, noon.Add(time.Minute)); err != nil {
			t.Error(err)
		}
		if got := must[registry.Certificate](t)(s.Certificate(ctx, c.ID)); !got.LastUsed.Equal(noon.Add(time.Minute)) {
			t.Errorf("last used %s", got.LastUsed)
		}
	})
}

func TestOldCertificatesArePurged(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		sign := authority(t, r, "a")
		home := newDomain(t, r, "home")
		d := newDevice(t, r, home.ID)
		for serial, ended := range map[string]time.Duration{"1": registry.CertificatesKept + time.Minute, "2": registry.CertificatesKept - time.Minute} {
			must[registry.Certificate](t)(r.IssueCertificate(ctx, "", home.ID, d.ID, serial, sign(serial, noon.Add(-ended))))
		}
		if err := r.Purge(ctx); err != nil {
			t.Fatal(err)
		}
		left := must[registry.List[registry.Certificate]](t)(r.Certificates(ctx, registry.CertificateQuery{Domain: home.ID, Limit: 10}))
		if left.Total != 1 || left.Items[0].Serial != "2" {
			t.Errorf("left: %+v", left)
		}
	})
}

// What goes away takes its certificates along, and they stay in the lists.
func TestDeletingRevokesCertificates(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		sign := authority(t, r, "a")
		home := newDomain(t, r, "home")
		var ids []registry.CertificateID
		var devices []registry.Device
		for i := range 3 {
			d := newDevice(t, r, home.ID)
			c := must[registry.Certificate](t)(r.IssueCertificate(ctx, "", home.ID, d.ID, fmt.Sprint(i), sign(fmt.Sprint(i), noon.Add(time.Hour))))
			devices, ids = append(devices, d), append(ids, c.ID)
		}
		if _, err := r.RevokeCertificate(ctx, home.ID, ids[2], registry.KeyCompromise); err != nil {
			t.Fatal(err)
		}
		var told []registry.Change
		r.OnChange = func(_ context.Context, changes []registry.Change) { told = append(told, changes...) }
		reasons := func(want ...registry.RevocationReason) {
			t.Helper()
			lines := must[[]registry.Revocation](t)(s.Revocations(ctx, "a", noon))
			var got []registry.RevocationReason
			for _, l := range lines {
				got = append(got, l.Reason)
			}
			same(t, got, want)
		}
		reasons(registry.KeyCompromise)
		if err := r.DeleteDevice(ctx, home.ID, devices[0].ID); err != nil {
			t.Fatal(err)
		}
		reasons(registry.CessationOfOperation, registry.KeyCompromise)
		if len(told) != 2 || told[0].Certificate != ids[0] || !told[1].Gone {
			t.Errorf("told %+v", told)
		}
		if err := r.DeleteDomain(ctx, home.ID); err != nil {
			t.Fatal(err)
		}
		reasons(registry.CessationOfOperation, registry.CessationOfOperation, registry.KeyCompromise)
	})
}

func TestRevocationLists(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, r := t.Context(), newRegistry(t, s)
		now := noon
		r.Now = func() time.Time { return now }
		sign := authority(t, r, "a")
		home := newDomain(t, r, "home")
		d := newDevice(t, r, home.ID)
		signed := 0
		list := func() registry.RevocationList {
			t.Helper()
			return must[registry.RevocationList](t)(r.RevocationList(ctx, "a", func(number int64, lines []registry.Revocation) (registry.RevocationList, error) {
				signed++
				return registry.RevocationList{ThisUpdate: now, NextUpdate: now.Add(24 * time.Hour), DER: fmt.Appendf(nil, "%d:%d", number, len(lines))}, nil
			}))
		}
		is := func(want string, times int) {
			t.Helper()
			if got := list(); string(got.DER) != want || signed != times {
				t.Errorf("got list %s after %d signatures, want %s after %d", got.DER, signed, want, times)
			}
		}
		is("1:0", 1)
		is("1:0", 1) // nothing changed
		c := must[registry.Certificate](t)(r.IssueCertificate(ctx, "", home.ID, d.ID, "r", sign("1", noon.Add(30*time.Hour))))
		is("1:0", 1)
		if _, err := r.RevokeCertificate(ctx, home.ID, c.ID, registry.CertificateHold); err != nil {
			t.Fatal(err)
		}
		is("2:1", 2)
		if _, err := r.ReleaseCertificate(ctx, home.ID, c.ID); err != nil {
			t.Fatal(err)
		}
		is("3:0", 3)
		if _, err := r.RevokeCertificate(ctx, home.ID, c.ID, registry.Superseded); err != nil {
			t.Fatal(err)
		}
		is("4:1", 4)
		now = noon.Add(11 * time.Hour)
		is("4:1", 4)
		now = noon.Add(13 * time.Hour) // half its life
		is("5:1", 5)
		now = noon.Add(31 * time.Hour) // the certificate has ended since: once more
		is("6:1", 6)
		now = noon.Add(50 * time.Hour)
		is("7:0", 7)
		if _, err := r.RevocationList(ctx, "nobody", nil); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("of no authority: %v", err)
		}
	})
}

// Of nodes that start at once one founds the authority.
func TestOneAuthorityIsFounded(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		r := newRegistry(t, s)
		const nodes = 8
		got := make(chan registry.AuthorityID, nodes)
		founded := make(chan int, nodes)
		for i := range nodes {
			go func() {
				a, err := r.EstablishAuthority(t.Context(), func() (registry.Authority, error) {
					founded <- i
					return registry.Authority{ID: registry.AuthorityID(fmt.Sprint("a", i)), DER: []byte{}, Root: []byte{}, RootList: []byte{}, Key: []byte{}}, nil
				})
				if err != nil {
					t.Error(err)
				}
				got <- a.ID
			}()
		}
		first := <-got
		for range nodes - 1 {
			if other := <-got; other != first {
				t.Errorf("got %s and %s", first, other)
			}
		}
		if len(founded) != 1 {
			t.Errorf("%d were founded", len(founded))
		}
		second := must[registry.Authority](t)(r.RotateAuthority(t.Context(), func() (registry.Authority, error) {
			return registry.Authority{ID: "second", DER: []byte{}, Root: []byte{}, RootList: []byte{}, Key: []byte{}}, nil
		}))
		all := must[[]registry.Authority](t)(r.Authorities(t.Context()))
		if len(all) != 2 || all[0].ID != second.ID || all[1].RetiredAt.IsZero() || !all[0].RetiredAt.IsZero() {
			t.Errorf("got %+v", all)
		}
	})
}

func newDomain(t *testing.T, r *registry.Registry, name string) registry.Domain {
	t.Helper()
	return must[registry.Domain](t)(r.CreateDomain(t.Context(), "", registry.Domain{Name: name}))
}

func newDevice(t *testing.T, r *registry.Registry, domain registry.DomainID) registry.Device {
	t.Helper()
	return must[[]registry.NewDevice](t)(r.CreateDevices(t.Context(), "", domain, []registry.NewDevice{{}}))[0].Device
}
