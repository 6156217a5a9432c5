package mail

import (
	"embed"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/postern-io/postern/authn"
)

//go:embed letters/*.txt
var files embed.FS

// written are the letters, one file for each kind. The first line is the subject.
var written = template.Must(template.ParseFS(files, "letters/*.txt"))

// errLetter is wrapped when a letter cannot be written.
var errLetter = errors.New("this letter cannot be written")

// shown is what a letter's words may use.
type shown struct {
	Site string
	Link string // with the key; a secret
	Life string // how long the key is good
	Role string
}

// pages are where links lead, below the site.
var pages = map[authn.LetterKind]string{
	authn.LetterRecovery: "/recover#",
	authn.LetterVerify:   "/verify-email#",
	authn.LetterInvite:   "/invite#",
}

// link returns the URL that brings a key. The fragment stays in the browser.
func (m *Mailer) link(l authn.Letter) string {
	if l.Key.IsZero() {
		return ""
	}
	if l.Kind == authn.LetterRecovery && m.config.RecoveryPrefix != "" {
		return m.config.RecoveryPrefix + l.Key.Reveal()
	}
	return strings.TrimSuffix(m.config.Site, "/") + pages[l.Kind] + l.Key.Reveal()
}

// message writes a letter. Errors name no address.
func (m *Mailer) message(l authn.Letter) (*gomail.Msg, error) {
	var text strings.Builder
	role := l.Role.String()
	if role == "" {
		role = "none"
	}
	if err := written.ExecuteTemplate(&text, string(l.Kind)+".txt", shown{m.config.Site, m.link(l), span(l.Life), role}); err != nil {
		return nil, fmt.Errorf("%w: %w", errLetter, err)
	}
	subject, body, _ := strings.Cut(text.String(), "\n")
	msg := gomail.NewMsg()
	if err := msg.FromFormat(m.config.FromName, m.config.From); err != nil {
		return nil, fmt.Errorf("%w: the sender is no address", errLetter)
	}
	// One address and nothing else: the library reads a list of one, and refuses
	// line breaks, which would begin another header.
	if err := msg.To(l.To); err != nil || len(msg.GetTo()) != 1 || strings.ContainsFunc(l.To, control) {
		return nil, fmt.Errorf("%w: the receiver is no address", errLetter)
	}
	msg.Subject(subject)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834 §5: no holiday notes, please
	msg.SetDate()
	msg.SetBodyString(gomail.TypeTextPlain, strings.TrimLeft(body, "\n"))
	return msg, nil
}

// span says a duration as people do.
func span(d time.Duration) string {
	if d >= time.Hour {
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d minutes", int(d.Minutes()))
}
