package pages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/postern-io/postern/adapters/api"
)

// What the API answers.
type (
	user    = api.User
	domain  = api.Domain
	device  = api.Client
	channel = api.Channel
)

// A Refusal is what the API said instead of yes.
type Refusal struct {
	Status     int
	Word       string // such as record_invalid
	Message    string // a sentence
	Field      string // of the form; "": it is about none
	RequestID  string
	RetryAfter string // seconds
}

func (r *Refusal) Error() string { return r.Message }

func (r *Refusal) title() string {
	switch r.Status {
	case http.StatusNotFound:
		return "Not found"
	case http.StatusForbidden:
		return "Not allowed"
	case http.StatusTooManyRequests:
		return "Too many requests"
	case http.StatusServiceUnavailable:
		return "Not available now"
	}
	return "That did not work"
}

// Mends reports whether the person can put it right in the form that was sent.
func (r *Refusal) mends() bool {
	switch r.Status {
	case http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return true
	}
	return false
}

// ask calls the API as this browser: path is below /api, in is sent as JSON
// unless nil, and the answer is read into out unless nil. What the API refuses
// is a *Refusal.
func (v *visit) ask(method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("ask the API: %w", err)
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(v.r.Context(), method, "/api"+path, body)
	if err != nil {
		return fmt.Errorf("ask the API: %w", err)
	}
	// Who asks, and from where, is what the browser's own request says. The
	// body is ours, and so is its type.
	r.Header, r.Host, r.RemoteAddr, r.TLS = v.r.Header.Clone(), v.r.Host, v.r.RemoteAddr, v.r.TLS
	for _, name := range []string{"Content-Type", "Content-Length", "Content-Encoding", "Range", "If-None-Match", "If-Modified-Since", "Accept-Encoding"} {
		r.Header.Del(name)
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer := &reply{header: http.Header{}, status: http.StatusOK}
	v.s.API.ServeHTTP(answer, r)
	if answer.status >= http.StatusBadRequest {
		var e api.Error
		if err := json.Unmarshal(answer.body.Bytes(), &e); err != nil {
			return fmt.Errorf("ask the API: %s %s answered %d: %w", method, path, answer.status, err)
		}
		return &Refusal{
			Status: answer.status, Word: string(e.Error), Message: e.Message, Field: e.Field, RequestID: e.RequestID,
			RetryAfter: answer.header.Get("Retry-After"),
		}
	}
	if out == nil || answer.body.Len() == 0 {
		return nil
	}
	if err := json.Unmarshal(answer.body.Bytes(), out); err != nil {
		return fmt.Errorf("ask the API: read the answer of %s %s: %w", method, path, err)
	}
	return nil
}

// reply is a ResponseWriter that keeps what is written.
type reply struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *reply) Header() http.Header         { return r.header }
func (r *reply) WriteHeader(status int)      { r.status = status }
func (r *reply) Write(p []byte) (int, error) { return r.body.Write(p) }
