package test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// fleet makes n devices on the channel of a quick start.
func (s *server) fleet(g guide, n int) []device {
	s.t.Helper()
	token := strings.TrimSpace(s.postern("token"))
	names := make([]map[string]string, n)
	for i := range names {
		names[i] = map[string]string{"name": fmt.Sprintf("pump-%d", i)}
	}
	var made struct {
		Clients []struct {
			ID          string
			Credentials struct{ Secret string }
		}
	}
	s.api(token, "POST", "/"+g.domain+"/clients/bulk", names, &made)
	devices, ids := make([]device, n), make([]string, n)
	for i, c := range made.Clients {
		devices[i], ids[i] = device{c.ID, c.Credentials.Secret}, c.ID
	}
	s.api(token, "POST", "/"+g.domain+"/channels/"+g.channel+"/connect", map[string]any{"client_ids": ids, "types": []string{"publish", "subscribe"}}, nil)
	return devices
}

// TestAcknowledgedSurvivesKill loads the server from 50 clients by QoS 1, kills
// it without warning, and looks for every acknowledged message in the stream of
// the server that comes after, in each publisher's order.
func TestAcknowledgedSurvivesKill(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	g := s.quick()
	devices := s.fleet(g, 50)
	acked := make([]atomic.Int64, len(devices)) // the last acknowledged number of each
	var total atomic.Int64
	var clients sync.WaitGroup
	for i, d := range devices {
		clients.Go(func() {
			c, code, err := dialMQTT("127.0.0.1:"+s.mqtt, "load", d)
			if err != nil || code != 0 {
				t.Errorf("client %d: code %d, %v", i, code, err)
				return
			}
			defer c.conn.Close()
			const window = 16
			for sent, seen := 0, 0; ; {
				for ; sent-seen < window; sent++ {
					payload := fmt.Appendf(nil, "%d %d", i, sent+1)
					if _, err := c.conn.Write(publishPacket(g.topic, uint16(sent%60000)+1, payload)); err != nil {
						return // the kill
					}
				}
				first, body, err := c.read()
				if err != nil {
					return // the kill
				}
				if first != 0x40 || binary.BigEndian.Uint16(body) != uint16(seen%60000)+1 {
					t.Errorf("client %d: got packet %x %x, want the PUBACK of number %d", i, first, body, seen+1)
					return
				}
				seen++
				acked[i].Store(int64(seen))
				total.Add(1)
			}
		})
	}
	s.eventually("many messages are acknowledged", func() error {
		if n := total.Load(); n < 20_000 {
			return fmt.Errorf("%d so far", n)
		}
		return nil
	})
	s.stop(syscall.SIGKILL)
	clients.Wait()
	s.start()

	seen := s.stream(t)
	for i := range devices {
		var last int64
		for _, n := range seen[i] {
			if n != last+1 {
				t.Fatalf("client %d: after number %d the stream holds %d", i, last, n)
			}
			last = n
		}
		if last < acked[i].Load() {
			t.Errorf("client %d: number %d was acknowledged, the stream ends at %d", i, acked[i].Load(), last)
		}
	}
	t.Logf("%d messages acknowledged before the kill", total.Load())
}

// stream stops the server, opens its stream with a plain nats-server and returns
// the numbers in it by client.
func (s *server) stream(t *testing.T) map[int][]int64 {
	t.Helper()
	s.stop(syscall.SIGTERM)
	ns, err := natsserver.NewServer(&natsserver.Options{DontListen: true, JetStream: true, NoSigs: true, StoreDir: filepath.Join(s.dir, "data", "nats")})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	defer func() { ns.Shutdown(); ns.WaitForShutdown() }()
	if !ns.ReadyForConnections(patience) {
		t.Fatal("the stream's server did not start")
	}
	conn, err := nats.Connect("", nats.InProcessServer(ns))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	info, err := js.StreamInfo("messages")
	if err != nil {
		t.Fatal(err)
	}
	sub, err := js.SubscribeSync("", nats.OrderedConsumer(), nats.BindStream("messages"))
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[int][]int64{}
	for range info.State.Msgs {
		m, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		var client int
		var n int64
		if _, err := fmt.Sscanf(string(m.Data), "%d %d", &client, &n); err == nil {
			numbers[client] = append(numbers[client], n)
		}
	}
	return numbers
}

// TestFullDiskAcknowledgesNothing gives the stream little room: once it is full
// there is no PUBACK and no 202, and readiness says so.
func TestFullStreamAcknowledgesNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t, "POSTERN_STREAM_MAX_BYTES=200000")
	g := s.quick()
	big := filepath.Join(s.dir, "big")
	if err := os.WriteFile(big, bytes.Repeat([]byte("x"), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	publish := "curl -s -o /dev/null -w '%{http_code}' -X POST -H 'Authorization: Client " + g.sensor.secret + "' http://127.0.0.1:" + s.http + "/http/" + g.topic + " --data-binary @big"
	stored := 0
	s.eventually("the stream is full", func() error {
		out, err := s.run(publish)
		switch {
		case err != nil:
			return err
		case out == "202":
			stored++
			return errors.New("there is room")
		case out != "503":
			t.Fatalf("got %s, want 503", out)
		}
		return nil
	})
	if stored == 0 || stored > 20 {
		t.Errorf("%d messages of 10,000 bytes were stored in 200,000", stored)
	}
	c, code, err := dialMQTT("127.0.0.1:"+s.mqtt, "full", g.sensor)
	if err != nil || code != 0 {
		t.Fatal(code, err)
	}
	defer c.conn.Close()
	if _, err := c.conn.Write(publishPacket(g.topic, 1, bytes.Repeat([]byte("x"), 10_000))); err != nil {
		t.Fatal(err)
	}
	if first, _, err := c.read(); err == nil {
		t.Errorf("a publish that was not stored was answered with packet %x", first)
	}
}

// TestRefusedConnectsLeaveNothing refuses 10,000 connects at each of the doors
// and looks at what is left of them.
func TestRefusedConnectsLeaveNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t, "POSTERN_LIMIT_SOURCE_RATE=0", "POSTERN_LIMIT_DEVICE_RATE=0")
	g := s.quick()
	wrong := device{g.sensor.id, "not-the-secret-of-this-device"}
	refuse := func(n int) {
		var workers sync.WaitGroup
		for range 8 {
			workers.Go(func() {
				for range n / 8 {
					if _, code, err := dialMQTT("127.0.0.1:"+s.mqtt, "x", wrong); err != nil || code != 4 && code != 5 {
						t.Errorf("code %d, %v, want 4 or 5", code, err)
						return
					}
				}
			})
		}
		workers.Wait()
	}
	number := func(name string) (n float64) {
		if err := json.Unmarshal([]byte(s.metric(name)), &n); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	refuse(400) // pools and caches are filled
	goroutines, files := number("go_goroutines"), number("process_open_fds")
	refuse(10_000)
	s.eventually("nothing is left of the refused", func() error {
		// A few come and go with the scrape itself and the runtime's own work.
		if g, f := number("go_goroutines"), number("process_open_fds"); g > goroutines+10 || f > files+10 {
			return fmt.Errorf("%v goroutines (before: %v), %v descriptors (before: %v)", g, goroutines, f, files)
		}
		return nil
	})
	if n := number(`postern_refusals_total{door="mqtt",reason="wrong_secret"}`); n != 10_400 {
		t.Errorf("%v refusals were counted, want 10400", n)
	}
}

// TestSlowAndBrokenConnectionsEnd sends what no client should, and waits for
// the server to end it.
func TestSlowAndBrokenConnectionsEnd(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	g := s.quick()
	connect := connectPacket("slow", g.sensor.id, g.sensor.secret)
	for name, test := range map[string]struct {
		port  string
		bytes []byte
		slow  bool
	}{
		"MQTT: nothing at all":         {port: s.mqtt},
		"MQTT: half a CONNECT":         {port: s.mqtt, bytes: connect[:len(connect)/2]},
		"MQTT: a byte a second":        {port: s.mqtt, bytes: connect, slow: true},
		"MQTT: a CONNECT of 200 MB":    {port: s.mqtt, bytes: []byte{0x10, 0xff, 0xff, 0xff, 0x5f, 0, 4}},
		"MQTT: something else":         {port: s.mqtt, bytes: []byte("GET / HTTP/1.1\r\n\r\n")},
		"MQTTS: no handshake":          {port: s.mqtts},
		"MQTTS: half a handshake":      {port: s.mqtts, bytes: []byte{0x16, 3, 1, 2, 0, 1}},
		"HTTP: nothing at all":         {port: s.http},
		"HTTP: half a header":          {port: s.http, bytes: []byte("POST /http/" + g.topic + " HTTP/1.1\r\nHost: x\r\nAuth")},
		"HTTP: a body that never ends": {port: s.http, bytes: []byte("POST /http/" + g.topic + " HTTP/1.1\r\nHost: x\r\nAuthorization: Client " + g.sensor.secret + "\r\nContent-Length: 100\r\n\r\nabc")},
		"HTTP: a body, a byte a second": {port: s.http, slow: true,
			bytes: []byte("POST /http/" + g.topic + " HTTP/1.1\r\nHost: x\r\nAuthorization: Client " + g.sensor.secret + "\r\nContent-Length: 100\r\n\r\nabc")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			took, err := endsWithin(test.port, test.bytes, test.slow)
			if err != nil {
				t.Errorf("after %s: %v", took, err)
			}
		})
	}
	t.Cleanup(func() {
		if out, err := s.run(g.find("mosquitto_pub", "-P")); err != nil {
			t.Errorf("after all of them a good client is not served: %v %s", err, out)
		}
	})
}

// endsWithin writes to a port and waits for the server to close.
func endsWithin(port string, data []byte, slow bool) (time.Duration, error) {
	c, err := dial(port)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	start := time.Now()
	if err := c.SetDeadline(start.Add(patience)); err != nil {
		return 0, err
	}
	closed := make(chan error, 1)
	go func() { closed <- drain(c) }()
	if !slow {
		if _, err := c.Write(data); err != nil {
			return time.Since(start), nil // closed already
		}
		return time.Since(start), <-closed
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for _, b := range data {
		select {
		case err := <-closed:
			return time.Since(start), err
		case <-tick.C:
			if _, err := c.Write([]byte{b}); err != nil {
				return time.Since(start), <-closed
			}
		}
	}
	return time.Since(start), <-closed
}
