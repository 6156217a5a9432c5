package bench

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/adapters/mqtt"
	"github.com/postern-io/postern/registry"
)

// BenchmarkMTLSConnects compares whole connects with a certificate (TCP, TLS 1.3
// with both sides' certificates, CONNECT, CONNACK) with bare handshakes of
// crypto/tls on the same certificates, from 8 clients. The budget is a ratio of
// 0.8.
func BenchmarkMTLSConnects(b *testing.B) {
	w := adaptertest.NewLaptop(b)
	d := w.NewDevice(b, registry.Publish)
	client := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*w.PKI.URN(b, d)}} // the server's work is what counts

	door := &mqtt.Server{Gateway: w.Gateway, Bus: w.Bus, Log: w.Log}
	ours := listenTLS(b, w.PKI.Server(true), func(l net.Listener) { _ = door.Serve(l) })
	bare := listenTLS(b, w.PKI.Bare(), func(l net.Listener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.CopyN(c, c, 4) // as long as a CONNACK
			}()
		}
	})
	connect := []byte{0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 0}
	compare(b, func(n int) time.Duration { return connects(b, ours, client, connect, n) },
		func(n int) time.Duration { return connects(b, bare, client, connect[:4], n) })
}

// BenchmarkHandshakes compares TLS 1.3 handshakes with certificates on both sides
// at a listener as the doors have it, with its look at what is revoked, to bare
// crypto/tls that verifies the same chain: full ones, and resumed ones, which
// both verify again.
func BenchmarkHandshakes(b *testing.B) {
	w := adaptertest.NewLaptop(b)
	d := w.NewDevice(b, registry.Publish)
	answer := func(l net.Listener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.CopyN(c, c, 4)
			}()
		}
	}
	ours, bare := listenTLS(b, w.PKI.Server(true), answer), listenTLS(b, w.PKI.Bare(), answer)
	for _, resumed := range []bool{false, true} {
		name, client := "full", func() *tls.Config {
			return &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*w.PKI.URN(b, d)}}
		}
		toOurs, toBare := client(), client()
		if resumed {
			name = "resumed"
			toOurs.ClientSessionCache, toBare.ClientSessionCache = tls.NewLRUClientSessionCache(64), tls.NewLRUClientSessionCache(64)
		}
		b.Run(name, func(b *testing.B) {
			hello := []byte("ping")
			for addr, config := range map[string]*tls.Config{ours: toOurs, bare: toBare} {
				connects(b, addr, config, hello, 8)
				c, err := tls.Dial("tcp", addr, config)
				if err != nil {
					b.Fatal(err)
				}
				if c.Close(); c.ConnectionState().DidResume != resumed {
					b.Fatalf("resumed: %v", !resumed)
				}
			}
			compare(b, func(n int) time.Duration { return connects(b, ours, toOurs, hello, n) },
				func(n int) time.Duration { return connects(b, bare, toBare, hello, n) })
		})
	}
}

func listenTLS(b *testing.B, config *tls.Config, serve func(net.Listener)) string {
	b.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		b.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() { serve(l) })
	b.Cleanup(func() { l.Close(); done.Wait() })
	return l.Addr().String()
}

// connects makes n connections, one after the other from each of 8 clients, and
// waits for 4 bytes on each.
func connects(b *testing.B, addr string, config *tls.Config, hello []byte, n int) time.Duration {
	b.Helper()
	begin := time.Now()
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			answer := make([]byte, 4)
			for range n / 8 {
				c, err := tls.Dial("tcp", addr, config)
				if err == nil {
					if _, err = c.Write(hello); err == nil {
						_, err = io.ReadFull(c, answer)
					}
					c.Close()
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
	return time.Since(begin)
}
