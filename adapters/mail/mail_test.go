package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postern-io/postern/adapters/mail/mailtest"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

var _ authn.Mailer = (*Mailer)(nil)

const (
	address = "ann@example.com"
	key     = "pok_only-for-ann"
)

// logged is a log that a test may read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// office is a mailer that runs until the test ends.
func office(t *testing.T, c Config, pauses ...time.Duration) (*Mailer, *logged) {
	t.Helper()
	log := &logged{}
	c.From, c.FromName, c.Site, c.Log = "postern@example.org", "Postern", "https://postern.example/", slog.New(slog.NewTextHandler(log, nil))
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	m.pauses = pauses
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return m, log
}

func of(s *mailtest.Sink) Config {
	port, _ := strconv.Atoi(s.Port)
	return Config{Host: s.Host, Port: port, CAFile: s.CAFile, Username: mailtest.Username, Password: mailtest.Password}
}

func (m *Mailer) post(t *testing.T, l authn.Letter) {
	t.Helper()
	if err := m.Post(func(context.Context) (authn.Letter, error) { return l, nil }); err != nil {
		t.Fatal(err)
	}
}

var recovery = authn.Letter{Kind: authn.LetterRecovery, To: address, Key: registry.SecretOf(key), Life: 15 * time.Minute}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !done(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("it never came about that %s", what)
		}
	}
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options mailtest.Options
		tls     string
	}{
		"it upgrades with STARTTLS by itself":   {tls: ""},
		"it speaks TLS from the first byte":     {options: mailtest.Options{Implicit: true}, tls: Implicit},
		"it speaks plain to this machine alone": {options: mailtest.Options{Plain: true}, tls: NoTLS},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := mailtest.Start(t, test.options)
			c := of(s)
			c.TLS = test.tls
			if test.options.Plain {
				c.Username, c.Password = "", ""
			}
			m, log := office(t, c)
			m.post(t, recovery)
			eventually(t, "the mail is there", func() bool { return len(s.Mails()) == 1 })
			got := s.Mails()[0]
			if got.From != "postern@example.org" || got.To != address || got.Header.Get("From") != `"Postern" <postern@example.org>` || got.Header.Get("To") != "<"+address+">" {
				t.Errorf("got from %q (%q) to %q (%q)", got.From, got.Header.Get("From"), got.To, got.Header.Get("To"))
			}
			if got.Subject != "Set a new password" || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain") || got.Key() != key ||
				!strings.Contains(got.Body, "\nhttps://postern.example/recover#"+key+"\n") || !strings.Contains(got.Body, "15 minutes") {
				t.Errorf("got %q:\n%s", got.Subject, got.Body)
			}
			eventually(t, "the log tells of it", func() bool { return strings.Contains(log.String(), "letter sent") })
			if strings.Contains(log.String(), address) || strings.Contains(log.String(), key) {
				t.Errorf("the log holds the address or the key:\n%s", log)
			}
		})
	}
}

func TestEveryLetter(t *testing.T) {
	t.Parallel()
	s := mailtest.Start(t, mailtest.Options{})
	m, _ := office(t, of(s))
	links := map[authn.LetterKind]string{
		authn.LetterVerify: "https://postern.example/verify-email#" + key, authn.LetterInvite: "https://postern.example/invite#" + key,
		authn.LetterPassword: "", authn.LetterEmail: "", authn.LetterRole: "editor", authn.LetterFactor: "",
	}
	subjects := map[string]bool{}
	for kind, want := range links {
		l := authn.Letter{Kind: kind, To: address, Role: registry.Editor, Life: 24 * time.Hour}
		if strings.HasPrefix(want, "https:") {
			l.Key = registry.SecretOf(key)
		}
		n := len(s.Mails())
		m.post(t, l)
		eventually(t, "the mail is there", func() bool { return len(s.Mails()) > n })
		got := s.Mails()[n]
		subjects[got.Subject] = true
		if !strings.Contains(got.Body, want) || (got.Key() != "") == l.Key.IsZero() || strings.Contains(got.Body, "<no value>") {
			t.Errorf("%s: got %q:\n%s", kind, got.Subject, got.Body)
		}
	}
	if len(subjects) != len(links) {
		t.Errorf("got %d subjects for %d letters", len(subjects), len(links))
	}
	m.config.RecoveryPrefix = "https://ui.example/password-reset?token="
	if got := m.link(recovery); got != "https://ui.example/password-reset?token="+key {
		t.Errorf("with a prefix: got %q", got)
	}
}

func TestNothingToSend(t *testing.T) {
	t.Parallel()
	s := mailtest.Start(t, mailtest.Options{})
	m, log := office(t, of(s))
	m.post(t, authn.Letter{Kind: authn.LetterRecovery})
	if err := m.Post(func(context.Context) (authn.Letter, error) { return authn.Letter{}, errors.New("the store is away") }); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the failure is logged", func() bool { return strings.Contains(log.String(), "the store is away") })
	m.post(t, recovery)
	eventually(t, "the mail is there", func() bool { return len(s.Mails()) == 1 })
}

// What must not be trusted is not given the letter, nor the password.
func TestUntrustedServers(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]struct {
		options mailtest.Options
		edit    func(*Config)
	}{
		"it wants STARTTLS":              {mailtest.Options{Plain: true}, func(c *Config) { c.Username, c.Password, c.TLS = "", "", StartTLS }},
		"it wants a trusted certificate": {mailtest.Options{}, func(c *Config) { c.CAFile = "" }},
		"it wants a sign-in that works":  {mailtest.Options{}, func(c *Config) { c.Password = "not the password" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := mailtest.Start(t, change.options)
			c := of(s)
			change.edit(&c)
			m, log := office(t, c)
			m.post(t, recovery)
			eventually(t, "it is given up", func() bool { return strings.Contains(log.String(), "letter not sent") })
			if n := len(s.Mails()); n != 0 {
				t.Errorf("%d mails came in", n)
			}
			for _, secret := range []string{address, key, "not the password", mailtest.Password} {
				if strings.Contains(log.String(), secret) {
					t.Errorf("the log holds %q:\n%s", secret, log)
				}
			}
		})
	}
}

// C65: a server that is down or hangs costs nobody's time, and a letter a
// bounded number of tries.
func TestOutages(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept() // and never say a word
			if err != nil {
				return
			}
			defer c.Close()
		}
	})
	t.Cleanup(func() { l.Close(); conns.Wait() })
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	for name, addr := range map[string]net.Addr{"it gives up on a server that hangs": l.Addr(), "it gives up on a server that is down": free.Addr()} {
		t.Run(name, func(t *testing.T) {
			m, log := office(t, Config{Host: "127.0.0.1", Port: addr.(*net.TCPAddr).Port, Timeout: 300 * time.Millisecond}, time.Millisecond, time.Millisecond)
			start := time.Now()
			m.post(t, recovery)
			if took := time.Since(start); took > 250*time.Millisecond {
				t.Errorf("the caller waited %s", took)
			}
			eventually(t, "it is given up", func() bool { return strings.Contains(log.String(), "tries=3") })
			if strings.Contains(log.String(), address) {
				t.Errorf("the log holds the address:\n%s", log)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ code, tries int }{
		"it takes a no for a no":        {550, 1},
		"it tries again what may go":    {451, 3},
		"it tries again a mailbox full": {452, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := mailtest.Start(t, mailtest.Options{Refuse: &smtp.SMTPError{Code: test.code, EnhancedCode: smtp.NoEnhancedCode, Message: "nothing for " + address}})
			m, log := office(t, of(s), time.Millisecond, time.Millisecond)
			m.post(t, recovery)
			eventually(t, "it is given up", func() bool { return strings.Contains(log.String(), "letter not sent") })
			if n := len(s.Mails()); n != test.tries {
				t.Errorf("%d tries, want %d", n, test.tries)
			}
			if strings.Contains(log.String(), address) || !strings.Contains(log.String(), fmt.Sprint(test.code)) {
				t.Errorf("the log has the address or not the code:\n%s", log)
			}
		})
	}
}

func TestTheLineIsBounded(t *testing.T) {
	t.Parallel()
	m, err := New(Config{Host: "127.0.0.1", From: "postern@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	for range maxWaiting {
		m.post(t, recovery)
	}
	if err := m.Post(nil); !errors.Is(err, authn.ErrLimited) {
		t.Errorf("got %v, want limited", err)
	}
}

// A stop tries what is left, once.
func TestStop(t *testing.T) {
	t.Parallel()
	s := mailtest.Start(t, mailtest.Options{})
	c := of(s)
	c.From = "postern@example.org"
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m.post(t, recovery)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := m.Run(ctx); err != nil || len(s.Mails()) != 3 {
		t.Errorf("got %d mails, %v, want 3", len(s.Mails()), err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good := Config{Host: "smtp.example.com", From: "postern@example.org"}
	for name, edit := range map[string]func(*Config){
		"it wants a host":                           func(c *Config) { c.Host = "" },
		"it wants a port":                           func(c *Config) { c.Port = 70000 },
		"it knows three kinds of TLS":               func(c *Config) { c.TLS = "maybe" },
		"it sends nothing in plain text over a net": func(c *Config) { c.TLS = NoTLS },
		"it wants a password with a username":       func(c *Config) { c.Username = "x" },
		"it wants a sender":                         func(c *Config) { c.From = "" },
		"it wants a sender that is one":             func(c *Config) { c.From = "postern" },
		"it refuses line breaks in the sender":      func(c *Config) { c.FromName = "x\r\nBcc: eve@example.com" },
	} {
		c := good
		edit(&c)
		if err := c.Check(); err == nil {
			t.Errorf("%s: it does not", name)
		}
	}
	if err := good.Check(); err != nil {
		t.Errorf("a good one: %v", err)
	}
	for port, want := range map[int]string{0: "starttls 587", 465: "implicit 465", 2525: "starttls 2525"} {
		c := good
		c.Port = port
		if s := c.settled(); fmt.Sprint(s.TLS, " ", s.Port) != want {
			t.Errorf("port %d: got %s %d, want %s", port, s.TLS, s.Port, want)
		}
	}
}

// FuzzReceiver: whatever an address is, a letter goes to one receiver or to none,
// and has no header that was not ours.
func FuzzReceiver(f *testing.F) {
	for _, to := range []string{
		address, "", "a", "a@b, c@d", "a@b\r\nBcc: eve@example.com", "a@b\nSubject: x", "Ann <ann@example.com>", `"a\r\nb"@example.com`,
		"a@b>\r\nX: y", "=?utf-8?q?a?=@b", "a@b\x00", "ünï@exämple.com", "a@b (c\r\n d)", "undisclosed: a@b, c@d;",
	} {
		f.Add(to)
	}
	m, err := New(Config{Host: "127.0.0.1", From: "postern@example.org", Site: "https://postern.example"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, to string) {
		l := recovery
		l.To = to
		msg, err := m.message(l)
		if err != nil {
			if to != "" && strings.Contains(err.Error(), to) && len(to) > 12 {
				t.Errorf("the error tells the address: %v", err)
			}
			return
		}
		var b bytes.Buffer
		if _, err := msg.WriteTo(&b); err != nil {
			return // the library will not send it
		}
		head, _, _ := strings.Cut(b.String(), "\r\n\r\n")
		for line := range strings.SplitSeq(head, "\r\n") {
			name, _, _ := strings.Cut(line, ":")
			switch name {
			case "Date", "MIME-Version", "Message-ID", "Subject", "User-Agent", "X-Mailer", "From", "To", "Content-Type", "Content-Transfer-Encoding", "Auto-Submitted":
			default:
				if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
					t.Errorf("%q makes the header %q", to, line)
				}
			}
		}
		if n, err := msg.GetRecipients(); err != nil || len(n) != 1 {
			t.Errorf("%q: got the receivers %q, %v", to, n, err)
		}
	})
}
