package pages

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// A stranger's form is refused before it is large.
func TestEntrancesTakeSmallForms(t *testing.T) {
	s := newSite(t)
	for name, test := range map[string]struct{ size, asked int }{
		"it asks the API about a form":     {40, 1},
		"it does not when it is too large": {maxForm, 0},
	} {
		s.asked.Store(0)
		r := httptest.NewRequestWithContext(t.Context(), "POST", "http://localhost/verify-email", strings.NewReader("token="+strings.Repeat("x", test.size)))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if int(s.asked.Load()) != test.asked || w.Code < 400 {
			t.Errorf("%s: asked %d times, got %d", name, s.asked.Load(), w.Code)
		}
	}
}
