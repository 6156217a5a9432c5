package wire

// Bits of the CONNECT flags, MQTT 5.0 §3.1.2.3.
const (
	connectReserved = 1 << 0
	connectClean    = 1 << 1
	connectWill     = 1 << 2
	connectWillQoS  = 3 << 3
	connectWillKeep = 1 << 5
	connectPassword = 1 << 6
	connectUserName = 1 << 7
)

// connect checks a CONNECT and returns the protocol version it asks for; that
// is also the version in which a refusal is to be answered. It is 0 when the
// packet does not get that far.
func (p *Packet) connect(c *cursor) (version byte, _ *Refusal) {
	version, r := protocol(c)
	if r != nil {
		return version, r
	}
	flags := c.byte()
	if c.err == nil {
		if r := checkConnectFlags(flags, version); r != nil {
			return version, r
		}
	}
	c.uint16() // keep alive: every value is allowed
	if version == Version5 {
		p.Properties, _, _ = c.properties(inConnect)
	}
	id := c.text()
	if c.err == nil && len(id) == 0 && version == Version311 && flags&connectClean == 0 {
		return version, errClientID
	}
	if flags&connectWill != 0 {
		if version == Version5 {
			c.properties(inWill)
		}
		topic := c.text()
		if c.err == nil && (len(topic) == 0 || wildcard(topic)) {
			return version, errWillTopic
		}
		c.binary() // the payload may be empty
	}
	if flags&connectUserName != 0 {
		c.text()
	}
	if flags&connectPassword != 0 {
		c.binary()
	}
	return version, c.end()
}

// protocol reads the protocol name and version. MQTT 3.1 ("MQIsdp", 3) is old
// enough to be refused, in the words it understands.
func protocol(c *cursor) (version byte, _ *Refusal) {
	name := string(c.binary()) // does not escape: compared below, no allocation
	v := c.byte()
	switch {
	case c.err != nil:
		return 0, c.err
	case name == "MQIsdp":
		return Version311, errVersion
	case name != "MQTT":
		return 0, errProtocolName
	case v == Version311 || v == Version5:
		return v, nil
	case v > Version5:
		return Version5, errVersion
	}
	return Version311, errVersion
}

func checkConnectFlags(flags, version byte) *Refusal {
	switch {
	case flags&connectReserved != 0:
		return errConnectBit
	case flags&connectWillQoS == connectWillQoS:
		return errWillQoS
	case flags&connectWill == 0 && flags&connectWillQoS != 0:
		return errWillQoSNoWill
	case flags&connectWill == 0 && flags&connectWillKeep != 0:
		return errWillKeepNoWill
	case version == Version311 && flags&connectPassword != 0 && flags&connectUserName == 0:
		return errPasswordFlag
	}
	return nil
}
