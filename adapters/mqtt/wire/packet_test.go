package wire

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// bytesOf reads the notation of the tables: hexadecimal with spaces anywhere,
// and text in single quotes.
func bytesOf(_ testing.TB, s string) []byte {
	var b []byte
	for i, part := range strings.Split(s, "'") {
		if i%2 == 1 {
			b = append(b, part...)
			continue
		}
		h, err := hex.DecodeString(strings.ReplaceAll(part, " ", ""))
		if err != nil {
			panic(fmt.Sprintf("table: %q: %v", s, err))
		}
		b = append(b, h...)
	}
	return b
}

// connects are whole CONNECT packets; code 0 lets them pass, and version is
// what the answer has to be written in.
var connects = []struct {
	name    string
	packet  string
	version byte
	code    byte
}{
	{"3.1.1 minimal", "10 0d 0004 'MQTT' 04 02 003c 0001 'a'", 4, 0},
	{"3.1.1 user name and password", "10 13 0004 'MQTT' 04 c2 003c 0001 'a' 0001 'u' 0001 'p'", 4, 0},
	{"3.1.1 will with empty payload", "10 12 0004 'MQTT' 04 06 003c 0001 'a' 0001 'w' 0000", 4, 0},
	{"5 minimal", "10 0e 0004 'MQTT' 05 02 003c 00 0001 'a'", 5, 0},
	{"5 password without user name", "10 11 0004 'MQTT' 05 42 003c 00 0001 'a' 0001 'p'", 5, 0},
	{"5 all properties", "10 37 0004 'MQTT' 05 02 003c 29 11 00000010 21 000a 27 00001000 22 0005 19 01 17 00 26 0001 'k' 0001 'v' 15 0001 'm' 16 0002 0102 26 0000 0000 0001 'a'", 5, 0},
	{"5 will with properties", "10 2d 0004 'MQTT' 05 2e 003c 00 0001 'a' 18 18 00000001 01 01 02 00000001 03 0001 'c' 08 0001 'r' 09 0001 00 0001 'w' 0001 'p'", 5, 0},
	{"5 empty client identifier, no clean start", "10 0d 0004 'MQTT' 05 00 003c 00 0000", 5, 0},
	{"3.1.1 empty client identifier, clean session", "10 0c 0004 'MQTT' 04 02 003c 0000", 4, 0},

	{"[MQTT-2.1.3-1] reserved header flags", "11 0d 0004 'MQTT' 04 02 003c 0001 'a'", 0, 0x81},
	{"[MQTT-3.1.2-1] other protocol name", "10 0d 0004 'MQTX' 04 02 003c 0001 'a'", 0, 0x84},
	{"[MQTT-3.1.2-1] protocol name in lower case", "10 0d 0004 'mqtt' 05 02 003c 0001 'a'", 0, 0x84},
	{"[MQTT-3.1.2-2] MQTT 3.1", "10 0f 0006 'MQIsdp' 03 02 003c 0001 'a'", 4, 0x84},
	{"[MQTT-3.1.2-2] version 3 under the new name", "10 0d 0004 'MQTT' 03 02 003c 0001 'a'", 4, 0x84},
	{"[MQTT-3.1.2-2] version 6", "10 0d 0004 'MQTT' 06 02 003c 0001 'a'", 5, 0x84},
	{"[MQTT-3.1.2-2] bridge bit", "10 0d 0004 'MQTT' 84 02 003c 0001 'a'", 5, 0x84},
	{"[MQTT-3.1.2-3] reserved connect flag", "10 0e 0004 'MQTT' 05 03 003c 00 0001 'a'", 5, 0x81},
	{"[MQTT-3.1.2-3] reserved connect flag, 3.1.1", "10 0d 0004 'MQTT' 04 03 003c 0001 'a'", 4, 0x81},
	{"[MQTT-3.1.2-9] will flag without a will", "10 0e 0004 'MQTT' 05 06 003c 00 0001 'a'", 5, 0x81},
	{"[MQTT-3.1.2-11] will QoS without will", "10 0e 0004 'MQTT' 05 0a 003c 00 0001 'a'", 5, 0x81},
	{"[MQTT-3.1.2-12] will QoS 3", "10 15 0004 'MQTT' 05 1e 003c 00 0001 'a' 00 0001 'w' 0001 'p'", 5, 0x81},
	{"[MQTT-3.1.2-13] will retain without will", "10 0e 0004 'MQTT' 05 22 003c 00 0001 'a'", 5, 0x81},
	{"[MQTT-3.1.2-17] user name flag without user name", "10 0e 0004 'MQTT' 05 82 003c 00 0001 'a'", 5, 0x81},
	{"[MQTT-3.1.2-16] user name without its flag", "10 11 0004 'MQTT' 05 02 003c 00 0001 'a' 0001 'u'", 5, 0x81},
	{"[MQTT-3.1.2-19] password flag without password", "10 11 0004 'MQTT' 05 c2 003c 00 0001 'a' 0001 'u'", 5, 0x81},
	{"[MQTT-3.1.2-22 of 3.1.1] password without user name", "10 10 0004 'MQTT' 04 42 003c 0001 'a' 0001 'p'", 4, 0x81},
	{"[MQTT-3.1.3-4] client identifier not UTF-8", "10 0e 0004 'MQTT' 05 02 003c 00 0001 ff", 5, 0x81},
	{"[MQTT-3.1.3-8 of 3.1.1] empty client identifier without clean session", "10 0c 0004 'MQTT' 04 00 003c 0000", 4, 0x85},
	{"[MQTT-3.1.3-11] will topic not UTF-8", "10 15 0004 'MQTT' 05 06 003c 00 0001 'a' 00 0001 c0 0001 'p'", 5, 0x81},
	{"[MQTT-3.1.3-12] NUL in the user name", "10 12 0004 'MQTT' 05 82 003c 00 0001 'a' 0002 'u' 00", 5, 0x81},
	{"[MQTT-1.5.4-1] surrogate in the user name", "10 14 0004 'MQTT' 05 82 003c 00 0001 'a' 0004 'u' eda080", 5, 0x81},
	{"[MQTT-4.7.3-1] empty will topic", "10 14 0004 'MQTT' 05 06 003c 00 0001 'a' 00 0000 0001 'p'", 5, 0x90},
	{"[MQTT-4.7.1-1] wildcard in the will topic", "10 15 0004 'MQTT' 05 06 003c 00 0001 'a' 00 0001 '#' 0001 'p'", 5, 0x90},
	{"§3.1.2.11 session expiry twice", "10 18 0004 'MQTT' 05 02 003c 0a 11 00000001 11 00000001 0001 'a'", 5, 0x82},
	{"§3.1.2.11.3 receive maximum 0", "10 11 0004 'MQTT' 05 02 003c 03 21 0000 0001 'a'", 5, 0x82},
	{"§3.1.2.11.4 maximum packet size 0", "10 13 0004 'MQTT' 05 02 003c 05 27 00000000 0001 'a'", 5, 0x82},
	{"§3.1.2.11.6 request response information 2", "10 10 0004 'MQTT' 05 02 003c 02 19 02 0001 'a'", 5, 0x82},
	{"§3.1.2.11.7 request problem information 2", "10 10 0004 'MQTT' 05 02 003c 02 17 02 0001 'a'", 5, 0x82},
	{"§3.1.2.11.10 authentication data without method", "10 12 0004 'MQTT' 05 02 003c 04 16 0001 00 0001 'a'", 5, 0x82},
	{"§2.2.2.2 will delay among the CONNECT properties", "10 13 0004 'MQTT' 05 02 003c 05 18 00000001 0001 'a'", 5, 0x81},
	{"§2.2.2.2 unknown property", "10 10 0004 'MQTT' 05 02 003c 02 7f 00 0001 'a'", 5, 0x81},
	{"§2.2.2.2 properties longer than the packet", "10 0e 0004 'MQTT' 05 02 003c 7f 0001 'a'", 5, 0x81},
	{"[MQTT-1.5.5-1] over-long property length", "10 0f 0004 'MQTT' 05 02 003c 8000 0001 'a'", 5, 0x81},
	{"§3.1.3 bytes after the payload", "10 0f 0004 'MQTT' 05 02 003c 00 0001 'a' 00", 5, 0x81},
	{"§3.1 ends in the middle", "10 05 0004 'MQT'", 0, 0x81},
	{"§3.1 empty", "10 00", 0, 0x81},
	{"[MQTT-3.1.0-1] PUBLISH first", "30 04 0001 'a' 'x'", 0, 0x82},
	{"[MQTT-3.1.0-1] AUTH first", "f0 00", 0, 0x82},
}

func TestCheckConnect(t *testing.T) {
	for _, tt := range connects {
		t.Run(tt.name, func(t *testing.T) {
			var p Packet
			version, r := p.Check(bytesOf(t, tt.packet), 0, 0)
			if got := codeOf(r); got != tt.code || version != tt.version {
				t.Errorf("Check(%s) = version %d, 0x%02X (%v); want version %d, 0x%02X", tt.packet, version, got, r, tt.version, tt.code)
			}
		})
	}
}

// packets are whole packets after CONNECT; code 0 lets them pass.
var packets = []struct {
	name    string
	version byte
	packet  string
	code    byte
}{
	{"PUBLISH QoS 0", 4, "30 04 0001 'a' 'x'", 0},
	{"PUBLISH QoS 1", 4, "32 06 0001 'a' 0001 'x'", 0},
	{"PUBLISH QoS 2, DUP, retain", 5, "3d 07 0001 'a' 0001 00 'x'", 0},
	{"PUBLISH empty payload", 5, "30 04 0001 'a' 00", 0},
	{"PUBLISH all properties", 5, "30 21 0001 'a' 1d 01 01 02 0000000a 03 0001 'c' 08 0001 'r' 09 0001 00 23 0001 26 0001 'k' 0001 'v'", 0},
	{"PUBLISH by alias", 5, "30 06 0000 03 23 0001", 0},
	{"PUBACK", 4, "40 02 0001", 0},
	{"PUBACK with reason", 5, "40 03 0001 10", 0},
	{"PUBACK with reason and properties", 5, "40 0a 0001 00 06 1f 0003 'why'", 0},
	{"PUBREL not found", 5, "62 03 0001 92", 0},
	{"SUBSCRIBE", 4, "82 06 0001 0001 'a' 01", 0},
	{"SUBSCRIBE two filters and an identifier", 5, "82 0d 0001 02 0b01 0001 'a' 2d 0001 'b' 00", 0},
	{"SUBSCRIBE shared", 5, "82 10 0001 00 000a '$share/g/a' 01", 0},
	{"UNSUBSCRIBE", 4, "a2 05 0001 0001 'a'", 0},
	{"UNSUBSCRIBE 5", 5, "a2 06 0001 00 0001 'a'", 0},
	{"PINGREQ", 4, "c0 00", 0},
	{"DISCONNECT", 4, "e0 00", 0},
	{"DISCONNECT with will", 5, "e0 01 04", 0},
	{"DISCONNECT with session expiry", 5, "e0 07 00 05 11 00000001", 0},

	{"[MQTT-3.1.0-2] second CONNECT", 5, "10 0e 0004 'MQTT' 05 02 003c 00 0001 'a'", 0x82},
	{"§2.1.2 type 0", 5, "00 00", 0x81},
	{"§2.1.2 CONNACK from a client", 5, "20 03 00 00 00", 0x82},
	{"§2.1.2 SUBACK from a client", 5, "90 04 0001 00 00", 0x82},
	{"§2.1.2 UNSUBACK from a client", 4, "b0 02 0001", 0x82},
	{"§2.1.2 PINGRESP from a client", 5, "d0 00", 0x82},
	{"[MQTT-4.12.0-6] AUTH without a method", 5, "f0 00", 0x82},
	{"§2.1.2 AUTH in 3.1.1", 4, "f0 00", 0x82},

	{"[MQTT-3.3.1-2] DUP on QoS 0", 5, "38 05 0001 'a' 00 'x'", 0x82},
	{"[MQTT-3.3.1-4] QoS 3", 5, "36 07 0001 'a' 0001 00 'x'", 0x81},
	{"[MQTT-3.3.2-1] topic not UTF-8", 5, "30 05 0001 80 00 'x'", 0x81},
	{"[MQTT-1.5.4-1] surrogate in the topic", 4, "30 06 0003 edbfbf 'x'", 0x81},
	{"[MQTT-1.5.4-2] NUL in the topic", 5, "30 05 0001 00 00 'x'", 0x81},
	{"[MQTT-3.3.2-2] + in the topic", 5, "30 07 0003 'a/+' 00 'x'", 0x90},
	{"[MQTT-3.3.2-2] # in the topic", 4, "30 04 0001 '#' 'x'", 0x90},
	{"[MQTT-4.7.3-1] empty topic", 4, "30 03 0000 'x'", 0x82},
	{"[MQTT-4.7.3-1] empty topic, no alias", 5, "30 04 0000 00 'x'", 0x82},
	{"[MQTT-2.2.1-3] packet identifier 0", 5, "32 07 0001 'a' 0000 00 'x'", 0x82},
	{"[MQTT-3.3.2-8] topic alias 0", 5, "30 07 0001 'a' 03 23 0000", 0x94},
	{"[MQTT-3.3.2-9] topic alias beyond the maximum", 5, "30 07 0001 'a' 03 23 0100", 0x94},
	{"[MQTT-3.3.2-14] wildcard in the response topic", 5, "30 08 0001 'a' 04 08 0001 '#'", 0x82},
	{"[MQTT-3.3.2-13] response topic not UTF-8", 5, "30 08 0001 'a' 04 08 0001 ff", 0x81},
	{"[MQTT-3.3.2-19] content type not UTF-8", 5, "30 08 0001 'a' 04 03 0001 ff", 0x81},
	{"[MQTT-3.3.4-6] subscription identifier from a client", 5, "30 06 0001 'a' 02 0b01", 0x82},
	{"§3.3.2.3.2 payload format 2", 5, "30 06 0001 'a' 02 0102", 0x82},
	{"§3.3.2.3 topic alias twice", 5, "30 0a 0001 'a' 06 23 0001 23 0001", 0x82},
	{"§3.3.2.3 content type twice", 5, "30 0c 0001 'a' 08 03 0001 'c' 03 0001 'c'", 0x82},
	{"§2.2.2.2 reason string in a PUBLISH", 5, "30 08 0001 'a' 04 1f 0001 'x'", 0x81},
	{"§2.2.2.2 user property cut short", 5, "30 08 0001 'a' 04 26 0001 'k'", 0x81},
	{"[MQTT-1.5.5-1] over-long property length", 5, "30 06 0001 'a' 8000 'x'", 0x81},
	{"§3.3 topic longer than the packet", 4, "30 03 0009 'a'", 0x81},
	{"§3.3 no packet identifier", 4, "32 03 0001 'a'", 0x81},

	{"[MQTT-2.2.1-3] PUBACK of 0", 4, "40 02 0000", 0x82},
	{"[MQTT-3.4.2-1] PUBACK reason", 5, "40 03 0001 92", 0x82},
	{"[MQTT-3.5.2-1] PUBREC reason", 5, "50 03 0001 01", 0x82},
	{"[MQTT-3.6.1-1] PUBREL flags", 5, "60 02 0001", 0x81},
	{"[MQTT-3.6.2-1] PUBREL reason", 5, "62 03 0001 10", 0x82},
	{"[MQTT-3.7.2-1] PUBCOMP reason", 5, "70 03 0001 80", 0x82},
	{"§3.4 PUBACK too short", 4, "40 01 00", 0x81},
	{"§3.4 PUBACK with a reason in 3.1.1", 4, "40 03 0001 00", 0x81},
	{"§3.4 PUBACK with surplus bytes", 5, "40 05 0001 00 00 00", 0x81},
	{"§2.2.2.2 content type in a PUBACK", 5, "40 08 0001 00 04 03 0001 'x'", 0x81},

	{"[MQTT-3.8.1-1] SUBSCRIBE flags", 5, "80 07 0001 00 0001 'a' 01", 0x81},
	{"[MQTT-2.2.1-3] SUBSCRIBE packet identifier 0", 5, "82 07 0000 00 0001 'a' 01", 0x82},
	{"[MQTT-3.8.3-1] filter not UTF-8", 5, "82 07 0001 00 0001 ff 01", 0x81},
	{"[MQTT-3.8.3-2] SUBSCRIBE without filters", 5, "82 03 0001 00", 0x82},
	{"[MQTT-3.8.3-3 of 3.1.1] SUBSCRIBE without filters", 4, "82 02 0001", 0x82},
	{"[MQTT-3.8.3-4] shared subscription with No Local", 5, "82 10 0001 00 000a '$share/g/a' 05", 0x82},
	{"[MQTT-3.8.3-5] reserved options", 5, "82 07 0001 00 0001 'a' 41", 0x81},
	{"[MQTT-3-8.3-4 of 3.1.1] options of version 5", 4, "82 06 0001 0001 'a' 05", 0x81},
	{"§3.8.3.1 QoS 3", 5, "82 07 0001 00 0001 'a' 03", 0x82},
	{"§3.8.3.1 retain handling 3", 5, "82 07 0001 00 0001 'a' 31", 0x82},
	{"[MQTT-4.7.3-1] empty filter", 5, "82 06 0001 00 0000 01", 0x81},
	{"§3.8.2.1.2 subscription identifier 0", 5, "82 09 0001 02 0b00 0001 'a' 01", 0x82},
	{"§3.8.2.1.2 subscription identifier twice", 5, "82 0b 0001 04 0b01 0b02 0001 'a' 01", 0x82},
	{"§3.8.2.1.2 subscription identifier too long", 5, "82 0c 0001 05 0bffffffff 0001 'a' 01", 0x81},
	{"§3.8.3 ends before the options: the engine's panic", 5, "82 06 0001 00 0001 'a'", 0x81},
	{"§3.8.3 ends before the options", 4, "82 05 0001 0001 'a'", 0x81},

	{"[MQTT-3.10.1-1] UNSUBSCRIBE flags", 5, "a0 06 0001 00 0001 'a'", 0x81},
	{"[MQTT-3.10.3-1] filter not UTF-8", 5, "a2 06 0001 00 0001 ff", 0x81},
	{"[MQTT-3.10.3-2] UNSUBSCRIBE without filters", 5, "a2 03 0001 00", 0x82},
	{"[MQTT-4.7.3-1] empty filter in UNSUBSCRIBE", 5, "a2 05 0001 00 0000", 0x81},
	{"§2.2.2.2 subscription identifier in UNSUBSCRIBE", 5, "a2 08 0001 02 0b01 0001 'a'", 0x81},

	{"§3.12 PINGREQ with a body", 5, "c0 01 00", 0x81},
	{"[MQTT-2.1.3-1] PINGREQ flags", 4, "c1 00", 0x81},
	{"[MQTT-3.14.1-1] DISCONNECT flags", 5, "e1 00", 0x81},
	{"[MQTT-3.14.2-1] DISCONNECT reason for servers", 5, "e0 01 8b", 0x82},
	{"§3.14 DISCONNECT with a body in 3.1.1", 4, "e0 01 00", 0x81},
	{"§3.14.2.2.5 server reference from a client", 5, "e0 06 00 04 1c 0001 'x'", 0x81},
}

func TestCheck(t *testing.T) {
	for _, tt := range packets {
		t.Run(tt.name, func(t *testing.T) {
			var p Packet
			raw := bytesOf(t, tt.packet)
			if _, r := p.Check(raw, tt.version, 10); codeOf(r) != tt.code {
				t.Errorf("Check(%s) = 0x%02X (%v), want 0x%02X", tt.packet, codeOf(r), r, tt.code)
			}
		})
	}
}

func TestCheckNeverPassesACutPacket(t *testing.T) {
	for _, tt := range packets {
		raw := bytesOf(t, tt.packet)
		for n := 2; n < len(raw); n++ {
			var p Packet
			if _, r := p.Check(raw[:n], tt.version, 10); r == nil {
				t.Errorf("%s: passes when cut to %d of %d bytes", tt.name, n, len(raw))
			}
		}
	}
}

func TestCheckShowsThePacket(t *testing.T) {
	var p Packet
	raw := bytesOf(t, "3d 12 0003 'a/b' 0007 09 23 0002 26 0001 'k' 0000 'x'")
	if _, r := p.Check(raw, Version5, 10); r != nil {
		t.Fatal(r)
	}
	if p.Type != Publish || p.QoS != 2 || !p.Dup || !p.Retain || p.ID != 7 || p.Alias != 2 || !p.Aliased {
		t.Errorf("got %+v", p)
	}
	if string(p.Topic) != "a/b" || string(p.Payload) != "x" {
		t.Errorf("got topic %q payload %q", p.Topic, p.Payload)
	}
	first, rest, ok := p.Properties.Next()
	if !ok || first.ID != PropTopicAlias || first.Number != 2 {
		t.Errorf("first property = %+v, %v", first, ok)
	}
	second, rest, ok := rest.Next()
	if !ok || second.ID != PropUser || string(second.Name) != "k" || len(second.Value) != 0 {
		t.Errorf("second property = %+v, %v", second, ok)
	}
	if _, _, ok := rest.Next(); ok {
		t.Error("there is a third property")
	}
}

func codeOf(r *Refusal) byte {
	if r == nil {
		return 0
	}
	return r.Code
}
