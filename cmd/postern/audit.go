package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
)

var auditColumns = []string{"at", "action", "outcome", "reason", "actor_name", "object", "ip", "request"}

func auditCommand(s *session) *cobra.Command {
	var action, outcome, actor string
	var since time.Duration
	var limit int
	cmd := &cobra.Command{
		Use: "audit", Short: "Show who did what, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			for k, v := range map[string]string{"action": action, "outcome": outcome, "actor": actor} {
				if v != "" {
					q.Set(k, v)
				}
			}
			if since > 0 {
				q.Set("from", time.Now().Add(-since).UTC().Format(time.RFC3339))
			}
			return s.some(cmd, auditColumns, "/audit?"+q.Encode(), "events")
		},
	}
	cmd.Flags().StringVar(&action, "action", "", "only this `action`, such as user.role, or all that begin with it: user.")
	cmd.Flags().StringVar(&outcome, "outcome", "", "only this `outcome`: done, refused, failed")
	cmd.Flags().StringVar(&actor, "actor", "", "only what this user did: `id`")
	cmd.Flags().DurationVar(&since, "since", 0, "only the last, such as 24h; 0: all that is kept")
	cmd.Flags().IntVar(&limit, "limit", 50, "most to show, up to 100")
	return cmd
}

func explainLoginCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "explain-login REQUEST|EVENT|USERNAME", Short: "Tell why a sign-in went as it did", Args: cobra.ExactArgs(1),
		Long: "Tell why a sign-in went as it did: what the provider said (without secrets), each step of the decision,\nand why it was refused. Give the id of the request or of the event in the audit trail, or a name for its last sign-in.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.call(cmd.Context(), func(ctx context.Context, c *client) error {
				e, err := c.signInOf(ctx, args[0])
				if err != nil {
					return err
				}
				if s.flags.output == "json" {
					return show(cmd.OutOrStdout(), "json", nil, true, e)
				}
				return explainSignIn(cmd.OutOrStdout(), e)
			})
		},
	}
}

// signInOf finds a sign-in by what somebody has at hand of it.
func (c *client) signInOf(ctx context.Context, of string) (object, error) {
	q := url.Values{"limit": {"1"}}
	if uuid.Validate(of) == nil {
		e, err := c.event(ctx, of)
		var answer *answerError
		if err == nil || !errors.As(err, &answer) || answer.status != http.StatusNotFound {
			return e, err
		}
		q.Set("request", of)
	} else {
		id, err := c.userNamed(ctx, of)
		if err != nil {
			return nil, err
		}
		q.Set("actor", id)
		q.Set("action", "sign-in")
	}
	var page map[string]any
	if err := c.do(ctx, http.MethodGet, "/audit?"+q.Encode(), nil, &page); err != nil {
		return nil, err
	}
	found := objects(page["events"])
	if len(found) == 0 {
		return nil, fmt.Errorf("the audit trail tells of no sign-in of %s", of)
	}
	return c.event(ctx, found[0].at("id"))
}

func (c *client) event(ctx context.Context, id string) (e object, err error) {
	return e, c.do(ctx, http.MethodGet, "/audit/"+url.PathEscape(id), nil, &e)
}

// userNamed returns the id of the account with exactly that name.
func (c *client) userNamed(ctx context.Context, name string) (string, error) {
	var page map[string]any
	q := url.Values{"name": {name}, "status": {"all"}, "limit": {"100"}}
	if err := c.do(ctx, http.MethodGet, "/users?"+q.Encode(), nil, &page); err != nil {
		return "", err
	}
	for _, u := range objects(page["users"]) {
		if strings.EqualFold(u.at("credentials.username"), name) || strings.EqualFold(u.at("email"), name) {
			return u.at("id"), nil
		}
	}
	return "", fmt.Errorf("no account is called %s; a sign-in without one is found by the id of its request", name)
}

// explainSignIn writes an event for people to read.
func explainSignIn(w io.Writer, e object) error {
	fmt.Fprintf(w, "%s %s: %s", e.at("at"), e.at("action"), e.at("outcome"))
	if reason := e.at("reason"); reason != "" {
		fmt.Fprintf(w, " (%s)", reason)
	}
	fmt.Fprintln(w)
	for _, line := range []struct{ title, path string }{
		{"account", "actor_name"}, {"account id", "actor"}, {"provider", "provider"}, {"subject", "details.subject"},
		{"groups", "details.groups"}, {"from", "ip"}, {"user agent", "user_agent"}, {"request", "request"},
	} {
		if text := e.at(line.path); text != "" {
			fmt.Fprintf(w, "  %-11s %s\n", line.title, text)
		}
	}
	details, _ := e["details"].(map[string]any)
	if claims, _ := details["claims"].(map[string]any); len(claims) > 0 {
		fmt.Fprintln(w, "the provider said:")
		for _, name := range slices.Sorted(maps.Keys(claims)) {
			fmt.Fprintf(w, "  %s: %s\n", name, object{"it": claims[name]}.at("it")) // a name may hold a dot
		}
	}
	if steps, _ := details["steps"].([]any); len(steps) > 0 {
		fmt.Fprintln(w, "what was decided:")
		for n, step := range steps {
			fmt.Fprintf(w, "  %d. %v\n", n+1, step)
		}
	}
	return nil
}
