package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/postern-io/postern/certs"
)

// errUnreachable is wrapped when no answer came at all.
var errUnreachable = errors.New("server not reachable")

// clientVariables are the environment variables of the commands that talk to a
// server, and no settings of it.
var clientVariables = map[string]bool{"POSTERN_SERVER": true, "POSTERN_CA_FILE": true, "POSTERN_TOKEN": true, "POSTERN_LOGIN_FILE": true}

const (
	requestTimeout = 30 * time.Second
	maxAnswer      = 16 << 20
)

// An answerError is what the server said instead of yes.
type answerError struct {
	status    int
	signIn    bool   // whether signing in would help
	Word      string `json:"error"`
	Message   string `json:"message"`
	RequestID string `json:"request_id"`

	Ticket  string   `json:"ticket"` // a secret, of second_factor_required
	Methods []string `json:"methods"`
}

func (e *answerError) Error() string {
	text := e.Message
	if text == "" {
		text = http.StatusText(e.status)
	}
	if e.signIn {
		text = strings.TrimSuffix(text, ".") + "; sign in with postern login"
	}
	if e.RequestID != "" {
		text += " (request " + e.RequestID + ")"
	}
	return text
}

// A login is what postern login leaves for the other commands, in a file of mode
// 0600.
type login struct {
	Server  string `json:"server"`
	CAFile  string `json:"ca_file,omitempty"`
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// A client talks to the REST API of a running server. It is safe for concurrent
// use once it is signed in.
type client struct {
	mu sync.Mutex // of the tokens: one that is shown twice ends the sign-in
	login
	file string // where the login is kept; "" when the token came from the environment
	http *http.Client
}

// clientFlags are what every command that talks to a server takes.
type clientFlags struct {
	server, caFile, loginFile, output string
	token                             string
}

func (c *clientFlags) add(f *pflag.FlagSet, env func(string) string) {
	c.token = env("POSTERN_TOKEN")
	f.StringVar(&c.server, "server", env("POSTERN_SERVER"), "`URL` of the server (POSTERN_SERVER); empty: the one of the login, else https://localhost:8443")
	f.StringVar(&c.caFile, "ca", env("POSTERN_CA_FILE"), "PEM `file` of the authority to trust (POSTERN_CA_FILE); empty: the one of the login, ./data/ca.crt when there is one, else the system's")
	f.StringVar(&c.loginFile, "login-file", env("POSTERN_LOGIN_FILE"), "`file` that keeps the login (POSTERN_LOGIN_FILE); empty: postern/login.json in the user's configuration directory")
	f.StringVarP(&c.output, "output", "o", "table", "`form` of the result: table or json")
}

// client returns the client that the flags, the environment and the saved login
// describe, in this order. While newData, the data directory of a server on this
// machine, has the token of a first start, the login is another server's and
// forgotten; "" names none.
func (c *clientFlags) client(newData string) (*client, error) {
	if err := c.checkOutput(); err != nil {
		return nil, err
	}
	path := c.loginFile
	if path == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return nil, fmt.Errorf("find the login: %w", err)
		}
		path = filepath.Join(dir, "postern", "login.json")
	}
	cl := &client{file: path}
	data, err := certs.ReadPrivate(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(data, &cl.login); err != nil {
			return nil, fmt.Errorf("%s is damaged; sign in again with postern login: %w", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if c.server != "" && c.server != cl.Server {
		cl.login = login{Server: c.server} // tokens of one server are not shown to another
	}
	if newData != "" && exists(filepath.Join(newData, setUpToken)) {
		cl.login = login{Server: c.server}
		if ca := filepath.Join(newData, "ca.crt"); exists(ca) {
			cl.CAFile, _ = filepath.Abs(ca)
		}
	}
	if cl.CAFile != "" && c.caFile == "" && !exists(cl.CAFile) {
		cl.login = login{Server: cl.Server} // without its authority nobody can tell that it is the same server
	}
	if cl.Server == "" {
		cl.Server = "https://localhost:8443"
	}
	if c.caFile != "" {
		cl.CAFile = c.caFile
	}
	if c.token != "" {
		cl.file, cl.Access, cl.Refresh = "", c.token, ""
	}
	return cl, cl.connect()
}

func (c *clientFlags) checkOutput() error {
	if c.output != "table" && c.output != "json" {
		return usagef("--output is %q; give table or json", c.output)
	}
	return nil
}

func (c *client) connect() error {
	if u, err := url.Parse(c.Server); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return usagef("%q is no server; give a URL such as https://localhost:8443", c.Server)
	}
	if c.CAFile == "" && exists("data/ca.crt") {
		c.CAFile, _ = filepath.Abs("data/ca.crt")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		roots, err := certs.ReadCertificates(c.CAFile)
		if err != nil {
			return err
		}
		config.RootCAs = x509.NewCertPool()
		for _, r := range roots {
			config.RootCAs.AddCert(r)
		}
	}
	c.http = &http.Client{Timeout: requestTimeout, Transport: &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: maxParallel}}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// save keeps the login for the next command.
func (c *client) save() error {
	if c.file == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(c.file), 0o700); err != nil {
		return err
	}
	data, err := json.Marshal(c.login)
	if err != nil {
		return err
	}
	return certs.ReplacePrivate(c.file, append(data, '\n'))
}

// do calls the API: path is below /api. A nil in sends no body, a nil out drops
// the answer. An access token that has expired is renewed once.
func (c *client) do(ctx context.Context, method, path string, in, out any) error {
	access, _ := c.access(ctx, "")
	err := c.try(ctx, method, path, access, in, out)
	var answer *answerError
	if errors.As(err, &answer) && answer.status == http.StatusUnauthorized {
		if next, ok := c.access(ctx, access); ok {
			err = c.try(ctx, method, path, next, in, out)
		}
	}
	if errors.As(err, &answer) {
		answer.signIn = answer.status == http.StatusUnauthorized
	}
	return err
}

// access returns the access token, and whether it is another than the one that
// expired; there it is renewed, by the first who asks.
func (c *client) access(ctx context.Context, expired string) (token string, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if expired == "" || c.Access != expired {
		return c.Access, true
	}
	fresh = c.Refresh != "" && c.refresh(ctx) == nil
	return c.Access, fresh
}

// tokens is the answer of issue and refresh.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (c *client) refresh(ctx context.Context) error {
	var t tokens
	if err := c.try(ctx, http.MethodPost, "/users/tokens/refresh", c.Refresh, nil, &t); err != nil {
		return err
	}
	c.Access, c.Refresh = t.Access, t.Refresh
	return c.save()
}

// signIn trades a password for tokens and keeps them.
func (c *client) signIn(ctx context.Context, username, password string) error {
	var t tokens
	in := map[string]string{"username": username, "password": password}
	if err := c.try(ctx, http.MethodPost, "/users/tokens/issue", "", in, &t); err != nil {
		return err
	}
	c.Access, c.Refresh = t.Access, t.Refresh
	return c.save()
}

func (c *client) try(ctx context.Context, method, path, bearer string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Server, "/")+"/api"+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := c.http.Do(req)
	if errors.As(err, new(x509.UnknownAuthorityError)) {
		who := "the system's authorities"
		if c.CAFile != "" {
			who = "the authority in " + c.CAFile
		}
		return fmt.Errorf("%w: %w: it is not from %s; name the right one with --ca", errUnreachable, err, who)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUnreachable, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%w: %w", errUnreachable, err)
	}
	if resp.StatusCode >= 300 {
		answer := &answerError{status: resp.StatusCode}
		_ = json.Unmarshal(data, answer) // what is no JSON has no words
		return answer
	}
	if out == nil || len(data) == 0 {
		return nil
	}
	return json.Unmarshal(data, out)
}
