package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postern-io/postern/certs"
)

const (
	// endsSoon is how long before a certificate's end the doctor asks for care.
	endsSoon = 14 * 24 * time.Hour
	// clockApart is how far apart two clocks may be: certificates are dated
	// back by five minutes, second factors forgive half a minute.
	clockApart = 30 * time.Second
)

// errCare is the end of an examination that found something.
var errCare = errors.New("something needs care")

// A doctor looks at one part after the other and says of each how it is.
type doctor struct {
	out  io.Writer
	now  func() time.Time
	care int // what needs some
}

func doctorCommand(s *session) *cobra.Command {
	var domain, dataDir, ops string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look for what needs care: keys, certificates, clocks, the health of the fleet", Args: cobra.NoArgs,
		Long: "Look for what needs care, and say what to do. It looks at the data directory when there is one here, at the\n" +
			"running server, and, as who is signed in, at the devices of every domain. The exit code is 1 when something needs care.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &doctor{out: cmd.OutOrStdout(), now: time.Now}
			d.files(dataDir)
			err := s.call(cmd.Context(), func(ctx context.Context, c *client) error {
				if d.server(ctx, c) {
					d.ready(ctx, ops)
					d.fleet(ctx, c, domain)
				}
				return nil
			})
			if err == nil && d.care > 0 {
				err = fmt.Errorf("%w: %d", errCare, d.care)
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&domain, "domain", "d", "", "only the devices of this `domain`, by id or route")
	cmd.Flags().StringVar(&dataDir, "data-dir", cmp.Or(s.io.lookup(envName("data-dir")), "./data"), "data `directory` of a server on this machine")
	cmd.Flags().StringVar(&ops, "ops-addr", cmp.Or(s.io.lookup(envName("ops-addr")), "127.0.0.1:9090"), "`address` of the server's operations listener")
	return cmd
}

func (d *doctor) well(format string, args ...any) {
	fmt.Fprintf(d.out, "well  "+format+"\n", args...)
}

func (d *doctor) needs(format string, args ...any) {
	d.care++
	fmt.Fprintf(d.out, "care  "+format+"\n", args...)
}

func (d *doctor) unseen(format string, args ...any) {
	fmt.Fprintf(d.out, "-     "+format+"\n", args...)
}

// files looks at the data directory: who may read the keys, and when our own
// certificates end.
func (d *doctor) files(dir string) {
	if _, err := os.Stat(dir); err != nil {
		d.unseen("there is no data directory %s here", dir)
		return
	}
	keys, _ := filepath.Glob(filepath.Join(dir, "*.key")) // fails for a bad pattern only
	loose := 0
	for _, path := range keys {
		if _, err := certs.ReadPrivate(path); err != nil {
			loose++
			d.needs("%v", err)
		}
	}
	if loose == 0 && len(keys) > 0 {
		d.well("%d keys in %s are their owner's alone", len(keys), dir)
	}
	for _, name := range []string{"ca.crt", "server.crt"} {
		found, err := certs.ReadCertificates(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			d.needs("%v", err)
		default:
			d.ends(name, found[0].NotAfter)
		}
	}
	root := filepath.Join(dir, "ca.key")
	encrypted, err := certs.KeyEncrypted(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.well("the root's key is not on this machine")
	case err != nil: // told above
	case encrypted:
		d.unseen("the root's key is here, encrypted; postern ca export --root-key takes it off")
	default:
		d.unseen("the root's key is here, in plain text; postern ca export --root-key takes it off")
	}
}

func (d *doctor) ends(what string, at time.Time) {
	left := at.Sub(d.now())
	switch {
	case left <= 0:
		d.needs("%s has ended on %s", what, at.Format(time.DateOnly))
	case left < endsSoon:
		d.needs("%s ends on %s: renew it", what, at.Format(time.DateOnly))
	default:
		d.well("%s is good until %s", what, at.Format(time.DateOnly))
	}
}

// server looks whether the server answers, at its certificate and its clock.
func (d *doctor) server(ctx context.Context, c *client) (answers bool) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.Server, "/")+"/.well-known/jwks.json", nil)
	if err != nil {
		d.needs("%s: %v", c.Server, err)
		return false
	}
	resp, err := c.http.Do(r)
	if err != nil {
		d.needs("%s does not answer: %v", c.Server, err)
		return false
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		d.needs("%s answers %s: is it Postern?", c.Server, resp.Status)
		return false
	}
	d.well("%s answers", c.Server)
	if resp.TLS != nil {
		d.ends("the server's certificate", resp.TLS.PeerCertificates[0].NotAfter)
	} else {
		d.unseen("%s is plain text: use it on this machine alone", c.Server)
	}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		if apart := d.now().Sub(at); apart.Abs() > clockApart {
			d.needs("the clocks here and there are %s apart: certificates and codes depend on them", apart.Abs().Round(time.Second))
		} else {
			d.well("the clocks agree")
		}
	}
	return true
}

// ready looks at database and NATS through the operations listener.
func (d *doctor) ready(ctx context.Context, ops string) {
	lacks, err := askReady(ctx, ops)
	switch {
	case errors.Is(err, errUnreachable):
		d.unseen("%s, where a server tells whether it is ready, does not answer from here", ops)
	case err != nil:
		d.needs("%v", err)
	case lacks != "":
		d.needs("not ready: %s", lacks)
	default:
		d.well("database and NATS answer")
	}
}

// askReady asks the operations listener at an address whether the server is
// ready: it lacks nothing then. An error that wraps errUnreachable means that
// nobody answered.
func askReady(ctx context.Context, addr string) (lacks string, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", usagef("--ops-addr is %q; give host:port", addr)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(cmp.Or(host, "127.0.0.1"), port)+"/health/ready", nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Timeout: 2 * readyTimeout}).Do(req)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errUnreachable, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return "", nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // the status says enough
	return cmp.Or(strings.TrimSpace(string(text)), resp.Status), nil
}

// maxExamined bounds the domains of one examination.
const maxExamined = 100

// fleet looks at the health of the domains that the caller may see.
func (d *doctor) fleet(ctx context.Context, c *client, domain string) {
	list := []object{{"id": domain, "name": domain}}
	if domain == "" {
		var page map[string]any
		if err := c.do(ctx, http.MethodGet, fmt.Sprintf("/domains?limit=%d", maxExamined), nil, &page); err != nil {
			d.needs("the devices were not looked at: %v", err)
			return
		}
		list = objects(page["domains"])
		if total, _ := page["total"].(float64); int(total) > len(list) {
			d.unseen("%d of %d domains are looked at; name another with -d", len(list), int(total))
		}
	}
	for _, one := range list {
		var health struct {
			Kinds []struct {
				Kind, Advice string
				Total        int
			}
		}
		if err := c.do(ctx, http.MethodGet, "/"+url.PathEscape(one.at("id"))+"/health", nil, &health); err != nil {
			d.needs("domain %s was not looked at: %v", one.at("name"), err)
			continue
		}
		sick := 0
		for _, k := range health.Kinds {
			if k.Total > 0 {
				sick++
				d.needs("domain %s: %d × %s. %s", one.at("name"), k.Total, strings.ReplaceAll(k.Kind, "_", " "), k.Advice)
			}
		}
		if sick == 0 {
			d.well("domain %s: nothing is the matter with secrets and certificates", one.at("name"))
		}
	}
}
