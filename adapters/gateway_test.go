package adapters_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

const both = registry.Publish | registry.Subscribe

func credential(d adaptertest.Device) authn.Credential {
	c := authn.Credential{Via: "mqtt", Remote: netip.MustParseAddr("192.0.2.1")}
	c.ShowDeviceID(string(d.ID))
	c.ShowSecret(d.Secret)
	return c
}

func open(t *testing.T, w *adaptertest.World, d adaptertest.Device) *adapters.Session {
	t.Helper()
	s, err := w.Gateway.Open(t.Context(), credential(d))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestPublishStoresUnderIDs(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	s := open(t, w, w.NewDevice(t, registry.Publish))
	heard := make(chan *messaging.Message, 1)
	sub, err := w.Bus.Subscribe(messaging.Filter{Domain: string(w.Domain.ID), Channel: string(w.Channel.ID), Subtopic: "#"}, func(m *messaging.Message) { heard <- m })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sub.Close() })
	seq, err := s.PublishWait(t.Context(), "m/home/c/stored/a/b", &messaging.Message{Payload: []byte("hello")})
	if err != nil || seq == 0 {
		t.Fatalf("got %d, %v, want a sequence", seq, err)
	}
	m := <-heard
	if m.Publisher != string(s.DeviceID()) || m.Protocol != "mqtt" || m.Session != s.ID() || m.Sequence != seq || m.Topic.Subtopic != "a/b" || m.Topic.Domain != string(w.Domain.ID) {
		t.Errorf("got %+v", m)
	}
}

func TestPublishRefused(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	s := open(t, w, w.NewDevice(t, registry.Subscribe))
	for name, test := range map[string]struct {
		topic string
		want  adapters.Kind
	}{
		"without the right":       {"m/home/c/stored", adapters.Denied},
		"another domain":          {"m/elsewhere/c/" + string(w.Foreign.ID), adapters.Denied},
		"no such channel":         {"m/home/c/nothing", adapters.Denied},
		"a wildcard":              {"m/home/c/stored/#", adapters.InvalidTopic},
		"something else entirely": {"$SYS/broker", adapters.InvalidTopic},
	} {
		answered := 0
		s.Publish(test.topic, &messaging.Message{Payload: []byte("x")}, func(_ uint64, err error) {
			answered++
			if got := adapters.KindOf(err); got != test.want {
				t.Errorf("%s: got kind %d (%v), want %d", name, got, err, test.want)
			}
		})
		if answered != 1 {
			t.Errorf("%s: answered %d times before Publish returned, want once", name, answered)
		}
	}
}

// Every change that takes the ground from a session ends it, before the call
// that made the change returns.
func TestRevocationEndsSessions(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	for name, test := range map[string]struct {
		change func(adaptertest.Device) error
		want   registry.Reason // "": the session goes on
	}{
		"device disabled":             {func(d adaptertest.Device) error { w.Disable(t, d); return nil }, registry.ReasonDeviceDisabled},
		"device deleted":              {func(d adaptertest.Device) error { return w.Registry.DeleteDevice(t.Context(), w.Domain.ID, d.ID) }, registry.ReasonDeviceDeleted},
		"secret rotated":              {func(d adaptertest.Device) error { w.Rotate(t, d, 0); return nil }, registry.ReasonSecretRevoked},
		"secret rotated with overlap": {func(d adaptertest.Device) error { w.Rotate(t, d, time.Hour); return nil }, ""},
		"device renamed": {func(d adaptertest.Device) error {
			_, err := w.Registry.UpdateDevice(t.Context(), "", w.Domain.ID, d.ID, func(d *registry.Device) error { d.Name = "other"; return nil })
			return err
		}, ""},
	} {
		d := w.NewDevice(t, both)
		s := open(t, w, d)
		var dropped error
		s.Watch(func(err error) { dropped = err }, nil)
		if err := test.change(d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if test.want == "" {
			if dropped != nil {
				t.Errorf("%s: dropped: %v", name, dropped)
			}
			continue
		}
		if adapters.KindOf(dropped) != adapters.Revoked || adapters.ReasonOf(dropped) != test.want {
			t.Errorf("%s: dropped with %v, want revoked: %s", name, dropped, test.want)
		}
		if _, err := s.PublishWait(t.Context(), "m/home/c/stored", &messaging.Message{Payload: []byte("x")}); adapters.KindOf(err) != adapters.Revoked {
			t.Errorf("%s: publish after: %v, want revoked", name, err)
		}
		late := error(nil)
		s.Watch(func(err error) { late = err }, nil)
		if late == nil {
			t.Errorf("%s: who watches late is not told", name)
		}
	}
}

// What is gone ends its sessions by the notice alone: a look at the store for
// each, one after another, would take longer than a revocation may.
func TestGoneNeedsNoLook(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	for name, gone := range map[string]func(adaptertest.Device) registry.Change{
		"its domain": func(adaptertest.Device) registry.Change { return registry.Change{Domain: w.Domain.ID, Gone: true} },
		"it": func(d adaptertest.Device) registry.Change {
			return registry.Change{Domain: w.Domain.ID, Device: d.ID, Gone: true}
		},
	} {
		d := w.NewDevice(t, both)
		s := open(t, w, d)
		var dropped error
		s.Watch(func(err error) { dropped = err }, nil)
		w.Gateway.Changed(t.Context(), []registry.Change{gone(d)}) // the store still has it
		if adapters.KindOf(dropped) != adapters.Revoked || adapters.ReasonOf(dropped) != registry.ReasonDeviceDeleted {
			t.Errorf("%s is gone: dropped with %v, want revoked: %s", name, dropped, registry.ReasonDeviceDeleted)
		}
	}
	// A channel, a connection or a membership that is gone ends no session.
	d := w.NewDevice(t, both)
	s := open(t, w, d)
	s.Watch(func(err error) { t.Errorf("dropped: %v", err) }, nil)
	w.Gateway.Changed(t.Context(), []registry.Change{
		{Domain: w.Domain.ID, Channel: w.Channel.ID, Gone: true},
		{Domain: w.Domain.ID, Device: d.ID, Channel: w.Channel.ID, Gone: true},
		{Domain: w.Domain.ID, User: "somebody", Gone: true},
		{Domain: w.Foreign.Domain, Gone: true},
	})
}

// The old secret's sessions end when its overlap does.
func TestOverlapEnds(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	d := w.NewDevice(t, both)
	s := open(t, w, d)
	dropped := make(chan error, 1)
	s.Watch(func(err error) { dropped <- err }, nil)
	w.Rotate(t, d, 50*time.Millisecond)
	select {
	case err := <-dropped:
		if adapters.ReasonOf(err) != registry.ReasonSecretExpired {
			t.Errorf("dropped with %v, want %s", err, registry.ReasonSecretExpired)
		}
	case <-time.After(10 * time.Second):
		t.Error("the session outlived its secret")
	}
}

func TestChangesOfRights(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	d := w.NewDevice(t, both)
	s := open(t, w, d)
	changed := 0
	s.Watch(nil, func() { changed++ })
	const filter = "m/home/c/stored/#"
	if f, err := s.CanSubscribe(t.Context(), filter); err != nil || f.Channel != string(w.Channel.ID) {
		t.Fatal(f, err)
	}
	publish := func() error {
		_, err := s.PublishWait(t.Context(), "m/home/c/stored", &messaging.Message{Payload: []byte("x")})
		return err
	}
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	devices, channels := []registry.DeviceID{d.ID}, []registry.ChannelID{w.Channel.ID}
	domain := func(status registry.Status) func() error {
		return func() error {
			_, err := w.Registry.UpdateDomain(t.Context(), "", w.Domain.ID, func(d *registry.Domain) error { d.Status = status; return nil })
			return err
		}
	}
	channel := func(status registry.Status) func() error {
		return func() error {
			_, err := w.Registry.UpdateChannel(t.Context(), "", w.Domain.ID, w.Channel.ID, func(c *registry.Channel) error { c.Status = status; return nil })
			return err
		}
	}
	for _, step := range []struct {
		name       string
		take, give func() error
	}{
		{"connection", func() error { return w.Registry.Disconnect(t.Context(), w.Domain.ID, devices, channels, both) }, func() error { return w.Registry.Connect(t.Context(), w.Domain.ID, devices, channels, both) }},
		{"channel", channel(registry.Disabled), channel(registry.Enabled)},
		{"domain", domain(registry.Disabled), domain(registry.Enabled)},
		{"frozen domain", domain(registry.Frozen), domain(registry.Enabled)},
	} {
		before := changed
		if err := step.take(); err != nil {
			t.Fatal(step.name, err)
		}
		if changed == before {
			t.Errorf("%s taken: the door was not told", step.name)
		}
		if err := publish(); !errors.Is(err, authz.ErrDenied) {
			t.Errorf("%s taken: publish: %v, want denied", step.name, err)
		}
		if _, err := s.CanSubscribe(t.Context(), filter); !errors.Is(err, authz.ErrDenied) {
			t.Errorf("%s taken: subscribe: %v, want denied", step.name, err)
		}
		if err := step.give(); err != nil {
			t.Fatal(step.name, err)
		}
		if err := publish(); err != nil {
			t.Errorf("%s given back: %v", step.name, err)
		}
	}
}

// However a disable and a connect meet, no session is left open.
func TestConnectDuringRevocation(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	for range 50 {
		d := w.NewDevice(t, both)
		var (
			wg      sync.WaitGroup
			mu      sync.Mutex
			open    []*adapters.Session
			dropped = map[*adapters.Session]bool{}
		)
		for range 8 {
			wg.Go(func() {
				s, err := w.Gateway.Open(context.Background(), credential(d))
				if err != nil {
					return
				}
				s.Watch(func(error) { mu.Lock(); dropped[s] = true; mu.Unlock() }, nil)
				mu.Lock()
				open = append(open, s)
				mu.Unlock()
			})
		}
		w.Disable(t, d)
		wg.Wait()
		for _, s := range open {
			if !dropped[s] {
				t.Error("a session of a disabled device is open")
			}
			s.Close()
		}
	}
}

func TestSessionsOfADeviceAreBounded(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	w.Gateway.MaxSessions = 2
	d := w.NewDevice(t, both)
	first := open(t, w, d)
	open(t, w, d)
	if _, err := w.Gateway.Open(t.Context(), credential(d)); adapters.KindOf(err) != adapters.Limited {
		t.Errorf("the third session: %v, want limited", err)
	}
	first.Close()
	open(t, w, d)
	if got := len(w.Gateway.Sessions(d.ID)); got != 2 {
		t.Errorf("%d sessions are listed, want 2", got)
	}
}

// A certificate that two addresses use at once may be one key in two devices.
func TestSharedCertificates(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewLaptop(t)
	at := func(d adaptertest.Device, c *tls.Certificate, address string) *adapters.Session {
		t.Helper()
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		s, err := w.Gateway.Open(t.Context(), authn.Credential{Via: "mqtt", Remote: netip.MustParseAddr(address), Chain: []*x509.Certificate{leaf}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	copied, lone, quiet := w.NewDevice(t, both), w.NewDevice(t, both), w.NewDevice(t, both)
	key, other := w.PKI.URN(t, copied), w.PKI.URN(t, lone)
	at(copied, key, "192.0.2.1")
	second := at(copied, key, "192.0.2.2")
	at(copied, w.PKI.URN(t, copied), "192.0.2.3") // another certificate of the device
	at(lone, other, "192.0.2.1")
	at(lone, other, "192.0.2.1")
	open(t, w, quiet)
	sum := sha256.Sum256(key.Certificate[0])
	if got := w.Gateway.SharedCertificates(); len(got) != 1 || string(got[0]) != hex.EncodeToString(sum[:]) {
		t.Errorf("got %v, want the one that is copied", got)
	}
	second.Close()
	if got := w.Gateway.SharedCertificates(); len(got) != 0 {
		t.Errorf("after one has left: %v", got)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	d := w.NewDevice(t, registry.Publish)
	ask := func(c *authn.Credential, device *registry.Device, topic string, action registry.Rights) adapters.Explanation {
		t.Helper()
		e, err := w.Gateway.Explain(t.Context(), adapters.Question{Credential: c, Device: device, Topic: topic, Action: action})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	good, wrong := credential(d), credential(d)
	wrong.Secret = registry.NewSecret()
	for name, test := range map[string]struct {
		got     adapters.Explanation
		allowed bool
		reason  registry.Reason
	}{
		"a connect":                {ask(&good, nil, "", 0), true, ""},
		"a wrong secret":           {ask(&wrong, nil, "", 0), false, registry.ReasonWrongSecret},
		"a publish":                {ask(nil, &d.Device, "m/home/c/stored", registry.Publish), true, ""},
		"a subscribe with filter":  {ask(nil, &d.Device, "m/home/c/stored/+/x", registry.Subscribe), false, registry.ReasonRightMissing},
		"a topic that will not do": {ask(nil, &d.Device, "home", registry.Publish), false, registry.ReasonInvalidTopic},
	} {
		if test.got.Allowed != test.allowed || test.got.Reason != test.reason || len(test.got.Steps) == 0 {
			t.Errorf("%s: got %+v", name, test.got)
		}
	}
	if e := ask(&good, nil, "m/home/c/stored", registry.Publish); !e.Cached || e.Device != d.ID {
		t.Errorf("a known device: got %+v, want it to be cached", e)
	}
}

// Two gateways on one bus answer as one.
func TestNodes(t *testing.T) {
	t.Parallel()
	w := adaptertest.NewWorld(t, false)
	here := &adapters.Nodes{Gateway: w.Gateway, Bus: w.Bus, Log: w.Log}
	elsewhere := &adapters.Gateway{Devices: w.Gateway.Devices, Channels: w.Gateway.Channels, Bus: w.Bus, Log: w.Gateway.Log, Now: time.Now}
	there := &adapters.Nodes{Gateway: elsewhere, Bus: w.Bus, Log: w.Log}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, n := range []*adapters.Nodes{here, there} {
		if err := n.Join(); err != nil {
			t.Fatal(err)
		}
		running.Go(func() { n.Run(ctx) })
	}
	t.Cleanup(func() { stop(); running.Wait() })
	d := w.NewDevice(t, both)
	mine := open(t, w, d)
	theirs, err := elsewhere.Open(t.Context(), credential(d))
	if err != nil {
		t.Fatal(err)
	}
	dropped := make(chan error, 1)
	theirs.Watch(func(err error) { dropped <- err; theirs.Close() }, nil)

	deadline := time.After(10 * time.Second)
	for {
		all, err := here.Sessions(t.Context(), d.ID)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 2 && slices.ContainsFunc(all, func(s adapters.SessionInfo) bool { return s.ID == mine.ID() }) {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("got %d sessions, want those of both nodes", len(all))
		default:
		}
	}
	if err := here.EndSession(t.Context(), d.ID, theirs.ID()); err != nil {
		t.Fatal(err)
	}
	if err := <-dropped; adapters.ReasonOf(err) != registry.ReasonSessionEnded {
		t.Errorf("dropped with %v", err)
	}
	if err := here.EndSession(t.Context(), d.ID, theirs.ID()); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a second time: %v, want not found", err)
	}
}

func BenchmarkPublishDecision(b *testing.B) {
	w := adaptertest.NewWorld(b, false)
	d := w.NewDevice(b, both)
	s, err := w.Gateway.Open(b.Context(), credential(d))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	topic := "m/" + string(w.Domain.ID) + "/c/" + string(w.Live.ID)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.CanPublish(b.Context(), topic); err != nil {
			b.Fatal(err)
		}
	}
}
