package store

import (
	"context"

	"github.com/postern-io/postern/registry"
)

func scanSetting(r row) (s registry.Setting, err error) {
	err = r.Scan(&s.Name, &s.Value, &s.Sealed, &s.UpdatedBy, timeOf{&s.UpdatedAt})
	return s, err
}

// Settings implements registry.SettingReader. The revision is read first: what is
// changed between the two statements has a higher one and is read again.
func (s reads) Settings(ctx context.Context) (registry.Settings, error) {
	all, err := one(ctx, s.db, func(r row) (all registry.Settings, err error) {
		err = r.Scan(&all.Revision, &all.UpdatedBy, timeOf{&all.UpdatedAt})
		return all, err
	}, "SELECT revision, updated_by, updated_at FROM settings_revision")
	if err != nil {
		return all, err
	}
	all.Items, err = collect(ctx, s.db, scanSetting, "SELECT name, value, sealed, updated_by, updated_at FROM settings ORDER BY name")
	return all, err
}

// LockSettings implements registry.SettingWriter.
func (s writes) LockSettings(ctx context.Context) error {
	return exec(ctx, s.db, "UPDATE settings_revision SET revision = revision WHERE id = 1")
}

// PutSetting implements registry.SettingWriter.
func (s writes) PutSetting(ctx context.Context, v registry.Setting) error {
	return exec(ctx, s.db, `INSERT INTO settings (name, value, sealed, updated_by, updated_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value, sealed = excluded.sealed, updated_by = excluded.updated_by, updated_at = excluded.updated_at`,
		v.Name, v.Value, v.Sealed, string(v.UpdatedBy), micros(v.UpdatedAt))
}

// DeleteSetting implements registry.SettingWriter.
func (s writes) DeleteSetting(ctx context.Context, name string) error {
	return run(ctx, s.db, "DELETE FROM settings WHERE name = $1", name)
}

// PutSettingsRevision implements registry.SettingWriter.
func (s writes) PutSettingsRevision(ctx context.Context, v registry.Settings) error {
	return exec(ctx, s.db, "UPDATE settings_revision SET revision = $1, updated_by = $2, updated_at = $3 WHERE id = 1",
		v.Revision, string(v.UpdatedBy), micros(v.UpdatedAt))
}
