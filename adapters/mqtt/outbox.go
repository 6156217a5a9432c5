package mqtt

import (
	"encoding/binary"
	"net"
	"sync"
	"time"
)

const (
	// chunk is how much is written with one deadline.
	chunk = 64 << 10
	// keepBuffer is the largest buffer worth keeping for the next connection.
	keepBuffer = 2 << 20
	// hardLimit is by how much acknowledgements, which cannot be dropped, may
	// exceed Limits.Pending before the connection is given up.
	hardLimit = 4
)

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// An outbox is a connection whose writes do not wait. They are gathered in a
// buffer, which one goroutine carries to the socket; it exists only while there
// is something to carry, so an idle connection costs neither. Everything that is
// written to a client passes here, in order.
type outbox struct {
	net.Conn
	limit     int // bytes
	writeTime time.Duration
	drained   func()         // called when all is written and something had been held back
	work      sync.WaitGroup // the carrying goroutine

	mu       sync.Mutex
	greeted  bool    // a CONNACK that lets the client in was queued
	buf      *[]byte // nil when empty
	writing  int     // bytes that are being carried
	carrying bool
	held     bool // something was held back
	closing  bool
	err      error
}

// Write queues b. It fails when the connection is closed, or when the client
// has not read for so long that even acknowledgements do not fit.
func (o *outbox) Write(b []byte) (int, error) { return o.write(b, false) }

// greet queues the CONNACK that lets the client in. From then on it can be told
// why the connection ends.
func (o *outbox) greet(b []byte) (int, error) { return o.write(b, true) }

func (o *outbox) write(b []byte, greeting bool) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.greeted = o.greeted || greeting
	if o.closing {
		return 0, net.ErrClosed
	}
	if o.size() > hardLimit*o.limit {
		o.closeNow(net.ErrClosed)
		return 0, net.ErrClosed
	}
	o.append(b)
	return len(b), nil
}

// send queues a frame, with its packet identifier filled in, unless that is
// more than a reader may owe.
func (o *outbox) send(f frame, id uint16) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return false
	}
	if o.size() >= o.limit {
		o.held = true
		return false
	}
	at := o.append(f.b)
	if f.idAt > 0 {
		binary.BigEndian.PutUint16((*o.buf)[at+f.idAt:], id)
	}
	return true
}

// hasGreeted reports whether the client was let in.
func (o *outbox) hasGreeted() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.greeted
}

// full reports whether send would hold back.
func (o *outbox) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closing || o.size() >= o.limit
}

func (o *outbox) size() int {
	if o.buf == nil {
		return o.writing
	}
	return o.writing + len(*o.buf)
}

// append adds b and returns where it begins. o.mu is held.
func (o *outbox) append(b []byte) int {
	if o.buf == nil {
		o.buf = buffers.Get().(*[]byte)
	}
	at := len(*o.buf)
	*o.buf = append(*o.buf, b...)
	if !o.carrying {
		o.carrying = true
		o.work.Go(o.carry)
	}
	return at
}

// carry writes until nothing is left.
func (o *outbox) carry() {
	for {
		b, last := o.next()
		if b == nil {
			if last != nil {
				last()
			}
			return
		}
		err := o.carryAll(*b)
		if cap(*b) <= keepBuffer {
			*b = (*b)[:0]
			buffers.Put(b)
		}
		if err != nil {
			o.mu.Lock()
			o.closeNow(err)
			o.mu.Unlock()
		}
	}
}

// next takes what is to be written. When there is nothing, it returns what is
// left to do.
func (o *outbox) next() (b *[]byte, last func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing = 0
	if o.buf == nil || o.err != nil {
		o.buf = nil
		o.carrying = false
		if o.closing {
			return nil, o.shut
		}
		if o.held {
			o.held = false
			return nil, o.drained
		}
		return nil, nil
	}
	b, o.buf = o.buf, nil
	o.writing = len(*b)
	return b, nil
}

func (o *outbox) carryAll(b []byte) error {
	for len(b) > 0 {
		if err := o.SetWriteDeadline(time.Now().Add(o.writeTime)); err != nil {
			return err
		}
		n, err := o.Conn.Write(b[:min(chunk, len(b))])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// Close lets what is queued go out, then ends the connection in both
// directions. It does not wait. The socket itself is closed by its owner.
func (o *outbox) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return nil
	}
	o.closing = true
	if !o.carrying {
		o.carrying = true
		o.work.Go(o.carry)
	}
	return nil
}

// closeNow gives up. o.mu is held.
func (o *outbox) closeNow(err error) {
	o.closing = true
	if o.err == nil {
		o.err = err
	}
	if !o.carrying {
		o.carrying = true
		o.work.Go(o.carry)
	} else {
		_ = o.Conn.SetWriteDeadline(aLongTimeAgo) // wakes the carrier
	}
}

var aLongTimeAgo = time.Unix(1, 0)

// shut tells the client that nothing more will come and wakes the reader.
func (o *outbox) shut() {
	if c, ok := o.Conn.(interface{ CloseWrite() error }); ok && o.err == nil {
		_ = o.Conn.SetWriteDeadline(time.Now().Add(time.Second))
		_ = c.CloseWrite() // the socket is closed soon, whatever comes of this
	}
	_ = o.Conn.SetReadDeadline(aLongTimeAgo)
}

// SetReadDeadline sets the deadline of the socket, unless it is being closed:
// then a reader must not begin to wait again.
func (o *outbox) SetReadDeadline(t time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		t = aLongTimeAgo
	}
	return o.Conn.SetReadDeadline(t)
}
