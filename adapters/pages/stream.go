package pages

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// maxStreams bounds the pages that are told of news at once. One more is
	// answered 503, and asks now and then instead.
	maxStreams = 200
	// sendWithin bounds how long a browser may take to read an event.
	sendWithin = 10 * time.Second
)

// streams are the pages that are told of news now.
type streams struct {
	mu    sync.Mutex
	open  int
	over  bool
	ended chan struct{} // closed when all are to end
}

func (s *streams) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.open >= maxStreams {
		return false
	}
	s.open++
	return true
}

func (s *streams) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// EndStreams ends every answer that goes on by itself, and lets none begin. A
// stop of the HTTP server waits for them, so it is to be called when that begins
// (http.Server.RegisterOnShutdown). Handler was called before; it may be called
// more than once.
func (s *Server) EndStreams() {
	s.streams.mu.Lock()
	defer s.streams.mu.Unlock()
	if !s.streams.over {
		s.streams.over = true
		close(s.streams.ended)
	}
}

// A stream is an answer of server-sent events.
type stream struct {
	v       *visit
	control *http.ResponseController
}

// errLeft is the end of a stream whose browser does not read any more.
var errLeft = errors.New("the browser has left")

// stream answers with server-sent events: do sends them until it has no more to
// say. When it ends with a refusal, the page is told: "again" when it should come
// back with a newer cookie, "over" when there is nothing to come back for.
func (v *visit) stream(do func(*stream) error) error {
	if !v.s.streams.enter() {
		return &Refusal{Status: http.StatusServiceUnavailable, Word: "unavailable", Message: "Too many pages are open here. Load this one again for news.", RetryAfter: "30"}
	}
	defer v.s.streams.leave()
	s := &stream{v: v, control: http.NewResponseController(v.w)}
	defer func() { _ = s.control.SetWriteDeadline(time.Time{}) }() // who has none needs none taken back
	h := v.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // of nginx
	v.w.WriteHeader(http.StatusOK)
	err := do(s)
	if err == nil || errors.Is(err, errLeft) || v.r.Context().Err() != nil {
		return nil
	}
	word, said := "over", v.told(err)
	text := said.Message
	switch said.Status {
	case http.StatusUnauthorized:
		word = "again"
	case http.StatusForbidden, http.StatusNotFound:
		text = "You may not see this any more."
	}
	_ = s.event(word, "", text) // who went away misses it
	return nil
}

// send sends what a page is told, with an id that it names when it comes again.
func (s *stream) send(id string, news any) error {
	text, err := json.Marshal(news)
	if err != nil {
		return fmt.Errorf("send news: %w", err)
	}
	return s.event("", id, string(text))
}

// event sends one: word and id may be empty, and data must be one line.
func (s *stream) event(word, id, data string) error {
	text := "data: " + data + "\n\n"
	if id != "" {
		text = "id: " + id + "\n" + text
	}
	if word != "" {
		text = "event: " + word + "\n" + text
	}
	return s.write(text)
}

// beat sends nothing that a page takes for news. It finds out whether the browser
// is still there, and keeps proxies from breaking off.
func (s *stream) beat() error { return s.write(":\n\n") }

func (s *stream) write(text string) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(sendWithin)) // a writer without deadlines is a test's
	if _, err := s.v.w.Write([]byte(text)); err != nil {
		return errLeft
	}
	if err := s.control.Flush(); err != nil {
		return errLeft
	}
	return nil
}

// follow answers a page that is told of news, as news.js listens to it: with
// server-sent events, one in every step (in seconds) that has news, until the
// browser leaves, the person may no longer see it, or the server stops. With
// ?once it answers as JSON what is new now, or 204.
//
// next finds out what is new, with an id by which the page names what it has; nil
// is nothing. It hears whether the page has begun to listen, and should then
// outlast an API that is away for a moment.
func (v *visit) follow(step func() int, next func(begun bool) (id string, news any, err error)) error {
	id, news, err := next(false)
	if err != nil {
		return err
	}
	if v.r.URL.Query().Has("once") {
		if news == nil {
			v.w.WriteHeader(http.StatusNoContent)
			return nil
		}
		v.w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(v.w).Encode(news) // who went away misses it
		return nil
	}
	return v.stream(func(s *stream) error {
		for {
			if news == nil {
				err = s.beat()
			} else {
				err = s.send(id, news)
			}
			if err != nil {
				return err
			}
			if !s.wait(v.s.untilNext(step())) {
				return nil
			}
			if id, news, err = next(true); err != nil {
				return err
			}
		}
	})
}

// has is what a page has already: the id of the last event when it comes again,
// else what its address says.
func (v *visit) has(name string) string {
	return cmp.Or(v.r.Header.Get("Last-Event-Id"), v.r.URL.Query().Get(name))
}

// isAway reports whether an error may be over in a moment.
func isAway(err error) bool {
	var refusal *Refusal
	return errors.As(err, &refusal) && (refusal.Status == http.StatusServiceUnavailable || refusal.Status == http.StatusTooManyRequests)
}

// lateness is how long after a step its point is asked for: other nodes' clocks
// are not ours.
const lateness = 300 * time.Millisecond

// untilNext is how long it is until the next point is there.
func (s *Server) untilNext(step int) time.Duration {
	if s.pace > 0 {
		return s.pace
	}
	every := time.Duration(max(1, step)) * time.Second
	now := time.Now()
	return now.Truncate(every).Add(every + lateness).Sub(now)
}

// wait reports whether there is more to say after a while: not when the browser
// has left or the server stops.
func (s *stream) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.v.r.Context().Done():
	case <-s.v.s.streams.ended:
	}
	return false
}
