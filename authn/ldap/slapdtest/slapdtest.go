//go:build unix

// Package slapdtest runs a private OpenLDAP server for tests: its own
// directory, free ports on loopback, gone at the end. It leaves a system's slapd
// alone and works for root and for an ordinary user.
//
//	dc=example,dc=org
//	├── cn=reader                     the service account; it alone may search
//	├── ou=people    alice bob admin "O'Neil , (x*)" twin
//	├── ou=staff     twin             a second entry of the same cn
//	├── ou=hidden                     here the reader sees no entryUUID
//	└── ou=groups    cn=group         alice, admin, O'Neil
//	                 cn=Admins        admin
//
// The server fills memberOf. Users may sign in and read nothing. No group has the
// cn of a person: the seed's filter finds both, and then nobody may come in.
package slapdtest

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// RequireAll is the variable that makes a missing slapd a failure instead of a
// skipped test; `make test` sets it.
const RequireAll = "POSTERN_TEST_REQUIRE_ALL"

// BaseDN is the root of the directory.
const BaseDN = "dc=example,dc=org"

// The filters as the seed writes them.
const (
	AuthenticationFilter = "(&(|(objectClass=inetOrgPerson)(objectClass=groupOfNames))(cn={username}))"
	AuthorizationFilter  = "(&(objectClass=groupOfNames)(cn=group)(member={user_dn}))"
)

const patience = 30 * time.Second

// A Server is one running slapd. Its methods are for one goroutine at a time.
type Server struct {
	URL          string // ldap://127.0.0.1:port, which also does StartTLS
	LDAPSURL     string // ldaps://127.0.0.1:port
	CAFile       string // PEM of the authority that signed for 127.0.0.1 and localhost
	BindDN       string // the service account
	BindPassword string

	dir          string
	rootPassword string
	plain, tls   int // ports
	cmd          *exec.Cmd
	done         chan struct{} // closed when cmd has ended
}

// Start runs a server with the entries above until the test ends. The test is
// skipped when slapd is not installed, unless RequireAll is set.
func Start(t testing.TB) *Server {
	t.Helper()
	bin, err := binary()
	if err != nil {
		if os.Getenv(RequireAll) != "" {
			t.Fatalf("%v, and %s is set", err, RequireAll)
		}
		t.Skip(err)
	}
	s := &Server{
		BindDN: "cn=reader," + BaseDN, BindPassword: rand.Text(), rootPassword: rand.Text(),
		dir: t.TempDir(), // ours alone: the passwords stand in slapd.conf
	}
	s.CAFile = filepath.Join(s.dir, "ca.pem")
	if err := writeCertificates(s.dir); err != nil {
		t.Fatal(err)
	}
	if err := s.configure(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			text, _ := os.ReadFile(s.log()) // what there is helps
			t.Logf("slapd's log, last part:\n%s", text[max(0, len(text)-8<<10):])
		}
	})
	// A port that was free a moment ago may be taken by another job.
	for try := 1; ; try++ {
		if err = s.listen(bin); err == nil {
			break
		}
		if try == 3 {
			t.Fatalf("start slapd: %v", err)
		}
	}
	s.fill(t)
	return s
}

// Pause stops the process as it is: connections are taken by the kernel and
// nobody answers.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

// Resume ends a Pause.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the process at once, as an outage would; connections are refused
// from then on.
func (s *Server) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill() // it may be gone already
		<-s.done
	}
}

// Restart starts a killed server again, on the same ports and data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	bin, err := binary()
	if err == nil {
		err = s.serve(bin)
	}
	if err != nil {
		t.Fatalf("restart slapd: %v", err)
	}
}

// Root returns a connection that may change everything, closed when the test
// ends.
func (s *Server) Root(t testing.TB) *ldap.Conn {
	t.Helper()
	c, err := s.dial(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (s *Server) dial(url string) (*ldap.Conn, error) {
	roots, err := os.ReadFile(s.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	c, err := ldap.DialURL(url, ldap.DialWithDialer(&net.Dialer{Timeout: time.Second}), ldap.DialWithTLSConfig(&tls.Config{RootCAs: pool}))
	if err != nil {
		return nil, err
	}
	c.SetTimeout(patience)
	if err := c.Bind("cn=root,"+BaseDN, s.rootPassword); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

func (s *Server) configure() error {
	if err := os.Mkdir(filepath.Join(s.dir, "db"), 0o700); err != nil {
		return err
	}
	conf := fmt.Sprintf(configuration, s.dir, BaseDN, s.rootPassword)
	return os.WriteFile(filepath.Join(s.dir, "slapd.conf"), []byte(conf), 0o600)
}

// listen picks ports and serves on them.
func (s *Server) listen(bin string) (err error) {
	if s.plain, err = freePort(); err != nil {
		return err
	}
	if s.tls, err = freePort(); err != nil {
		return err
	}
	s.URL = "ldap://127.0.0.1:" + strconv.Itoa(s.plain)
	s.LDAPSURL = "ldaps://127.0.0.1:" + strconv.Itoa(s.tls)
	return s.serve(bin)
}

// serve runs the server and waits until both ports answer.
func (s *Server) serve(bin string) error {
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// -d keeps it our child; stats logs each operation, never a password.
	s.cmd = exec.Command(bin, "-f", filepath.Join(s.dir, "slapd.conf"), "-h", s.URL+" "+s.LDAPSURL, "-d", "stats")
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, log, log
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	done := make(chan struct{})
	s.done = done
	go func(cmd *exec.Cmd) {
		defer close(done)
		_ = cmd.Wait() // its exit status says only how we stopped it
	}(s.cmd)
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		err := errors.Join(s.answers(s.URL), s.answers(s.LDAPSURL))
		if err == nil {
			return nil
		}
		select {
		case <-s.done:
			text, _ := os.ReadFile(s.log())
			return fmt.Errorf("slapd ended: %w\n%s", err, text)
		case <-deadline.C:
			s.Kill()
			return fmt.Errorf("not ready after %s: %w", patience, err)
		case <-time.After(20 * time.Millisecond): // another process has no channel to wait on
		}
	}
}

func (s *Server) answers(url string) error {
	c, err := s.dial(url)
	if err != nil {
		return err
	}
	return c.Close()
}

// binary finds slapd: Debian keeps it out of an ordinary user's path.
func binary() (string, error) {
	if path, err := exec.LookPath("slapd"); err == nil {
		return path, nil
	}
	const debian = "/usr/sbin/slapd"
	if _, err := os.Stat(debian); err != nil {
		return "", fmt.Errorf("slapd (Debian: slapd) is not installed: %w", err)
	}
	return debian, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
