package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/postern-io/postern/authn"
)

// Check implements authn.Checker: the discovery document, the issuer in it, what
// it offers, and the keys. The id and the secret of the client cannot be tried
// without a person who signs in.
func (p *Provider) Check(ctx context.Context) []authn.Step {
	var steps []authn.Step
	say := func(ok bool, says string) { steps = append(steps, authn.Step{OK: ok, Says: says}) }
	keys := p.c.JWKSURL
	switch {
	case p.static():
		say(true, "All addresses are given, so nothing is discovered; the issuer is compared at each sign-in.")
	case p.c.Issuer == "":
		s, err := p.search(ctx)
		if err != nil {
			say(false, "No discovery document above the authorization URL names these two addresses: "+why(err, "give the issuer as well")+".")
			return steps
		}
		say(true, "The discovery document above the authorization URL names these two addresses, and its own place as the issuer.")
		keys = s.JWKSURL
	default:
		m, err := p.document(ctx, p.c.Issuer)
		if err != nil {
			say(false, "The discovery document at the issuer cannot be read: "+why(err, "what is there is no such document")+".")
			return steps
		}
		say(true, "The discovery document at the issuer can be read.")
		if m.Issuer != p.c.Issuer {
			say(false, "The document names another issuer. The setting must be exactly what the provider calls itself, to the last slash.")
			return steps
		}
		say(true, "The document names the same issuer.")
		s, err := p.newSite(m)
		if err != nil {
			say(false, "The document lacks something: it needs https addresses to sign in, to trade the code and of its keys, signatures by public keys, and a way to show the client's secret.")
			return steps
		}
		keys = s.JWKSURL
	}
	var set struct{ Keys []json.RawMessage }
	switch err := p.get(ctx, keys, "", &set); {
	case err != nil:
		say(false, "Its keys cannot be read: "+why(err, "what is there is no set of keys")+".")
	case len(set.Keys) == 0:
		say(false, "Its set of keys is empty.")
	default:
		say(true, "Its keys can be read. The id and the secret of the client are tried by the first sign-in; nobody can try them without one.")
	}
	return steps
}

func why(err error, otherwise string) string {
	var status *statusError
	if errors.As(err, &status) {
		return fmt.Sprintf("it answered with the status %d, and 200 is needed", status.code)
	}
	return authn.Unreachable(err, otherwise)
}
