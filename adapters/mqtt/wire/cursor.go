package wire

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// MaxRemaining is the largest remaining length that four bytes can say.
const MaxRemaining = 268_435_455

// A cursor walks over one packet. The first thing that is wrong stays in err
// and every later read returns zero values, so that a walk reads as a list.
type cursor struct {
	b   []byte
	err *Refusal
}

func (c *cursor) fail(r *Refusal) {
	if c.err == nil {
		c.err = r
	}
	c.b = nil
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.fail(errTruncated)
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if b := c.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// varint reads a variable byte integer in its shortest form [MQTT-1.5.5-1].
func (c *cursor) varint() int {
	n, size, r := varint(c.b)
	if r != nil {
		c.fail(r)
		return 0
	}
	if size == 0 {
		c.fail(errTruncated)
		return 0
	}
	c.b = c.b[size:]
	return n
}

// binary reads a two byte length and that many bytes (MQTT 5.0 §1.5.6).
func (c *cursor) binary() []byte { return c.take(int(c.uint16())) }

// text reads a UTF-8 encoded string (MQTT 5.0 §1.5.4).
func (c *cursor) text() []byte {
	s := c.binary()
	switch {
	case bytes.IndexByte(s, 0) >= 0:
		c.fail(errNUL)
		return nil
	case !utf8.Valid(s): // surrogates and over-long forms included
		c.fail(errUTF8)
		return nil
	}
	return s
}

// end is called where the packet must be over.
func (c *cursor) end() *Refusal {
	if c.err == nil && len(c.b) > 0 {
		c.fail(errSurplus)
	}
	return c.err
}

// varint decodes the variable byte integer at the start of b. Its size is 0
// when b ends before it does.
func varint(b []byte) (n, size int, _ *Refusal) {
	for i := range 4 {
		if i == len(b) {
			return 0, 0, nil
		}
		n |= int(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			if i > 0 && b[i] == 0 {
				return 0, 0, errLength // 0x80 0x00 says 0 in two bytes
			}
			return n, i + 1, nil
		}
	}
	return 0, 0, errLength
}

// wildcard reports whether a topic name holds a character that only a filter may.
func wildcard(topic []byte) bool {
	return bytes.IndexByte(topic, '+') >= 0 || bytes.IndexByte(topic, '#') >= 0
}
