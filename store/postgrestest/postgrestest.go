//go:build unix

// Package postgrestest runs a private PostgreSQL for tests: its own directory,
// a free port on loopback, gone at the end. It leaves a system's PostgreSQL
// alone.
package postgrestest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// RequireAll is the variable that makes a missing PostgreSQL a failure instead
// of a skipped test; `make test` sets it.
const RequireAll = "POSTERN_TEST_REQUIRE_ALL"

// A Server is one PostgreSQL, started when a test first asks for a database.
// The zero value is ready. Close it in TestMain.
type Server struct {
	once sync.Once
	dir  string
	port int
	cmd  *exec.Cmd
	err  error
}

// URL returns a new, empty database. The test is skipped when PostgreSQL is not
// installed, unless RequireAll is set.
func (s *Server) URL(t testing.TB) string {
	t.Helper()
	bin := binaries()
	if bin == "" {
		if os.Getenv(RequireAll) != "" {
			t.Fatal("PostgreSQL is not installed, and " + RequireAll + " is set")
		}
		t.Skip("PostgreSQL (initdb, postgres) is not installed")
	}
	s.once.Do(func() { s.err = s.start(bin) })
	if s.err != nil {
		t.Fatalf("start PostgreSQL: %v", s.err)
	}
	name := "test_" + rand.Text()
	if err := s.admin(t.Context(), `CREATE DATABASE "`+name+`"`); err != nil {
		t.Fatalf("create database: %v", err)
	}
	return s.url(name)
}

// Stop stops the server for good, as an outage would, and tells when it is
// down.
func (s *Server) Stop() error {
	if s.cmd == nil {
		return nil
	}
	cmd := s.cmd
	s.cmd = nil
	if err := cmd.Process.Signal(syscall.SIGQUIT); err != nil { // immediate shutdown
		return err
	}
	cmd.Wait() // its exit status says only that we stopped it
	return nil
}

// Close stops the server and removes its directory.
func (s *Server) Close() error {
	if err := s.Stop(); err != nil {
		return err
	}
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

func (s *Server) url(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

func (s *Server) admin(ctx context.Context, statement string) error {
	db, err := sql.Open("pgx", s.url("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, statement)
	return err
}

func (s *Server) start(bin string) (err error) {
	if s.dir, err = os.MkdirTemp("", "postern-pg-"); err != nil {
		return err
	}
	attr, err := unprivileged(s.dir)
	if err != nil {
		return err
	}
	data := filepath.Join(s.dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-N")
	initdb.SysProcAttr, initdb.Dir = attr, s.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if s.port, err = freePort(); err != nil {
		return err
	}
	return s.serve(bin, attr)
}

// Restart starts a stopped server again, on the same port and data.
func (s *Server) Restart() error {
	attr, err := unprivileged(s.dir)
	if err != nil {
		return err
	}
	return s.serve(binaries(), attr)
}

// serve runs the server and waits until it answers.
func (s *Server) serve(bin string, attr *syscall.SysProcAttr) error {
	data := filepath.Join(s.dir, "data")
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+s.dir,
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200")
	s.cmd.SysProcAttr, s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = attr, s.dir, log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := s.admin(ctx, "SELECT 1")
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("not ready after 30 s: %w\n%s", err, text)
		}
		time.Sleep(50 * time.Millisecond) // another process has no channel to wait on
	}
}

// unprivileged hands dir to an ordinary user when we are root, as whom
// PostgreSQL refuses to run.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("we are root, and PostgreSQL needs its own user: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// binaries finds where initdb lives: Debian keeps it out of the path.
func binaries() string {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well-formed
	for i := len(dirs) - 1; i >= 0; i-- {
		if _, err := os.Stat(filepath.Join(dirs[i], "initdb")); err == nil {
			return dirs[i]
		}
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	return ""
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
