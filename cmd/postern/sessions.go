package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

var (
	signInColumns = []string{"id", "kind", "provider", "ip", "last_seen", "expires_at", "current"}
	keyColumns    = []string{"id", "name", "prefix", "role", "last_used", "expires_at"}
)

// of adds ?user= for the account of somebody else.
func of(user string) string {
	if user == "" {
		return ""
	}
	return "?" + url.Values{"user": {user}}.Encode()
}

// some shows the list that an answer holds.
func (s *session) some(cmd *cobra.Command, columns []string, path, plural string) error {
	return s.call(cmd.Context(), func(ctx context.Context, c *client) error {
		var page map[string]any
		if err := c.do(ctx, http.MethodGet, path, nil, &page); err != nil {
			return err
		}
		return show(cmd.OutOrStdout(), s.flags.output, columns, false, objects(page[plural])...)
	})
}

func sessionsCommand(s *session) *cobra.Command {
	var user string
	var others bool
	group := &cobra.Command{Use: "sessions", Short: "See and end sign-ins"}
	group.PersistentFlags().StringVar(&user, "user", "", "`id` of another account; empty: your own")
	list := &cobra.Command{Use: "list", Short: "List where somebody is signed in", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return s.some(cmd, signInColumns, "/users/sessions"+of(user), "sessions")
	}}
	end := &cobra.Command{Use: "end ID", Short: "End one sign-in", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return s.one(cmd, nil, http.MethodDelete, "/users/sessions/"+url.PathEscape(args[0])+of(user), nil)
	}}
	endAll := &cobra.Command{Use: "end-all", Short: "Sign somebody out everywhere", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		q := url.Values{}
		if user != "" {
			q.Set("user", user)
		}
		if others {
			q.Set("keep", "current")
		}
		return s.one(cmd, nil, http.MethodDelete, "/users/sessions?"+q.Encode(), nil)
	}}
	endAll.Flags().BoolVar(&others, "others", false, "keep the sign-in of this command")
	group.AddCommand(list, end, endAll)
	return group
}

func logoutCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "Sign out and forget the login", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.call(cmd.Context(), func(ctx context.Context, c *client) error {
				if c.Refresh == "" {
					return errors.New("not signed in by postern login")
				}
				err := c.try(ctx, http.MethodPost, "/users/tokens/revoke", c.Refresh, nil, nil)
				var answer *answerError
				if err != nil && (!errors.As(err, &answer) || answer.status != http.StatusUnauthorized) { // 401: it has ended already
					return err
				}
				c.Access, c.Refresh = "", ""
				return c.save()
			})
		},
	}
}

func apiKeysCommand(s *session) *cobra.Command {
	var user, role string
	var life time.Duration
	group := &cobra.Command{Use: "keys", Short: "Manage API keys, by which programs act for you"}
	create := &cobra.Command{
		Use: "create NAME", Short: "Make an API key and show it, once", Args: cobra.ExactArgs(1),
		Long: "Make an API key and show it, once. It may what you may, up to --role, and nothing to your account.\nIt asks for a sign-in of the last 15 minutes. Programs send it as Authorization: Bearer.",
		RunE: func(cmd *cobra.Command, args []string) error {
			in := object{"name": args[0], "role": role}
			if life != 0 {
				in["expires_at"] = time.Now().Add(life).UTC()
			}
			return s.one(cmd, []string{"id", "name", "role", "expires_at", "secret"}, http.MethodPost, "/users/keys", in)
		},
	}
	create.Flags().StringVar(&role, "role", "viewer", "most that the key may: `role` viewer, editor, admin or owner")
	create.Flags().DurationVar(&life, "expires-in", 0, "how long it lives, such as 720h, at most a year; 0: 90 days")
	list := &cobra.Command{Use: "list", Short: "List API keys", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return s.some(cmd, keyColumns, "/users/keys"+of(user), "keys")
	}}
	revoke := &cobra.Command{Use: "revoke ID", Short: "End an API key", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return s.one(cmd, nil, http.MethodDelete, "/users/keys/"+url.PathEscape(args[0])+of(user), nil)
	}}
	for _, c := range []*cobra.Command{list, revoke} {
		c.Flags().StringVar(&user, "user", "", "`id` of another account; empty: your own")
	}
	group.AddCommand(create, list, revoke)
	return group
}
