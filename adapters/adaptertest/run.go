package adaptertest

import (
	"crypto/tls"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

const patience = 10 * time.Second

func urn(d Device) *url.URL { return certs.DeviceURN(d.Domain, d.ID) }

// Run tells every story at door, on a plain wire and on TLS.
func Run(t *testing.T, door Door) {
	w := NewWorld(t, false)
	for _, secure := range []bool{false, true} {
		name := "plain"
		if secure {
			name = "TLS"
		}
		t.Run(name, func(t *testing.T) {
			h := &house{w, door, w.Serve(t, door, secure)}
			for _, s := range stories {
				if s.cert && !secure || s.needs != nil && !s.needs(door.Forms()) {
					continue
				}
				t.Run(s.name, func(t *testing.T) { h.tell(t, s) })
			}
			h.runOthers(t)
		})
	}
	t.Run("AUTH=x509", func(t *testing.T) {
		w := NewWorld(t, true)
		h := &house{w, door, w.Serve(t, door, true)}
		for _, s := range x509Stories {
			t.Run(s.name, func(t *testing.T) { h.tell(t, s) })
		}
	})
	t.Run("NATS is away", func(t *testing.T) {
		w := NewWorld(t, false)
		h := &house{w, door, w.Serve(t, door, false)}
		d := w.NewDevice(t, both)
		h.accept(t)
		w.StopNATS()
		for _, c := range []registry.Channel{w.Channel, w.Live} {
			if kind, err := door.Publish(t, h.at, d.shown(), Topic(c, ""), []byte("lost")); err == nil && kind != adapters.Unavailable {
				t.Errorf("it says %v, want %v or a cut connection", kind, adapters.Unavailable)
			}
		}
	})
}

// A house is a world with one door open.
type house struct {
	*World
	door Door
	at   Wire
}

// with returns the wire with a client certificate, which is shown whatever
// authorities the server names.
func (at Wire) with(cert *tls.Certificate) Wire {
	if cert == nil {
		return at
	}
	at.TLS = at.TLS.Clone()
	at.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	return at
}

func (h *house) tell(t *testing.T, s story) {
	a := s.tell(t, h.World)
	if a.topic == "" {
		a.topic = Topic(h.Channel, subtopic(t))
	}
	payload := []byte(t.Name())
	h.settle(t)
	kind, err := h.door.Publish(t, h.at.with(a.cert), a.Evidence, a.topic, payload)
	switch {
	case s.want == cut:
		if err == nil {
			t.Errorf("it says %v, want the connection refused", kind)
		}
	case err != nil:
		t.Errorf("the connection was cut (%v), want %v", err, s.want)
	case kind != s.want:
		t.Errorf("it says %v, want %v", kind, s.want)
	}
	if s.want == adapters.OK {
		h.seen(t, string(payload))
		return
	}
	h.accept(t)
}

// accept publishes something good and sees that nothing came before it.
func (h *house) accept(t *testing.T) {
	t.Helper()
	text := "accepted after " + t.Name()
	d := h.NewDevice(t, both)
	at := h.at
	e := d.shown()
	if h.X509 {
		at, e = at.with(h.PKI.URN(t, d)), Evidence{}
	}
	if kind, err := h.door.Publish(t, at, e, Topic(h.Channel, "marker"), []byte(text)); err != nil || kind != adapters.OK {
		t.Fatalf("a good message: %v, %v", kind, err)
	}
	h.seen(t, text)
}

// settle waits until nothing of earlier stories is on its way to the
// subscriber: it publishes something, and takes all that comes until that.
func (h *house) settle(t *testing.T) {
	t.Helper()
	text := "settled before " + t.Name()
	topic, err := messaging.ParseTopic(Topic(h.Channel, "settle"))
	must(t, err)
	m := &messaging.Message{Topic: topic, Payload: []byte(text), Created: time.Now()}
	h.Bus.Lane("settle").Publish(m, true, nil)
	timeout := time.After(patience)
	for {
		select {
		case msg := <-h.outside:
			if string(msg.Data) == text && msg.Subject[0] == 'm' {
				return
			}
		case <-timeout:
			t.Fatal("NATS does not settle")
		}
	}
}

// seen takes the next message on m.>, and what was captured before it, and
// sees that it is this one, whole.
func (h *house) seen(t *testing.T, payload string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		var msg *nats.Msg
		select {
		case msg = <-h.outside:
		case <-timeout:
			t.Fatalf("%q did not reach NATS within %v", payload, patience)
		}
		if string(msg.Data) != payload {
			t.Fatalf("%q arrived on %s, want %q", msg.Data, msg.Subject, payload)
		}
		publisher, protocol := msg.Header.Get(messaging.HeaderPublisher), msg.Header.Get(messaging.HeaderProtocol)
		if _, err := registry.ParseID(publisher); err != nil || protocol != h.door.Protocol() {
			t.Errorf("publisher %q, protocol %q; want a device's id and %q", publisher, protocol, h.door.Protocol())
		}
		if msg.Subject[0] == 'm' {
			return
		}
	}
}

// runOthers tells the stories of doors that do more than publish.
func (h *house) runOthers(t *testing.T) {
	if door, ok := h.door.(Listener); ok {
		t.Run("a device hears another", func(t *testing.T) { h.hear(t, door) })
		t.Run("a device that may only publish hears nothing", func(t *testing.T) {
			h.deaf(t, door, h.NewDevice(t, registry.Publish), Topic(h.Channel, "x"))
		})
		t.Run("a device that is not connected hears nothing", func(t *testing.T) {
			h.deaf(t, door, h.NewDevice(t, 0), Topic(h.Channel, "x"))
		})
		t.Run("a device does not hear another domain", func(t *testing.T) {
			h.deaf(t, door, h.NewDevice(t, both), Topic(h.Foreign, ""))
		})
	}
	if door, ok := h.door.(Holder); ok {
		h.runEndings(t, door)
	}
	if door, ok := h.door.(Willer); ok {
		t.Run("a will to a foreign channel is refused at the connect", func(t *testing.T) {
			d := h.NewDevice(t, both)
			h.settle(t)
			if kind, err := door.ConnectWithWill(t, h.at, d.shown(), Topic(h.Foreign, "")); err != nil || kind != adapters.Denied {
				t.Errorf("it says %v, %v; want %v", kind, err, adapters.Denied)
			}
			h.accept(t)
		})
		t.Run("a will is published when its device is lost", func(t *testing.T) {
			d := h.NewDevice(t, both)
			h.settle(t)
			if kind, err := door.ConnectWithWill(t, h.at, d.shown(), Topic(h.Channel, "will")); err != nil || kind != adapters.OK {
				t.Fatalf("it says %v, %v; want %v", kind, err, adapters.OK)
			}
			select {
			case msg := <-h.outside:
				if got := msg.Header.Get(messaging.HeaderPublisher); got != string(d.ID) {
					t.Errorf("the will's publisher is %q, want %q", got, d.ID)
				}
			case <-time.After(patience):
				t.Error("the will did not reach NATS")
			}
			h.settle(t)
			h.accept(t)
		})
	}
	if door, ok := h.door.(Identifier); ok {
		t.Run("nobody takes over another device's session by its name", func(t *testing.T) {
			lost, kind, err := door.HoldAs(t, h.at, h.NewDevice(t, both).shown(), "the same name")
			if err != nil || kind != adapters.OK {
				t.Fatalf("it says %v, %v", kind, err)
			}
			if _, kind, err = door.HoldAs(t, h.at, h.NewDevice(t, both).shown(), "the same name"); err != nil || kind != adapters.OK {
				t.Fatalf("the other device: it says %v, %v", kind, err)
			}
			h.settle(t)
			h.accept(t)
			select {
			case <-lost:
				t.Error("the first device lost its session")
			default:
			}
		})
	}
}

func (h *house) hear(t *testing.T, door Listener) {
	topic := Topic(h.Channel, subtopic(t))
	heard, kind, err := door.Listen(t, h.at, h.NewDevice(t, registry.Subscribe).shown(), topic)
	if err != nil || kind != adapters.OK {
		t.Fatalf("it says %v, %v", kind, err)
	}
	for _, text := range []string{"one", "two"} {
		if kind, err := h.door.Publish(t, h.at, h.NewDevice(t, registry.Publish).shown(), topic, []byte(text)); err != nil || kind != adapters.OK {
			t.Fatalf("publish: %v, %v", kind, err)
		}
		select {
		case got := <-heard:
			if string(got) != text {
				t.Errorf("it heard %q, want %q", got, text)
			}
		case <-time.After(patience):
			t.Fatalf("it did not hear %q", text)
		}
	}
}

func (h *house) deaf(t *testing.T, door Listener, d Device, topic string) {
	heard, kind, err := door.Listen(t, h.at, d.shown(), topic)
	if err != nil || kind == adapters.Denied {
		return
	}
	// A door that lets the device in, because it may do something else there,
	// must not let it hear.
	if topic != Topic(h.Channel, "x") {
		t.Fatalf("it says %v, want %v", kind, adapters.Denied)
	}
	witness, kind, err := door.Listen(t, h.at, h.NewDevice(t, registry.Subscribe).shown(), topic)
	if err != nil || kind != adapters.OK {
		t.Fatalf("the witness: %v, %v", kind, err)
	}
	if kind, err := h.door.Publish(t, h.at, h.NewDevice(t, both).shown(), topic, []byte("secret")); err != nil || kind != adapters.OK {
		t.Fatalf("publish: %v, %v", kind, err)
	}
	select {
	case <-witness:
	case <-time.After(patience):
		t.Fatal("the witness heard nothing")
	}
	select {
	case got := <-heard:
		t.Errorf("it heard %q", got)
	default:
	}
}

// runEndings takes the ground away from under open sessions.
func (h *house) runEndings(t *testing.T, door Holder) {
	endings := []struct {
		name string
		end  func(t *testing.T, d Device)
	}{
		{"its device is disabled", func(t *testing.T, d Device) { h.Disable(t, d) }},
		{"its device is deleted", func(t *testing.T, d Device) {
			must(t, h.Registry.DeleteDevice(t.Context(), d.Domain, d.ID))
		}},
		{"its secret is rotated", func(t *testing.T, d Device) { h.Rotate(t, d, 0) }},
	}
	for _, e := range endings {
		t.Run("a session ends when "+e.name, func(t *testing.T) {
			d := h.NewDevice(t, both)
			lost, kind, err := door.Hold(t, h.at, d.shown(), Topic(h.Channel, "held"))
			if err != nil || kind != adapters.OK {
				t.Fatalf("it says %v, %v", kind, err)
			}
			e.end(t, d)
			select {
			case <-lost:
			case <-time.After(time.Second): // promise 4
				t.Error("it is still open after a second")
			}
		})
	}
	t.Run("a session stays while its old secret is good", func(t *testing.T) {
		d := h.NewDevice(t, both)
		lost, kind, err := door.Hold(t, h.at, d.shown(), Topic(h.Channel, "held"))
		if err != nil || kind != adapters.OK {
			t.Fatalf("it says %v, %v", kind, err)
		}
		h.Rotate(t, d, time.Hour)
		h.settle(t)
		h.accept(t)
		select {
		case <-lost:
			t.Error("it ended")
		default:
		}
	})
}
