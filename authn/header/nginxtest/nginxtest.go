// Package nginxtest runs Debian's nginx in front of a server under test: it asks
// for a name and a password, and passes on who it was in Remote-User and
// Remote-Groups. The configuration it writes is the one to copy.
package nginxtest

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"
)

const patience = 15 * time.Second

// A Person is somebody that nginx lets in.
type Person struct{ Password, Groups string }

// Config says whom nginx lets in, and where it passes their requests to.
type Config struct {
	Upstream string            // URL of the server under test, without a path
	People   map[string]Person // by name
	Extra    string            // more directives of its server block
}

var conf = template.Must(template.New("").Parse(`daemon off;
worker_processes 1;
error_log stderr warn;
pid {{.Dir}}/pid;
{{if .Root}}user root;
{{end}}events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path {{.Dir}}/body;
  proxy_temp_path {{.Dir}}/proxy;
  fastcgi_temp_path {{.Dir}}/fastcgi;
  uwsgi_temp_path {{.Dir}}/uwsgi;
  scgi_temp_path {{.Dir}}/scgi;
  map $remote_user $groups {
    default "";
{{range $name, $p := .People}}    "{{$name}}" "{{$p.Groups}}";
{{end}}  }
  server {
    listen {{.Address}};
    {{.Extra}}
    location / {
      auth_basic "people";
      auth_basic_user_file {{.Dir}}/people;
      proxy_pass {{.Upstream}};
      # Set in every request, so that what a client sends is overwritten.
      proxy_set_header Remote-User $remote_user;
      proxy_set_header Remote-Groups $groups;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      # The password is nginx's alone.
      proxy_set_header Authorization "";
    }
  }
}
`))

// Start runs nginx on a free port of loopback until the test ends, and returns
// its URL. Without nginx the test is skipped, or fails when
// POSTERN_TEST_REQUIRE_ALL is set.
func Start(t *testing.T, c Config) string {
	t.Helper()
	binary := find(t)
	dir, address := t.TempDir(), freeAddress(t)
	var people strings.Builder
	for name, p := range c.People {
		sum := sha1.Sum([]byte(p.Password))
		fmt.Fprintf(&people, "%s:{SHA}%s\n", name, base64.StdEncoding.EncodeToString(sum[:]))
	}
	if err := os.WriteFile(filepath.Join(dir, "people"), []byte(people.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := conf.Execute(&text, struct {
		Config
		Dir, Address string
		Root         bool
	}{c, dir, address, os.Getuid() == 0}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}

	var log strings.Builder
	cmd := exec.Command(binary, "-p", dir, "-e", "stderr", "-c", file)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("nginx's log:\n%s", log.String())
		}
	})
	await(t, address, ended)
	return "http://" + address
}

// find returns nginx, which Debian keeps where ordinary users do not look.
func find(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if binary, err := exec.LookPath(name); err == nil {
			return binary
		}
	}
	if os.Getenv("POSTERN_TEST_REQUIRE_ALL") != "" {
		t.Fatal("nginx is not installed")
	}
	t.Skip("nginx is not installed")
	return ""
}

// freeAddress returns an address of loopback that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// await returns once nginx takes connections.
func await(t *testing.T, address string, ended <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			tick.Stop()
			return
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatal("nginx ended")
		case <-ctx.Done():
			t.Fatal("nginx does not listen")
		}
	}
}
