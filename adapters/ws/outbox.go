package ws

import (
	"sync"

	"github.com/postern-io/postern/messaging"
)

// An outbox holds what waits for the writer. Messages are bounded; the
// acknowledgements are by the reader, which waits for them to leave.
type outbox struct {
	maxMessages int

	mu       sync.Mutex
	items    []item
	messages int
	bytes    int
	wake     chan struct{} // holds one token while there is something
}

// An item is a message, or an acknowledgement when m is nil.
type item struct {
	m        *messaging.Message
	ack, seq uint64
}

// push reports whether there was room.
func (o *outbox) push(i item) bool {
	o.mu.Lock()
	if i.m != nil {
		if o.messages > 0 && (o.messages >= o.maxMessages || o.bytes+len(i.m.Payload) > maxQueuedBytes) {
			o.mu.Unlock()
			return false
		}
		o.messages++
		o.bytes += len(i.m.Payload)
	}
	o.items = append(o.items, i)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return true
}

// take empties the outbox into the caller's hands, giving used for its next
// items.
func (o *outbox) take(used []item) []item {
	clear(used)
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.items
	o.items, o.messages, o.bytes = used[:0], 0, 0
	return taken
}

// dropMessages forgets the messages that wait, but not the acknowledgements.
func (o *outbox) dropMessages() {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := o.items[:0]
	for _, i := range o.items {
		if i.m == nil {
			kept = append(kept, i)
		}
	}
	clear(o.items[len(kept):])
	o.items, o.messages, o.bytes = kept, 0, 0
}
