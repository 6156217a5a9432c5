package messaging

import (
	"errors"
	"time"
)

var (
	// ErrUnavailable says that the bus did not take a message or an order: no
	// connection, no answer in time, no stream, or a full one. A stored
	// message may nevertheless be in the stream when its answer was lost, so
	// whoever repeats it may see it twice.
	ErrUnavailable = errors.New("bus unavailable")
	// ErrTooLarge says that a message with its headers exceeds what the bus
	// carries. Repeating it will not help.
	ErrTooLarge = errors.New("message too large")
)

// A Message is what a device or a service said, on its way to the bus or from
// it. Whoever is handed one from Subscribe may keep it but must not change it:
// others hold the same.
type Message struct {
	Topic       Topic
	Payload     []byte    // the publisher's own bytes
	Publisher   string    // device id, or "user:<id>" as adapters writes it; "" for a service on NATS
	Protocol    string    // "mqtt", "http", "ws"; "nats" for a service on NATS
	Created     time.Time // when the door took it
	ContentType string    // MIME type as the publisher gave it; "" when it gave none
	Sequence    uint64    // in the stream; 0 when not stored

	// MQTT holds the MQTT 5 properties; nil when there are none.
	MQTT *MQTTProperties

	Retain bool
	QoS    byte // with which it was published: 0, 1 or 2

	// Session is the id of the publishing session, by which a subscriber
	// recognizes its own messages (MQTT's No Local, the WebSocket's echo).
	Session string
}

// MQTTProperties are the properties of an MQTT 5 PUBLISH (section 3.3.2.3)
// that travel end to end.
type MQTTProperties struct {
	// PayloadFormat is 1 when the publisher says that the payload is UTF-8
	// text. A WebSocket text frame is the same statement.
	PayloadFormat byte
	// Expiry is the life left in seconds; 0 means unlimited. It counts from
	// Created on the way to the bus and from delivery on the way out.
	Expiry          uint32
	ResponseTopic   string
	CorrelationData []byte
	User            []UserProperty // in the publisher's order, repeats kept
}

// A UserProperty is one MQTT 5 user property.
type UserProperty struct {
	Key, Value string
}

// Text reports whether the publisher said that the payload is text.
func (m *Message) Text() bool { return m.MQTT != nil && m.MQTT.PayloadFormat == 1 }
