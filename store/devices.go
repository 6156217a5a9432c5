package store

import (
	"context"
	"fmt"
	"time"

	"github.com/postern-io/postern/registry"
)

const deviceColumns = "id, domain, name, ident, status, tags, metadata, created_at, updated_by, updated_at"

func scanDevice(r row) (d registry.Device, err error) {
	err = r.Scan(&d.ID, &d.Domain, &d.Name, &d.Identity, &d.Status, tagsOf{&d.Tags}, metadataOf{&d.Metadata},
		timeOf{&d.CreatedAt}, &d.UpdatedBy, timeOf{&d.UpdatedAt})
	return d, err
}

// Device implements registry.DeviceReader.
func (s reads) Device(ctx context.Context, id registry.DeviceID) (registry.Device, error) {
	return one(ctx, s.db, scanDevice, "SELECT "+deviceColumns+" FROM devices WHERE id = $1", string(id))
}

// Devices implements registry.DeviceReader.
func (s reads) Devices(ctx context.Context, q registry.Query) (registry.List[registry.Device], error) {
	f := filter{}
	f.add("domain = ?", string(q.Domain))
	f.common(q, deviceTags)
	if q.Channel != "" || q.Rights != 0 {
		if err := f.linked(ctx, s.db, q, "devices", "device", "channel", string(q.Channel)); err != nil {
			return registry.List[registry.Device]{}, err
		}
	}
	return list(ctx, s.db, q, f, scanDevice, "devices", deviceColumns, orders)
}

// InsertDevice implements registry.DeviceWriter.
func (s writes) InsertDevice(ctx context.Context, d registry.Device) error {
	if err := exec(ctx, s.db, `INSERT INTO devices
		(id, domain, name, search_lc, ident, status, tags, metadata, created_at, updated_by, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		string(d.ID), string(d.Domain), d.Name, search(d.Name), d.Identity, string(d.Status),
		jsonTags(d.Tags), jsonMetadata(d.Metadata), micros(d.CreatedAt), string(d.UpdatedBy), micros(d.UpdatedAt)); err != nil {
		return err
	}
	return deviceTags.insert(ctx, s.db, string(d.Domain), string(d.ID), d.Tags)
}

// UpdateDevice implements registry.DeviceWriter.
func (s writes) UpdateDevice(ctx context.Context, d registry.Device) error {
	if err := exec(ctx, s.db, `UPDATE devices SET name = $2, search_lc = $3, ident = $4, status = $5,
		tags = $6, metadata = $7, updated_by = $8, updated_at = $9 WHERE id = $1`,
		string(d.ID), d.Name, search(d.Name), d.Identity, string(d.Status),
		jsonTags(d.Tags), jsonMetadata(d.Metadata), string(d.UpdatedBy), micros(d.UpdatedAt)); err != nil {
		return err
	}
	return deviceTags.replace(ctx, s.db, string(d.Domain), string(d.ID), d.Tags)
}

// DeleteDevice implements registry.DeviceWriter.
func (s writes) DeleteDevice(ctx context.Context, id registry.DeviceID) error {
	return exec(ctx, s.db, "DELETE FROM devices WHERE id = $1", string(id))
}

const secretColumns = "id, device, hash, created, last_used, expires"

func scanSecret(r row) (s registry.DeviceSecret, err error) {
	var hash []byte
	if err = r.Scan(&s.ID, &s.Device, &hash, timeOf{&s.Created}, timeOf{&s.LastUsed}, timeOf{&s.Expires}); err != nil {
		return s, err
	}
	if len(hash) != len(s.Hash) {
		return s, fmt.Errorf("secret %s: hash of %d bytes", s.ID, len(hash))
	}
	s.Hash = registry.SecretHash(hash)
	return s, nil
}

// DeviceSecrets implements registry.DeviceReader.
func (s reads) DeviceSecrets(ctx context.Context, id registry.DeviceID) ([]registry.DeviceSecret, error) {
	return collect(ctx, s.db, scanSecret,
		"SELECT "+secretColumns+" FROM device_secrets WHERE device = $1 ORDER BY expires > 0, created DESC, id", string(id))
}

// DevicesBySecret finds the device that holds the secret, in one probe: none or
// one. An expired one is among them, for the caller to tell why it refuses.
func (s reads) DevicesBySecret(ctx context.Context, hash registry.SecretHash) ([]registry.DeviceSecret, error) {
	return collect(ctx, s.db, scanSecret,
		"SELECT "+secretColumns+" FROM device_secrets WHERE hash = $1", hash[:])
}

// InsertSecret implements registry.DeviceWriter.
func (s writes) InsertSecret(ctx context.Context, domain registry.DomainID, d registry.DeviceSecret) error {
	return exec(ctx, s.db, `INSERT INTO device_secrets (id, domain, device, hash, created, last_used, expires)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		string(d.ID), string(domain), string(d.Device), d.Hash[:], micros(d.Created), micros(d.LastUsed), micros(d.Expires))
}

// ExpireSecret implements registry.DeviceWriter.
func (s writes) ExpireSecret(ctx context.Context, id registry.SecretID, at time.Time) error {
	return exec(ctx, s.db, "UPDATE device_secrets SET expires = $2 WHERE id = $1", string(id), micros(at))
}

// DeleteSecret implements registry.DeviceWriter.
func (s writes) DeleteSecret(ctx context.Context, id registry.SecretID) error {
	return exec(ctx, s.db, "DELETE FROM device_secrets WHERE id = $1", string(id))
}
