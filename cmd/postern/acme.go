package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/postern-io/postern/certs"
)

// afterGivingUp is how long a name rests after CertMagic gave up on it, which
// takes it thirty days of tries at growing intervals.
const afterGivingUp = 24 * time.Hour

// acme shows certificates that an ACME authority gave (RFC 8555), a certificate a
// name, and until there is one, or for other names, the one it stands before. The
// authority looks at the HTTPS door (RFC 8737) or the HTTP door (RFC 8555 §8.3).
// It renews them when a third of their life is left.
type acme struct {
	domains []string
	before  serverCertificate
	cache   *certmagic.Cache
	config  *certmagic.Config
	log     *slog.Logger
}

func newACME(c *Config, before serverCertificate, log *slog.Logger) (*acme, error) {
	dir := filepath.Join(c.DataDir, "acme")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	httpHost, httpPort, err := addressOf(c.HTTPAddr)
	if err != nil {
		return nil, err
	}
	httpsHost, httpsPort, err := addressOf(c.HTTPSAddr)
	if err != nil {
		return nil, err
	}
	logger := zap.New(toSlog{log: log})
	issuer := certmagic.ACMEIssuer{
		CA: c.ACME.Directory, Email: c.ACME.Email, Agreed: c.ACME.Agree,
		// CertMagic would open these itself; it finds our doors open and leaves
		// the challenge to them.
		ListenHost:  cmp.Or(httpsHost, httpHost),
		AltHTTPPort: httpPort, DisableHTTPChallenge: c.HTTPAddr == "",
		AltTLSALPNPort: httpsPort, DisableTLSALPNChallenge: c.HTTPSAddr == "",
		DisableDistributedSolvers: true, // nodes share no directory
		Logger:                    logger,
	}
	if c.ACME.CARoots != "" {
		roots, err := certs.ReadCertificates(c.ACME.CARoots)
		if err != nil {
			return nil, err
		}
		issuer.TrustedRoots = certs.Pool(roots)
	}
	a := &acme{domains: c.ACME.Domains, before: before, log: log}
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.config, nil },
		Logger:           logger,
	})
	a.config = certmagic.New(a.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: dir}, Logger: logger, OnEvent: a.event,
		Issuers: []certmagic.Issuer{}, // below: an issuer wants to know its config
	})
	a.config.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(a.config, issuer)}
	return a, nil
}

// addressOf takes a listener's address apart; nothing of nothing.
func addressOf(addr string) (host string, port int, err error) {
	if addr == "" {
		return "", 0, nil
	}
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err = net.LookupPort("tcp", service)
	return host, port, err
}

// Run gets the certificates and keeps them until ctx ends. The doors are open by
// then: the authority comes through them.
func (a *acme) Run(ctx context.Context) error {
	var names sync.WaitGroup
	defer names.Wait()
	for _, name := range a.domains {
		names.Go(func() { a.keep(ctx, name) })
	}
	return nil
}

// keep gets one certificate, or loads it, and leaves its renewal to the cache.
func (a *acme) keep(ctx context.Context, name string) {
	for {
		err := a.config.ObtainCertAsync(ctx, name) // waits, with all its tries
		if err == nil {
			err = a.config.ManageAsync(ctx, []string{name})
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		a.log.Warn("certificate not obtained; next try in a day", "name", name, "err", err)
		rest := time.NewTimer(afterGivingUp)
		select {
		case <-ctx.Done():
			rest.Stop()
			return
		case <-rest.C:
		}
	}
}

func (a *acme) close() { a.cache.Stop() }

func (a *acme) event(_ context.Context, event string, data map[string]any) error {
	if event == "cert_obtained" {
		a.log.Info("certificate obtained", "name", data["identifier"], "renewal", data["renewal"])
	}
	return nil
}

// Certificate is for handshakes. A client that names nobody, as many devices do,
// gets the first name's.
func (a *acme) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := cmp.Or(strings.ToLower(hello.ServerName), a.domains[0])
	if issued := a.issued(name); issued != nil {
		return issued, nil
	}
	return a.before.Certificate(hello)
}

// Challenged is Certificate for the HTTPS door, which also answers the authority
// (RFC 8737 §3).
func (a *acme) Challenged(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != acmez.ACMETLS1Protocol {
		return a.Certificate(hello)
	}
	if _, ours := certmagic.GetACMEChallenge(hello.ServerName); !ours {
		return nil, errors.New("no challenge is under way for this name")
	}
	return a.config.GetCertificate(hello)
}

func (a *acme) issued(name string) *tls.Certificate {
	var newest *tls.Certificate
	for _, c := range a.cache.AllMatchingCertificates(name) {
		if newest == nil || c.Leaf.NotAfter.After(newest.Leaf.NotAfter) {
			newest = &c.Certificate
		}
	}
	return newest
}

// Ends is when the first of the certificates that are shown ends.
func (a *acme) Ends() time.Time {
	var first time.Time
	for _, name := range a.domains {
		ends := a.before.Ends()
		if issued := a.issued(name); issued != nil {
			ends = issued.Leaf.NotAfter
		}
		if first.IsZero() || ends.Before(first) {
			first = ends
		}
	}
	return first
}

// answering lets the authority's question through to a challenge that is under
// way (RFC 8555 §8.3), and everything else to next.
func (a *acme) answering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if certmagic.LooksLikeHTTPChallenge(r) {
			if c, ours := certmagic.GetACMEChallenge(r.Host); ours && certmagic.SolveHTTPChallenge(zap.NewNop(), w, r, c.Challenge) {
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// challenged readies the HTTPS door for the authority. Nothing is said on such a
// connection after the handshake (RFC 8737 §3): net/http closes one whose
// protocol it does not speak. What a client shows there is verified as ever.
func (a *acme) challenged(config *tls.Config) {
	config.NextProtos = append(config.NextProtos, acmez.ACMETLS1Protocol)
	config.GetCertificate = a.Challenged
}

// acmeCertificates puts ACME before the server's own certificate, when it is
// wanted.
func (h *house) acmeCertificates(c *Config) (err error) {
	if len(c.ACME.Domains) == 0 {
		return nil
	}
	if h.acme, err = newACME(c, h.files, h.log); err != nil {
		return fmt.Errorf("prepare ACME: %w", err)
	}
	h.shown = h.acme
	return nil
}

// toSlog is a zap core that hands CertMagic's log on. What it tells of its steps
// is for debugging; its errors are about the authority and ask for a look.
type toSlog struct {
	log *slog.Logger
}

func (c toSlog) level(l zapcore.Level) slog.Level {
	if l >= zapcore.WarnLevel {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func (c toSlog) Enabled(l zapcore.Level) bool {
	return c.log.Enabled(context.Background(), c.level(l))
}

func (c toSlog) With(fields []zapcore.Field) zapcore.Core {
	return toSlog{c.log.With(attributes(fields)...)}
}

func (c toSlog) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

func (c toSlog) Write(e zapcore.Entry, fields []zapcore.Field) error {
	c.log.Log(context.Background(), c.level(e.Level), "acme: "+e.Message, attributes(fields)...)
	return nil
}

func (c toSlog) Sync() error { return nil }

func attributes(fields []zapcore.Field) []any {
	out := make([]any, 0, len(fields))
	for _, f := range fields {
		m := zapcore.NewMapObjectEncoder()
		f.AddTo(m)
		for k, v := range m.Fields {
			if k == "error" {
				k = "err"
			}
			out = append(out, slog.Any(k, v))
		}
	}
	return out
}
