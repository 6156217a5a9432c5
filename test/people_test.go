package test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-io/postern/adapters/mail/mailtest"
)

// TestPeoplePages: people are managed, manage their own account, and come back
// in by letters, all in a browser.
func TestPeoplePages(t *testing.T) {
	t.Parallel()
	sink := mailtest.Start(t, mailtest.Options{})
	letters := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(sink.Mails()) // the story that went away misses it
	}))
	t.Cleanup(letters.Close)
	s := newSite(t, "POSTERN_MAIL_HOST="+sink.Host, "POSTERN_MAIL_PORT="+sink.Port, "POSTERN_MAIL_USERNAME="+mailtest.Username, "POSTERN_MAIL_PASSWORD="+mailtest.Password,
		"POSTERN_MAIL_FROM=from@example.com", "POSTERN_MAIL_CA_FILE="+sink.CAFile,
		"POSTERN_AUTH_JWT_ENABLED=true", "POSTERN_AUTH_JWT_IDP_URI=https://idp.example/", "POSTERN_AUTH_JWT_SHARED_SECRET=c0ffee5badc0de9d8e7f60514233241516f7e8d9cabb0a1b2c3d4e5f60718293")
	for _, story := range []string{"people", "account", "letters"} {
		t.Run(story, func(t *testing.T) { s.browse(t, story, "LETTERS="+letters.URL) })
	}
	log := s.logged()
	for _, m := range sink.Mails() {
		if key := m.Key(); key != "" && strings.Contains(log, key) {
			t.Errorf("C35: the key of the letter %q stands in the log", m.Subject)
		}
	}
}

// TestSetUpPage makes the first owner by the one-time link, of which nothing but
// the form knows the token.
func TestSetUpPage(t *testing.T) {
	t.Parallel()
	s := &site{server: newServer(t, "POSTERN_LOG_LEVEL=debug")}
	token, err := os.ReadFile(filepath.Join(s.dir, "data", "setup-token"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.TrimSpace(string(token))
	s.browse(t, "setup", "TOKEN="+text, "PASSWORD="+ownerPassword)
	if strings.Contains(s.logged(), text) {
		t.Error("C35: the set-up token stands in the log")
	}
}
