package oidc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/postern-io/postern/authn"
)

const (
	maxBody   = 1 << 20  // bytes of one answer of a provider, unpacked
	maxHeader = 64 << 10 // bytes
)

// A line is the way to the provider, for our own calls and for those of the
// libraries: answers are bounded, and what means "not now" is authn.ErrProvider
// before a library puts it, and the answer's body, into a text.
type line struct{ base http.RoundTripper }

// newClient returns a client on the line.
func newClient(c *http.Client, timeout time.Duration) *http.Client {
	var base http.RoundTripper
	if c != nil {
		base = c.Transport
	}
	if base == nil {
		base = http.DefaultTransport
	}
	if t, ok := base.(*http.Transport); ok {
		t = t.Clone()
		t.MaxResponseHeaderBytes = maxHeader
		base = t
	}
	return &http.Client{
		Transport: line{base},
		Timeout:   timeout,
	}
}

// RoundTrip answers with an error where the provider did not give what was
// asked for, which a redirect is not. The refusal of a token request passes: its
// body says why.
func (l line) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.base.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", authn.ErrProvider, err)
	}
	code := resp.StatusCode
	refusal := code >= 400 && code < 500 && code != http.StatusTooManyRequests
	if code == http.StatusOK || refusal && r.Method == http.MethodPost {
		// The one byte less is for x/oauth2, which would cut a longer answer at
		// 1 MiB and read what is left.
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxBody-1)
		return resp, nil
	}
	resp.Body.Close()
	if refusal {
		return nil, &statusError{resp.Status, code}
	}
	return nil, fmt.Errorf("%w: %w", authn.ErrProvider, &statusError{resp.Status, code})
}

// A statusError is an answer other than 200.
type statusError struct {
	status string
	code   int
}

func (e *statusError) Error() string {
	if e.code >= 300 && e.code < 400 {
		return fmt.Sprintf("answered %s, and redirects are not followed", e.status)
	}
	return "answered " + e.status
}

// get reads the JSON at a URL into v, with a bearer token unless that is "".
func (p *Provider) get(ctx context.Context, url, bearer string, v any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := p.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("%w: %s: %w", authn.ErrProvider, url, err)
	}
	return nil
}
