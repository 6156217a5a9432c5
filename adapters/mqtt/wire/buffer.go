package wire

import (
	"io"
	"sync"
)

const (
	smallBuffer = 2 << 10  // what an idle connection keeps
	largeBuffer = 32 << 10 // what a busy one borrows: fewer system calls
)

var largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// A buffer holds what was received and not yet used. It grows with what has
// arrived, never with what was announced: a client that declares a large packet
// and sends nothing costs nothing.
type buffer struct {
	b     []byte
	r, w  int
	large *[largeBuffer]byte // borrowed, b lies in it
	full  bool               // the last read left no room
}

func (b *buffer) bytes() []byte { return b.b[b.r:b.w] }

// next takes n bytes. They stay good until the next fill.
func (b *buffer) next(n int) []byte {
	p := b.b[b.r : b.r+n : b.r+n]
	b.r += n
	return p
}

// fill reads once, making room first.
func (b *buffer) fill(r io.Reader) error {
	b.makeRoom()
	n, err := r.Read(b.b[b.w:])
	b.w += n
	b.full = b.w == len(b.b)
	if n > 0 {
		return nil // an error comes again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

func (b *buffer) makeRoom() {
	have := b.w - b.r
	switch {
	case have == 0 && !b.full && len(b.b) > smallBuffer:
		b.move(make([]byte, smallBuffer)) // quiet again
	case b.b == nil:
		b.b = make([]byte, smallBuffer)
	case have == len(b.b) && have >= largeBuffer:
		b.move(make([]byte, 2*have))
	case b.full && len(b.b) < largeBuffer:
		large := largeBuffers.Get().(*[largeBuffer]byte)
		b.move(large[:])
		b.large = large
	case b.r > 0:
		b.w = copy(b.b, b.b[b.r:b.w])
		b.r = 0
	}
}

// move continues in another slice and gives a borrowed one back.
func (b *buffer) move(to []byte) {
	b.w = copy(to, b.b[b.r:b.w])
	b.r = 0
	b.b = to
	b.release()
}

func (b *buffer) release() {
	if b.large != nil {
		largeBuffers.Put(b.large)
		b.large = nil
	}
}
