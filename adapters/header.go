package adapters

import "net/http"

// Guard sets what every answer over HTTP to a person or a program has (C56): the
// id of its request, and that nothing of it is kept, guessed at, told to another
// site, or run and framed but as the content policy allows.
func Guard(w http.ResponseWriter, r *http.Request, request, policy string) {
	h := w.Header()
	h.Set("X-Request-Id", request)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}
