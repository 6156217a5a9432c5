package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/postern-io/postern/authn"
)

type mode int

const (
	modeLDAPS mode = iota
	modeStartTLS
	modePlain // loopback only
)

// maxAnswer bounds what one connection may send us. A person with 1,000 groups
// takes some 150 KB.
const maxAnswer = 4 << 20 // bytes

// open is line, with the service account signed in.
func (p *Provider) open(ctx context.Context) (c *ldap.Conn, close func(), err error) {
	if c, close, err = p.line(ctx); err != nil {
		return nil, nil, err
	}
	if err := p.bindService(c); err != nil {
		close()
		return nil, nil, err
	}
	return c, close, nil
}

// line waits for a slot and connects. close ends both.
func (p *Provider) line(ctx context.Context) (c *ldap.Conn, close func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return nil, nil, unavailable("wait for one of the %d connections: %w", maxAtOnce, ctx.Err())
	}
	release := func() { <-p.slots; cancel() }
	c, hangUp, err := p.connect(ctx)
	if err != nil {
		release()
		return nil, nil, err
	}
	return c, func() { hangUp(); release() }, nil
}

// connect speaks to the directory over a connection that fails by itself when
// ctx ends, and never says anything in the clear that is not for loopback.
func (p *Provider) connect(ctx context.Context) (*ldap.Conn, func(), error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, nil, unavailable("connect: %w", err)
	}
	if p.mode == modePlain && !loopback(hostOf(raw.RemoteAddr())) {
		return nil, nil, errors.Join(unavailable("%s is not on loopback, and the connection is not encrypted", p.address), raw.Close())
	}
	deadline, _ := ctx.Deadline() // open has set one
	if err := raw.SetDeadline(deadline); err != nil {
		return nil, nil, errors.Join(unavailable("connect: %w", err), raw.Close())
	}
	var wire net.Conn = &bounded{Conn: raw, left: maxAnswer}
	if p.mode == modeLDAPS {
		wire = tls.Client(wire, p.tls)
		if err := wire.(*tls.Conn).HandshakeContext(ctx); err != nil {
			return nil, nil, errors.Join(unavailable("%w: %w", errTLS, err), raw.Close())
		}
	}
	c := ldap.NewConn(wire, p.mode == modeLDAPS)
	// The deadline wakes reads and writes; this wakes a request whose answer was
	// taken for another's.
	c.SetTimeout(time.Until(deadline))
	c.Start()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() }) // the caller went away
	hangUp := func() {
		stop()
		_ = c.Close() // nothing is outstanding; there is nothing to lose
	}
	if p.mode == modeStartTLS {
		if err := c.StartTLS(p.tls); err != nil {
			hangUp()
			return nil, nil, unavailable("Start%w: %w", errTLS, brief(err))
		}
	}
	return c, hangUp, nil
}

func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return ""
	}
	return host
}

// bindService signs the service account in. That it fails is a mistake in the
// settings and says nothing about the person.
func (p *Provider) bindService(c *ldap.Conn) error {
	if err := c.Bind(p.config.BindDN, p.config.BindPassword); err != nil {
		return unavailable("bind as service account %s: %w", p.config.BindDN, brief(err))
	}
	return nil
}

// bounded ends a connection that has sent more than anybody's entry needs.
type bounded struct {
	net.Conn
	left int64 // read by one goroutine at a time: a handshake, then the reader
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the directory sent more than %d bytes", maxAnswer)
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func unavailable(format string, args ...any) error {
	return fmt.Errorf("ldap: %w: %w", authn.ErrProvider, fmt.Errorf(format, args...))
}

// brief keeps a directory from filling the log with its diagnostics.
func brief(err error) error {
	const most = 300 // bytes
	if text := err.Error(); len(text) > most || !plain(text) {
		return fmt.Errorf("%.*q…", most, text)
	}
	return err
}
