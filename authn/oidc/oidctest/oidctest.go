// Package oidctest gives tests two OpenID providers: Start runs a certified one,
// npm's oidc-provider, with people that sign in without a browser; NewLiar runs
// one that lies where it is told to.
package oidctest

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const patience = 30 * time.Second

// A Client is an application known to the provider.
type Client struct {
	ID           string   `json:"id"`
	Secret       string   `json:"secret,omitempty"` // "" makes it public; else at least 32 characters
	Auth         string   `json:"auth,omitempty"`   // "" is client_secret_basic
	Alg          string   `json:"alg,omitempty"`    // of its id_tokens; "" is RS256
	RedirectURIs []string `json:"redirectURIs"`
	LogoutURIs   []string `json:"logoutURIs,omitempty"`
}

// A Config is what Start runs.
type Config struct {
	Clients   []Client `json:"clients"`
	InIDToken bool     `json:"inIDToken"` // claims stand in the id_token as well, not at userinfo alone
}

// A Server is a running provider. Its people are alice, whose address is
// verified and who is in the groups operators and staff; bob, in none; mallory,
// who claims alice's address unverified; and noemail. PKCE is required.
type Server struct {
	Issuer string

	config Config
	script string
	cmd    *exec.Cmd
	stdin  io.Closer
}

//go:embed provider.mjs
var script []byte

// Start runs a provider until the test ends. Without node, or the packages of
// test/, the test is skipped, or fails where POSTERN_TEST_REQUIRE_ALL is set.
func Start(t testing.TB, c Config) *Server {
	t.Helper()
	s := &Server{config: c, script: filepath.Join(t.TempDir(), "provider.mjs")}
	if err := os.WriteFile(s.script, script, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start(t, "0")
	t.Cleanup(s.Stop)
	return s
}

// Restart runs it anew under the same issuer, with new keys and no memory.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	u, err := url.Parse(s.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	s.start(t, u.Port())
}

// Stop ends it.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	s.stdin.Close()
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.cmd = nil
}

func (s *Server) start(t testing.TB, port string) {
	t.Helper()
	modules, err := nodeModules()
	need(t, err)
	node, err := exec.LookPath("node")
	need(t, err)
	config, err := json.Marshal(struct {
		Config
		Port string `json:"port"`
	}{s.config, port})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, s.script, modules, string(config))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.cmd, s.stdin = cmd, stdin
	late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer late.Stop()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		s.Stop()
		t.Fatalf("oidc-provider did not start: %v\n%s", err, log.String())
	}
	s.Issuer = strings.TrimSpace(line)
}

// nodeModules finds the packages of test/ from wherever the test runs.
func nodeModules() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			modules := filepath.Join(dir, "test", "node_modules")
			if _, err := os.Stat(filepath.Join(modules, "oidc-provider")); err != nil {
				return "", fmt.Errorf("the npm packages are not installed (make tools-test): %w", err)
			}
			return modules, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the test")
		}
	}
}

// need skips a test for lack of a tool, except where everything must run.
func need(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("POSTERN_TEST_REQUIRE_ALL") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// NewBrowser returns a client with cookies of its own.
func NewBrowser() *http.Client {
	jar, _ := cookiejar.New(nil) // errs for no options
	return &http.Client{Jar: jar, Timeout: patience}
}

var (
	action = regexp.MustCompile(`<form[^>]* action="([^"]+)"`)
	prompt = regexp.MustCompile(`name="prompt" value="([^"]+)"`)
	cancel = regexp.MustCompile(`href="([^"]+/abort)"`)
)

// Login signs somebody in at an authorization URL, consents, and returns the
// callback that the provider sends the browser to, which is not visited. Login
// "" cancels instead. The client needs a cookie jar.
func Login(t testing.TB, client *http.Client, authURL, login string) (callback *url.URL) {
	t.Helper()
	browser := *client
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	provider, err := url.Parse(authURL)
	if err != nil {
		t.Fatal(err)
	}
	at, form := provider, url.Values(nil)
	for range 20 {
		var resp *http.Response
		if form == nil {
			resp, err = browser.Get(at.String())
		} else {
			resp, err = browser.PostForm(at.String(), form)
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		page, next := string(body), resp.Header.Get("Location")
		form = nil
		if resp.StatusCode == http.StatusOK {
			a, p, c := action.FindStringSubmatch(page), prompt.FindStringSubmatch(page), cancel.FindStringSubmatch(page)
			switch {
			case login == "" && c != nil:
				next = html.UnescapeString(c[1])
			case a != nil && p != nil:
				next, form = html.UnescapeString(a[1]), url.Values{"prompt": {p[1]}, "login": {login}, "password": {"any"}}
			}
		}
		if next == "" {
			t.Fatalf("%s answered %s and leads nowhere:\n%s", at.Path, resp.Status, page)
		}
		if at, err = at.Parse(next); err != nil {
			t.Fatal(err)
		}
		if at.Host != provider.Host {
			return at
		}
	}
	t.Fatal("the sign-in does not end")
	return nil
}
