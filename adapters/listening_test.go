package adapters_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

// nobodys knows no membership.
type nobodys struct{}

func (nobodys) Membership(context.Context, registry.DomainID, registry.UserID) (registry.Membership, error) {
	return registry.Membership{}, registry.ErrNotFound
}

// audience lets people listen in a world, whose changes they hear of.
func audience(w *adaptertest.World) *adapters.Persons {
	p := &adapters.Persons{People: &authz.People{Find: nobodys{}}, Channels: w.Gateway.Channels, Bus: w.Bus, Now: w.Clock.Now}
	w.Registry.OnChange = func(ctx context.Context, changes []registry.Change) {
		w.Gateway.Changed(ctx, changes)
		p.Changed(changes)
	}
	return p
}

func viewer(id string) func(context.Context) (authn.Person, error) {
	return func(context.Context) (authn.Person, error) {
		return authn.Person{User: registry.User{ID: registry.UserID(id), Role: registry.Viewer, Status: registry.Enabled}}, nil
	}
}

func listen(t *testing.T, p *adapters.Persons, what adapters.Listening) *adapters.Listener {
	t.Helper()
	l, err := p.Listen(t.Context(), what)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func hear(t *testing.T, l *adapters.Listener) (adapters.Heard, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return l.Next(ctx)
}

// said publishes as a device, and returns when the message is on its way to
// whoever subscribed.
func said(t *testing.T, s *adapters.Session, topic string, payload []byte) {
	t.Helper()
	if _, err := s.PublishWait(t.Context(), topic, &messaging.Message{Payload: payload}); err != nil {
		t.Fatal(err)
	}
}

func TestListeningIsToOneDeviceAndSomeSubtopics(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	p := audience(w)
	loud, quiet := open(t, w, w.NewDevice(t, both)), open(t, w, w.NewDevice(t, both))
	l := listen(t, p, adapters.Listening{Who: viewer("v"), Domain: "home", Channel: "stored", Subtopic: "a/#", Publisher: string(quiet.DeviceID())})
	said(t, loud, "m/home/c/stored/a", []byte("another device"))
	said(t, quiet, "m/home/c/stored/b", []byte("another subtopic"))
	said(t, quiet, "m/home/c/stored/a/b", []byte("this"))
	h, err := hear(t, l)
	if err != nil || string(h.Payload) != "this" || h.Sequence == 0 || h.Publisher != string(quiet.DeviceID()) || h.Protocol != "mqtt" || h.Topic.Subtopic != "a/b" {
		t.Errorf("got %+v, %v", h, err)
	}
	for _, wrong := range []string{"#/a", "a/b#", "+a"} {
		if _, err := p.Listen(t.Context(), adapters.Listening{Who: viewer("v"), Domain: "home", Channel: "stored", Subtopic: wrong}); !errors.Is(err, messaging.ErrInvalidTopic) {
			t.Errorf("%s: got %v", wrong, err)
		}
	}
	if _, err := p.Listen(t.Context(), adapters.Listening{Who: viewer("v"), Domain: "home", Channel: "nothing"}); !errors.Is(err, authz.ErrDenied) {
		t.Errorf("a channel that is not there: got %v", err)
	}
}

// TestSlowListenerLosesTheOldest: the bus goes on, the newest are kept, and the
// reader is told how many are missing.
func TestSlowListenerLosesTheOldest(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	p := audience(w)
	reg := prometheus.NewRegistry()
	p.Measure(reg)
	d := open(t, w, w.NewDevice(t, both))
	l := listen(t, p, adapters.Listening{Who: viewer("v"), Domain: "home", Channel: "stored"})
	last := listen(t, p, adapters.Listening{Who: viewer("v"), Domain: "home", Channel: "stored", Subtopic: "last"})
	const n = 400
	for i := range n {
		said(t, d, "m/home/c/stored", fmt.Append(nil, i))
	}
	said(t, d, "m/home/c/stored/last", []byte("last"))
	if _, err := hear(t, last); err != nil { // the same goroutine delivers to both, in the order of the bus
		t.Fatal(err)
	}
	h, err := hear(t, l)
	if err != nil || h.Dropped == 0 || string(h.Payload) != fmt.Sprint(h.Dropped) {
		t.Fatalf("got %q after %d dropped, %v", h.Payload, h.Dropped, err)
	}
	heard := 1 + h.Dropped
	for string(h.Payload) != "last" {
		if h, err = hear(t, l); err != nil || h.Dropped != 0 {
			t.Fatalf("got %q, %d dropped, %v", h.Payload, h.Dropped, err)
		}
		heard++
	}
	if heard < n || heard > n+1 {
		t.Errorf("heard or told of %d, want %d", heard, n+1)
	}
	families, err := reg.Gather()
	if err != nil || len(families) != 2 || families[0].Metric[0].Counter.GetValue() < 100 || families[1].Metric[0].Gauge.GetValue() != 2 {
		t.Errorf("got %v, %v", families, err)
	}
}

// TestWaitingIsBoundedInBytes: large messages push out more than small ones.
func TestWaitingIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	p := audience(w)
	d := open(t, w, w.NewDevice(t, both))
	l := listen(t, p, adapters.Listening{Who: viewer("v"), Domain: "home", Channel: "stored"})
	last := listen(t, p, adapters.Listening{Who: viewer("v"), Domain: "home", Channel: "stored", Subtopic: "last"})
	for range 40 {
		said(t, d, "m/home/c/stored", bytes.Repeat([]byte{0xff}, 100<<10))
	}
	said(t, d, "m/home/c/stored/last", []byte("last"))
	if _, err := hear(t, last); err != nil {
		t.Fatal(err)
	}
	h, err := hear(t, l)
	if err != nil || len(h.Payload) != adapters.MaxHeard || h.Size != 100<<10 || h.Text || h.Dropped < 24 {
		t.Errorf("got %d of %d bytes, text: %v, %d dropped, %v", len(h.Payload), h.Size, h.Text, h.Dropped, err)
	}
}

// TestNothingIsToldOnDoubt: what was waiting when a change came is not told
// before it is certain that it may be, and when that cannot be found out, not at
// all.
func TestNothingIsToldOnDoubt(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	p := audience(w)
	d := open(t, w, w.NewDevice(t, both))
	var away atomic.Bool
	who := func(ctx context.Context) (authn.Person, error) {
		if away.Load() {
			return authn.Person{}, registry.ErrUnavailable
		}
		return viewer("v")(ctx)
	}
	l := listen(t, p, adapters.Listening{Who: who, Domain: "home", Channel: "stored"})
	said(t, d, "m/home/c/stored", []byte("certain"))
	if h, err := hear(t, l); err != nil || string(h.Payload) != "certain" {
		t.Fatalf("got %+v, %v", h, err)
	}
	away.Store(true)
	said(t, d, "m/home/c/stored", []byte("no change yet"))
	if h, err := hear(t, l); err != nil || string(h.Payload) != "no change yet" {
		t.Errorf("got %+v, %v", h, err)
	}
	p.Changed([]registry.Change{{User: "another"}, {Domain: w.Domain.ID, Device: d.DeviceID()}})
	said(t, d, "m/home/c/stored", []byte("nor does this concern it"))
	if h, err := hear(t, l); err != nil || string(h.Payload) != "nor does this concern it" {
		t.Errorf("got %+v, %v", h, err)
	}
	said(t, d, "m/home/c/stored", []byte("waiting"))
	p.Changed([]registry.Change{{User: "v"}})
	if h, err := hear(t, l); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("got %+v, %v, want the end", h, err)
	}
}

func TestListenersAreBounded(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	p := audience(w)
	for i := range 200 {
		listen(t, p, adapters.Listening{Who: viewer(fmt.Sprint(i)), Domain: "home", Channel: "stored"})
	}
	_, err := p.Listen(t.Context(), adapters.Listening{Who: viewer("x"), Domain: "home", Channel: "stored"})
	if adapters.KindOf(err) != adapters.Limited {
		t.Errorf("the 201st: got %v", err)
	}
	p.Close()
	if _, err := p.Listen(t.Context(), adapters.Listening{Who: viewer("x"), Domain: "home", Channel: "stored"}); adapters.KindOf(err) != adapters.Limited && !errors.Is(err, messaging.ErrUnavailable) {
		t.Errorf("after the close: got %v", err)
	}
}
