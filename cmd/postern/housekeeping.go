package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-io/postern/registry"
)

const (
	purgeEvery = time.Hour
	useEvery   = 10 * time.Second
	// healthEvery is how often the whole fleet is looked at, lookTimeout how
	// long that may take.
	healthEvery = 5 * time.Minute
	lookTimeout = time.Minute
)

// housekeeping removes what has had its time, once an hour.
func (h *house) housekeeping(ctx context.Context, keepAudit time.Duration) error {
	return every(ctx, purgeEvery, func() {
		if err := errors.Join(h.registry.Purge(ctx), h.registry.SweepAudit(ctx, keepAudit)); err != nil && ctx.Err() == nil {
			h.log.Warn("purge failed; next try in an hour", "err", err)
		}
	})
}

// recordUse writes down which secrets were used, in batches: a connect does not
// wait for a write. A batch that fails is dropped: it is a hint, not a record.
func (h *house) recordUse(ctx context.Context) error {
	return every(ctx, useEvery, func() {
		if err := h.flushUse(ctx); err != nil && ctx.Err() == nil {
			h.log.Warn("last use of secrets not recorded", "err", err)
		}
	})
}

// newFindings registers the gauge that watchHealth sets.
func newFindings(metrics prometheus.Registerer) *prometheus.GaugeVec {
	findings := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "postern_health_findings", Help: "Secrets and certificates to look at in all domains, by kind; counted every five minutes.",
	}, []string{"kind"})
	metrics.MustRegister(findings)
	return findings
}

// watchHealth counts what is the matter with the fleet, for the metrics, and
// notes which certificates are in use at two addresses.
func (h *house) watchHealth(ctx context.Context) error {
	look := func() {
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		err := h.store.MarkShared(ctx, h.gateway.SharedCertificates(), time.Now())
		var counts map[registry.HealthKind]int
		if err == nil {
			counts, err = h.registry.Health(ctx, "")
		}
		for kind, n := range counts {
			h.findings.WithLabelValues(string(kind)).Set(float64(n))
		}
		if err != nil && ctx.Err() == nil {
			h.log.Warn("health of the fleet not looked at; next try in five minutes", "err", err)
		}
	}
	look()
	return every(ctx, healthEvery, look)
}

func (h *house) flushUse(ctx context.Context) error {
	return errors.Join(
		touch(ctx, h.devices.TakeUsed(), h.store.TouchSecret),
		touch(ctx, h.devices.TakeUsedCertificates(), h.store.TouchCertificates),
	)
}

// touch writes down that all were used at the time of the latest.
func touch[K comparable](ctx context.Context, used map[K]time.Time, write func(context.Context, []K, time.Time) error) error {
	if len(used) == 0 {
		return nil
	}
	latest := slices.MaxFunc(slices.Collect(maps.Values(used)), time.Time.Compare)
	return write(ctx, slices.Collect(maps.Keys(used)), latest)
}

// every calls do now and then until ctx ends.
func every(ctx context.Context, d time.Duration, do func()) error {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			do()
		}
	}
}
