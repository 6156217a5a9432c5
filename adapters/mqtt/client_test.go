package mqtt

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/authn"
)

const patience = 5 * time.Second

// A client speaks raw MQTT: what it sends is what the test says, and it answers
// nothing by itself.
type client struct {
	t       testing.TB
	nc      net.Conn
	r       *bufio.Reader
	version byte
}

func dial(t testing.TB, at adaptertest.Wire, version byte) *client {
	t.Helper()
	var nc net.Conn
	var err error
	if at.TLS != nil {
		nc, err = tls.Dial("tcp", at.Addr, at.TLS)
	} else {
		nc, err = net.Dial("tcp", at.Addr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return over(t, nc, version)
}

func over(t testing.TB, nc net.Conn, version byte) *client {
	t.Cleanup(func() { _ = nc.Close() })
	return &client{t: t, nc: nc, r: bufio.NewReader(nc), version: version}
}

func (c *client) send(pk packets.Packet) {
	c.t.Helper()
	pk.ProtocolVersion = c.version
	pk.Mods.AllowResponseInfo = true
	var b bytes.Buffer
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectEncode(&b)
	case packets.Publish:
		err = pk.PublishEncode(&b)
	case packets.Puback:
		err = pk.PubackEncode(&b)
	case packets.Pubrec:
		err = pk.PubrecEncode(&b)
	case packets.Pubrel:
		pk.FixedHeader.Qos = 1
		err = pk.PubrelEncode(&b)
	case packets.Pubcomp:
		err = pk.PubcompEncode(&b)
	case packets.Subscribe:
		pk.FixedHeader.Qos = 1
		err = pk.SubscribeEncode(&b)
	case packets.Unsubscribe:
		pk.FixedHeader.Qos = 1
		err = pk.UnsubscribeEncode(&b)
	case packets.Pingreq:
		err = pk.PingreqEncode(&b)
	case packets.Disconnect:
		err = pk.DisconnectEncode(&b)
	default:
		c.t.Fatalf("the client cannot send %d", pk.FixedHeader.Type)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.nc.Write(b.Bytes()); err != nil && !errors.Is(err, net.ErrClosed) {
		c.t.Logf("write: %v", err)
	}
}

// next reads a packet. An error means that the connection is over.
func (c *client) next() (packets.Packet, error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	pk := packets.Packet{ProtocolVersion: c.version}
	head, err := c.r.ReadByte()
	if err != nil {
		return pk, err
	}
	pk.FixedHeader.Type = head >> 4
	pk.FixedHeader.Qos = head >> 1 & 3
	pk.FixedHeader.Dup = head&8 != 0
	pk.FixedHeader.Retain = head&1 != 0
	n, _, err := packets.DecodeLength(c.r)
	if err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = n
	body := make([]byte, n)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return pk, err
	}
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		err = pk.PubackDecode(body)
	case packets.Suback:
		err = pk.SubackDecode(body)
	case packets.Unsuback:
		err = pk.UnsubackDecode(body)
	case packets.Disconnect:
		if n == 1 {
			pk.ReasonCode = body[0]
		} else {
			err = pk.DisconnectDecode(body)
		}
	}
	return pk, err
}

// expect reads a packet of one type.
func (c *client) expect(kind byte) packets.Packet {
	c.t.Helper()
	pk, err := c.next()
	if err != nil {
		c.t.Fatalf("waiting for %s: %v", packets.PacketNames[kind], err)
	}
	if pk.FixedHeader.Type != kind {
		c.t.Fatalf("got %s (0x%02X, %s %q), want %s", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode, pk.TopicName, pk.Payload, packets.PacketNames[kind])
	}
	return pk
}

// closed expects the end of the connection, and before it a DISCONNECT with code
// unless that is 0.
func (c *client) closed(code byte) {
	c.t.Helper()
	if code != 0 {
		if pk := c.expect(packets.Disconnect); pk.ReasonCode != code {
			c.t.Errorf("DISCONNECT 0x%02X, want 0x%02X", pk.ReasonCode, code)
		}
	}
	if pk, err := c.next(); err == nil || errors.Is(err, errTimeout(err)) {
		c.t.Errorf("got %s (0x%02X), %v; want the end of the connection", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode, err)
	}
}

func errTimeout(err error) error {
	var n net.Error
	if errors.As(err, &n) && n.Timeout() {
		return err
	}
	return errors.New("another")
}

// connectPacket is a CONNECT of d with a clean start.
func connectPacket(d adaptertest.Device, id string) packets.Packet {
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connect},
		Connect: packets.ConnectParams{
			ProtocolName: []byte("MQTT"), ClientIdentifier: id, Clean: true, Keepalive: 60,
			UsernameFlag: true, Username: []byte(d.ID), PasswordFlag: true, Password: []byte(d.Secret),
		},
	}
}

// connect lets d in, after edits to its CONNECT.
func (c *client) connect(d adaptertest.Device, id string, edits ...func(*packets.Packet)) packets.Packet {
	c.t.Helper()
	pk := connectPacket(d, id)
	for _, edit := range edits {
		edit(&pk)
	}
	c.send(pk)
	ack := c.expect(packets.Connack)
	if ack.ReasonCode != 0 {
		c.t.Fatalf("CONNACK 0x%02X", ack.ReasonCode)
	}
	return ack
}

func persistent(seconds uint32) func(*packets.Packet) {
	return func(pk *packets.Packet) {
		pk.Connect.Clean = false
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = seconds, true
	}
}

func (c *client) publish(topic, payload string, qos byte, id uint16, edits ...func(*packets.Packet)) {
	c.t.Helper()
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos},
		TopicName:   topic, Payload: []byte(payload), PacketID: id,
	}
	for _, edit := range edits {
		edit(&pk)
	}
	c.send(pk)
}

func retain(pk *packets.Packet) { pk.FixedHeader.Retain = true }

func (c *client) subscribe(id uint16, filters ...packets.Subscription) []byte {
	c.t.Helper()
	c.send(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: id, Filters: filters,
		Properties: identified(filters),
	})
	for { // messages may come before it (§3.8.4)
		pk, err := c.next()
		if err != nil {
			c.t.Fatalf("waiting for SUBACK: %v", err)
		}
		if pk.FixedHeader.Type == packets.Suback {
			return pk.ReasonCodes
		}
	}
}

func identified(filters []packets.Subscription) (p packets.Properties) {
	if filters[0].Identifier > 0 {
		p.SubscriptionIdentifier = []int{filters[0].Identifier}
	}
	return p
}

func (c *client) ack(kind byte, id uint16) {
	c.t.Helper()
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: id})
}

// acked expects an acknowledgement.
func (c *client) acked(kind byte, id uint16, code byte) {
	c.t.Helper()
	if pk := c.expect(kind); pk.PacketID != id || pk.ReasonCode != code {
		c.t.Errorf("%s %d 0x%02X, want %d 0x%02X", packets.PacketNames[kind], pk.PacketID, pk.ReasonCode, id, code)
	}
}

// heard expects a PUBLISH, and acknowledges QoS 1.
func (c *client) heard(payload string) packets.Packet {
	c.t.Helper()
	pk := c.expect(packets.Publish)
	if string(pk.Payload) != payload {
		c.t.Errorf("heard %q on %s, want %q", pk.Payload, pk.TopicName, payload)
	}
	if pk.FixedHeader.Qos == 1 {
		c.ack(packets.Puback, pk.PacketID)
	}
	return pk
}

// quiet proves that nothing was sent: a ping comes back first.
func (c *client) quiet() {
	c.t.Helper()
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	c.expect(packets.Pingresp)
}

func (c *client) disconnect(code byte) {
	c.t.Helper()
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ReasonCode: code})
	_ = c.nc.Close()
}

// eventually waits for something to become true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !f() {
		if time.Now().After(end) {
			t.Fatalf("it did not happen within %v: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond) // polling, with an end
	}
}

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

var shownNothing authn.Credential
