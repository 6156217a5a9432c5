package messaging

import (
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestMessageTravelsWhole(t *testing.T) {
	b := openBus(t, nil)
	got := make(chan *Message, 1)
	if _, err := b.Subscribe(Filter{Domain: "d1", Channel: "c1", Subtopic: "#"}, func(m *Message) { got <- m }); err != nil {
		t.Fatal(err)
	}
	created := time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC)
	plain := Message{Topic: lamp, Payload: []byte{0, 1, 255}, Publisher: "dev1", Protocol: "http", Created: created}
	full := plain
	full.ContentType = "text/plain; x=100%\r\nPostern-Publisher: victim"
	full.Publisher, full.Session = " dev\n1 ", "s%1"
	full.Retain, full.QoS = true, 2
	full.MQTT = &MQTTProperties{
		PayloadFormat: 1, Expiry: 1 << 31, ResponseTopic: "m/d1/c/c1/answer\r\n", CorrelationData: []byte{0, 13, 10},
		User: []UserProperty{{"b", "2"}, {"a", "1"}, {"b", "ü=\r\n%0D"}, {"", ""}, {"k=e\ny:", " v "}},
	}
	other := plain
	other.Topic.Subtopic = ""
	other.Session = "s2" // after full, whose extra headers must not stick
	for _, store := range []bool{false, true} {
		for name, want := range map[string]Message{"plain": plain, "full": full, "other": other} {
			seq, err := publish(b, &want, store)
			if err != nil {
				t.Fatal(err)
			}
			m := receive(t, got)
			if want.MQTT != nil {
				left := m.MQTT.Expiry
				if left >= want.MQTT.Expiry || left == 0 {
					t.Errorf("%s: %d s are left, want less than %d", name, left, want.MQTT.Expiry)
				}
				m.MQTT.Expiry = want.MQTT.Expiry
			}
			want.Sequence = seq
			if !reflect.DeepEqual(*m, want) {
				t.Errorf("%s, stored %v:\n got %+v %+v\nwant %+v %+v", name, store, *m, m.MQTT, want, want.MQTT)
			}
		}
	}
}

func TestReadMessage(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	read := func(h nats.Header) *Message {
		r := headerReader{now: func() time.Time { return now }}
		header := []byte("NATS/1.0\r\n")
		for key, values := range h {
			for _, value := range values {
				header = append(header, key+":"+value+"\r\n"...)
			}
		}
		if h == nil {
			return r.message(lamp, nil, []byte("x"))
		}
		return r.message(lamp, append(header, "\r\n"...), []byte("x"))
	}
	t.Run("it takes a service's message without headers", func(t *testing.T) {
		m := read(nil)
		if m.Publisher != "" || m.Protocol != "nats" || !m.Created.Equal(now) || m.MQTT != nil {
			t.Errorf("got %+v", m)
		}
	})
	t.Run("it takes the stream's time where there is none", func(t *testing.T) {
		m := read(nats.Header{headerTimestamp: {"2026-01-02T03:04:04.5Z"}, headerSequence: {"7"}})
		if m.Sequence != 7 || !m.Created.Equal(now.Add(-500*time.Millisecond)) {
			t.Errorf("got sequence %d, created %v", m.Sequence, m.Created)
		}
	})
	t.Run("it reads odd headers as absent", func(t *testing.T) {
		m := read(nats.Header{
			HeaderQoS: {"9"}, HeaderExpiry: {"-1"}, HeaderCorrelationData: {"!"}, HeaderUserProperty: {"nothing"},
			HeaderCreated: {"yesterday"}, headerSequence: {"x"}, HeaderContentType: {"50%"},
		})
		if m.QoS != 0 || m.MQTT != nil || !m.Created.Equal(now) || m.Sequence != 0 || m.ContentType != "50%" {
			t.Errorf("got %+v %+v", m, m.MQTT)
		}
	})
	t.Run("it counts the expiry down", func(t *testing.T) {
		for age, want := range map[string]uint32{"2026-01-02T03:04:05Z": 10, "2026-01-02T03:03:58Z": 3, "2026-01-02T03:09:00Z": 10} {
			m := read(nats.Header{HeaderExpiry: {"10"}, HeaderCreated: {age}})
			if m == nil || m.MQTT.Expiry != want {
				t.Errorf("created %s: got %+v, want %d s left", age, m, want)
			}
		}
	})
	t.Run("it drops what has expired", func(t *testing.T) {
		if m := read(nats.Header{HeaderExpiry: {"10"}, HeaderCreated: {"2026-01-02T03:03:55Z"}}); m != nil {
			t.Errorf("got %+v", m)
		}
	})
}

func FuzzHeaderValue(f *testing.F) {
	f.Add("a", "=")
	f.Add(" %0d\r\n=é ", "")
	f.Fuzz(func(t *testing.T, s, also string) {
		e := escapeValue(s, also)
		for i := range len(e) {
			if e[i] < ' ' || e[i] == 0x7f {
				t.Fatalf("%q became %q", s, e)
			}
		}
		if back := unescapeValue(e); back != s {
			t.Fatalf("%q became %q and then %q", s, e, back)
		}
		_ = unescapeValue(s) // must not panic
		r := headerReader{now: time.Now}
		for range 2 { // the second time from memory
			if m := r.message(lamp, []byte(HeaderPublisher+": "+e+"\r\n"+s), nil); m == nil {
				t.Fatalf("%q: no message", s)
			}
		}
	})
}
