package ldap_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/ldap"
	"github.com/postern-io/postern/authn/ldap/slapdtest"
	"github.com/postern-io/postern/registry"
)

// slack is what a busy machine may add to a timeout.
const slack = 3 * time.Second

// unavailable tells whether Verify and Test could not tell, with a word of the
// cause, and in time.
func unavailable(t *testing.T, c ldap.Config, word string) {
	t.Helper()
	p := open(t, c)
	most := cmpOr(c.Timeout, ldap.MaxTimeout) + slack
	start := time.Now()
	a, err := verify(t, p, c, "alice", slapdtest.AlicePassword)
	if took := time.Since(start); took > most {
		t.Errorf("took %s, want at most %s", took, most)
	}
	if !errors.Is(err, authn.ErrProvider) || !strings.Contains(err.Error(), word) {
		t.Errorf("got %v, want ErrProvider with %q", err, word)
	}
	if a.Subject != "" && err == nil {
		t.Errorf("let in as %q", a.Subject)
	}
}

func cmpOr(d, other time.Duration) time.Duration {
	if d == 0 {
		return other
	}
	return d
}

// C59: no password over a connection that is not what the settings say.
func TestTLS(t *testing.T) {
	t.Parallel()
	s := slapdtest.Start(t)
	other := slapdtest.Start(t) // another authority, the same names
	for _, transport := range []struct {
		name string
		set  func(*ldap.Config)
	}{
		{"LDAPS", func(*ldap.Config) {}},
		{"StartTLS", func(c *ldap.Config) { c.Server, c.StartTLS = s.URL, true }},
	} {
		for _, test := range []struct {
			it   string
			set  func(*ldap.Config)
			word string
		}{
			{"refuses another authority", func(c *ldap.Config) { c.CAFile = other.CAFile }, "certificate"},
			{"refuses an authority that the system does not know", func(c *ldap.Config) { c.CAFile = "" }, "certificate"},
			{"refuses another name", func(c *ldap.Config) { c.ServerName = "ldap.example.org" }, "certificate is valid for"},
			{"refuses a certificate of yesterday", func(c *ldap.Config) {
				c.Now = func() time.Time { return time.Now().Add(48 * time.Hour) }
			}, "expired"},
		} {
			t.Run(transport.name+"/it "+test.it, func(t *testing.T) {
				c := settings(s)
				transport.set(&c)
				test.set(&c)
				unavailable(t, c, test.word)
			})
		}
		t.Run(transport.name+"/it takes the name that is configured", func(t *testing.T) {
			c := settings(s)
			transport.set(&c)
			c.ServerName = "localhost"
			if _, err := verify(t, open(t, c), c, "alice", slapdtest.AlicePassword); err != nil {
				t.Error(err)
			}
		})
	}

	t.Run("it refuses TLS 1.1", func(t *testing.T) {
		pair, err := tls.LoadX509KeyPair(filepath.Join(filepath.Dir(s.CAFile), "server.pem"), filepath.Join(filepath.Dir(s.CAFile), "server.key"))
		if err != nil {
			t.Fatal(err)
		}
		c := settings(s)
		c.Server = "ldaps://" + listen(t, func(conn net.Conn) {
			_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}).Handshake() // the client is what is tested
		})
		unavailable(t, c, "protocol version")
	})

	for code, it := range map[int64]string{2: "says nothing to a directory without StartTLS", 52: "says nothing to a directory that puts StartTLS off"} {
		t.Run("it "+it, func(t *testing.T) {
			d := newDirectory(t, func(int, *ber.Packet) []*ber.Packet {
				return []*ber.Packet{done(goldap.ApplicationExtendedResponse, code, "no TLS here")}
			})
			c := settings(s)
			c.Server, c.StartTLS = d.url, true
			unavailable(t, c, "StartTLS")
			if got := d.operations(); !slices.Equal(got, []ber.Tag{goldap.ApplicationExtendedRequest}) || strings.Contains(d.transcript(), c.BindPassword) {
				t.Errorf("said %v, want StartTLS alone", got)
			}
		})
	}
}

// C65: a directory that is away or stuck means "cannot tell", in time.
func TestOutage(t *testing.T) {
	t.Parallel()
	s := slapdtest.Start(t)
	c := settings(s)
	c.Timeout = time.Second

	t.Run("it does not blame people for a wrong service account", func(t *testing.T) {
		c := c
		c.BindPassword = "not the password of reader"
		unavailable(t, c, s.BindDN)
	})
	t.Run("it does not blame people for a base that is not there", func(t *testing.T) {
		c := c
		c.BaseDN = "ou=nowhere," + slapdtest.BaseDN
		unavailable(t, c, "ou=nowhere")
	})
	t.Run("it does not wait for a stopped directory", func(t *testing.T) {
		s.Pause(t)
		defer s.Resume(t)
		unavailable(t, c, "")
	})
	t.Run("it works again after", func(t *testing.T) {
		if _, err := verify(t, open(t, c), c, "alice", slapdtest.AlicePassword); err != nil {
			t.Error(err)
		}
	})
	t.Run("it knows a directory that is down", func(t *testing.T) {
		s.Kill()
		unavailable(t, c, "refused")
		s.Restart(t)
		if _, err := verify(t, open(t, c), c, "alice", slapdtest.AlicePassword); err != nil {
			t.Errorf("after a restart: %v", err)
		}
	})

	for _, stranger := range []struct {
		it    string
		serve func(net.Conn)
		word  string
	}{
		{"does not wait for a server that says nothing", func(conn net.Conn) { io.Copy(io.Discard, conn) }, ""},
		{"does not take a hang-up for an answer", func(net.Conn) {}, ""},
		{"does not take text for an answer", func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nWelcome, alice. 0\x0c\x02\x01\x01a\x07\x0a\x01\x00\x04\x00\x04\x00")
			io.Copy(io.Discard, conn)
		}, ""},
		{"does not take an answer to nothing for StartTLS", func(conn net.Conn) {
			// Notice of disconnection (RFC 4511 §4.4.1), and then it stays.
			message := ber.NewSequence("LDAPMessage")
			message.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 0, "messageID"))
			message.AppendChild(done(goldap.ApplicationExtendedResponse, 52, "going down"))
			ber.ReadPacket(conn)
			conn.Write(message.Bytes())
			io.Copy(io.Discard, conn)
		}, ""},
		{"does not take a message without end", func(conn net.Conn) {
			// A sequence of 1 GiB, begun.
			conn.Write([]byte{0x30, 0x84, 0x40, 0, 0, 0, 0x02, 0x01, 0x01, 0x61, 0x84, 0x3f, 0xff, 0xff, 0xf0, 0x0a, 0x01, 0x00, 0x04, 0x84, 0x3f, 0xff, 0xff, 0xe0})
			for block := make([]byte, 1<<16); ; {
				if _, err := conn.Write(block); err != nil {
					return
				}
			}
		}, "more than"},
	} {
		for _, transport := range []string{"ldap://", "ldaps://", "StartTLS"} {
			t.Run(transport+"/it "+stranger.it, func(t *testing.T) {
				t.Parallel()
				c := c
				address := listen(t, stranger.serve)
				word := stranger.word
				switch transport {
				case "StartTLS":
					c.Server, c.StartTLS = "ldap://"+address, true
				case "ldaps://":
					c.Server, word = transport+address, "" // TLS has its own bounds
				default:
					c.Server = transport + address
				}
				unavailable(t, c, word)
			})
		}
	}

	t.Run("it gives up when the caller does", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := c
		c.Timeout = 0
		c.Server = "ldap://" + listen(t, func(conn net.Conn) {
			ber.ReadPacket(conn)
			cancel()
			io.Copy(io.Discard, conn)
		})
		start := time.Now()
		if _, err := open(t, c).Verify(ctx, "alice", slapdtest.AlicePassword); !errors.Is(err, authn.ErrProvider) {
			t.Errorf("got %v, want ErrProvider", err)
		}
		if took := time.Since(start); took > slack {
			t.Errorf("took %s", took)
		}
	})
}

// C59: a referral leads to a server that nobody vouched for.
func TestReferral(t *testing.T) {
	t.Parallel()
	s := slapdtest.Start(t)
	var visits atomic.Int32
	elsewhere := listen(t, func(net.Conn) { visits.Add(1) })
	away := "ou=away," + slapdtest.BaseDN
	slapdtest.Add(t, s.Root(t), away, map[string][]string{
		"objectClass": {"referral", "extensibleObject"}, "ref": {"ldap://" + elsewhere + "/" + away},
	})
	c := settings(s)
	p := open(t, c)
	if _, err := verify(t, p, c, "alice", slapdtest.AlicePassword); err != nil {
		t.Errorf("a reference beside alice: got %v, want her let in", err)
	}
	if _, err := verify(t, p, c, "mallory", "x"); reason(err) != registry.ReasonUnknownUser {
		t.Errorf("a reference and no entry: got %v, want %s", err, registry.ReasonUnknownUser)
	}
	c.BaseDN = away
	unavailable(t, c, "Referral")
	if err := open(t, c).Test(t.Context()); !errors.Is(err, authn.ErrProvider) {
		t.Errorf("Test: got %v, want ErrProvider", err)
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("%d connections to where the referral points", n)
	}
}

// What is no name and no password is not sent to anybody.
func TestUnsayable(t *testing.T) {
	t.Parallel()
	var visits atomic.Int32
	c := ldap.Config{
		Server: "ldap://" + listen(t, func(net.Conn) { visits.Add(1) }), BaseDN: slapdtest.BaseDN, BindDN: "cn=reader", BindPassword: "reader",
		AuthenticationFilter: "(uid={username})",
	}
	p := open(t, c)
	for _, test := range []struct {
		it, login, secret string
		want              registry.Reason
	}{
		{"refuses nothing", "", "", registry.ReasonWrongPassword},
		{"refuses an empty name", "", "x", registry.ReasonWrongPassword},
		{"refuses an empty password", "alice", "", registry.ReasonWrongPassword},
		{"refuses a long name", strings.Repeat("a", 257), "x", registry.ReasonUnknownUser},
		{"refuses a name that is not UTF-8", "al\xffice", "x", registry.ReasonUnknownUser},
		{"refuses a NUL in a name", "alice\x00", "x", registry.ReasonUnknownUser},
		{"refuses a line break in a name", "alice\n", "x", registry.ReasonUnknownUser},
		{"refuses a long password", "alice", strings.Repeat("x", 1025), registry.ReasonWrongPassword},
		{"refuses a password that is not UTF-8", "alice", "\xfe\xff", registry.ReasonWrongPassword},
		{"refuses a NUL in a password", "alice", slapdtest.AlicePassword + "\x00", registry.ReasonWrongPassword},
	} {
		t.Run("it "+test.it, func(t *testing.T) {
			if _, err := p.Verify(t.Context(), test.login, test.secret); reason(err) != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("the directory was asked %d times", n)
	}
}

// The test of the connection, for the page of settings.
func TestTest(t *testing.T) {
	t.Parallel()
	s := slapdtest.Start(t)
	for _, test := range []struct {
		it   string
		set  func(*ldap.Config)
		word string
	}{
		{"is content with the right settings", func(*ldap.Config) {}, ""},
		{"names the service account", func(c *ldap.Config) { c.BindPassword = "not the password of reader" }, "bind as service account cn=reader"},
		{"names the base", func(c *ldap.Config) { c.BaseDN = "ou=nowhere," + slapdtest.BaseDN }, "read ou=nowhere"},
		{"names an account that may read nothing", func(c *ldap.Config) { c.BindDN, c.BindPassword = slapdtest.BobDN, slapdtest.BobPassword }, slapdtest.BobDN},
		{"names the certificate", func(c *ldap.Config) { c.ServerName = "ldap.example.org" }, "ldap.example.org"},
	} {
		t.Run("it "+test.it, func(t *testing.T) {
			c := settings(s)
			test.set(&c)
			err := open(t, c).Test(t.Context())
			switch {
			case test.word == "" && err != nil:
				t.Error(err)
			case test.word != "" && (!errors.Is(err, authn.ErrProvider) || !strings.Contains(err.Error(), test.word) || strings.Contains(err.Error(), c.BindPassword)):
				t.Errorf("got %v, want ErrProvider with %q and no password", err, test.word)
			}
		})
	}
}
