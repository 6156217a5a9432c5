package messaging

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// openBus opens an embedded bus on a fresh directory, or with what edit makes
// of its configuration.
func openBus(tb testing.TB, edit func(*Config)) *Bus {
	tb.Helper()
	config := Config{
		Embedded: EmbeddedConfig{DataDir: tb.TempDir(), Addr: "127.0.0.1:0"},
		Log:      slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	}
	if edit != nil {
		edit(&config)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	b, err := Open(ctx, config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return b
}

// service signs in as a service does, over TCP.
func service(tb testing.TB, b *Bus, canPublish bool, options ...nats.Option) *nats.Conn {
	tb.Helper()
	user, password, err := ServiceCredentials(b.config.Embedded.DataDir, canPublish)
	if err != nil {
		tb.Fatal(err)
	}
	nc, err := nats.Connect(b.Addr().String(), append(options, nats.UserInfo(user, password))...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

func receive[T any](tb testing.TB, ch <-chan T) T {
	tb.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		tb.Fatal("nothing came within 10 s")
		panic("unreachable")
	}
}

// publish waits for the bus.
func publish(b *Bus, m *Message, store bool) (uint64, error) {
	type result struct {
		seq uint64
		err error
	}
	ch := make(chan result, 2)
	b.Lane(m.Publisher).Publish(m, store, func(seq uint64, err error) { ch <- result{seq, err} })
	r := <-ch
	return r.seq, r.err
}

var lamp = Topic{Domain: "d1", Channel: "c1", Subtopic: "lamp/a.b"}

func message(text string) *Message {
	return &Message{Topic: lamp, Payload: []byte(text), Publisher: "dev1", Protocol: "mqtt", Created: time.Now()}
}

func TestPublish(t *testing.T) {
	b := openBus(t, nil)
	raw := make(chan *nats.Msg, 10)
	nc := service(t, b, false)
	if _, err := nc.ChanSubscribe("m.>", raw); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	ours := make(chan *Message, 10)
	if _, err := b.Subscribe(Filter{Domain: "d1", Channel: "c1", Subtopic: "#"}, func(m *Message) { ours <- m }); err != nil {
		t.Fatal(err)
	}
	for i, store := range []bool{true, false, true} {
		text := fmt.Sprint("message ", i)
		seq, err := publish(b, message(text), store)
		if err != nil || (seq != 0) != store {
			t.Fatalf("publish stored=%v: seq %d, err %v", store, seq, err)
		}
		msg := receive(t, raw)
		if msg.Subject != "m.d1.c.c1.lamp.a%2Eb" || string(msg.Data) != text {
			t.Errorf("a service got %q on %q, want %q", msg.Data, msg.Subject, text)
		}
		if got := msg.Header.Get(HeaderPublisher) + " " + msg.Header.Get(HeaderProtocol); got != "dev1 mqtt" {
			t.Errorf("a service got publisher and protocol %q", got)
		}
		m := receive(t, ours)
		if m.Topic != lamp || string(m.Payload) != text || m.Publisher != "dev1" || m.Protocol != "mqtt" || m.Sequence != seq {
			t.Errorf("got %+v, want topic %v, payload %q, sequence %d", m, lamp, text, seq)
		}
	}
	if err := b.Ready(t.Context()); err != nil {
		t.Errorf("Ready: %v", err)
	}
}

func TestLaneKeepsOrder(t *testing.T) {
	b := openBus(t, func(c *Config) { c.InFlight = 64 })
	const lanes, each = 8, 500
	type got struct {
		lane string
		n    int
	}
	delivered := make(chan got, lanes*each)
	if _, err := b.Subscribe(Filter{Domain: "d1", Channel: "c1", Subtopic: "#"}, func(m *Message) {
		var n int
		fmt.Sscan(string(m.Payload), &n)
		delivered <- got{m.Publisher, n}
	}); err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	for i := range lanes {
		work.Go(func() {
			key := fmt.Sprint("dev", i)
			lane := b.Lane(key)
			last, lastSeq := -1, uint64(0)
			var answers sync.WaitGroup
			for n := range each {
				m := message(fmt.Sprint(n))
				m.Publisher = key
				answers.Add(1)
				lane.Publish(m, n%3 != 0, func(seq uint64, err error) {
					defer answers.Done()
					if err != nil || n != last+1 || n%3 != 0 && seq <= lastSeq {
						t.Errorf("%s: done %d after %d, seq %d after %d, err %v", key, n, last, seq, lastSeq, err)
					}
					last = n
					if seq > 0 {
						lastSeq = seq
					}
				})
			}
			answers.Wait()
		})
	}
	work.Wait()
	last := map[string]int{}
	for range lanes * each {
		g := receive(t, delivered)
		// Live and stored messages go different ways; each kind has its order.
		kind := g.lane + fmt.Sprint(g.n%3 == 0)
		if prev, ok := last[kind]; ok && g.n <= prev {
			t.Fatalf("%s: %d was delivered after %d", g.lane, g.n, prev)
		}
		last[kind] = g.n
	}
}

// A port that is taken is told at once, not after the minute that the server
// would try.
func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = Open(ctx, Config{Embedded: EmbeddedConfig{DataDir: t.TempDir(), Addr: l.Addr().String()}})
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || ctx.Err() != nil {
		t.Errorf("got %v, want an error that names the address", err)
	}
}
