package wire

import "bytes"

// Bits of the subscription options, MQTT 5.0 §3.8.3.1.
const (
	optionQoS            = 3
	optionNoLocal        = 1 << 2
	optionRetainHandling = 3 << 4
	optionReserved       = 3 << 6
)

var share = []byte("$share/")

// subscribe checks the form of a SUBSCRIBE. Whether a filter makes sense is
// said per filter in the SUBACK, by those above.
func (p *Packet) subscribe(c *cursor, version byte) *Refusal {
	if p.ID = c.uint16(); p.ID == 0 && c.err == nil {
		return errPacketID
	}
	if version == Version5 {
		p.Properties, _, _ = c.properties(inSubscribe)
	}
	if c.err == nil && len(c.b) == 0 {
		return errNoFilter
	}
	p.Payload = c.b
	for len(c.b) > 0 {
		filter, options := c.text(), c.byte()
		if c.err != nil {
			break
		}
		if len(filter) == 0 {
			return errFilterEmpty
		}
		if r := checkOptions(options, version, bytes.HasPrefix(filter, share)); r != nil {
			return r
		}
	}
	return c.end()
}

func checkOptions(o, version byte, shared bool) *Refusal {
	switch {
	case version != Version5 && o&^optionQoS != 0, o&optionReserved != 0:
		return errOptions
	case o&optionQoS == optionQoS:
		return errOptionsQoS
	case o&optionRetainHandling == optionRetainHandling:
		return errRetainHandling
	case shared && o&optionNoLocal != 0:
		return errSharedNoLocal
	}
	return nil
}

func (p *Packet) unsubscribe(c *cursor, version byte) *Refusal {
	if p.ID = c.uint16(); p.ID == 0 && c.err == nil {
		return errPacketID
	}
	if version == Version5 {
		p.Properties, _, _ = c.properties(inUnsubscribe)
	}
	if c.err == nil && len(c.b) == 0 {
		return errNoFilterUnsub
	}
	p.Payload = c.b
	for len(c.b) > 0 {
		if filter := c.text(); len(filter) == 0 && c.err == nil {
			return errFilterEmpty
		}
	}
	return c.end()
}
