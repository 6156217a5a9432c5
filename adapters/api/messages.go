package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/messaging/senml"
	"github.com/postern-io/postern/registry"
)

const (
	// heartbeat keeps proxies from taking a quiet stream for a dead one.
	heartbeat = 15 * time.Second
	// writeTime bounds how long a reader who takes nothing is waited for.
	writeTime = 5 * time.Second
)

// A Messenger carries what people say and hear, as *adapters.Persons does.
type Messenger interface {
	Speak(ctx context.Context, who authn.Person, topic string, m *messaging.Message) (seq uint64, err error)
	Listen(ctx context.Context, what adapters.Listening) (*adapters.Listener, error)
}

func (s *Server) publishMessage(ctx context.Context, c *call) (answer, error) {
	var in NewMessage
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	payload := []byte(in.Payload)
	if in.PayloadBase64 != "" {
		var err error
		if payload, err = base64.StdEncoding.DecodeString(in.PayloadBase64); err != nil || in.Payload != "" {
			return answer{}, &registry.InvalidError{Field: "payload_base64", Reason: "must be base64, and stand instead of payload"}
		}
	}
	if len(payload) == 0 {
		return answer{}, &registry.InvalidError{Field: "payload", Reason: "must not be empty"}
	}
	if err := senml.Check(in.ContentType, payload); err != nil {
		return answer{}, &registry.InvalidError{Field: "payload", Reason: "is not what its content type says: " + err.Error()}
	}
	ch, err := s.Registry.Channel(ctx, c.domain, c.channel())
	if err != nil {
		return answer{}, err
	}
	topic := messaging.Topic{Domain: string(c.domain), Channel: string(ch.ID), Subtopic: in.Subtopic}.String()
	seq, err := s.Messages.Speak(ctx, c.person, topic, &messaging.Message{Payload: payload, ContentType: in.ContentType, QoS: 1})
	if err != nil {
		return answer{}, ofSubtopic(err)
	}
	return ok(Published{Sequence: int64(seq), Stored: seq > 0, Topic: topic})
}

// ofSubtopic says which field a wrong topic came by.
func ofSubtopic(err error) error {
	var topic *messaging.InvalidTopicError
	if errors.As(err, &topic) {
		return &registry.InvalidError{Field: "subtopic", Reason: "is wrong: " + topic.Reason}
	}
	return err
}

// listenChannel streams what is said on a channel. Who asks is found out again
// from the same request whenever that may have changed.
func (s *Server) listenChannel(ctx context.Context, c *call) (answer, error) {
	ch, err := s.Registry.Channel(ctx, c.domain, c.channel())
	if err != nil {
		return answer{}, err
	}
	v := c.request.URL.Query()
	publisher := v.Get("publisher")
	if publisher != "" {
		if publisher, err = registry.ParseID(publisher); err != nil {
			return answer{}, &registry.InvalidError{Field: "publisher", Reason: "must be the id of a client"}
		}
	}
	l, err := s.Messages.Listen(ctx, adapters.Listening{
		Domain: string(c.domain), Channel: string(ch.ID), Subtopic: v.Get("subtopic"), Publisher: publisher,
		Who: func(ctx context.Context) (authn.Person, error) {
			again := &call{request: c.request, id: c.id, from: c.from, route: c.route}
			err := s.admit(ctx, c.route, again)
			return again.person, err
		},
	})
	if err != nil {
		return answer{}, ofSubtopic(err)
	}
	return answer{status: http.StatusOK, stream: func(ctx context.Context, w http.ResponseWriter) {
		defer l.Close()
		log := s.Log.With("request", c.id, "user", c.by(), "channel", ch.ID)
		log.Info("person listens")
		told, err := tellHeard(ctx, w, l)
		log.Info("person listens no more", "reason", adapters.ReasonOf(err), "messages", told)
	}}, nil
}

// tellHeard writes what l hears until one side ends, as server-sent events.
func tellHeard(ctx context.Context, w http.ResponseWriter, l *adapters.Listener) (told int, err error) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep it until it is much
	w.WriteHeader(http.StatusOK)
	to := http.NewResponseController(w)
	write := func(text string) error {
		// A writer without deadlines, as in a test, bounds itself.
		_ = to.SetWriteDeadline(time.Now().Add(writeTime))
		if _, err := w.Write([]byte(text)); err != nil {
			return err
		}
		return to.Flush()
	}
	err = write(": listening\n\n")
	for err == nil {
		var h adapters.Heard
		h, err = next(ctx, l)
		switch {
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			err = write(": still here\n\n")
			continue
		case ctx.Err() != nil:
			return told, ctx.Err() // the reader left
		case err != nil:
			_ = write(event("end", ended(err))) // it is the end anyhow
			return told, err
		}
		if h.Dropped > 0 {
			err = write(event("dropped", map[string]int{"dropped": h.Dropped}))
		}
		if err == nil {
			err = write(event("", heardOf(h)))
			told++
		}
	}
	return told, err
}

// next waits for a message no longer than a heartbeat.
func next(ctx context.Context, l *adapters.Listener) (adapters.Heard, error) {
	ctx, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	return l.Next(ctx)
}

// event writes one event; JSON holds no line break.
func event(name string, data any) string {
	text, err := json.Marshal(data)
	if err != nil {
		text = []byte("null") // our own types are all JSON
	}
	if name != "" {
		name = "event: " + name + "\n"
	}
	return name + "data: " + string(text) + "\n\n"
}

// ended is what the reader is told at the end. They were let in, so they may
// know why they no longer are.
func ended(err error) map[string]string {
	return map[string]string{"reason": string(adapters.ReasonOf(err)), "message": problemOf(http.MethodGet, err).message}
}

func heardOf(h adapters.Heard) ChannelMessage {
	m := ChannelMessage{
		Time: h.Created, Subtopic: h.Topic.Subtopic, Publisher: h.Publisher, Protocol: h.Protocol, Sequence: int64(h.Sequence),
		ContentType: h.ContentType, Size: h.Size, Truncated: len(h.Payload) < h.Size,
	}
	if h.Text {
		m.Payload = string(h.Payload)
	} else {
		m.PayloadBase64 = base64.StdEncoding.EncodeToString(h.Payload)
	}
	return m
}
