package httpd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/adapters/httpd"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

const both = registry.Publish | registry.Subscribe

// open serves a door in a fresh world and returns its address.
func open(t testing.TB, edit func(*httpd.Server)) (*adaptertest.World, *httpd.Server, string) {
	t.Helper()
	w := adaptertest.NewWorld(t, false)
	door := &httpd.Server{Gateway: w.Gateway, Log: w.Log, MaxPayload: 1000, BodyTimeout: 5 * time.Second}
	if edit != nil {
		edit(door)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, door)
	return w, door, l.Addr().String()
}

// send writes a request as it stands and reads the answer.
func send(t testing.TB, addr, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // fails only on a closed one
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func TestAnswers(t *testing.T) {
	w, _, addr := open(t, nil)
	d := w.NewDevice(t, both)
	path := "/http/" + adaptertest.Topic(w.Channel, "")
	client := "Authorization: Client " + d.Secret + "\r\n"
	long := strings.Repeat("x", 1001)
	tests := []struct {
		name, line, headers, body string
		want                      int
		word                      string
	}{
		{"takes POST", "POST " + path, client, "x", 202, ""},
		{"takes any case of the scheme", "POST " + path, "authorization: cLIENT   " + d.Secret + "\r\n", "x", 202, ""},
		{"takes the largest body", "POST " + path, client, long[1:], 202, ""},
		{"takes a chunked body", "POST " + path, client + "Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\n\r\n", 202, ""},
		{"takes dots as levels", "POST " + path + "/a/../b", client, "x", 202, ""},
		{"takes a slash behind the channel", "POST " + path + "/", client, "x", 202, ""},
		{"takes empty levels", "POST " + path + "//a", client, "x", 202, ""},
		{"takes another query", "POST " + path + "?x=1", client, "x", 202, ""},
		{"takes valid SenML", "POST " + path, client + "Content-Type: application/senml+json\r\n", `[{"n":"a","v":1}]`, 202, ""},
		{"refuses GET", "GET " + path, client, "", 405, "method_not_allowed"},
		{"refuses PUT", "PUT " + path, client, "x", 405, "method_not_allowed"},
		{"refuses an empty body", "POST " + path, client, "", 400, "invalid_content"},
		{"refuses a body beyond the limit", "POST " + path, client, long, 413, "too_large"},
		{"refuses a chunked body beyond the limit", "POST " + path, client + "Transfer-Encoding: chunked\r\n", "3e9\r\n" + long + "\r\n0\r\n\r\n", 413, "too_large"},
		{"refuses a broken chunk", "POST " + path, client + "Transfer-Encoding: chunked\r\n", "zz\r\nx\r\n", 400, "invalid_request"},
		{"refuses an encoding", "POST " + path, client + "Content-Encoding: gzip\r\n", "x", 415, "unsupported_media_type"},
		{"refuses an encoded slash", "POST " + path + "/a%2Fb", client, "x", 400, "invalid_topic"},
		{"refuses an encoded NUL", "POST " + path + "/a%00b", client, "x", 400, "invalid_topic"},
		{"refuses invalid UTF-8", "POST " + path + "/%ff", client, "x", 400, "invalid_topic"},
		{"refuses a wildcard", "POST " + path + "/%23", client, "x", 400, "invalid_topic"},
		{"refuses an encoded channel of another spelling", "POST /http/m/home/c/%2e%2e", client, "x", 403, "unauthorized_access"},
		{"refuses another path", "POST /http/x", client, "x", 400, "invalid_topic"},
		{"refuses broken SenML", "POST " + path, client + "Content-Type: application/senml+json\r\n", `[{"n":"a","v":1},{"n":"b"}]`, 400, "invalid_content"},
		{"refuses no credential", "POST " + path, "", "x", 401, "unauthenticated"},
		{"refuses an empty credential", "POST " + path, "Authorization: Client\r\n", "x", 401, "unauthenticated"},
		{"refuses a secret without its scheme", "POST " + path, "Authorization: " + d.Secret + "\r\n", "x", 401, "unauthenticated"},
		{"refuses another scheme", "POST " + path, "Authorization: Digest " + d.Secret + "\r\n", "x", 401, "unauthenticated"},
		{"refuses broken Basic", "POST " + path, "Authorization: Basic !!!\r\n", "x", 401, "unauthenticated"},
		{"refuses two headers, be they alike", "POST " + path, client + client, "x", 401, "unauthenticated"},
		{"refuses a query even when it is right", "POST " + path + "?authorization=" + d.Secret, client, "x", 401, "unauthenticated"},
		{"refuses a query alone", "POST " + path + "?authorization=" + d.Secret, "", "x", 401, "unauthenticated"},
		{"refuses a query of another case", "POST " + path + "?Authorization=" + d.Secret, client, "x", 401, "unauthenticated"},
		{"refuses a query that is hidden by bad encoding", "POST " + path + "?authorization=" + d.Secret + "&%zz", client, "x", 401, "unauthenticated"},
		{"refuses a person where none is expected", "POST " + path, "Authorization: Bearer abc\r\n", "x", 401, "unauthenticated"},
		{"refuses a person and a device", "POST " + path, client + "Authorization: Bearer abc\r\n", "x", 401, "unauthenticated"},
	}
	for _, tt := range tests {
		t.Run("it "+tt.name, func(t *testing.T) {
			length := fmt.Sprintf("Content-Length: %d\r\n", len(tt.body))
			if strings.Contains(tt.headers, "chunked") {
				length = ""
			}
			response, body := send(t, addr, tt.line+" HTTP/1.1\r\nHost: x\r\n"+tt.headers+length+"\r\n"+tt.body)
			if response.StatusCode != tt.want {
				t.Fatalf("got %s, want %d: %s", response.Status, tt.want, body)
			}
			if strings.Contains(body, d.Secret) {
				t.Error("the answer holds the secret")
			}
			if tt.want == 202 {
				if seq, err := strconv.ParseUint(response.Header.Get("Nats-Sequence"), 10, 64); err != nil || seq == 0 || body != "" {
					t.Errorf("Nats-Sequence %q, body %q", response.Header.Get("Nats-Sequence"), body)
				}
				return
			}
			var problem struct {
				Error     string
				Message   string
				RequestID string `json:"request_id"`
			}
			if err := json.Unmarshal([]byte(body), &problem); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if problem.Error != tt.word || problem.Message == "" || problem.RequestID == "" || problem.RequestID != response.Header.Get("X-Request-Id") {
				t.Errorf("got %+v, want error %q and a request id", problem, tt.word)
			}
			if tt.want == 405 && response.Header.Get("Allow") != "POST" {
				t.Errorf("Allow is %q", response.Header.Get("Allow"))
			}
			if tt.name == "refuses broken SenML" && !strings.Contains(problem.Message, "record 1") {
				t.Errorf("the message %q does not name record 1", problem.Message)
			}
		})
	}
}

func TestContentTypeIsCarried(t *testing.T) {
	w, _, addr := open(t, nil)
	d := w.NewDevice(t, both)
	got := make(chan *messaging.Message, 1)
	if _, err := w.Bus.Subscribe(messaging.Filter{Domain: string(w.Domain.ID), Channel: string(w.Channel.ID), Subtopic: "#"},
		func(m *messaging.Message) { got <- m }); err != nil {
		t.Fatal(err)
	}
	response, _ := send(t, addr, "POST /http/m/home/c/stored/a%20b/c.d HTTP/1.1\r\nHost: x\r\nAuthorization: Client "+d.Secret+"\r\n"+
		"Content-Type: text/x; y=1\r\nContent-Length: 1\r\n\r\nx")
	select {
	case m := <-got:
		want := messaging.Topic{Domain: string(w.Domain.ID), Channel: string(w.Channel.ID), Subtopic: "a b/c.d"}
		if m.Topic != want || m.ContentType != "text/x; y=1" || m.Publisher != string(d.ID) || fmt.Sprint(m.Sequence) != response.Header.Get("Nats-Sequence") {
			t.Errorf("got %+v", m)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("nothing came (%s)", response.Status)
	}
}

// TestSlowBody has a body that stops halfway: the request ends by the door's
// time, whether the device was let in or not.
func TestSlowBody(t *testing.T) {
	w, _, addr := open(t, func(s *httpd.Server) { s.BodyTimeout = 100 * time.Millisecond })
	d := w.NewDevice(t, both)
	for secret, want := range map[string]int{d.Secret: 408, "wrong-wrong-wrong": 401} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // fails only on a closed one
		if _, err := fmt.Fprintf(conn, "POST /http/m/home/c/stored HTTP/1.1\r\nHost: x\r\nAuthorization: Client %s\r\nContent-Length: 100\r\n\r\nx", secret); err != nil {
			t.Fatal(err)
		}
		reader := bufio.NewReader(conn)
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != want {
			t.Errorf("got %s, want %d", response.Status, want)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Error(err)
		}
		if _, err := reader.ReadByte(); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
			t.Errorf("the connection stays open (%v)", err)
		}
	}
}

type people struct{ topic, token string }

func (p *people) PublishAs(_ context.Context, token, _, topic string, m *messaging.Message) (uint64, error) {
	p.token, p.topic = token, topic
	if string(m.Payload) != "hello" {
		return 0, errors.New("another payload")
	}
	return 7, nil
}

func TestPeoplePublish(t *testing.T) {
	p := &people{}
	_, _, addr := open(t, func(s *httpd.Server) { s.People = p })
	response, body := send(t, addr, "POST /http/m/home/c/stored HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer abc\r\nContent-Length: 5\r\n\r\nhello")
	if response.StatusCode != 202 || response.Header.Get("Nats-Sequence") != "7" || *p != (people{"m/home/c/stored", "abc"}) {
		t.Errorf("got %s %s, asked %+v", response.Status, body, *p)
	}
	// An error that nobody expected says nothing of itself.
	response, body = send(t, addr, "POST /http/m/home/c/stored HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer abc\r\nContent-Length: 5\r\n\r\nother")
	if response.StatusCode != 500 || strings.Contains(body, "another payload") {
		t.Errorf("got %s %s", response.Status, body)
	}
}

func TestTooManyAtOnce(t *testing.T) {
	w, _, addr := open(t, func(s *httpd.Server) { s.MaxRequests = 1 })
	d := w.NewDevice(t, both)
	first, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	// "100 Continue" comes when the door reads the body: it is inside then.
	if _, err := fmt.Fprintf(first, "POST /http/m/home/c/stored HTTP/1.1\r\nHost: x\r\nAuthorization: Client %s\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", d.Secret); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(first)
	if line, err := reader.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("got %q, %v", line, err)
	}
	response, _ := send(t, addr, "POST /http/m/home/c/stored HTTP/1.1\r\nHost: x\r\nAuthorization: Client "+d.Secret+"\r\nContent-Length: 1\r\n\r\nx")
	if response.StatusCode != 429 || response.Header.Get("Retry-After") == "" {
		t.Errorf("got %s, Retry-After %q", response.Status, response.Header.Get("Retry-After"))
	}
}

func TestShutdown(t *testing.T) {
	w, door, addr := open(t, nil)
	d := w.NewDevice(t, both)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST /http/m/home/c/stored HTTP/1.1\r\nHost: x\r\nAuthorization: Client %s\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", d.Secret); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n"} {
		if line, err := reader.ReadString('\n'); err != nil || line != want {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	down := make(chan error, 1)
	go func() { down <- door.Shutdown(t.Context()) }()
	for { // until the door has begun to close
		response, _ := send(t, addr, "POST /http/m/home/c/stored HTTP/1.1\r\nHost: x\r\nAuthorization: Client "+d.Secret+"\r\nContent-Length: 1\r\n\r\nx")
		if response.StatusCode == 503 {
			break
		}
	}
	select {
	case <-down:
		t.Error("Shutdown did not wait for the request inside")
	default:
	}
	if _, err := io.WriteString(conn, "x"); err != nil {
		t.Fatal(err)
	}
	if response, err := http.ReadResponse(reader, nil); err != nil || response.StatusCode != 202 {
		t.Errorf("the request inside: %v, %v", response, err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// FuzzTopic holds that a path cannot make a topic of other levels than it
// shows, and that what is a topic comes out as itself.
func FuzzTopic(f *testing.F) {
	f.Add("/http/m/d/c/c/a%2Fb")
	f.Add("/http/m/d/c/c/%2e%2e/x?y#z")
	f.Add("/http//m%00")
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		topic, err := httpd.Topic(u, "/http/")
		if err != nil {
			if adapters.KindOf(err) != adapters.InvalidTopic {
				t.Fatalf("%q: %v", path, err)
			}
			return
		}
		shown := u.EscapedPath()
		if strings.Count(shown, "/") == 6 { // a slash behind the channel says nothing
			shown = strings.TrimSuffix(shown, "/")
		}
		if strings.Count(topic, "/") != strings.Count(shown, "/")-2 {
			t.Fatalf("%q has other levels than %q", path, topic)
		}
	})
}

func FuzzEvidence(f *testing.F) {
	f.Add("Client abc", "authorization=Client%20abc")
	f.Add("Basic YTpi", "Authorization=x;y")
	f.Fuzz(func(t *testing.T, header, query string) {
		r := &http.Request{Header: http.Header{"Authorization": {header}}, URL: &url.URL{RawQuery: query}}
		e := httpd.ReadEvidence(r, "ws", true)
		if !e.Secret.IsZero() && !strings.Contains(header+query, "=") && !strings.Contains(header, e.Secret.Reveal()) {
			t.Fatalf("a secret came from nowhere: %q %q", header, query)
		}
	})
}
