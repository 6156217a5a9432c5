package messaging

import (
	"context"
	"sync"
)

// A ring holds what was published on one connection and not yet answered, in
// order. It replaces a future and a channel per message: the answer's reply
// subject names a slot, and the callers' done functions run in the order in
// which the slots were taken.
type ring struct {
	mu    sync.Mutex
	room  sync.Cond // signalled when head moves or busy ends
	slots []slot    // len is a power of two
	head  uint64    // the oldest slot taken
	tail  uint64    // the next slot to take
	busy  bool      // somebody runs done functions
}

type slot struct {
	done     func(seq uint64, err error)
	deadline int64 // Unix nanoseconds
	seq      uint64
	err      error
	answered bool
	live     bool // waits for a marker, not for a PubAck
}

func newRing(size int) *ring {
	n := 1
	for n < size {
		n *= 2
	}
	r := &ring{slots: make([]slot, n)}
	r.room.L = &r.mu
	return r
}

func (r *ring) at(id uint64) *slot { return &r.slots[id&uint64(len(r.slots)-1)] }

// take returns the number of a fresh slot, waiting for room when all are
// taken. The wait ends: sweep answers what nobody else does.
func (r *ring) take(done func(uint64, error), deadline int64, live bool) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.tail-r.head == uint64(len(r.slots)) {
		r.room.Wait()
	}
	id := r.tail
	r.tail++
	*r.at(id) = slot{done: done, deadline: deadline, live: live}
	return id
}

// answer completes slot id, unless it has been answered, and runs the done
// functions that are now due.
func (r *ring) answer(id, seq uint64, err error) {
	r.mu.Lock()
	if id >= r.head && id < r.tail {
		r.at(id).complete(seq, err)
	}
	r.run()
}

// answerLive completes all live slots before id.
func (r *ring) answerLive(id uint64) {
	r.mu.Lock()
	for i := r.head; i < min(id, r.tail); i++ {
		if s := r.at(i); s.live {
			s.complete(0, nil)
		}
	}
	r.run()
}

// sweep fails the slots whose time is up.
func (r *ring) sweep(now int64, err error) {
	r.mu.Lock()
	for i := r.head; i < r.tail && r.at(i).deadline < now; i++ {
		r.at(i).complete(0, err)
	}
	r.run()
}

// failAll completes every slot that is taken now.
func (r *ring) failAll(err error) {
	r.mu.Lock()
	for i := r.head; i < r.tail; i++ {
		r.at(i).complete(0, err)
	}
	r.run()
}

// wait returns nil once every done function has run, or why ctx is done.
func (r *ring) wait(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.room.Broadcast()
	})()
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.head != r.tail || r.busy {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.room.Wait()
	}
	return nil
}

func (s *slot) complete(seq uint64, err error) {
	if !s.answered {
		s.seq, s.err, s.answered = seq, err, true
	}
}

// run calls the done functions at the head, outside of the lock, and releases
// it. One goroutine at a time does so, which keeps their order; the others
// leave their answers for it.
func (r *ring) run() {
	defer r.mu.Unlock()
	if r.busy {
		return
	}
	r.busy = true
	var due [64]slot
	for {
		n := 0
		for n < len(due) && r.head < r.tail && r.at(r.head).answered {
			s := r.at(r.head)
			due[n], *s = *s, slot{}
			r.head++
			n++
		}
		if n == 0 {
			break
		}
		r.room.Broadcast()
		r.mu.Unlock()
		for i := range due[:n] {
			due[i].done(due[i].seq, due[i].err)
		}
		r.mu.Lock()
	}
	r.busy = false
	r.room.Broadcast()
}
