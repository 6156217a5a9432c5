package httpd_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/adapters/httpd"
)

func TestStories(t *testing.T) { adaptertest.Run(t, door{}) }

type door struct{}

func (door) Protocol() string         { return "http" }
func (door) Forms() adaptertest.Forms { return adaptertest.Forms{SecretAlone: true, Query: true} }

func (door) Serve(t testing.TB, w *adaptertest.World, l net.Listener) {
	serve(t, l, &httpd.Server{Gateway: w.Gateway, Log: w.Log})
}

func serve(t testing.TB, l net.Listener, door *httpd.Server) {
	// No ServeMux in between: it would clean the paths.
	s := &http.Server{Handler: door, ErrorLog: log.New(t.Output(), "", 0)}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close() // its error is the listener's, which a test may have closed
		<-done
	})
}

var kinds = map[int]adapters.Kind{
	202: adapters.OK, 400: adapters.InvalidTopic, 401: adapters.Unauthenticated, 403: adapters.Denied,
	413: adapters.TooLarge, 429: adapters.Limited, 503: adapters.Unavailable,
}

func (door) Publish(t testing.TB, at adaptertest.Wire, e adaptertest.Evidence, topic string, payload []byte) (adapters.Kind, error) {
	response, err := post(at, e, topic, payload)
	if err != nil {
		return 0, err
	}
	kind, ok := kinds[response.StatusCode]
	if !ok {
		t.Errorf("status %s", response.Status)
	}
	if kind == adapters.Unauthenticated && response.Header.Get("Www-Authenticate") == "" {
		t.Error("a 401 without WWW-Authenticate")
	}
	if (kind == adapters.Limited || kind == adapters.Unavailable) && response.Header.Get("Retry-After") == "" {
		t.Error("a 429 or 503 without Retry-After")
	}
	return kind, nil
}

// post sends one request on a connection of its own.
func post(at adaptertest.Wire, e adaptertest.Evidence, topic string, payload []byte) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: at.Addr}
	if at.TLS != nil {
		u.Scheme = "https"
	}
	levels := strings.Split(topic, "/")
	for i := range levels {
		levels[i] = url.PathEscape(levels[i])
	}
	target := u.String() + "/http/" + strings.Join(levels, "/")
	if e.Query != "" {
		target += "?authorization=" + url.QueryEscape("Client "+e.Query)
	}
	r, err := http.NewRequest(http.MethodPost, target, bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	switch {
	case e.DeviceID != "":
		r.SetBasicAuth(e.DeviceID, e.Secret)
	case e.Secret != "":
		r.Header.Set("Authorization", "Client "+e.Secret)
	}
	transport := &http.Transport{TLSClientConfig: at.TLS}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close() // read to its end
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	if e.Secret != "" && bytes.Contains(body, []byte(e.Secret)) {
		return nil, fmt.Errorf("the answer holds the secret: %s", body)
	}
	return response, nil
}
