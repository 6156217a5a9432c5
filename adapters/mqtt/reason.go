package mqtt

import (
	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/mqtt/wire"
)

// Reason codes of MQTT 5.0 §2.4 that this door uses beside those of wire.
const (
	codeUnspecified        byte = 0x80
	codeImplementation     byte = 0x83
	codeBadCredentials     byte = 0x86
	codeNotAuthorized      byte = 0x87
	codeUnavailable        byte = 0x88
	codeBusy               byte = 0x89
	codeShuttingDown       byte = 0x8B
	codeBadAuthMethod      byte = 0x8C
	codeTakenOver          byte = 0x8E
	codeFilterInvalid      byte = 0x8F
	codeTopicInvalid       byte = 0x90
	codePacketIDNotFound   byte = 0x92
	codeReceiveMaximum     byte = 0x93
	codeQuota              byte = 0x97
	codeAdministrative     byte = 0x98
	codePayloadFormat      byte = 0x99
	codeConnectionRate     byte = 0x9F
	codeNoSubscription     byte = 0x11
	codeDisconnectWithWill byte = 0x04
)

// An answer is what one kind of outcome is called in each packet. The standard
// allows few codes in each: where 0x88 (unavailable) may not stand, nothing is
// acknowledged and the connection ends with 0x89 (busy), so that the client
// keeps the message and sends it again.
type answer struct {
	connack byte
	ack     byte // PUBACK and PUBREC; 0: not acknowledged, the connection ends
	end     byte // DISCONNECT, where the connection ends
	suback  byte
}

// answers is the one table from Kind to MQTT 5 (DESIGN §4). wire translates
// CONNACK to 3.1.1, where the others become SUBACK 0x80 or a closed connection.
var answers = map[adapters.Kind]answer{
	adapters.Unauthenticated: {codeBadCredentials, 0, codeNotAuthorized, codeNotAuthorized},
	adapters.Denied:          {codeNotAuthorized, codeNotAuthorized, codeNotAuthorized, codeNotAuthorized},
	adapters.InvalidTopic:    {codeTopicInvalid, codeTopicInvalid, codeTopicInvalid, codeFilterInvalid},
	adapters.InvalidContent:  {codePayloadFormat, codePayloadFormat, codePayloadFormat, codeImplementation},
	adapters.Invalid:         {wire.CodeProtocolError, codeImplementation, wire.CodeProtocolError, codeImplementation},
	adapters.TooLarge:        {wire.CodePacketTooLarge, 0, wire.CodePacketTooLarge, codeQuota},
	adapters.Limited:         {codeConnectionRate, codeQuota, codeQuota, codeQuota},
	adapters.Unavailable:     {codeUnavailable, 0, codeBusy, codeUnspecified},
	adapters.Revoked:         {codeBadCredentials, 0, codeAdministrative, codeNotAuthorized},
	adapters.Internal:        {codeUnspecified, 0, codeUnspecified, codeUnspecified},
}

func answerTo(err error) answer {
	if a, ok := answers[adapters.KindOf(err)]; ok {
		return a
	}
	return answers[adapters.Internal]
}

// endsAt311 reports whether a refused PUBLISH ends a 3.1.1 connection, which
// knows no other way to say no. What was sent with QoS 0 and only not allowed or
// not possible is dropped.
func endsAt311(k adapters.Kind, qos byte) bool {
	return qos > 0 || k != adapters.Denied && k != adapters.Unavailable
}
