package mqtt

import (
	"sync"

	"github.com/postern-io/postern/adapters/mqtt/wire"
)

// acks is the queue of acknowledgements that one connection owes. A publish
// takes a slot, the bus completes it, and acknowledgements leave in the order
// of the publishes ([MQTT-4.6.0-2], [MQTT-4.6.0-3]), many in one write.
type acks struct {
	c *conn

	mu      sync.Mutex
	below   sync.Cond // fewer are open
	open    []*slot   // oldest first, from head
	head    int
	spare   []*slot
	scratch []byte
}

// A slot is one publish that waits for the bus.
type slot struct {
	acks   *acks
	packet byte // wire.Puback or wire.Pubrec
	code   byte
	done   bool
	silent bool // nothing may be acknowledged: the connection ends
	id     uint16
	finish func(seq uint64, err error) // made once, for slots are used again
}

func (a *acks) init(c *conn) {
	a.c = c
	a.below.L = &a.mu
}

// take opens a slot for the acknowledgement of packet identifier id.
func (a *acks) take(packet byte, id uint16) *slot {
	a.mu.Lock()
	defer a.mu.Unlock()
	var s *slot
	if n := len(a.spare); n > 0 {
		s, a.spare = a.spare[n-1], a.spare[:n-1]
	} else {
		s = &slot{acks: a}
		s.finish = func(_ uint64, err error) { a.complete(s, err) }
	}
	s.packet, s.id = packet, id
	if a.head > 0 && len(a.open) == cap(a.open) {
		n := copy(a.open, a.open[a.head:])
		clear(a.open[n:])
		a.open, a.head = a.open[:n], 0
	}
	a.open = append(a.open, s)
	return s
}

// waitBelow waits until fewer than n slots are open. The bus answers every
// publish within a bounded time, so this ends.
func (a *acks) waitBelow(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.open)-a.head >= n {
		a.below.Wait()
	}
}

// complete notes the answer of the bus and sends every acknowledgement that is
// now due.
func (a *acks) complete(s *slot, err error) {
	var code byte
	silent := false
	if err != nil {
		code, silent = a.c.refusedPublish(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s.done, s.code, s.silent = true, code, silent
	b := a.scratch[:0]
	for a.head < len(a.open) && a.open[a.head].done {
		s := a.open[a.head]
		a.open[a.head] = nil
		a.head++
		if !s.silent {
			b = wire.AppendAck(b, a.c.version, s.packet, s.id, s.code)
		}
		a.c.answered(s)
		s.done = false
		a.spare = append(a.spare, s)
	}
	if a.head == len(a.open) {
		a.open, a.head = a.open[:0], 0
	}
	a.scratch = b
	if len(b) > 0 {
		_, _ = a.c.out.Write(b) // a closed connection has nobody to tell
	}
	a.below.Broadcast()
}
