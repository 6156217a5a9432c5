package mqtt

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/postern-io/postern/adapters/adaptertest"
)

// FuzzServeConn sends any stream to a whole door, as a stranger and behind the
// CONNECT of a device. The connection ends, and never by a panic.
func FuzzServeConn(f *testing.F) {
	w := adaptertest.NewWorld(f, false)
	s := newServer(w)
	s.Limits = Limits{ConnectTime: 50 * time.Millisecond, PacketTime: 50 * time.Millisecond}
	NewMetrics(prometheus.NewRegistry(), s)
	d := w.NewDevice(f, both)
	f.Add(false, []byte("\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a"))
	f.Add(true, []byte("\x82\x06\x00\x01\x00\x00\x01a"))
	f.Add(true, []byte("\x32\x07\x00\x01a\x00\x01\x00x\x62\x02\x00\x01\x50\x02\x00\x01\xc0\x00\xe0\x00"))
	f.Add(true, append([]byte{0x34, byte(len(adaptertest.Topic(w.Channel, "x")) + 6), 0, byte(len(adaptertest.Topic(w.Channel, "x")))}, adaptertest.Topic(w.Channel, "x")+"\x00\x01\x00x"...))
	f.Fuzz(func(t *testing.T, known bool, stream []byte) {
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.ServeConn(here, shownNothing)
		}()
		c := over(t, there, 5)
		if known {
			c.connect(d, "fuzz", func(pk *packets.Packet) {
				pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 60, true
			})
		}
		go func() { _, _ = io.Copy(io.Discard, there) }()
		_, _ = there.Write(stream) // it may end in the middle
		_ = there.Close()
		<-done
		if n := testutil.ToFloat64(s.Metrics.panics); n != 0 {
			t.Fatalf("%v panics", n)
		}
	})
}
