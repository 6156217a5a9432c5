package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/certs"
)

// How the connection to the SMTP server is protected.
const (
	StartTLS = "starttls" // required, not tried (RFC 3207)
	Implicit = "implicit" // from the first byte (RFC 8314)
	NoTLS    = "none"     // for a server on this machine alone
)

// DefaultTimeout bounds each part of a delivery: the dial, the greeting with the
// sign-in, the mail itself.
const DefaultTimeout = 5 * time.Second

// Config is how letters are sent.
type Config struct {
	Host               string
	Port               int // 0: 465 with Implicit, else 587
	Username, Password string
	From, FromName     string
	TLS                string // "": Implicit on port 465, else StartTLS
	CAFile             string // PEM of the authorities to trust; "": those of the system
	Timeout            time.Duration

	// Site is the URL that people reach this server by; links begin with it.
	Site string
	// RecoveryPrefix, unless empty, is what a recovery key is put behind instead.
	RecoveryPrefix string

	Log *slog.Logger
}

// Check says what of c will not do, and what would. It opens no file.
func (c Config) Check() error {
	c = c.settled()
	switch {
	case c.Host == "":
		return errors.New("host is empty; give that of the SMTP server")
	case c.Port < 1 || c.Port > 65535:
		return fmt.Errorf("port is %d; give 1 to 65535", c.Port)
	case c.TLS != StartTLS && c.TLS != Implicit && c.TLS != NoTLS:
		return fmt.Errorf("tls is %q; give starttls, implicit or none", c.TLS)
	case c.TLS == NoTLS && !loopback(c.Host):
		return errors.New("tls is none, which is for a server on this machine alone; give starttls or implicit")
	case (c.Username == "") != (c.Password == ""):
		return errors.New("username and password belong together; give both or neither")
	}
	if err := gomail.NewMsg().FromFormat(c.FromName, c.From); err != nil || strings.ContainsFunc(c.From+c.FromName, control) {
		return fmt.Errorf("from is %q; give an address such as postern@example.com", c.From)
	}
	return nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

func (c Config) settled() Config {
	if c.TLS == "" {
		c.TLS = StartTLS
		if c.Port == 465 {
			c.TLS = Implicit
		}
	}
	if c.Port == 0 {
		c.Port = 587
		if c.TLS == Implicit {
			c.Port = 465
		}
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// A Mailer is an authn.Mailer. Run does its work; until then letters wait. It is
// safe for concurrent use.
type Mailer struct {
	config Config
	roots  *x509.CertPool // nil: the system's
	line   chan func(context.Context) (authn.Letter, error)
	pauses []time.Duration // before each further try
}

// New returns a Mailer that has connected to nothing yet.
func New(c Config) (*Mailer, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	m := &Mailer{config: c.settled(), line: make(chan func(context.Context) (authn.Letter, error), maxWaiting), pauses: pauses}
	if c.CAFile != "" {
		roots, err := certs.ReadCertificates(c.CAFile)
		if err != nil {
			return nil, err
		}
		m.roots = x509.NewCertPool()
		for _, r := range roots {
			m.roots.AddCert(r)
		}
	}
	return m, nil
}

// send delivers one letter over a connection of its own: letters are rare.
func (m *Mailer) send(ctx context.Context, l authn.Letter) error {
	msg, err := m.message(l)
	if err != nil {
		return err
	}
	c := m.config
	options := []gomail.Option{
		gomail.WithPort(c.Port), gomail.WithTimeout(c.Timeout),
		gomail.WithTLSConfig(&tls.Config{ServerName: c.Host, RootCAs: m.roots, MinVersion: tls.VersionTLS12}),
	}
	auth := gomail.SMTPAuthAutoDiscover
	switch c.TLS {
	case Implicit:
		options = append(options, gomail.WithSSL())
	case StartTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case NoTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
		auth = gomail.SMTPAuthPlain // which the library gives to loopback alone
	}
	if c.Username != "" {
		options = append(options, gomail.WithSMTPAuth(auth), gomail.WithUsername(c.Username), gomail.WithPassword(c.Password))
	}
	client, err := gomail.NewClient(c.Host, options...)
	if err != nil {
		return err
	}
	return client.DialAndSendWithContext(ctx, msg)
}
