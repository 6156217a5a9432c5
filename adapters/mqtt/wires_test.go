package mqtt

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/postern-io/postern/adapters/adaptertest"
)

// open opens this door on a web server.
func (h *house) open(t testing.TB) (url string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/mqtt", h.server)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http") + "/mqtt"
}

func TestWebSocket(t *testing.T) {
	h := newHouse(t, Limits{})
	url := h.open(t)
	dialer := websocket.Dialer{Subprotocols: []string{"mqtt"}}
	open := func(t *testing.T) *websocket.Conn {
		ws, response, err := dialer.Dial(url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := response.Header.Get("Sec-Websocket-Protocol"); got != "mqtt" { // [MQTT-6.0.0-4]
			t.Errorf("subprotocol %q, want mqtt", got)
		}
		t.Cleanup(func() { _ = ws.Close() })
		return ws
	}
	t.Run("carries MQTT", func(t *testing.T) {
		c := over(t, &wsConn{Conn: open(t)}, 5)
		c.connect(h.NewDevice(t, both), "ws")
		c.subscribe(1, filter(h.stored("#"), 1))
		c.publish(h.stored("x"), strings.Repeat("x", 100_000), 1, 1)
		for range 2 {
			if pk, err := c.next(); err != nil || pk.FixedHeader.Type != packets.Puback && len(pk.Payload) != 100_000 {
				t.Errorf("got %+v, %v", pk.FixedHeader, err)
			}
		}
		c.quiet()
		c.disconnect(0)
	})
	t.Run("lets packets lie across frames", func(t *testing.T) { // [MQTT-6.0.0-2]
		ws := open(t)
		c := over(t, drop{&wsConn{Conn: ws}}, 4)
		c.connect(h.NewDevice(t, both), "ws")
		c.quiet()
	})
	t.Run("counts the request's header as evidence", func(t *testing.T) {
		a, b := h.NewDevice(t, both), h.NewDevice(t, both)
		for _, shown := range []struct {
			header string
			code   byte
		}{
			{"Client " + a.Secret, 0},
			{"Client " + b.Secret, codeBadCredentials},
			{"Bearer " + a.Secret, codeBadCredentials},
			{"Basic nonsense", codeBadCredentials},
		} {
			ws, _, err := dialer.Dial(url, http.Header{"Authorization": {shown.header}})
			if err != nil {
				t.Fatal(err)
			}
			c := over(t, &wsConn{Conn: ws}, 5)
			c.send(connectPacket(a, "evidence"))
			if ack := c.expect(packets.Connack); ack.ReasonCode != shown.code {
				t.Errorf("%.7s…: CONNACK 0x%02X, want 0x%02X", shown.header, ack.ReasonCode, shown.code)
			}
			ws.Close()
		}
	})
	t.Run("refuses text frames", func(t *testing.T) { // [MQTT-6.0.0-1]
		ws := open(t)
		if err := ws.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		_, _, err := ws.ReadMessage()
		if !websocket.IsCloseError(err, websocket.CloseUnsupportedData) {
			t.Errorf("ended with %v, want close 1003", err)
		}
	})
	t.Run("refuses clients that do not ask for mqtt", func(t *testing.T) { // [MQTT-6.0.0-3]
		_, response, err := websocket.DefaultDialer.Dial(url, nil)
		if err == nil || response.StatusCode != http.StatusBadRequest {
			t.Errorf("got %v, %v; want status 400", response, err)
		}
	})
	t.Run("is told of a shutdown", func(t *testing.T) {
		c := over(t, &wsConn{Conn: open(t)}, 5)
		c.connect(h.NewDevice(t, both), "ws")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := h.server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		c.closed(codeShuttingDown)
	})
}

// drop writes byte by byte.
type drop struct{ net.Conn }

func (d drop) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := d.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

func TestSlowHandshakeHoldsUpNobody(t *testing.T) {
	w := adaptertest.NewWorld(t, false)
	at := w.Serve(t, &door{version: 5}, true)
	for range 5 { // they connect and say nothing
		nc, err := net.Dial("tcp", at.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	h := &house{World: w}
	c := dial(t, adaptertest.Wire{Addr: at.Addr, TLS: at.TLS}, 5)
	c.connect(h.NewDevice(t, both), "")
	c.quiet()
}

func TestHandshakeTime(t *testing.T) {
	w := adaptertest.NewWorld(t, false)
	s := newServer(w)
	s.Limits.ConnectTime = 100 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, tls.NewListener(l, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}), s)
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := nc.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v, want the end of the connection", err)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	h := newHouse(t, Limits{Connections: 2})
	a, _ := h.enter(t, 5)
	h.enter(t, 4)
	dial(t, h.at, 5).closed(0)
	a.disconnect(0)
	eventually(t, "there is room", func() bool { return h.server.connections() == 1 })
	h.enter(t, 5)
}
