package messaging

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// pieces is a connection that yields its text a few bytes at a time.
type pieces struct {
	net.Conn
	text []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.text) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size)], p.text)
	p.text = p.text[n:]
	return n, nil
}

// parsed returns what a link makes of text that comes in pieces.
func parsed(text []byte, size int) (got []string, err error) {
	l := &link{log: slog.New(slog.DiscardHandler), subs: map[uint64]*subject{7: {id: 7}}, slow: func() {}}
	l.writing.L = &l.mu
	l.received = func(_ *subject, topic, header, payload []byte) {
		got = append(got, fmt.Sprintf("%s|%s|%s", topic, header, payload))
	}
	err = (&reader{link: l, conn: &pieces{text: text, size: size}}).run()
	return got, err
}

func TestReader(t *testing.T) {
	large := strings.Repeat("x", 200<<10)
	tests := []struct {
		name, in string
		want     []string
		end      error
	}{
		{"takes messages", "MSG a 7 1\r\nx\r\nMSG a.b 7 reply 0\r\n\r\n", []string{"a||x", "a.b||"}, io.EOF},
		{"takes headers", "HMSG a 7 3 4\r\nhhhx\r\nHMSG a 7 r 1 1\r\nh\r\n", []string{"a|hhh|x", "a|h|"}, io.EOF},
		{"takes payloads that look like operations", "MSG a 7 8\r\n\r\nPING\r\n\r\n", []string{"a||\r\nPING\r\n"}, io.EOF},
		{"takes large messages", "MSG a 7 204800\r\n" + large + "\r\nMSG a 7 1\r\ny\r\n", []string{"a||" + large, "a||y"}, io.EOF},
		{"passes over what is not for it", "+OK\r\nINFO {}\r\n-ERR 'x'\r\nMSG a 8 1\r\nx\r\nMSG a 7 1\r\ny\r\n", []string{"a||y"}, io.EOF},
		{"refuses nonsense", "HELLO\r\n", nil, errProtocol},
		{"refuses a PONG that nobody asked for", "PONG\r\n", nil, nil},
		{"refuses a size that is none", "MSG a 7 x\r\n", nil, errProtocol},
		{"refuses a missing size", "MSG a 7\r\n", nil, errProtocol},
		{"refuses too many fields", "MSG a 7 r s t 1\r\n", nil, errProtocol},
		{"refuses headers longer than all", "HMSG a 7 2 1\r\nx\r\n", nil, errProtocol},
		{"refuses an endless size", "MSG a 7 99999999999999999\r\n", nil, errProtocol},
		{"refuses an endless line", strings.Repeat("x", 2<<20), nil, errProtocol},
	}
	for _, tt := range tests {
		t.Run("it "+tt.name, func(t *testing.T) {
			for _, size := range []int{1 << 20, 4096, 7} {
				if size == 7 && len(tt.in) > 1<<20 {
					continue // looking for the end of the line takes its time
				}
				got, err := parsed([]byte(tt.in), size)
				if !slices.Equal(got, tt.want) || err == nil || tt.end != nil && !errors.Is(err, tt.end) {
					t.Fatalf("pieces of %d: got %d messages and %v, want %d and %v", size, len(got), err, len(tt.want), tt.end)
				}
			}
		})
	}
}

// FuzzReader holds that it does not matter how the text is cut.
func FuzzReader(f *testing.F) {
	f.Add([]byte("MSG a 7 1\r\nx\r\nHMSG a 7 r 1 2\r\nhx\r\nPING\r\nPONG\r\n"), 3)
	f.Add([]byte("MSG a 7 -1\r\n"), 1)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		whole, _ := parsed(text, len(text)+1)
		cut, _ := parsed(text, max(1, size%64))
		if !slices.Equal(whole, cut) {
			t.Fatalf("got %q, in pieces %q", whole, cut)
		}
	})
}

// TestOutsideServerWithTLS signs in by user and password over TLS.
func TestOutsideServerWithTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	s := serve(t, &server.Options{
		Username: "postern", Password: "not a secret",
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
	})
	b := openBus(t, func(c *Config) {
		c.URL = fmt.Sprintf("tls://postern:not%%20a%%20secret@localhost:%d", s.Addr().(*net.TCPAddr).Port)
		c.TLS = &tls.Config{RootCAs: roots}
	})
	if seq, err := publish(b, message("x"), true); err != nil || seq != 1 {
		t.Errorf("publish: %d, %v", seq, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := Open(ctx, Config{URL: b.config.URL}); err == nil {
		t.Error("a server of an unknown authority was trusted")
	}
}

// TestOutsideServerWithCredentials signs in by a credentials file, as on a
// server in operator mode.
func TestOutsideServerWithCredentials(t *testing.T) {
	operator, account, user := must(nkeys.CreateOperator()), must(nkeys.CreateAccount()), must(nkeys.CreateUser())
	claims := jwt.NewAccountClaims(must(account.PublicKey()))
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	accountJWT := must(claims.Encode(operator))
	userJWT := must(jwt.NewUserClaims(must(user.PublicKey())).Encode(account))
	resolver := &server.MemAccResolver{}
	if err := resolver.Store(must(account.PublicKey()), accountJWT); err != nil {
		t.Fatal(err)
	}
	system := must(nkeys.CreateAccount())
	if err := resolver.Store(must(system.PublicKey()), must(jwt.NewAccountClaims(must(system.PublicKey())).Encode(operator))); err != nil {
		t.Fatal(err)
	}
	s := serve(t, &server.Options{
		TrustedKeys: []string{must(operator.PublicKey())}, AccountResolver: resolver, SystemAccount: must(system.PublicKey()),
	})
	file := filepath.Join(t.TempDir(), "postern.creds")
	creds := must(jwt.FormatUserConfig(userJWT, must(user.Seed())))
	if err := os.WriteFile(file, creds, 0o600); err != nil {
		t.Fatal(err)
	}
	b := openBus(t, func(c *Config) { c.URL, c.CredsFile = s.ClientURL(), file })
	if seq, err := publish(b, message("x"), true); err != nil || seq != 1 {
		t.Errorf("publish: %d, %v", seq, err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestReconnectTells has a connection of the data path lost while the others
// stand: what waits fails, subscriptions come back.
func TestReconnectTells(t *testing.T) {
	b := openBus(t, func(c *Config) { c.Connections = 1 })
	got := make(chan *Message, 1000)
	if _, err := b.Subscribe(Filter{Domain: "d1", Channel: "c1", Subtopic: "#"}, func(m *Message) {
		select {
		case got <- m:
		default:
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*link{b.publishers[0].link, b.receivers[0].link} {
		l.mu.Lock()
		conn := l.conn
		l.mu.Unlock()
		conn.Close()
		poll(t, t.Context(), func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.conn != nil && l.conn != conn
		})
		if err := l.sync(); err != nil {
			t.Fatal(err)
		}
		seq, err := publish(b, message("again"), true)
		if err != nil {
			t.Fatal(err)
		}
		if m := receive(t, got); m.Sequence != seq {
			t.Errorf("got sequence %d, want %d", m.Sequence, seq)
		}
	}
}

// TestLinksBreak cuts the data path again and again while 8 lanes publish:
// every done is called once and in order, and what was acknowledged is in the
// stream.
func TestLinksBreak(t *testing.T) {
	for _, outside := range []bool{false, true} {
		t.Run(fmt.Sprint("outside ", outside), func(t *testing.T) {
			b := openBus(t, func(c *Config) {
				c.InFlight, c.AckTimeout = 64, 2*time.Second
				if outside {
					c.URL = serve(t, &server.Options{}).ClientURL()
				}
			})
			const lanes, each = 8, 3000
			var work, answers sync.WaitGroup
			var acked, failed atomic.Int64
			for i := range lanes {
				answers.Add(each)
				work.Go(func() {
					lane, last := b.Lane(fmt.Sprint(i)), -1
					for n := range each {
						m := message(fmt.Sprint(i, n))
						lane.Publish(m, n%2 == 0, func(seq uint64, err error) {
							defer answers.Done()
							if n != last+1 {
								t.Errorf("lane %d: done %d after %d", i, n, last)
							}
							last = n
							switch {
							case err == nil && seq > 0:
								acked.Add(1)
							case err != nil && !errors.Is(err, ErrUnavailable):
								t.Errorf("lane %d: %v", i, err)
							case err != nil:
								failed.Add(1)
							}
						})
					}
				})
			}
			done := make(chan struct{})
			go func() { work.Wait(); answers.Wait(); close(done) }()
			for cut := 0; ; cut++ {
				select {
				case <-done:
					stream, err := b.js.Stream(t.Context(), streamName)
					if err != nil {
						t.Fatal(err)
					}
					if stored := stream.CachedInfo().State.Msgs; int64(stored) < acked.Load() {
						t.Errorf("%d were acknowledged and %d are stored", acked.Load(), stored)
					}
					t.Logf("%d cuts, %d stored and acknowledged, %d failed", cut, acked.Load(), failed.Load())
					return
				case <-time.After(50 * time.Millisecond): // paces the cuts; nothing depends on it
				}
				l := b.publishers[cut%len(b.publishers)].link
				l.mu.Lock()
				if l.conn != nil {
					l.conn.Close()
				}
				l.mu.Unlock()
			}
		})
	}
}
