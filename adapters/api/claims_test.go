package api

import (
	"encoding/pem"
	"strings"
	"testing"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// claimToken makes one, while the domain lets it.
func (s *site) claimToken() registry.NewClaim {
	s.t.Helper()
	made, err := s.api.Registry.CreateClaims(s.t.Context(), s.users["editor"].ID, s.domain.ID, 1, registry.Claim{Name: "pump"})
	if err != nil {
		s.t.Fatal(err)
	}
	return made[0]
}

func TestClaimTokensAreShownOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := "/" + string(s.domain.ID)
	w := s.do("POST", d+"/claims", s.editor, object{"count": 3, "name": "pump", "channels": []object{{"channel_id": s.channel.ID, "types": []string{"publish"}}}})
	made := decode[ClaimPage](t, w)
	if w.Code != 201 || len(made.Claims) != 3 || made.Claims[0].CreatedBy != string(s.users["editor"].ID) || made.Claims[0].Status != "open" {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	token := made.Claims[0].Token
	if !registry.IsClaimToken(token) || token == made.Claims[1].Token {
		t.Fatalf("tokens in %s", w.Body)
	}
	if list := s.do("GET", d+"/claims", s.viewer, nil); strings.Contains(list.Body.String(), token) || decode[ClaimPage](t, list).Total != 3 {
		t.Errorf("listed %s", list.Body)
	}

	w = s.do("POST", "/claim", "", object{"token": token})
	got := decode[Claimed](t, w)
	if w.Code != 201 || len(got.Secret) != 43 || got.Certificate != nil || got.DomainID != string(s.domain.ID) {
		t.Fatalf("claimed: %d %s", w.Code, w.Body)
	}
	c := decode[Client](t, s.do("GET", d+"/clients/"+got.ClientID, s.viewer, nil))
	if c.Name != "pump" || c.Status != "enabled" {
		t.Errorf("became %+v", c)
	}
	if links := s.do("GET", d+"/clients/"+got.ClientID+"/connections", s.viewer, nil); !strings.Contains(links.Body.String(), string(s.channel.ID)) {
		t.Errorf("connected: %s", links.Body)
	}
	if e := s.audited("claim.use"); e.Object != got.ClientID || e.Domain != s.domain.ID || e.Actor != "" {
		t.Errorf("the trail: %+v", e)
	}

	// Used, unknown, revoked and malformed look the same.
	if w := s.do("DELETE", d+"/claims/"+made.Claims[1].ID, s.editor, nil); w.Code != 204 {
		t.Fatalf("revoked: %d %s", w.Code, w.Body)
	}
	for _, wrong := range []string{token, made.Claims[1].Token, "pct_" + strings.Repeat("A", 43), "x"} {
		w := s.do("POST", "/claim", "", object{"token": wrong})
		if e := decode[Error](t, w); w.Code != 401 || e.Message != "The claim token is wrong, used or too old." || e.Error != "unauthenticated" {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	}
	if strings.Contains(s.log.String(), token) || strings.Contains(s.log.String(), got.Secret) {
		t.Error("the log tells a secret")
	}
	if used := decode[ClaimPage](t, s.do("GET", d+"/claims?status=used", s.viewer, nil)); used.Total != 1 || used.Claims[0].ClientID != got.ClientID || used.Claims[0].UsedAt == nil {
		t.Errorf("used: %+v", used)
	}
}

func TestClaimingWithARequest(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	token, csr := s.claimToken().Token.Reveal(), signingRequest(t)
	first := decode[Claimed](t, s.do("POST", "/claim", "", object{"token": token, "csr": csr}))
	again := decode[Claimed](t, s.do("POST", "/claim", "", object{"token": token, "csr": csr}))
	if first.Certificate == nil || first.Secret != "" || again.ClientID != first.ClientID || again.Certificate.ID != first.Certificate.ID {
		t.Fatalf("got %+v, again %+v", first, again)
	}
	if block, _ := pem.Decode([]byte(first.Certificate.Certificate)); block == nil || block.Type != "CERTIFICATE" {
		t.Errorf("got %s", first.Certificate.Certificate)
	}
	if w := s.do("POST", "/claim", "", object{"token": token, "csr": signingRequest(t)}); w.Code != 401 {
		t.Errorf("with another request: %d", w.Code)
	}
	for name, body := range map[string]object{
		"a request that is none":  {"token": s.claimToken().Token.Reveal(), "csr": "x"},
		"a token of another kind": {"token": 7},
	} {
		if w := s.do("POST", "/claim", "", body); w.Code != 400 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	s.api.Claims = authn.NewClaims(authn.ClaimsConfig{Claimer: s.api.Registry, RequireCertificate: true})
	if w := s.do("POST", "/claim", "", object{"token": s.claimToken().Token.Reveal()}); w.Code != 400 {
		t.Errorf("for a secret that opens nothing: %d %s", w.Code, w.Body)
	}
}

func TestClaimRefusals(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := "/" + string(s.domain.ID)
	for name, test := range map[string]struct {
		body object
		want int
	}{
		"it makes none of none":            {object{"count": 0}, 400},
		"it makes a thousand at most":      {object{"count": 1001}, 400},
		"it does not look back":            {object{"expires_at": "2020-01-01T00:00:00Z"}, 400},
		"it wants a right":                 {object{"channels": []object{{"channel_id": s.channel.ID, "types": []string{}}}}, 400},
		"it wants a right that is one":     {object{"channels": []object{{"channel_id": s.channel.ID, "types": []string{"read"}}}}, 400},
		"it wants a channel of the domain": {object{"channels": []object{{"channel_id": s.client.ID, "types": []string{"publish"}}}}, 404},
		"it wants a client of the domain":  {object{"client_id": s.channel.ID}, 404},
		"it names no client that is there": {object{"client_id": s.client.ID, "name": "x"}, 400},
		"it binds to one that is there":    {object{"client_id": s.client.ID}, 201},
	} {
		if w := s.do("POST", d+"/claims", s.editor, test.body); w.Code != test.want {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
	if w := s.do("GET", d+"/claims?status=x", s.viewer, nil); w.Code != 400 {
		t.Errorf("an odd status: %d", w.Code)
	}
}
