package main

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-io/postern/certs"
)

// lookEvery is how often the files of the server's certificate are looked at.
const lookEvery = 5 * time.Second

// A serverCertificate is what the TLS doors show.
type serverCertificate interface {
	Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Ends() time.Time // the earliest, when there are several
}

// serverCertificate loads the server's certificate: the operator's files, or our
// own, made by our authority and made anew before it ends.
func (h *house) serverCertificate(c *Config) error {
	h.files = &certs.ServerFiles{Cert: c.TLSCert, Key: c.TLSKey, Log: h.log}
	if c.TLSCert == "" {
		h.files.Cert, h.files.Key = filepath.Join(c.DataDir, "server.crt"), filepath.Join(c.DataDir, "server.key")
		h.files.Renew = func() error {
			_, _, err := h.ca.ServerCertificate(c.DataDir, c.serverNames())
			return err
		}
	}
	if err := h.files.Load(); err != nil {
		return err
	}
	h.shown = h.files
	if err := h.acmeCertificates(c); err != nil {
		return err
	}
	h.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_server_certificate_expires_seconds",
		Help: "Unix time at which the server's certificate ends; with several, the earliest.",
	}, func() float64 { return float64(h.shown.Ends().Unix()) }))
	return nil
}

// watchCertificate takes files that changed, and at a hang-up does not wait.
func (h *house) watchCertificate(ctx context.Context, hangup <-chan os.Signal) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			h.files.Look()
		case <-hangup:
			h.files.Reload()
		}
	}
}
