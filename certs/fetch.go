package certs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// fetchTime bounds the whole of a fetch.
const fetchTime = 10 * time.Second

// ListClient returns a client for FetchList on that transport (nil: the default
// one). It follows a few redirects, none from one scheme to another.
func ListClient(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, Timeout: fetchTime, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		switch {
		case len(via) > 5:
			return errors.New("too many redirects")
		case r.URL.Scheme != via[0].URL.Scheme:
			return fmt.Errorf("a redirect from %s to %s", via[0].URL.Scheme, r.URL.Scheme)
		}
		return nil
	}}
}

// FetchList returns what stands at a URL, at most MaxListSize bytes.
func FetchList(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/pkix-crl, application/octet-stream;q=0.9, */*;q=0.1")
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", answer.Status)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, MaxListSize+1))
	if err == nil && len(body) > MaxListSize {
		err = errors.New("the list is larger than 32 MiB")
	}
	return body, err
}
