package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/smallstep/pkcs7"
	"github.com/spf13/cobra"

	"github.com/postern-io/postern/certs"
)

// A renewal is a certificate and its key, in files, that are to be renewed.
type renewal struct {
	cert, key     string // paths
	newKey, force bool
}

func renewCommand(s *session) *cobra.Command {
	var r renewal
	cmd := &cobra.Command{
		Use:   "renew --cert FILE --key FILE",
		Short: "Renew the certificate of this device, by the one it has",
		Long: "Renew the certificate of this device, by the one it has (EST, RFC 7030), when less than a third of its life is left.\n" +
			"Run it daily. The old certificate stays good until its end; the files are replaced whole or not at all.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.cert == r.key {
				return usagef("--cert and --key are one file; keep them in two")
			}
			return s.call(cmd.Context(), func(ctx context.Context, c *client) error {
				return r.run(ctx, c, cmd.OutOrStdout(), time.Now())
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.cert, "cert", "", "PEM `file` of the certificate; the issuing authority behind it is kept up to date too")
	f.StringVar(&r.key, "key", "", "PEM `file` of its key, of mode 0600")
	f.BoolVar(&r.newKey, "new-key", false, "make a new key (ECDSA on P-256) as well")
	f.BoolVar(&r.force, "force", false, "renew even if more of the life is left")
	_ = cmd.MarkFlagRequired("cert") // the flag is there
	_ = cmd.MarkFlagRequired("key")
	return cmd
}

func (r *renewal) run(ctx context.Context, c *client, out io.Writer, now time.Time) error {
	pair, err := r.load()
	if err != nil {
		return err
	}
	old := pair.Leaf
	left, life := old.NotAfter.Sub(now), old.NotAfter.Sub(old.NotBefore)
	if left >= life/3 && !r.force {
		fmt.Fprintf(out, "%s: good until %s, not yet to be renewed\n", r.cert, old.NotAfter.UTC().Format(time.RFC3339))
		return nil
	}
	key, isSigner := pair.PrivateKey.(crypto.Signer)
	if !isSigner {
		return fmt.Errorf("%s holds a key that cannot sign", r.key)
	}
	if r.newKey {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return err
		}
	}
	chain, err := reenrol(ctx, c, pair, key)
	if err != nil {
		return err
	}
	if err := r.keep(chain, key); err != nil {
		return err
	}
	with := ""
	if r.newKey {
		with = " with a new key"
	}
	fmt.Fprintf(out, "%s: renewed%s, good until %s\n", r.cert, with, chain[0].NotAfter.UTC().Format(time.RFC3339))
	return nil
}

// next is where a new certificate waits until its key is in place.
func (r *renewal) next() string { return r.cert + ".next" }

// load reads the pair. Where a renewal was cut off between the two files it ends
// it first: the key is the new one, and its certificate waits.
func (r *renewal) load() (tls.Certificate, error) {
	if _, err := certs.ReadPrivate(r.key); err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.LoadX509KeyPair(r.cert, r.key)
	if err == nil {
		return pair, nil
	}
	if waiting, nextErr := tls.LoadX509KeyPair(r.next(), r.key); nextErr == nil {
		return waiting, os.Rename(r.next(), r.cert)
	}
	return tls.Certificate{}, fmt.Errorf("read %s and %s: %w", r.cert, r.key, err)
}

// keep puts the new pair in place of the old one. The certificate is written
// before the key is replaced and moved after it, so that load can end it.
func (r *renewal) keep(chain []*x509.Certificate, key crypto.Signer) error {
	info, err := os.Stat(r.cert)
	if err != nil {
		return err
	}
	if err := os.Remove(r.next()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := certs.WritePrivate(r.next(), certs.EncodePEM(chain...)); err != nil {
		return err
	}
	if err := os.Chmod(r.next(), info.Mode().Perm()); err != nil { // whoever could read the old one can read this
		return err
	}
	if r.newKey {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		if err := certs.ReplacePrivate(r.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
			return err
		}
	}
	return os.Rename(r.next(), r.cert)
}

// reenrol asks for the certificate that follows pair's, for key, and returns it
// with the issuing authority behind it.
func reenrol(ctx context.Context, c *client, pair tls.Certificate, key crypto.Signer) ([]*x509.Certificate, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	transport, ok := c.http.Transport.(*http.Transport)
	if !ok {
		return nil, fmt.Errorf("this client shows no certificate: %T", c.http.Transport)
	}
	transport = transport.Clone()
	defer transport.CloseIdleConnections()
	// As a function, so that it is shown whomever the server says it trusts.
	transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	asks := &http.Client{Timeout: requestTimeout, Transport: transport}
	issued, err := est(ctx, asks, c.Server, http.MethodPost, "simplereenroll", base64.StdEncoding.EncodeToString(der))
	if err != nil {
		return nil, err
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if len(issued) != 1 || !ok || !public.Equal(issued[0].PublicKey) {
		return nil, errors.New("the server answered with something that is no certificate for this key")
	}
	authorities, err := est(ctx, asks, c.Server, http.MethodGet, "cacerts", "")
	if err != nil {
		return nil, err
	}
	for _, a := range authorities {
		if !bytes.Equal(a.RawSubject, a.RawIssuer) && issued[0].CheckSignatureFrom(a) == nil {
			issued = append(issued, a)
			break
		}
	}
	return issued, nil
}

// est does one operation of RFC 7030, all of which answer with certificates.
func est(ctx context.Context, c *http.Client, server, method, operation, body string) ([]*x509.Certificate, error) {
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(server, "/")+"/.well-known/est/"+operation, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/pkcs10")
	}
	answer, err := c.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, &answerError{status: answer.StatusCode, Message: cmp.Or(strings.TrimSpace(string(text[:min(len(text), 200)])), answer.Status)}
	}
	der, err := base64.StdEncoding.AppendDecode(nil, bytes.Join(bytes.Fields(text), nil))
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s: %w", operation, err)
	}
	bag, err := pkcs7.Parse(der)
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s: %w", operation, err)
	}
	return bag.Certificates, nil
}
