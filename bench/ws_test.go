package bench

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/adapters/ws"
	"github.com/postern-io/postern/registry"
)

// BenchmarkWS compares frames that go through the bus and come back, on a live
// channel with ?echo=1, with a bare gorilla echo: 8 sockets, 100 bytes a
// frame, at most 64 frames of a socket under way. The budget is a ratio of 0.7.
func BenchmarkWS(b *testing.B) {
	w := adaptertest.NewLaptop(b)
	d := w.NewDevice(b, registry.Publish|registry.Subscribe)
	door := httpServer(b, &ws.Server{Gateway: w.Gateway, Log: w.Log})
	echo := httpServer(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			kind, data, err := conn.ReadMessage()
			if err != nil || conn.WriteMessage(kind, data) != nil {
				return
			}
		}
	}))
	query := "?echo=1&authorization=" + d.Secret
	// A topic for each socket, or all would hear all.
	url := func(addr string, c registry.Channel) func(string) string {
		return func(socket string) string { return "ws://" + addr + "/ws/" + adaptertest.Topic(c, socket) + query }
	}
	for name, c := range map[string]registry.Channel{"live": w.Live, "stored": w.Channel} {
		b.Run(name, func(b *testing.B) {
			compare(b, func(n int) time.Duration { return wsLoad(b, url(door, c), n) },
				func(n int) time.Duration { return wsLoad(b, url(echo, c), n) })
		})
	}
}

// wsLoad sends n frames and waits for them all to come back.
func wsLoad(b *testing.B, url func(socket string) string, n int) time.Duration {
	b.Helper()
	const sockets, window = 8, 64
	var conns [sockets]*websocket.Conn
	for i := range conns {
		conn, _, err := websocket.DefaultDialer.Dial(url(string(rune('a'+i))), nil)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	payload := make([]byte, 100)
	var work sync.WaitGroup
	start := time.Now()
	for _, conn := range conns {
		room := make(chan struct{}, window)
		work.Go(func() {
			for range n / sockets {
				room <- struct{}{}
				if err := conn.WriteMessage(websocket.BinaryMessage, payload); err != nil {
					b.Error(err)
					return
				}
			}
		})
		work.Go(func() {
			for range n / sockets {
				if _, _, err := conn.ReadMessage(); err != nil {
					b.Error(err)
					return
				}
				<-room
			}
		})
	}
	work.Wait()
	return time.Since(start)
}
