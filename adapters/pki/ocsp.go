package pki

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

const (
	maxRequest = 16 << 10
	// keep is how long a cache may hold an answer, and so how late a revocation
	// is for who asks through one.
	keep = time.Minute
)

// ocsp answers an OCSP request. Whatever can be said in OCSP comes with status
// 200.
func (s *Server) ocsp(w http.ResponseWriter, r *http.Request, turns turns, encoded string) {
	request, err := read(w, r, encoded)
	var answer []byte
	var cacheable bool
	if err == nil {
		answer, cacheable, err = s.answer(r, turns, request)
	}
	var outside *problem
	switch {
	case err == nil:
	case errors.As(err, &outside):
		s.refuse(w, r, err)
		return
	case errors.Is(err, certs.ErrMalformedOCSP):
		answer = ocsp.MalformedRequestErrorResponse
	case errors.Is(err, errStranger):
		answer = ocsp.UnauthorizedErrorResponse
	case s.blame(r, err) == errBusy:
		answer = ocsp.TryLaterErrorResponse
	default:
		answer = ocsp.InternalErrorErrorResponse
	}
	h := w.Header()
	h.Set("Content-Type", "application/ocsp-response")
	h.Set("Cache-Control", "no-store")
	if cacheable && r.Method != http.MethodPost { // RFC 5019 §6.2
		now := s.Now().UTC()
		h.Set("Cache-Control", fmt.Sprintf("max-age=%d, public, no-transform, must-revalidate", int(keep.Seconds())))
		h.Set("Last-Modified", now.Format(http.TimeFormat))
		h.Set("Expires", now.Add(keep).Format(http.TimeFormat))
	}
	_, _ = w.Write(answer) // the client may be gone; there is nobody else to tell
}

// read returns the request in DER: from the body of a POST, or from the path.
// Its error is a *problem or certs.ErrMalformedOCSP.
func read(w http.ResponseWriter, r *http.Request, encoded string) ([]byte, error) {
	switch r.Method {
	case http.MethodPost:
		if encoded != "" {
			return nil, errNothing
		}
		return readBody(w, r)
	case http.MethodGet, http.MethodHead:
		return decodePath(encoded)
	}
	w.Header().Set("Allow", "GET, HEAD, POST")
	return nil, errMethod
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/ocsp-request" || r.Header.Get("Content-Encoding") != "" {
		return nil, errType
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(maxTime)) // not every writer has one
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, errTooLarge
	case err != nil:
		return nil, errBroken
	}
	// The server watches the connection while we answer.
	_ = control.SetReadDeadline(time.Time{})
	return body, nil
}

// decodePath reads the path of a GET (RFC 6960 §A.1), which is decoded from
// percents already. A slash of the base64 may have come as itself or as %2F: both
// are the same slash here.
func decodePath(encoded string) ([]byte, error) {
	if len(encoded) > base64.StdEncoding.EncodedLen(maxRequest) {
		return nil, errTooLong
	}
	request, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, certs.ErrMalformedOCSP
	}
	return request, nil
}

// errStranger refuses a question about certificates that no one issuer of ours
// made.
var errStranger = errors.New("the certificate's issuer is a stranger")

// answer returns the signed answer, and whether it would serve another who asks
// the same.
func (s *Server) answer(r *http.Request, turns turns, request []byte) (signed []byte, cacheable bool, err error) {
	asked, err := certs.ParseOCSPRequest(request)
	if err != nil {
		return nil, false, err
	}
	issuer := asked.Responder(s.Issuers())
	if issuer == nil {
		return nil, false, errStranger
	}
	done, err := turns.take(r.Context())
	if err != nil {
		return nil, false, err
	}
	defer done()
	signed, err = issuer.AnswerOCSP(asked, s.Now(), func(serial string) (registry.Certificate, error) {
		return s.Records.CertificateBySerial(r.Context(), issuer.ID, serial)
	})
	return signed, err == nil && asked.Nonce == nil, err
}
