package ws

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"time"
)

// A wire is the connection under a socket. While it batches, what is written
// is gathered and goes out in one piece; otherwise it goes out at once. The
// deadlines are its own: those that the WebSocket library sets are ignored.
type wire struct {
	net.Conn
	timeout time.Duration // for a write
	silence time.Duration // for the peer to say something

	mu       sync.Mutex // of a write
	batching bool
	buf      []byte

	deadlines sync.Mutex
	prolonged time.Time // when heard last moved the deadline
	last      bool      // finish was called: nothing prolongs its deadline
}

// flushAt bounds what is gathered.
const flushAt = 32 << 10

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.batching {
		return len(p), w.write(p)
	}
	w.buf = append(w.buf, p...)
	if len(w.buf) < flushAt {
		return len(p), nil
	}
	return len(p), w.flush()
}

// batch begins to gather, or ends it and sends what was gathered.
func (w *wire) batch(on bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.batching = on
	if on || len(w.buf) == 0 {
		return nil
	}
	return w.flush()
}

func (w *wire) flush() error {
	err := w.write(w.buf)
	w.buf = w.buf[:0]
	if cap(w.buf) > 4*flushAt {
		w.buf = nil // a single large message made it; the next may be small for hours
	}
	return err
}

func (w *wire) write(p []byte) error {
	w.deadlines.Lock()
	if !w.last {
		_ = w.Conn.SetWriteDeadline(time.Now().Add(w.timeout)) // the write tells
	}
	w.deadlines.Unlock()
	_, err := w.Conn.Write(p)
	return err
}

// heard gives the peer time to say something more. It is called for each
// frame, and moves the deadline when that makes a difference.
func (w *wire) heard() {
	w.deadlines.Lock()
	defer w.deadlines.Unlock()
	now := time.Now()
	if w.last || now.Sub(w.prolonged) < w.silence/16 {
		return
	}
	w.prolonged = now
	_ = w.Conn.SetReadDeadline(now.Add(w.silence)) // the read tells
}

// finish gives the peer a last moment, for reads and writes.
func (w *wire) finish(grace time.Duration) {
	w.deadlines.Lock()
	defer w.deadlines.Unlock()
	w.last = true
	_ = w.Conn.SetDeadline(time.Now().Add(grace)) // the read and the write tell
}

func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// A hijacker slips a wire under the library's upgrade.
type hijacker struct {
	http.ResponseWriter
	timeout, silence time.Duration
	wire             *wire
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Time{}) // the HTTP server's no longer count
	h.wire = &wire{Conn: conn, timeout: h.timeout, silence: h.silence}
	return h.wire, rw, nil
}
