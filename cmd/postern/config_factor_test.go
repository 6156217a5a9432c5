package main

import (
	"strings"
	"testing"

	"github.com/postern-io/postern/registry"
)

func TestRequiredSecondFactor(t *testing.T) {
	for given, want := range map[string]registry.Role{
		"": registry.NoRole, "viewer": registry.Viewer, "editor": registry.Editor, "admin": registry.Admin, "owner": registry.Owner,
	} {
		if c, err := configured(t, []string{"POSTERN_AUTH_REQUIRE_SECOND_FACTOR=" + given}); err != nil || c.Factor.role() != want {
			t.Errorf("%q: got %v, %v", given, c.Factor.role(), err)
		}
	}
	for _, given := range []string{"all", "none", "Admin", "admin "} {
		if _, err := configured(t, []string{"POSTERN_AUTH_REQUIRE_SECOND_FACTOR=" + given}); err == nil ||
			!strings.Contains(err.Error(), "POSTERN_AUTH_REQUIRE_SECOND_FACTOR") || !strings.Contains(err.Error(), "viewer, editor, admin or owner") {
			t.Errorf("%q: got %v", given, err)
		}
	}
}

// A passkey is bound to what browsers take for a host, and to the origin as they
// write it (WebAuthn §5.1.2, §13.4.9).
func TestRelyingParty(t *testing.T) {
	for given, want := range map[string][2]string{
		"":                                  {"localhost", "https://localhost:8443"},
		"https://Postern.example.com":       {"postern.example.com", "https://postern.example.com"},
		"https://postern.example.com:443/":  {"postern.example.com", "https://postern.example.com"},
		"https://postern.example.com:8443/": {"postern.example.com", "https://postern.example.com:8443"},
		"https://postern.example.com/base":  {"postern.example.com", "https://postern.example.com"},
		"http://localhost:8080":             {"localhost", "http://localhost:8080"},
		"http://localhost:80":               {"localhost", "http://localhost"},
		"http://postern.example.com":        {"", ""},
		"https://192.0.2.1":                 {"", ""},
		"https://[2001:db8::1]:8443":        {"", ""},
	} {
		c, err := configured(t, []string{"POSTERN_PUBLIC_URL=" + given})
		if err != nil {
			t.Fatal(err)
		}
		if host, origin := c.relyingParty(); host != want[0] || origin != want[1] {
			t.Errorf("%q: got %q, %q, want %q", given, host, origin, want)
		}
		if _, err := c.factors(nil, make([]byte, 32)); err != nil {
			t.Errorf("%q: %v", given, err)
		}
	}
}
