package authz

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/postern-io/postern/registry"
)

const (
	// refreshAfter bounds how long a lost change notice can go unnoticed. The
	// reload runs beside the question that finds an entry old, and when the
	// store is away the old entry stays.
	refreshAfter = time.Minute
	// absentFor bounds how long "there is no such thing" is believed.
	absentFor = 2 * time.Second
	// maxAbsent bounds how many such answers are kept.
	maxAbsent = 10_000
)

// A directory remembers nouns by id, and which id a name (an id or a route)
// leads to. A notice names ids, so forgetting one is exact; a name that led to
// a noun is checked against the noun itself, so a route that moved to another
// noun is noticed without an index of names.
type directory[Name comparable, ID ~string, Noun any] struct {
	names   *otter.Cache[Name, ID]
	nouns   *otter.Cache[ID, *Noun]
	absent  *otter.Cache[Name, uint64] // the epoch of the answer
	epoch   *atomic.Uint64
	byName  otter.Loader[Name, ID]
	byID    otter.Loader[ID, *Noun]
	answers func(*Noun, Name) bool // whether the noun still goes by the name
}

func newDirectory[Name comparable, ID ~string, Noun any](
	size int, epoch *atomic.Uint64,
	byName func(context.Context, Name) (ID, error),
	byID func(context.Context, ID) (*Noun, error),
	answers func(*Noun, Name) bool,
) *directory[Name, ID, Noun] {
	return &directory[Name, ID, Noun]{
		names: otter.Must(&otter.Options[Name, ID]{MaximumSize: size}),
		nouns: otter.Must(&otter.Options[ID, *Noun]{
			MaximumSize:       size,
			RefreshCalculator: otter.RefreshWriting[ID, *Noun](refreshAfter),
			Logger:            &otter.NoopLogger{},
		}),
		absent: otter.Must(&otter.Options[Name, uint64]{
			MaximumSize:      maxAbsent,
			ExpiryCalculator: otter.ExpiryWriting[Name, uint64](absentFor),
		}),
		epoch:   epoch,
		byName:  otter.LoaderFunc[Name, ID](found(byName)),
		byID:    otter.LoaderFunc[ID, *Noun](found(byID)),
		answers: answers,
	}
}

// found says "not found" in the cache's word, so that it is not kept as a value.
func found[K comparable, V any](load func(context.Context, K) (V, error)) func(context.Context, K) (V, error) {
	return func(ctx context.Context, key K) (V, error) {
		v, err := load(ctx, key)
		if errors.Is(err, registry.ErrNotFound) {
			err = otter.ErrNotFound
		}
		return v, err
	}
}

// find returns the noun that goes by name, nil when there is none.
func (d *directory[Name, ID, Noun]) find(ctx context.Context, name Name) (*Noun, error) {
	epoch := d.epoch.Load()
	if at, ok := d.absent.GetIfPresent(name); ok && at == epoch {
		return nil, nil
	}
	for range 2 { // once from memory, once more when the name has moved
		id, err := d.names.Get(ctx, name, d.byName)
		if err == nil {
			var noun *Noun
			if noun, err = d.nouns.Get(ctx, id, d.byID); err == nil && d.answers(noun, name) {
				return noun, nil
			}
		}
		if err != nil && !errors.Is(err, otter.ErrNotFound) {
			return nil, err
		}
		if _, known := d.names.Invalidate(name); !known {
			break
		}
	}
	d.absent.Set(name, epoch)
	return nil, nil
}

func (d *directory[Name, ID, Noun]) forget(id ID) { d.nouns.Invalidate(id) }

func (d *directory[Name, ID, Noun]) forgetAll() {
	d.names.InvalidateAll()
	d.nouns.InvalidateAll()
}
