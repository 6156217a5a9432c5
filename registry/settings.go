package registry

import (
	"context"
	"regexp"
	"time"
)

const (
	// MaxSettings bounds how many settings are kept, and MaxSetting the bytes of
	// one, sealed: a map of a thousand groups has room.
	MaxSettings = 200
	MaxSetting  = 64 << 10
)

// A Setting is a setting of the server that was changed while it runs. Which
// settings there are, and what a value means, is known to who starts the server.
type Setting struct {
	Name      string // of its flag
	Value     string // as the flag takes it; of a secret, what it is sealed in
	Sealed    bool
	UpdatedBy UserID
	UpdatedAt time.Time
}

// Settings are all of them, as of one revision. Two people who change them at
// the same time cannot both have looked at what they change.
type Settings struct {
	Revision  int64 // how often they were changed; 0: never
	Items     []Setting
	UpdatedBy UserID
	UpdatedAt time.Time
}

// A SettingsChange is what is put in place, and the names of what is taken away.
type SettingsChange struct {
	Put  []Setting // Name, Value and Sealed
	Drop []string
}

// A WayReader tells who could sign in, from inside a transaction.
type WayReader interface {
	UserReader
	IdentityReader
}

// Settings returns the settings that were changed while the server runs.
func (r *Registry) Settings(ctx context.Context) (Settings, error) { return r.Store.Settings(ctx) }

// ChangeSettings changes settings all or not at all. decide sees them as they
// are, and who could sign in, while no other writer can change the settings, or
// which owners there are; it returns what is to be changed, and nothing leaves
// all as it is.
//
// Errors: ErrStale when revision is not that of the settings, decide's, or a
// *InvalidError for a setting that cannot be kept.
func (r *Registry) ChangeSettings(ctx context.Context, by UserID, revision int64, decide func(Settings, WayReader) (SettingsChange, error)) (Settings, error) {
	var all Settings
	err := r.update(ctx, func(tx Tx) ([]Change, error) {
		// The same order as everywhere: owners first.
		if err := tx.Lock(ctx, lockOwners); err != nil {
			return nil, err
		}
		if err := tx.LockSettings(ctx); err != nil {
			return nil, err
		}
		now, err := tx.Settings(ctx)
		if err != nil {
			return nil, err
		}
		if now.Revision != revision {
			return nil, ErrStale
		}
		change, err := decide(now, tx)
		if all = now; err != nil || len(change.Put)+len(change.Drop) == 0 {
			return nil, err
		}
		at := r.now()
		for _, s := range change.Put {
			if err := s.check(); err != nil {
				return nil, err
			}
			s.UpdatedBy, s.UpdatedAt = by, at
			if err := tx.PutSetting(ctx, s); err != nil {
				return nil, err
			}
		}
		for _, name := range change.Drop {
			if err := tx.DeleteSetting(ctx, name); err != nil {
				return nil, err
			}
		}
		if err := tx.PutSettingsRevision(ctx, Settings{Revision: now.Revision + 1, UpdatedBy: by, UpdatedAt: at}); err != nil {
			return nil, err
		}
		if all, err = tx.Settings(ctx); err != nil {
			return nil, err
		}
		if len(all.Items) > MaxSettings {
			return nil, &InvalidError{Field: "changes", Reason: "would keep too many settings"}
		}
		return []Change{{Settings: true}}, nil
	})
	if err != nil {
		return Settings{}, err
	}
	return all, nil
}

var settingName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,99}$`)

func (s Setting) check() error {
	switch {
	case !settingName.MatchString(s.Name):
		return &InvalidError{Field: "changes", Reason: "must name settings"}
	case len(s.Value) > MaxSetting:
		return &InvalidError{Field: s.Name, Reason: "is too long"}
	}
	return nil
}
