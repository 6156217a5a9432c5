package pki

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

// Prefix is where the paths of this door begin.
const Prefix = "/pki/"

const (
	maxTime = 10 * time.Second // of a request, but not of sending a list
	// maxSending gives 100,000 lines to a modem of 128 kbit/s.
	maxSending = 5 * time.Minute
	maxWait    = 2 * time.Second // for a turn
)

// Lists makes revocation lists, as *registry.Registry does.
type Lists interface {
	RevocationList(ctx context.Context, id registry.AuthorityID, sign func(number int64, lines []registry.Revocation) (registry.RevocationList, error)) (registry.RevocationList, error)
}

// Records finds what we issued. It returns registry.ErrNotFound for a serial
// number that the authority never used; the number is as certs.SerialText
// writes it.
type Records interface {
	CertificateBySerial(ctx context.Context, authority registry.AuthorityID, serial string) (registry.Certificate, error)
}

// A Server answers questions about our certificates. Its fields are set before
// Handler is called and not changed after.
type Server struct {
	// Issuers returns our issuing authorities, the newest first, those that
	// are retired too. It is safe for concurrent use.
	Issuers func() []*certs.Issuer
	Lists   Lists
	Records Records
	// RootLists returns the CRLs that our roots signed (certs.RootList), in DER.
	// They are fetched with the others, by who checks whole chains. It may be
	// nil, and is safe for concurrent use.
	RootLists func() [][]byte
	Enrol     *Enroller // gives devices their certificates by EST; nil: nobody does
	Log       *slog.Logger
	Now       func() time.Time

	mu        sync.Mutex
	published map[registry.AuthorityID]*publication
	all       *document // the last of crls.pem
}

// Handler returns the handler of all paths below Prefix. It is safe for
// concurrent use.
func (s *Server) Handler() http.Handler {
	// Four for each processor, because they also wait for the database.
	turns := make(turns, 4*runtime.GOMAXPROCS(0))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), maxTime)
		defer cancel()
		r = r.WithContext(ctx)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		path := strings.TrimPrefix(r.URL.Path, Prefix)
		if path == "ocsp" || strings.HasPrefix(path, "ocsp/") {
			s.ocsp(w, r, turns, strings.TrimPrefix(path[len("ocsp"):], "/"))
			return
		}
		if err := s.fetch(w, r, turns, path); err != nil {
			s.refuse(w, r, err)
		}
	})
}

// turns bounds how much is worked on at once. Who asks is unknown, and a
// signature costs more than asking for one.
type turns chan struct{}

// take waits for a turn, until maxWait. Its error wraps adapters.ErrLimited.
func (t turns) take(ctx context.Context) (done func(), err error) {
	wait := time.NewTimer(maxWait)
	defer wait.Stop()
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-wait.C:
		return nil, fmt.Errorf("questions about certificates: %w", adapters.ErrLimited)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A document is what a GET returns.
type document struct {
	kind string // Content-Type
	etag string
	made time.Time // zero: not said
	body []byte
}

// fetch answers with a document.
func (s *Server) fetch(w http.ResponseWriter, r *http.Request, turns turns, path string) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return errMethod
	}
	done, err := turns.take(r.Context())
	if err != nil {
		return err
	}
	d, err := s.document(r.Context(), path)
	done()
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", d.kind)
	h.Set("ETag", d.etag)
	h.Set("Cache-Control", "no-cache") // keep it, but ask
	if !d.made.IsZero() {
		h.Set("Last-Modified", d.made.UTC().Format(http.TimeFormat))
	}
	// The server takes the deadline back when all is sent. Not every writer has one.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxSending))
	// Without a time it goes by the ETag alone.
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(d.body))
	return nil
}

// document returns the document of a path, or errNothing.
func (s *Server) document(ctx context.Context, path string) (*document, error) {
	issuers := s.Issuers()
	if len(issuers) == 0 {
		return nil, errNothing
	}
	switch path {
	case "ca.crt":
		return certificates(roots(issuers)), nil
	case "ca.der":
		return certificate(roots(issuers)[0]), nil
	case "chain.pem":
		return certificates(chain(issuers)), nil
	case "crl.der":
		return s.list(ctx, present(issuers), false)
	case "crl.pem":
		return s.list(ctx, present(issuers), true)
	case "crls.pem":
		return s.lists(ctx, issuers)
	}
	name, ok := strings.CutPrefix(path, "crl/")
	for _, i := range issuers {
		switch {
		case ok && name == string(i.ID)+".crl":
			return s.list(ctx, i, false)
		case ok && name == string(i.ID)+".pem":
			return s.list(ctx, i, true)
		}
	}
	return nil, errNothing
}

// A problem is what is wrong with the HTTP of a request.
type problem struct {
	status int
	words  string
}

func (p *problem) Error() string { return p.words }

var (
	errNothing  = &problem{http.StatusNotFound, "there is no such document here"}
	errMethod   = &problem{http.StatusMethodNotAllowed, "this method is not for this path"}
	errType     = &problem{http.StatusUnsupportedMediaType, "send an OCSP request as application/ocsp-request, without a content encoding"}
	errTooLarge = &problem{http.StatusRequestEntityTooLarge, "an OCSP request has 16 KiB at most"}
	errTooLong  = &problem{http.StatusRequestURITooLong, "an OCSP request has 16 KiB at most"}
	errBroken   = &problem{http.StatusBadRequest, "the body could not be read"}
	errBusy     = &problem{http.StatusServiceUnavailable, "this cannot be answered now, try again later"}
	errOurs     = &problem{http.StatusInternalServerError, "something went wrong here"}
)

// refuse tells a stranger what is wrong in a fixed sentence, and the log the
// truth when it is our fault.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var p *problem
	if !errors.As(err, &p) {
		p = s.blame(r, err)
	}
	if p == errBusy {
		w.Header().Set("Retry-After", "2")
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, p.words, p.status)
}

// blame logs an error that is not of the request's making, and sorts it into
// errNothing, errBusy and errOurs.
func (s *Server) blame(r *http.Request, err error) *problem {
	log := s.Log.With("adapter", "pki", "method", r.Method, "err", err)
	switch adapters.KindOf(err) {
	case adapters.NotFound:
		return errNothing // an authority that the store has lost
	case adapters.Limited:
		log.Debug("question about a certificate came in a crowd")
		return errBusy
	case adapters.Unavailable:
		log.Warn("question about a certificate not answered")
		return errBusy
	}
	log.Error("question about a certificate failed")
	return errOurs
}
