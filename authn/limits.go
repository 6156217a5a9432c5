package authn

import (
	"net/netip"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"
)

// Limits bounds wrong attempts. A bucket starts with Burst failures and regains
// PerSecond of them each second; while it is empty, attempts that memory cannot
// confirm are turned away unseen. A device that is already known is never held
// up by the failures of its neighbours.
type Limits struct {
	SourcePerSecond float64 // per address (IPv6: per /64); 0 means no limit
	SourceBurst     int
	DevicePerSecond float64 // per claimed device id; 0 means no limit
	DeviceBurst     int
}

// DefaultLimits let a site of misconfigured devices behind one address retry
// steadily, and a guesser nowhere.
var DefaultLimits = Limits{SourcePerSecond: 20, SourceBurst: 200, DevicePerSecond: 1, DeviceBurst: 20}

// failures counts wrong attempts. The caches bound it: an attacker with many
// addresses evicts other attackers' counts, never a device.
type failures struct {
	limits  Limits
	sources *otter.Cache[netip.Prefix, *rate.Limiter]
	devices *otter.Cache[string, *rate.Limiter]
}

func newFailures(l Limits) *failures {
	return &failures{
		limits: l,
		sources: otter.Must(&otter.Options[netip.Prefix, *rate.Limiter]{
			MaximumSize:      100_000,
			ExpiryCalculator: otter.ExpiryAccessing[netip.Prefix, *rate.Limiter](10 * time.Minute),
		}),
		devices: otter.Must(&otter.Options[string, *rate.Limiter]{
			MaximumSize:      100_000,
			ExpiryCalculator: otter.ExpiryAccessing[string, *rate.Limiter](10 * time.Minute),
		}),
	}
}

// blocked reports how long the source or the device id has to wait.
func (f *failures) blocked(now time.Time, c *Credential) (time.Duration, bool) {
	if l, ok := f.sources.GetIfPresent(source(c.Remote)); ok {
		if wait, blocked := waitFor(l, now); blocked {
			return wait, true
		}
	}
	if c.DeviceID != "" {
		if l, ok := f.devices.GetIfPresent(c.DeviceID); ok {
			return waitFor(l, now)
		}
	}
	return 0, false
}

func waitFor(l *rate.Limiter, now time.Time) (time.Duration, bool) {
	tokens := l.TokensAt(now)
	if tokens >= 1 {
		return 0, false
	}
	wait := time.Duration((1 - tokens) / float64(l.Limit()) * float64(time.Second))
	return max(wait, time.Second), true
}

// count records one wrong attempt.
func (f *failures) count(now time.Time, c *Credential) {
	if f.limits.SourcePerSecond > 0 {
		l, _ := f.sources.ComputeIfAbsent(source(c.Remote), func() (*rate.Limiter, bool) {
			return rate.NewLimiter(rate.Limit(f.limits.SourcePerSecond), f.limits.SourceBurst), false
		})
		l.AllowN(now, 1)
	}
	// Longer than an id: it names no device, so it needs no bucket of its own.
	if f.limits.DevicePerSecond > 0 && c.DeviceID != "" && len(c.DeviceID) <= 36 {
		l, _ := f.devices.ComputeIfAbsent(c.DeviceID, func() (*rate.Limiter, bool) {
			return rate.NewLimiter(rate.Limit(f.limits.DevicePerSecond), f.limits.DeviceBurst), false
		})
		l.AllowN(now, 1)
	}
}

// source is the unit that is limited: one IPv4 address, or the /64 that one
// IPv6 host usually owns (RFC 6177).
func source(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}
