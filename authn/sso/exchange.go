package sso

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// maxAnswer bounds what an identity provider may answer, in bytes.
const maxAnswer = 64 << 10

// boundedClient returns a client with a deadline that follows no redirects: a
// code or the trust in a key must not end up where nobody configured it.
func boundedClient(from *http.Client, timeout time.Duration) *http.Client {
	var c http.Client
	if from != nil {
		c = *from
	}
	c.Timeout = timeout
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// exchange turns a code into a token (RFC 6749 §4.1.3, RFC 7636 §4.5). The
// client is public: the verifier proves that it is the one that asked.
func (p *Provider) exchange(ctx context.Context, f authn.Flow, code string) (string, error) {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {f.Verifier},
		"client_id": {p.c.ClientID}, "redirect_uri": {p.c.RedirectURI},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.c.TokenURI, strings.NewReader(form.Encode()))
	if err != nil {
		return "", fmt.Errorf("jwt: ask for a token: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	status, body, err := do(p.client, req)
	switch {
	case err != nil:
		return "", fmt.Errorf("jwt: ask for a token: %w: %w", authn.ErrProvider, err)
	case status >= 400 && status < 500 && status != http.StatusTooManyRequests:
		return "", refuse(registry.ReasonProviderRefused, "the token URI answered %d", status)
	case status != http.StatusOK:
		return "", fmt.Errorf("jwt: the token URI answered %d: %w", status, authn.ErrProvider)
	}
	var answer struct {
		JWT     string `json:"jwt"`
		IDToken string `json:"id_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || (answer.JWT == "") == (answer.IDToken == "") {
		return "", refuse(registry.ReasonAssertionInvalid, "the token URI's answer must be JSON with either jwt or id_token")
	}
	return answer.JWT + answer.IDToken, nil
}

// do returns the status and the body of an answer of at most maxAnswer bytes.
func do(client *http.Client, req *http.Request) (status int, body []byte, err error) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	err = errors.Join(err, resp.Body.Close())
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	return resp.StatusCode, body, err
}
