package mqtt

import (
	"bytes"
	"unicode/utf8"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/mqtt/wire"
	"github.com/postern-io/postern/messaging"
)

// publish takes a PUBLISH. Everything is decided before the bus sees a byte of
// it, and nothing is acknowledged before the bus has it.
func (c *conn) publish(p *wire.Packet) error {
	topic, ok := c.topic(p)
	if !ok {
		return c.fail(wire.CodeProtocolError)
	}
	if p.QoS == 2 && c.repeated(p.ID) {
		return nil
	}
	if p.QoS > 0 && !c.admit() {
		return c.fail(codeReceiveMaximum)
	}
	m, err := c.read(p)
	c.gateway.Refused("publish", topic, err)
	switch p.QoS {
	case 0:
		return c.publish0(topic, m, err)
	case 1:
		c.hand(topic, m, err, c.acks.take(wire.Puback, p.ID))
	case 2:
		c.session.receive(p.ID, c)
		c.hand(topic, m, err, c.acks.take(wire.Pubrec, p.ID))
	}
	if c.ended.Load() {
		return errEnded
	}
	return nil
}

// fail ends the connection for a packet.
func (c *conn) fail(code byte) error {
	c.end(code)
	return errEnded
}

// topic resolves a topic alias, before anything is decided about the topic.
func (c *conn) topic(p *wire.Packet) (_ string, ok bool) {
	if !p.Aliased {
		return c.topics.string(p.Topic), true
	}
	if c.aliases == nil {
		c.aliases = make([]string, int(c.srv.limits.TopicAliases)+1)
	}
	if len(p.Topic) > 0 {
		c.aliases[p.Alias] = c.topics.string(p.Topic)
	}
	return c.aliases[p.Alias], c.aliases[p.Alias] != "" // [MQTT-3.3.2-7]
}

// admit counts a message against Receive Maximum [MQTT-3.3.4-7]. Version 3.1.1
// has no such word, so its client is not read until the bus has caught up.
func (c *conn) admit() bool {
	limit := int(c.srv.limits.ReceiveMaximum)
	if c.version == wire.Version311 {
		c.acks.waitBelow(limit)
		return true
	}
	return c.unanswered.Add(1) <= int32(limit)
}

// read makes a message of a packet. Unless it is to be retained, it points into
// the packet and is used again for the next: the bus does not keep it.
func (c *conn) read(p *wire.Packet) (*messaging.Message, error) {
	m := &c.message
	*m = messaging.Message{Payload: p.Payload, QoS: p.QoS, Retain: p.Retain}
	if p.Retain {
		m = &messaging.Message{Payload: bytes.Clone(p.Payload), QoS: p.QoS, Retain: true}
	}
	return m, readProperties(m, p.Properties)
}

func readProperties(m *messaging.Message, list wire.Properties) error {
	if len(list) == 0 {
		return nil
	}
	var q messaging.MQTTProperties
	found := false
	for p, rest, ok := list.Next(); ok; p, rest, ok = rest.Next() {
		switch p.ID {
		case wire.PropContentType:
			m.ContentType = string(p.Value)
			continue
		case wire.PropPayloadFormat:
			q.PayloadFormat = byte(p.Number)
		case wire.PropMessageExpiry:
			q.Expiry = max(1, p.Number) // 0 is a life that ends at once; on the bus it would be endless
		case wire.PropResponseTopic:
			q.ResponseTopic = string(p.Value)
		case wire.PropCorrelationData:
			q.CorrelationData = bytes.Clone(p.Value)
		case wire.PropUser:
			q.User = append(q.User, messaging.UserProperty{Key: string(p.Name), Value: string(p.Value)})
		default:
			continue // a topic alias, or a will's delay
		}
		found = true
	}
	if found {
		m.MQTT = &q
	}
	if q.PayloadFormat == 1 && !validText(m.Payload) {
		return adapters.ErrInvalidContent
	}
	return nil
}

// validText reports whether a payload is what Payload Format Indicator 1 says.
func validText(b []byte) bool { return utf8.Valid(b) }

// publish0 hands over a message that nobody waits for.
func (c *conn) publish0(topic string, m *messaging.Message, err error) error {
	if err == nil {
		c.gateway.Publish(topic, m, c.kept(m, c.finish))
		if p := c.failed.Swap(nil); p != nil {
			err = *p
		}
	}
	if err == nil {
		return nil
	}
	c.srv.Metrics.lost(lostPublish)
	k := adapters.KindOf(err)
	switch {
	case k == adapters.Revoked, k == adapters.TooLarge:
		return c.fail(answerTo(err).end)
	case c.version == wire.Version311 && endsAt311(k, 0):
		return c.fail(0)
	}
	return nil
}

// hand gives the bus a message whose acknowledgement has its place in s.
func (c *conn) hand(topic string, m *messaging.Message, err error, s *slot) {
	if err != nil {
		s.finish(0, err)
		return
	}
	c.gateway.Publish(topic, m, c.kept(m, s.finish))
}

// kept returns what is to be done when the bus has m: a message is retained no
// sooner.
func (c *conn) kept(m *messaging.Message, done func(uint64, error)) func(uint64, error) {
	if !m.Retain {
		return done
	}
	return func(seq uint64, err error) {
		if err == nil {
			c.srv.retained.published(m)
		}
		done(seq, err)
	}
}

// refusedPublish says how a PUBLISH with QoS 1 or 2 is refused. Where no
// acknowledgement can say so, it ends the connection and returns silent.
func (c *conn) refusedPublish(err error) (code byte, silent bool) {
	a := answerTo(err)
	if c.version == wire.Version5 && a.ack != 0 {
		return a.ack, false
	}
	c.end(a.end)
	return 0, true
}

// answered is told that the acknowledgement of s goes out, or never will.
func (c *conn) answered(s *slot) {
	if s.packet == wire.Pubrec {
		c.session.stored(s.id, s.code == 0 && !s.silent)
		if s.code == 0 {
			return // counts until PUBCOMP
		}
	}
	c.unanswered.Add(-1)
}
