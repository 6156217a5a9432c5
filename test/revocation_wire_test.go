package test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// A live is a session that stands open while the ground for it goes away. What
// it hears is noted by a goroutine of its own; speak is for one caller.
type live struct {
	// speak publishes or calls once and returns "" when that was taken, else
	// the door's word of refusal.
	speak func() string
	hang  func() // ends it from our side

	gone chan struct{} // closed when the other side has ended it; nil: it has no end of its own

	mu    sync.Mutex
	heard time.Time // the last message
	ended time.Time
	how   string
}

func (l *live) hear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = time.Now()
}

func (l *live) lastHeard() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard
}

// end notes that the socket is closed. It is called once.
func (l *live) end(how string) {
	l.mu.Lock()
	l.ended, l.how = time.Now(), how
	l.mu.Unlock()
	close(l.gone)
}

// over returns how it ended and when. Call it after gone.
func (l *live) over() (string, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.how, l.ended
}

// A wire is where a door stands and what is shown there.
type wire struct {
	addr   string // host:port
	tls    *tls.Config
	device device // with an empty id: the certificate alone
}

func (w wire) dial() (net.Conn, error) {
	d := &net.Dialer{Timeout: patience}
	if w.tls == nil {
		return d.Dial("tcp", w.addr)
	}
	return tls.DialWithDialer(d, "tcp", w.addr, w.tls)
}

// A mqttLive is an MQTT client of either version.
type mqttLive struct {
	live
	version byte
	topic   string
	conn    net.Conn
	in      *bufio.Reader
	id      uint16
	acks    chan byte // the reason codes of PUBACK
}

var clients atomic.Uint64 // names MQTT clients apart

// openMQTT connects and, if it is to listen, subscribes to topic.
func openMQTT(conn net.Conn, version byte, d device, topic string, listen bool) (*live, error) {
	c := &mqttLive{version: version, topic: topic, conn: conn, in: bufio.NewReader(conn), acks: make(chan byte, 16)}
	if err := c.connect(d, listen); err != nil {
		conn.Close()
		return nil, err
	}
	c.gone = make(chan struct{})
	c.live.speak = c.publish
	c.hang = func() { conn.Close() }
	go c.read()
	return &c.live, nil
}

// properties is the empty list of properties, which version 5 adds to packets.
func (c *mqttLive) properties() []byte {
	if c.version == 5 {
		return []byte{0}
	}
	return nil
}

func (c *mqttLive) connect(d device, listen bool) error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	flags, shown := byte(0x02), []byte(nil)
	if d.id != "" {
		flags, shown = 0xC2, append(text(d.id), text(d.secret)...)
	}
	name := text(fmt.Sprintf("live-%d", clients.Add(1)))
	if _, err := c.conn.Write(packet(0x10, text("MQTT"), []byte{c.version, flags, 0, 60}, c.properties(), name, shown)); err != nil {
		return err
	}
	switch first, body, err := c.packet(); {
	case err != nil:
		return err
	case first != 0x20 || len(body) < 2 || body[1] != 0:
		return fmt.Errorf("refused: packet %#x %v", first, body)
	}
	if listen {
		if _, err := c.conn.Write(packet(0x82, []byte{0, 1}, c.properties(), text(c.topic), []byte{0})); err != nil {
			return err
		}
		first, body, err := c.packet()
		for err == nil && first&0xF0 == 0x30 { // messages may come before it (MQTT 5.0 §3.8.4)
			first, body, err = c.packet()
		}
		switch {
		case err != nil:
			return err
		case first != 0x90 || len(body) < 3 || body[len(body)-1] != 0:
			return fmt.Errorf("subscribe: packet %#x %v", first, body)
		}
	}
	return c.conn.SetDeadline(time.Time{})
}

func (c *mqttLive) packet() (first byte, body []byte, err error) {
	if first, err = c.in.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(c.in)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, n)
	_, err = io.ReadFull(c.in, body)
	return first, body, err
}

func (c *mqttLive) read() {
	how := "closed"
	for {
		first, body, err := c.packet()
		if err != nil {
			c.conn.Close()
			c.end(how)
			return
		}
		switch first & 0xF0 {
		case 0x30:
			c.hear()
		case 0x40:
			code := byte(0)
			if len(body) > 2 {
				code = body[2]
			}
			select {
			case c.acks <- code:
			default: // nobody asked for so many
			}
		case 0xE0:
			if len(body) > 0 {
				how = fmt.Sprintf("%#x", body[0])
			}
		}
	}
}

func (c *mqttLive) publish() string {
	c.id = c.id%1000 + 1
	if _, err := c.conn.Write(packet(0x32, text(c.topic), binary.BigEndian.AppendUint16(nil, c.id), c.properties(), []byte("said"))); err != nil {
		<-c.gone
		how, _ := c.over()
		return how
	}
	select {
	case code := <-c.acks:
		if code < 0x80 {
			return ""
		}
		return fmt.Sprintf("%#x", code)
	case <-c.gone:
		how, _ := c.over()
		return how
	case <-time.After(patience):
		return "no answer"
	}
}

// framed is a WebSocket as the connection that MQTT runs over.
type framed struct {
	net.Conn
	ws *websocket.Conn
	in io.Reader
}

func (f *framed) Read(p []byte) (int, error) { return f.in.Read(p) }

func (f *framed) Write(p []byte) (int, error) {
	return len(p), f.ws.WriteMessage(websocket.BinaryMessage, p)
}

func (w wire) websocket(path string, header http.Header, protocols ...string) (*websocket.Conn, error) {
	d := websocket.Dialer{TLSClientConfig: w.tls, HandshakeTimeout: patience, Subprotocols: protocols}
	scheme := "ws://"
	if w.tls != nil {
		scheme = "wss://"
	}
	conn, resp, err := d.Dial(scheme+w.addr+path, header)
	if resp != nil {
		resp.Body.Close()
	}
	return conn, err
}

// dialFramed opens the WebSocket that MQTT runs over.
func (w wire) dialFramed() (net.Conn, error) {
	ws, err := w.websocket("/mqtt", nil, "mqtt")
	if err != nil {
		return nil, err
	}
	return &framed{Conn: ws.NetConn(), ws: ws, in: websocket.JoinMessages(ws, "")}, nil
}

// openWS opens a WebSocket on topic with acknowledgements, so that text frames
// are those and binary ones messages.
func openWS(w wire, topic string) (*live, error) {
	header := http.Header{}
	if w.device.secret != "" {
		header.Set("Authorization", "Client "+w.device.secret)
	}
	ws, err := w.websocket("/ws/"+topic+"?ack=1", header)
	if err != nil {
		return nil, err
	}
	l := &live{gone: make(chan struct{}), hang: func() { ws.Close() }}
	acks := make(chan struct{}, 16)
	l.speak = func() string {
		if err := ws.WriteMessage(websocket.BinaryMessage, []byte("said")); err == nil {
			select {
			case <-acks:
				return ""
			case <-l.gone:
			case <-time.After(patience):
				return "no answer"
			}
		}
		<-l.gone
		how, _ := l.over()
		return how
	}
	go func() {
		for {
			kind, _, err := ws.ReadMessage()
			var closed *websocket.CloseError
			switch {
			case errors.As(err, &closed):
				l.end(fmt.Sprint(closed.Code))
				return
			case err != nil:
				l.end("closed")
				return
			case kind == websocket.BinaryMessage:
				l.hear()
			default:
				acks <- struct{}{}
			}
		}
	}()
	return l, nil
}

// A request is what one HTTP connection asks for again and again.
type request struct {
	path, authorization, body, contentType string
}

// openHTTP opens one connection and asks on it, and on no other, whenever it
// speaks. The first request must be taken.
func openHTTP(w wire, r request) (*live, error) {
	conn, err := w.dial()
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	l := &live{hang: func() { conn.Close() }}
	l.speak = func() string {
		status, err := r.ask(conn, in)
		switch {
		case err != nil:
			return err.Error()
		case status/100 == 2:
			return ""
		}
		return fmt.Sprint(status)
	}
	if word := l.speak(); word != "" {
		conn.Close()
		return nil, errors.New("refused: " + word)
	}
	return l, nil
}

func (r request) ask(conn net.Conn, in *bufio.Reader) (status int, err error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	req, err := http.NewRequest("POST", "http://localhost"+r.path, strings.NewReader(r.body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", r.contentType)
	if r.authorization != "" {
		req.Header.Set("Authorization", r.authorization)
	}
	var out bytes.Buffer
	if err := req.Write(&out); err != nil {
		return 0, err
	}
	if _, err := conn.Write(out.Bytes()); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(in, req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}
