package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// A noun is a kind of thing that the API lists, creates and changes.
type noun struct {
	plural, single string
	path           string // below /api; %s is the domain
	columns        []string
	states         []string // POST <path>/<id>/<state>
}

var (
	domainNoun  = noun{"domains", "domain", "/domains", []string{"id", "name", "route", "status", "created_at"}, []string{"enable", "disable", "freeze"}}
	clientNoun  = noun{"clients", "client", "/%s/clients", []string{"id", "name", "status", "tags", "created_at"}, []string{"enable", "disable"}}
	channelNoun = noun{"channels", "channel", "/%s/channels", []string{"id", "name", "route", "store", "status", "created_at"}, []string{"enable", "disable"}}
	userNoun    = noun{"users", "user", "/users", []string{"id", "credentials.username", "email", "role", "status", "created_at"}, []string{"enable", "disable"}}
)

// in returns the noun's path in a domain.
func (n noun) in(domain string) string {
	if strings.Contains(n.path, "%s") {
		return fmt.Sprintf(n.path, url.PathEscape(domain))
	}
	return n.path
}

func (n noun) inDomain() bool { return strings.Contains(n.path, "%s") }

// domainFlag adds --domain to the commands of nouns that live in one.
func domainFlag(cmd *cobra.Command, domain *string) {
	cmd.PersistentFlags().StringVarP(domain, "domain", "d", "", "id or route of the `domain`")
	_ = cmd.MarkPersistentFlagRequired("domain") // only fails for a flag that is not there
}

// command is the noun's group with list, view, the states and delete; add
// brings what is the noun's own.
func (n noun) command(s *session, domain *string, short string, add ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{Use: n.plural, Short: short}
	if n.inDomain() {
		domainFlag(group, domain)
	}
	group.AddCommand(n.list(s, domain), n.view(s, domain), n.remove(s, domain))
	for _, state := range n.states {
		group.AddCommand(n.state(s, domain, state))
	}
	group.AddCommand(add...)
	return group
}

func (n noun) list(s *session, domain *string) *cobra.Command {
	var name, status, tag string
	var limit, offset int
	cmd := &cobra.Command{Use: "list", Short: "List " + n.plural, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		filters := map[string]string{"name": name, "status": status, "tag": tag}
		return s.page(cmd, n.columns, n.in(*domain), n.plural, filters, limit, offset)
	}}
	cmd.Flags().StringVar(&name, "name", "", "only those whose name contains `text`")
	cmd.Flags().StringVar(&status, "status", "", "`state`: enabled (the default), disabled, all")
	cmd.Flags().StringVar(&tag, "tag", "", "only those with this `tag`")
	cmd.Flags().IntVar(&limit, "limit", 100, "most to show, up to 100")
	cmd.Flags().IntVar(&offset, "offset", 0, "how many to pass over")
	return cmd
}

// page shows a page of a list, with the filters that are not empty, and says how
// to see the rest.
func (s *session) page(cmd *cobra.Command, columns []string, path, plural string, filters map[string]string, limit, offset int) error {
	return s.call(cmd.Context(), func(ctx context.Context, c *client) error {
		q := url.Values{"limit": {strconv.Itoa(limit)}, "offset": {strconv.Itoa(offset)}}
		for k, v := range filters {
			if v != "" {
				q.Set(k, v)
			}
		}
		var page map[string]any
		if err := c.do(ctx, http.MethodGet, path+"?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		if err := show(cmd.OutOrStdout(), s.flags.output, columns, false, objects(page[plural])...); err != nil {
			return err
		}
		if total, _ := page["total"].(float64); int(total) > offset+limit {
			fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d; the rest with --offset %d\n", limit, int(total), offset+limit)
		}
		return nil
	})
}

func objects(list any) []object {
	items, _ := list.([]any)
	var all []object
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

// one sends a request and shows the one object that comes back.
func (s *session) one(cmd *cobra.Command, columns []string, method, path string, in any) error {
	return s.call(cmd.Context(), func(ctx context.Context, c *client) error {
		var o object
		if err := c.do(ctx, method, path, in, &o); err != nil {
			return err
		}
		if o == nil {
			return nil
		}
		return show(cmd.OutOrStdout(), s.flags.output, columns, true, o)
	})
}

func (n noun) view(s *session, domain *string) *cobra.Command {
	return &cobra.Command{Use: "view ID", Short: "Show one " + n.single, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return s.one(cmd, n.columns, http.MethodGet, n.in(*domain)+"/"+url.PathEscape(args[0]), nil)
	}}
}

func (n noun) state(s *session, domain *string, state string) *cobra.Command {
	return &cobra.Command{Use: state + " ID", Short: strings.ToUpper(state[:1]) + state[1:] + " one " + n.single, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return s.one(cmd, n.columns, http.MethodPost, n.in(*domain)+"/"+url.PathEscape(args[0])+"/"+state, nil)
	}}
}

func (n noun) remove(s *session, domain *string) *cobra.Command {
	return &cobra.Command{Use: "delete ID", Short: "Delete one " + n.single, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return s.one(cmd, nil, http.MethodDelete, n.in(*domain)+"/"+url.PathEscape(args[0]), nil)
	}}
}

func domainsCommand(s *session) *cobra.Command {
	var domain, route string
	create := &cobra.Command{Use: "create NAME", Short: "Create a domain", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		in := object{"name": args[0]}
		if route != "" {
			in["route"] = route
		}
		return s.one(cmd, domainNoun.columns, http.MethodPost, domainNoun.path, in)
	}}
	create.Flags().StringVar(&route, "route", "", "`alias` in topics; empty: made from the name")
	group := domainNoun.command(s, &domain, "Manage domains", create)
	for _, sub := range group.Commands() {
		if sub.Name() == "delete" {
			group.RemoveCommand(sub) // a domain is disabled or frozen, not deleted
		}
	}
	return group
}

func clientsCommand(s *session) *cobra.Command {
	var domain, secret, overlap string
	var tags []string
	create := &cobra.Command{
		Use: "create NAME", Short: "Create a client (a device) and show its secret, once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := object{"name": args[0]}
			if tags != nil {
				in["tags"] = tags
			}
			if secret != "" {
				text, err := s.secretFrom(cmd, secret)
				if err != nil {
					return err
				}
				in["credentials"] = object{"secret": text}
			}
			return s.one(cmd, []string{"id", "name", "credentials.secret", "status"}, http.MethodPost, clientNoun.in(domain), in)
		},
	}
	create.Flags().StringSliceVar(&tags, "tags", nil, "`tags`")
	create.Flags().StringVar(&secret, "secret-file", "", "`file` with a secret of your own (- reads standard input); empty: one is made")
	rotate := &cobra.Command{
		Use: "rotate ID", Short: "Give a client a new secret and show it, once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := object{}
			if overlap != "" {
				in["overlap"] = overlap
			}
			return s.one(cmd, []string{"id", "name", "credentials.secret"}, http.MethodPatch, clientNoun.in(domain)+"/"+url.PathEscape(args[0])+"/secret", in)
		},
	}
	rotate.Flags().StringVar(&overlap, "overlap", "", "how long the old secret stays good, such as 24h; empty: not at all")
	sessions := &cobra.Command{
		Use: "sessions ID", Short: "Show where a client is connected", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.call(cmd.Context(), func(ctx context.Context, c *client) error {
				var page map[string]any
				if err := c.do(ctx, http.MethodGet, clientNoun.in(domain)+"/"+url.PathEscape(args[0])+"/sessions", nil, &page); err != nil {
					return err
				}
				return show(cmd.OutOrStdout(), s.flags.output, sessionColumns, false, objects(page["sessions"])...)
			})
		},
	}
	return clientNoun.command(s, &domain, "Manage clients (devices)", create, rotate, sessions)
}

var sessionColumns = []string{"id", "via", "remote", "certificate", "opened_at"}

func channelsCommand(s *session) *cobra.Command {
	var domain, route string
	var live bool
	create := &cobra.Command{Use: "create NAME", Short: "Create a channel", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		in := object{"name": args[0], "store": !live}
		if route != "" {
			in["route"] = route
		}
		return s.one(cmd, channelNoun.columns, http.MethodPost, channelNoun.in(domain), in)
	}}
	create.Flags().StringVar(&route, "route", "", "`alias` in topics")
	create.Flags().BoolVar(&live, "live", false, "do not store its messages: at most once, nothing waits")
	return channelNoun.command(s, &domain, "Manage channels", create)
}

func usersCommand(s *session) *cobra.Command {
	var domain, email, first, last, role, password string
	create := &cobra.Command{Use: "create USERNAME", Short: "Create a user", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		text, err := s.password(cmd, "password-file", password, "Password of "+args[0]+": ")
		if err != nil {
			return err
		}
		in := object{"first_name": first, "last_name": last, "email": email, "role": role, "credentials": object{"username": args[0], "secret": text}}
		return s.one(cmd, userNoun.columns, http.MethodPost, userNoun.path, in)
	}}
	create.Flags().StringVar(&email, "email", "", "`address`")
	create.Flags().StringVar(&first, "first-name", "", "first `name`")
	create.Flags().StringVar(&last, "last-name", "", "last `name`")
	create.Flags().StringVar(&role, "role", "viewer", "`role` on the platform: viewer, editor, admin, owner")
	create.Flags().StringVar(&password, "password-file", "", "`file` with the password (- reads standard input); empty: asked for")
	setRole := &cobra.Command{Use: "role ID ROLE", Short: "Change a user's role on the platform", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		return s.one(cmd, userNoun.columns, http.MethodPatch, userNoun.path+"/"+url.PathEscape(args[0])+"/role", object{"role": args[1]})
	}}
	profile := &cobra.Command{Use: "profile", Short: "Show who is signed in", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return s.one(cmd, userNoun.columns, http.MethodGet, "/users/profile", nil)
	}}
	return userNoun.command(s, &domain, "Manage users", create, setRole, profile)
}

// connectCommand is connect or disconnect.
func connectCommand(s *session, connect bool) *cobra.Command {
	var domain string
	var publish, subscribe bool
	name, short := "connect", "Let a client use a channel"
	if !connect {
		name, short = "disconnect", "Take the use of a channel from a client"
	}
	cmd := &cobra.Command{
		Use: name + " CLIENT CHANNEL", Short: short, Args: cobra.ExactArgs(2),
		Long: short + ". Both are given by id. Without --publish or --subscribe it is about both rights.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var types []string
			if publish || !subscribe {
				types = append(types, "publish")
			}
			if subscribe || !publish {
				types = append(types, "subscribe")
			}
			in := object{"client_ids": args[:1], "channel_ids": args[1:], "types": types}
			return s.one(cmd, nil, http.MethodPost, channelNoun.in(domain)+"/"+name, in)
		},
	}
	domainFlag(cmd, &domain)
	cmd.Flags().BoolVar(&publish, "publish", false, "the right to publish")
	cmd.Flags().BoolVar(&subscribe, "subscribe", false, "the right to subscribe")
	return cmd
}

func explainCommand(s *session) *cobra.Command {
	var domain, id, action string
	cmd := &cobra.Command{
		Use: "explain TOPIC", Short: "Tell step by step whether a client may use a topic", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.call(cmd.Context(), func(ctx context.Context, c *client) error {
				var o object
				in := object{"client_id": id, "topic": args[0], "action": action}
				if err := c.do(ctx, http.MethodPost, "/"+url.PathEscape(domain)+"/explain", in, &o); err != nil {
					return err
				}
				if s.flags.output == "json" {
					return show(cmd.OutOrStdout(), "json", nil, true, o)
				}
				w := cmd.OutOrStdout()
				for i, step := range anySlice(o["steps"]) {
					fmt.Fprintf(w, "%d. %v\n", i+1, step)
				}
				verdict := "refused: " + o.at("reason")
				if allowed, _ := o["allowed"].(bool); allowed {
					verdict = "allowed"
				}
				fmt.Fprintln(w, verdict)
				return nil
			})
		},
	}
	domainFlag(cmd, &domain)
	cmd.Flags().StringVar(&id, "client", "", "`id` of the client")
	cmd.Flags().StringVar(&action, "action", "publish", "`what` it would do: publish or subscribe")
	_ = cmd.MarkFlagRequired("client")
	return cmd
}

func anySlice(v any) []any { s, _ := v.([]any); return s }
