// Package mqttgen makes MQTT 3.1.1 load, lean enough not to be what is measured:
// packets are made once, written many at a time, and counted without decoding.
//
// A load is closed: no more messages are under way than its window, so no broker
// has to drop any, and what is measured is what it carries, not what it loses.
package mqttgen

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// ErrRefused says that the broker answered and did not let the client in.
var ErrRefused = errors.New("refused")

// A Client is one connection.
type Client struct {
	nc net.Conn
	r  *bufio.Reader
}

// Dial connects and waits for CONNACK.
func Dial(addr, id, user, password string) (*Client, error) {
	nc, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	c := &Client{nc: nc, r: bufio.NewReaderSize(nc, 64)}
	if err := c.connect(id, user, password); err != nil {
		_ = nc.Close() // the first error tells more
		return nil, err
	}
	return c, nil
}

// Close ends the connection without a word.
func (c *Client) Close() error { return c.nc.Close() }

func (c *Client) connect(id, user, password string) error {
	flags := byte(0x02)
	body := []byte{0, 4, 'M', 'Q', 'T', 'T', 4, 0, 0, 0}
	body = text(body, id)
	if user != "" {
		flags |= 0xC0
		body = text(text(body, user), password)
	}
	body[7] = flags
	if _, err := c.nc.Write(packet(0x10, body)); err != nil {
		return err
	}
	ack := make([]byte, 4)
	if _, err := io.ReadFull(c.r, ack); err != nil {
		return err
	}
	if ack[0] != 0x20 || ack[3] != 0 {
		return fmt.Errorf("%w: CONNACK % x", ErrRefused, ack)
	}
	return nil
}

// Subscribe waits for SUBACK.
func (c *Client) Subscribe(filter string, qos byte) error {
	if _, err := c.nc.Write(packet(0x82, append(text([]byte{0, 1}, filter), qos))); err != nil {
		return err
	}
	ack := make([]byte, 5)
	if _, err := io.ReadFull(c.r, ack); err != nil {
		return err
	}
	if ack[0] != 0x90 || ack[4] != qos {
		return fmt.Errorf("SUBACK % x", ack)
	}
	return nil
}

// Count reads packets until the connection ends, and reports PUBLISHes and
// PUBACKs as they come. It acknowledges QoS 1.
func (c *Client) Count(published, acked func(n int)) error {
	r := bufio.NewReaderSize(io.MultiReader(io.LimitReader(c.r, int64(c.r.Buffered())), c.nc), 256<<10)
	var acks []byte
	for {
		if _, err := r.Peek(2); err != nil {
			return ended(err)
		}
		b, _ := r.Peek(r.Buffered())
		used, p, a := 0, 0, 0
		for {
			size, head := frame(b[used:])
			if size == 0 || used+size > len(b) {
				break
			}
			switch f := b[used : used+size]; head >> 4 {
			case 3:
				p++
				if head&6 != 0 {
					at := 1 + varintLen(f[1:])
					at += 2 + int(binary.BigEndian.Uint16(f[at:]))
					acks = append(acks, 0x40, 2, f[at], f[at+1])
				}
			case 4:
				a++
			}
			used += size
		}
		if used == 0 { // a packet that is not whole yet
			if _, err := r.Peek(len(b) + 1); err != nil {
				return ended(err)
			}
			continue
		}
		_, _ = r.Discard(used) // it is buffered
		if len(acks) > 0 {
			if _, err := c.nc.Write(acks); err != nil {
				return ended(err)
			}
			acks = acks[:0]
		}
		if p > 0 {
			published(p)
		}
		if a > 0 {
			acked(a)
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// frame returns the size of the packet at the head of b, 0 when that cannot be
// told yet.
func frame(b []byte) (size int, head byte) {
	n := 0
	for i := 1; i < len(b) && i < 5; i++ {
		n |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i]&0x80 == 0 {
			return 1 + i + n, b[0]
		}
	}
	return 0, 0
}

func varintLen(b []byte) int {
	n := 1
	for b[n-1]&0x80 != 0 {
		n++
	}
	return n
}

// Publishes returns n PUBLISH packets in one slice, with identifiers from first
// when qos is 1.
func Publishes(topic string, payload []byte, qos byte, first uint16, n int) []byte {
	var b []byte
	for i := range n {
		body := text(nil, topic)
		if qos > 0 {
			body = binary.BigEndian.AppendUint16(body, first+uint16(i))
		}
		b = append(b, packet(0x30|qos<<1, append(body, payload...))...)
	}
	return b
}

// Write sends packets.
func (c *Client) Write(b []byte) error {
	_, err := c.nc.Write(b)
	return err
}

func text(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func packet(head byte, body []byte) []byte {
	b := []byte{head}
	n := len(body)
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(append(b, byte(n)), body...)
}
