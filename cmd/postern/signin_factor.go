package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// secondFactor goes on with a sign-in that ended in err: when that asks for a
// second factor, the code is read from the file or asked for.
func (s *session) secondFactor(ctx context.Context, cmd *cobra.Command, c *client, file string, err error) error {
	var wanted *answerError
	if !errors.As(err, &wanted) || wanted.Word != "second_factor_required" || wanted.Ticket == "" {
		return err
	}
	if !slices.Contains(wanted.Methods, "totp") && !slices.Contains(wanted.Methods, "recovery") {
		return errors.New("the account has passkeys alone, which need a browser; enrol an authenticator app, or make recovery codes, on the web pages")
	}
	text, err := s.otp(cmd, file)
	if err != nil {
		return err
	}
	var t tokens
	if err := c.try(ctx, http.MethodPost, "/users/tokens/second-factor", "", proofOf(wanted.Ticket, text), &t); err != nil {
		return err
	}
	c.Access, c.Refresh = t.Access, t.Refresh
	return c.save()
}

// otp reads a code, which a terminal does not show either: a recovery code is
// as good as a password.
func (s *session) otp(cmd *cobra.Command, file string) (string, error) {
	if file == "" {
		if f, ok := cmd.InOrStdin().(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
			return "", usagef("the account has a second factor and there is no terminal to ask for it; give --otp-file")
		}
	}
	return s.password(cmd, "otp-file", file, "Code of the authenticator app, or a recovery code: ")
}

// proofOf takes six digits for a code, anything else for a recovery code.
func proofOf(ticket, text string) map[string]string {
	kind, digits := "recovery_code", strings.ReplaceAll(text, " ", "")
	if len(digits) == 6 && strings.Trim(digits, "0123456789") == "" {
		kind = "code"
	}
	return map[string]string{"ticket": ticket, kind: text}
}
