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

func TestRefusalsOfADomain(t *testing.T) {
	t.Parallel()
	var all refusals
	at := func(i int) time.Time { return time.Unix(int64(i), 0) }
	for i := range 500 { // of fifty devices in two domains, in turn
		why := registry.ReasonWrongSecret
		if i%100 < 2 {
			why = registry.ReasonRightMissing
		}
		all.add(registry.DomainID(fmt.Sprint(i%2)), Refusal{Device: registry.DeviceID(fmt.Sprint(i % 50)), Topic: fmt.Sprint(i), Reason: why, Count: 1, First: at(i), Last: at(i)})
	}
	got := all.list(RefusalQuery{Domain: "1"})
	if len(got) != maxListedRefusals {
		t.Fatalf("%d are listed, want %d", len(got), maxListedRefusals)
	}
	for i, r := range got {
		if want := fmt.Sprint(499 - 2*i); r.Topic != want {
			t.Fatalf("number %d is %s, want %s", i, r.Topic, want)
		}
	}
	got = all.list(RefusalQuery{Domain: "1", Reason: registry.ReasonRightMissing})
	if len(got) != 5 || got[0].Topic != "401" || got[4].Topic != "1" {
		t.Errorf("of one reason: %+v, want five", got)
	}
	if got := all.list(RefusalQuery{Domain: "2"}); len(got) != 0 {
		t.Errorf("of a domain where nobody was refused: %+v", got)
	}
}

func TestRefusedDevicesAreBounded(t *testing.T) {
	t.Parallel()
	var all refusals
	at := time.Unix(1e9, 0)
	device := func(i int) registry.DeviceID { return registry.DeviceID(fmt.Sprint(i)) }
	for i := range maxRefusedDevices + 10 {
		all.add("d", Refusal{Device: device(i), Count: 1, First: at, Last: at})
		all.add("d", Refusal{Device: device(0), Count: 1, First: at, Last: at})
	}
	if len(all.of) != maxRefusedDevices || all.list(RefusalQuery{Device: device(1)}) != nil || len(all.list(RefusalQuery{Device: device(0)})) != 1 {
		t.Errorf("%d devices are remembered, want %d without those of long ago", len(all.of), maxRefusedDevices)
	}
	for i := range 2 * maxAllRefusals {
		all.add("d", Refusal{Device: device(i / maxRefusals), Topic: fmt.Sprint(i), Count: 1, First: at, Last: at})
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
