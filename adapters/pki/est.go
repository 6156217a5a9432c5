package pki

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/smallstep/pkcs7"

	"github.com/postern-io/postern/certs"
)

// ESTPrefix is where the paths of EST begin (RFC 7030 §3.2.2).
const ESTPrefix = "/.well-known/est/"

// EST returns the handler of what EST (RFC 7030) tells everybody: cacerts, and
// csrattrs. To enrol is another door's business: who asks for a certificate must
// say who he is. It is safe for concurrent use.
func (s *Server) EST() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if err := s.est(w, r, strings.TrimPrefix(r.URL.Path, ESTPrefix)); err != nil {
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
	body, err := caCertificates(issuers)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/pkcs7-mime; smime-type=certs-only")
	w.Header().Set("Content-Transfer-Encoding", "base64")                       // RFC 8951 §3.1: ignored, but old clients look for it
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxTime)) // not every writer has one
	_, _ = w.Write(body)                                                        // the client may be gone; there is nobody else to tell
	return nil
}

// caCertificates is our chain as a certs-only PKCS#7 (§4.1.3) in base64. It is
// broken into lines, which RFC 8951 allows and openssl base64 needs.
func caCertificates(issuers []*certs.Issuer) ([]byte, error) {
	var all []byte
	for _, c := range chain(issuers) {
		all = append(all, c.Raw...)
	}
	bag, err := pkcs7.DegenerateCertificate(all)
	if err != nil {
		return nil, fmt.Errorf("wrap our certificates: %w", err)
	}
	var body []byte
	for line := range slices.Chunk(base64.StdEncoding.AppendEncode(nil, bag), 64) {
		body = append(append(body, line...), '\n')
	}
	return body, nil
}
