package authn

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/registry"
)

// claimer takes one token.
type claimer struct {
	good  registry.Secret
	err   error // of any other
	asked int
}

func (c *claimer) UseClaim(_ context.Context, u registry.ClaimUse) (registry.Claimed, error) {
	c.asked++
	if u.Token.Equal(c.good) {
		return registry.Claimed{Device: registry.Device{ID: "d"}}, nil
	}
	return registry.Claimed{}, c.err
}

func TestClaims(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	good, wrong := registry.SecretOf("pct_"+strings.Repeat("A", 43)), registry.SecretOf("pct_"+strings.Repeat("B", 42)+"A")
	store := &claimer{good: good, err: &registry.ClaimError{Reason: registry.ReasonClaimUsed}}
	c := NewClaims(ClaimsConfig{Claimer: store, Limits: Limits{SourcePerSecond: 1, SourceBurst: 3}, Now: func() time.Time { return now }})
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	use := func(from netip.Addr, token registry.Secret) error {
		_, err := c.Use(t.Context(), from, registry.ClaimUse{Token: token})
		return err
	}
	if err := use(here, good); err != nil {
		t.Errorf("the right one: %v", err)
	}
	for token, want := range map[registry.Secret]registry.Reason{wrong: registry.ReasonClaimUsed, registry.SecretOf("no token"): registry.ReasonClaimUnknown, {}: registry.ReasonClaimUnknown} {
		var refused *RefusedError
		if err := use(here, token); !errors.As(err, &refused) || refused.Reason != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if store.asked != 2 {
		t.Errorf("the store was asked %d times, want 2: what is no token is not looked for", store.asked)
	}
	var limited *LimitedError
	if err := use(here, good); !errors.As(err, &limited) || limited.RetryAfter != time.Second {
		t.Errorf("after three wrong ones: %v", err)
	}
	if err := use(there, good); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
	now = now.Add(time.Second)
	if err := use(here, good); err != nil {
		t.Errorf("a second later: %v", err)
	}
	store.err = registry.ErrUnavailable
	if err := use(there, wrong); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("without the store: %v", err)
	}

	strict := NewClaims(ClaimsConfig{Claimer: store, RequireCertificate: true})
	var invalid *registry.InvalidError
	if _, err := strict.Use(t.Context(), here, registry.ClaimUse{Token: good}); !errors.As(err, &invalid) || invalid.Field != "csr" {
		t.Errorf("for a secret that opens nothing: %v", err)
	}
	if _, err := strict.Use(t.Context(), here, registry.ClaimUse{Token: good, Request: "r"}); err != nil {
		t.Errorf("for a certificate: %v", err)
	}
}
