package mqtt

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/postern-io/postern/adapters/adaptertest"
)

// tick moves the clock and does what the server does every second.
func (h *house) tick(d time.Duration) {
	h.Clock.Advance(d)
	h.server.sessions.sweep(h.Clock.Now())
	h.server.retained.sweep(h.Clock.Now())
}

// waiting waits until n sessions are without a connection.
func (h *house) waiting(t testing.TB, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d sessions wait", n), func() bool {
		_, waiting := h.server.sessions.count()
		return waiting == n
	})
}

func (h *house) say(t testing.TB, topic, payload string, edits ...func(*packets.Packet)) {
	t.Helper()
	c, _ := h.enter(t, 5)
	defer c.disconnect(0)
	c.publish(topic, payload, 1, 1, edits...)
	c.acked(packets.Puback, 1, 0)
}

func TestSessionResumes(t *testing.T) {
	h := newHouse(t, Limits{Queue: 4})
	for _, version := range []byte{4, 5} {
		d := h.NewDevice(t, both)
		c := dial(t, h.at, version)
		if ack := c.connect(d, "s", persistent(60)); ack.SessionPresent {
			t.Error("a first session is said to be present")
		}
		c.subscribe(1, filter(h.stored("#"), 2))
		h.say(t, h.stored(""), "unacknowledged")
		first := c.expect(packets.Publish)
		_ = c.nc.Close()
		h.waiting(t, 1)
		for i := range 6 { // two more than fit
			h.say(t, h.stored(""), fmt.Sprint("queued ", i))
		}

		c = dial(t, h.at, version)
		if ack := c.connect(d, "s", persistent(60)); !ack.SessionPresent {
			t.Error("the session is not said to be present")
		}
		again := c.heard("unacknowledged") // [MQTT-4.4.0-1]
		if !again.FixedHeader.Dup || again.PacketID != first.PacketID {
			t.Errorf("again: DUP %v, identifier %d; want true, %d", again.FixedHeader.Dup, again.PacketID, first.PacketID)
		}
		for i := range 4 {
			if got := c.heard(fmt.Sprint("queued ", i)); got.FixedHeader.Dup {
				t.Error("DUP on the first delivery of a queued message")
			}
		}
		c.quiet()
		c.disconnect(0)
		h.waiting(t, 1)

		c = dial(t, h.at, version)
		if ack := c.connect(d, "s"); ack.SessionPresent { // [MQTT-3.1.2-4]
			t.Error("a clean start found a session")
		}
		c.disconnect(0)
		h.waiting(t, 0)
	}
}

func TestQoS2ResumesWithPubrel(t *testing.T) { // [MQTT-4.3.3-7]
	h := newHouse(t, Limits{})
	d := h.NewDevice(t, both)
	c := dial(t, h.at, 5)
	c.connect(d, "s", persistent(60))
	c.subscribe(1, filter(h.live(""), 2))
	c.publish(h.live(""), "x", 2, 9)
	var id uint16
	for range 2 { // PUBREC and the message itself come in any order
		pk, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if pk.FixedHeader.Type == packets.Publish {
			id = pk.PacketID
		}
	}
	c.ack(packets.Pubrec, id)
	c.acked(packets.Pubrel, id, 0)
	_ = c.nc.Close()
	h.waiting(t, 1)
	c = dial(t, h.at, 5)
	c.connect(d, "s", persistent(60))
	c.acked(packets.Pubrel, id, 0)
	c.ack(packets.Pubcomp, id)
	c.ack(packets.Pubrec, id)
	c.acked(packets.Pubrel, id, codePacketIDNotFound)
}

func TestSessionExpires(t *testing.T) {
	h := newHouse(t, Limits{SessionExpiry: time.Hour})
	d := h.NewDevice(t, both)
	c := dial(t, h.at, 5)
	c.connect(d, "s", persistent(60))
	c.subscribe(1, filter(h.stored("#"), 1))
	c.disconnect(0)
	h.waiting(t, 1)
	h.tick(59 * time.Second)
	h.waiting(t, 1)
	h.tick(2 * time.Second)
	h.waiting(t, 0)
	if channels, _ := h.server.hub.counts(); channels != 0 {
		t.Errorf("an expired session still listens to %d channels", channels)
	}

	old := dial(t, h.at, 4)
	old.connect(d, "old", persistent(0))
	old.disconnect(0)
	h.waiting(t, 1)
	h.tick(time.Hour + time.Second)
	h.waiting(t, 0)

	c = dial(t, h.at, 5) // DISCONNECT may end it
	c.connect(d, "s", persistent(60))
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, Properties: packets.Properties{SessionExpiryIntervalFlag: true}})
	eventually(t, "the session ends", func() bool { all, _ := h.server.sessions.count(); return all == 0 })

	c = dial(t, h.at, 5) // but not begin it [MQTT-3.14.2-2]
	c.connect(d, "s")
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, Properties: packets.Properties{SessionExpiryIntervalFlag: true, SessionExpiryInterval: 5}})
	c.closed(0x82)
}

func TestWaitingSessionsAreBounded(t *testing.T) {
	h := newHouse(t, Limits{Sessions: 3})
	d := h.NewDevice(t, both)
	for i := range 6 {
		c := dial(t, h.at, 5)
		c.connect(d, fmt.Sprint(i), persistent(uint32(60+i)))
		c.disconnect(0)
		h.waiting(t, min(i+1, 3))
	}
	c := dial(t, h.at, 5)
	if ack := c.connect(d, "5", persistent(60)); !ack.SessionPresent {
		t.Error("the session that would live longest is gone")
	}
}

func TestTakeover(t *testing.T) { // [MQTT-3.1.4-3]
	h := newHouse(t, Limits{})
	d := h.NewDevice(t, both)
	first := dial(t, h.at, 5)
	first.connect(d, "same", persistent(60))
	first.subscribe(1, filter(h.stored("#"), 1))
	another, _ := h.enter(t, 5, func(pk *packets.Packet) { pk.Connect.ClientIdentifier = "same" })
	second := dial(t, h.at, 5)
	if ack := second.connect(d, "same", persistent(60)); !ack.SessionPresent {
		t.Error("the session was not taken over")
	}
	first.closed(codeTakenOver)
	another.quiet()
	h.say(t, h.stored(""), "x")
	second.heard("x")
	third := dial(t, h.at, 4)
	if ack := third.connect(d, "same"); ack.SessionPresent {
		t.Error("a clean session found one")
	}
	second.closed(codeTakenOver)
	third.quiet()
}

func TestTakeoverByMany(t *testing.T) {
	h := newHouse(t, Limits{})
	d := h.NewDevice(t, both)
	done := make(chan struct{})
	for range 20 {
		c := dial(t, h.at, 5)
		go func() {
			defer func() { done <- struct{}{} }()
			c.send(func() packets.Packet { pk := connectPacket(d, "same"); persistent(60)(&pk); return pk }())
			for {
				if _, err := c.next(); err != nil {
					return
				}
			}
		}()
	}
	for range 19 {
		<-done
	}
	if all, waiting := h.server.sessions.count(); all != 1 || waiting != 0 {
		t.Errorf("%d sessions, %d without connection; want one with", all, waiting)
	}
	c := dial(t, h.at, 5)
	if ack := c.connect(d, "same", persistent(60)); !ack.SessionPresent {
		t.Error("the session is lost")
	}
	<-done
}

func TestWill(t *testing.T) {
	h := newHouse(t, Limits{})
	listen := func(t *testing.T) *client {
		c, _ := h.enter(t, 5)
		c.subscribe(1, filter(h.stored("will"), 1))
		return c
	}
	delayed := func(seconds uint32) func(*packets.Packet) {
		return func(pk *packets.Packet) { pk.Connect.WillProperties.WillDelayInterval = seconds }
	}
	will := withWill(h.stored("will"), "gone", 1)
	t.Run("is sent when the connection is lost", func(t *testing.T) { // [MQTT-3.1.2-8]
		heard := listen(t)
		c, _ := h.enter(t, 4, will)
		_ = c.nc.Close()
		heard.heard("gone")
	})
	t.Run("is sent after a malformed packet", func(t *testing.T) {
		heard := listen(t)
		c, _ := h.enter(t, 5, will)
		_, _ = c.nc.Write([]byte{0xC0, 1, 0})
		heard.heard("gone")
	})
	t.Run("is sent with DISCONNECT 0x04", func(t *testing.T) {
		heard := listen(t)
		c, _ := h.enter(t, 5, will)
		c.disconnect(codeDisconnectWithWill)
		heard.heard("gone")
	})
	t.Run("is not sent with DISCONNECT", func(t *testing.T) { // [MQTT-3.14.4-3]
		heard := listen(t)
		for _, version := range []byte{4, 5} {
			c, _ := h.enter(t, version, will)
			c.disconnect(0)
		}
		eventually(t, "they are gone", func() bool { return h.server.connections() == 1 })
		h.say(t, h.stored("will"), "nothing")
		heard.heard("nothing")
	})
	t.Run("may be empty", func(t *testing.T) {
		heard := listen(t)
		c, _ := h.enter(t, 5, withWill(h.stored("will"), "", 1))
		_ = c.nc.Close()
		heard.heard("")
	})
	t.Run("carries its properties", func(t *testing.T) {
		heard := listen(t)
		c, _ := h.enter(t, 5, will, func(pk *packets.Packet) {
			pk.Connect.WillProperties.User = []packets.UserProperty{{Key: "k", Val: "v"}}
			pk.Connect.WillProperties.ContentType = "text/x"
		})
		_ = c.nc.Close()
		if p := heard.heard("gone").Properties; p.ContentType != "text/x" || len(p.User) != 1 || p.User[0].Val != "v" {
			t.Errorf("properties %+v", p)
		}
	})
	t.Run("waits for its delay", func(t *testing.T) { // [MQTT-3.1.3-9]
		heard := listen(t)
		c, _ := h.enter(t, 5, will, delayed(30), persistent(60))
		_ = c.nc.Close()
		h.waiting(t, 1)
		h.tick(29 * time.Second)
		heard.quiet()
		h.tick(2 * time.Second)
		heard.heard("gone")
		h.tick(30 * time.Second)
	})
	t.Run("waits no longer than the session lives", func(t *testing.T) {
		heard := listen(t)
		c, _ := h.enter(t, 5, will, delayed(300), persistent(10))
		_ = c.nc.Close()
		h.waiting(t, 1)
		h.tick(11 * time.Second)
		heard.heard("gone")
		h.waiting(t, 0)
	})
	t.Run("is cancelled by a return", func(t *testing.T) {
		heard := listen(t)
		d := h.NewDevice(t, both)
		c := dial(t, h.at, 5)
		c.connect(d, "s", will, delayed(30), persistent(60))
		_ = c.nc.Close()
		h.waiting(t, 1)
		c = dial(t, h.at, 5)
		c.connect(d, "s", persistent(60))
		h.tick(31 * time.Second)
		heard.quiet()
		c.disconnect(0)
		h.waiting(t, 1)
		h.tick(61 * time.Second)
		heard.quiet()
	})
	t.Run("is sent when a clean start ends its session", func(t *testing.T) {
		heard := listen(t)
		d := h.NewDevice(t, both)
		c := dial(t, h.at, 5)
		c.connect(d, "s", will, delayed(30), persistent(60))
		c = dial(t, h.at, 5)
		c.connect(d, "s")
		heard.heard("gone")
	})
	t.Run("is not sent by a device that was revoked", func(t *testing.T) {
		heard := listen(t)
		c, d := h.enter(t, 5, will)
		h.Disable(t, d)
		c.closed(codeAdministrative)
		h.say(t, h.stored("will"), "nothing")
		heard.heard("nothing")
	})
	t.Run("is refused at CONNECT where it may not be sent", func(t *testing.T) {
		for topic, code := range map[string]byte{adaptertest.Topic(h.Foreign, ""): codeNotAuthorized, "m/x": codeTopicInvalid, "$SYS/x": codeTopicInvalid} {
			c := dial(t, h.at, 5)
			pk := connectPacket(h.NewDevice(t, both), "x")
			withWill(topic, "gone", 0)(&pk)
			c.send(pk)
			if ack := c.expect(packets.Connack); ack.ReasonCode != code {
				t.Errorf("%s: CONNACK 0x%02X, want 0x%02X", topic, ack.ReasonCode, code)
			}
			c.closed(0)
		}
	})
}

func TestRetained(t *testing.T) {
	h := newHouse(t, Limits{})
	handling := func(f string, n byte) packets.Subscription {
		return packets.Subscription{Filter: f, Qos: 1, RetainHandling: n}
	}
	live, _ := h.enter(t, 5)
	asIs := filter(h.stored("#"), 1)
	asIs.RetainAsPublished = true
	live.subscribe(1, asIs)
	plain, _ := h.enter(t, 5)
	plain.subscribe(1, filter(h.stored("#"), 1))
	h.say(t, h.stored("r/1"), "one", retain)
	h.say(t, h.stored("r/2"), "two", retain)
	if got := live.heard("one"); !got.FixedHeader.Retain { // [MQTT-3.3.1-13]
		t.Error("Retain As Published lost the flag")
	}
	if got := plain.heard("one"); got.FixedHeader.Retain { // [MQTT-3.3.1-12]
		t.Error("the flag came without being asked for")
	}
	live.heard("two") // both have gone by: who comes now gets them as retained alone

	c, _ := h.enter(t, 5)
	f := handling(h.stored("r/+"), 0)
	f.Identifier = 5
	c.subscribe(1, f)
	seen := map[string]bool{}
	for range 2 {
		pk := c.expect(packets.Publish)
		c.ack(packets.Puback, pk.PacketID)
		seen[string(pk.Payload)] = true
		if !pk.FixedHeader.Retain || pk.FixedHeader.Qos != 1 || len(pk.Properties.SubscriptionIdentifier) != 1 {
			t.Errorf("retained: %+v %v", pk.FixedHeader, pk.Properties.SubscriptionIdentifier)
		}
	}
	if !seen["one"] || !seen["two"] {
		t.Errorf("seen %v", seen)
	}
	c.subscribe(2, handling(h.stored("r/1"), 2)) // [MQTT-3.3.1-11]
	c.quiet()
	c.subscribe(3, handling(h.stored("r/1"), 1)) // [MQTT-3.3.1-10]: it exists
	c.quiet()
	c.subscribe(4, handling(h.stored("+/1"), 1))
	c.heard("one")
	c.subscribe(5, filter("$share/g/"+h.stored("r/1"), 1)) // §4.8.2
	c.quiet()

	h.say(t, h.stored("r/1"), "", retain) // [MQTT-3.3.1-6]
	h.say(t, h.stored("r/2"), "newer", retain, func(pk *packets.Packet) { pk.Properties.MessageExpiryInterval = 10 })
	live.heard("")
	live.heard("newer")
	c, _ = h.enter(t, 5)
	c.subscribe(1, filter(h.stored("r/+"), 0))
	c.heard("newer")
	c.quiet()
	h.tick(11 * time.Second)
	c.subscribe(2, filter(h.stored("#"), 0))
	c.quiet()
	if h.server.retained.count != 0 || h.server.retained.bytes != 0 {
		t.Errorf("%d messages, %d bytes are kept", h.server.retained.count, h.server.retained.bytes)
	}
}

func TestQueuedMessagesExpire(t *testing.T) { // [MQTT-3.3.2-5], [MQTT-3.3.2-6]
	h := newHouse(t, Limits{})
	d := h.NewDevice(t, both)
	c := dial(t, h.at, 5)
	c.connect(d, "s", persistent(600))
	c.subscribe(1, filter(h.stored("#"), 1))
	c.disconnect(0)
	h.waiting(t, 1)
	for _, seconds := range []uint32{10, 100, 0} {
		h.say(t, h.stored(""), fmt.Sprint(seconds), func(pk *packets.Packet) { pk.Properties.MessageExpiryInterval = seconds })
	}
	h.tick(30 * time.Second)
	c = dial(t, h.at, 5)
	c.connect(d, "s", persistent(600))
	if left := c.heard("100").Properties.MessageExpiryInterval; left < 60 || left > 70 {
		t.Errorf("message expiry %d after 30 of 100 seconds", left)
	}
	if left := c.heard("0").Properties.MessageExpiryInterval; left != 0 {
		t.Errorf("message expiry %d on a message that has none", left)
	}
}

func TestSharedSubscriptions(t *testing.T) {
	h := newHouse(t, Limits{})
	shared := filter("$share/workers/"+h.live("jobs/+"), 1)
	var members []*client
	for range 3 {
		c, _ := h.enter(t, 5)
		c.subscribe(1, shared)
		members = append(members, c)
	}
	pub, _ := h.enter(t, 5)
	say := func(n int) {
		for i := range n {
			pub.publish(h.live("jobs/x"), fmt.Sprint(i), 1, uint16(i+1))
			pub.acked(packets.Puback, uint16(i+1), 0)
		}
	}
	say(30)
	for _, c := range members { // fairly
		for range 10 {
			pk := c.expect(packets.Publish)
			c.ack(packets.Puback, pk.PacketID)
		}
		c.quiet()
	}
	members[0].disconnect(0) // the others share its part
	eventually(t, "it left", func() bool { return h.server.connections() == 3 })
	say(10)
	for _, c := range members[1:] {
		for range 5 {
			pk := c.expect(packets.Publish)
			c.ack(packets.Puback, pk.PacketID)
		}
		c.quiet()
	}
}

func TestSharedSubscriptionSkipsWhoCannotTake(t *testing.T) {
	h := newHouse(t, Limits{})
	shared := filter("$share/workers/"+h.live("#"), 1)
	busy, _ := h.enter(t, 5, func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 })
	busy.subscribe(1, shared)
	idle, _ := h.enter(t, 5)
	idle.subscribe(1, shared)
	pub, _ := h.enter(t, 5)
	for i := range 10 {
		pub.publish(h.live(""), fmt.Sprint(i), 1, uint16(i+1))
		pub.acked(packets.Puback, uint16(i+1), 0)
	}
	busy.expect(packets.Publish) // and it does not answer
	for range 9 {
		pk := idle.expect(packets.Publish)
		idle.ack(packets.Puback, pk.PacketID)
	}
	busy.quiet()
}

func TestSlowReaderLosesAloneAndIsEnded(t *testing.T) {
	h := newHouse(t, Limits{Pending: 64 << 10, WriteTime: 200 * time.Millisecond})
	slow, _ := h.enter(t, 4)
	slow.subscribe(1, filter(h.live("#"), 0))
	quick, _ := h.enter(t, 4)
	quick.subscribe(1, filter(h.live("#"), 0))
	pub, _ := h.enter(t, 4)
	payload := strings.Repeat("x", 50_000)
	for i := range 400 { // 20 MB, more than sockets hold
		pub.publish(h.live(""), payload, 1, uint16(i+1))
		pub.acked(packets.Puback, uint16(i+1), 0)
		quick.heard(payload)
	}
	eventually(t, "the slow one is ended", func() bool { return h.server.connections() == 2 })
}

func TestNothingIsLeftBehind(t *testing.T) {
	h := newHouse(t, Limits{})
	d := h.NewDevice(t, both)
	bad := d
	bad.Secret = "not the secret of it"
	cycle := func(i int) {
		c := dial(t, h.at, byte(4+i%2))
		if i%3 == 0 {
			pk := connectPacket(adaptertest.Device{Device: h.NewDevice(t, both).Device, Secret: "not the secret of it"}, "x")
			c.send(pk)
			c.expect(packets.Connack)
			c.closed(0)
			return
		}
		c.connect(d, fmt.Sprint(i%7))
		c.subscribe(1, filter(h.stored("#"), 1), filter("$share/g/"+h.live(fmt.Sprint(i)), 1))
		c.publish(h.stored("x"), "x", 1, 1)
		if i%2 == 0 {
			c.disconnect(0)
		} else {
			_ = c.nc.Close()
		}
	}
	for i := range 50 {
		cycle(i)
	}
	settle := func() int {
		eventually(t, "all are gone", func() bool { return h.server.connections() == 0 })
		runtime.GC()
		return runtime.NumGoroutine()
	}
	before := settle()
	for i := range 1000 {
		cycle(i)
	}
	settle()
	eventually(t, "goroutines are back where they were", func() bool { return runtime.NumGoroutine() <= before+3 })
	channels, groups := h.server.hub.counts()
	all, waiting := h.server.sessions.count()
	if channels+groups+all+waiting != 0 || h.server.engine.Clients.Len() != 0 || h.server.engine.Topics.Retained.Len() != 0 {
		t.Errorf("left: %d channels, %d groups, %d sessions, %d of the engine's clients", channels, groups, all, h.server.engine.Clients.Len())
	}
}
