package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/postern-io/postern/certs"
)

const maxSecretInput = 4096

// secretFrom reads a secret from a file or, for "-", from standard input: a
// secret on a command line can be seen by every process.
func (s *session) secretFrom(cmd *cobra.Command, file string) (string, error) {
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	line, err := bufio.NewReader(io.LimitReader(in, maxSecretInput)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", usagef("%s holds no secret", file)
	}
	return line, nil
}

// password reads a password from the file that a flag names, or asks for it
// where there is somebody to ask.
func (s *session) password(cmd *cobra.Command, flag, file, prompt string) (string, error) {
	if file != "" {
		return s.secretFrom(cmd, file)
	}
	f, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", usagef("there is no terminal to ask for a password; give --%s", flag)
	}
	fmt.Fprint(cmd.ErrOrStderr(), prompt)
	text, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(cmd.ErrOrStderr())
	return string(text), err
}

func loginCommand(s *session) *cobra.Command {
	var password, key, otp string
	cmd := &cobra.Command{
		Use: "login [USERNAME]", Short: "Sign in and keep the tokens for the other commands",
		Args: func(cmd *cobra.Command, args []string) error {
			if key != "" { // it says who
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.call(cmd.Context(), func(ctx context.Context, c *client) error {
				var err error
				if key != "" {
					text, e := s.secretFrom(cmd, key)
					if e != nil {
						return e
					}
					err = c.recoverWith(ctx, text)
				} else {
					text, e := s.password(cmd, "password-file", password, "Password: ")
					if e != nil {
						return e
					}
					err = c.signIn(ctx, args[0], text)
				}
				if err = s.secondFactor(ctx, cmd, c, otp, err); err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "signed in to %s; the login is kept in %s\n", c.Server, c.file)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&password, "password-file", "", "`file` with the password (- reads standard input); empty: asked for")
	cmd.Flags().StringVar(&key, "recovery-key-file", "", "`file` with the key of postern recover-owner (- reads standard input), instead of name and password")
	cmd.Flags().StringVar(&otp, "otp-file", "", "`file` with a code of the authenticator app or a recovery code; empty: asked for when the account has a second factor")
	return cmd
}

func tokenCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "token", Short: "Print a fresh access token", Args: cobra.NoArgs,
		Long: "Print a fresh access token, for curl -H \"Authorization: Bearer $(postern token)\".",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.call(cmd.Context(), func(ctx context.Context, c *client) error {
				if c.Refresh == "" {
					return errors.New("not signed in; run postern login")
				}
				if err := c.refresh(ctx); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), c.Access)
				return nil
			})
		},
	}
}

func setUpCommand(s *session) *cobra.Command {
	var email, password, dataDir string
	cmd := &cobra.Command{
		Use: "setup USERNAME", Short: "Make the first owner of a new server and sign in", Args: cobra.ExactArgs(1),
		Long: "Make the first owner of a new server, with the one-time token that its start left in the data directory,\nand sign in.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.callNew(cmd.Context(), dataDir, func(ctx context.Context, c *client) error {
				text, err := s.password(cmd, "password-file", password, "Password for "+args[0]+": ")
				if err != nil {
					return err
				}
				if err := c.setUp(ctx, dataDir, args[0], email, text); err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "%s owns %s and is signed in; the login is kept in %s\n", args[0], c.Server, c.file)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&email, "email", "", "`address` of the owner")
	cmd.Flags().StringVar(&dataDir, "data-dir", "./data", "data `directory` of the server")
	cmd.Flags().StringVar(&password, "password-file", "", "`file` with the password (- reads standard input); empty: asked for")
	return cmd
}

// setUp makes the first owner with the token in the data directory.
func (c *client) setUp(ctx context.Context, dataDir, username, email, password string) error {
	path := filepath.Join(dataDir, setUpToken)
	token, err := certs.ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s: the server has an owner already (sign in with postern login), or keeps its data elsewhere (--data-dir)", path)
	}
	if err != nil {
		return err
	}
	in := object{"token": strings.TrimSpace(string(token)), "email": email, "credentials": object{"username": username, "secret": password}}
	if err := c.try(ctx, http.MethodPost, "/setup", "", in, nil); err != nil {
		return err
	}
	return c.signIn(ctx, username, password)
}
