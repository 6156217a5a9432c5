package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

var certificateColumns = []string{"id", "client_id", "status", "expires_at", "key_type", "last_used"}

// certsCommand is what an operator does with the certificates of devices.
func certsCommand(s *session) *cobra.Command {
	var domain string
	group := &cobra.Command{
		Use: "certs", Short: "Issue, list, renew and revoke certificates of clients",
		Long: "Issue, list and revoke certificates of clients. A certificate is named by its SHA-256 fingerprint, with or\nwithout colons, as openssl x509 -fingerprint -sha256 prints it.",
	}
	path := func(fingerprint, verb string) string {
		return "/" + url.PathEscape(domain) + "/certs/" + url.PathEscape(fingerprint) + verb
	}
	view := &cobra.Command{Use: "view FINGERPRINT", Short: "Show one certificate", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return s.one(cmd, append(certificateColumns, "revoked_at", "reason"), http.MethodGet, path(args[0], ""), nil)
	}}
	var reason string
	revoke := &cobra.Command{
		Use: "revoke FINGERPRINT", Short: "Revoke a certificate: its sessions end now", Args: cobra.ExactArgs(1),
		Long: "Revoke a certificate. Its sessions end now, on every node, and it opens no new one. The reasons are those of\nRFC 5280: keyCompromise, superseded, cessationOfOperation and others; certificateHold can be released again.",
		RunE: func(cmd *cobra.Command, args []string) error {
			in := object{}
			if reason != "" {
				in["reason"] = reason
			}
			return s.one(cmd, append(certificateColumns, "revoked_at", "reason"), http.MethodPost, path(args[0], "/revoke"), in)
		},
	}
	revoke.Flags().StringVar(&reason, "reason", "", "`why`; empty: unspecified")
	release := &cobra.Command{Use: "release FINGERPRINT", Short: "Take back a hold", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return s.one(cmd, certificateColumns, http.MethodPost, path(args[0], "/release"), nil)
	}}
	group.AddCommand(certsIssueCommand(s, &domain), certsListCommand(s, &domain), view, revoke, release, certsDownloadCommand(s, path))
	for _, sub := range group.Commands() {
		domainFlag(sub, &domain)
	}
	group.AddCommand(renewCommand(s)) // the certificate says whose it is
	return group
}

func certsListCommand(s *session, domain *string) *cobra.Command {
	var device, status, before string
	var limit, offset int
	cmd := &cobra.Command{Use: "list", Short: "List certificates, the newest first", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		filters := map[string]string{"client": device, "status": status, "expires_before": before}
		return s.page(cmd, certificateColumns, "/"+url.PathEscape(*domain)+"/certs", "certs", filters, limit, offset)
	}}
	cmd.Flags().StringVar(&device, "client", "", "only those of this client, by `id`")
	cmd.Flags().StringVar(&status, "status", "", "`state`: valid, held, revoked, expired; empty: all")
	cmd.Flags().StringVar(&before, "expires-before", "", "only those that end before this `time`, such as 2026-01-31T00:00:00Z")
	cmd.Flags().IntVar(&limit, "limit", 100, "most to show, up to 100")
	cmd.Flags().IntVar(&offset, "offset", 0, "how many to pass over")
	return cmd
}

func certsDownloadCommand(s *session, path func(fingerprint, verb string) string) *cobra.Command {
	var out string
	var force bool
	cmd := &cobra.Command{
		Use: "download FINGERPRINT", Short: "Write a certificate with its issuing authority, in PEM", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.call(cmd.Context(), func(ctx context.Context, c *client) error {
				var o object
				if err := c.do(ctx, http.MethodGet, path(args[0], ""), nil, &o); err != nil {
					return err
				}
				text := o.at("certificate")
				if text == "" {
					return errors.New("the name of this certificate is a secret, so it was shown once and not kept; issue another")
				}
				if out == "" {
					_, err := fmt.Fprint(cmd.OutOrStdout(), text)
					return err
				}
				return writeOut(out, []byte(text), 0o644, force)
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to write; empty: standard output")
	cmd.Flags().BoolVar(&force, "force", false, "write over it when it exists")
	return cmd
}
