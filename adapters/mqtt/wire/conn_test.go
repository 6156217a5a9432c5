package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

const connect311 = "10 0d 0004 'MQTT' 04 02 003c 0001 'a'"
const connect5 = "10 0e 0004 'MQTT' 05 02 003c 00 0001 'a'"

// door is a Handler that takes the packet types it is told to.
type door struct {
	takes   map[byte]bool
	taken   [][]byte
	refused []*Refusal
}

func (d *door) Take(p *Packet) (bool, error) {
	if !d.takes[p.Type] {
		return false, nil
	}
	d.taken = append(d.taken, bytes.Clone(p.Raw))
	return true, nil
}

func (d *door) Refused(r *Refusal) { d.refused = append(d.refused, r) }

// converse sends packets through a gate as one stream and returns what the
// engine could read and what the client was answered. The client hangs up after
// a stream that is all good.
func converse(d *door, stream []byte, good bool) (read, answer []byte, err error) {
	client, server := net.Pipe()
	gate := New(server, Limits{PacketSize: 256 << 10}, d)
	answered := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(client)
		answered <- b
	}()
	go func() {
		_, _ = client.Write(stream)
		if good {
			client.Close()
		}
	}()
	read, err = io.ReadAll(gate)
	server.Close()
	return read, <-answered, err
}

func TestConnAnswers(t *testing.T) {
	tests := []struct{ name, sent, answer string }{
		{"a malformed CONNECT with CONNACK 0x81", "10 0e 0004 'MQTT' 05 03 003c 00 0001 'a'", "20 03 00 81 00"},
		{"version 6 with CONNACK 0x84", "10 0d 0004 'MQTT' 06 02 003c 0001 'a'", "20 03 00 84 00"},
		{"MQTT 3.1 with return code 1", "10 0f 0006 'MQIsdp' 03 02 003c 0001 'a'", "20 02 00 01"},
		{"an empty client identifier in 3.1.1 with return code 2", "10 0c 0004 'MQTT' 04 00 003c 0000", "20 02 00 02"},
		{"a malformed CONNECT of 3.1.1 by closing", "10 0d 0004 'MQTT' 04 03 003c 0001 'a'", ""},
		{"a stranger's protocol by closing", "'GET / HTTP/1.1'", ""},
		{"a large CONNECT with CONNACK 0x95", "10 ff7f 0004 'MQTT' 05 02 003c 00 0001 'a'", "20 03 00 95 00"},
		{"a malformed packet with DISCONNECT 0x81", connect5 + "c0 01 00", "e0 01 81"},
		{"a second CONNECT with DISCONNECT 0x82", connect5 + connect5, "e0 01 82"},
		{"a topic alias of 0 with DISCONNECT 0x94", connect5 + "30 07 0001 'a' 03 23 0000", "e0 01 94"},
		{"a large packet with DISCONNECT 0x95", connect5 + "30 ffff7f 0001 'a'", "e0 01 95"},
		{"an over-long remaining length with DISCONNECT 0x81", connect5 + "c0 8000", "e0 01 81"},
		{"a remaining length of five bytes with DISCONNECT 0x81", connect5 + "30 ffffffff7f", "e0 01 81"},
		{"a bad packet of 3.1.1 by closing", connect311 + "c0 01 00", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := &door{}
			_, answer, err := converse(d, bytesOf(t, tt.sent), false)
			var r *Refusal
			if !errors.As(err, &r) || len(d.refused) != 1 || d.refused[0] != r {
				t.Errorf("err = %v, refused = %v; want the same one refusal", err, d.refused)
			}
			if want := bytesOf(t, tt.answer); !bytes.Equal(answer, want) {
				t.Errorf("answer = % x, want % x", answer, want)
			}
		})
	}
}

func TestConnPassesPacketsInOrder(t *testing.T) {
	d := &door{takes: map[byte]bool{Publish: true}}
	ping, publish := bytesOf(t, "c0 00"), bytesOf(t, "30 04 0001 'a' 'x'")
	stream := bytesOf(t, connect311)
	want := bytes.Clone(stream)
	for range 1000 {
		stream = append(append(stream, publish...), ping...)
		want = append(want, ping...)
	}
	read, _, _ := converse(d, stream, true)
	if !bytes.Equal(read, want) {
		t.Errorf("the engine read %d bytes, want %d", len(read), len(want))
	}
	if len(d.taken) != 1000 {
		t.Errorf("taken %d packets, want 1000", len(d.taken))
	}
}

func TestConnGrowsForALargePacket(t *testing.T) {
	d := &door{takes: map[byte]bool{Publish: true}}
	body := append(bytesOf(t, "0001 'a' 00"), bytes.Repeat([]byte("x"), 200_000)...)
	large := append([]byte{0x30, byte(len(body)&0x7f) | 0x80, byte(len(body)>>7&0x7f) | 0x80, byte(len(body) >> 14)}, body...)
	stream := append(bytesOf(t, connect5), large...)
	stream = append(stream, bytesOf(t, "c0 00")...)
	read, _, _ := converse(d, stream, true)
	if len(d.taken) != 1 || !bytes.Equal(d.taken[0], large) {
		t.Error("the large packet did not arrive as it was sent")
	}
	if !bytes.HasSuffix(read, []byte{0xc0, 0}) {
		t.Error("the packet behind it did not arrive")
	}
}

func TestConnTimes(t *testing.T) {
	tests := []struct {
		name   string
		client func(net.Conn)
		want   *Refusal
		after  time.Duration
		answer string
	}{
		{"an idle stranger", func(net.Conn) {}, errConnectTime, 10 * time.Second, ""},
		{"a CONNECT at one byte a second", func(c net.Conn) { drip(c, connect5) }, errConnectTime, 10 * time.Second, ""},
		{"a PUBLISH at one byte a second", func(c net.Conn) {
			_, _ = c.Write(bytesOf(nil, connect5))
			drip(c, "30 7f 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'")
		}, errPacketTime, 15 * time.Second, "e0 01 83"},
		{"a silent client past its keep-alive", func(c net.Conn) {
			_, _ = c.Write(bytesOf(nil, connect5))
		}, errKeepAlive, 91 * time.Second, "e0 01 8d"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				gate := New(server, Limits{}, &door{takes: map[byte]bool{Publish: true}})
				start := time.Now()
				_ = gate.SetDeadline(start.Add(90 * time.Second))
				answer := make(chan []byte, 1)
				go func() {
					b, _ := io.ReadAll(client)
					answer <- b
				}()
				go tt.client(client)
				_, err := io.ReadAll(gate)
				if !errors.Is(err, tt.want) {
					t.Errorf("ended with %v, want %v", err, tt.want)
				}
				if took := time.Since(start); took != tt.after {
					t.Errorf("ended after %v, want %v", took, tt.after)
				}
				server.Close()
				synctest.Wait()
				time.Sleep(time.Minute) // in the bubble: a dripping client notices the end
				if got, want := <-answer, bytesOf(t, tt.answer); !bytes.Equal(got, want) {
					t.Errorf("answer = % x, want % x", got, want)
				}
			})
		})
	}
}

func TestConnKeepAliveIsKeptUpByTakenPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		gate := New(server, Limits{}, &door{takes: map[byte]bool{Publish: true}})
		_ = gate.SetDeadline(time.Now().Add(3 * time.Second))
		go func() {
			_, _ = client.Write(bytesOf(t, connect311))
			for range 20 {
				time.Sleep(2500 * time.Millisecond)
				_, _ = client.Write(bytesOf(t, "30 04 0001 'a' 'x'"))
			}
			client.Close()
		}()
		if _, err := io.ReadAll(gate); err != nil {
			t.Errorf("ended with %v, want the client's own end", err)
		}
		server.Close()
	})
}

func drip(c net.Conn, packet string) {
	for _, b := range bytesOf(nil, packet) {
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// replay is a socket that gives the same bytes for ever.
type replay struct {
	net.Conn
	b  []byte
	at int
}

func (r *replay) Read(p []byte) (int, error) {
	n := copy(p, r.b[r.at:])
	r.at = (r.at + n) % len(r.b)
	return n, nil
}

func (r *replay) SetReadDeadline(time.Time) error { return nil }

type counter struct{ n, stop int }

func (c *counter) Take(p *Packet) (bool, error) {
	if c.n++; c.n >= c.stop {
		return true, io.EOF
	}
	return true, nil
}

func (c *counter) Refused(*Refusal) {}

func publishGate(t testing.TB, n int) (*Conn, *counter, int) {
	packet := bytesOf(t, "32 7c 0012 'm/domain/c/channel' 0007 00")
	packet = append(packet, make([]byte, 2+0x7c-len(packet))...)
	c := &counter{stop: n}
	gate := New(&replay{b: packet}, Limits{}, c)
	gate.version = Version5
	return gate, c, len(packet)
}

func TestConnDoesNotAllocateForAPublish(t *testing.T) {
	gate, c, _ := publishGate(t, 1<<30)
	if allocs := testing.AllocsPerRun(10_000, func() { _ = gate.next() }); allocs != 0 {
		t.Errorf("%v allocations for a PUBLISH, want 0", allocs)
	}
	if c.n < 10_000 {
		t.Errorf("the door saw %d packets", c.n)
	}
}

func BenchmarkPublish(b *testing.B) {
	gate, _, size := publishGate(b, b.N)
	b.ReportAllocs()
	b.SetBytes(int64(size))
	_, _ = gate.Read(make([]byte, 1))
}
