package certs

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// warnBefore is how long before a server certificate's end the log begins
	// to say so.
	warnBefore = 14 * 24 * time.Hour
	// daily is how often it says so, and how often Renew is asked.
	daily = 24 * time.Hour
)

// ServerFiles is a server's certificate, its chain and its key in two PEM files,
// read again when they change. A handshake takes the newest pair that was good;
// connections that are open stay as they are. A pair that is half written, does
// not belong together, has ended or whose key others may read is logged once, and
// the one before it stays until the files are right.
//
// Load comes first, then Look now and then. All methods are safe for concurrent
// use. The fields are not changed after Load.
type ServerFiles struct {
	Cert, Key string           // paths; symbolic links are followed at every look
	Renew     func() error     // makes the files anew when it is time, asked by Load and once a day; nil: somebody else does
	Now       func() time.Time // default time.Now
	Log       *slog.Logger     // default slog.Default

	pair atomic.Pointer[tls.Certificate]

	mu        sync.Mutex
	seen      [2]fs.FileInfo // of the files when the pair was read
	said      string         // the complaint that is in the log already
	warned    time.Time
	asked     time.Time // when Renew was
	unrenewed error
}

// Load reads the pair for the first time.
func (s *ServerFiles) Load() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.renew(); s.unrenewed != nil {
		return fmt.Errorf("make the server certificate: %w", s.unrenewed)
	}
	if err := s.read(); err != nil {
		return fmt.Errorf("load the server certificate: %w", err)
	}
	s.warn()
	return nil
}

// Look reads the pair again when a file has another modification time or size,
// or is another file, since it was last read. It logs what an operator should
// see.
func (s *ServerFiles) Look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().Sub(s.asked) >= daily {
		if s.renew(); s.unrenewed != nil {
			s.log().Warn("server certificate not renewed; next try in a day", "err", s.unrenewed)
		}
	}
	if s.changed() {
		s.again()
	}
	s.warn()
}

// Reload reads the pair again, changed or not.
func (s *ServerFiles) Reload() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again()
	s.warn()
}

// Certificate returns the pair for a handshake; it is a tls.Config's
// GetCertificate.
func (s *ServerFiles) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if pair := s.pair.Load(); pair != nil {
		return pair, nil
	}
	return nil, errors.New("no server certificate is loaded")
}

// Ends returns when the pair in use ends; zero before Load.
func (s *ServerFiles) Ends() time.Time {
	if pair := s.pair.Load(); pair != nil {
		return pair.Leaf.NotAfter
	}
	return time.Time{}
}

func (s *ServerFiles) renew() {
	s.asked = s.now()
	if s.Renew != nil {
		s.unrenewed = s.Renew()
	}
}

// changed reports whether there may be another pair than the one in use. Files
// that were refused stay changed, so they are read at every look: a chmod mends
// a key without changing its modification time.
func (s *ServerFiles) changed() bool {
	for i, path := range []string{s.Cert, s.Key} {
		info, err := os.Stat(path)
		if err != nil {
			return true // again says why
		}
		if was := s.seen[i]; !os.SameFile(was, info) || !was.ModTime().Equal(info.ModTime()) || was.Size() != info.Size() {
			return true
		}
	}
	s.said = "" // the good files are back
	return false
}

// again reads the pair and logs the outcome, a complaint only once.
func (s *ServerFiles) again() {
	if err := s.read(); err != nil {
		if said := err.Error(); said != s.said {
			s.said = said
			s.log().Warn("server certificate not reloaded; the one before stays", "err", err)
		}
		return
	}
	s.said = ""
	s.log().Info("server certificate reloaded", "serial", s.pair.Load().Leaf.SerialNumber.Text(16), "ends", s.Ends())
}

func (s *ServerFiles) read() error {
	// Looked at before they are read: a change in between is seen at the next look.
	var seen [2]fs.FileInfo
	for i, path := range []string{s.Cert, s.Key} {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		seen[i] = info
	}
	cert, err := os.ReadFile(s.Cert)
	if err != nil {
		return err
	}
	key, err := ReadPrivate(s.Key)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", s.Cert, s.Key, err)
	}
	// At a start a certificate that has ended is served all the same, with a
	// warning: the clock may be wrong, and there is no better one.
	if ends := pair.Leaf.NotAfter; s.pair.Load() != nil && ends.Before(s.now()) && ends.Before(s.Ends()) {
		return fmt.Errorf("%s ended at %s, before the one in use", s.Cert, ends.Format(time.RFC3339))
	}
	if old := s.pair.Swap(&pair); old == nil || !old.Leaf.Equal(pair.Leaf) {
		s.warned = time.Time{}
	}
	s.seen = seen
	return nil
}

// warn says once a day that the certificate in use is about to end.
func (s *ServerFiles) warn() {
	now, ends := s.now(), s.Ends()
	if now.Add(warnBefore).Before(ends) || now.Sub(s.warned) < daily {
		return
	}
	s.warned = now
	s.log().Warn("server certificate ends soon", "ends", ends, "file", s.Cert)
}

func (s *ServerFiles) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func (s *ServerFiles) log() *slog.Logger { return cmp.Or(s.Log, slog.Default()) }
