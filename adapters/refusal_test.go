package adapters_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

// A logbook is what was logged so far.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines returns the lines that hold all words.
func (l *logbook) lines(words ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.text.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// Every refusal has a reason in the log; a device that keeps trying does not
// fill it.
func TestRefusalsAreLogged(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	var log logbook
	w.Gateway.Log = slog.New(slog.NewTextHandler(&log, nil))
	s := open(t, w, w.NewDevice(t, registry.Subscribe))
	publish := func() {
		s.Publish("m/home/c/stored/canary-topic", &messaging.Message{Payload: []byte("canary-payload")}, func(uint64, error) {})
	}
	for range 100 {
		publish()
	}
	told := log.lines("publish refused", "adapter=mqtt", "device="+string(s.DeviceID()), "reason=right_missing")
	if len(told) != 1 {
		t.Errorf("100 refusals at once: got %d lines %q, want one", len(told), told)
	}
	w.Clock.Advance(time.Minute)
	publish()
	if told = log.lines("publish refused", "unlogged=99"); len(told) != 1 {
		t.Errorf("a minute later: got %q, want a line that tells of the 99", told)
	}
	if found := log.lines("canary"); found != nil {
		t.Errorf("what the device sent is in the log: %q", found)
	}

	other := open(t, w, w.NewDevice(t, registry.Publish))
	if _, err := other.CanSubscribe(t.Context(), "m/home/c/stored/#"); err == nil {
		t.Error("a device without the right may subscribe")
	}
	if told = log.lines("subscribe refused", "device="+string(other.DeviceID()), "reason=right_missing"); len(told) != 1 {
		t.Errorf("a refused subscribe: got %q, want one line", told)
	}
}
