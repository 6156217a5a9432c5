package mqtt

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/postern-io/postern/adapters/mqtt/wire"
	"github.com/postern-io/postern/messaging"
)

// An item is a message on its way to one session: what was said, and how this
// session wants to hear it. The message is shared by all its receivers.
type item struct {
	message *messaging.Message
	expires time.Time // zero: never
	prefix  string    // m/<domain>/c/<channel> in the form that was subscribed
	ids     []uint32  // subscription identifiers
	qos     byte
	retain  bool
	dup     bool
}

func (it *item) expired(now time.Time) bool {
	return !it.expires.IsZero() && !now.Before(it.expires)
}

// expiry returns when a message that came just now ends.
func expiry(m *messaging.Message, now time.Time) time.Time {
	if m.MQTT == nil || m.MQTT.Expiry == 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(m.MQTT.Expiry) * time.Second)
}

// A frame is an encoded PUBLISH. idAt is where its packet identifier stands, 0
// for QoS 0.
type frame struct {
	b    []byte
	idAt int
}

// A fan holds the frames of one message while it is handed to its receivers, so
// that it is encoded once for each form in which it is wanted, not once for each
// receiver. It is used by one goroutine and given back with free.
type fan struct {
	now   time.Time
	arena []byte
	forms []form
}

type form struct {
	item    item
	version byte
	frame   frame
}

var fans = sync.Pool{New: func() any { return new(fan) }}

func newFan(now time.Time) *fan {
	f := fans.Get().(*fan)
	f.now = now
	return f
}

func (f *fan) free() {
	if cap(f.arena) > keepBuffer {
		return
	}
	clear(f.forms)
	f.forms, f.arena = f.forms[:0], f.arena[:0]
	fans.Put(f)
}

// frame returns it in the given protocol version. It is good until free.
func (f *fan) frame(it *item, version byte) frame {
	for i := range f.forms {
		if g := &f.forms[i]; g.version == version && sameForm(&g.item, it) {
			return g.frame
		}
	}
	at := len(f.arena)
	arena, idAt := appendPublish(f.arena, it, version, f.now)
	if cap(f.arena) != cap(arena) {
		f.forms = f.forms[:0] // they point into the old one
	}
	f.arena = arena
	fr := frame{arena[at:len(arena):len(arena)], idAt}
	f.forms = append(f.forms, form{*it, version, fr})
	return fr
}

func sameForm(a, b *item) bool {
	return a.message == b.message && a.qos == b.qos && a.retain == b.retain && a.dup == b.dup &&
		a.prefix == b.prefix && slices.Equal(a.ids, b.ids)
}

// appendPublish encodes it. The offset of the packet identifier counts from the
// beginning of the packet.
func appendPublish(b []byte, it *item, version byte, now time.Time) (_ []byte, idAt int) {
	m := it.message
	start := len(b)
	topic := len(it.prefix)
	if m.Topic.Subtopic != "" {
		topic += 1 + len(m.Topic.Subtopic)
	}
	body := 2 + topic + len(m.Payload)
	if it.qos > 0 {
		body += 2
	}
	var room [64]byte
	var properties []byte
	if version == wire.Version5 {
		properties = appendProperties(room[:0], it, now)
		body += varintSize(len(properties)) + len(properties)
	}
	b = append(b, wire.Publish<<4|flag(it.dup)<<3|it.qos<<1|flag(it.retain))
	b = appendVarint(b, body)
	b = binary.BigEndian.AppendUint16(b, uint16(topic))
	b = append(b, it.prefix...)
	if m.Topic.Subtopic != "" {
		b = append(b, '/')
		b = append(b, m.Topic.Subtopic...)
	}
	if it.qos > 0 {
		idAt = len(b) - start
		b = append(b, 0, 0)
	}
	if version == wire.Version5 {
		b = appendVarint(b, len(properties))
		b = append(b, properties...)
	}
	return append(b, m.Payload...), idAt
}

func appendProperties(b []byte, it *item, now time.Time) []byte {
	m := it.message
	for _, id := range it.ids { // [MQTT-3.3.4-3]
		b = appendVarint(append(b, wire.PropSubscriptionID), int(id))
	}
	if m.ContentType != "" {
		b = appendText(append(b, wire.PropContentType), m.ContentType)
	}
	p := m.MQTT
	if p == nil {
		return b
	}
	if p.PayloadFormat != 0 {
		b = append(b, wire.PropPayloadFormat, p.PayloadFormat)
	}
	if !it.expires.IsZero() { // [MQTT-3.3.2-6]: less the time it waited
		left := max(1, (it.expires.Sub(now)+time.Second-1)/time.Second)
		b = binary.BigEndian.AppendUint32(append(b, wire.PropMessageExpiry), uint32(left))
	}
	if p.ResponseTopic != "" {
		b = appendText(append(b, wire.PropResponseTopic), p.ResponseTopic)
	}
	if len(p.CorrelationData) > 0 {
		b = appendText(append(b, wire.PropCorrelationData), string(p.CorrelationData))
	}
	for _, u := range p.User { // [MQTT-3.3.2-18]: in order
		b = appendText(append(b, wire.PropUser), u.Key)
		b = appendText(b, u.Value)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

func appendVarint(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func varintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

func flag(v bool) byte {
	if v {
		return 1
	}
	return 0
}
