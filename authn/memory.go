package authn

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/postern-io/postern/registry"
)

const (
	// refreshAfter bounds how long a lost change notice can go unnoticed. The
	// reload runs beside the request that finds the entry old, and when the
	// store is away the old entry stays.
	refreshAfter = time.Minute
	// absentFor bounds how long "there is no such device" is believed.
	absentFor = 2 * time.Second
)

// record is what we know of one device id. It is immutable once loaded.
type record struct {
	device  registry.Device
	secrets []registry.DeviceSecret
	absent  bool
}

// memory keeps the answers of a Finder.
type memory struct {
	find       Finder
	owners     *otter.Cache[registry.SecretHash, []registry.DeviceID]
	unknown    *otter.Cache[registry.SecretHash, uint64] // hashes that nobody holds, and the epoch of that answer
	epoch      atomic.Uint64                             // counts the changes heard of
	records    *otter.Cache[registry.DeviceID, *record]
	loadOwners otter.Loader[registry.SecretHash, []registry.DeviceID]
	loadRecord otter.Loader[registry.DeviceID, *record]
}

func newMemory(find Finder, size int) *memory {
	const forever = 1000 * time.Hour
	m := &memory{find: find}
	m.owners = otter.Must(&otter.Options[registry.SecretHash, []registry.DeviceID]{
		MaximumSize:       2 * size, // a device in rotation holds two secrets
		RefreshCalculator: otter.RefreshWriting[registry.SecretHash, []registry.DeviceID](refreshAfter),
		Logger:            &otter.NoopLogger{},
	})
	m.unknown = otter.Must(&otter.Options[registry.SecretHash, uint64]{
		MaximumSize:      10_000, // guesses push out guesses, never an owner
		ExpiryCalculator: otter.ExpiryWriting[registry.SecretHash, uint64](absentFor),
	})
	m.records = otter.Must(&otter.Options[registry.DeviceID, *record]{
		MaximumSize: size,
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[registry.DeviceID, *record]) time.Duration {
			if e.Value.absent {
				return absentFor
			}
			return forever
		}),
		RefreshCalculator: otter.RefreshWriting[registry.DeviceID, *record](refreshAfter),
		Logger:            &otter.NoopLogger{},
	})
	m.loadOwners = otter.LoaderFunc[registry.SecretHash, []registry.DeviceID](func(ctx context.Context, h registry.SecretHash) ([]registry.DeviceID, error) {
		secrets, err := find.DevicesBySecret(ctx, h)
		if err != nil {
			return nil, err
		}
		if len(secrets) == 0 {
			return nil, otter.ErrNotFound
		}
		ids := make([]registry.DeviceID, len(secrets))
		for i, s := range secrets {
			ids[i] = s.Device
		}
		return ids, nil
	})
	m.loadRecord = otter.LoaderFunc[registry.DeviceID, *record](m.load)
	return m
}

func (m *memory) load(ctx context.Context, id registry.DeviceID) (*record, error) {
	device, err := m.find.Device(ctx, id)
	if errors.Is(err, registry.ErrNotFound) {
		return &record{absent: true}, nil
	}
	if err != nil {
		return nil, err
	}
	secrets, err := m.find.DeviceSecrets(ctx, id)
	if err != nil {
		return nil, err
	}
	return &record{device: device, secrets: secrets}, nil
}

// ownersOf returns the devices that hold a secret of this hash, none when
// nobody does. ask stands before a question to the store and may forbid it.
func (m *memory) ownersOf(ctx context.Context, h registry.SecretHash, ask func() error) ([]registry.DeviceID, error) {
	epoch := m.epoch.Load()
	if _, known := m.owners.GetIfPresent(h); !known {
		if at, ok := m.unknown.GetIfPresent(h); ok && at == epoch {
			return nil, nil
		}
		if err := ask(); err != nil {
			return nil, err
		}
	}
	owners, err := m.owners.Get(ctx, h, m.loadOwners)
	if errors.Is(err, otter.ErrNotFound) {
		m.unknown.Set(h, epoch)
		return nil, nil
	}
	return owners, err
}

// forget drops a device and every "nobody holds this". The owners stay: a
// record says which secrets a device still holds, so an old hash leads to a
// record that no longer has it.
func (m *memory) forget(id registry.DeviceID) {
	m.epoch.Add(1)
	m.records.Invalidate(id)
}

// forgetOwners drops who holds a hash, and reports whether anybody was known.
func (m *memory) forgetOwners(h registry.SecretHash) bool {
	_, known := m.owners.Invalidate(h)
	return known
}

func (m *memory) forgetAll() {
	m.epoch.Add(1)
	m.records.InvalidateAll()
	m.owners.InvalidateAll()
}

// touched collects which secrets, or certificates, were used, to be written down
// in batches: a connect must not wait for a write. It holds at most one entry for
// each and is emptied by take.
type touched[K comparable] struct {
	mu sync.Mutex
	at map[K]time.Time
}

const maxTouched = 100_000

func (t *touched[K]) mark(id K, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == nil {
		t.at = make(map[K]time.Time)
	}
	if _, ok := t.at[id]; ok || len(t.at) < maxTouched {
		t.at[id] = now
	}
}

func (t *touched[K]) take() map[K]time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.at
	t.at = nil
	return taken
}

// TakeUsed returns the secrets used since the last call, with the time of their
// last use, and forgets them.
func (d *Devices) TakeUsed() map[registry.SecretID]time.Time { return d.secrets.take() }

// TakeUsedCertificates is TakeUsed for certificates, those of other authorities
// among them.
func (d *Devices) TakeUsedCertificates() map[registry.CertificateID]time.Time { return d.certs.take() }
