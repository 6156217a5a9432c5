package mqtt

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/mqtt/wire"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

// decideTime bounds what a client may wait for the store and the bus.
const decideTime = 8 * time.Second

// A connect is what a CONNECT asks for.
type connect struct {
	client     string
	user       string
	password   registry.Secret
	assigned   bool // the client left the identifier to us
	clean      bool
	enhanced   bool // it wants an authentication method
	keepAlive  uint16
	shortened  bool // Server Keep Alive says so
	expiry     time.Duration
	capped     bool // Session Expiry says so
	window     int
	maxPacket  int
	will       *will
	willFormat bool // the will's payload is not what it says
}

func (s *Server) readConnect(pk *packets.Packet) connect {
	in, p := &pk.Connect, &pk.Properties
	c := connect{
		client:    strings.Clone(in.ClientIdentifier),
		user:      string(in.Username),
		password:  registry.SecretOf(string(in.Password)),
		clean:     in.Clean,
		enhanced:  p.AuthenticationMethod != "",
		keepAlive: in.Keepalive,
		window:    s.limits.Window,
	}
	if c.client == "" {
		c.client, c.assigned = uuid.NewString(), true // [MQTT-3.1.3-7]
	}
	if pk.ProtocolVersion == wire.Version5 {
		s.readLimits(&c, p)
	} else if !c.clean {
		c.expiry = s.limits.SessionExpiry // 3.1.1 knows no end
	}
	if in.WillFlag {
		c.will, c.willFormat = readWill(in)
	}
	return c
}

// readLimits reads what version 5 says beyond 3.1.1.
func (s *Server) readLimits(c *connect, p *packets.Properties) {
	c.expiry = time.Duration(p.SessionExpiryInterval) * time.Second
	if longest := s.limits.SessionExpiry; c.expiry > longest { // [MQTT-3.2.2-21] and §3.2.2.3.2
		c.expiry, c.capped = longest, true
	}
	if p.ReceiveMaximum > 0 {
		c.window = min(c.window, int(p.ReceiveMaximum)) // [MQTT-3.3.4-9]
	}
	if p.MaximumPacketSize > 0 {
		c.maxPacket = int(min(p.MaximumPacketSize, math.MaxInt32))
	}
	longest := uint16(min(s.limits.KeepAlive/time.Second, math.MaxUint16))
	if c.keepAlive == 0 || c.keepAlive > longest { // [MQTT-3.1.2-21]
		c.keepAlive, c.shortened = longest, true
	}
}

func readWill(in *packets.ConnectParams) (w *will, badFormat bool) {
	p := &in.WillProperties
	w = &will{
		topic: strings.Clone(in.WillTopic),
		delay: time.Duration(p.WillDelayInterval) * time.Second,
		message: messaging.Message{
			Payload: in.WillPayload, QoS: in.WillQos, Retain: in.WillRetain, ContentType: p.ContentType,
		},
	}
	if p.PayloadFormatFlag || p.MessageExpiryInterval > 0 || p.ResponseTopic != "" || len(p.CorrelationData) > 0 || len(p.User) > 0 {
		q := &messaging.MQTTProperties{
			PayloadFormat: p.PayloadFormat, Expiry: p.MessageExpiryInterval,
			ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData,
		}
		for _, u := range p.User {
			q.User = append(q.User, messaging.UserProperty{Key: u.Key, Value: u.Val})
		}
		w.message.MQTT = q
	}
	return w, w.message.Text() && !validText(w.message.Payload)
}

var errAuthMethod = errors.New("enhanced authentication is not offered")

// admitDevice lets the device in, authorizes its will and gives it its session.
// With an error it returns the CONNACK code, and nothing is left behind.
func (c *conn) admitDevice(ctx context.Context) (code byte, err error) {
	if c.connect.enhanced {
		return codeBadAuthMethod, errAuthMethod // [MQTT-4.12.0-1]
	}
	credential := c.credential
	credential.ShowDeviceID(c.connect.user)
	credential.ShowSecret(c.connect.password.Reveal())
	c.connect.password = registry.Secret{}
	gateway, err := c.srv.Gateway.Open(ctx, credential)
	if err != nil {
		return answerTo(err).connack, err
	}
	if err := c.checkWill(ctx, gateway); err != nil {
		gateway.Close()
		return answerTo(err).connack, err
	}
	c.gateway = gateway
	c.will = c.connect.will
	c.window, c.maxPacket = c.connect.window, c.connect.maxPacket
	s, present := c.srv.sessions.attach(c, sessionKey{gateway.DeviceID(), c.connect.client})
	c.session, c.present = s, present
	gateway.Watch(c.revoked, c.changed) // before the look below, so that no change falls between
	if present {                        // what it subscribed to may not be allowed any more
		if err := s.recheck(ctx, gateway); err != nil {
			c.will = nil // the client was never let in
			return answerTo(err).connack, err
		}
	}
	return 0, nil
}

// checkWill refuses, at CONNECT, a will that might not be published.
func (c *conn) checkWill(ctx context.Context, gateway *adapters.Session) error {
	switch {
	case c.connect.will == nil:
		return nil
	case c.connect.willFormat:
		return adapters.ErrInvalidContent
	}
	return gateway.CanPublish(ctx, c.connect.will.topic)
}

// disconnecting takes a DISCONNECT: the will is cancelled unless the client
// wants it sent [MQTT-3.14.4-3], and the session may be given another life.
func (c *conn) disconnecting(pk *packets.Packet) {
	p := &pk.Properties
	if p.SessionExpiryIntervalFlag {
		if p.SessionExpiryInterval > 0 && c.connect.expiry == 0 {
			return // a protocol error, which the engine answers
		}
		c.connect.expiry = min(time.Duration(p.SessionExpiryInterval)*time.Second, c.srv.limits.SessionExpiry)
	}
	if pk.ReasonCode == 0 {
		c.will = nil
	}
}
