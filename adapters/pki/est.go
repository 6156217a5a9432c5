package pki

import (
	"net/http"
	"strings"
)

// ESTPrefix is where the paths of EST begin (RFC 7030 §3.2.2).
const ESTPrefix = "/.well-known/est/"

// EST returns the handler of EST (RFC 7030): cacerts and csrattrs, which it tells
// everybody, and simpleenroll and simplereenroll, which Enrol answers. It is
// safe for concurrent use.
func (s *Server) EST() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		operation := strings.TrimPrefix(r.URL.Path, ESTPrefix)
		if s.Enrol != nil && (operation == "simpleenroll" || operation == "simplereenroll") {
			s.Enrol.ServeHTTP(w, r)
			return
		}
		if err := s.est(w, r, operation); err != nil {
			s.refuse(w, r, err)
		}
	})
}

func (s *Server) est(w http.ResponseWriter, r *http.Request, operation string) error {
	issuers := s.Issuers()
	if operation != "cacerts" && operation != "csrattrs" || len(issuers) == 0 {
		return errNothing
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return errMethod
	}
	w.Header().Set("Cache-Control", "no-cache")
	if operation == "csrattrs" {
		// We ask nothing of a request (§4.5.2): several kinds of key will do,
		// and the names are ours to give.
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	var all []byte
	for _, c := range chain(issuers) {
		all = append(all, c.Raw...)
	}
	body, err := wrapped(all)
	if err != nil {
		return err
	}
	answer(w, body)
	return nil
}
