package authn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"syscall"
)

// A Step is one thing that a provider was asked when its settings are tried, in
// a sentence for the person who tries them. It holds no secret and nothing of
// what the other side answered: whoever tries settings must not be able to read
// with our eyes.
type Step struct {
	OK   bool
	Says string
}

// A Checker tries its settings, without signing anybody in. It ends with ctx, and
// after a step that is not OK there may be none.
type Checker interface {
	Check(ctx context.Context) []Step
}

// Unreachable says, for a Step, why somebody could not be talked to; otherwise
// is for what it cannot tell.
func Unreachable(err error, otherwise string) string {
	var (
		name      *net.DNSError
		unknown   x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		plain     tls.RecordHeaderError
		temporary net.Error
	)
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return "there is no host of that name"
	case errors.As(err, &unknown):
		return "its certificate is signed by an authority that this server does not trust"
	case errors.As(err, &host):
		return "its certificate is for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired, or is not valid yet"
	case errors.As(err, &invalid):
		return "its certificate is not valid for this"
	case errors.As(err, &plain):
		return "it does not speak TLS there"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &temporary) && temporary.Timeout():
		return "it did not answer in time"
	}
	return otherwise
}
