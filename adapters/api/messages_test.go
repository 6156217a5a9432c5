package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

// talk carries messages over a bus that starts when somebody first speaks or
// listens. Unless it is to keep them, it ends all listening as soon as it began,
// because a recorder cannot leave.
type talk struct {
	site     *site
	channels *authz.Channels
	keep     bool

	mu      sync.Mutex
	persons *adapters.Persons
}

func (k *talk) start() (*adapters.Persons, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.persons != nil {
		return k.persons, nil
	}
	t := k.site.t
	bus, err := messaging.Open(context.Background(), messaging.Config{Embedded: messaging.EmbeddedConfig{DataDir: t.TempDir()}})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := bus.Close(ctx); err != nil {
			t.Errorf("close the bus: %v", err)
		}
	})
	k.persons = &adapters.Persons{Users: k.site.api.Users, People: k.site.api.People, Channels: k.channels, Bus: bus, Now: time.Now}
	return k.persons, nil
}

func (k *talk) changed(changes []registry.Change) {
	for _, c := range changes {
		k.channels.Changed(c)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.persons != nil {
		k.persons.Changed(changes)
	}
}

func (k *talk) Speak(ctx context.Context, who authn.Person, topic string, m *messaging.Message) (uint64, error) {
	p, err := k.start()
	if err != nil {
		return 0, err
	}
	return p.Speak(ctx, who, topic, m)
}

func (k *talk) Listen(ctx context.Context, what adapters.Listening) (*adapters.Listener, error) {
	p, err := k.start()
	if err != nil {
		return nil, err
	}
	l, err := p.Listen(ctx, what)
	if err == nil && !k.keep {
		p.Close()
	}
	return l, err
}

// A stream is an answer that is being read.
type stream struct {
	*http.Response
	events chan sent // closed at its end
	server *httptest.Server
}

type sent struct{ name, data string }

// open asks for messages over a socket, as a browser does.
func (s *site) open(path, token string) *stream {
	s.t.Helper()
	s.talk.keep = true
	server := httptest.NewServer(s.handler)
	s.t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(s.t.Context())
	s.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/api"+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 {
		text, _ := io.ReadAll(resp.Body)
		s.t.Fatalf("listen: %d %s", resp.StatusCode, text)
	}
	st := &stream{resp, make(chan sent, 1000), server}
	go func() {
		defer close(st.events)
		var e sent
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			key, value, _ := strings.Cut(lines.Text(), ": ")
			switch key {
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				if e.data != "" {
					st.events <- e
				}
				e = sent{}
			}
		}
	}()
	return st
}

// next is the next event, or none at the end.
func (st *stream) next(t testing.TB) (sent, bool) {
	t.Helper()
	select {
	case e, more := <-st.events:
		return e, more
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		return sent{}, false
	}
}

func (st *stream) message(t testing.TB) ChannelMessage {
	t.Helper()
	e, more := st.next(t)
	var m ChannelMessage
	if err := json.Unmarshal([]byte(e.data), &m); !more || e.name != "" || err != nil {
		t.Fatalf("got %+v, %v, want a message", e, err)
	}
	return m
}

func (s *site) say(subtopic, payload string) *httptest.ResponseRecorder {
	return s.do("POST", "/"+string(s.domain.ID)+"/channels/"+string(s.channel.ID)+"/messages", s.owner, object{"subtopic": subtopic, "payload": payload})
}

func (s *site) messages() string {
	return "/" + string(s.domain.ID) + "/channels/" + string(s.channel.ID) + "/messages"
}

func TestListeningHearsWhatIsSaid(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	st := s.open(s.messages()+"?subtopic=a/%2B", s.viewer)
	if got := st.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("it is %q", got)
	}
	s.say("b", "not asked for")
	evil := "</script>\n<b>\u2028é\x00"
	w := s.say("a/x", evil)
	said := decode[Published](t, w)
	if w.Code != 200 || !said.Stored || said.Sequence == 0 || !strings.HasSuffix(said.Topic, "/a/x") {
		t.Fatalf("publish: %d %s", w.Code, w.Body)
	}
	m := st.message(t)
	if m.Payload != evil || m.Subtopic != "a/x" || m.Publisher != "user:"+string(s.users["owner"].ID) || m.Sequence != said.Sequence || m.Size != len(evil) || m.Time.IsZero() {
		t.Errorf("got %+v", m)
	}
	s.do("POST", s.messages(), s.owner, object{"subtopic": "a/y", "payload_base64": "/wA="})
	if m := st.message(t); m.PayloadBase64 != "/wA=" || m.Payload != "" || m.Size != 2 {
		t.Errorf("bytes: got %+v", m)
	}
	s.say("a/z", "x"+strings.Repeat("é", 40<<10)) // the bound lies within a character
	if m := st.message(t); !m.Truncated || m.Size != 80<<10+1 || len(m.Payload) != adapters.MaxHeard-1 {
		t.Errorf("a long one: got %d bytes of %d, cut: %v", len(m.Payload), m.Size, m.Truncated)
	}
	s.talk.persons.Close()
	st.server.Close() // waits for the stream, and with it for the log
	if log := s.log.String(); strings.Contains(log, "not asked for") || !strings.Contains(log, "person listens no more") {
		t.Error("a payload stands in the log, or the end does not")
	}
}

func TestPublishRefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, test := range map[string]struct {
		body  object
		field string
	}{
		"nothing":       {object{}, "payload"},
		"a wildcard":    {object{"payload": "x", "subtopic": "a/#"}, "subtopic"},
		"a broken pack": {object{"payload": "[{", "content_type": "application/senml+json"}, "payload"},
		"no base64":     {object{"payload_base64": "*"}, "payload_base64"},
		"two payloads":  {object{"payload_base64": "eA==", "payload": "x"}, "payload_base64"},
	} {
		if w := s.do("POST", s.messages(), s.owner, test.body); w.Code != 400 || decode[Error](t, w).Field != test.field {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
	if w := s.do("POST", s.messages(), s.viewer, object{"payload": "x"}); w.Code != 403 {
		t.Errorf("a viewer: got %d %s", w.Code, w.Body)
	}
}

// TestListeningEnds is promise 4: whatever takes the right away ends the stream,
// and nothing that is said after is told.
func TestListeningEnds(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, test := range map[string]struct {
		change func(*site, registry.User) error
		want   registry.Reason
	}{
		"the user is disabled": {func(s *site, u registry.User) error {
			_, err := s.api.Registry.UpdateUser(ctx, "", u.ID, func(u *registry.User) error { u.Status = registry.Disabled; return nil })
			return err
		}, registry.ReasonTokenInvalid},
		"the user is deleted": {func(s *site, u registry.User) error {
			_, err := s.api.Registry.UpdateUser(ctx, "", u.ID, func(u *registry.User) error { u.Status = registry.Deleted; return nil })
			return err
		}, registry.ReasonTokenInvalid},
		"the sign-in is ended": {func(s *site, u registry.User) error {
			return s.api.Registry.RevokeSessions(ctx, u.ID, "")
		}, registry.ReasonTokenInvalid},
		"the member is removed": {func(s *site, u registry.User) error {
			return s.api.Registry.RemoveMember(ctx, s.domain.ID, u.ID, func(registry.Membership) error { return nil })
		}, registry.ReasonRole},
		"the domain is disabled": {func(s *site, u registry.User) error {
			_, err := s.api.Registry.UpdateDomain(ctx, "", s.domain.ID, func(d *registry.Domain) error { d.Status = registry.Disabled; return nil })
			return err
		}, registry.ReasonDomainDisabled},
		"the domain is frozen": {func(s *site, u registry.User) error {
			_, err := s.api.Registry.UpdateDomain(ctx, "", s.domain.ID, func(d *registry.Domain) error { d.Status = registry.Frozen; return nil })
			return err
		}, registry.ReasonDomainFrozen},
		"the domain is deleted": {func(s *site, u registry.User) error {
			return s.api.Registry.DeleteDomain(ctx, s.domain.ID)
		}, registry.ReasonRole},
		"the channel is disabled": {func(s *site, u registry.User) error {
			_, err := s.api.Registry.UpdateChannel(ctx, "", s.domain.ID, s.channel.ID, func(c *registry.Channel) error { c.Status = registry.Disabled; return nil })
			return err
		}, registry.ReasonChannelDisabled},
		"the channel is deleted": {func(s *site, u registry.User) error {
			return s.api.Registry.DeleteChannel(ctx, s.domain.ID, s.channel.ID)
		}, registry.ReasonChannelUnknown},
		"the server stops": {func(s *site, u registry.User) error {
			s.talk.persons.Close()
			return nil
		}, registry.ReasonUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			u := s.user("member", registry.NoRole)
			s.users["member"] = u
			s.join("member", registry.Viewer)
			st := s.open(s.messages(), s.signIn(u.ID).Access)
			s.say("", "before")
			if m := st.message(t); m.Payload != "before" {
				t.Fatalf("got %+v", m)
			}
			topic := messaging.Topic{Domain: string(s.domain.ID), Channel: string(s.channel.ID)}
			if err := test.change(s, u); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			said := make(chan error, 1) // whatever the channel has become, the bus carries it
			s.talk.persons.Bus.Lane("x").Publish(&messaging.Message{Topic: topic, Payload: []byte("after")}, false, func(_ uint64, err error) { said <- err })
			if err := <-said; err != nil {
				t.Fatal(err)
			}
			e, _ := st.next(t)
			if e.name != "end" || !strings.Contains(e.data, `"`+string(test.want)+`"`) {
				t.Errorf("got %+v, want the end for %s", e, test.want)
			}
			if e, more := st.next(t); more {
				t.Errorf("after the end came %+v", e)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestListeningOutlivesWhatDoesNotConcernIt: somebody else's change, and a new
// name of the channel.
func TestListeningOutlivesOtherChanges(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	st := s.open(s.messages(), s.viewer)
	s.do("PATCH", "/users/"+string(s.users["editor"].ID)+"/role", s.owner, object{"role": "viewer"})
	s.do("PATCH", strings.TrimSuffix(s.messages(), "/messages"), s.owner, object{"name": "other", "route": "other"})
	s.do("PATCH", "/users/"+string(s.users["viewer"].ID)+"/role", s.owner, object{"role": "editor"})
	s.say("", "still")
	if m := st.message(t); m.Payload != "still" {
		t.Errorf("got %+v", m)
	}
	if _, err := s.api.Registry.UpdateUser(t.Context(), "", s.users["viewer"].ID, func(u *registry.User) error { u.Role = registry.NoRole; return nil }); err != nil {
		t.Fatal(err)
	}
	if e, _ := st.next(t); e.name != "end" || !strings.Contains(e.data, string(registry.ReasonRole)) {
		t.Errorf("demoted by the platform: got %+v", e)
	}
}

// TestListeningEndsWithTheToken: not when the sign-in ends, and an API key when
// it is revoked.
func TestListeningEndsWithTheToken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	signer := *s.api.Users.Tokens
	s.api.Users.Tokens = &signer
	signer.Life = 1500 * time.Millisecond // JWT counts in seconds
	st := s.open(s.messages(), s.signIn(s.users["viewer"].ID).Access)
	if e, _ := st.next(t); e.name != "end" || !strings.Contains(e.data, string(registry.ReasonTokenExpired)) {
		t.Errorf("got %+v", e)
	}
	key := s.apiKey("viewer", registry.Viewer)
	st = s.open(s.messages(), key.text)
	if err := s.api.Registry.RevokeAPIKey(t.Context(), s.users["viewer"].ID, key.ID); err != nil {
		t.Fatal(err)
	}
	if e, _ := st.next(t); e.name != "end" || !strings.Contains(e.data, string(registry.ReasonKeyInvalid)) {
		t.Errorf("got %+v", e)
	}
}

// listen asks for messages and leaves at once when there is no refusal.
func (s *site) listen(path, token string) *httptest.ResponseRecorder {
	s.t.Helper()
	began := make(chan struct{})
	ctx, cancel := context.WithCancel(s.t.Context())
	s.t.Cleanup(cancel)
	w := &beginning{ResponseRecorder: httptest.NewRecorder(), began: began}
	r := httptest.NewRequestWithContext(ctx, "GET", "/api"+path, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	ended := make(chan struct{})
	go func() { defer close(ended); s.handler.ServeHTTP(w, r) }()
	s.t.Cleanup(func() { cancel(); <-ended })
	select {
	case <-began:
		return httptest.NewRecorder()
	case <-ended:
		return w.ResponseRecorder
	}
}

// A beginning tells when something was flushed.
type beginning struct {
	*httptest.ResponseRecorder
	once  sync.Once
	began chan struct{}
}

func (b *beginning) Flush() { b.once.Do(func() { close(b.began) }) }

func TestNobodyListensTooOften(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.talk.keep = true
	for i := range 10 {
		if w := s.listen(s.messages(), s.viewer); w.Code != 200 {
			t.Fatalf("the %dth: %d %s", i+1, w.Code, w.Body)
		}
	}
	if w := s.listen(s.messages(), s.viewer); w.Code != 429 {
		t.Errorf("the 11th: got %d", w.Code)
	}
	if w := s.listen(s.messages(), s.editor); w.Code != 200 {
		t.Errorf("another: got %d %s", w.Code, w.Body)
	}
}

func TestMatrixTellsTheNamedAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	other, elsewhere := s.newClient(), s.newChannel()
	link := func(d registry.DeviceID, c registry.ChannelID, r registry.Rights) {
		t.Helper()
		if err := s.api.Registry.Connect(t.Context(), s.domain.ID, []registry.DeviceID{d}, []registry.ChannelID{c}, r); err != nil {
			t.Fatal(err)
		}
	}
	link(s.client.ID, s.channel.ID, registry.Publish)
	link(other.ID, s.channel.ID, registry.Publish|registry.Subscribe)
	link(other.ID, elsewhere.ID, registry.Subscribe)
	at := "/" + string(s.domain.ID) + "/connections?channel=" + string(s.channel.ID) + "&client=" + string(other.ID)
	if p := decode[ConnectionPage](t, s.do("GET", at, s.viewer, nil)); p.Total != 1 || p.Connections[0].ClientID != string(other.ID) || len(p.Connections[0].Types) != 2 {
		t.Errorf("got %+v", p)
	}
	if p := decode[ConnectionPage](t, s.do("GET", at+"&client="+string(s.client.ID)+"&channel="+string(elsewhere.ID), s.viewer, nil)); p.Total != 3 {
		t.Errorf("got %+v", p)
	}
	theirs, err := s.api.Registry.CreateDomain(t.Context(), "", registry.Domain{Name: "theirs"})
	if err != nil {
		t.Fatal(err)
	}
	if p := decode[ConnectionPage](t, s.do("GET", strings.Replace(at, string(s.domain.ID), string(theirs.ID), 1), s.viewer, nil)); p.Total != 0 {
		t.Errorf("another domain's: %+v", p)
	}
	if w := s.do("GET", at+strings.Repeat("&client="+string(other.ID), 100), s.viewer, nil); w.Code != 400 {
		t.Errorf("too many: got %d", w.Code)
	}
}

func TestSetConnections(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	at := "/" + string(s.domain.ID) + "/connections"
	type link = map[string]any
	set := func(links ...link) *httptest.ResponseRecorder {
		return s.do("PATCH", at, s.owner, link{"connections": links})
	}
	with := func(types ...string) link {
		return link{"client_id": s.client.ID, "channel_id": s.channel.ID, "types": append([]string{}, types...)}
	}
	rights := func() registry.Rights {
		t.Helper()
		got, err := s.api.Registry.Rights(t.Context(), s.client.ID, s.channel.ID)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, want := range []registry.Rights{registry.Publish | registry.Subscribe, registry.Subscribe, registry.Publish, 0} {
		if w := set(with(want.Names()...)); w.Code != 204 || rights() != want {
			t.Errorf("%v: got %d, and %v", want.Names(), w.Code, rights().Names())
		}
	}
	for field, links := range map[string][]link{
		"connections": {with("publish"), with("subscribe")}, // twice the same
		"types":       {with("listen")},
		"client_id":   {{"client_id": "pump", "channel_id": s.channel.ID, "types": []string{}}},
		"channel_id":  {{"client_id": s.client.ID, "channel_id": "../x", "types": []string{}}},
	} {
		if w := set(links...); w.Code != 400 || !strings.Contains(w.Body.String(), field) {
			t.Errorf("%s: got %d %s", field, w.Code, w.Body)
		}
	}
	if w := s.do("PATCH", at, s.viewer, link{"connections": []link{with("publish")}}); w.Code != 403 || rights() != 0 {
		t.Errorf("a viewer: got %d, and %v", w.Code, rights().Names())
	}
}

// A deaf takes the answer's head and then nothing more, until its deadline.
type deaf struct {
	*httptest.ResponseRecorder
	writes   int
	deadline time.Time
}

func (d *deaf) SetWriteDeadline(t time.Time) error { d.deadline = t; return nil }

func (d *deaf) Write(p []byte) (int, error) {
	if d.writes++; d.writes == 1 {
		return len(p), nil
	}
	if d.deadline.IsZero() {
		select {} // for good
	}
	time.Sleep(time.Until(d.deadline))
	return 0, os.ErrDeadlineExceeded
}

// TestWhoTakesNothingIsLeft: a reader that does not read costs a bounded time,
// and its listener is given back.
func TestWhoTakesNothingIsLeft(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.talk.keep = true
	w := &deaf{ResponseRecorder: httptest.NewRecorder()}
	ended := make(chan struct{})
	began := make(chan struct{})
	go func() {
		defer close(ended)
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/api"+s.messages(), nil)
		r.Header.Set("Authorization", "Bearer "+s.viewer)
		s.handler.ServeHTTP(&announcing{deaf: w, began: began}, r)
	}()
	<-began
	for i := range 300 {
		if w := s.say("", fmt.Sprint(i)); w.Code != 200 {
			t.Fatalf("a deaf listener holds up the bus: %d %s", w.Code, w.Body)
		}
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
	families := prometheus.NewRegistry()
	s.talk.persons.Measure(families)
	all, err := families.Gather()
	if err != nil || len(all) != 2 || all[1].Metric[0].Gauge.GetValue() != 0 {
		t.Errorf("got %v, %v, want no listeners", all, err)
	}
}

// announcing tells when the head is out.
type announcing struct {
	*deaf
	once  sync.Once
	began chan struct{}
}

func (a *announcing) Flush() { a.once.Do(func() { close(a.began) }) }
