package test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// opensslCA makes an authority in the server's directory, as tls-ca.crt.
func (s *server) opensslCA() {
	s.t.Helper()
	s.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls-ca.key -out tls-ca.crt -days 90 -subj '/CN=Test authority' -addext keyUsage=critical,keyCertSign")
	s.ca = filepath.Join(s.dir, "tls-ca.crt")
}

// opensslPair puts a certificate of that authority, with its key, in the place of
// tls.crt and tls.key.
func (s *server) opensslPair(serial string, days int) {
	s.t.Helper()
	s.openssl("req -x509 -CA tls-ca.crt -CAkey tls-ca.key -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout next.key -out next.crt" +
		" -set_serial 0x" + serial + " -days " + strconv.Itoa(days) + " -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:false" +
		" && chmod 600 next.key && mv next.crt tls.crt && mv next.key tls.key")
}

func (s *server) openssl(args string) {
	s.t.Helper()
	if out, err := s.run("openssl " + args); err != nil {
		s.t.Fatalf("openssl %s: %v\n%s", args, err, out)
	}
}

// shows waits until new handshakes at a port get the certificate with a serial.
func (s *server) shows(port, serial string) {
	s.t.Helper()
	s.eventually("port "+port+" shows certificate "+serial, func() error {
		out, err := s.run("openssl s_client -connect 127.0.0.1:" + port + " -servername localhost -CAfile tls-ca.crt -verify_return_error </dev/null | openssl x509 -noout -serial")
		if err != nil || !strings.Contains(out, "serial="+serial+"\n") {
			return fmt.Errorf("%v: %s", err, out)
		}
		return nil
	})
}

// TestServerCertificateReload replaces the files of a running server: new
// handshakes get the new certificate, and who is connected stays.
func TestServerCertificateReload(t *testing.T) {
	t.Parallel()
	s := reserve(t)
	s.opensslCA()
	s.opensslPair("1001", 30)
	s.up("POSTERN_TLS_CERT="+s.dir+"/tls.crt", "POSTERN_TLS_KEY="+s.dir+"/tls.key")
	g := s.quick()
	s.shows(s.mqtts, "1001")

	over := " -h localhost --cafile tls-ca.crt -p " + s.mqtts + " -u " + g.viewer.id + " -P " + g.viewer.secret
	sub := s.shell("mosquitto_sub -d -t " + g.topic + over)
	hears := func(message string) {
		t.Helper()
		s.eventually("the subscriber hears "+message, func() error {
			if out, err := s.run("mosquitto_pub -h 127.0.0.1 -p " + s.mqtt + " -u " + g.sensor.id + " -P " + g.sensor.secret + " -q 1 -t " + g.topic + " -m " + message); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			if !strings.Contains(sub.output(), message) {
				return errors.New("it printed " + sub.output())
			}
			return nil
		})
	}
	hears("before")

	s.opensslPair("1002", 60)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.shows(s.mqtts, "1002")
	s.shows(s.https, "1002")
	hears("after-the-signal")
	if ends, err := strconv.ParseFloat(s.metric("postern_server_certificate_expires_seconds"), 64); err != nil || time.Until(time.Unix(int64(ends), 0)).Round(24*time.Hour) != 60*24*time.Hour {
		t.Errorf("the metric says %v, %v, want 60 days from now", ends, err)
	}

	// A signal reads the files though they did not change.
	reloads := func() int { return strings.Count(s.logged(), "server certificate reloaded") }
	before := reloads()
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.eventually("the signal is heard", func() error {
		if n := reloads(); n <= before {
			return fmt.Errorf("%d reloads", n)
		}
		return nil
	})

	// Without a signal the change is seen as well.
	s.opensslPair("1003", 10)
	s.shows(s.mqtts, "1003")
	hears("after-the-look")
	if n := strings.Count(sub.output(), "sending CONNECT"); n != 1 {
		t.Errorf("the subscriber connected %d times, want once:\n%s", n, sub.output())
	}
	if !strings.Contains(s.logged(), "server certificate ends soon") {
		t.Error("the log does not say that the certificate ends in ten days")
	}
}
