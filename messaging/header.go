package messaging

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// The headers of a message on the bus. Only Postern and the services that were
// given the right may write where messages flow, so a reader may trust them.
// Values are percent-encoded where a byte would break a header line (control
// bytes, "%", a space at either end); in a user property "=" of the key too.
const (
	HeaderPublisher       = "Postern-Publisher"
	HeaderProtocol        = "Postern-Protocol"
	HeaderCreated         = "Postern-Created" // RFC 3339, nanoseconds, UTC
	HeaderSession         = "Postern-Session"
	HeaderContentType     = "Content-Type"
	HeaderQoS             = "Mqtt-Qos"              // 1 or 2; absent means 0
	HeaderRetain          = "Mqtt-Retain"           // 1; absent means no
	HeaderPayloadFormat   = "Mqtt-Payload-Format"   // 1; absent means bytes
	HeaderExpiry          = "Mqtt-Expiry"           // seconds after Postern-Created
	HeaderResponseTopic   = "Mqtt-Response-Topic"   //
	HeaderCorrelationData = "Mqtt-Correlation-Data" // base64
	HeaderUserProperty    = "Mqtt-User-Property"    // key=value, one header each, in order

	headerSequence  = "Nats-Sequence"   // added by RePublish
	headerTimestamp = "Nats-Time-Stamp" // added by RePublish
)

const createdLayout = "2006-01-02T15:04:05.000000000Z"

// A headerWriter turns messages into NATS headers. It reuses one map for the
// messages that have no MQTT properties, so it serves one caller at a time and
// its result is valid until the next call.
type headerWriter struct {
	plain nats.Header
	slots []string // backs the values of plain
}

var plainHeaders = [...]string{HeaderPublisher, HeaderProtocol, HeaderCreated, HeaderSession, HeaderContentType, HeaderQoS, HeaderRetain}

func newHeaderWriter() *headerWriter {
	return &headerWriter{plain: make(nats.Header, len(plainHeaders)), slots: make([]string, len(plainHeaders))}
}

func (w *headerWriter) header(m *Message) nats.Header {
	values := [...]string{
		escapeValue(m.Publisher, ""), m.Protocol, m.Created.UTC().Format(createdLayout),
		escapeValue(m.Session, ""), escapeValue(m.ContentType, ""), "", "",
	}
	if m.QoS > 0 {
		values[5] = strconv.Itoa(int(m.QoS))
	}
	if m.Retain {
		values[6] = "1"
	}
	h := w.plain
	if m.MQTT != nil {
		h = make(nats.Header, len(plainHeaders)+4)
	}
	for i, key := range plainHeaders {
		switch {
		case values[i] == "":
			delete(h, key)
		case m.MQTT != nil:
			h[key] = []string{values[i]}
		default:
			w.slots[i] = values[i]
			h[key] = w.slots[i : i+1 : i+1]
		}
	}
	if m.MQTT != nil {
		m.MQTT.writeTo(h)
	}
	return h
}

func (p *MQTTProperties) writeTo(h nats.Header) {
	if p.PayloadFormat == 1 {
		h.Set(HeaderPayloadFormat, "1")
	}
	if p.Expiry > 0 {
		h.Set(HeaderExpiry, strconv.FormatUint(uint64(p.Expiry), 10))
	}
	if p.ResponseTopic != "" {
		h.Set(HeaderResponseTopic, escapeValue(p.ResponseTopic, ""))
	}
	if len(p.CorrelationData) > 0 {
		h.Set(HeaderCorrelationData, base64.StdEncoding.EncodeToString(p.CorrelationData))
	}
	for _, u := range p.User {
		h.Add(HeaderUserProperty, escapeValue(u.Key, "=")+"="+escapeValue(u.Value, ""))
	}
}

// readMessage turns what came from NATS into a Message. It returns nil when
// the message's life ended on the way. Headers that a service left out or
// wrote oddly are read as absent: a command without them is still a command.
func readMessage(topic Topic, msg *nats.Msg, now time.Time) *Message {
	h := msg.Header
	m := &Message{
		Topic:       topic,
		Payload:     msg.Data,
		Publisher:   unescapeValue(h.Get(HeaderPublisher)),
		Protocol:    h.Get(HeaderProtocol),
		ContentType: unescapeValue(h.Get(HeaderContentType)),
		Session:     unescapeValue(h.Get(HeaderSession)),
		Retain:      h.Get(HeaderRetain) == "1",
	}
	if m.Protocol == "" {
		m.Protocol = "nats"
	}
	if seq := h.Get(headerSequence); seq != "" {
		m.Sequence, _ = strconv.ParseUint(seq, 10, 64)
	}
	switch h.Get(HeaderQoS) {
	case "1":
		m.QoS = 1
	case "2":
		m.QoS = 2
	}
	m.Created = readCreated(h, now)
	m.MQTT = readProperties(h)
	if p := m.MQTT; p != nil && p.Expiry > 0 {
		age := max(0, now.Sub(m.Created)) // a clock ahead of ours does not prolong a life
		left := time.Duration(p.Expiry)*time.Second - age
		if left < time.Second {
			return nil
		}
		p.Expiry = uint32(left / time.Second)
	}
	return m
}

func readCreated(h nats.Header, now time.Time) time.Time {
	for _, key := range [...]string{HeaderCreated, headerTimestamp} {
		if v := h.Get(key); v != "" {
			if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
				return t.UTC()
			}
		}
	}
	return now.UTC()
}

func readProperties(h nats.Header) *MQTTProperties {
	var p MQTTProperties
	found := false
	if h.Get(HeaderPayloadFormat) == "1" {
		p.PayloadFormat, found = 1, true
	}
	if v := h.Get(HeaderExpiry); v != "" {
		if n, err := strconv.ParseUint(v, 10, 32); err == nil && n > 0 {
			p.Expiry, found = uint32(n), true
		}
	}
	if v := h.Get(HeaderResponseTopic); v != "" {
		p.ResponseTopic, found = unescapeValue(v), true
	}
	if v := h.Get(HeaderCorrelationData); v != "" {
		if b, err := base64.StdEncoding.DecodeString(v); err == nil {
			p.CorrelationData, found = b, true
		}
	}
	for _, v := range h[HeaderUserProperty] {
		if key, value, ok := strings.Cut(v, "="); ok {
			p.User, found = append(p.User, UserProperty{unescapeValue(key), unescapeValue(value)}), true
		}
	}
	if !found {
		return nil
	}
	return &p
}

// escapeValue percent-encodes what a header line cannot carry, and the bytes
// of also.
func escapeValue(s, also string) string {
	plain := true
	for i := range len(s) {
		if unsafeInValue(s, i, also) {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	b := make([]byte, 0, len(s)+8)
	for i := range len(s) {
		if c := s[i]; unsafeInValue(s, i, also) {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

func unsafeInValue(s string, i int, also string) bool {
	c := s[i]
	return c < ' ' || c == '%' || c == 0x7f || c == ' ' && (i == 0 || i == len(s)-1) || also != "" && strings.IndexByte(also, c) >= 0
}

// unescapeValue undoes escapeValue; what is no encoded byte stays as it is,
// for a service may write a bare "%".
func unescapeValue(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(v))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
