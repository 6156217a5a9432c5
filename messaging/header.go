package messaging

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"time"
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

// A headerWriter writes the headers of messages as they stand on the wire. It
// serves one caller at a time.
type headerWriter struct {
	second int64  // of stamp, Unix
	stamp  []byte // RFC 3339 up to the second
}

// An author is what the messages of one session have in common, written once.
type author struct {
	publisher, protocol, session string
	written                      []byte
}

const headerLine = "NATS/1.0\r\n"

func (a *author) writtenFor(m *Message) []byte {
	if a.written != nil && a.publisher == m.Publisher && a.protocol == m.Protocol && a.session == m.Session {
		return a.written
	}
	a.publisher, a.protocol, a.session = m.Publisher, m.Protocol, m.Session
	a.written = append([]byte(nil), headerLine...)
	a.written = appendHeader(a.written, HeaderPublisher, m.Publisher)
	a.written = appendHeader(a.written, HeaderProtocol, m.Protocol)
	a.written = appendHeader(a.written, HeaderSession, m.Session)
	return a.written
}

func (w *headerWriter) appendTo(b []byte, a *author, m *Message) []byte {
	b = append(b, a.writtenFor(m)...)
	b = append(b, HeaderCreated+": "...)
	b = w.appendTime(b, m.Created)
	b = append(b, "\r\n"...)
	b = appendHeader(b, HeaderContentType, m.ContentType)
	if m.QoS > 0 {
		b = append(b, HeaderQoS+": "...)
		b = append(b, '0'+m.QoS, '\r', '\n')
	}
	if m.Retain {
		b = append(b, HeaderRetain+": 1\r\n"...)
	}
	if m.MQTT != nil {
		b = m.MQTT.appendTo(b)
	}
	return append(b, "\r\n"...)
}

// appendTime writes RFC 3339 with nine decimals in UTC. Within a second only
// the decimals differ.
func (w *headerWriter) appendTime(b []byte, t time.Time) []byte {
	if second := t.Unix(); second != w.second || w.stamp == nil {
		w.second = second
		w.stamp = t.UTC().AppendFormat(w.stamp[:0], "2006-01-02T15:04:05")
	}
	b = append(b, w.stamp...)
	var decimals [11]byte
	decimals[0], decimals[10] = '.', 'Z'
	n := t.Nanosecond()
	for i := 9; i > 0; i-- {
		decimals[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, decimals[:]...)
}

// appendHeader writes a header unless value is empty.
func appendHeader(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, key...)
	b = append(b, ": "...)
	b = append(b, escapeValue(value, "")...)
	return append(b, "\r\n"...)
}

func (p *MQTTProperties) appendTo(b []byte) []byte {
	if p.PayloadFormat == 1 {
		b = append(b, HeaderPayloadFormat+": 1\r\n"...)
	}
	if p.Expiry > 0 {
		b = append(b, HeaderExpiry+": "...)
		b = strconv.AppendUint(b, uint64(p.Expiry), 10)
		b = append(b, "\r\n"...)
	}
	b = appendHeader(b, HeaderResponseTopic, p.ResponseTopic)
	if len(p.CorrelationData) > 0 {
		b = append(b, HeaderCorrelationData+": "...)
		b = base64.StdEncoding.AppendEncode(b, p.CorrelationData)
		b = append(b, "\r\n"...)
	}
	for _, u := range p.User {
		b = append(b, HeaderUserProperty+": "...)
		b = append(b, escapeValue(u.Key, "=")...)
		b = append(b, '=')
		b = append(b, escapeValue(u.Value, "")...)
		b = append(b, "\r\n"...)
	}
	return b
}

// A headerReader turns what came from NATS into messages. Devices repeat
// themselves, so it remembers the strings of their headers. It serves one
// caller at a time.
type headerReader struct {
	now   func() time.Time
	known map[string]string
}

// maxKnown bounds the strings that a headerReader remembers.
const maxKnown = 4096

// text returns b, unescaped, as a string.
func (r *headerReader) text(b []byte) string {
	if s, ok := r.known[string(b)]; ok {
		return s
	}
	if r.known == nil || len(r.known) >= maxKnown {
		r.known = make(map[string]string)
	}
	s := string(b)
	r.known[s] = unescapeValue(s)
	return r.known[s]
}

// message returns nil when the message's life ended on the way. Headers that a
// service left out or wrote oddly are read as absent: a command without them
// is still a command. It keeps neither header nor payload.
func (r *headerReader) message(topic Topic, header, payload []byte) *Message {
	m := &Message{Topic: topic, Payload: bytes.Clone(payload)}
	if m.Payload == nil {
		m.Payload = []byte{}
	}
	var stored time.Time
	for len(header) > 0 {
		line := header
		if i := bytes.IndexByte(header, '\n'); i >= 0 {
			line, header = header[:i], header[i+1:]
		} else {
			header = nil
		}
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			continue // the first line, and the empty last one
		}
		key, value := line[:colon], line[colon+1:]
		for len(value) > 0 && (value[0] == ' ' || value[0] == '\t') {
			value = value[1:]
		}
		if string(key) == headerTimestamp {
			stored, _ = time.Parse(time.RFC3339Nano, string(value))
			continue
		}
		r.take(m, key, value)
	}
	if m.Protocol == "" {
		m.Protocol = "nats"
	}
	if m.Created.IsZero() {
		m.Created = stored
	}
	if m.Created.IsZero() {
		m.Created = r.now().UTC()
	}
	if p := m.MQTT; p != nil && p.Expiry > 0 {
		age := max(0, r.now().Sub(m.Created)) // a clock ahead of ours does not prolong a life
		left := time.Duration(p.Expiry)*time.Second - age
		if left < time.Second {
			return nil
		}
		p.Expiry = uint32(left / time.Second)
	}
	return m
}

// take reads one header. Of a header that stands there twice the last counts.
func (r *headerReader) take(m *Message, key, value []byte) {
	switch string(key) {
	case HeaderPublisher:
		m.Publisher = r.text(value)
	case HeaderProtocol:
		m.Protocol = r.text(value)
	case HeaderSession:
		m.Session = r.text(value)
	case HeaderCreated:
		m.Created = parseCreated(value)
	case HeaderContentType:
		m.ContentType = r.text(value)
	case HeaderQoS:
		if len(value) == 1 && (value[0] == '1' || value[0] == '2') {
			m.QoS = value[0] - '0'
		}
	case HeaderRetain:
		m.Retain = string(value) == "1"
	case headerSequence:
		m.Sequence, _ = number(value)
	case HeaderPayloadFormat:
		if string(value) == "1" {
			m.properties().PayloadFormat = 1
		}
	case HeaderExpiry:
		if n, ok := number(value); ok && n > 0 && n <= math.MaxUint32 {
			m.properties().Expiry = uint32(n)
		}
	case HeaderResponseTopic:
		m.properties().ResponseTopic = r.text(value)
	case HeaderCorrelationData:
		if data, err := base64.StdEncoding.DecodeString(string(value)); err == nil {
			m.properties().CorrelationData = data
		}
	case HeaderUserProperty:
		if name, text, ok := strings.Cut(string(value), "="); ok {
			p := m.properties()
			p.User = append(p.User, UserProperty{unescapeValue(name), unescapeValue(text)})
		}
	}
}

func (m *Message) properties() *MQTTProperties {
	if m.MQTT == nil {
		m.MQTT = new(MQTTProperties)
	}
	return m.MQTT
}

// parseCreated reads our own form by its places, and any other the long way.
// It returns the zero time for what is none.
func parseCreated(b []byte) time.Time {
	if len(b) == len("2006-01-02T15:04:05.000000000Z") && b[4] == '-' && b[7] == '-' && b[10] == 'T' && b[13] == ':' && b[16] == ':' &&
		b[19] == '.' && b[29] == 'Z' {
		year, ok1 := number(b[:4])
		month, ok2 := number(b[5:7])
		day, ok3 := number(b[8:10])
		hour, ok4 := number(b[11:13])
		minute, ok5 := number(b[14:16])
		second, ok6 := number(b[17:19])
		nano, ok7 := number(b[20:29])
		if ok1 && ok2 && ok3 && ok4 && ok5 && ok6 && ok7 && month-1 < 12 && day-1 < 31 && hour < 24 && minute < 60 && second < 60 {
			return time.Date(int(year), time.Month(month), int(day), int(hour), int(minute), int(second), int(nano), time.UTC)
		}
	}
	t, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
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
