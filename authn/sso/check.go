package sso

import (
	"context"
	"fmt"
	"net/http"

	"github.com/postern-io/postern/authn"
)

// Check implements authn.Checker: the keys, and whether somebody answers where
// the browser and we are sent to. That both sides hold the same signing key is
// seen at a sign-in alone.
func (p *Provider) Check(ctx context.Context) []authn.Step {
	var steps []authn.Step
	say := func(ok bool, says string) { steps = append(steps, authn.Step{OK: ok, Says: says}) }
	if len(p.keys.secrets) > 0 {
		say(true, "The signing key is long enough and hard to guess. Whether the application has the same one is seen at the first sign-in.")
	}
	if len(p.keys.public) > 0 {
		say(true, "The file of public keys can be read.")
	}
	if p.keys.remote != nil {
		keys, err := p.keys.remote.fetch(ctx)
		switch {
		case err != nil:
			say(false, "The set of keys cannot be read: "+authn.Unreachable(err, "what is there is no set of keys")+".")
		case len(keys) == 0:
			say(false, "The set of keys holds none for RS256 (2048 bits or more), ES256 or EdDSA.")
		default:
			say(true, "The set of keys can be read.")
		}
	}
	steps = append(steps, p.answers(ctx, "The identity provider", p.c.IdentityProviderURI))
	if p.c.TokenURI != "" {
		steps = append(steps, p.answers(ctx, "The token URI", p.c.TokenURI))
	}
	return steps
}

// answers asks for a page as a browser would. Which answer is right nobody can
// tell but the person whom it is for; an error of the server is none.
func (p *Provider) answers(ctx context.Context, name, uri string) authn.Step {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return authn.Step{Says: name + " has no address that can be asked."}
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return authn.Step{Says: name + " does not answer: " + authn.Unreachable(err, "the connection failed") + "."}
	}
	err = resp.Body.Close() // unread
	switch {
	case err != nil:
		return authn.Step{Says: name + " broke the connection off."}
	case resp.StatusCode >= http.StatusInternalServerError, resp.StatusCode == http.StatusNotFound:
		return authn.Step{Says: fmt.Sprintf("%s answers with the status %d.", name, resp.StatusCode)}
	}
	return authn.Step{OK: true, Says: name + " answers."}
}
