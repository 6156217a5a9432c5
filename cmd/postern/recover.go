package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// recoverOwnerCommand is the way in for who owns the host and nothing else: it
// opens the store itself, also beside a running server.
func recoverOwnerCommand(io stdio) *cobra.Command {
	var c Config
	var b breakGlass
	cmd := &cobra.Command{
		Use: "recover-owner [USERNAME]", Short: "Print a one-time key that signs in as an owner, on the server's own machine", Args: cobra.MaximumNArgs(1),
		Long: "Make an account an enabled owner and print a one-time key for it, good for 15 minutes:\n\n" +
			"  postern recover-owner ann | postern login --recovery-key-file -\n  postern password --recovered\n\n" +
			"Without USERNAME it is the one owner that there is. It opens the database itself, so it works though the\n" +
			"server may be running, signing in by password is off, and no provider answers.",
		RunE: func(cmd *cobra.Command, args []string) error {
			b.username = strings.Join(args, "")
			if b.create && b.username == "" {
				return usagef("--create wants a USERNAME")
			}
			if b.email != "" && !b.create {
				return usagef("--email goes with --create")
			}
			c.DatabaseURL = cmp.Or(c.DatabaseURL, io.lookup(envName("database-url")))
			key, user, err := b.run(cmd.Context(), &c)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s is an enabled owner. This key signs in once, within 15 minutes: give it to postern login --recovery-key-file -\n", user.Username)
			fmt.Fprintln(cmd.OutOrStdout(), key)
			return nil
		},
	}
	cmd.Flags().StringVar(&c.DataDir, "data-dir", cmp.Or(io.lookup(envName("data-dir")), "./data"), "data `directory` of the server")
	cmd.Flags().StringVar(&c.DatabaseURL, "database-url", "", "postgres://… when the server uses PostgreSQL; better given as "+envName("database-url")+", because it may hold a password")
	cmd.Flags().BoolVar(&b.create, "create", false, "make the account")
	cmd.Flags().StringVar(&b.email, "email", "", "`address` of the account that is made")
	cmd.Flags().BoolVar(&b.dropFactors, "drop-second-factors", false, "remove the second factors of the account, which are asked for otherwise")
	return cmd
}

// breakGlass is what recover-owner was asked for.
type breakGlass struct {
	username, email     string
	create, dropFactors bool
}

func (b breakGlass) run(ctx context.Context, c *Config) (key string, user registry.User, err error) {
	db, err := openExisting(ctx, c)
	if err != nil {
		return "", user, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	r := &registry.Registry{Store: db, Now: time.Now, NewID: uuid.NewString}
	if user, err = b.account(ctx, r, db); err != nil {
		return "", user, err
	}
	users := authn.NewUsers(authn.UsersConfig{Find: db, Keys: db, Audit: db, Now: time.Now})
	key, err = users.BreakGlass(ctx, r, user.ID, b.dropFactors)
	return key, user, err
}

// openExisting opens the database of a server that was started before, also
// beside it; a mistaken directory does not become a new database.
func openExisting(ctx context.Context, c *Config) (*store.Store, error) {
	if c.DatabaseURL == "" {
		path := filepath.Join(c.DataDir, "postern.db")
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, usagef("there is no %s; give the server's --data-dir, or %s", path, envName("database-url"))
		}
	}
	return store.Open(ctx, databaseURL(c))
}

// account finds the account that is meant, or makes it.
func (b breakGlass) account(ctx context.Context, r *registry.Registry, db *store.Store) (registry.User, error) {
	if b.create {
		return r.CreateUser(ctx, "", registry.User{Username: b.username, Email: b.email, Role: registry.Owner})
	}
	if b.username != "" {
		user, err := db.UserByLogin(ctx, b.username)
		if errors.Is(err, registry.ErrNotFound) {
			return user, usagef("there is no account %q; --create makes one", b.username)
		}
		return user, err
	}
	owners, err := r.Users(ctx, registry.Query{MinRole: registry.Owner, Limit: registry.MaxPage, Order: registry.ByCreated})
	if err != nil {
		return registry.User{}, err
	}
	if len(owners.Items) == 1 {
		return owners.Items[0], nil
	}
	names := make([]string, len(owners.Items))
	for i, o := range owners.Items {
		names[i] = o.Username
	}
	if len(names) == 0 {
		return registry.User{}, usagef("there is no owner; give a USERNAME, and --create if there is no such account")
	}
	return registry.User{}, usagef("there are several owners (%s); say which", strings.Join(names, ", "))
}

// recoverWith trades a key from the host for tokens and keeps them.
func (c *client) recoverWith(ctx context.Context, key string) error {
	var t tokens
	if err := c.try(ctx, http.MethodPost, "/users/tokens/recover", "", object{"token": key}, &t); err != nil {
		return err
	}
	c.Access, c.Refresh = t.Access, t.Refresh
	return c.save()
}

func passwordCommand(s *session) *cobra.Command {
	var old, next string
	var recovered bool
	cmd := &cobra.Command{
		Use: "password", Short: "Change the own password", Args: cobra.NoArgs,
		Long: "Change the own password; all other sign-ins of the account end. A short time after\npostern login --recovery-key-file, --recovered asks for no old password.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.call(cmd.Context(), func(ctx context.Context, c *client) error {
				in := object{"old_secret": ""}
				if !recovered {
					text, err := s.password(cmd, "old-password-file", old, "Old password: ")
					if err != nil {
						return err
					}
					in["old_secret"] = text
				}
				text, err := s.password(cmd, "password-file", next, "New password: ")
				if err != nil {
					return err
				}
				in["new_secret"] = text
				if err := c.do(ctx, http.MethodPatch, "/users/secret", in, nil); err != nil {
					return err
				}
				fmt.Fprintln(cmd.ErrOrStderr(), "the password is changed")
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&old, "old-password-file", "", "`file` with the old password; empty: asked for")
	cmd.Flags().StringVar(&next, "password-file", "", "`file` with the new password (- reads standard input); empty: asked for")
	cmd.Flags().BoolVar(&recovered, "recovered", false, "there is no old password: the sign-in was with a key from the host")
	return cmd
}
