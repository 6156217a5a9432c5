package pki

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"mime"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/smallstep/pkcs7"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/httpd"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

// Devices tells which device asks, as *authn.Devices does.
type Devices interface {
	Authenticate(ctx context.Context, c *authn.Credential) (authn.Identity, error)
}

// Claims turns claim tokens into devices, as *authn.Claims does.
type Claims interface {
	Use(ctx context.Context, from netip.Addr, u registry.ClaimUse) (registry.Claimed, error)
}

// Enrolments keeps what is issued, as *registry.Registry does.
type Enrolments interface {
	EnrolDevice(ctx context.Context, domain registry.DomainID, device registry.DeviceID, request string, sign registry.Signer) (registry.Certificate, error)
	RenewCertificate(ctx context.Context, domain registry.DomainID, device registry.DeviceID, old registry.CertificateID, request string, sign registry.Signer) (registry.Certificate, error)
}

// An Enroller is the part of EST (RFC 7030 §4.2) that gives devices their
// certificates. All its fields but ClientIP are required, and none is changed
// once it serves. It is safe for concurrent use.
type Enroller struct {
	Devices    Devices
	Claims     Claims
	Enrolments Enrolments
	// Sign makes the certificate of a device, as certs.Authority.IssueDevice.
	Sign func(registry.Device, certs.Request) (registry.Certificate, error)
	// ClientIP is who stands behind trusted proxies; nil takes the peer.
	ClientIP func(*http.Request) string
	Log      *slog.Logger
}

// maxSigning bounds a signing request in base64. One for RSA of 4096 bits has
// 2.3 KiB, and a name may be added.
const maxSigning = 16 << 10

var (
	errPlain      = &problem{http.StatusForbidden, "certificates are given over TLS alone"}
	errPOST       = &problem{http.StatusMethodNotAllowed, "send the request with POST"}
	errPKCS10     = &problem{http.StatusUnsupportedMediaType, "send the request as application/pkcs10, without a content encoding"}
	errLarge      = &problem{http.StatusRequestEntityTooLarge, "a request has 16 KiB at most"}
	errSlow       = &problem{http.StatusRequestTimeout, "the request did not come in time"}
	errBase64     = &problem{http.StatusBadRequest, "the body is no base64 of a request"}
	errUnknown    = &problem{http.StatusUnauthorized, "show who you are: a device's secret, a claim token, or a good certificate"}
	errOldOne     = &problem{http.StatusForbidden, "show the certificate that is to be renewed: a good one, and one of ours"}
	errLimited    = &problem{http.StatusTooManyRequests, "too many attempts failed, try again later"}
	errNotEnabled = &problem{http.StatusForbidden, "this device, or its domain, is given nothing now"}
	errNotNow     = &problem{http.StatusServiceUnavailable, "no certificate can be given now, try again later"}
)

// ServeHTTP answers simpleenroll and simplereenroll.
func (e *Enroller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), maxTime)
	defer cancel()
	// A body that nobody reads is thrown away by net/http, which waits for it.
	// Not every writer has a deadline.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(maxTime))
	shown := httpd.ReadEvidence(r, "est", false)
	if e.ClientIP != nil {
		shown.Remote, _ = netip.ParseAddr(e.ClientIP(r)) // none: all of these are one source
	}
	issued, err := e.serve(ctx, w, r, &shown)
	if err != nil {
		e.refuse(w, r, &shown.Credential, err)
		return
	}
	e.Log.InfoContext(ctx, "certificate issued", "adapter", "est", "remote", shown.Remote.String(),
		"device", issued.Device, "certificate", issued.ID, "replaces", issued.Replaces)
	body, err := wrapped(issued.DER)
	if err != nil {
		e.refuse(w, r, &shown.Credential, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	answer(w, body)
}

func (e *Enroller) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, shown *httpd.Evidence) (registry.Certificate, error) {
	switch {
	case r.TLS == nil:
		return registry.Certificate{}, errPlain
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		return registry.Certificate{}, errPOST
	}
	renew := r.URL.Path == ESTPrefix+"simplereenroll"
	if renew && len(shown.Chain) == 0 {
		return registry.Certificate{}, errOldOne
	}
	if shown.Bearer != "" {
		shown.ShowConflict() // a person is no device
	}
	if len(shown.Chain) == 0 && registry.IsClaimToken(shown.Secret.Reveal()) {
		return e.claim(ctx, w, r, shown)
	}
	who, err := e.Devices.Authenticate(ctx, &shown.Credential)
	if err != nil {
		return registry.Certificate{}, err
	}
	request, err := readRequest(w, r)
	if err != nil {
		return registry.Certificate{}, err
	}
	sign := func(d registry.Device) (registry.Certificate, error) { return e.Sign(d, request) }
	if !renew {
		return e.Enrolments.EnrolDevice(ctx, who.Device.Domain, who.Device.ID, request.Fingerprint, sign)
	}
	if err := request.Renews(shown.Chain[0]); err != nil {
		return registry.Certificate{}, err
	}
	return e.Enrolments.RenewCertificate(ctx, who.Device.Domain, who.Device.ID, who.Certificate, request.Fingerprint, sign)
}

// claim makes whoever holds a claim token a device. What else is shown must not
// contradict it.
func (e *Enroller) claim(ctx context.Context, w http.ResponseWriter, r *http.Request, shown *httpd.Evidence) (registry.Certificate, error) {
	if shown.Conflicts() {
		return registry.Certificate{}, &authn.RefusedError{Reason: registry.ReasonConflictingEvidence}
	}
	request, err := readRequest(w, r)
	if err != nil {
		return registry.Certificate{}, err
	}
	claimed, err := e.Claims.Use(ctx, shown.Remote, registry.ClaimUse{
		Token: shown.Secret, Device: registry.DeviceID(shown.DeviceID), Request: request.Fingerprint,
		Sign: func(d registry.Device) (registry.Certificate, error) { return e.Sign(d, request) },
	})
	return claimed.Certificate, err
}

// readRequest reads a PKCS#10 request in base64. That is what the body is
// whatever Content-Transfer-Encoding says, and it may be broken into lines (RFC
// 8951 §3).
func readRequest(w http.ResponseWriter, r *http.Request) (certs.Request, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/pkcs10" || r.Header.Get("Content-Encoding") != "" {
		return certs.Request{}, errPKCS10
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSigning))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return certs.Request{}, errLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return certs.Request{}, errSlow
	case err != nil:
		return certs.Request{}, errBase64
	}
	return parseRequest(text)
}

func parseRequest(text []byte) (certs.Request, error) {
	bare := bytes.Join(bytes.Fields(text), nil)
	der, err := base64.StdEncoding.Strict().AppendDecode(nil, bare)
	if err != nil || len(der) == 0 {
		return certs.Request{}, errBase64
	}
	return certs.ParseRequestDER(der)
}

// refuse tells a stranger what is wrong in a fixed sentence, and the log the
// reason. What breaks a rule of requests is told in the error's own words.
func (e *Enroller) refuse(w http.ResponseWriter, r *http.Request, c *authn.Credential, err error) {
	p := enrolProblem(err)
	var limited *authn.LimitedError
	switch {
	case p.status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="postern", charset="UTF-8"`)
	case errors.As(err, &limited):
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(max(limited.RetryAfter, time.Second).Seconds()))))
	case p == errNotNow:
		w.Header().Set("Retry-After", "2")
	}
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("adapter", "est"), slog.String("remote", c.Remote.String()), slog.String("operation", r.URL.Path[len(ESTPrefix):]), slog.Int("status", p.status),
	}
	var refused *authn.RefusedError
	if errors.As(err, &refused) {
		attrs = append(attrs, slog.String("device", string(refused.Device)), slog.String("reason", string(refused.Reason)))
	} else {
		attrs = append(attrs, slog.Any("err", err))
	}
	switch p {
	case errNotNow:
		level = slog.LevelWarn
	case errOurs:
		level = slog.LevelError
	}
	e.Log.LogAttrs(r.Context(), level, "certificate not issued", attrs...)
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, p.words, p.status)
}

func enrolProblem(err error) *problem {
	var p *problem
	var invalid *registry.InvalidError
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, registry.ErrNotRenewable):
		return errOldOne
	case errors.Is(err, registry.ErrNotFound): // it went away meanwhile
		return errUnknown
	}
	switch adapters.KindOf(err) {
	case adapters.Unauthenticated:
		return errUnknown
	case adapters.Limited:
		return errLimited
	case adapters.Conflict:
		return errNotEnabled
	case adapters.Unavailable:
		return errNotNow
	case adapters.Invalid:
		errors.As(err, &invalid)
		return &problem{http.StatusBadRequest, invalid.Error()}
	}
	return errOurs
}

// answer sends certificates in base64.
func answer(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/pkcs7-mime; smime-type=certs-only")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))                   // strongSwan's pki reads no chunks
	w.Header().Set("Content-Transfer-Encoding", "base64")                       // RFC 8951 §3.1: ignored, but old clients look for it
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxTime)) // not every writer has one
	_, _ = w.Write(body)                                                        // the client may be gone; there is nobody else to tell
}

// wrapped is certificates as a certs-only PKCS#7 in base64. It is one line, as
// RFC 4648 §3.1 has it: strongSwan's pki reads no other. openssl base64 reads it
// with -A.
func wrapped(certificates []byte) ([]byte, error) {
	bag, err := pkcs7.DegenerateCertificate(certificates)
	if err != nil {
		return nil, fmt.Errorf("wrap certificates: %w", err)
	}
	return base64.StdEncoding.AppendEncode(nil, bag), nil
}
