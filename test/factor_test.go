package test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

// TestSecondFactorFromTheTerminal: an owner who must have a second factor enrols
// one, and signs in with the commands.
func TestSecondFactorFromTheTerminal(t *testing.T) {
	t.Parallel()
	const phrase = "seven quiet lamps above the harbour"
	s := newServer(t, "POSTERN_AUTH_REQUIRE_SECOND_FACTOR=owner", "POSTERN_OWNER_EMAIL=ann@example.com", "POSTERN_OWNER_PASSWORD="+phrase)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("password", phrase)
	s.postern("login", "ann", "--password-file", "password")
	if out, err := s.try("domains", "list"); err == nil || !strings.Contains(err.Error(), "second factor") {
		t.Fatalf("before enrolment: %s, %v", out, err)
	}
	access := strings.TrimSpace(s.postern("token"))
	var made struct{ Secret string }
	s.api(access, "POST", "/users/factors/totp", nil, &made)
	code := func(steps int) string {
		t.Helper()
		c, err := totp.GenerateCode(made.Secret, time.Now().Add(time.Duration(steps)*30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var enrolled struct {
		Codes []string `json:"recovery_codes"`
		Again bool     `json:"sign_in_again"`
	}
	s.api(access, "POST", "/users/factors/totp/confirm", map[string]string{"code": code(0)}, &enrolled)
	if len(enrolled.Codes) != 10 || !enrolled.Again {
		t.Fatalf("enrolled: %d recovery codes, sign in again: %v", len(enrolled.Codes), enrolled.Again)
	}
	var exit *exec.ExitError
	if _, err := s.try("login", "ann", "--password-file", "password"); !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(err.Error(), "--otp-file") {
		t.Errorf("without a terminal: got %v, want a hint", err)
	}
	write("otp", "000000x\n")
	if _, err := s.try("login", "ann", "--password-file", "password", "--otp-file", "otp"); err == nil || !strings.Contains(err.Error(), "second factor is wrong") {
		t.Errorf("a wrong code: got %v", err)
	}
	// The next code is in the window, and the clock may only come nearer to it.
	write("otp", code(1)+"\n")
	s.postern("login", "ann", "--password-file", "password", "--otp-file", "otp")
	s.postern("domains", "list")
	write("otp", enrolled.Codes[0]+"\n")
	s.postern("login", "ann", "--password-file", "password", "--otp-file", "otp")
	s.postern("domains", "list")
	if log := s.logged(); strings.Contains(log, made.Secret) || strings.Contains(log, enrolled.Codes[0]) {
		t.Error("a secret stands in the log")
	}
}
