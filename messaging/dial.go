package messaging

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nkeys"
)

// A handshake is a connection to a server that has let us in.
type handshake struct {
	conn       net.Conn
	rest       []byte // read already
	local      bool
	maxPayload int
}

// serverInfo is what we need of the server's INFO.
type serverInfo struct {
	MaxPayload  int    `json:"max_payload"`
	TLSRequired bool   `json:"tls_required"`
	Nonce       string `json:"nonce"`
	Headers     bool   `json:"headers"`
}

// connectOptions is the CONNECT message.
type connectOptions struct {
	Verbose      bool   `json:"verbose"`
	Pedantic     bool   `json:"pedantic"`
	TLSRequired  bool   `json:"tls_required"`
	User         string `json:"user,omitempty"`
	Password     string `json:"pass,omitempty"`
	Token        string `json:"auth_token,omitempty"`
	JWT          string `json:"jwt,omitempty"`
	Signature    string `json:"sig,omitempty"`
	Name         string `json:"name"`
	Language     string `json:"lang"`
	Version      string `json:"version"`
	Protocol     int    `json:"protocol"`
	Echo         bool   `json:"echo"`
	Headers      bool   `json:"headers"`
	NoResponders bool   `json:"no_responders"`
}

// dialLink connects a link to the server in this process, or to the one that
// the control connection has found.
func (b *Bus) dialLink(ctx context.Context, name string) (*handshake, error) {
	if b.embedded != nil {
		conn, err := b.embedded.server.InProcessConn()
		if err != nil {
			return nil, err
		}
		user := url.UserPassword(ownUser, b.embedded.password)
		return b.shakeHands(ctx, name, conn, &url.URL{User: user}, true)
	}
	found := b.control.ConnectedUrl()
	if found == "" {
		return nil, errNotConnected
	}
	server, err := url.Parse(found)
	if err != nil {
		return nil, err
	}
	if server.User == nil { // one that was discovered
		server.User = b.user
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", server.Host)
	if err != nil {
		return nil, err
	}
	return b.shakeHands(ctx, name, conn, server, false)
}

// userOf returns the user that a list of URLs names, for servers that are
// discovered later.
func userOf(urls string) *url.Userinfo {
	for text := range strings.SplitSeq(urls, ",") {
		if u, err := url.Parse(strings.TrimSpace(text)); err == nil && u.User != nil {
			return u.User
		}
	}
	return nil
}

// shakeHands signs in on conn, and closes it when that fails.
func (b *Bus) shakeHands(ctx context.Context, name string, conn net.Conn, server *url.URL, local bool) (*handshake, error) {
	h := &handshake{conn: conn, local: local}
	deadline := time.Now().Add(b.config.AckTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	// A cancelled dial must not leave us waiting for the deadline.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	err := conn.SetDeadline(deadline)
	if err == nil {
		err = b.signIn(h, name, server)
	}
	if err == nil {
		err = h.conn.SetDeadline(time.Time{})
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return h, nil
}

func (b *Bus) signIn(h *handshake, name string, server *url.URL) error {
	line, err := h.line()
	if err != nil {
		return err
	}
	body, ok := bytes.CutPrefix(line, []byte("INFO "))
	var info serverInfo
	if !ok || json.Unmarshal(body, &info) != nil || !info.Headers {
		return errors.New("no NATS server that knows headers")
	}
	h.maxPayload = info.MaxPayload
	secure := info.TLSRequired || server.Scheme == "tls" || b.config.TLS != nil
	if secure {
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		if b.config.TLS != nil {
			config = b.config.TLS.Clone()
		}
		if config.ServerName == "" {
			config.ServerName = server.Hostname()
		}
		h.conn = tls.Client(h.conn, config)
	}
	options := connectOptions{
		TLSRequired: secure, Name: name, Language: "postern", Version: "1", Protocol: 1, Echo: true, Headers: true, NoResponders: true,
	}
	if err := b.identify(&options, server.User, info.Nonce); err != nil {
		return err
	}
	connect, err := json.Marshal(options)
	if err != nil {
		return err
	}
	if _, err := h.conn.Write(append(append([]byte("CONNECT "), connect...), "\r\nPING\r\n"...)); err != nil {
		return err
	}
	for {
		line, err := h.line()
		switch {
		case err != nil:
			return err
		case bytes.HasPrefix(line, []byte("PONG")):
			return nil
		case bytes.HasPrefix(line, []byte("-ERR")):
			return fmt.Errorf("NATS refused us: %s", line) // a fixed sentence of the server's
		}
	}
}

// identify fills in who we are: by the credentials file, or by the URL.
func (b *Bus) identify(o *connectOptions, user *url.Userinfo, nonce string) error {
	if b.config.CredsFile == "" {
		if password, ok := user.Password(); ok {
			o.User, o.Password = user.Username(), password
		} else {
			o.Token = user.Username() // nats.go reads a lone user so, too
		}
		return nil
	}
	creds, err := os.ReadFile(b.config.CredsFile)
	if err != nil {
		return err
	}
	defer clear(creds)
	if o.JWT, err = nkeys.ParseDecoratedJWT(creds); err != nil {
		return err
	}
	key, err := nkeys.ParseDecoratedNKey(creds)
	if err != nil {
		return err
	}
	defer key.Wipe()
	signature, err := key.Sign([]byte(nonce))
	if err != nil {
		return err
	}
	o.Signature = base64.RawURLEncoding.EncodeToString(signature)
	return nil
}

// line reads a line of the handshake.
func (h *handshake) line() ([]byte, error) {
	for {
		if i := bytes.IndexByte(h.rest, '\n'); i >= 0 {
			line := bytes.TrimRight(h.rest[:i], "\r")
			h.rest = h.rest[i+1:]
			return line, nil
		}
		if len(h.rest) > maxLine {
			return nil, errors.New("a line of the server is too long")
		}
		chunk := make([]byte, 4096)
		n, err := h.conn.Read(chunk)
		if err != nil {
			return nil, err
		}
		h.rest = append(h.rest, chunk[:n]...)
	}
}
