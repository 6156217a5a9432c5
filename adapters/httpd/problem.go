package httpd

import (
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/messaging/senml"
)

// A problem is what a stranger is told.
type problem struct {
	status  int
	word    string
	message string
	retry   time.Duration // Retry-After; 0 for none
}

// problems is the table of DESIGN's chapter 4 for HTTP.
var problems = map[adapters.Kind]problem{
	adapters.Unauthenticated: {http.StatusUnauthorized, "unauthenticated", "the credential is missing, wrong or contradicts itself", 0},
	adapters.Revoked:         {http.StatusUnauthorized, "unauthenticated", "the credential is missing, wrong or contradicts itself", 0},
	adapters.Denied:          {http.StatusForbidden, "unauthorized_access", "not allowed on this channel", 0},
	adapters.InvalidTopic:    {http.StatusBadRequest, "invalid_topic", "the path is no topic", 0},
	adapters.InvalidContent:  {http.StatusBadRequest, "invalid_content", "the body is not what its content type says", 0},
	adapters.Invalid:         {http.StatusBadRequest, "invalid_request", "the request breaks a rule", 0},
	adapters.TooLarge:        {http.StatusRequestEntityTooLarge, "too_large", "the message is too large", 0},
	adapters.Limited:         {http.StatusTooManyRequests, "too_many_requests", "too many requests, try again later", time.Second},
	adapters.Unavailable:     {http.StatusServiceUnavailable, "unavailable", "the message cannot be carried now, try again later", 2 * time.Second},
	adapters.Internal:        {http.StatusInternalServerError, "api_resource_error", "something went wrong here", 0},
}

// A statusError is a refusal that HTTP alone knows.
type statusError struct{ problem }

func (e *statusError) Error() string { return e.message }

var (
	errEmpty    = &statusError{problem{http.StatusBadRequest, "invalid_content", "the body is empty", 0}}
	errSlow     = &statusError{problem{http.StatusRequestTimeout, "request_timeout", "the body did not come in time", 0}}
	errBroken   = &statusError{problem{http.StatusBadRequest, "invalid_request", "the body could not be read", 0}}
	errEncoding = &statusError{problem{http.StatusUnsupportedMediaType, "unsupported_media_type", "a content encoding is not supported", 0}}
	errMethod   = &statusError{problem{http.StatusMethodNotAllowed, "method_not_allowed", "publish with POST", 0}}

	// ErrUpgrade refuses a plain request where a WebSocket was expected.
	ErrUpgrade error = &statusError{problem{http.StatusUpgradeRequired, "upgrade_required", "connect with a WebSocket", 0}}
	// ErrHandshake refuses a WebSocket handshake that breaks RFC 6455.
	ErrHandshake error = &statusError{problem{http.StatusBadRequest, "invalid_request", "the WebSocket handshake is malformed", 0}}
)

func problemOf(err error) problem {
	var own *statusError
	if errors.As(err, &own) {
		return own.problem
	}
	p, ok := problems[adapters.KindOf(err)]
	if !ok {
		p = problems[adapters.Internal]
	}
	// These two say what is wrong with the caller's own input, and hold
	// nothing else.
	var topic *messaging.InvalidTopicError
	var content *senml.Error
	var limited *authn.LimitedError
	switch {
	case errors.As(err, &topic):
		p.message = topic.Error()
	case errors.As(err, &content):
		p.message = content.Error()
	case errors.As(err, &limited):
		p.retry = max(p.retry, limited.RetryAfter)
	}
	return p
}

// Refuse answers a request with what err means to a stranger: a status, and a
// JSON body with a request id. An error of ours is logged under that id.
func Refuse(w http.ResponseWriter, r *http.Request, log *slog.Logger, via string, err error) {
	p, id := problemOf(err), uuid.NewString()
	if p.status == http.StatusInternalServerError {
		log.ErrorContext(r.Context(), "request failed", "adapter", via, "request", id, "err", err)
	}
	h := w.Header()
	switch p.status {
	case http.StatusUnauthorized:
		h["Www-Authenticate"] = []string{`Client realm="postern"`, `Basic realm="postern", charset="UTF-8"`}
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodPost)
	case http.StatusUpgradeRequired:
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
	}
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retry.Seconds()))))
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Request-Id", id)
	w.WriteHeader(p.status)
	// The client may be gone; there is nobody else to tell.
	_ = json.NewEncoder(w).Encode(struct {
		Error     string `json:"error"`
		Message   string `json:"message"`
		RequestID string `json:"request_id"`
	}{p.word, p.message, id})
}
