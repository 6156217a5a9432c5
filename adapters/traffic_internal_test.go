package adapters

import (
	"fmt"
	"testing"
	"time"

	"github.com/postern-io/postern/registry"
)

// Count is what Publish does about the numbers.
func Count(s *Session, at time.Time, store bool, done func(uint64, error)) func(uint64, error) {
	return s.counting(at, store, done)
}

// Domains beyond the bound are counted together, where nobody looks, until one
// of the others has nothing to show.
func TestTrafficDomainsAreBounded(t *testing.T) {
	t.Parallel()
	var all traffic
	now := time.Unix(1e9, 0)
	domain := func(i int) registry.DomainID { return registry.DomainID(fmt.Sprint(i)) }
	for i := range maxTrafficDomains {
		all.of(domain(i), now).entered(1, true)
	}
	if all.of("new", now) != &all.rest || len(all.domains) != maxTrafficDomains {
		t.Fatalf("%d domains are counted for, want %d", len(all.domains), maxTrafficDomains)
	}
	if _, room := all.known("new"); room {
		t.Error("it looks as if there was room")
	}
	all.domains[domain(7)].entered(-1, true)
	all.domains[domain(8)].entered(-1, true)
	now = now.Add(TrafficWindow + 2*TrafficStep)
	all.of(domain(8), now).message(now, false) // has something to show
	if all.of("new", now) == &all.rest || all.domains[domain(7)] != nil || all.domains[domain(8)] == nil {
		t.Error("the idle one is not forgotten, or another is")
	}
	if all.of("another", now) != &all.rest {
		t.Error("one with sessions was forgotten")
	}
}

func TestRefusedDevicesAreBounded(t *testing.T) {
	t.Parallel()
	var all refusals
	at := time.Unix(1e9, 0)
	device := func(i int) registry.DeviceID { return registry.DeviceID(fmt.Sprint(i)) }
	for i := range maxRefusedDevices + 10 {
		all.add(device(i), Refusal{Count: 1, First: at, Last: at})
		all.add(device(0), Refusal{Count: 1, First: at, Last: at})
	}
	if len(all.of) != maxRefusedDevices || all.list(device(1)) != nil || len(all.list(device(0))) != 1 {
		t.Errorf("%d devices are remembered, want %d without those of long ago", len(all.of), maxRefusedDevices)
	}
	for i := range 2 * maxAllRefusals {
		all.add(device(i/maxRefusals), Refusal{Topic: fmt.Sprint(i), Count: 1, First: at, Last: at})
		if all.total > maxAllRefusals {
			t.Fatalf("%d refusals are remembered, want at most %d", all.total, maxAllRefusals)
		}
	}
	counted := 0
	for e := all.recent.Front(); e != nil; e = e.Next() {
		counted += len(e.Value.(*refusedDevice).all)
	}
	if counted != all.total || all.recent.Len() != len(all.of) {
		t.Errorf("%d are there and %d counted; %d devices and %d", counted, all.total, all.recent.Len(), len(all.of))
	}
}
