package wire

func (p *Packet) publish(c *cursor, version byte, aliases uint16) *Refusal {
	flags := p.Raw[0]
	p.QoS = flags >> 1 & 3
	p.Dup = flags&0x08 != 0
	p.Retain = flags&0x01 != 0
	p.Topic = c.text()
	if p.QoS > 0 {
		if p.ID = c.uint16(); p.ID == 0 && c.err == nil {
			return errPacketID
		}
	}
	if version == Version5 {
		p.Properties, p.Alias, p.Aliased = c.properties(inPublish)
	}
	switch {
	case c.err != nil:
		return c.err
	case wildcard(p.Topic):
		return errTopicWildcard
	case len(p.Topic) == 0 && !p.Aliased:
		return errTopicEmpty
	case p.Aliased && (p.Alias == 0 || p.Alias > aliases):
		return errTopicAlias
	}
	p.Payload = c.b
	return nil
}

// ack checks PUBACK, PUBREC, PUBREL and PUBCOMP.
func (p *Packet) ack(c *cursor, version byte) *Refusal {
	if p.ID = c.uint16(); p.ID == 0 && c.err == nil {
		return errPacketID
	}
	if version != Version5 || c.err != nil {
		return c.end()
	}
	if len(c.b) > 0 { // MQTT 5.0 §3.4.2.1: both may be left out
		p.Reason = c.byte()
		if !ackReason(p.Type, p.Reason) {
			return errReasonCode
		}
	}
	if len(c.b) > 0 {
		p.Properties, _, _ = c.properties(inAck)
	}
	return c.end()
}

// ackReason knows the reason codes of [MQTT-3.4.2-1], [MQTT-3.5.2-1],
// [MQTT-3.6.2-1] and [MQTT-3.7.2-1].
func ackReason(packet, code byte) bool {
	switch code {
	case 0x00:
		return true
	case 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99:
		return packet == Puback || packet == Pubrec
	case 0x92:
		return packet == Pubrel || packet == Pubcomp
	}
	return false
}

// disconnect checks a DISCONNECT that a client sends [MQTT-3.14.2-1].
func (p *Packet) disconnect(c *cursor, version byte) *Refusal {
	if version != Version5 {
		return empty(c)
	}
	if len(c.b) > 0 {
		p.Reason = c.byte()
		switch p.Reason {
		case 0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99:
		default:
			return errReasonCode
		}
	}
	if len(c.b) > 0 {
		p.Properties, _, _ = c.properties(inDisconnect)
	}
	return c.end()
}
