package httpd

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/messaging"
)

// channelSlash is which slash of m/<d>/c/<c>/ comes behind the channel.
const channelSlash = 4

// Topic returns the topic that the path of u names behind prefix, such as
// "/http/". It decodes and joins; whether the result is a topic
// messaging.ParseTopic says. The error is a messaging.ErrInvalidTopic.
//
// A slash right behind the channel, where no topic may end, is dropped: clients
// that join channel and subtopic send it when there is no subtopic.
func Topic(u *url.URL, prefix string) (string, error) {
	rest, ok := strings.CutPrefix(u.EscapedPath(), prefix)
	if !ok {
		return "", &messaging.InvalidTopicError{Reason: "the path does not begin with " + prefix}
	}
	if strings.Count(rest, "/") == channelSlash {
		rest = strings.TrimSuffix(rest, "/")
	}
	if strings.IndexByte(rest, '%') < 0 {
		return rest, nil
	}
	levels := strings.Split(rest, "/")
	for i, escaped := range levels {
		level, err := url.PathUnescape(escaped)
		if err != nil {
			return "", &messaging.InvalidTopicError{Reason: "the path is encoded badly"}
		}
		if strings.IndexByte(level, '/') >= 0 {
			return "", &messaging.InvalidTopicError{Reason: "a level holds an encoded slash"}
		}
		levels[i] = level
	}
	return strings.Join(levels, "/"), nil
}

// Evidence is what a request shows: of a device in Credential, of a person in
// Bearer.
type Evidence struct {
	authn.Credential
	Bearer string // access token; "" when none was shown
}

// ReadEvidence gathers all evidence of r for the door via. The certificate of
// a TLS connection counts as verified: the listener's configuration sees to
// that. The query parameter authorization is read when query is set, and is a
// conflict in itself when not.
func ReadEvidence(r *http.Request, via string, query bool) Evidence {
	e := Evidence{Credential: authn.Credential{Via: via, Remote: remote(r)}}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		e.Chain = r.TLS.PeerCertificates
	}
	headers := r.Header["Authorization"]
	for _, header := range headers {
		e.showHeader(r, header)
	}
	if len(headers) > 1 || e.Bearer != "" && len(e.Chain) > 0 {
		e.ShowConflict()
	}
	e.showQuery(r.URL.RawQuery, query)
	return e
}

func (e *Evidence) showHeader(r *http.Request, header string) {
	scheme, value, _ := strings.Cut(strings.TrimSpace(header), " ")
	value = strings.TrimSpace(value)
	switch {
	case value == "":
		e.ShowConflict() // evidence was meant to be shown, and says nothing
	case strings.EqualFold(scheme, "Client"):
		e.ShowSecret(value)
	case strings.EqualFold(scheme, "Bearer"):
		e.Bearer = value
	case strings.EqualFold(scheme, "Basic"):
		id, secret, ok := r.BasicAuth()
		if !ok || secret == "" {
			e.ShowConflict()
			return
		}
		e.ShowDeviceID(id)
		e.ShowSecret(secret)
	default:
		e.ShowConflict()
	}
}

const queryKey = "authorization"

func (e *Evidence) showQuery(raw string, allowed bool) {
	if raw == "" {
		return
	}
	query, err := url.ParseQuery(raw)
	if err != nil && strings.Contains(strings.ToLower(raw), queryKey) {
		e.ShowConflict()
	}
	for key, values := range query {
		if !strings.EqualFold(key, queryKey) {
			continue
		}
		for _, value := range values {
			// "Client%20<secret>" and "Client+<secret>" are one after decoding.
			if scheme, rest, ok := strings.Cut(value, " "); ok && strings.EqualFold(scheme, "Client") {
				value = strings.TrimSpace(rest)
			}
			if !allowed || key != queryKey || value == "" || e.Bearer != "" {
				e.ShowConflict()
				continue
			}
			e.ShowSecret(value)
		}
	}
}

func remote(r *http.Request) netip.Addr {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // a test's or a pipe's
	}
	return addr.Addr().Unmap()
}
