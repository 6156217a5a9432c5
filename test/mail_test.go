package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/adapters/mail/mailtest"
)

// rest calls the API over plain HTTP and returns the status and the body.
func (s *server) rest(method, path, token string, body any, header ...string) (int, map[string]any) {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://127.0.0.1:"+s.http+"/api"+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if len(header) > 0 {
		req.Host = header[0]
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil && resp.StatusCode != http.StatusNoContent {
		s.t.Fatalf("%s %s: %d is no JSON: %v", method, path, resp.StatusCode, err)
	}
	return resp.StatusCode, out
}

func (s *server) want(status int, method, path, token string, body any, header ...string) map[string]any {
	s.t.Helper()
	got, out := s.rest(method, path, token, body, header...)
	if got != status {
		s.t.Fatalf("%s %s: got %d %v, want %d", method, path, got, out, status)
	}
	return out
}

// mail waits for the next mail after n others.
func (s *server) mail(sink *mailtest.Sink, n int, subject string) mailtest.Mail {
	s.t.Helper()
	s.eventually("there is a mail: "+subject, func() error {
		if len(sink.Mails()) <= n {
			return errors.New("there is none")
		}
		return nil
	})
	m := sink.Mails()[n]
	if m.Subject != subject {
		s.t.Fatalf("got the mail %q, want %q", m.Subject, subject)
	}
	return m
}

// TestMail goes the way of a person with the seed's settings: register, prove the
// address, forget the password, set another by the mailed key (G3, G4).
func TestMail(t *testing.T) {
	t.Parallel()
	sink := mailtest.Start(t, mailtest.Options{})
	s := newServer(t, "MG_EMAIL_HOST="+sink.Host, "MG_EMAIL_PORT="+sink.Port, "MG_EMAIL_USERNAME="+mailtest.Username, "MG_EMAIL_PASSWORD="+mailtest.Password,
		"MG_EMAIL_FROM_ADDRESS=from@example.com", "MG_EMAIL_FROM_NAME=Magistrala", "POSTERN_MAIL_CA_FILE="+sink.CAFile,
		"MG_USERS_ALLOW_SELF_REGISTER=true", "POSTERN_PUBLIC_URL=https://postern.example")
	const first, second = "seven quiet lamps above the harbour", "three tall birches by the canal"
	type m = map[string]any

	s.want(201, "POST", "/users", "", m{"email": "ann@example.com", "credentials": m{"username": "ann", "secret": first}})
	verify := s.mail(sink, 0, "Confirm your e-mail address")
	if verify.To != "ann@example.com" || !strings.Contains(verify.Body, "https://postern.example/verify-email#"+verify.Key()) {
		t.Errorf("got to %s:\n%s", verify.To, verify.Body)
	}
	s.want(204, "POST", "/users/verify-email", "", m{"token": verify.Key()})
	s.want(401, "POST", "/users/verify-email", "", m{"token": verify.Key()})
	in := s.want(201, "POST", "/users/tokens/issue", "", m{"username": "ann", "password": first})
	old := in["access_token"].(string)
	if p := s.want(200, "GET", "/users/profile", old, nil); p["email_verified"] != true {
		t.Errorf("the address is not verified: %v", p)
	}

	// C17: what the request says its host is counts for nothing.
	s.want(201, "POST", "/password/reset-request", "", m{"email": "nobody@example.com"})
	s.want(201, "POST", "/password/reset-request", "", m{"email": "ann@example.com"}, "evil.example")
	reset := s.mail(sink, 1, "Set a new password")
	if reset.To != "ann@example.com" || !strings.Contains(reset.Body, "\nhttps://postern.example/recover#"+reset.Key()+"\n") || strings.Contains(reset.Body, "evil") {
		t.Errorf("C17: got to %s:\n%s", reset.To, reset.Body)
	}
	s.want(201, "PUT", "/password/reset", reset.Key(), m{"password": second, "confirm_password": second})
	s.want(401, "PUT", "/password/reset", reset.Key(), m{"password": first, "confirm_password": first})
	s.want(401, "GET", "/users/profile", old, nil)
	s.want(401, "POST", "/users/tokens/refresh", in["refresh_token"].(string), nil)
	s.want(401, "POST", "/users/tokens/issue", "", m{"username": "ann", "password": first})
	s.want(201, "POST", "/users/tokens/issue", "", m{"username": "ann", "password": second})
	s.mail(sink, 2, "Your password was changed")
	if n := len(sink.Mails()); n != 3 {
		t.Errorf("C16: got %d mails, want 3", n)
	}
	log := s.logged()
	for _, secret := range []string{verify.Key(), reset.Key(), first, second, mailtest.Password, "ann@example.com", "nobody@example.com"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// C65: with an SMTP server that hangs, or none at all where it should be, a
// request for a key is answered at once and everybody signs in as ever.
func TestMailOutage(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts by the kernel, and never says a word
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for name, port := range map[string]string{"hangs": fmt.Sprint(l.Addr().(*net.TCPAddr).Port), "is down": freePorts(t, 1)[0]} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, "POSTERN_MAIL_HOST=127.0.0.1", "POSTERN_MAIL_PORT="+port, "POSTERN_MAIL_FROM=from@example.com",
				"DEFAULT_OWNER_EMAIL=ann@example.com", "DEFAULT_OWNER_PASSWORD=seven quiet lamps above the harbour")
			type m = map[string]any
			start := time.Now()
			for range 5 {
				s.want(201, "POST", "/password/reset-request", "", m{"email": "ann@example.com"})
			}
			s.want(201, "POST", "/users/tokens/issue", "", m{"username": "ann", "password": "seven quiet lamps above the harbour"})
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("it took %s, want no wait for the SMTP server (5 s each)", took)
			}
		})
	}
}

// Without SMTP settings the two operations say what is missing.
func TestWithoutMail(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, c := range []struct{ method, path string }{{"POST", "/password/reset-request"}, {"PUT", "/password/reset"}} {
		out := s.want(501, c.method, c.path, "", map[string]any{"email": "a@example.com"})
		if out["error"] != "mail_not_configured" {
			t.Errorf("%s: got %v", c.path, out)
		}
	}
}
