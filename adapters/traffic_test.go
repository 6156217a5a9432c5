package adapters_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

const stored, notStored = "m/home/c/stored", "m/home/c/live"

func publish(t *testing.T, s *adapters.Session, topic string) {
	t.Helper()
	if _, err := s.PublishWait(t.Context(), topic, &messaging.Message{Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
}

// last is the newest point of a domain on one node.
func last(t *testing.T, all adapters.Traffic) adapters.TrafficPoint {
	t.Helper()
	if len(all.Points) == 0 {
		t.Fatal("there is no point")
	}
	return all.Points[len(all.Points)-1]
}

func TestTrafficCounts(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	d := w.NewDevice(t, both)
	one, two := open(t, w, d), open(t, w, d)
	other := open(t, w, w.NewDevice(t, registry.Subscribe))
	for range 3 {
		publish(t, one, stored)
	}
	publish(t, two, notStored)
	other.Publish(stored, &messaging.Message{Payload: []byte("x")}, func(uint64, error) {})
	if _, err := one.CanSubscribe(t.Context(), "m/home/c/nothing/#"); err == nil {
		t.Fatal("a channel that is not there may be subscribed to")
	}
	wrong := credential(d)
	wrong.Secret = registry.NewSecret()
	strange := credential(d)
	strange.DeviceID = "0b5e8e0c-0000-4000-8000-000000000000"
	for _, c := range []authn.Credential{wrong, strange} {
		if _, err := w.Gateway.Open(t.Context(), c); err == nil {
			t.Fatal("a wrong credential is let in")
		}
	}
	now := w.Gateway.Traffic(w.Domain.ID, time.Time{})
	if now.Sessions != 3 || now.Devices != 2 {
		t.Errorf("now: %d sessions of %d devices, want 3 of 2", now.Sessions, now.Devices)
	}
	w.Clock.Advance(adapters.TrafficStep)
	all := w.Gateway.Traffic(w.Domain.ID, time.Time{})
	messages, kept, refused := 0, 0, 0
	for _, p := range all.Points { // the test may have stood on a border of two
		messages, kept, refused = messages+p.Messages, kept+p.Stored, refused+p.Refused
	}
	if messages != 4 || kept != 3 || refused != 3 {
		t.Errorf("%d messages, %d stored, %d refused; want 4, 3, 3 (a stranger is nobody's)", messages, kept, refused)
	}
	for why, want := range map[registry.Reason]int{registry.ReasonRightMissing: 1, registry.ReasonChannelUnknown: 1, registry.ReasonWrongSecret: 1} {
		if all.Refused[why] != want {
			t.Errorf("%s: %d, want %d", why, all.Refused[why], want)
		}
	}
	if p := last(t, all); p.Sessions != 3 || p.Devices != 2 {
		t.Errorf("the last point has %d sessions of %d devices, want 3 of 2", p.Sessions, p.Devices)
	}
	two.Close()
	w.Disable(t, d)
	one.Close()
	w.Clock.Advance(adapters.TrafficStep)
	if p := last(t, w.Gateway.Traffic(w.Domain.ID, time.Time{})); p.Sessions != 1 || p.Devices != 1 || p.Revoked != 1 {
		t.Errorf("afterwards: %+v, want one session, one device and one revoked", p)
	}
	if got := w.Gateway.Traffic(w.Foreign.Domain, time.Time{}); got.Sessions != 0 || len(got.Points) != 0 || got.Partial {
		t.Errorf("another domain has %+v", got)
	}
}

// A quiet domain still shows how long an acknowledgement takes.
func TestTrafficTimesTheFirstOfAStep(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	s := open(t, w, w.NewDevice(t, both))
	for range 2 {
		publish(t, s, notStored) // is never acknowledged by a stream
		publish(t, s, stored)
		w.Clock.Advance(adapters.TrafficStep)
		p := last(t, w.Gateway.Traffic(w.Domain.ID, time.Time{}))
		if took, ok := p.Ack(0.99); !ok || took <= 0 || took > 10*time.Second {
			t.Errorf("the acknowledgement took %v, known: %v", took, ok)
		}
	}
	w.Clock.Advance(adapters.TrafficStep)
	if _, ok := last(t, w.Gateway.Traffic(w.Domain.ID, time.Time{})).Ack(0.5); ok {
		t.Error("a step without a message has a latency")
	}
}

// What is older than the window is not told, and a gap is filled with what was so
// all the time.
func TestTrafficRolls(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	s := open(t, w, w.NewDevice(t, both))
	publish(t, s, stored)
	other := open(t, w, w.NewDevice(t, registry.Subscribe))
	if other.CanPublish(t.Context(), stored) == nil {
		t.Fatal("may publish without the right")
	}
	w.Clock.Advance(7 * adapters.TrafficStep)
	all := w.Gateway.Traffic(w.Domain.ID, time.Time{})
	for _, p := range all.Points[len(all.Points)-5:] {
		if p.Sessions != 2 || p.Messages != 0 {
			t.Errorf("in the gap: %+v, want two sessions and nothing else", p)
		}
	}
	since := all.Points[len(all.Points)-3].At()
	some := w.Gateway.Traffic(w.Domain.ID, since)
	if len(some.Points) != 2 || some.Refused[registry.ReasonRightMissing] != 1 {
		t.Errorf("since the last but two: %d points, refusals %v; want 2, and the refusals of the window", len(some.Points), some.Refused)
	}
	for year, want := range map[int]int{1: len(all.Points), 9999: 0} {
		if got := w.Gateway.Traffic(w.Domain.ID, time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)); len(got.Points) != want {
			t.Errorf("since the year %d: %d points, want %d", year, len(got.Points), want)
		}
	}
	for range 2 { // the second time the whole ring is passed at once
		w.Clock.Advance(adapters.TrafficWindow + adapters.TrafficStep)
		all = w.Gateway.Traffic(w.Domain.ID, time.Time{})
		if want := int(adapters.TrafficWindow / adapters.TrafficStep); len(all.Points) != want {
			t.Errorf("%d points, want %d", len(all.Points), want)
		}
		for _, p := range all.Points {
			if p.Messages != 0 || p.Stored != 0 || p.Sessions != 2 {
				t.Fatalf("the window has %+v, want sessions alone", p)
			}
		}
		if len(all.Refused) != 0 {
			t.Errorf("old refusals are told: %v", all.Refused)
		}
	}
}

func TestAckQuantiles(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		acks     map[int]int
		quantile float64
		from, to time.Duration
	}{
		"the shortest":              {map[int]int{0: 10}, 0.5, time.Microsecond, 100 * time.Microsecond},
		"half of two":               {map[int]int{0: 50, 10: 50}, 0.5, time.Microsecond, 100 * time.Microsecond},
		"the slow hundredth":        {map[int]int{0: 98, 10: 2}, 0.99, 2 * time.Millisecond, 4 * time.Millisecond},
		"longer than all buckets":   {map[int]int{31: 1}, 0.99, 3 * time.Second, 5 * time.Second},
		"one that nobody has known": {map[int]int{99: 1, 0: 1}, 0.99, 0, 100 * time.Microsecond},
	} {
		got, ok := (adapters.TrafficPoint{Acks: test.acks}).Ack(test.quantile)
		if !ok || got < test.from || got > test.to {
			t.Errorf("%s: got %v, %v, want %v to %v", name, got, ok, test.from, test.to)
		}
	}
}

func refuse(t *testing.T, s *adapters.Session, topic string) {
	t.Helper()
	if err := s.CanPublish(t.Context(), topic); err == nil {
		t.Fatalf("%s is allowed", topic)
	}
}

func TestRefusalsFold(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	d := w.NewDevice(t, registry.Subscribe)
	s := open(t, w, d)
	refuse(t, s, stored)
	for range 99 { // would push the first out
		w.Clock.Advance(time.Second)
		refuse(t, s, notStored)
	}
	wrong := credential(d)
	wrong.Secret = registry.NewSecret()
	wrong.Remote = netip.MustParseAddr("2001:db8::1")
	if _, err := w.Gateway.Open(t.Context(), wrong); err == nil {
		t.Fatal("a wrong secret is let in")
	}
	all := w.Gateway.Refusals(adapters.RefusalQuery{Device: d.ID})
	if len(all) != 3 {
		t.Fatalf("got %+v, want three", all)
	}
	if r := all[0]; r.Action != "connect" || r.Reason != registry.ReasonWrongSecret || r.Remote != "2001:db8::1" || r.Topic != "" || r.Count != 1 || r.Via != "mqtt" {
		t.Errorf("the latest is %+v, want the connect", r)
	}
	if r := all[1]; r.Action != "publish" || r.Topic != notStored || r.Count != 99 || r.Last.Sub(r.First).Round(time.Second) != 98*time.Second {
		t.Errorf("the repeated one is %+v, want 99 over 98 s", r)
	}
	if err := w.Registry.DeleteDevice(t.Context(), w.Domain.ID, d.ID); err != nil {
		t.Fatal(err)
	}
	if all := w.Gateway.Refusals(adapters.RefusalQuery{Device: d.ID}); len(all) != 0 {
		t.Errorf("of a device that is gone: %+v", all)
	}
}

func TestRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	d := w.NewDevice(t, registry.Subscribe)
	s := open(t, w, d)
	for i := range 100 {
		w.Clock.Advance(time.Millisecond)
		refuse(t, s, fmt.Sprintf("%s/%d", stored, i))
	}
	all := w.Gateway.Refusals(adapters.RefusalQuery{Device: d.ID})
	if len(all) != 20 || all[0].Topic != stored+"/99" || all[19].Topic != stored+"/80" {
		t.Errorf("got %d from %+v to %+v, want the last twenty", len(all), all[0], all[len(all)-1])
	}
	for _, topic := range []string{stored + "/" + strings.Repeat("x", 60_000), stored + "/" + strings.Repeat("ä", 60_000), stored + "/" + strings.Repeat("äx", 300)} {
		refuse(t, s, topic)
		got := w.Gateway.Refusals(adapters.RefusalQuery{Device: d.ID})[0].Topic
		if len(got) > 260 || !strings.HasSuffix(got, "…") || !utf8.ValidString(got) || !strings.HasPrefix(topic, strings.TrimSuffix(got, "…")) {
			t.Errorf("a long topic is kept as %q", got)
		}
	}
	refuse(t, s, "m/\xff\x00")
	if got := w.Gateway.Refusals(adapters.RefusalQuery{Device: d.ID})[0].Topic; got != "m/\uFFFD\uFFFD" {
		t.Errorf("what is no text is kept as %q", got)
	}
}

// A device with all the sessions it may have is known, and so is its domain.
func TestTooManySessionsIsTheDevices(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	w.Gateway.MaxSessions = 1
	d := w.NewDevice(t, both)
	open(t, w, d)
	if _, err := w.Gateway.Open(t.Context(), credential(d)); adapters.KindOf(err) != adapters.Limited {
		t.Fatalf("a second session: %v", err)
	}
	if all := w.Gateway.Refusals(adapters.RefusalQuery{Device: d.ID}); len(all) != 1 || all[0].Reason != registry.ReasonLimited {
		t.Errorf("got %+v, want it to be limited", all)
	}
}

func FuzzRefusedTopic(f *testing.F) {
	w := adaptertest.NewWorld(f, false)
	d := w.NewDevice(f, registry.Subscribe)
	s, err := w.Gateway.Open(f.Context(), credential(d))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	f.Add("m/home/c/stored")
	f.Add(strings.Repeat("\xf0\x9f", 200))
	f.Fuzz(func(t *testing.T, topic string) {
		if s.CanPublish(t.Context(), topic) == nil {
			t.Fatal("allowed")
		}
		for _, r := range w.Gateway.Refusals(adapters.RefusalQuery{Device: d.ID}) {
			if len(r.Topic) > 3*256+3 || !utf8.ValidString(r.Topic) || strings.Contains(r.Topic, "\x00") {
				t.Fatalf("%q is kept as %q", topic, r.Topic)
			}
		}
	})
}

// twoNodes are two gateways on one bus that know of each other.
func twoNodes(t *testing.T, w *adaptertest.World) (here, there *adapters.Nodes) {
	t.Helper()
	here = &adapters.Nodes{Gateway: w.Gateway, Bus: w.Bus, Log: w.Log}
	elsewhere := &adapters.Gateway{Devices: w.Gateway.Devices, Channels: w.Gateway.Channels, Bus: w.Bus, Log: w.Gateway.Log, Now: w.Clock.Now}
	there = &adapters.Nodes{Gateway: elsewhere, Bus: w.Bus, Log: w.Log}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, n := range []*adapters.Nodes{here, there} {
		if err := n.Join(); err != nil {
			t.Fatal(err)
		}
		running.Go(func() { n.Run(ctx) })
	}
	t.Cleanup(func() { stop(); running.Wait() })
	return here, there
}

func TestTrafficOfTwoNodes(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	here, there := twoNodes(t, w)
	d := w.NewDevice(t, registry.Publish)
	mine := open(t, w, d)
	theirs, err := there.Gateway.Open(t.Context(), credential(d))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(theirs.Close)
	publish(t, mine, stored)
	publish(t, theirs, stored)
	for _, s := range []*adapters.Session{mine, theirs} {
		refuse(t, s, "m/home/c/nothing")
	}
	refuse(t, theirs, "m/home/c/nothing/either")
	w.Clock.Advance(2 * adapters.TrafficStep)
	deadline := time.After(10 * time.Second)
	var all adapters.Traffic
	for all.Sessions != 2 {
		select {
		case <-deadline:
			t.Fatalf("got %d sessions, want those of both nodes", all.Sessions)
		default:
		}
		if all, err = here.Traffic(t.Context(), w.Domain.ID, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	var messages, kept, refused, acks int
	for _, p := range all.Points {
		messages, kept, refused = messages+p.Messages, kept+p.Stored, refused+p.Refused
		for _, n := range p.Acks {
			acks += n
		}
	}
	if messages != 2 || kept != 2 || refused != 3 || acks != 2 || all.Refused[registry.ReasonChannelUnknown] != 3 || all.Partial {
		t.Errorf("%d messages, %d stored, %d refused, %d timed, %v, partial: %v", messages, kept, refused, acks, all.Refused, all.Partial)
	}
	if len(all.Points) != int(adapters.TrafficWindow/adapters.TrafficStep) {
		t.Errorf("%d points, want all of the window", len(all.Points))
	}
	if newest, err := here.Traffic(t.Context(), w.Domain.ID, all.Points[len(all.Points)-2].At()); err != nil || len(newest.Points) > 2 || len(newest.Points) < 1 {
		t.Errorf("since the last but one: %d points, %v", len(newest.Points), err)
	}
	told, err := here.Refusals(t.Context(), adapters.RefusalQuery{Device: d.ID})
	if err != nil || len(told) != 2 {
		t.Fatalf("got %+v, %v, want two refusals", told, err)
	}
	counts := map[string]int{}
	for _, r := range told {
		counts[r.Topic] = r.Count
	}
	inDomain, err := here.Refusals(t.Context(), adapters.RefusalQuery{Domain: w.Domain.ID, Reason: registry.ReasonChannelUnknown})
	if err != nil || !slices.Equal(inDomain, told) {
		t.Errorf("of the domain: %+v, %v, want %+v", inDomain, err, told)
	}
	if other, err := here.Refusals(t.Context(), adapters.RefusalQuery{Domain: w.Domain.ID, Reason: registry.ReasonWrongSecret}); err != nil || len(other) != 0 {
		t.Errorf("for another reason: %+v, %v", other, err)
	}
	if counts["m/home/c/nothing"] != 2 || counts["m/home/c/nothing/either"] != 1 {
		t.Errorf("got %v", counts)
	}
}

// A node of a version before answers every question with sessions.
func TestTrafficWithAnOlderNode(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	here, _ := twoNodes(t, w)
	d := w.NewDevice(t, both)
	publish(t, open(t, w, d), stored)
	old, err := w.Bus.OnNotice("postern.nodes", func(data []byte) {
		text := string(data)
		i := strings.Index(text, `"ask":"`)
		if i < 0 {
			return
		}
		ask := text[i+len(`"ask":"`):][:36]
		if err := w.Bus.Notify(context.Background(), "postern.nodes", []byte(`{"node":"old","answer":"`+ask+`","sessions":[]}`)); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(old)
	if err := w.Bus.Notify(t.Context(), "postern.nodes", []byte(`{"node":"old"}`)); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(10 * time.Second)
	for {
		all, err := here.Traffic(t.Context(), w.Domain.ID, time.Time{})
		if err != nil || all.Sessions != 1 {
			t.Fatalf("got %d sessions, %v", all.Sessions, err)
		}
		if all.Partial { // the old one was heard of
			break
		}
		select {
		case <-deadline:
			t.Fatal("an answer without what was asked for counts as whole")
		default:
		}
	}
	if _, err := here.Refusals(t.Context(), adapters.RefusalQuery{Device: d.ID}); err != nil {
		t.Error(err)
	}
}

// Counting must not show: it is on the way of every message.
func TestCountingDoesNotAllocate(t *testing.T) {
	w := adaptertest.NewWorld(t, false)
	s := open(t, w, w.NewDevice(t, both))
	done := func(uint64, error) {}
	if n := testing.AllocsPerRun(1000, func() { adapters.Count(s, time.Now(), false, done) }); n > 0 {
		t.Errorf("a live message: %v allocations, want none", n)
	}
	if n := testing.AllocsPerRun(1000, func() { adapters.Count(s, time.Now(), true, done)(1, nil) }); n > 1 {
		t.Errorf("a stored message: %v allocations, want the one of its answer", n)
	}
}

func BenchmarkCounting(b *testing.B) {
	w := adaptertest.NewWorld(b, false)
	s, err := w.Gateway.Open(b.Context(), credential(w.NewDevice(b, both)))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	done := func(uint64, error) {}
	for name, store := range map[string]bool{"live": false, "stored": true} {
		b.Run(name, func(b *testing.B) {
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				adapters.Count(s, now, store, done)(1, nil)
			}
		})
	}
}
