package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A desk is a certificate and its key in a directory, served by ServerFiles on a
// clock of its own.
type desk struct {
	*ServerFiles
	t   *testing.T
	ca  *Authority
	dir string
	now time.Time
	out bytes.Buffer
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, ca: newAuthority(t), dir: t.TempDir(), now: time.Now()}
	d.ServerFiles = &ServerFiles{
		Cert: filepath.Join(d.dir, "tls.crt"), Key: filepath.Join(d.dir, "tls.key"),
		Now: func() time.Time { return d.now },
		Log: slog.New(slog.NewTextHandler(&d.out, nil)),
	}
	d.put(d.dir, d.issue(90*24*time.Hour))
	if err := d.Load(); err != nil {
		t.Fatal(err)
	}
	return d
}

// issue makes a pair for localhost that ends after a time.
func (d *desk) issue(life time.Duration) pair {
	d.t.Helper()
	dir := d.t.TempDir()
	made := d.ca.leaf(d.t, func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{"localhost"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		c.NotBefore, c.NotAfter = d.now.Add(-365*24*time.Hour), d.now.Add(life)
	})
	if err := WriteKey(filepath.Join(dir, "key"), made.PrivateKey); err != nil {
		d.t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "key"))
	if err != nil {
		d.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(made.Certificate[0])
	if err != nil {
		d.t.Fatal(err)
	}
	return pair{leaf.SerialNumber, EncodePEM(leaf, d.ca.issuer().Certificate), key}
}

type pair struct {
	serial    *big.Int
	cert, key []byte
}

func (d *desk) put(dir string, p pair) {
	d.t.Helper()
	if err := errors.Join(replace(filepath.Join(dir, "tls.crt"), p.cert, 0o644), ReplacePrivate(filepath.Join(dir, "tls.key"), p.key)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) serial() *big.Int {
	d.t.Helper()
	c, err := d.Certificate(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return c.Leaf.SerialNumber
}

// said counts the lines of the log that hold a text.
func (d *desk) said(text string) int {
	n := 0
	for line := range strings.SplitSeq(d.out.String(), "\n") {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func TestReloadDropsNoSession(t *testing.T) {
	d := newDesk(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", TLS{GetCertificate: d.Certificate, Trust: d.ca.trust(t)}.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	dial := func() *tls.Conn {
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", l.Addr().String(), &tls.Config{RootCAs: pool(d.ca.Root()), ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	echo := func(c *tls.Conn) {
		t.Helper()
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		_, err := c.Write([]byte("ping"))
		if _, err2 := io.ReadFull(c, got); err != nil || err2 != nil || string(got) != "ping" {
			t.Fatalf("got %q, %v, %v", got, err, err2)
		}
	}
	open := dial()
	echo(open)
	next := d.issue(90 * 24 * time.Hour)
	d.put(d.dir, next)
	if d.serial().Cmp(next.serial) == 0 {
		t.Fatal("taken before anybody looked")
	}
	d.Look()
	echo(open)
	fresh := dial()
	echo(fresh)
	chain := fresh.ConnectionState().PeerCertificates
	if len(chain) != 2 || chain[0].SerialNumber.Cmp(next.serial) != 0 {
		t.Errorf("a new handshake shows %d certificates, the first with serial %v, want the new one and its authority", len(chain), chain[0].SerialNumber)
	}
	if was := open.ConnectionState().PeerCertificates[0].SerialNumber; was.Cmp(next.serial) == 0 {
		t.Error("the test compares a certificate with itself")
	}
	if d.said("server certificate reloaded") != 1 {
		t.Errorf("the log:\n%s", d.out.String())
	}
	d.Look()
	if d.said("server certificate reloaded") != 1 {
		t.Error("files that did not change were read again")
	}
}

// What will not do is said once, and the certificate before it stays until the
// files are right.
func TestBadPairKeepsTheOld(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*desk, pair)
		says  string
	}{
		"it waits for the key": {func(d *desk, p pair) {
			d.write("tls.crt", p.cert, 0o644)
		}, "does not match"},
		"it waits for the certificate": {func(d *desk, p pair) {
			d.write("tls.key", p.key, 0o600)
		}, "does not match"},
		"it waits for the rest of the certificate": {func(d *desk, p pair) {
			d.write("tls.crt", p.cert[:200], 0o644)
			d.write("tls.key", p.key, 0o600)
		}, "tls.crt"},
		"it waits for a file that is gone": {func(d *desk, _ pair) {
			if err := os.Remove(d.Key); err != nil {
				d.t.Fatal(err)
			}
		}, "no such file"},
		"it refuses a key that others may read": {func(d *desk, p pair) {
			d.write("tls.crt", p.cert, 0o644)
			d.write("tls.key", p.key, 0o640)
		}, "chmod 600"},
		"it refuses one that has ended": {func(d *desk, _ pair) {
			d.put(d.dir, d.issue(-time.Hour))
		}, "ended at"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			before, next := d.serial(), d.issue(60*24*time.Hour)
			test.spoil(d, next)
			for range 3 {
				d.Look()
			}
			d.Reload()
			if d.serial().Cmp(before) != 0 {
				t.Error("the old certificate is gone")
			}
			if d.said("not reloaded") != 1 || d.said(test.says) != 1 {
				t.Errorf("want it said once, with %q; the log:\n%s", test.says, d.out.String())
			}
			if strings.Contains(d.out.String(), "PRIVATE KEY") {
				t.Error("the log shows the key")
			}
			d.put(d.dir, next)
			d.Look()
			if d.serial().Cmp(next.serial) != 0 {
				t.Errorf("the good pair was not taken; the log:\n%s", d.out.String())
			}
		})
	}
}

// write overwrites a file in its place, as a careless copy does.
func (d *desk) write(name string, data []byte, mode os.FileMode) {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := errors.Join(os.WriteFile(path, data, mode), os.Chmod(path, mode)); err != nil {
		d.t.Fatal(err)
	}
	// A file system's clock may be coarser than this test is fast.
	later := time.Now().Add(time.Second)
	if err := os.Chtimes(path, later, later); err != nil {
		d.t.Fatal(err)
	}
}

// A chmod changes neither time nor size.
func TestMendedKeyIsTaken(t *testing.T) {
	d := newDesk(t)
	next := d.issue(60 * 24 * time.Hour)
	d.write("tls.crt", next.cert, 0o644)
	d.write("tls.key", next.key, 0o644)
	d.Look()
	if err := os.Chmod(d.Key, 0o600); err != nil {
		t.Fatal(err)
	}
	d.Look()
	if d.serial().Cmp(next.serial) != 0 {
		t.Errorf("not taken; the log:\n%s", d.out.String())
	}
}

// Kubernetes swaps one link to a directory, certbot one link for each file.
func TestLinksAreFollowed(t *testing.T) {
	for name, swap := range map[string]func(link func(to, at string), version string){
		"it sees a directory swapped": func(link func(to, at string), version string) {
			link(version, "..data")
			link("..data/tls.crt", "tls.crt")
			link("..data/tls.key", "tls.key")
		},
		"it sees each file swapped": func(link func(to, at string), version string) {
			link(version+"/tls.crt", "tls.crt")
			link(version+"/tls.key", "tls.key")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			link := func(to, at string) {
				t.Helper()
				at = filepath.Join(d.dir, at)
				if err := errors.Join(os.Symlink(to, at+".new"), os.Rename(at+".new", at)); err != nil {
					t.Fatal(err)
				}
			}
			at := time.Now().Add(-time.Hour)
			for _, version := range []string{"v1", "v2", "v3"} {
				dir, p := filepath.Join(d.dir, version), d.issue(80*24*time.Hour)
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				d.put(dir, p)
				for _, file := range []string{"tls.crt", "tls.key"} {
					// One time for all: it is another file that must be noticed.
					if err := os.Chtimes(filepath.Join(dir, file), at, at); err != nil {
						t.Fatal(err)
					}
				}
				swap(link, version)
				d.Look()
				if d.serial().Cmp(p.serial) != 0 {
					t.Fatalf("%s: not taken; the log:\n%s", version, d.out.String())
				}
			}
		})
	}
}

func TestEndIsAnnouncedOnceADay(t *testing.T) {
	d := newDesk(t)
	d.put(d.dir, d.issue(16*24*time.Hour))
	var days []int
	for hour := range 5 * 24 { // from 16 days before the end
		before := d.said("ends soon")
		d.Look()
		if d.said("ends soon") != before {
			days = append(days, hour/24)
		}
		d.now = d.now.Add(time.Hour)
	}
	if len(days) != 3 || days[0] != 2 || days[2] != 4 {
		t.Errorf("said on the days %v, want 2, 3 and 4", days)
	}
	d.put(d.dir, d.issue(90*24*time.Hour))
	d.Look()
	n := d.said("ends soon")
	d.now = d.now.Add(48 * time.Hour)
	d.Look()
	if d.said("ends soon") != n {
		t.Error("said of a new certificate")
	}
	for i := range 2 {
		d.put(d.dir, d.issue(24*time.Hour))
		d.Look()
		if d.said("ends soon") != n+1+i {
			t.Error("a new certificate that is short of life waits for its warning")
		}
	}
}

func TestOwnCertificateIsRenewedWhileRunning(t *testing.T) {
	h, dir := newHouse(t), t.TempDir()
	clock := func() time.Time { return h.now }
	ca, err := Open(t.Context(), h.config(dir))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	var broken error
	s := &ServerFiles{
		Cert: filepath.Join(dir, "server.crt"), Key: filepath.Join(dir, "server.key"), Now: clock, Log: slog.New(slog.NewTextHandler(&out, nil)),
		Renew: func() error {
			if broken != nil {
				return broken
			}
			_, _, err := ca.ServerCertificate(dir, []string{"localhost"})
			return err
		},
	}
	if err := s.Load(); err != nil {
		t.Fatal(err)
	}
	first := s.Ends()
	serials := map[string]bool{}
	for range 2 * 365 {
		h.now = h.now.Add(24 * time.Hour)
		s.Look()
		c, err := s.Certificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if left := c.Leaf.NotAfter.Sub(h.now); left < renewBefore-2*daily {
			t.Fatalf("after %s it has %s left", h.now.Sub(first), left)
		}
		serials[c.Leaf.SerialNumber.String()] = true
	}
	if len(serials) != 2 {
		t.Errorf("%d certificates in two years, want 2", len(serials))
	}
	if strings.Contains(out.String(), "level=WARN") {
		t.Errorf("the log:\n%s", out.String())
	}
	// A renewal that fails is told, and the certificate stays.
	broken = errors.New("the disk is full")
	h.now = h.now.Add(24 * time.Hour)
	ends := s.Ends()
	for range 3 {
		s.Look()
	}
	if strings.Count(out.String(), "the disk is full") != 1 || !s.Ends().Equal(ends) {
		t.Errorf("want it said once; the log:\n%s", out.String())
	}
}

func TestLoadRefuses(t *testing.T) {
	good := newDesk(t)
	for name, test := range map[string]struct {
		change func() error
		says   string
	}{
		"a loose key":    {func() error { return os.Chmod(good.Key, 0o644) }, "chmod 600"},
		"no certificate": {func() error { return os.Remove(good.Cert) }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := test.change(); err != nil {
				t.Fatal(err)
			}
			s := &ServerFiles{Cert: good.Cert, Key: good.Key}
			if err := s.Load(); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %q", err, test.says)
			}
			if _, err := s.Certificate(nil); err == nil || !s.Ends().IsZero() {
				t.Error("a certificate came out of nothing")
			}
			good.put(good.dir, good.issue(time.Hour))
		})
	}
	s := &ServerFiles{Cert: good.Cert, Key: good.Key, Renew: func() error { return errors.New("no authority") }}
	if err := s.Load(); err == nil || !strings.Contains(err.Error(), "no authority") {
		t.Errorf("got %v, want the renewal's error", err)
	}
}
