package wire

import "fmt"

// Reason codes this package answers with, MQTT 5.0 §2.4.
const (
	CodeMalformed          byte = 0x81
	CodeProtocolError      byte = 0x82
	CodeImplementation     byte = 0x83
	CodeUnsupportedVersion byte = 0x84
	CodeInvalidClientID    byte = 0x85
	CodeKeepAliveTimeout   byte = 0x8D
	CodeTopicNameInvalid   byte = 0x90
	CodeReceiveMaximum     byte = 0x93
	CodeTopicAliasInvalid  byte = 0x94
	CodePacketTooLarge     byte = 0x95
	CodeMaximumConnectTime byte = 0xA0
)

// A Refusal says why a packet, and with it the connection, was turned away.
// It is an error, it is never changed after it was made, and it carries nothing
// that the client sent.
type Refusal struct {
	Code   byte   // MQTT 5.0 reason code
	Clause string // the normative statement, or the section where there is none
	Reason string // a short fixed text for metrics and logs
}

// Error returns the reason and the clause.
func (r *Refusal) Error() string {
	return fmt.Sprintf("mqtt: %s (0x%02X, %s)", r.Reason, r.Code, r.Clause)
}

func malformed(clause, reason string) *Refusal {
	return &Refusal{Code: CodeMalformed, Clause: clause, Reason: reason}
}

func violation(clause, reason string) *Refusal {
	return &Refusal{Code: CodeProtocolError, Clause: clause, Reason: reason}
}

// Every refusal there is. They are made once, so that a flood of bad packets
// costs no allocation and a metric over Reason has a known, small set of labels.
var (
	errTruncated      = malformed("MQTT 5.0 §4.13.1", "packet ends too early")
	errSurplus        = malformed("MQTT 5.0 §4.13.1", "bytes after the end of the packet")
	errLength         = malformed("MQTT-1.5.5-1", "variable byte integer is too long")
	errUTF8           = malformed("MQTT-1.5.4-1", "string is not UTF-8")
	errNUL            = malformed("MQTT-1.5.4-2", "string contains NUL")
	errType           = malformed("MQTT 5.0 §2.1.2", "packet type 0 is forbidden")
	errFlags          = malformed("MQTT-2.1.3-1", "reserved header flags")
	errFromServer     = violation("MQTT 5.0 §2.1.2", "packet type is for servers only")
	errAuth           = violation("MQTT-4.12.0-6", "AUTH without an authentication method")
	errPropertyName   = malformed("MQTT 5.0 §2.2.2.2", "property may not stand here")
	errPropertyTwice  = violation("MQTT 5.0 §2.2.2.2", "property given twice")
	errPropertyValue  = violation("MQTT 5.0 §2.2.2.2", "property value out of range")
	errResponseTopic  = violation("MQTT-3.3.2-14", "response topic contains a wildcard")
	errAuthData       = violation("MQTT 5.0 §3.1.2.11.10", "authentication data without a method")
	errPacketID       = violation("MQTT-2.2.1-3", "packet identifier is 0")
	errReasonCode     = violation("MQTT 5.0 §2.4", "reason code may not stand here")
	errNotConnect     = violation("MQTT-3.1.0-1", "first packet is not CONNECT")
	errSecondConnect  = violation("MQTT-3.1.0-2", "second CONNECT")
	errProtocolName   = &Refusal{Code: CodeUnsupportedVersion, Clause: "MQTT-3.1.2-1", Reason: "protocol name is not MQTT"}
	errVersion        = &Refusal{Code: CodeUnsupportedVersion, Clause: "MQTT-3.1.2-2", Reason: "protocol version is not supported"}
	errConnectBit     = malformed("MQTT-3.1.2-3", "reserved CONNECT flag")
	errWillQoS        = malformed("MQTT-3.1.2-12", "will QoS 3")
	errWillQoSNoWill  = malformed("MQTT-3.1.2-11", "will QoS without a will")
	errWillKeepNoWill = malformed("MQTT-3.1.2-13", "will retain without a will")
	errPasswordFlag   = malformed("MQTT-3.1.2-22 of 3.1.1", "password without a user name")
	errClientID       = &Refusal{Code: CodeInvalidClientID, Clause: "MQTT-3.1.3-8 of 3.1.1", Reason: "empty client identifier without clean session"}
	errWillTopic      = &Refusal{Code: CodeTopicNameInvalid, Clause: "MQTT-4.7.3-1", Reason: "will topic is empty or contains a wildcard"}
	errQoS            = malformed("MQTT-3.3.1-4", "QoS 3")
	errDup            = violation("MQTT-3.3.1-2", "DUP on QoS 0")
	errTopicWildcard  = &Refusal{Code: CodeTopicNameInvalid, Clause: "MQTT-3.3.2-2", Reason: "topic name contains a wildcard"}
	errTopicEmpty     = violation("MQTT-4.7.3-1", "topic name is empty")
	errTopicAlias     = &Refusal{Code: CodeTopicAliasInvalid, Clause: "MQTT-3.3.2-8", Reason: "topic alias is 0 or beyond the maximum"}
	errSubscriptionID = violation("MQTT-3.3.4-6", "subscription identifier in a client's PUBLISH")
	errFilterEmpty    = malformed("MQTT-4.7.3-1", "topic filter is empty")
	errNoFilter       = violation("MQTT-3.8.3-2", "SUBSCRIBE without a topic filter")
	errNoFilterUnsub  = violation("MQTT-3.10.3-2", "UNSUBSCRIBE without a topic filter")
	errOptions        = malformed("MQTT-3.8.3-5", "reserved subscription options")
	errOptionsQoS     = violation("MQTT 5.0 §3.8.3.1", "subscription QoS 3")
	errRetainHandling = violation("MQTT 5.0 §3.8.3.1", "retain handling 3")
	errSharedNoLocal  = violation("MQTT-3.8.3-4", "No Local on a shared subscription")
	errBody           = malformed("MQTT 5.0 §3.12", "packet has a body")
	errTooLarge       = &Refusal{Code: CodePacketTooLarge, Clause: "MQTT-3.2.2-15", Reason: "packet is too large"}
	errConnectTime    = &Refusal{Code: CodeMaximumConnectTime, Clause: "MQTT 5.0 §3.1.4", Reason: "CONNECT took too long"}
	errPacketTime     = &Refusal{Code: CodeImplementation, Clause: "MQTT 5.0 §4.13", Reason: "packet took too long"}
	errKeepAlive      = &Refusal{Code: CodeKeepAliveTimeout, Clause: "MQTT-3.1.2-22", Reason: "keep-alive ran out"}
)
