package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

// maxParallel bounds the requests under way to one server.
const maxParallel = 64

// certIssue is what certs issue was asked for.
type certIssue struct {
	*session
	domain *string

	csr, passwordFile, secretFile string
	p12, serverKey, force         bool
	out, name                     string

	password, secret string // read from the files

	fleet fleet
}

func certsIssueCommand(s *session, domain *string) *cobra.Command {
	i := &certIssue{session: s, domain: domain}
	cmd := &cobra.Command{
		Use: "issue [CLIENT]", Short: "Issue a certificate for one client, or for many",
		Long: "Issue a certificate for the client with that id and write NAME.crt (with its issuing authority), NAME.key and\n" +
			"ca.crt. The key is made on this machine and does not leave it; --csr brings a signing request for a key that\n" +
			"is elsewhere, --server-key has the server make it.\n\n" +
			"With --all, --tag or --from-csv it is for many clients, each under its id. It goes on after single failures\n" +
			"and tells them at the end (exit code 1). Run again it passes over the clients whose files are there and\n" +
			"still good, so it can be stopped at any time.",
		Args: func(cmd *cobra.Command, args []string) error {
			if i.fleet.asked() {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := i.check(cmd); err != nil {
				return err
			}
			return s.call(cmd.Context(), func(ctx context.Context, c *client) error {
				if i.fleet.asked() {
					return i.many(ctx, cmd, c)
				}
				o, err := i.one(ctx, c, args[0])
				if err != nil {
					return err
				}
				return show(cmd.OutOrStdout(), s.flags.output, []string{"id", "client_id", "expires_at", "files"}, true, o)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&i.csr, "csr", "", "`file` with a signing request (PKCS#10, PEM) for a key that is elsewhere")
	f.BoolVar(&i.p12, "p12", false, "write key and certificates as NAME.p12 (PKCS#12)")
	f.StringVar(&i.passwordFile, "password-file", "", "`file` with the password of the PKCS#12 file (- reads standard input)")
	f.BoolVar(&i.serverKey, "server-key", false, "have the server make the key, which then travels")
	f.StringVar(&i.secretFile, "secret-file", "", "`file` with the client's secret (- reads standard input), which becomes the name in the certificate; it is as good as that secret, and ends with it")
	f.StringVar(&i.out, "out", ".", "`directory` for the files; made when missing")
	f.StringVar(&i.name, "name", "", "`name` of the files; empty: the client's id")
	f.BoolVar(&i.force, "force", false, "write over files that exist; of many clients, over those that are no longer good")
	i.fleet.flags(f)
	return cmd
}

// check refuses what does not go together, and reads what is in files.
func (i *certIssue) check(cmd *cobra.Command) (err error) {
	switch {
	case i.csr != "" && (i.p12 || i.serverKey):
		return usagef("with --csr the key is elsewhere; leave out --p12 and --server-key")
	case i.p12 != (i.passwordFile != ""):
		return usagef("--p12 and --password-file go together")
	case i.passwordFile == "-" && i.secretFile == "-":
		return usagef("only one of --password-file and --secret-file can read standard input")
	case i.name != "" && (i.name != cleanName(i.name)):
		return usagef("--name is %q; give a name without a path", i.name)
	}
	if i.fleet.asked() {
		if err := i.fleet.check(i); err != nil {
			return err
		}
	}
	if i.p12 {
		if i.password, err = i.secretFrom(cmd, i.passwordFile); err != nil {
			return err
		}
		if err := certs.CheckPassword(i.password); err != nil {
			return &usageError{err}
		}
	}
	if i.secretFile != "" {
		if i.secret, err = i.secretFrom(cmd, i.secretFile); err != nil {
			return err
		}
	}
	return os.MkdirAll(i.out, 0o755)
}

// one issues a certificate for one client and writes its files.
func (i *certIssue) one(ctx context.Context, c *client, device string) (object, error) {
	id, err := registry.ParseID(device)
	if err != nil {
		return nil, usagef("%q is no id of a client; postern clients list shows them", device)
	}
	f := identityFiles{dir: i.out, name: id, force: i.force}
	if i.name != "" {
		f.name = i.name
	}
	if i.p12 {
		err = f.free(".p12")
	} else {
		err = f.free(".crt")
	}
	if err != nil {
		return nil, err
	}
	in := object{}
	if i.secret != "" {
		in["secret"] = i.secret
	}
	var key *certs.MadeKey
	switch {
	case i.csr != "":
		text, err := os.ReadFile(i.csr)
		if err != nil {
			return nil, err
		}
		in["csr"] = string(text)
	case i.serverKey:
		if err := f.free(".key"); err != nil {
			return nil, err
		}
		if i.p12 {
			in["password"] = i.password
		}
	default:
		if key, err = i.localKey(f); err != nil {
			return nil, err
		}
		if in["csr"], err = key.SigningRequest(); err != nil {
			return nil, err
		}
	}
	var o object
	path := "/" + url.PathEscape(*i.domain) + "/clients/" + id + "/certs"
	if err := c.do(ctx, http.MethodPost, path, in, &o); err != nil {
		return nil, err
	}
	written, err := i.write(f, o, key)
	if err != nil {
		return nil, fmt.Errorf("the certificate %s is issued, but not written: %w", o.at("id"), err)
	}
	return object{"id": o.at("id"), "client_id": o.at("client_id"), "expires_at": o.at("expires_at"), "files": written}, nil
}

// localKey makes a key, or takes up that of a run that was cut.
func (i *certIssue) localKey(f identityFiles) (*certs.MadeKey, error) {
	if !i.force && !i.p12 {
		if left, err := f.leftKey(); left != nil || err != nil {
			return left, err
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return certs.AdoptKey(key), nil
}

// write writes what came; key is the one made here, nil when it was not.
func (i *certIssue) write(f identityFiles, o object, key *certs.MadeKey) (written []any, err error) {
	if err := f.authority(o.at("ca")); err != nil {
		return nil, err
	}
	if i.p12 {
		var file []byte
		if key == nil {
			file, err = base64.StdEncoding.DecodeString(o.at("pkcs12"))
		} else {
			file, err = pkcs12(key, o, i.password)
		}
		if err != nil {
			return nil, err
		}
		return []any{f.path(".p12")}, writeOut(f.path(".p12"), file, 0o600, f.force)
	}
	text := o.at("private_key")
	if key != nil {
		if text, err = key.PEM(); err != nil {
			return nil, err
		}
	}
	if text != "" {
		// One that is left over holds the same key.
		if err := writeOut(f.path(".key"), []byte(text), 0o600, true); err != nil {
			return nil, err
		}
		written = append(written, f.path(".key"))
	}
	return append(written, f.path(".crt")), writeOut(f.path(".crt"), []byte(o.at("certificate")), 0o644, f.force)
}

func pkcs12(key *certs.MadeKey, o object, password string) ([]byte, error) {
	chain, err := parseChain(o.at("certificate") + o.at("ca"))
	if err != nil {
		return nil, err
	}
	return key.PKCS12(chain, password)
}

// stillGood reports whether the files of a client are there and the server takes
// the certificate.
func (i *certIssue) stillGood(ctx context.Context, c *client, device string) (bool, error) {
	there := identityFiles{dir: i.out, name: device}.good(time.Now())
	if there == nil {
		return false, nil
	}
	var o object
	err := c.do(ctx, http.MethodGet, "/"+url.PathEscape(*i.domain)+"/certs/"+registry.Fingerprint(there), nil, &o)
	var answer *answerError
	if errors.As(err, &answer) && answer.status == http.StatusNotFound { // of another server
		return false, nil
	}
	return err == nil && o.at("status") == "valid" && o.at("client_id") == device, err
}
