package wire

// Packet types, MQTT 5.0 §2.1.2.
const (
	Connect     byte = 1
	Connack     byte = 2
	Publish     byte = 3
	Puback      byte = 4
	Pubrec      byte = 5
	Pubrel      byte = 6
	Pubcomp     byte = 7
	Subscribe   byte = 8
	Suback      byte = 9
	Unsubscribe byte = 10
	Unsuback    byte = 11
	Pingreq     byte = 12
	Pingresp    byte = 13
	Disconnect  byte = 14
	Auth        byte = 15
)

// Protocol versions as CONNECT says them.
const (
	Version311 byte = 4
	Version5   byte = 5
)

// A Packet is a checked packet. Its slices point into the read buffer of the
// connection: who keeps them copies them.
type Packet struct {
	Type       byte
	QoS        byte
	Dup        bool
	Retain     bool
	Aliased    bool   // a topic alias was given
	Reason     byte   // acknowledgements and DISCONNECT; 0 when left out
	ID         uint16 // packet identifier, 0 when there is none
	Alias      uint16
	Topic      []byte // PUBLISH; empty when the alias stands for it
	Properties Properties
	Payload    []byte
	Raw        []byte // the packet whole, with its fixed header
}

// Check fills p with the packet in raw, which holds the fixed header and all of
// the body. The version is 0 before CONNECT, and is returned by it. A PUBLISH
// may use topic aliases up to aliases.
func (p *Packet) Check(raw []byte, version byte, aliases uint16) (byte, *Refusal) {
	*p = Packet{Type: raw[0] >> 4, Raw: raw}
	n, size, r := varint(raw[1:])
	if r != nil {
		return version, r
	}
	if size == 0 || n != len(raw)-1-size {
		return version, errTruncated
	}
	c := cursor{b: raw[1+size:]}
	if r := checkFlags(raw[0]); r != nil {
		return version, r
	}
	switch {
	case version == 0 && p.Type != Connect:
		return version, errNotConnect
	case version != 0 && p.Type == Connect:
		return version, errSecondConnect
	}
	switch p.Type {
	case Connect:
		return p.connect(&c)
	case Publish:
		return version, p.publish(&c, version, aliases)
	case Puback, Pubrec, Pubrel, Pubcomp:
		return version, p.ack(&c, version)
	case Subscribe:
		return version, p.subscribe(&c, version)
	case Unsubscribe:
		return version, p.unsubscribe(&c, version)
	case Pingreq:
		return version, empty(&c)
	case Disconnect:
		return version, p.disconnect(&c, version)
	case Auth:
		// Enhanced authentication is never agreed on, so that AUTH is an error in
		// version 5 and an unknown type in 3.1.1.
		return version, errAuth
	case 0:
		return version, errType
	}
	return version, errFromServer
}

// checkFlags proves the low four bits of the fixed header [MQTT-2.1.3-1].
func checkFlags(b byte) *Refusal {
	flags := b & 0x0f
	switch b >> 4 {
	case Publish:
		switch {
		case flags&0x06 == 0x06:
			return errQoS
		case flags&0x0e == 0x08:
			return errDup
		}
	case Pubrel, Subscribe, Unsubscribe:
		if flags != 0x02 {
			return errFlags
		}
	default:
		if flags != 0 {
			return errFlags
		}
	}
	return nil
}

func empty(c *cursor) *Refusal {
	if len(c.b) > 0 {
		return errBody
	}
	return nil
}
