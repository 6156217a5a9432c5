package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/postern-io/postern/registry"
)

// away is a database that does not answer.
type away struct{ Revocations }

func (away) RevokedCertificates(context.Context, time.Time) ([]registry.CertificateID, error) {
	return nil, registry.ErrUnavailable
}

func (away) Certificate(context.Context, registry.CertificateID) (registry.Certificate, error) {
	return registry.Certificate{}, registry.ErrUnavailable
}

// issue signs a certificate for the house's device and records it.
func (h *house) issue(t *testing.T, a *Authority) (registry.Certificate, []*x509.Certificate) {
	t.Helper()
	r := newRequest(t)
	c, err := h.IssueCertificate(t.Context(), "", h.domain.ID, h.device.ID, r.Fingerprint, func(d registry.Device) (registry.Certificate, error) { return a.IssueDevice(d, r) })
	if err != nil {
		t.Fatal(err)
	}
	chain, err := a.Chain(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, chain
}

func TestTrustKnowsWhatIsRevoked(t *testing.T) {
	h := newHouse(t)
	a, err := Open(t.Context(), h.config(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	trust := a.trust(t)
	trust.revocations = h.store
	ctx := t.Context()
	vouch := func(chain []*x509.Certificate, want registry.Reason) {
		t.Helper()
		if _, refused := trust.Vouch(chain); refused != want {
			t.Errorf("refused for %q, want %q", refused, want)
		}
	}
	told := func(id registry.CertificateID) {
		t.Helper()
		if err := trust.Changed(ctx, id); err != nil {
			t.Error(err)
		}
	}
	c, chain := h.issue(t, a)
	other, otherChain := h.issue(t, a)
	vouch(chain, "")
	if _, err := h.RevokeCertificate(ctx, h.domain.ID, c.ID, registry.CertificateHold); err != nil {
		t.Fatal(err)
	}
	vouch(chain, "") // nobody has told it yet
	told(c.ID)
	vouch(chain, registry.ReasonCertificateRevoked)
	vouch(otherChain, "")
	if _, err := h.ReleaseCertificate(ctx, h.domain.ID, c.ID); err != nil {
		t.Fatal(err)
	}
	told(c.ID)
	vouch(chain, "")

	// What cannot be read is refused, until it can.
	trust.revocations = away{}
	if err := trust.Changed(ctx, c.ID); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("the database is away: %v", err)
	}
	vouch(chain, registry.ReasonCertificateRevoked)
	if err := trust.Load(ctx); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("the database is away: %v", err)
	}
	vouch(chain, registry.ReasonCertificateRevoked)
	vouch(otherChain, "")
	trust.revocations = h.store
	if _, err := h.RevokeCertificate(ctx, h.domain.ID, other.ID, registry.KeyCompromise); err != nil {
		t.Fatal(err)
	}
	if err := trust.Load(ctx); err != nil {
		t.Fatal(err)
	}
	vouch(chain, "")
	vouch(otherChain, registry.ReasonCertificateRevoked)
}

func TestVouch(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	now := time.Now()
	trust := a.trust(t)
	trust.now = func() time.Time { return now }
	parse := func(c tls.Certificate) *x509.Certificate {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf
	}
	good := parse(a.leaf(t, func(*x509.Certificate) {}))
	for name, test := range map[string]struct {
		chain []*x509.Certificate
		at    time.Duration
		want  registry.Reason
	}{
		"it vouches for a leaf alone":             {[]*x509.Certificate{good}, 0, ""},
		"it vouches for a leaf with its issuer":   {[]*x509.Certificate{good, a.issuer().Certificate}, 0, ""},
		"it refuses a leaf of before":             {[]*x509.Certificate{good}, 2 * time.Hour, registry.ReasonCertificateExpired},
		"it refuses a leaf of later":              {[]*x509.Certificate{good}, -2 * time.Hour, registry.ReasonCertificateExpired},
		"it refuses nothing at all":               {nil, 0, registry.ReasonCertificateUntrusted},
		"it refuses a certificate without bytes":  {[]*x509.Certificate{{}}, 0, registry.ReasonCertificateUntrusted},
		"it refuses a chain without an end":       {[]*x509.Certificate{good, good, good, good, good, good, good}, 0, registry.ReasonCertificateUntrusted},
		"it refuses a stranger's":                 {[]*x509.Certificate{parse(stranger.leaf(t, func(*x509.Certificate) {}))}, 0, registry.ReasonCertificateUntrusted},
		"it refuses a stranger's with our issuer": {[]*x509.Certificate{parse(stranger.leaf(t, func(*x509.Certificate) {})), a.issuer().Certificate}, 0, registry.ReasonCertificateUntrusted},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // the second time from memory
				now = time.Now().Add(test.at)
				if _, refused := trust.Vouch(test.chain); refused != test.want {
					t.Errorf("refused for %q, want %q", refused, test.want)
				}
				now = time.Now()
				trust.Vouch([]*x509.Certificate{good})
			}
		})
	}
	trust.SetAnchors([]*x509.Certificate{stranger.Root()})
	if _, refused := trust.Vouch([]*x509.Certificate{good}); refused != registry.ReasonCertificateUntrusted {
		t.Errorf("an anchor was taken away, and memory still vouches: %q", refused)
	}
}

// A revoked certificate does not come in by a session that it opened before.
func TestResumedHandshakeOfARevoked(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	certPath, keyPath, err := a.ServerCertificate(dir, []string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	files := &ServerFiles{Cert: certPath, Key: keyPath}
	if err := files.Load(); err != nil {
		t.Fatal(err)
	}
	trust := a.trust(t)
	leaf := a.leaf(t, func(*x509.Certificate) {})
	var refused registry.Reason
	server := TLS{GetCertificate: files.Certificate, Trust: trust, Refused: func(e *UntrustedError) { refused = e.Reason }}.Config()
	client := &tls.Config{RootCAs: pool(a.Root()), ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(4), Certificates: []tls.Certificate{leaf}}
	for range 2 {
		if err := shake(t, server, client); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(leaf.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	trust.revoked = map[registry.CertificateID]struct{}{registry.CertificateID(registry.Fingerprint(parsed)): {}}
	if err := shake(t, server, client); err == nil || refused != registry.ReasonCertificateRevoked {
		t.Errorf("got %v, %q", err, refused)
	}
}
