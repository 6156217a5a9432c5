package wire

import (
	"errors"
	"net"
	"os"
	"time"
)

// Limits bound what one connection may cost. A zero field takes its default.
type Limits struct {
	ConnectTime  time.Duration // from New until the CONNECT is whole; 10 s
	PacketTime   time.Duration // from a packet's first byte to its last; 15 s
	ConnectSize  int           // bytes of a CONNECT, fixed header included; 8 KiB
	PacketSize   int           // bytes of any later packet; 1 MiB
	TopicAliases uint16        // highest topic alias a client may use; 0 is none
}

func (l Limits) withDefaults() Limits {
	if l.ConnectTime <= 0 {
		l.ConnectTime = 10 * time.Second
	}
	if l.PacketTime <= 0 {
		l.PacketTime = 15 * time.Second
	}
	if l.ConnectSize <= 0 {
		l.ConnectSize = 8 << 10
	}
	if l.PacketSize <= 0 {
		l.PacketSize = 1 << 20
	}
	return l
}

// A Handler is shown what happens on one connection, always from the goroutine
// that reads it.
type Handler interface {
	// Take is shown every packet that passed. It returns true when it has dealt
	// with the packet, which the reader of the connection then never sees. An
	// error ends the connection; who returns it has answered the client. The
	// packet and all it points to are good until Take returns.
	Take(p *Packet) (taken bool, err error)

	// Refused is told why the connection ends, before the client is.
	Refused(r *Refusal)
}

// A Conn is a connection from which nothing but whole, checked packets can be
// read, one packet at most with each Read. Read has one caller at a time; all
// other methods are safe for concurrent use, as far as the net.Conn below is.
//
// The deadline set on a Conn is its keep-alive: it is kept up by every packet
// that arrives whole, whoever takes it, and ends in DISCONNECT 0x8D.
type Conn struct {
	net.Conn // writes and Close go straight through

	limits  Limits
	handler Handler
	version byte
	started time.Time // of the connection
	begun   time.Time // of the packet that is being received, if any
	idle    time.Duration
	armed   time.Time // read deadline of the socket
	buf     buffer
	left    []byte // of the packet the engine is reading
	err     error
	packet  Packet
}

// New wraps nc. The time for the CONNECT runs from now.
func New(nc net.Conn, limits Limits, h Handler) *Conn {
	return &Conn{Conn: nc, limits: limits.withDefaults(), handler: h, started: time.Now()}
}

// Version returns the protocol version of the client, 0 before its CONNECT.
func (c *Conn) Version() byte { return c.version }

// Packet returns the packet that was read last, for Read's caller only.
func (c *Conn) Packet() []byte { return c.packet.Raw }

// SetDeadline sets the keep-alive: the time from now to t is what may pass
// without a packet. The zero time turns it off. Read's caller calls it.
func (c *Conn) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.idle = 0
	} else {
		c.idle = time.Until(t)
	}
	return nil
}

// SetReadDeadline is SetDeadline.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }

// Read reads from the current packet, or waits for the next one that is not
// taken. After the first error it returns that error for ever.
func (c *Conn) Read(p []byte) (int, error) {
	for len(c.left) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		if err := c.next(); err != nil {
			c.err = err
		}
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}

// next receives one packet, has it checked and offers it to the handler.
func (c *Conn) next() error {
	size, err := c.frame()
	if err != nil {
		return c.refuse(c.version, err)
	}
	raw := c.buf.next(size)
	version, r := c.packet.Check(raw, c.version, c.limits.TopicAliases)
	if r != nil {
		return c.refuse(version, r)
	}
	c.version = version
	taken, err := c.handler.Take(&c.packet)
	if err != nil {
		return err
	}
	if !taken {
		c.left = raw
	}
	return nil
}

// frame waits until the packet at the head of the buffer is whole and returns
// its size. What can be known from its first bytes is refused with them.
func (c *Conn) frame() (size int, err error) {
	for {
		size, r := c.peek()
		if r != nil {
			return 0, r
		}
		if size > 0 {
			c.begun = time.Time{}
			return size, nil
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
}

// peek returns the size of the packet at the head of the buffer, 0 when it is
// not whole yet.
func (c *Conn) peek() (int, *Refusal) {
	b := c.buf.bytes()
	if len(b) == 0 {
		return 0, nil
	}
	switch {
	case c.version == 0 && b[0]>>4 != Connect:
		return 0, errNotConnect
	case c.version != 0 && b[0]>>4 == Connect:
		return 0, errSecondConnect
	}
	n, digits, r := varint(b[1:])
	if r != nil || digits == 0 {
		return 0, r
	}
	size := 1 + digits + n
	limit := c.limits.PacketSize
	if c.version == 0 {
		limit = c.limits.ConnectSize
	}
	switch {
	case size > limit:
		return 0, errTooLarge
	case size > len(b):
		return 0, nil
	}
	return size, nil
}

// fill reads once from the socket, no longer than the time that is left.
func (c *Conn) fill() error {
	late, r := c.deadline(time.Now())
	if !late.Equal(c.armed) {
		if err := c.Conn.SetReadDeadline(late); err != nil {
			return err
		}
		c.armed = late
	}
	err := c.buf.fill(c.Conn)
	if errors.Is(err, os.ErrDeadlineExceeded) && r != nil && !time.Now().Before(late) {
		return r // sooner, it is somebody who wants to end the connection
	}
	return err
}

// deadline says until when the next bytes must have come, and what it means if
// they do not.
func (c *Conn) deadline(now time.Time) (time.Time, *Refusal) {
	if c.version == 0 {
		return c.started.Add(c.limits.ConnectTime), errConnectTime
	}
	if len(c.buf.bytes()) > 0 {
		if c.begun.IsZero() {
			c.begun = now
		}
		return c.begun.Add(c.limits.PacketTime), errPacketTime
	}
	if c.idle <= 0 {
		return time.Time{}, nil
	}
	// A second of grace saves setting a timer for every packet of a busy client.
	if end := now.Add(c.idle); c.armed.Before(end) || c.armed.After(end.Add(time.Second)) {
		return end.Add(time.Second), errKeepAlive
	}
	return c.armed, errKeepAlive
}

// refuse ends the connection: what is the client's fault is counted and
// answered in the client's version, all else is returned as it came.
func (c *Conn) refuse(version byte, err error) error {
	var r *Refusal
	if !errors.As(err, &r) {
		return err
	}
	c.handler.Refused(r)
	var b []byte
	switch {
	case r == errConnectTime:
	case c.version == 0:
		if r == errTooLarge {
			version = c.announced()
		}
		b = RefuseConnect(version, r.Code)
	default:
		b = AppendDisconnect(nil, version, r.Code)
	}
	if len(b) > 0 {
		_, _ = c.Conn.Write(b) // the connection ends, whether or not this arrives
	}
	return r
}

// announced looks for the version in the beginning of a CONNECT that is not
// going to be read.
func (c *Conn) announced() byte {
	b := c.buf.bytes()
	if _, digits, _ := varint(b[1:]); digits > 0 {
		v, _ := protocol(&cursor{b: b[1+digits:]})
		return v
	}
	return 0
}
