package ws_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/adapters/ws"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

const both = registry.Publish | registry.Subscribe

func open(t testing.TB, edit func(*ws.Server)) (*adaptertest.World, *ws.Server, adaptertest.Wire) {
	t.Helper()
	w := adaptertest.NewWorld(t, false)
	door := &ws.Server{Gateway: w.Gateway, Log: w.Log, MaxPayload: 1000}
	if edit != nil {
		edit(door)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, door)
	return w, door, adaptertest.Wire{Addr: l.Addr().String()}
}

func shown(d adaptertest.Device) adaptertest.Evidence { return adaptertest.Evidence{Secret: d.Secret} }

func mustDial(t testing.TB, at adaptertest.Wire, d adaptertest.Device, topic, query string) *websocket.Conn {
	t.Helper()
	conn, status, err := dial(t, at, shown(d), topic, query)
	if conn == nil {
		t.Fatalf("dial: status %d, %v", status, err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second)) // fails only on a closed one
	return conn
}

func send(t testing.TB, conn *websocket.Conn, kind int, text string) {
	t.Helper()
	if err := conn.WriteMessage(kind, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func hears(t testing.TB, conn *websocket.Conn, kind int, text string) {
	t.Helper()
	k, data, err := conn.ReadMessage()
	if err != nil || k != kind || string(data) != text {
		t.Fatalf("heard %d %q, %v; want %d %q", k, data, err, kind, text)
	}
}

// closes reads until the socket ends and checks how.
func closes(t testing.TB, conn *websocket.Conn, code int) {
	t.Helper()
	for {
		_, _, err := conn.ReadMessage()
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			if closed.Code != code {
				t.Errorf("closed with %d %q, want %d", closed.Code, closed.Text, code)
			}
			return
		}
		if err != nil {
			t.Fatalf("ended with %v, want close %d", err, code)
		}
	}
}

func TestFramesKeepTheirKind(t *testing.T) {
	w, _, at := open(t, nil)
	topic := adaptertest.Topic(w.Channel, "k")
	a, b := mustDial(t, at, w.NewDevice(t, both), topic, ""), mustDial(t, at, w.NewDevice(t, both), topic, "")
	send(t, a, websocket.TextMessage, "text ü")
	hears(t, b, websocket.TextMessage, "text ü")
	send(t, a, websocket.BinaryMessage, "\x00\xff")
	hears(t, b, websocket.BinaryMessage, "\x00\xff")
	send(t, a, websocket.BinaryMessage, "looks like text")
	hears(t, b, websocket.BinaryMessage, "looks like text")
	send(t, a, websocket.TextMessage, "")
	hears(t, b, websocket.TextMessage, "")

	// From other doors.
	lane := w.Bus.Lane("x")
	parsed, err := messaging.ParseTopic(topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		messaging.Message
		kind int
	}{
		{messaging.Message{Payload: []byte(`{"a":1}`), ContentType: "application/json"}, websocket.TextMessage},
		{messaging.Message{Payload: []byte("\xff"), ContentType: "text/plain"}, websocket.BinaryMessage},
		{messaging.Message{Payload: []byte("x")}, websocket.BinaryMessage},
		{messaging.Message{Payload: []byte("x"), MQTT: &messaging.MQTTProperties{PayloadFormat: 1}}, websocket.TextMessage},
	} {
		m.Topic, m.Created = parsed, time.Now()
		lane.Publish(&m.Message, true, nil)
		hears(t, b, m.kind, string(m.Payload))
	}
}

func TestOwnMessages(t *testing.T) {
	w, _, at := open(t, nil)
	d := w.NewDevice(t, both)
	topic := adaptertest.Topic(w.Live, "")
	silent, echoing := mustDial(t, at, d, topic, ""), mustDial(t, at, d, topic, "echo=1")
	send(t, silent, websocket.TextMessage, "one")
	hears(t, echoing, websocket.TextMessage, "one") // another session of the device
	send(t, echoing, websocket.TextMessage, "two")
	hears(t, echoing, websocket.TextMessage, "two")
	hears(t, silent, websocket.TextMessage, "two") // and not "one"
}

func TestFragmentsAreOneMessage(t *testing.T) {
	w, _, at := open(t, nil)
	topic := adaptertest.Topic(w.Channel, "")
	a, b := mustDial(t, at, w.NewDevice(t, both), topic, ""), mustDial(t, at, w.NewDevice(t, both), topic, "")
	writer, err := a.NextWriter(websocket.TextMessage)
	if err != nil {
		t.Fatal(err)
	}
	// More than the client's buffer: it leaves in several frames.
	if _, err := io.WriteString(writer, strings.Repeat("x", 900)); err != nil {
		t.Fatal(err)
	}
	if err := a.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	hears(t, b, websocket.TextMessage, strings.Repeat("x", 900))
}

func TestAcknowledgements(t *testing.T) {
	w, _, at := open(t, func(s *ws.Server) { s.InFlight = 4 })
	topic := adaptertest.Topic(w.Channel, "")
	conn := mustDial(t, at, w.NewDevice(t, registry.Publish), topic, "ack=1")
	const n = 50
	for i := range n { // far more than may be in flight
		send(t, conn, websocket.BinaryMessage, fmt.Sprint(i))
	}
	for i := range n {
		hears(t, conn, websocket.TextMessage, fmt.Sprintf(`{"ack":%d,"sequence":%d}`, i+1, i+1))
	}
	live := mustDial(t, at, w.NewDevice(t, both), adaptertest.Topic(w.Live, ""), "ack=1&echo=1")
	send(t, live, websocket.TextMessage, `{"ack":9}`)
	// The message, which would pass for an acknowledgement, comes in a binary
	// frame. Which of the two is first is open.
	got := map[string]int{}
	for range 2 {
		kind, data, err := live.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		got[string(data)] = kind
	}
	if got[`{"ack":1}`] != websocket.TextMessage || got[`{"ack":9}`] != websocket.BinaryMessage {
		t.Errorf("got %v", got)
	}
}

func TestBadFrames(t *testing.T) {
	w, _, at := open(t, nil)
	topic := adaptertest.Topic(w.Channel, "")
	t.Run("it closes with 1009 when a frame is too large", func(t *testing.T) {
		conn := mustDial(t, at, w.NewDevice(t, both), topic, "")
		send(t, conn, websocket.BinaryMessage, strings.Repeat("x", 1001))
		closes(t, conn, websocket.CloseMessageTooBig)
	})
	t.Run("it closes with 1009 when a much larger frame is on its way", func(t *testing.T) {
		conn := mustDial(t, at, w.NewDevice(t, both), topic, "")
		_ = conn.WriteMessage(websocket.BinaryMessage, bytes.Repeat([]byte("x"), 1<<20)) // may be cut off
		closes(t, conn, websocket.CloseMessageTooBig)
	})
	t.Run("it closes with 1007 when text is not UTF-8", func(t *testing.T) {
		conn := mustDial(t, at, w.NewDevice(t, both), topic, "")
		send(t, conn, websocket.TextMessage, "\xff")
		closes(t, conn, websocket.CloseInvalidFramePayloadData)
	})
	t.Run("it closes with 1002 when a frame is malformed", func(t *testing.T) {
		conn := mustDial(t, at, w.NewDevice(t, both), topic, "")
		if _, err := conn.NetConn().Write([]byte{0xF1, 0x80, 0, 0, 0, 0}); err != nil { // reserved bits
			t.Fatal(err)
		}
		closes(t, conn, websocket.CloseProtocolError)
	})
	t.Run("it closes with 4403 when the device may not publish", func(t *testing.T) {
		conn := mustDial(t, at, w.NewDevice(t, registry.Subscribe), topic, "")
		send(t, conn, websocket.TextMessage, "x")
		closes(t, conn, 4403)
	})
	t.Run("it answers a close frame", func(t *testing.T) {
		conn := mustDial(t, at, w.NewDevice(t, both), topic, "")
		if err := conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "bye"), time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		closes(t, conn, 1000)
	})
}

func TestRevoked(t *testing.T) {
	w, _, at := open(t, nil)
	d := w.NewDevice(t, both)
	conn := mustDial(t, at, d, adaptertest.Topic(w.Channel, ""), "")
	w.Disable(t, d)
	closes(t, conn, 4401)
}

func TestRightsChange(t *testing.T) {
	w, _, at := open(t, nil)
	topic := adaptertest.Topic(w.Channel, "")
	d, other := w.NewDevice(t, both), w.NewDevice(t, both)
	conn, voice := mustDial(t, at, d, topic, ""), mustDial(t, at, other, topic, "ack=1")
	change := func(to func(context.Context, registry.DomainID, []registry.DeviceID, []registry.ChannelID, registry.Rights) error, rights registry.Rights) {
		t.Helper()
		if err := to(t.Context(), w.Domain.ID, []registry.DeviceID{d.ID}, []registry.ChannelID{w.Channel.ID}, rights); err != nil {
			t.Fatal(err)
		}
	}
	say := func(text string) {
		t.Helper()
		send(t, voice, websocket.BinaryMessage, text)
		for { // its own acknowledgement
			kind, _, err := voice.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if kind == websocket.TextMessage {
				return
			}
		}
	}
	say("one")
	hears(t, conn, websocket.BinaryMessage, "one")

	change(w.Registry.Disconnect, registry.Subscribe)
	// The door looks at the rights on its own time; what it has heard of by
	// then is over when a pong comes back from the same writer, or a second
	// has passed: so say things until one is not heard.
	deadline := time.Now().Add(5 * time.Second)
	heard := make(chan string, 100)
	go func() {
		for {
			_, data, err := conn.ReadMessage()
			if err != nil {
				close(heard)
				return
			}
			heard <- string(data)
		}
	}()
	for i := 0; ; i++ {
		say(fmt.Sprint("two ", i))
		select {
		case <-heard:
		case <-time.After(200 * time.Millisecond):
			deadline = time.Time{}
		}
		if deadline.IsZero() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it still hears")
		}
	}
	send(t, conn, websocket.TextMessage, "still publishing")

	change(w.Registry.Connect, registry.Subscribe)
	for i, waiting := 0, true; waiting; i++ {
		say(fmt.Sprint("three ", i))
		select {
		case text := <-heard:
			if !strings.HasPrefix(text, "three") {
				t.Errorf("heard %q", text)
			}
			waiting = false
		case <-time.After(20 * time.Millisecond):
			if i > 250 {
				t.Fatal("it does not hear again")
			}
		}
	}

	change(w.Registry.Disconnect, both)
	for {
		select {
		case _, open := <-heard:
			if !open {
				return
			}
		case <-time.After(time.Second): // promise 4
			t.Fatal("it is still open after a second")
		}
	}
}

func TestSlowReaderIsCutOff(t *testing.T) {
	w, _, at := open(t, func(s *ws.Server) { s.MaxPayload, s.MaxQueued = 64<<10, 16 })
	topic := adaptertest.Topic(w.Live, "")
	slow, quick := mustDial(t, at, w.NewDevice(t, both), topic, ""), mustDial(t, at, w.NewDevice(t, both), topic, "echo=1")
	payload := strings.Repeat("x", 60<<10)
	cut := make(chan error, 1)
	go func() {
		// The peer's kernel takes a few megabytes before the door feels it.
		for range 500 {
			if err := quick.WriteMessage(websocket.BinaryMessage, []byte(payload)); err != nil {
				cut <- err
				return
			}
			if _, _, err := quick.ReadMessage(); err != nil {
				cut <- err
				return
			}
		}
		cut <- nil
	}()
	if err := <-cut; err != nil {
		t.Fatalf("the quick one was held up: %v", err)
	}
	n := 0
	for {
		_, _, err := slow.ReadMessage()
		if err != nil {
			break // a close frame, or a cut when none could be sent
		}
		n++
	}
	if n == 500 {
		t.Error("the slow one was not cut off")
	}
}

func TestSilentPeerIsGone(t *testing.T) {
	w, _, at := open(t, func(s *ws.Server) { s.PingInterval = 50 * time.Millisecond })
	conn := mustDial(t, at, w.NewDevice(t, both), adaptertest.Topic(w.Channel, ""), "")
	conn.SetPingHandler(func(string) error { return nil }) // says nothing
	if _, _, err := conn.ReadMessage(); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the door to hang up", err)
	}
	lively := mustDial(t, at, w.NewDevice(t, both), adaptertest.Topic(w.Channel, ""), "echo=1")
	pings := 0
	lively.SetPingHandler(func(data string) error {
		if pings++; pings == 6 { // past what a silent peer gets
			send(t, lively, websocket.TextMessage, "here")
		}
		return lively.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
	})
	hears(t, lively, websocket.TextMessage, "here")
}

func TestShutdown(t *testing.T) {
	w, door, at := open(t, nil)
	conn := mustDial(t, at, w.NewDevice(t, both), adaptertest.Topic(w.Channel, ""), "")
	stuck := mustDial(t, at, w.NewDevice(t, both), adaptertest.Topic(w.Channel, ""), "") // never reads
	defer stuck.Close()
	down := make(chan error, 1)
	go func() { down <- door.Shutdown(t.Context()) }()
	closes(t, conn, websocket.CloseGoingAway)
	select {
	case err := <-down:
		if err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Shutdown does not return")
	}
	if _, status, err := dial(t, at, shown(w.NewDevice(t, both)), adaptertest.Topic(w.Channel, ""), ""); status != 503 {
		t.Errorf("a late one: %d, %v; want 503", status, err)
	}
}

func TestBeforeTheUpgrade(t *testing.T) {
	w, _, at := open(t, nil)
	d, other := w.NewDevice(t, both), w.NewDevice(t, both)
	path := "/ws/" + adaptertest.Topic(w.Channel, "")
	handshake := map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
	with := func(more ...string) map[string]string {
		h := map[string]string{}
		for k, v := range handshake {
			h[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return h
	}
	auth := "Client " + d.Secret
	tests := []struct {
		name, path string
		headers    map[string]string
		want       int
	}{
		{"takes a header", path, with("Authorization", auth), 101},
		{"takes a query", path + "?authorization=" + d.Secret, with(), 101},
		{"takes a query with the scheme", path + "?authorization=Client%20" + d.Secret, with(), 101},
		{"takes a query with the scheme and a plus", path + "?authorization=Client+" + d.Secret, with(), 101},
		{"takes header and query that agree", path + "?authorization=" + d.Secret, with("Authorization", auth), 101},
		{"takes any origin", path, with("Authorization", auth, "Origin", "https://elsewhere.example"), 101},
		{"refuses no credential", path, with(), 401},
		{"refuses an empty query", path + "?authorization=", with(), 401},
		{"refuses an empty query beside a good header", path + "?authorization=", with("Authorization", auth), 401},
		{"refuses header and query that disagree", path + "?authorization=" + other.Secret, with("Authorization", auth), 401},
		{"refuses two queries that disagree", path + "?authorization=" + d.Secret + "&authorization=" + other.Secret, with(), 401},
		{"refuses a query of another case", path + "?Authorization=" + d.Secret, with(), 401},
		{"refuses a cookie", path, with("Cookie", "authorization="+d.Secret), 401},
		{"refuses a person", path, with("Authorization", "Bearer abc"), 401},
		{"refuses a foreign channel", "/ws/" + adaptertest.Topic(w.Foreign, ""), with("Authorization", auth), 403},
		{"refuses a wildcard", path + "/%23", with("Authorization", auth), 400},
		{"refuses an encoded slash", path + "/a%2fb", with("Authorization", auth), 400},
		{"refuses a plain request", path, map[string]string{"Authorization": auth}, 426},
		{"refuses another version", path, with("Authorization", auth, "Sec-WebSocket-Version", "8"), 400},
		{"refuses a bad key", path, with("Authorization", auth, "Sec-WebSocket-Key", "x"), 400},
	}
	for _, tt := range tests {
		t.Run("it "+tt.name, func(t *testing.T) {
			u, err := url.Parse("http://" + at.Addr + tt.path)
			if err != nil {
				t.Fatal(err)
			}
			r := &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}}
			for k, v := range tt.headers {
				r.Header.Set(k, v)
			}
			transport := &http.Transport{DisableKeepAlives: true}
			response, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.StatusCode != tt.want {
				t.Fatalf("got %s, want %d", response.Status, tt.want)
			}
			if tt.want == 101 {
				return
			}
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(body), `"request_id"`) || strings.Contains(string(body), d.Secret) {
				t.Errorf("the body is %s", body)
			}
			if tt.want == 401 && response.Header.Get("Www-Authenticate") == "" {
				t.Error("a 401 without WWW-Authenticate")
			}
		})
	}
}

// TestNothingIsLeftBehind opens, refuses and ends many sockets.
func TestNothingIsLeftBehind(t *testing.T) {
	w, _, at := open(t, nil)
	d := w.NewDevice(t, both)
	round := func() {
		for i := range 20 {
			conn := mustDial(t, at, d, adaptertest.Topic(w.Channel, fmt.Sprint(i)), "")
			if _, status, _ := dial(t, at, adaptertest.Evidence{Secret: "wrong-wrong-wrong"}, adaptertest.Topic(w.Channel, ""), ""); status != 401 {
				t.Fatalf("status %d", status)
			}
			if i%2 == 0 {
				_ = conn.WriteControl(websocket.CloseMessage, nil, time.Now().Add(time.Second)) // may be gone
			}
			_ = conn.Close()
		}
	}
	// until polls, because a socket ends after its peer has seen the end.
	until := func(ok func() bool) bool {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
			if ok() {
				return true
			}
		}
		return false
	}
	closed := func() bool { return len(w.Gateway.Sessions(d.ID)) == 0 }
	round() // warms up
	if !until(closed) {
		t.Fatal("sessions are left")
	}
	before := runtime.NumGoroutine()
	for range 5 {
		round()
	}
	if !until(closed) {
		t.Error("sessions are left")
	}
	if !until(func() bool { return runtime.NumGoroutine() <= before }) {
		t.Errorf("%d goroutines before, %d after 200 sockets", before, runtime.NumGoroutine())
	}
}

func FuzzPath(f *testing.F) {
	w, _, at := open(f, nil)
	d := w.NewDevice(f, both)
	f.Add("m/home/c/stored/x", "echo=1")
	f.Add("m/home/c/stored/../%2e%2e//", "authorization=%zz;")
	f.Add("%00", "authorization=a&authorization=b")
	f.Fuzz(func(t *testing.T, path, query string) {
		target := "http://" + at.Addr + "/ws/" + path + "?" + query
		u, err := url.Parse(target)
		if err != nil || u.Host != at.Addr {
			return
		}
		r, err := http.NewRequest(http.MethodGet, target, nil)
		if err != nil {
			return
		}
		r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Authorization": {"Client " + d.Secret}}
		transport := &http.Transport{DisableKeepAlives: true}
		response, err := transport.RoundTrip(r)
		if err != nil {
			return // what net/http itself refuses to send
		}
		_ = response.Body.Close() // nothing to lose
		switch response.StatusCode {
		case 101, 400, 401, 403:
		default:
			t.Fatalf("%q: %s", target, response.Status)
		}
	})
}
