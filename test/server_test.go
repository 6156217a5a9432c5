package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postern-io/postern/store/postgrestest"
)

// postgres is a PostgreSQL of these tests' own, started when one asks for it.
var postgres postgrestest.Server

// built is postern, built once with the race detector.
var built string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "postern-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		built = filepath.Join(dir, "postern")
		if out, err := exec.Command("go", "build", "-race", "-o", built, "../cmd/postern").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		code := m.Run()
		if err := postgres.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return code
	}())
}

const patience = 30 * time.Second

// A server is postern serve in a directory of its own, on free ports.
type server struct {
	t                                    *testing.T
	dir                                  string
	mqtt, mqtts, http, https, nats, opsP string
	env                                  []string
	ca                                   string // file of the authority that signed its certificate, when not its own

	mu   sync.Mutex
	log  bytes.Buffer
	cmd  *exec.Cmd
	done chan error
}

// newServer starts a server and waits until it is ready. The environment holds
// nothing but what is given and what every process needs.
func newServer(t *testing.T, env ...string) *server {
	t.Helper()
	s := reserve(t)
	s.up(env...)
	return s
}

// reserve chooses the ports of a server that is not started yet, for tests in
// which somebody else must know its address first.
func reserve(t *testing.T) *server {
	t.Helper()
	ports := freePorts(t, 6)
	s := &server{t: t, dir: t.TempDir(), mqtt: ports[0], mqtts: ports[1], http: ports[2], https: ports[3], nats: ports[4], opsP: ports[5]}
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "GORACE=halt_on_error=1",
		"POSTERN_MQTT_ADDR=127.0.0.1:" + s.mqtt, "POSTERN_MQTTS_ADDR=127.0.0.1:" + s.mqtts,
		"POSTERN_HTTP_ADDR=127.0.0.1:" + s.http, "POSTERN_HTTPS_ADDR=127.0.0.1:" + s.https,
		"POSTERN_NATS_ADDR=127.0.0.1:" + s.nats, "POSTERN_OPS_ADDR=127.0.0.1:" + s.opsP,
	}
	return s
}

// up starts a reserved server with more settings.
func (s *server) up(env ...string) {
	s.t.Helper()
	s.env = append(s.env, env...)
	s.start()
	s.t.Cleanup(func() {
		s.stop(syscall.SIGTERM)
		if s.t.Failed() {
			s.t.Logf("the server's log:\n%s", s.logged())
		}
	})
}

// freePorts returns ports that were free a moment ago on loopback.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	ports := make([]string, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, ports[i], _ = net.SplitHostPort(l.Addr().String())
	}
	return ports
}

func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(built, "serve")
	s.cmd.Dir, s.cmd.Env, s.cmd.Stderr = s.dir, s.env, s
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(s.cmd, s.done)
	s.eventually("the server is ready", func() error {
		select {
		case err := <-s.done:
			s.done <- err
			s.t.Fatalf("the server ended: %v\n%s", err, s.logged())
		default:
		}
		resp, err := http.Get("http://127.0.0.1:" + s.opsP + "/health/ready")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// serveOnce runs a server that is expected to end by itself and returns what it
// said.
func (s *server) serveOnce(env ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, built, "serve")
	cmd.Dir, cmd.Env = s.dir, append(s.env, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// stop ends the server by a signal and returns its exit.
func (s *server) stop(sig os.Signal) error {
	_ = s.cmd.Process.Signal(sig) // it may be gone already
	select {
	case err := <-s.done:
		s.done <- err
		return err
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		s.t.Errorf("the server did not stop within %s", patience)
		return <-s.done
	}
}

// Write takes the server's log.
func (s *server) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *server) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// postern runs another command of the binary in the server's directory, as its
// operator would.
func (s *server) postern(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("postern %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (s *server) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, built, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "POSTERN_SERVER=https://localhost:" + s.https, "POSTERN_CA_FILE=" + s.ca}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.String())
	}
	return string(out), err
}

// eventually tries until it works or patience ends.
func (s *server) eventually(what string, try func() error) {
	s.t.Helper()
	eventually(s.t, what, try)
}

func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("it never came about that %s: %v", what, err)
		}
	}
}

// metric returns one line of /metrics, without its name.
func (s *server) metric(name string) string {
	s.t.Helper()
	resp, err := http.Get("http://127.0.0.1:" + s.opsP + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return value
		}
	}
	return ""
}

// shell is a foreign client under way, as its user would type it.
type shell struct {
	t    *testing.T
	line string
	cmd  *exec.Cmd
	mu   sync.Mutex
	out  bytes.Buffer
}

func (s *server) shell(line string) *shell {
	s.t.Helper()
	c := &shell{t: s.t, line: line, cmd: exec.Command("sh", "-c", line)}
	c.cmd.Dir = s.dir
	c.cmd.Stdout, c.cmd.Stderr = c, c
	c.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "NODE_PATH=" + nodeModules(s.t)}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	ended := make(chan struct{})
	go func() { _ = c.cmd.Wait(); close(ended) }() // its exit is read from ProcessState
	s.t.Cleanup(func() { _ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL); <-ended })
	return c
}

func (c *shell) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(p)
}

func (c *shell) output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String()
}

// run is shell for a command that ends by itself; it returns all it printed.
func (s *server) run(line string) (string, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "NODE_PATH=" + nodeModules(s.t)}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func nodeModules(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ws")); err != nil {
		need(t, fmt.Errorf("the npm packages are not installed (make tools-test): %w", err))
	}
	return dir
}

// need skips a test for lack of a tool, except where everything must run.
func need(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("POSTERN_TEST_REQUIRE_ALL") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
}
