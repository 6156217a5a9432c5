package wire

// Property identifiers of MQTT 5.0 §2.2.2.2 that a client may send.
const (
	PropPayloadFormat     byte = 0x01
	PropMessageExpiry     byte = 0x02
	PropContentType       byte = 0x03
	PropResponseTopic     byte = 0x08
	PropCorrelationData   byte = 0x09
	PropSubscriptionID    byte = 0x0B
	PropSessionExpiry     byte = 0x11
	PropAuthMethod        byte = 0x15
	PropAuthData          byte = 0x16
	PropRequestProblem    byte = 0x17
	PropWillDelay         byte = 0x18
	PropRequestResponse   byte = 0x19
	PropReasonString      byte = 0x1F
	PropReceiveMaximum    byte = 0x21
	PropTopicAliasMaximum byte = 0x22
	PropTopicAlias        byte = 0x23
	PropUser              byte = 0x26
	PropMaximumPacketSize byte = 0x27
)

// place is where a property list stands; a property names its places as bits.
type place uint8

const (
	inConnect place = 1 << iota
	inWill
	inPublish
	inAck // PUBACK, PUBREC, PUBREL, PUBCOMP
	inSubscribe
	inUnsubscribe
	inDisconnect
)

type kind uint8

const (
	asByte kind = iota + 1
	asUint16
	asUint32
	asVarint
	asText
	asBinary
	asPair
)

// property is one row of the table in MQTT 5.0 §2.2.2.2, as far as it concerns
// what a client sends.
type property struct {
	kind    kind
	places  place
	nonzero bool // 0 is a protocol error
	bit     bool // only 0 and 1
}

var properties = [64]property{
	PropPayloadFormat:     {kind: asByte, places: inPublish | inWill, bit: true},
	PropMessageExpiry:     {kind: asUint32, places: inPublish | inWill},
	PropContentType:       {kind: asText, places: inPublish | inWill},
	PropResponseTopic:     {kind: asText, places: inPublish | inWill},
	PropCorrelationData:   {kind: asBinary, places: inPublish | inWill},
	PropSubscriptionID:    {kind: asVarint, places: inSubscribe, nonzero: true},
	PropSessionExpiry:     {kind: asUint32, places: inConnect | inDisconnect},
	PropAuthMethod:        {kind: asText, places: inConnect},
	PropAuthData:          {kind: asBinary, places: inConnect},
	PropRequestProblem:    {kind: asByte, places: inConnect, bit: true},
	PropWillDelay:         {kind: asUint32, places: inWill},
	PropRequestResponse:   {kind: asByte, places: inConnect, bit: true},
	PropReasonString:      {kind: asText, places: inAck | inDisconnect},
	PropReceiveMaximum:    {kind: asUint16, places: inConnect, nonzero: true},
	PropTopicAliasMaximum: {kind: asUint16, places: inConnect},
	PropTopicAlias:        {kind: asUint16, places: inPublish},
	PropUser:              {kind: asPair, places: inConnect | inWill | inPublish | inAck | inSubscribe | inUnsubscribe | inDisconnect},
	PropMaximumPacketSize: {kind: asUint32, places: inConnect, nonzero: true},
}

// Properties is a checked property list, without its length.
type Properties []byte

// A Property is one entry of a list. Number holds integers, Value strings and
// binary data and the value of a user property, whose name is in Name.
type Property struct {
	ID          byte
	Number      uint32
	Name, Value []byte
}

// Next returns the first property of ps and the rest of the list. ok is false
// when the list is over. It does not copy: Name and Value point into ps.
func (ps Properties) Next() (p Property, rest Properties, ok bool) {
	c := cursor{b: ps}
	if len(ps) == 0 {
		return p, nil, false
	}
	p.ID = c.byte()
	if int(p.ID) >= len(properties) {
		return Property{}, nil, false
	}
	p.read(&c, properties[p.ID].kind)
	return p, c.b, c.err == nil
}

func (p *Property) read(c *cursor, k kind) {
	switch k {
	case asByte:
		p.Number = uint32(c.byte())
	case asUint16:
		p.Number = uint32(c.uint16())
	case asUint32:
		p.Number = c.uint32()
	case asVarint:
		p.Number = uint32(c.varint())
	case asText:
		p.Value = c.text()
	case asBinary:
		p.Value = c.binary()
	case asPair:
		p.Name, p.Value = c.text(), c.text()
	default:
		c.fail(errPropertyName)
	}
}

// properties reads the property list that must stand at the cursor and checks
// it for its place. It returns the list and the topic alias in it; aliased says
// whether there was one.
func (c *cursor) properties(at place) (list Properties, alias uint16, aliased bool) {
	list = c.take(c.varint())
	var seen uint64
	in := cursor{b: list}
	for len(in.b) > 0 && in.err == nil {
		var p Property
		p.ID = in.byte()
		if int(p.ID) >= len(properties) {
			in.fail(errPropertyName)
			break
		}
		row := properties[p.ID]
		p.read(&in, row.kind)
		switch {
		case in.err != nil:
		case at == inPublish && p.ID == PropSubscriptionID:
			in.fail(errSubscriptionID)
		case row.places&at == 0:
			in.fail(errPropertyName)
		case p.ID != PropUser && seen&(1<<p.ID) != 0:
			in.fail(errPropertyTwice)
		case row.nonzero && p.Number == 0, row.bit && p.Number > 1:
			in.fail(errPropertyValue)
		case p.ID == PropResponseTopic && wildcard(p.Value):
			in.fail(errResponseTopic)
		case p.ID == PropTopicAlias:
			alias, aliased = uint16(p.Number), true
		}
		seen |= 1 << p.ID
	}
	if in.err != nil {
		c.fail(in.err)
	}
	if seen&(1<<PropAuthData) != 0 && seen&(1<<PropAuthMethod) == 0 {
		c.fail(errAuthData)
	}
	return list, alias, aliased
}
