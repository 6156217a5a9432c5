package mqtt

import (
	"context"
	"errors"
	"log/slog"
	"math"

	engine "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/postern-io/postern/adapters/mqtt/wire"
)

// This file is where the engine is met. It decodes CONNECT, SUBSCRIBE,
// UNSUBSCRIBE, PINGREQ and DISCONNECT, calls us at each step, and writes the
// answers we put into its packets.

// errRefused stops the engine after a CONNECT that we have answered.
var errRefused = errors.New("connect refused")

// newEngine returns an engine without listeners, event loop, $SYS topics or log:
// connections are given to it one by one.
func newEngine(srv *Server) (*engine.Server, error) {
	c := engine.NewDefaultServerCapabilities()
	c.MaximumMessageExpiryInterval = 0 // else every message is given a day to live
	c.MaximumClientWritesPending = 1   // its queue is not used
	c.MaximumSessionExpiryInterval = math.MaxUint32
	c.MinimumProtocolVersion = 4
	c.MaximumPacketSize = 0 // wire has seen to it
	c.ReceiveMaximum = srv.limits.ReceiveMaximum
	c.TopicAliasMaximum = 0 // it sees no PUBLISH
	c.Compatibilities.NoInheritedPropertiesOnAck = true
	e := engine.New(&engine.Options{
		Capabilities:             c,
		ClientNetReadBufferSize:  256, // what it reads is buffered beneath it
		ClientNetWriteBufferSize: 256,
		Logger:                   slog.New(slog.DiscardHandler), // it would log packets whole
	})
	return e, e.AddHook(&hook{srv: srv}, nil)
}

type hook struct {
	engine.HookBase
	srv *Server
}

// ID names the hook.
func (h *hook) ID() string { return "postern" }

// Provides lists what the engine shall call. It grants nothing by itself: with
// no OnACLCheck it refuses every filter, and its topic tree stays empty.
func (h *hook) Provides(b byte) bool {
	switch b {
	case engine.OnPacketRead, engine.OnConnect, engine.OnConnectAuthenticate, engine.OnSessionEstablished,
		engine.OnSubscribe, engine.OnUnsubscribe, engine.OnPacketEncode, engine.OnPacketProcessed:
		return true
	}
	return false
}

func connOf(cl *engine.Client) *conn { return cl.Net.Conn.(*conn) }

// OnPacketRead keeps what the engine does not need to know: who is connecting,
// and the will.
func (h *hook) OnPacketRead(cl *engine.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	switch pk.FixedHeader.Type {
	case packets.Connect:
		c.connect = h.srv.readConnect(&pk)
		pk.Connect = packets.ConnectParams{
			ProtocolName:     pk.Connect.ProtocolName,
			Clean:            true,
			Keepalive:        c.connect.keepAlive,
			ClientIdentifier: c.engineID,
		}
	case packets.Disconnect:
		c.disconnecting(&pk)
	}
	return pk, nil
}

// OnConnect lets the device in, or answers why not.
func (h *hook) OnConnect(cl *engine.Client, pk packets.Packet) error {
	c := connOf(cl)
	c.version = pk.ProtocolVersion
	ctx, cancel := context.WithTimeout(h.srv.ctx, decideTime)
	defer cancel()
	code, err := c.admitDevice(ctx)
	if err != nil {
		_, _ = c.out.Write(wire.RefuseConnect(c.version, code)) // it ends in any case
		return errRefused
	}
	cl.State.ServerKeepalive = c.connect.shortened
	return nil
}

// OnConnectAuthenticate finds everything decided.
func (h *hook) OnConnectAuthenticate(cl *engine.Client, _ packets.Packet) bool {
	return connOf(cl).session != nil
}

// OnSessionEstablished is called when CONNACK is out.
func (h *hook) OnSessionEstablished(cl *engine.Client, _ packets.Packet) {
	c := connOf(cl)
	c.established.Store(true)
	h.srv.sessions.establish(c)
}

// OnSubscribe decides on every filter. The engine then refuses them all, and
// OnPacketEncode says what is true.
func (h *hook) OnSubscribe(cl *engine.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	ctx, cancel := context.WithTimeout(h.srv.ctx, decideTime)
	defer cancel()
	c.codes, c.news = c.codes[:0], c.news[:0]
	for _, f := range pk.Filters {
		c.codes = append(c.codes, c.subscribe(ctx, f))
	}
	return pk
}

// OnUnsubscribe ends subscriptions.
func (h *hook) OnUnsubscribe(cl *engine.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	c.codes = c.codes[:0]
	for _, f := range pk.Filters {
		c.codes = append(c.codes, c.session.unsubscribe(f.Filter))
	}
	return pk
}

// OnPacketEncode puts our answers into the engine's packets.
func (h *hook) OnPacketEncode(cl *engine.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	switch pk.FixedHeader.Type {
	case packets.Connack:
		if pk.ReasonCode == 0 {
			pk.SessionPresent = c.present
			c.announce(&pk.Properties)
			c.greeting = true
		}
	case packets.Suback, packets.Unsuback:
		pk.ReasonCodes = c.codes
		pk.Properties = packets.Properties{} // not the client's own
	}
	return pk
}

// OnPacketProcessed sends what is retained, behind the SUBACK.
func (h *hook) OnPacketProcessed(cl *engine.Client, pk packets.Packet, _ error) {
	if pk.FixedHeader.Type != packets.Subscribe {
		return
	}
	c := connOf(cl)
	for _, sub := range c.news {
		h.srv.retained.send(sub)
	}
	c.news = c.news[:0]
}

// announce tells the client what it was given and what it must keep to.
func (c *conn) announce(p *packets.Properties) {
	l := &c.srv.limits
	p.MaximumPacketSize = uint32(l.PacketSize)
	p.TopicAliasMaximum = l.TopicAliases
	if c.connect.assigned { // [MQTT-3.2.2-16]
		p.AssignedClientID = c.connect.client
	}
	if c.connect.capped {
		p.SessionExpiryInterval = uint32(c.connect.expiry.Seconds())
		p.SessionExpiryIntervalFlag = true
	}
}

// establish gives c to the engine and returns when the connection has ended. No
// panic gets past it: it ends this connection alone.
func (s *Server) establish(c *conn) {
	defer func() {
		if v := recover(); v != nil {
			s.panicked(c, v)
		}
	}()
	defer s.engine.Clients.Delete(c.engineID) // it keeps what ends without DISCONNECT
	_ = s.engine.EstablishConnection("", c)   // why it ended is counted where it is known
}
