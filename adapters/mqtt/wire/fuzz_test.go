package wire

import (
	"bufio"
	"bytes"
	"io"
	"testing"

	engine "github.com/mochi-mqtt/server/v2/packets"
)

// FuzzCheck holds two properties: no bytes make Check panic, and what Check
// passes the engine's decoder decodes, without panic and without error.
func FuzzCheck(f *testing.F) {
	for _, tt := range connects {
		f.Add(byte(0), bytesOf(f, tt.packet))
	}
	for _, tt := range packets {
		f.Add(tt.version, bytesOf(f, tt.packet))
	}
	f.Fuzz(func(t *testing.T, version byte, raw []byte) {
		switch version {
		case 0, Version311, Version5:
		default:
			version = Version5
		}
		if len(raw) < 2 {
			return
		}
		var p Packet
		version, r := p.Check(raw, version, 10)
		if r != nil {
			return
		}
		if err := decode(raw, version); err != nil {
			t.Errorf("% x passes as version %d, and the engine says %v", raw, version, err)
		}
		for rest, ok := p.Properties, true; ok; {
			_, rest, ok = rest.Next()
		}
	})
}

// FuzzConn sends any stream through a whole gate.
func FuzzConn(f *testing.F) {
	f.Add(bytesOf(f, connect5+"82 06 0001 00 0001 'a'"))
	f.Add(bytesOf(f, connect311+"30 04 0001 'a' 'x' c0 00 e0 00"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		gate := New(&once{r: bytes.NewReader(stream)}, Limits{}, &door{takes: map[byte]bool{Publish: true}})
		passed, _ := io.ReadAll(gate)
		r := bufio.NewReader(bytes.NewReader(passed))
		for version := gate.Version(); ; {
			if _, err := r.Peek(1); err != nil {
				break
			}
			fh := engine.FixedHeader{}
			head, _ := r.ReadByte()
			n, _, err := engine.DecodeLength(r)
			if err == nil {
				err = fh.Decode(head)
			}
			if err != nil {
				t.Fatalf("what passed cannot be framed: %v in % x", err, passed)
			}
			body := make([]byte, n)
			if _, err := io.ReadFull(r, body); err != nil {
				t.Fatalf("part of a packet passed: % x", passed)
			}
			fh.Remaining = n
			if err := decodeBody(fh, body, version); err != nil {
				t.Fatalf("passed, and the engine says %v: % x", err, passed)
			}
		}
	})
}

func decode(raw []byte, version byte) error {
	fh := engine.FixedHeader{}
	if err := fh.Decode(raw[0]); err != nil {
		return err
	}
	n, size, err := engine.DecodeLength(bytes.NewReader(raw[1:]))
	if err != nil {
		return err
	}
	fh.Remaining = n
	return decodeBody(fh, bytes.Clone(raw[1+size:]), version)
}

// decodeBody does with a packet what the engine's Client.ReadPacket does.
func decodeBody(fh engine.FixedHeader, body []byte, version byte) error {
	pk := engine.Packet{FixedHeader: fh, ProtocolVersion: version}
	switch fh.Type {
	case Connect:
		return pk.ConnectDecode(body)
	case Publish:
		return pk.PublishDecode(body)
	case Puback:
		return pk.PubackDecode(body)
	case Pubrec:
		return pk.PubrecDecode(body)
	case Pubrel:
		return pk.PubrelDecode(body)
	case Pubcomp:
		return pk.PubcompDecode(body)
	case Subscribe:
		return pk.SubscribeDecode(body)
	case Unsubscribe:
		return pk.UnsubscribeDecode(body)
	case Disconnect:
		return pk.DisconnectDecode(body)
	}
	return nil
}

// once is a socket that gives a stream and then its end.
type once struct {
	replay
	r io.Reader
}

func (o *once) Read(p []byte) (int, error)  { return o.r.Read(p) }
func (o *once) Write(p []byte) (int, error) { return len(p), nil }
