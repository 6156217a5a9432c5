package authn_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// A sign-in that waits ends when its provider is gone; who is signed in stays.
func TestProvidersThatGo(t *testing.T) {
	o, said := with(t, authn.Rules{Provision: true})
	o.jane(t)
	p, err := o.come(t, "oidc", said, ann())
	if err != nil {
		t.Fatal(err)
	}
	in, err := o.Issue(t.Context(), "jane", passphrase, from)
	if err != nil {
		t.Fatal(err)
	}
	flow, err := o.Begin(t.Context(), "oidc", "/", "", "", from)
	if err != nil {
		t.Fatal(err)
	}
	o.Factors = enrolled{}
	var waits *authn.SecondFactorError
	if _, err := o.Issue(t.Context(), "jane", passphrase, from); !errors.As(err, &waits) {
		t.Fatalf("got %v, want the second factor", err)
	}
	o.SetProviders()
	_, err = o.SecondFactor(t.Context(), waits.Ticket, authn.Proof{}, from)
	wantReason(t, "the second factor of a password that counts no more", err, registry.ReasonKeyInvalid)
	_, err = o.Complete(t.Context(), "oidc", callback(t, flow), flow.Browser, from)
	wantReason(t, "an answer from a site that counts no more", err, registry.ReasonFlowUnknown)
	_, err = o.Issue(t.Context(), "jane", passphrase, from)
	wantReason(t, "a password", err, registry.ReasonPasswordDisabled)
	if q, err := o.Refresh(t.Context(), in.Refresh, from); err != nil {
		t.Errorf("who is signed in: %v", err)
	} else if q, err := o.Verify(t.Context(), q.Access); err != nil || q.User.ID == p.User.ID {
		t.Errorf("got %+v, %v", q, err)
	}
}

// Providers change while people sign in.
func TestProvidersChangeMeanwhile(t *testing.T) {
	o, _ := with(t, authn.Rules{})
	local := authn.Provider{Key: registry.LocalProvider}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20 {
				if _, err := o.Issue(t.Context(), "nobody", passphrase, from); !errors.Is(err, authn.ErrUnauthenticated) && !errors.Is(err, authn.ErrLimited) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	for range 100 {
		o.SetProviders()
		o.SetProviders(local)
	}
	all.Wait()
	if got := o.Providers(); len(got) != 1 || got[0].Key != local.Key {
		t.Errorf("got %+v", got)
	}
}
