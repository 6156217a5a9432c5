package main

import (
	"fmt"
	"log/slog"
	"net/url"

	"github.com/spf13/pflag"

	"github.com/postern-io/postern/adapters/mail"
)

// mailSettings say how letters are sent; without a host none are.
type mailSettings struct {
	host, username, password string
	port                     int
	from, fromName           string
	tls, caFile              string
	recoveryPrefix           string
}

// mailAliases are the names that Magistrala gave to the same settings. Its
// MG_EMAIL_TEMPLATE is not among them: letters are written in Postern's words.
var mailAliases = map[string]string{
	"MG_EMAIL_HOST":                "mail-host",
	"MG_EMAIL_PORT":                "mail-port",
	"MG_EMAIL_USERNAME":            "mail-username",
	"MG_EMAIL_PASSWORD":            "mail-password",
	"MG_EMAIL_FROM_ADDRESS":        "mail-from",
	"MG_EMAIL_FROM_NAME":           "mail-from-name",
	"MG_PASSWORD_RESET_URL_PREFIX": "auth-recovery-url-prefix",
}

func (m *mailSettings) flags(f *pflag.FlagSet) {
	f.StringVar(&m.host, "mail-host", "", "`host` of the SMTP server that letters go through (recovery, invitations, notices); empty: no mail")
	f.IntVar(&m.port, "mail-port", 0, "its `port`; 0: 587, or 465 with TLS from the first byte")
	f.StringVar(&m.username, "mail-username", "", "`name` to sign in there with; empty: no sign-in")
	f.StringVar(&m.password, "mail-password", "", "`password` for it")
	f.StringVar(&m.from, "mail-from", "", "`address` that letters come from")
	f.StringVar(&m.fromName, "mail-from-name", "Postern", "`name` that letters come from")
	f.StringVar(&m.tls, "mail-tls", "", "`mode` of TLS: starttls (required), implicit, or none (for a server on loopback alone); empty: implicit on port 465, else starttls")
	f.StringVar(&m.caFile, "mail-ca-file", "", "PEM `file` of the authorities to trust for it; empty: the system's")
	f.StringVar(&m.recoveryPrefix, "auth-recovery-url-prefix", "", "`URL` that a recovery key is put behind in letters; empty: the page of this server, the key in the fragment")
}

// validate says which setting will not do, and what would.
func (m *mailSettings) validate(wrong func(flag, format string, args ...any)) {
	if m.recoveryPrefix != "" {
		if u, err := url.Parse(m.recoveryPrefix); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			wrong("auth-recovery-url-prefix", "is %q; give an absolute URL such as https://ui.example.com/recover#", m.recoveryPrefix)
		}
	}
	if m.host == "" {
		if m.from != "" || m.username != "" {
			wrong("mail-host", "is empty; give the SMTP server, or no other setting of mail")
		}
		return
	}
	if err := m.config("", nil).Check(); err != nil {
		wrong("mail-host", "and its other settings will not do: %s", err)
	}
}

func (m *mailSettings) config(site string, log *slog.Logger) mail.Config {
	return mail.Config{
		Host: m.host, Port: m.port, Username: m.username, Password: m.password, From: m.from, FromName: m.fromName,
		TLS: m.tls, CAFile: m.caFile, Site: site, RecoveryPrefix: m.recoveryPrefix, Log: log,
	}
}

// post opens the way for letters, when there is one.
func (h *house) post(c *Config) (err error) {
	if c.Mail.host == "" {
		return nil
	}
	if h.mail, err = mail.New(c.Mail.config(c.publicURL(), h.log)); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	h.users.Mail = h.mail
	return nil
}
