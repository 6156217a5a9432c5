package registry

import (
	"context"
	"slices"
	"time"
)

// Device returns the device with that id if it is in the domain.
func (r *Registry) Device(ctx context.Context, domain DomainID, id DeviceID) (Device, error) {
	return deviceIn(ctx, r.Store, domain, id)
}

// Devices lists the devices of q.Domain.
func (r *Registry) Devices(ctx context.Context, q Query) (List[Device], error) {
	if err := q.Check(); err != nil {
		return List[Device]{}, err
	}
	return r.Store.Devices(ctx, q)
}

// A NewDevice is what a device is created from: its ID, Name, Identity,
// Status, Tags and Metadata, and a secret when the caller brings one.
type NewDevice struct {
	Device
	Secret Secret
}

// CreateDevices creates all the devices, at most MaxBulk, or none. They come
// back in the order given, with the one sight of their secrets. A secret that
// is brought must be unique on the platform: a secret alone names a device, so two
// devices with the same one would stand in for each other.
func (r *Registry) CreateDevices(ctx context.Context, by UserID, domain DomainID, devices []NewDevice) ([]NewDevice, error) {
	if err := checkBulk(len(devices)); err != nil {
		return nil, err
	}
	now := r.now()
	made := make([]NewDevice, len(devices))
	for i, d := range devices {
		id, err := r.id(string(d.ID))
		if err != nil {
			return nil, err
		}
		d.ID, d.Domain = DeviceID(id), domain
		d.CreatedAt, d.UpdatedAt, d.UpdatedBy = now, now, by
		if d.Status == "" {
			d.Status = Enabled
		}
		if err := d.settle(); err != nil {
			return nil, err
		}
		if d.Secret, err = broughtOrNew(d.Secret); err != nil {
			return nil, err
		}
		made[i] = d
	}

	err := r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		changes := make([]Change, 0, len(made))
		for _, d := range made {
			if err := tx.InsertDevice(ctx, d.Device); err != nil {
				return nil, err
			}
			if err := tx.InsertSecret(ctx, domain, r.record(d.ID, d.Secret, now)); err != nil {
				return nil, err
			}
			changes = append(changes, Change{Domain: domain, Device: d.ID})
		}
		return changes, nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// UpdateDevice changes what edit changes: Name, Identity, Status, Tags,
// Metadata.
func (r *Registry) UpdateDevice(ctx context.Context, by UserID, domain DomainID, id DeviceID, edit func(*Device) error) (Device, error) {
	var d Device
	err := r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		old, err := deviceIn(ctx, tx, domain, id)
		if err != nil {
			return nil, err
		}
		d = old
		if err := edit(&d); err != nil {
			return nil, err
		}
		d.ID, d.Domain, d.CreatedAt = old.ID, old.Domain, old.CreatedAt
		d.UpdatedBy, d.UpdatedAt = by, r.now()
		if err := d.settle(); err != nil {
			return nil, err
		}
		return []Change{{Domain: domain, Device: id}}, tx.UpdateDevice(ctx, d)
	})
	if err != nil {
		return Device{}, err
	}
	return d, nil
}

// RotateSecret gives the device a new secret, the one brought or one made
// here, and returns it. The present secret stays valid for overlap, or ends at
// once when overlap is zero; one that was already on its way out ends now, so
// there are never more than two.
func (r *Registry) RotateSecret(ctx context.Context, by UserID, domain DomainID, id DeviceID, secret Secret, overlap time.Duration) (NewDevice, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return NewDevice{}, &InvalidError{Field: "overlap", Reason: "must be between 0 and 8760h"}
	}
	secret, err := broughtOrNew(secret)
	if err != nil {
		return NewDevice{}, err
	}
	var d Device
	err = r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		if d, err = deviceIn(ctx, tx, domain, id); err != nil {
			return nil, err
		}
		old, err := tx.DeviceSecrets(ctx, id)
		if err != nil {
			return nil, err
		}
		now := r.now()
		for i, s := range old {
			if i == 0 && overlap > 0 && s.Expires.IsZero() {
				err = tx.ExpireSecret(ctx, s.ID, now.Add(overlap))
			} else {
				err = tx.DeleteSecret(ctx, s.ID)
			}
			if err != nil {
				return nil, err
			}
		}
		if err := tx.InsertSecret(ctx, domain, r.record(id, secret, now)); err != nil {
			return nil, err
		}
		d.UpdatedBy, d.UpdatedAt = by, now
		return []Change{{Domain: domain, Device: id}}, tx.UpdateDevice(ctx, d)
	})
	if err != nil {
		return NewDevice{}, err
	}
	return NewDevice{Device: d, Secret: secret}, nil
}

// Secrets returns the secrets that the device holds, the newest first: at most
// two, unless certificates are named by them (seedform.go). What they were made
// of is not kept.
func (r *Registry) Secrets(ctx context.Context, domain DomainID, id DeviceID) ([]DeviceSecret, error) {
	if _, err := deviceIn(ctx, r.Store, domain, id); err != nil {
		return nil, err
	}
	return r.Store.DeviceSecrets(ctx, id)
}

// EndSecret ends one secret of the device now, and with it the sessions that
// were opened with it.
func (r *Registry) EndSecret(ctx context.Context, domain DomainID, id DeviceID, secret SecretID) error {
	return r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		if _, err := deviceIn(ctx, tx, domain, id); err != nil {
			return nil, err
		}
		held, err := tx.DeviceSecrets(ctx, id)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(held, func(s DeviceSecret) bool { return s.ID == secret }) {
			return nil, ErrNotFound
		}
		return []Change{{Domain: domain, Device: id}}, tx.DeleteSecret(ctx, secret)
	})
}

// DeleteDevice removes the device with its secrets and connections, and revokes
// its certificates.
func (r *Registry) DeleteDevice(ctx context.Context, domain DomainID, id DeviceID) error {
	return r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		if _, err := deviceIn(ctx, tx, domain, id); err != nil {
			return nil, err
		}
		changes, err := r.cease(ctx, tx, domain, id)
		if err != nil {
			return nil, err
		}
		return append(changes, Change{Domain: domain, Device: id, Gone: true}), tx.DeleteDevice(ctx, id)
	})
}

// MaxOverlap bounds how long a replaced secret may stay valid.
const MaxOverlap = 365 * 24 * time.Hour

func (r *Registry) record(device DeviceID, s Secret, now time.Time) DeviceSecret {
	return DeviceSecret{ID: SecretID(r.NewID()), Device: device, Hash: r.Hasher.Hash(s), Created: now}
}

func broughtOrNew(s Secret) (Secret, error) {
	if s.IsZero() {
		return NewSecret(), nil
	}
	return s, s.Check()
}

// deviceIn finds a device; in another domain it does not exist.
func deviceIn(ctx context.Context, from DeviceReader, domain DomainID, id DeviceID) (Device, error) {
	d, err := from.Device(ctx, id)
	if err == nil && d.Domain != domain {
		err = ErrNotFound
	}
	if err != nil {
		return Device{}, err
	}
	return d, nil
}

func (d *Device) settle() error {
	d.Tags = unique(d.Tags)
	if err := checkName(d.Name, false); err != nil {
		return err
	}
	if err := checkText("identity", d.Identity, MaxName); err != nil {
		return err
	}
	if err := checkStatus(d.Status, Enabled, Disabled, Pending); err != nil {
		return err
	}
	if err := checkTags(d.Tags); err != nil {
		return err
	}
	return checkMetadata(d.Metadata)
}

func checkBulk(n int) error {
	if n < 1 || n > MaxBulk {
		return &InvalidError{Field: "list", Reason: "must have 1 to 1000 items"}
	}
	return nil
}
