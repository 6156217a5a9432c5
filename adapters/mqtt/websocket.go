package mqtt

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/postern-io/postern/adapters/httpd"
)

var errTextFrame = errors.New("MQTT travels in binary frames")

// ServeHTTP serves MQTT over WebSocket (MQTT 5.0 §6). It is mounted at /mqtt.
// What the request shows, an Authorization header or a certificate, counts as
// evidence beside the CONNECT: all of it must name the same device.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.start.Do(s.init)
	upgrader := websocket.Upgrader{
		HandshakeTimeout: s.limits.ConnectTime,
		Subprotocols:     []string{"mqtt"}, // [MQTT-6.0.0-3]
		CheckOrigin:      sameOriginWithCertificate,
		ReadBufferSize:   1 << 10,
		WriteBufferPool:  &buffersOfFrames,
		WriteBufferSize:  4 << 10,
	}
	shown := httpd.ReadEvidence(r, "mqtt", false)
	if shown.Bearer != "" {
		shown.ShowConflict() // this is a device's door
	}
	if !offers(r, "mqtt") {
		http.Error(w, "subprotocol mqtt is required", http.StatusBadRequest)
		return
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	if !s.enter() {
		_ = ws.Close() // going down
		return
	}
	defer s.work.Done()
	s.ServeConn(&wsConn{Conn: ws}, shown.Credential)
}

// sameOriginWithCertificate lets pages of any origin in, for their credentials
// are in the CONNECT and not ambient, except where the browser adds a client
// certificate by itself.
func sameOriginWithCertificate(r *http.Request) bool {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return true
	}
	origin := r.Header.Get("Origin")
	return origin == "" || origin == "https://"+r.Host
}

func offers(r *http.Request, protocol string) bool {
	for _, p := range websocket.Subprotocols(r) {
		if p == protocol {
			return true
		}
	}
	return false
}

var buffersOfFrames sync.Pool

// A wsConn makes a stream of the binary frames of a WebSocket. One goroutine
// reads and one writes, as the outbox and the gate do.
type wsConn struct {
	*websocket.Conn
	frame io.Reader
}

// Read reads from the current frame, or the next one.
func (c *wsConn) Read(p []byte) (int, error) {
	for {
		if c.frame == nil {
			kind, frame, err := c.NextReader()
			if err != nil {
				return 0, asStream(err)
			}
			if kind != websocket.BinaryMessage { // [MQTT-6.0.0-1]
				c.bye(websocket.CloseUnsupportedData)
				return 0, errTextFrame
			}
			c.frame = frame
		}
		n, err := c.frame.Read(p)
		if errors.Is(err, io.EOF) { // of the frame
			c.frame = nil
			if n == 0 {
				continue
			}
			return n, nil
		}
		return n, err
	}
}

func asStream(err error) error {
	if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived) {
		return io.EOF
	}
	return err
}

// Write sends p as one frame.
func (c *wsConn) Write(p []byte) (int, error) {
	if err := c.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite says that nothing more will come.
func (c *wsConn) CloseWrite() error {
	c.bye(websocket.CloseNormalClosure)
	return nil
}

func (c *wsConn) bye(code int) {
	_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second)) // it ends in any case
}

// SetDeadline sets both deadlines.
func (c *wsConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

var _ net.Conn = (*wsConn)(nil)
