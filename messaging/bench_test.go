package messaging

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkPublish measures publishing by 50 lanes of 100-byte messages until
// the last is answered, and with a subscriber until the last is delivered.
func BenchmarkPublish(b *testing.B) {
	for _, bb := range []struct {
		name      string
		store     bool
		done      bool
		subscribe bool
	}{
		{"live without done", false, false, false},
		{"live", false, true, false},
		{"live delivered", false, true, true},
		{"live without done delivered", false, false, true},
		{"stored", true, true, false},
		{"stored delivered", true, true, true},
	} {
		b.Run(bb.name, func(b *testing.B) {
			bus := openBus(b, nil)
			var delivered atomic.Int64
			all := make(chan struct{})
			n := int64(b.N)
			if bb.subscribe {
				if _, err := bus.Subscribe(Filter{Domain: "d1", Channel: "c1", Subtopic: "#"}, func(*Message) {
					if delivered.Add(1) == n {
						close(all)
					}
				}); err != nil {
					b.Fatal(err)
				}
			}
			const lanes = 50
			m := message(string(make([]byte, 100)))
			m.Session = "0198c0de-0000-7000-8000-000000000001"
			var next atomic.Int64
			var answers, work sync.WaitGroup
			answers.Add(b.N)
			done := func(_ uint64, err error) {
				if err != nil {
					b.Error(err)
				}
				answers.Done()
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range lanes {
				lane := bus.Lane(fmt.Sprint(i))
				work.Go(func() {
					for next.Add(1) <= n {
						if bb.done {
							lane.Publish(m, bb.store, done)
						} else {
							lane.Publish(m, bb.store, nil)
						}
					}
				})
			}
			work.Wait()
			if bb.done {
				answers.Wait()
			}
			if bb.subscribe {
				receive(b, all)
			} else {
				flush(bus)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

func flush(b *Bus) {
	for _, p := range b.publishers {
		_ = p.link.sync() // a failed publish tells
	}
}

func BenchmarkTopic(b *testing.B) {
	const s = "m/0198c0de-0000-7000-8000-000000000001/c/0198c0de-0000-7000-8000-000000000002/room/lamp"
	topic, err := ParseTopic(s)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseTopic(s); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("subject", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = topic.Subject()
		}
	})
}
