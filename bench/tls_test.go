package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/adapters/mqtt"
	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

// BenchmarkMTLSConnects compares whole connects with a certificate (TCP, TLS 1.3
// with both sides' certificates, CONNECT, CONNACK) with bare handshakes of
// crypto/tls on the same certificates, from 8 clients. The budget is a ratio of
// 0.8.
func BenchmarkMTLSConnects(b *testing.B) {
	w := adaptertest.NewLaptop(b)
	d := w.NewDevice(b, registry.Publish)
	dir := b.TempDir()
	ca, err := certs.Open(dir, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	certFile, keyFile, err := ca.ServerCertificate(dir, []string{"localhost"})
	if err != nil {
		b.Fatal(err)
	}
	files := &certs.ServerFiles{Cert: certFile, Key: keyFile}
	if err := files.Load(); err != nil {
		b.Fatal(err)
	}
	server := certs.TLS{GetCertificate: files.Certificate, Roots: ca.Chain(), Require: true}.Config()
	client := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{issue(b, ca, d.Device)}} // the server's work is what counts

	door := &mqtt.Server{Gateway: w.Gateway, Bus: w.Bus, Log: w.Log}
	ours := listenTLS(b, server, func(l net.Listener) { _ = door.Serve(l) })
	bareConfig := server.Clone()
	bareConfig.VerifyConnection, bareConfig.ClientAuth = nil, tls.RequireAndVerifyClientCert
	bare := listenTLS(b, bareConfig, func(l net.Listener) {
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

func issue(b *testing.B, ca *certs.Authority, d registry.Device) tls.Certificate {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		b.Fatal(err)
	}
	leaf, err := ca.IssueDevice(d, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))
	if err != nil {
		b.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}
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
