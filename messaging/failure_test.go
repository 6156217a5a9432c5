package messaging

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestServerDies kills the server while 8 lanes publish: every done is called
// once, and what was acknowledged is in the stream, in each lane's order, when
// the server comes back.
func TestServerDies(t *testing.T) {
	dir := t.TempDir()
	b := openBus(t, func(c *Config) { c.Embedded.DataDir, c.InFlight = dir, 256 })
	const lanes, each = 8, 2000
	var acked [lanes]map[int]uint64
	var calls [lanes][each]atomic.Int32
	var answers, work sync.WaitGroup
	var total atomic.Int32
	enough := make(chan struct{})
	for i := range lanes {
		acked[i] = map[int]uint64{}
		answers.Add(each)
		work.Go(func() {
			lane := b.Lane(fmt.Sprint(i))
			for n := range each {
				m := message(fmt.Sprintf("%d %d", i, n))
				lane.Publish(m, true, func(seq uint64, err error) {
					defer answers.Done()
					calls[i][n].Add(1)
					switch {
					case err == nil:
						acked[i][n] = seq
						if total.Add(1) == 500 {
							close(enough)
						}
					case !errors.Is(err, ErrUnavailable):
						t.Errorf("got %v, want ErrUnavailable", err)
					}
				})
			}
		})
	}
	receive(t, enough)
	b.embedded.server.Shutdown()
	work.Wait()
	answers.Wait()
	if _, err := publish(b, message("late"), true); !errors.Is(err, ErrUnavailable) {
		t.Errorf("publish after the end: %v, want ErrUnavailable", err)
	}
	if err := b.Ready(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Ready after the end: %v, want ErrUnavailable", err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	for i := range lanes {
		for n := range each {
			if c := calls[i][n].Load(); c != 1 {
				t.Fatalf("done of %d %d was called %d times", i, n, c)
			}
		}
	}
	if n := total.Load(); n == lanes*each {
		t.Fatalf("all %d were acknowledged: the server died too late to tell anything", n)
	}

	again := openBus(t, func(c *Config) { c.Embedded.DataDir = dir })
	stream, err := again.js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	for i := range lanes {
		last := uint64(0)
		for n := range each {
			seq, ok := acked[i][n]
			if !ok {
				continue
			}
			if seq <= last {
				t.Errorf("lane %d: message %d has sequence %d, after %d", i, n, seq, last)
			}
			last = seq
			msg, err := stream.GetMsg(t.Context(), seq)
			if err != nil {
				t.Fatalf("acknowledged message %d %d: %v", i, n, err)
			}
			if want := fmt.Sprintf("%d %d", i, n); string(msg.Data) != want {
				t.Fatalf("sequence %d holds %q, want %q", seq, msg.Data, want)
			}
		}
	}
}

func TestStreamFull(t *testing.T) {
	b := openBus(t, func(c *Config) { c.Stream.MaxBytes = 100 << 10 })
	m := message(string(make([]byte, 10<<10)))
	stored := uint64(0)
	for range 20 {
		seq, err := publish(b, m, true)
		if errors.Is(err, ErrUnavailable) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		stored = seq
	}
	if stored == 0 || stored > 10 {
		t.Fatalf("a stream of 100 KiB took %d messages of 10 KiB", stored)
	}
	if seq, err := publish(b, m, true); !errors.Is(err, ErrUnavailable) || seq != 0 {
		t.Errorf("publish to a full stream: %d, %v; want ErrUnavailable", seq, err)
	}
	if _, err := publish(b, m, false); err != nil {
		t.Errorf("live publish with a full stream: %v", err)
	}
	stream, err := b.js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	if s := stream.CachedInfo().State; s.LastSeq != stored || s.FirstSeq != 1 {
		t.Errorf("the stream holds %d to %d, want 1 to %d", s.FirstSeq, s.LastSeq, stored)
	}
}

func TestStreamGone(t *testing.T) {
	b := openBus(t, nil)
	if err := b.js.DeleteStream(t.Context(), streamName); err != nil {
		t.Fatal(err)
	}
	if _, err := publish(b, message("x"), true); !errors.Is(err, ErrUnavailable) {
		t.Errorf("publish without a stream: %v, want ErrUnavailable", err)
	}
	if err := b.Ready(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Ready without a stream: %v, want ErrUnavailable", err)
	}
}

func TestTooLarge(t *testing.T) {
	b := openBus(t, func(c *Config) { c.MaxPayload = 1000 })
	for _, store := range []bool{true, false} {
		if _, err := publish(b, message(string(make([]byte, 1001))), store); !errors.Is(err, ErrTooLarge) {
			t.Errorf("1,001 bytes, stored %v: %v, want ErrTooLarge", store, err)
		}
		if _, err := publish(b, message(string(make([]byte, 1000))), store); err != nil {
			t.Errorf("1,000 bytes, stored %v: %v", store, err)
		}
		m := message("x")
		m.MQTT = &MQTTProperties{User: []UserProperty{{"k", string(make([]byte, 2*headerRoom))}}}
		if _, err := publish(b, m, store); !errors.Is(err, ErrTooLarge) {
			t.Errorf("headers of 100 KiB and more, stored %v: %v, want ErrTooLarge", store, err)
		}
	}
}

// external runs a NATS server of its own on port, any when -1.
func external(t *testing.T, dir string, port int) *server.Server {
	t.Helper()
	return serve(t, &server.Options{Port: port, StoreDir: dir, Username: "postern", Password: "not a secret"})
}

// serve runs a NATS server with JetStream until the test ends.
func serve(t *testing.T, options *server.Options) *server.Server {
	t.Helper()
	options.Host, options.JetStream, options.NoSigs, options.NoLog = "127.0.0.1", true, true, true
	if options.Port == 0 {
		options.Port = server.RANDOM_PORT
	}
	if options.StoreDir == "" {
		options.StoreDir = t.TempDir()
	}
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the outside server did not start")
	}
	return s
}

func TestOutsideServer(t *testing.T) {
	dir := t.TempDir()
	s := external(t, dir, -1)
	port := s.Addr().(*net.TCPAddr).Port
	back := make(chan struct{}, 1)
	b := openBus(t, func(c *Config) {
		c.URL = fmt.Sprintf("nats://postern:not%%20a%%20secret@127.0.0.1:%d", port)
		c.OnReconnect = func() { back <- struct{}{} }
	})
	if b.Addr() != nil {
		t.Error("a server is embedded besides")
	}
	got := make(chan *Message, 10)
	if _, err := b.Subscribe(Filter{Domain: "d1", Channel: "c1", Subtopic: "#"}, func(m *Message) { got <- m }); err != nil {
		t.Fatal(err)
	}
	if seq, err := publish(b, message("one"), true); err != nil || seq != 1 {
		t.Fatalf("publish: %d, %v", seq, err)
	}
	if m := receive(t, got); m.Sequence != 1 {
		t.Errorf("sequence %d, want 1", m.Sequence)
	}

	s.Shutdown()
	s.WaitForShutdown()
	if _, err := publish(b, message("lost"), true); !errors.Is(err, ErrUnavailable) {
		t.Errorf("publish with the server away: %v, want ErrUnavailable", err)
	}
	if _, err := publish(b, message("lost"), false); !errors.Is(err, ErrUnavailable) {
		t.Errorf("live publish with the server away: %v, want ErrUnavailable", err)
	}
	if err := b.Notify(t.Context(), "postern.changes", nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Notify with the server away: %v, want ErrUnavailable", err)
	}

	external(t, dir, port)
	receive(t, back)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	poll(t, ctx, func() bool { return b.Ready(ctx) == nil })
	if seq, err := publish(b, message("two"), true); err != nil || seq != 2 {
		t.Fatalf("publish after the reconnect: %d, %v; want sequence 2", seq, err)
	}
	if m := receive(t, got); string(m.Payload) != "two" {
		t.Errorf("%q was delivered after the reconnect, want \"two\" alone", m.Payload)
	}
}

// poll tries until ok, or ctx is done.
func poll(t *testing.T, ctx context.Context, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatal("it did not become true in time")
		case <-tick.C:
		}
	}
}

func TestOpenGivesUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, Config{URL: "nats://127.0.0.1:1"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

// TestSilentStream has a server that never answers: the sweep does.
func TestSilentStream(t *testing.T) {
	b := openBus(t, func(c *Config) { c.AckTimeout, c.InFlight = 200*time.Millisecond, 4 })
	if err := b.js.DeleteStream(t.Context(), streamName); err != nil {
		t.Fatal(err)
	}
	// Somebody listens, so there is no "no responders", but nobody replies.
	if _, err := b.control.Subscribe("in.>", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := b.control.Flush(); err != nil {
		t.Fatal(err)
	}
	lane := b.Lane("x")
	var answers sync.WaitGroup
	for range 10 { // more than may be in flight
		answers.Add(1)
		lane.Publish(message("x"), true, func(seq uint64, err error) {
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %d, %v; want ErrUnavailable", seq, err)
			}
			answers.Done()
		})
	}
	answers.Wait()
}

func TestCloseWaits(t *testing.T) {
	b := openBus(t, nil)
	lane := b.Lane("x")
	var failed, stored atomic.Int32
	for range 1000 {
		lane.Publish(message("x"), rand.IntN(2) == 0, func(_ uint64, err error) {
			if err != nil {
				failed.Add(1)
			} else {
				stored.Add(1)
			}
		})
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f, s := failed.Load(), stored.Load(); f != 0 || s != 1000 {
		t.Errorf("%d failed and %d stored when Close returned, want 0 and 1000", f, s)
	}
	if _, err := publish(b, message("x"), true); !errors.Is(err, ErrUnavailable) {
		t.Errorf("publish after Close: %v, want ErrUnavailable", err)
	}
}

func TestServices(t *testing.T) {
	b := openBus(t, nil)
	got := make(chan *Message, 10)
	if _, err := b.Subscribe(Filter{Domain: "d1", Channel: "c1", Subtopic: "#"}, func(m *Message) { got <- m }); err != nil {
		t.Fatal(err)
	}
	refusals := make(chan error, 10)
	refused := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refusals <- err })
	listen := service(t, b, false, refused)
	command := service(t, b, true, refused)

	for name, nc := range map[string]*nats.Conn{"one that listens": listen, "one that commands": command} {
		subjects := []string{"m.d1.c.c1", "postern.changes", "$JS.API.STREAM.DELETE.messages", "_POSTERN.x.0"}
		if nc == listen {
			subjects = append(subjects, "in.m.d1.c.c1")
		}
		for _, subject := range subjects {
			if err := nc.Publish(subject, []byte("forged")); err != nil {
				t.Fatal(err)
			}
			if err := receive(t, refusals); !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s published to %s: %v", name, subject, err)
			}
		}
		for _, subject := range []string{">", "in.>", "postern.>", "_POSTERN.>", "$JS.>"} {
			if _, err := nc.SubscribeSync(subject); err != nil {
				t.Fatal(err)
			}
			if err := receive(t, refusals); !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s subscribed to %s: %v", name, subject, err)
			}
		}
	}

	js, err := jetstream.New(command)
	if err != nil {
		t.Fatal(err)
	}
	ack, err := js.Publish(t.Context(), "in."+lamp.Subject(), []byte("switch on"))
	if err != nil || ack.Sequence != 1 {
		t.Fatalf("a command: %+v, %v", ack, err)
	}
	// The first that arrives: nothing forged came before it.
	m := receive(t, got)
	if string(m.Payload) != "switch on" || m.Publisher != "" || m.Protocol != "nats" || m.Sequence != 1 || time.Since(m.Created) > time.Minute {
		t.Errorf("got %+v", m)
	}

	if _, err := nats.Connect(b.Addr().String()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("connect without credentials: %v", err)
	}
	if _, err := nats.Connect(b.Addr().String(), nats.UserInfo(ownUser, b.embedded.password)); err == nil {
		t.Error("Postern's own user came in by TCP")
	}
}

func TestServiceCredentials(t *testing.T) {
	dir := t.TempDir()
	user, password, err := ServiceCredentials(dir, false)
	if err != nil || user == "" || len(password) < 26 {
		t.Fatalf("got %q, %d characters, %v", user, len(password), err)
	}
	if u, p, err := ServiceCredentials(dir, true); err != nil || u == user || p == password {
		t.Errorf("the users with and without the right to publish are alike (%v)", err)
	}
	if _, p, err := ServiceCredentials(dir, false); err != nil || p != password {
		t.Errorf("a second look gave other credentials (%v)", err)
	}
	path := filepath.Join(dir, credentialsFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ServiceCredentials(dir, false); err == nil {
		t.Error("a file that the group may read was taken")
	}
}

func TestSharedSubscription(t *testing.T) {
	b := openBus(t, nil)
	share, err := ParseFilter("$share/g/m/d1/c/c1/#")
	if err != nil {
		t.Fatal(err)
	}
	other := share
	other.Subtopic = "+/#" // overlaps, and is a group of its own
	got := make(chan string, 1000)
	for name, f := range map[string]Filter{"a": share, "b": share, "other": other} {
		if _, err := b.Subscribe(f, func(*Message) { got <- name }); err != nil {
			t.Fatal(err)
		}
	}
	const n = 200
	for range n {
		if _, err := publish(b, message("x"), true); err != nil {
			t.Fatal(err)
		}
	}
	count := map[string]int{}
	for range 2 * n {
		count[receive(t, got)]++
	}
	if count["a"]+count["b"] != n || count["other"] != n || count["a"] == 0 || count["b"] == 0 {
		t.Errorf("got %v, want %d over a and b, and %d for other", count, n, n)
	}
}

func TestSubscriptionCloses(t *testing.T) {
	b := openBus(t, nil)
	got, marker := make(chan *Message, 10), make(chan *Message, 10)
	f := Filter{Domain: "d1", Channel: "c1", Subtopic: "#"}
	s, err := b.Subscribe(f, func(m *Message) { got <- m })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Subscribe(f, func(m *Message) { marker <- m }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := publish(b, message("x"), true); err != nil {
		t.Fatal(err)
	}
	receive(t, marker)
	if len(got) > 0 {
		t.Error("a closed subscription delivered")
	}
	l := s.r.link
	l.subsMu.Lock()
	defer l.subsMu.Unlock()
	if len(l.subs) != 2 {
		t.Errorf("%d parts are registered, want the 2 of the open subscription", len(l.subs))
	}
}

// TestSlowSubscriberIsCutOff has a deliver that stands still while the server
// holds ever more for it.
func TestSlowSubscriberIsCutOff(t *testing.T) {
	slow := make(chan Filter, 10)
	b := openBus(t, func(c *Config) {
		c.Connections = 1
		c.OnSlow = func(f Filter, times int) {
			if times > 0 {
				slow <- f
			}
		}
	})
	f := Filter{Domain: "d1", Channel: "c1", Subtopic: "#"}
	release := make(chan struct{})
	got := make(chan string, 1000)
	if _, err := b.Subscribe(f, func(m *Message) {
		if len(m.Payload) < 100 {
			got <- string(m.Payload)
			return
		}
		<-release
	}); err != nil {
		t.Fatal(err)
	}
	lane := b.Lane("x")
	m := message(string(make([]byte, 1<<20)))
	stop := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				lane.Publish(m, false, nil)
			}
		}
	})
	// The server says so on a connection that nobody reads, or just hangs up:
	// once deliver goes on, the link finds out.
	poll(t, t.Context(), func() bool { return b.embedded.server.NumSlowConsumers() > 0 })
	close(stop)
	work.Wait()
	close(release)
	poll(t, t.Context(), func() bool {
		if _, err := publish(b, message("after"), false); err != nil {
			t.Fatalf("publish: %v", err)
		}
		select {
		case text := <-got:
			return text == "after"
		default:
			return false
		}
	})
	select {
	case c := <-slow:
		if c != f {
			t.Errorf("%v was slow, want %v", c, f)
		}
	default:
		t.Error("nobody was told")
	}
}

func TestNotices(t *testing.T) {
	b := openBus(t, nil)
	got := make(chan string, 10)
	stop, err := b.OnNotice("postern.changes", func(data []byte) { got <- string(data) })
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"one", "two"} {
		if err := b.Notify(t.Context(), "postern.changes", []byte(s)); err != nil {
			t.Fatal(err)
		}
		if g := receive(t, got); g != s {
			t.Errorf("got %q, want %q", g, s)
		}
	}
	stop()
}

func TestReadAck(t *testing.T) {
	tests := []struct {
		data string
		seq  uint64
		err  error
	}{
		{`{"stream":"messages","seq":17}`, 17, nil},
		{`{"stream":"messages","seq":18446744073709551615,"domain":"x"}`, 1<<64 - 1, nil},
		{`{"stream":"messages", "seq":17}`, 17, nil},
		{`{"stream":"other","seq":17}`, 0, ErrUnavailable},
		{`{"stream":"messages","seq":}`, 0, ErrUnavailable},
		{`{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}`, 0, ErrUnavailable},
		{`{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"}}`, 0, ErrTooLarge},
		{``, 0, ErrUnavailable},
		{`{}`, 0, ErrUnavailable},
	}
	for _, tt := range tests {
		seq, err := readAck(nil, []byte(tt.data))
		if seq != tt.seq || !errors.Is(err, tt.err) {
			t.Errorf("%s: got %d, %v; want %d, %v", tt.data, seq, err, tt.seq, tt.err)
		}
	}
}
