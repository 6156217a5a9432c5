package ws

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/postern-io/postern/messaging"
)

// A hub holds one subscription a topic, however many sockets listen to it.
type hub struct {
	bus   *messaging.Bus
	mu    sync.Mutex
	feeds map[messaging.Filter]*feed
}

type feed struct {
	ready   chan struct{} // closed when sub or err is set
	sub     *messaging.Subscription
	err     error
	sockets atomic.Pointer[[]*socket] // replaced under hub.mu, read by deliver
}

// join delivers to sock what f matches, from before it returns.
func (h *hub) join(f messaging.Filter, sock *socket) error {
	h.mu.Lock()
	fd, ok := h.feeds[f]
	if !ok {
		fd = &feed{ready: make(chan struct{})}
		fd.sockets.Store(&[]*socket{})
		h.feeds[f] = fd
	}
	sockets := append(slices.Clone(*fd.sockets.Load()), sock)
	fd.sockets.Store(&sockets)
	h.mu.Unlock()
	if !ok {
		fd.sub, fd.err = h.bus.Subscribe(f, fd.deliver)
		close(fd.ready)
	}
	<-fd.ready
	if fd.err != nil {
		h.leave(f, fd, sock)
		return fd.err
	}
	sock.feed = fd
	return nil
}

// leave undoes join. The last to leave ends the subscription.
func (h *hub) leave(f messaging.Filter, fd *feed, sock *socket) {
	h.mu.Lock()
	sockets := slices.DeleteFunc(slices.Clone(*fd.sockets.Load()), func(s *socket) bool { return s == sock })
	fd.sockets.Store(&sockets)
	last := len(sockets) == 0
	if last && h.feeds[f] == fd {
		delete(h.feeds, f)
	}
	h.mu.Unlock()
	if last && fd.sub != nil {
		_ = fd.sub.Close() // it has no error to tell
	}
}

// deliver runs on the bus's goroutine and never waits for a peer.
func (fd *feed) deliver(m *messaging.Message) {
	for _, sock := range *fd.sockets.Load() {
		sock.deliver(m)
	}
}
