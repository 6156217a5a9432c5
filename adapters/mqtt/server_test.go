package mqtt

import (
	"bytes"
	"encoding/hex"
	"net"
	"strings"
	"testing"
	"time"

	engine "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/registry"
)

const both = registry.Publish | registry.Subscribe

// A house is a world with this door open on it.
type house struct {
	*adaptertest.World
	server *Server
	at     adaptertest.Wire
}

func newHouse(t testing.TB, limits Limits) *house {
	t.Helper()
	h := &house{World: adaptertest.NewWorld(t, false)}
	h.server = newServer(h.World)
	h.server.Limits = limits
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.at.Addr = l.Addr().String()
	serve(t, l, h.server)
	return h
}

// enter connects a new device with all rights.
func (h *house) enter(t testing.TB, version byte, edits ...func(*packets.Packet)) (*client, adaptertest.Device) {
	t.Helper()
	d := h.NewDevice(t, both)
	c := dial(t, h.at, version)
	c.connect(d, "", edits...)
	return c, d
}

func (h *house) stored(subtopic string) string { return adaptertest.Topic(h.Channel, subtopic) }
func (h *house) live(subtopic string) string   { return adaptertest.Topic(h.Live, subtopic) }

func filter(f string, qos byte) packets.Subscription {
	return packets.Subscription{Filter: f, Qos: qos}
}

func TestDelivery(t *testing.T) {
	h := newHouse(t, Limits{})
	for _, version := range []byte{4, 5} {
		for _, topic := range []string{h.stored("a/b"), h.live("a/b")} {
			for qos := range byte(3) {
				pub, _ := h.enter(t, version)
				sub, _ := h.enter(t, 9-version) // across versions
				if codes := sub.subscribe(1, filter(topic, qos)); codes[0] != qos {
					t.Fatalf("SUBACK %v, want %d", codes, qos)
				}
				pub.publish(topic, "x", qos, uint16(qos))
				switch qos {
				case 1:
					pub.acked(packets.Puback, 1, 0)
				case 2:
					pub.acked(packets.Pubrec, 2, 0)
					pub.ack(packets.Pubrel, 2)
					pub.acked(packets.Pubcomp, 2, 0)
				}
				got := sub.expect(packets.Publish)
				if got.TopicName != topic || string(got.Payload) != "x" || got.FixedHeader.Qos != qos || got.FixedHeader.Dup || got.FixedHeader.Retain {
					t.Errorf("version %d, QoS %d: got %+v %q %q", version, qos, got.FixedHeader, got.TopicName, got.Payload)
				}
				if qos == 2 {
					sub.ack(packets.Pubrec, got.PacketID)
					sub.acked(packets.Pubrel, got.PacketID, 0)
					sub.ack(packets.Pubcomp, got.PacketID)
				}
				sub.quiet()
				_, _ = pub.nc.Close(), sub.nc.Close()
			}
		}
	}
}

func TestAcknowledgementsLeaveInOrder(t *testing.T) {
	h := newHouse(t, Limits{})
	c, _ := h.enter(t, 5)
	topics := []string{h.stored("x"), h.live("x"), adaptertest.Topic(h.Foreign, "")}
	codes := []byte{0, 0, codeNotAuthorized}
	for id := range 900 {
		c.publish(topics[id%3], "x", 1, uint16(id+1))
	}
	for id := range 900 { // [MQTT-4.6.0-2]
		c.acked(packets.Puback, uint16(id+1), codes[id%3])
	}
}

func TestQoS2IsStoredOnce(t *testing.T) {
	h := newHouse(t, Limits{})
	d := h.NewDevice(t, both)
	sub, _ := h.enter(t, 5)
	sub.subscribe(1, filter(h.stored("#"), 0))
	c := dial(t, h.at, 5)
	c.connect(d, "q", persistent(60))
	dup := func(pk *packets.Packet) { pk.FixedHeader.Dup = true }
	c.publish(h.stored("once"), "x", 2, 7)
	c.acked(packets.Pubrec, 7, 0)
	c.publish(h.stored("once"), "x", 2, 7, dup)
	c.acked(packets.Pubrec, 7, 0)
	_ = c.nc.Close()

	c = dial(t, h.at, 5) // the state outlives the connection [MQTT-4.3.3-10]
	c.connect(d, "q", persistent(60))
	c.publish(h.stored("once"), "x", 2, 7, dup)
	c.acked(packets.Pubrec, 7, 0)
	c.ack(packets.Pubrel, 7)
	c.acked(packets.Pubcomp, 7, 0)
	c.ack(packets.Pubrel, 7)
	c.acked(packets.Pubcomp, 7, codePacketIDNotFound)
	c.publish(h.stored("once"), "y", 2, 7)
	c.acked(packets.Pubrec, 7, 0)
	sub.heard("x")
	sub.heard("y")
}

func TestReceiveMaximum(t *testing.T) { // [MQTT-3.3.4-7]
	h := newHouse(t, Limits{ReceiveMaximum: 2})
	c, _ := h.enter(t, 5)
	for id := uint16(1); id <= 2; id++ {
		c.publish(h.stored(""), "x", 2, id)
		c.acked(packets.Pubrec, id, 0)
	}
	c.ack(packets.Pubrel, 1)
	c.acked(packets.Pubcomp, 1, 0)
	c.publish(h.stored(""), "x", 2, 3)
	c.acked(packets.Pubrec, 3, 0)
	c.publish(h.stored(""), "x", 1, 4)
	c.closed(codeReceiveMaximum)

	old, _ := h.enter(t, 4) // 3.1.1 is slowed, not ended
	for id := range 200 {
		old.publish(h.stored(""), "x", 1, uint16(id+1))
	}
	for id := range 200 {
		old.acked(packets.Puback, uint16(id+1), 0)
	}
}

func TestRefusedPublish(t *testing.T) {
	h := newHouse(t, Limits{PacketSize: 4096})
	foreign := adaptertest.Topic(h.Foreign, "")
	outside, err := h.Nats.SubscribeSync("*.>")
	if err != nil {
		t.Fatal(err)
	}
	utf8 := func(pk *packets.Packet) { pk.Properties.PayloadFormat, pk.Properties.PayloadFormatFlag = 1, true }

	c, _ := h.enter(t, 5)
	c.publish(foreign, "refused", 0, 0)
	c.publish(foreign, "refused", 1, 1)
	c.acked(packets.Puback, 1, codeNotAuthorized)
	c.publish(foreign, "refused", 2, 2)
	c.acked(packets.Pubrec, 2, codeNotAuthorized)
	c.publish("$SYS/broker", "refused", 1, 3)
	c.acked(packets.Puback, 3, codeTopicInvalid)
	c.publish("m", "refused", 1, 4)
	c.acked(packets.Puback, 4, codeTopicInvalid)
	c.publish(h.stored(""), "refused\xff", 1, 5, utf8)
	c.acked(packets.Puback, 5, codePayloadFormat)
	c.publish(h.stored(""), strings.Repeat("x", 5000), 1, 6)
	c.closed(0x95)

	old, _ := h.enter(t, 4)
	old.publish(foreign, "refused", 0, 0)
	old.quiet()
	old.publish(foreign, "refused", 1, 1)
	old.closed(0)
	old, _ = h.enter(t, 4)
	old.publish("m", "refused", 0, 0)
	old.closed(0)

	c, _ = h.enter(t, 5)
	c.publish(h.stored(""), "accepted", 1, 1)
	c.acked(packets.Puback, 1, 0)
	if err := h.Nats.Flush(); err != nil {
		t.Fatal(err)
	}
	for {
		msg, err := outside.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(msg.Data, []byte("refused")) || len(msg.Data) > 4000 {
			t.Errorf("%q is on the bus at %s", msg.Data, msg.Subject)
		}
		if string(msg.Data) == "accepted" {
			break
		}
	}
}

func TestSubscribeCodes(t *testing.T) {
	h := newHouse(t, Limits{Subscriptions: 3})
	foreign := adaptertest.Topic(h.Foreign, "#")
	filters := []packets.Subscription{
		filter(h.stored("#"), 1), filter(foreign, 1), filter("$SYS/#", 0), filter("#", 0),
		filter("m/+/c/+/#", 0), filter(h.stored("a#"), 0), filter("$share/g/"+h.stored("+"), 2),
		filter("$share/+/"+h.stored("+"), 2), filter("$share/g", 2), filter(h.live("#"), 2), filter(h.live("over"), 2),
	}
	want := map[byte][]byte{
		5: {1, 0x87, 0x87, 0x8F, 0x8F, 0x8F, 2, 0x8F, 0x8F, 2, 0x97},
		4: {1, 0x80, 0x80, 0x80, 0x80, 0x80, 2, 0x80, 0x80, 2, 0x80},
	}
	for version, codes := range want {
		c, _ := h.enter(t, version)
		if got := c.subscribe(1, filters...); !bytes.Equal(got, codes) {
			t.Errorf("version %d: SUBACK % x, want % x", version, got, codes)
		}
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 2, Filters: filters[:2]})
		ack := c.expect(packets.Unsuback)
		if want := []byte{0, codeNoSubscription}; version == 5 && !bytes.Equal(ack.ReasonCodes, want) {
			t.Errorf("UNSUBACK % x, want % x", ack.ReasonCodes, want)
		}
		c.publish(h.stored("x/y"), "x", 1, 3)
		c.acked(packets.Puback, 3, 0)
		c.quiet()
	}
}

func TestTopicsComeInTheFormThatWasSubscribed(t *testing.T) {
	h := newHouse(t, Limits{})
	byRoute, byID := "m/home/c/stored/x", h.stored("x")
	route, _ := h.enter(t, 5)
	route.subscribe(1, filter("m/home/c/stored/#", 1))
	id, _ := h.enter(t, 5)
	id.subscribe(1, filter(h.stored("+"), 1))
	for _, topic := range []string{byRoute, byID} {
		c, _ := h.enter(t, 4)
		c.publish(topic, "x", 1, 1)
		c.acked(packets.Puback, 1, 0)
		if got := route.heard("x").TopicName; got != byRoute {
			t.Errorf("published on %s, heard on %s, want %s", topic, got, byRoute)
		}
		if got := id.heard("x").TopicName; got != byID {
			t.Errorf("published on %s, heard on %s, want %s", topic, got, byID)
		}
	}
}

func TestOverlappingSubscriptionsGiveOneCopy(t *testing.T) { // [MQTT-3.3.4-2], [MQTT-3.3.4-4]
	h := newHouse(t, Limits{})
	c, _ := h.enter(t, 5)
	for i, f := range []packets.Subscription{filter(h.stored("#"), 0), filter(h.stored("a/+"), 1), filter(h.stored("a/b"), 0), filter(h.stored("c"), 2)} {
		f.Identifier = 10 - i
		c.subscribe(uint16(i+1), f)
	}
	pub, _ := h.enter(t, 5)
	pub.publish(h.stored("a/b"), "x", 2, 1)
	pub.acked(packets.Pubrec, 1, 0)
	got := c.heard("x")
	ids := got.Properties.SubscriptionIdentifier
	if got.FixedHeader.Qos != 1 || len(ids) != 3 || ids[0] != 8 || ids[1] != 9 || ids[2] != 10 {
		t.Errorf("QoS %d, identifiers %v; want QoS 1, [8 9 10]", got.FixedHeader.Qos, ids)
	}
	c.quiet()
}

func TestNoLocal(t *testing.T) { // [MQTT-3.8.3-3]
	h := newHouse(t, Limits{})
	d := h.NewDevice(t, both)
	a, b := dial(t, h.at, 5), dial(t, h.at, 5)
	a.connect(d, "a")
	b.connect(d, "b")
	f := filter(h.live("#"), 1)
	f.NoLocal = true
	a.subscribe(1, f)
	a.publish(h.live("x"), "own", 1, 1)
	a.acked(packets.Puback, 1, 0)
	b.publish(h.live("x"), "other", 1, 1) // of the same device, another client
	b.acked(packets.Puback, 1, 0)
	a.heard("other")
}

func TestPropertiesTravel(t *testing.T) {
	h := newHouse(t, Limits{})
	sub, _ := h.enter(t, 5)
	sub.subscribe(1, filter(h.stored("#"), 1))
	pub, _ := h.enter(t, 5)
	want := packets.Properties{
		PayloadFormat: 1, PayloadFormatFlag: true, MessageExpiryInterval: 100, ContentType: "text/plain; charset=utf-8",
		ResponseTopic: "m/home/c/stored/answers", CorrelationData: []byte{0, 1, 0xff},
		User: []packets.UserProperty{{Key: "b=%", Val: " 2\n"}, {Key: "a", Val: "1"}, {Key: "a", Val: ""}},
	}
	pub.publish(h.stored(""), "x", 1, 1, func(pk *packets.Packet) { pk.Properties = want })
	pub.acked(packets.Puback, 1, 0)
	got := sub.heard("x").Properties
	if left := got.MessageExpiryInterval; left == 0 || left > 100 {
		t.Errorf("message expiry %d, want 100 or little less", left)
	}
	got.MessageExpiryInterval, want.MessageExpiryInterval = 0, 0
	var a, b bytes.Buffer
	mods := packets.Mods{AllowResponseInfo: true}
	got.Encode(packets.Publish, mods, &a, 0)
	want.Encode(packets.Publish, mods, &b, 0)
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Errorf("properties %+v, want %+v", got, want)
	}
}

func TestTopicAlias(t *testing.T) {
	h := newHouse(t, Limits{TopicAliases: 2})
	sub, _ := h.enter(t, 5)
	sub.subscribe(1, filter(h.live("#"), 0))
	alias := func(n uint16) func(*packets.Packet) {
		return func(pk *packets.Packet) { pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = n, true }
	}
	c, _ := h.enter(t, 5)
	c.publish(h.live("a"), "1", 1, 1, alias(1))
	c.acked(packets.Puback, 1, 0)
	c.publish("", "2", 1, 2, alias(1))
	c.acked(packets.Puback, 2, 0)
	c.publish(adaptertest.Topic(h.Foreign, ""), "refused", 1, 3, alias(2))
	c.acked(packets.Puback, 3, codeNotAuthorized)
	c.publish("", "refused", 1, 4, alias(2)) // decided on the real topic
	c.acked(packets.Puback, 4, codeNotAuthorized)
	c.publish(h.live("b"), "3", 1, 5, alias(1)) // [MQTT-3.3.2-12]: it may be set anew
	c.acked(packets.Puback, 5, 0)
	for _, want := range [][2]string{{"1", "a"}, {"2", "a"}, {"3", "b"}} {
		if got := sub.heard(want[0]); got.TopicName != h.live(want[1]) {
			t.Errorf("topic %s, want %s", got.TopicName, h.live(want[1]))
		}
	}
	c.publish(h.live("c"), "x", 1, 6, alias(3))
	c.closed(0x94)
	c, _ = h.enter(t, 5)
	c.publish("", "x", 1, 1, alias(1)) // an alias of another connection [MQTT-3.3.2-7]
	c.closed(0x82)
}

func TestConnack(t *testing.T) {
	h := newHouse(t, Limits{KeepAlive: 30 * time.Second, SessionExpiry: time.Minute, TopicAliases: 7, ReceiveMaximum: 9, PacketSize: 5000})
	d := h.NewDevice(t, both)
	c := dial(t, h.at, 5)
	p := c.connect(d, "", persistent(1<<31)).Properties
	if p.AssignedClientID == "" || !p.ServerKeepAliveFlag || p.ServerKeepAlive != 30 || p.SessionExpiryInterval != 60 ||
		p.TopicAliasMaximum != 7 || p.ReceiveMaximum != 9 || p.MaximumPacketSize != 5000 {
		t.Errorf("CONNACK %+v", p)
	}
	c = dial(t, h.at, 5)
	p = c.connect(d, "mine", func(pk *packets.Packet) { pk.Connect.Keepalive = 20 }).Properties
	if p.AssignedClientID != "" || p.ServerKeepAliveFlag || p.SessionExpiryIntervalFlag {
		t.Errorf("CONNACK %+v, want nothing said of what was granted", p)
	}
	c = dial(t, h.at, 5)
	pk := connectPacket(d, "x")
	pk.Properties.AuthenticationMethod = "SCRAM-SHA-256"
	c.send(pk)
	if ack := c.expect(packets.Connack); ack.ReasonCode != codeBadAuthMethod {
		t.Errorf("CONNACK 0x%02X, want 0x%02X", ack.ReasonCode, codeBadAuthMethod)
	}
	c.closed(0)
}

func TestClientLimitsAreKept(t *testing.T) {
	h := newHouse(t, Limits{})
	c, _ := h.enter(t, 5, func(pk *packets.Packet) {
		pk.Properties.ReceiveMaximum = 2
		pk.Properties.MaximumPacketSize = 200
	})
	c.subscribe(1, filter(h.live("#"), 1))
	pub, _ := h.enter(t, 5)
	for id := uint16(1); id <= 5; id++ {
		payload := string(rune('0' + id))
		if id == 3 {
			payload = strings.Repeat("x", 200) // [MQTT-3.1.2-24]
		}
		pub.publish(h.live(""), payload, 1, id)
		pub.acked(packets.Puback, id, 0)
	}
	first, second := c.expect(packets.Publish), c.expect(packets.Publish)
	c.quiet() // [MQTT-3.3.4-9]
	c.ack(packets.Puback, first.PacketID)
	c.heard("4")
	c.heard("5")
	c.ack(packets.Puback, second.PacketID)
	c.quiet()
}

// The engine's decoder panics on this SUBSCRIBE.
func TestThePacketThatEndsTheEngine(t *testing.T) {
	h := newHouse(t, Limits{})
	witness, _ := h.enter(t, 5)
	c, _ := h.enter(t, 5)
	b, err := hex.DecodeString("8206000100000161")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.nc.Write(b); err != nil {
		t.Fatal(err)
	}
	c.closed(0x81)
	witness.quiet()
}

func TestPanicEndsOneConnection(t *testing.T) {
	h := newHouse(t, Limits{})
	witness, _ := h.enter(t, 5)
	var log bytes.Buffer
	s := &Server{Bus: h.Bus, Log: logTo(&log)} // no gateway: CONNECT will panic
	here, there := net.Pipe()
	c := over(t, there, 5)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeConn(here, shownNothing)
	}()
	c.send(connectPacket(h.NewDevice(t, both), "x"))
	c.closed(0)
	<-done
	if got := log.String(); !strings.Contains(got, "packet_sha256") || strings.Contains(got, "secret") {
		t.Errorf("log: %s", got)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	witness.quiet()
}

// The client has its CONNACK before the engine says so: whatever ends the
// connection in between must say why.
func TestEndRightAfterConnack(t *testing.T) {
	h := newHouse(t, Limits{})
	h.server.start.Do(h.server.init)
	here, there := net.Pipe()
	c := h.server.newConn(here, shownNothing)
	t.Cleanup(c.close)
	c.version = 5
	hook := &hook{srv: h.server}
	hook.OnPacketEncode(&engine.Client{Net: engine.ClientConnection{Conn: c}},
		packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connack}})
	if _, err := c.Write([]byte{packets.Connack << 4, 3, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	c.end(codeShuttingDown)
	client := over(t, there, 5)
	client.expect(packets.Connack)
	if pk := client.expect(packets.Disconnect); pk.ReasonCode != codeShuttingDown {
		t.Errorf("DISCONNECT 0x%02X, want 0x%02X", pk.ReasonCode, codeShuttingDown)
	}
}

func TestShutdownTellsClients(t *testing.T) {
	h := newHouse(t, Limits{})
	h.server.Metrics = NewMetrics(prometheus.NewRegistry(), h.server)
	c, _ := h.enter(t, 5)
	old, _ := h.enter(t, 4)
	silent, _ := h.enter(t, 4, func(pk *packets.Packet) { pk.Connect.Keepalive = 0 })
	if err := h.server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	c.closed(codeShuttingDown)
	old.closed(0)
	silent.closed(0)
	if n := testutil.ToFloat64(h.server.Metrics.panics); n != 0 {
		t.Errorf("%v panics", n)
	}
}

func TestRightsThatGo(t *testing.T) {
	h := newHouse(t, Limits{})
	d := h.NewDevice(t, both)
	c := dial(t, h.at, 5)
	c.connect(d, "")
	c.subscribe(1, filter(h.stored("#"), 0), filter(h.live("#"), 0))
	pub, _ := h.enter(t, 5)
	say := func(topic, payload string) {
		pub.publish(topic, payload, 1, 1)
		pub.acked(packets.Puback, 1, 0)
	}
	say(h.stored(""), "before")
	c.heard("before")
	if err := h.Registry.Disconnect(t.Context(), h.Domain.ID, []registry.DeviceID{d.ID}, []registry.ChannelID{h.Channel.ID}, registry.Subscribe); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the subscription ends", func() bool {
		h.server.hub.mu.Lock()
		defer h.server.hub.mu.Unlock()
		return h.server.hub.channels[channelKey{string(h.Domain.ID), string(h.Channel.ID)}] == nil
	})
	say(h.stored(""), "after")
	say(h.live(""), "another")
	c.heard("another")
	h.Disable(t, d)
	c.closed(codeAdministrative)
}
