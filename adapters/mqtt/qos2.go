package mqtt

import "github.com/postern-io/postern/adapters/mqtt/wire"

// A QoS 2 message from a client is stored once: its identifier is remembered
// from PUBLISH to PUBREL, over connections (MQTT 5.0 §4.3.3).

// repeated reports whether the message is one that was taken before. The client
// is answered once it is stored, at once if it was.
func (c *conn) repeated(id uint16) bool {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.received[id]
	switch {
	case r == nil:
		return false
	case r.stored:
		c.answer(wire.Pubrec, id, 0)
	case r.counted != c: // its own connection answers in turn
		r.waiting = c
	}
	return true
}

// receive remembers a message that is on its way to the bus.
func (s *session) receive(id uint16, c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.received == nil {
		s.received = make(map[uint16]*received)
	}
	s.received[id] = &received{counted: c}
}

// stored notes what became of it. A message that was refused is forgotten: the
// identifier is free again.
func (s *session) stored(id uint16, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.received[id]
	if r == nil {
		return
	}
	if !ok {
		delete(s.received, id)
		return
	}
	r.stored = true
	if r.waiting != nil {
		r.waiting.answer(wire.Pubrec, id, 0)
		r.waiting = nil
	}
}

// pubrel finishes a message from the client [MQTT-4.3.3-11].
func (c *conn) pubrel(p *wire.Packet) {
	s := c.session
	s.mu.Lock()
	r := s.received[p.ID]
	known := r != nil && r.stored
	if known {
		delete(s.received, p.ID)
	}
	s.mu.Unlock()
	var code byte
	switch {
	case !known:
		code = codePacketIDNotFound
	case r.counted == c:
		c.unanswered.Add(-1)
	}
	c.answer(wire.Pubcomp, p.ID, code)
}

// pubrec takes the client's word that it has a message of ours.
func (c *conn) pubrec(p *wire.Packet) {
	switch {
	case p.Reason >= 0x80: // [MQTT-4.3.3-4]
		c.session.acknowledged(p.ID)
	case c.session.recorded(p.ID):
		c.answer(wire.Pubrel, p.ID, 0)
	default:
		c.answer(wire.Pubrel, p.ID, codePacketIDNotFound)
	}
}

func (c *conn) answer(packet byte, id uint16, code byte) {
	_, _ = c.out.Write(wire.AppendAck(nil, c.version, packet, id, code)) // a closed connection has nobody to tell
}
