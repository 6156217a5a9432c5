package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// caCommand is about our own authority. It opens the database itself, before
// the first start and beside a running server.
func caCommand(s *session) *cobra.Command {
	o := &ownCA{session: s}
	flags := o.config.flags()
	cmd := &cobra.Command{
		Use: "ca", Short: "Found, show, export and rotate Postern's own certificate authority, on the server's own machine",
		Long: "Postern has a root, which clients trust, and below it issuing authorities, of which one signs. The root's\n" +
			"certificate and key are ca.crt and ca.key in the data directory, the rest is in the database. The key is\n" +
			"needed to make the next issuing authority and for nothing else: take it off the machine with\n" +
			"postern ca export --root-key FILE. The settings are those of the server, from the environment.",
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if err := s.flags.checkOutput(); err != nil {
				return err
			}
			return o.settings(flags)
		},
	}
	for _, name := range []string{"data-dir", "database-url"} {
		cmd.PersistentFlags().AddFlag(flags.Lookup(name))
	}
	cmd.AddCommand(o.initCommand(), o.showCommand(), o.exportCommand(), o.rotateCommand())
	return cmd
}

// ownCA is the authority of a server, as its own machine sees it.
type ownCA struct {
	*session
	config Config
}

// settings reads the environment as the server does.
func (o *ownCA) settings(flags *pflag.FlagSet) error {
	if err := applyEnv(flags, o.io.env); err != nil {
		return &usageError{err}
	}
	if err := o.config.Validate(); err != nil {
		return &usageError{err}
	}
	return nil
}

func (o *ownCA) path(name string) string { return filepath.Join(o.config.DataDir, name) }

// with opens the database for do.
func (o *ownCA) with(ctx context.Context, open func(context.Context, *Config) (*store.Store, error), do func(*registry.Registry) error) (err error) {
	db, err := open(ctx, &o.config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(&registry.Registry{Store: db, Now: time.Now, NewID: uuid.NewString})
}

// open returns the authority; there being none it founds it.
func (o *ownCA) open(ctx context.Context, r *registry.Registry, rootKey, rootPassphrase string) (*certs.Authority, error) {
	key, err := secretKey(&o.config)
	if err != nil {
		return nil, err
	}
	return certs.Open(ctx, certs.Config{
		Dir: o.config.DataDir, Keeper: r, Key: key, Passphrase: o.config.CAPassphrase, Now: time.Now, RootKey: rootKey, RootPassphrase: rootPassphrase,
	})
}

func (o *ownCA) initCommand() *cobra.Command {
	return &cobra.Command{
		Use: "init", Short: "Found the authority before the first start", Args: cobra.NoArgs,
		Long: "Found the root and the issuing authority before the first start, which does the same by itself. When there\nis an authority it stays, and that is no error. " +
			envName("ca-passphrase") + " seals the keys, then and from then on.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := os.MkdirAll(o.config.DataDir, 0o700); err != nil {
				return fmt.Errorf("make the data directory: %w", err)
			}
			create := func(ctx context.Context, c *Config) (*store.Store, error) { return store.Open(ctx, databaseURL(c)) }
			return o.with(cmd.Context(), create, func(r *registry.Registry) error {
				before, err := r.Authorities(cmd.Context())
				if err != nil {
					return err
				}
				a, err := o.open(cmd.Context(), r, "", "")
				if err != nil {
					return err
				}
				if len(before) > 0 {
					fmt.Fprintln(cmd.ErrOrStderr(), "there is an authority already; it stays as it is")
					return o.list(cmd, before)
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "founded %s, good until %s, and an issuing authority below it.\nClients trust %s. Its key, %s, is needed only to make the next issuing\nauthority: postern ca export --root-key FILE takes it off this machine.\n",
					a.Root().Subject, day(a.Root().NotAfter), o.path("ca.crt"), o.path("ca.key"))
				made, err := r.Authorities(cmd.Context())
				if err != nil {
					return err
				}
				return o.list(cmd, made)
			})
		},
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func (o *ownCA) showCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the root and the issuing authorities", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.with(cmd.Context(), openExisting, func(r *registry.Registry) error {
				all, err := o.founded(cmd.Context(), r)
				if err != nil {
					return err
				}
				return o.list(cmd, all)
			})
		},
	}
}

// founded returns the issuing authorities, of which there must be one.
func (o *ownCA) founded(ctx context.Context, r *registry.Registry) ([]registry.Authority, error) {
	all, err := r.Authorities(ctx)
	if err == nil && len(all) == 0 {
		err = usagef("there is no authority yet; postern ca init founds it, and so does the first start")
	}
	return all, err
}

var authorityColumns = []string{"kind", "subject", "expires_at", "signs", "key", "sha256"}

// list shows issuing authorities below the roots that signed them.
func (o *ownCA) list(cmd *cobra.Command, all []registry.Authority) error {
	var rows []object
	seen := map[string]bool{}
	for _, a := range all {
		root, err := x509.ParseCertificate(a.Root)
		if err != nil {
			return fmt.Errorf("read the root of issuing authority %s: %w", a.ID, err)
		}
		c, err := x509.ParseCertificate(a.DER)
		if err != nil {
			return fmt.Errorf("read issuing authority %s: %w", a.ID, err)
		}
		if id := registry.Fingerprint(root); !seen[id] {
			seen[id] = true
			rows = append(rows, authorityRow("root", root, o.rootKeyAt(root)))
		}
		key := "database, sealed"
		if certs.NeedsPassphrase(a) {
			key += " with passphrase"
		}
		row := authorityRow("issuing", c, key)
		row["signs"] = a.RetiredAt.IsZero()
		rows = append(rows, row)
	}
	return show(cmd.OutOrStdout(), o.flags.output, authorityColumns, false, rows...)
}

func authorityRow(kind string, c *x509.Certificate, key string) object {
	return object{"kind": kind, "subject": c.Subject.String(), "expires_at": day(c.NotAfter), "signs": false, "key": key, "sha256": registry.Fingerprint(c)}
}

// rootKeyAt tells where the key of a root is.
func (o *ownCA) rootKeyAt(root *x509.Certificate) string {
	kept, err := certs.ReadCertificates(o.path("ca.crt"))
	if err != nil || !kept[0].Equal(root) {
		return "not on this machine"
	}
	encrypted, err := certs.KeyEncrypted(o.path("ca.key"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "not on this machine"
	case err != nil:
		return err.Error()
	case encrypted:
		return "this machine, encrypted"
	}
	return "this machine, not encrypted"
}

func (o *ownCA) exportCommand() *cobra.Command {
	var out, rootKey, passphrase string
	var chain, yes, force bool
	cmd := &cobra.Command{
		Use: "export", Short: "Write the root's certificate, or take its key off this machine", Args: cobra.NoArgs,
		Long: "Write the root's certificate, which clients trust, in PEM; --chain puts the issuing authorities behind it.\n\n" +
			"With --root-key the root's key leaves this machine: it is written to FILE, encrypted with a passphrase, read\n" +
			"again, and only then ca.key is removed. The file must be its owner's alone: mount a stick without file modes\n" +
			"with umask=077. The server goes on without the key; postern ca rotate --root-key FILE needs it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rootKey != "" {
				return o.moveKey(cmd, rootKey, passphrase, yes)
			}
			return o.with(cmd.Context(), openExisting, func(r *registry.Registry) error {
				all, err := o.founded(cmd.Context(), r)
				if err != nil {
					return err
				}
				text, err := exported(all, chain)
				if err != nil {
					return err
				}
				if out == "" {
					_, err = cmd.OutOrStdout().Write(text)
					return err
				}
				return writeOut(out, text, 0o644, force)
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to write; empty: standard output")
	cmd.Flags().BoolVar(&force, "force", false, "write over it when it exists")
	cmd.Flags().BoolVar(&chain, "chain", false, "the issuing authorities too, the one that signs first")
	cmd.Flags().StringVar(&rootKey, "root-key", "", "take the root's key off this machine, to this `file`")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "`file` with the passphrase for that (- reads standard input); empty: "+envName("ca-passphrase")+", or asked for")
	cmd.Flags().BoolVar(&yes, "yes", false, "do remove ca.key")
	return cmd
}

// exported is the root that signed the present issuing authority and, with
// chain, all that its clients may meet.
func exported(all []registry.Authority, chain bool) ([]byte, error) {
	ders := [][]byte{all[0].Root}
	if chain {
		for _, a := range all {
			ders = append(ders, a.DER)
		}
	}
	list := make([]*x509.Certificate, len(ders))
	for i, der := range ders {
		var err error
		if list[i], err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("read the authority in the database: %w", err)
		}
	}
	return certs.EncodePEM(list...), nil
}

func (o *ownCA) moveKey(cmd *cobra.Command, to, passphraseFile string, yes bool) error {
	if !yes {
		return usagef("this removes %s once %s is written and read again; add --yes", o.path("ca.key"), to)
	}
	passphrase := o.config.CAPassphrase
	if passphrase == "" || passphraseFile != "" {
		var err error
		if passphrase, err = o.password(cmd, "passphrase-file", passphraseFile, "Passphrase for the root's key: "); err != nil {
			return err
		}
	}
	if err := certs.MoveRootKey(o.config.DataDir, o.config.CAPassphrase, to, passphrase); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "the root's key is in %s and no longer on this machine. Keep it, and its passphrase, where no server is.\n", to)
	return nil
}

func (o *ownCA) rotateCommand() *cobra.Command {
	var rootKey, passphrase string
	cmd := &cobra.Command{
		Use: "rotate", Short: "Make a new issuing authority, which signs from now on", Args: cobra.NoArgs,
		Long: "Make a new issuing authority. Certificates of the one before stay good. Servers that run learn of it within\na minute. It needs the root's key: ca.key, or with --root-key a file elsewhere, which is read and not copied.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			text := ""
			if rootKey != "" {
				encrypted, err := certs.KeyEncrypted(rootKey)
				if err != nil {
					return err
				}
				if encrypted && (passphrase != "" || o.config.CAPassphrase == "") {
					if text, err = o.password(cmd, "passphrase-file", passphrase, "Passphrase of "+rootKey+": "); err != nil {
						return err
					}
				}
			}
			return o.with(cmd.Context(), openExisting, func(r *registry.Registry) error {
				if _, err := o.founded(cmd.Context(), r); err != nil {
					return err
				}
				if err := o.needSecretKey(); err != nil {
					return err
				}
				a, err := o.open(cmd.Context(), r, rootKey, text)
				if err != nil {
					return err
				}
				if err := a.Rotate(cmd.Context()); err != nil {
					return err
				}
				fmt.Fprintln(cmd.ErrOrStderr(), "the first issuing authority below signs from now on; servers that run learn of it within a minute")
				now, err := r.Authorities(cmd.Context())
				if err != nil {
					return err
				}
				return o.list(cmd, now)
			})
		},
	}
	cmd.Flags().StringVar(&rootKey, "root-key", "", "`file` of the root's key; empty: ca.key in the data directory")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "`file` with its passphrase (- reads standard input); empty: "+envName("ca-passphrase")+", or asked for")
	return cmd
}

// needSecretKey refuses to make a key where the server has one elsewhere: what
// it sealed no server could open.
func (o *ownCA) needSecretKey() error {
	if o.config.SecretKey != "" {
		return nil
	}
	if _, err := os.Stat(o.path("secret.key")); err != nil {
		return usagef("there is no %s; give the server's --data-dir, or %s", o.path("secret.key"), envName("secret-key"))
	}
	return nil
}

// writeOut writes a result to a new file whole; with force in the place of an
// older one.
func writeOut(path string, data []byte, mode fs.FileMode, force bool) error {
	next, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(next.Name())
	_, err = next.Write(data)
	if err := errors.Join(err, next.Chmod(mode), next.Sync(), next.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if force {
		return os.Rename(next.Name(), path)
	}
	if err := os.Link(next.Name(), path); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists; --force replaces it: %w", path, fs.ErrExist)
	} else if err != nil {
		return err
	}
	return nil
}
