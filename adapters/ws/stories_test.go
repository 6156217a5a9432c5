package ws_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/adapters/ws"
)

func TestStories(t *testing.T) { adaptertest.Run(t, door{}) }

type door struct{}

func (door) Protocol() string { return "ws" }
func (door) Forms() adaptertest.Forms {
	return adaptertest.Forms{SecretAlone: true, Query: true, QueryTaken: true}
}

func (door) Serve(t testing.TB, w *adaptertest.World, l net.Listener) {
	serve(t, l, &ws.Server{Gateway: w.Gateway, Log: w.Log})
}

func serve(t testing.TB, l net.Listener, door *ws.Server) {
	s := &http.Server{Handler: door, ErrorLog: log.New(t.Output(), "", 0)}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close() // its error is the listener's, which a test may have closed
		<-done
		if err := door.Shutdown(t.Context()); err != nil && !errors.Is(err, t.Context().Err()) {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

var statuses = map[int]adapters.Kind{
	400: adapters.InvalidTopic, 401: adapters.Unauthenticated, 403: adapters.Denied, 429: adapters.Limited, 503: adapters.Unavailable,
}

var codes = map[int]adapters.Kind{
	1008: adapters.InvalidTopic, 1009: adapters.TooLarge, 1013: adapters.Unavailable, 4401: adapters.Revoked, 4403: adapters.Denied,
}

// dial connects and returns a status of the HTTP answer when that was no
// upgrade.
func dial(t testing.TB, at adaptertest.Wire, e adaptertest.Evidence, topic, query string) (*websocket.Conn, int, error) {
	t.Helper()
	levels := strings.Split(topic, "/")
	for i := range levels {
		levels[i] = url.PathEscape(levels[i])
	}
	scheme := "ws"
	if at.TLS != nil {
		scheme = "wss"
	}
	target := fmt.Sprintf("%s://%s/ws/%s?%s", scheme, at.Addr, strings.Join(levels, "/"), query)
	if e.Query != "" {
		target += "&authorization=" + url.QueryEscape("Client "+e.Query)
	}
	header := http.Header{}
	switch {
	case e.DeviceID != "":
		r := http.Request{Header: header}
		r.SetBasicAuth(e.DeviceID, e.Secret)
	case e.Secret != "":
		header.Set("Authorization", "Client "+e.Secret)
	}
	var config *tls.Config
	if at.TLS != nil {
		config = at.TLS.Clone()
	}
	dialer := websocket.Dialer{TLSClientConfig: config, HandshakeTimeout: 10 * time.Second}
	conn, response, err := dialer.DialContext(t.Context(), target, header)
	if err != nil {
		if response != nil && errors.Is(err, websocket.ErrBadHandshake) {
			return nil, response.StatusCode, nil
		}
		return nil, 0, err
	}
	t.Cleanup(func() { _ = conn.Close() }) // the test may have closed it
	return conn, http.StatusSwitchingProtocols, nil
}

// connect is dial for a door's word.
func connect(t testing.TB, at adaptertest.Wire, e adaptertest.Evidence, topic, query string) (*websocket.Conn, adapters.Kind, error) {
	t.Helper()
	conn, status, err := dial(t, at, e, topic, query)
	if conn != nil || err != nil {
		return conn, adapters.OK, err
	}
	kind, ok := statuses[status]
	if !ok {
		t.Errorf("status %d", status)
	}
	return nil, kind, nil
}

func (door) Publish(t testing.TB, at adaptertest.Wire, e adaptertest.Evidence, topic string, payload []byte) (adapters.Kind, error) {
	conn, kind, err := connect(t, at, e, topic, "ack=1")
	if conn == nil {
		return kind, err
	}
	defer conn.Close()
	if err := conn.WriteMessage(websocket.TextMessage, payload); err != nil {
		return 0, err
	}
	for {
		frame, data, err := conn.ReadMessage()
		var closed *websocket.CloseError
		switch {
		case errors.As(err, &closed) && codes[closed.Code] != 0:
			return codes[closed.Code], nil
		case err != nil:
			return 0, err
		case frame == websocket.TextMessage:
			if !strings.HasPrefix(string(data), `{"ack":1`) {
				t.Errorf("a text frame that is no acknowledgement: %s", data)
			}
			return adapters.OK, nil
		}
	}
}

func (door) Listen(t testing.TB, at adaptertest.Wire, e adaptertest.Evidence, topic string) (<-chan []byte, adapters.Kind, error) {
	conn, kind, err := connect(t, at, e, topic, "")
	if conn == nil {
		return nil, kind, err
	}
	heard := make(chan []byte, 100)
	go func() { // ends with the connection, which ends with the test
		for {
			_, data, err := conn.ReadMessage()
			if err != nil {
				return
			}
			heard <- data
		}
	}()
	return heard, adapters.OK, nil
}

func (door) Hold(t testing.TB, at adaptertest.Wire, e adaptertest.Evidence, topic string) (<-chan struct{}, adapters.Kind, error) {
	conn, kind, err := connect(t, at, e, topic, "")
	if conn == nil {
		return nil, kind, err
	}
	lost := make(chan struct{})
	go func() { // ends with the connection
		defer close(lost)
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	}()
	return lost, adapters.OK, nil
}
