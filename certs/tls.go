package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"github.com/postern-io/postern/registry"
)

// TLS is what a listener needs to know.
type TLS struct {
	// GetCertificate returns the server's own certificate for a handshake, such
	// as ServerFiles.Certificate.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Roots          []*x509.Certificate   // authorities whose device certificates are taken
	Proxies        []*x509.Certificate   // authorities whose certificates prove a proxy, and never a device
	Require        bool                  // a connection without a certificate is refused
	Now            func() time.Time      // default time.Now
	Refused        func(*UntrustedError) // called for every certificate refused; may be nil
}

// An UntrustedError says why a client certificate was refused.
type UntrustedError struct {
	Reason registry.Reason
	Err    error
}

func (e *UntrustedError) Error() string { return string(e.Reason) + ": " + e.Err.Error() }
func (e *UntrustedError) Unwrap() error { return e.Err }

// Config returns the configuration of a TLS listener that asks for a client
// certificate and lets a connection through only when the certificate, if one
// was shown, is in its time, made for clients (EKU clientAuth) and chains to one
// of the roots. The check runs in VerifyConnection and not in the handshake's
// own verification, because that is skipped when a session is resumed.
//
// So on any connection of this configuration, PeerCertificates[0] is verified. With
// Proxies it may be a proxy's: whoever takes certificates for devices asks first
// (Signed).
func (t TLS) Config() *tls.Config {
	roots, proxies := Pool(t.Roots), Pool(t.Proxies)
	now := t.Now
	if now == nil {
		now = time.Now
	}
	ask := tls.RequestClientCert
	if t.Require {
		ask = tls.RequireAnyClientCert
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: t.GetCertificate,
		ClientAuth:     ask,
		ClientCAs:      roots, // named in the request, so that a browser offers what fits
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return nil
			}
			err := verify(s.PeerCertificates, roots, now())
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
	return len(chain) > 0 && verify(chain, roots, now) == nil
}

func verify(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) *UntrustedError {
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return &UntrustedError{registry.ReasonCertificateExpired, err}
	}
	return &UntrustedError{registry.ReasonCertificateUntrusted, err}
}
