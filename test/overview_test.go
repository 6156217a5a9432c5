package test

import (
	"bufio"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPagesOverview watches a domain's overview and a device's page while
// devices come, publish and are refused.
func TestPagesOverview(t *testing.T) {
	t.Parallel()
	newSite(t).browse(t, "overview")
}

// TestStopWithAnOpenPage: pages that are told of news do not hold up a stop.
func TestStopWithAnOpenPage(t *testing.T) {
	t.Parallel()
	s := newServer(t, "POSTERN_OWNER_EMAIL=owner@example.com", "POSTERN_OWNER_PASSWORD="+ownerPassword, "REQUIRE_USER_AUTHENTICATION=0")
	s.want(201, "POST", "/domains", "", map[string]any{"name": "Works", "route": "works"})
	for _, base := range []string{s.base(), "http://localhost:" + s.http} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", base+"/domains/works/live", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := s.browser().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if line, err := bufio.NewReader(answer.Body).ReadString('\n'); err != nil || !strings.HasPrefix(line, "id: ") {
			t.Fatalf("%d: %q, %v", answer.StatusCode, line, err)
		}
	}
	began := time.Now()
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("it did not end well: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
}
