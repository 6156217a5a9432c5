package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync/atomic"
	"time"

	"github.com/postern-io/postern/registry"
)

// TLS is what a listener needs to know.
type TLS struct {
	// GetCertificate returns the server's own certificate for a handshake, such
	// as ServerFiles.Certificate.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Trust          *Trust                // whose device certificates are taken
	Proxies        []*x509.Certificate   // authorities whose certificates prove a proxy, and never a device
	Require        bool                  // a connection without a certificate is refused
	Refused        func(*UntrustedError) // called for every certificate refused; may be nil
}

// Config returns the configuration of a TLS listener that asks for a client
// certificate and lets a connection through only when the certificate, if one
// was shown, is good (Trust). The check runs in VerifyConnection and not in the handshake's
// own verification, because that is skipped when a session is resumed.
//
// So on any connection of this configuration, PeerCertificates[0] is verified. With
// Proxies it may be a proxy's: whoever takes certificates for devices asks first
// (Signed).
func (t TLS) Config() *tls.Config {
	proxies, now := Pool(t.Proxies), t.Trust.now
	ask := tls.RequestClientCert
	if t.Require {
		ask = tls.RequireAnyClientCert
	}
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: t.GetCertificate,
		ClientAuth:     ask,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return nil
			}
			_, _, err := t.Trust.verify(s.PeerCertificates, now())
			if err != nil && len(t.Proxies) > 0 && Signed(s.PeerCertificates, proxies, now()) {
				return nil
			}
			if err != nil && t.Refused != nil {
				t.Refused(err)
			}
			if err != nil {
				return err
			}
			return nil
		},
	}
	config.GetConfigForClient = t.named(config)
	return config
}

// named adds whose certificates are taken, which the request for one names so
// that a client offers what fits. They change while the server runs.
func (t TLS) named(base *tls.Config) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	type named struct {
		by     *view
		config *tls.Config
	}
	var last atomic.Pointer[named]
	return func(*tls.ClientHelloInfo) (*tls.Config, error) {
		by, n := t.Trust.view.Load(), last.Load()
		if n == nil || n.by != by {
			n = &named{by, base.Clone()}
			n.config.GetConfigForClient, n.config.ClientCAs = nil, by.named
			last.Store(n)
		}
		return n.config, nil
	}
}

// Pool is a set of authorities.
func Pool(roots []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range roots {
		pool.AddCert(c)
	}
	return pool
}

// Signed reports whether a client's chain leads to one of the roots at that time.
func Signed(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) bool {
	if len(chain) == 0 || len(chain) > maxChain {
		return false
	}
	_, err := verifyChain(chain, roots, now)
	return err == nil
}

func verifyChain(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) ([][]*x509.Certificate, *UntrustedError) {
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	paths, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return paths, nil
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return nil, &UntrustedError{registry.ReasonCertificateExpired, err}
	}
	return nil, &UntrustedError{registry.ReasonCertificateUntrusted, err}
}
