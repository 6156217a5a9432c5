package mqtt

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/messaging"
)

func TestStories311(t *testing.T) { adaptertest.Run(t, &door{version: 4}) }
func TestStories5(t *testing.T)   { adaptertest.Run(t, &door{version: 5}) }

type door struct {
	version byte
	world   *adaptertest.World // that was served last
}

func (*door) Protocol() string         { return "mqtt" }
func (*door) Forms() adaptertest.Forms { return adaptertest.Forms{SecretAlone: true} }

func (d *door) Serve(t testing.TB, w *adaptertest.World, l net.Listener) {
	d.world = w
	serve(t, l, newServer(w))
}

func newServer(w *adaptertest.World) *Server {
	return &Server{Gateway: w.Gateway, Bus: w.Bus, Log: w.Log, Now: w.Clock.Now}
}

func serve(t testing.TB, l net.Listener, s *Server) {
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

var connackKinds = map[byte]map[byte]adapters.Kind{
	4: {0: adapters.OK, 3: adapters.Unavailable, 4: adapters.Unauthenticated, 5: adapters.Denied},
	5: {0: adapters.OK, 0x86: adapters.Unauthenticated, 0x87: adapters.Denied, 0x88: adapters.Unavailable, 0x9F: adapters.Limited, 0x90: adapters.InvalidTopic},
}

var ackKinds = map[byte]adapters.Kind{
	0: adapters.OK, 0x87: adapters.Denied, 0x90: adapters.InvalidTopic, 0x97: adapters.Limited, 0x99: adapters.InvalidContent,
}

// enter connects with evidence.
func (d *door) enter(t testing.TB, at adaptertest.Wire, e adaptertest.Evidence, id string, edits ...func(*packets.Packet)) (*client, adapters.Kind, error) {
	c := dial(t, at, d.version)
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connect},
		Connect: packets.ConnectParams{
			ProtocolName: []byte("MQTT"), ClientIdentifier: id, Clean: true, Keepalive: 60,
			UsernameFlag: e.DeviceID != "", Username: []byte(e.DeviceID), PasswordFlag: e.Secret != "", Password: []byte(e.Secret),
		},
	}
	if d.version == 4 && e.DeviceID == "" { // 3.1.1 has no password without a user name
		pk.Connect.UsernameFlag = e.Secret != ""
	}
	for _, edit := range edits {
		edit(&pk)
	}
	c.send(pk)
	ack, err := c.next()
	if err != nil {
		return nil, 0, err
	}
	kind, ok := connackKinds[d.version][ack.ReasonCode]
	if !ok {
		t.Errorf("CONNACK 0x%02X", ack.ReasonCode)
	}
	return c, kind, nil
}

func (d *door) Publish(t testing.TB, at adaptertest.Wire, e adaptertest.Evidence, topic string, payload []byte) (adapters.Kind, error) {
	c, kind, err := d.enter(t, at, e, "")
	if err != nil || kind != adapters.OK {
		return kind, err
	}
	defer c.nc.Close()
	c.publish(topic, string(payload), 1, 1)
	ack, err := c.next()
	if err != nil {
		if d.version == 4 {
			return d.guess(topic), nil
		}
		return 0, err
	}
	if ack.FixedHeader.Type == packets.Disconnect && ack.ReasonCode != codeTopicInvalid {
		return 0, errEnded
	}
	return ackKinds[ack.ReasonCode], nil
}

// guess says what a cut connection means: 3.1.1 has no other way to say no.
func (d *door) guess(topic string) adapters.Kind {
	if _, err := messaging.ParseTopic(topic); err != nil {
		return adapters.InvalidTopic
	}
	if !d.world.Nats.IsConnected() {
		return adapters.Unavailable
	}
	return adapters.Denied
}

func (d *door) Listen(t testing.TB, at adaptertest.Wire, e adaptertest.Evidence, topic string) (<-chan []byte, adapters.Kind, error) {
	c, kind, err := d.enter(t, at, e, "")
	if err != nil || kind != adapters.OK {
		return nil, kind, err
	}
	switch code := c.subscribe(1, packets.Subscription{Filter: topic, Qos: 0})[0]; code {
	case 0:
	case 0x80, 0x87:
		return nil, adapters.Denied, nil
	default:
		t.Errorf("SUBACK 0x%02X", code)
	}
	heard := make(chan []byte, 16)
	go func() {
		for {
			pk, err := c.next()
			if err != nil {
				return
			}
			heard <- pk.Payload
		}
	}()
	return heard, adapters.OK, nil
}

func (d *door) Hold(t testing.TB, at adaptertest.Wire, e adaptertest.Evidence, topic string) (<-chan struct{}, adapters.Kind, error) {
	return d.hold(t, at, e, "")
}

func (d *door) HoldAs(t testing.TB, at adaptertest.Wire, e adaptertest.Evidence, id string) (<-chan struct{}, adapters.Kind, error) {
	return d.hold(t, at, e, id)
}

func (d *door) hold(t testing.TB, at adaptertest.Wire, e adaptertest.Evidence, id string) (<-chan struct{}, adapters.Kind, error) {
	c, kind, err := d.enter(t, at, e, id)
	if err != nil || kind != adapters.OK {
		return nil, kind, err
	}
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		pk, err := c.next()
		if err == nil && (pk.FixedHeader.Type != packets.Disconnect || pk.ReasonCode != codeAdministrative) {
			t.Errorf("it is told %s 0x%02X, want DISCONNECT 0x98", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode)
		}
	}()
	return lost, adapters.OK, nil
}

func (d *door) ConnectWithWill(t testing.TB, at adaptertest.Wire, e adaptertest.Evidence, topic string) (adapters.Kind, error) {
	c, kind, err := d.enter(t, at, e, "", withWill(topic, "gone", 1))
	if c != nil {
		_ = c.nc.Close()
	}
	return kind, err
}

func withWill(topic, payload string, qos byte) func(*packets.Packet) {
	return func(pk *packets.Packet) {
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload, pk.Connect.WillQos = true, topic, []byte(payload), qos
	}
}
