package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/postern-io/postern/messaging"
)

// rootCommand is the command line, all of it.
func rootCommand(io stdio) *cobra.Command {
	root := &cobra.Command{
		Use:           "postern",
		Short:         "The authenticated door between your devices and NATS",
		Long:          "Postern lets devices in by MQTT, HTTP and WebSocket, decides what they may do,\nand puts what they say on NATS. Start with: postern serve, then postern quickstart.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	var flags clientFlags
	flags.add(root.PersistentFlags(), io.lookup)
	s := &session{flags: &flags, io: io}
	root.AddGroup(&cobra.Group{ID: "server", Title: "The server:"}, &cobra.Group{ID: "manage", Title: "A running server:"})
	for _, c := range []*cobra.Command{serveCommand(io), configCommand(), natsCommand(), natsConfigCommand(), healthCommand(io), recoverOwnerCommand(io), caCommand(s), versionCommand()} {
		c.GroupID = "server"
		root.AddCommand(c)
	}
	for _, c := range []*cobra.Command{
		quickstartCommand(s), setUpCommand(s), loginCommand(s), passwordCommand(s), tokenCommand(s), usersCommand(s), domainsCommand(s), clientsCommand(s),
		channelsCommand(s), connectCommand(s, true), connectCommand(s, false), explainCommand(s),
		certsCommand(s), doctorCommand(s), logoutCommand(s), sessionsCommand(s), apiKeysCommand(s), auditCommand(s), explainLoginCommand(s),
	} {
		c.GroupID = "manage"
		root.AddCommand(c)
	}
	wrapArgs(root)
	return root
}

// wrapArgs makes every complaint about arguments, and about flags that must be
// given, a usage error.
func wrapArgs(c *cobra.Command) {
	check := c.Args
	switch {
	case !c.Runnable():
		check = oneOfThese
		c.RunE = func(*cobra.Command, []string) error { return nil } // cobra asks no Args of what does not run
	case check != nil:
		args := check
		check = func(cmd *cobra.Command, words []string) error {
			return errors.Join(args(cmd, words), cmd.ValidateRequiredFlags())
		}
	}
	if check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			if err != nil && !errors.Is(err, pflag.ErrHelp) {
				err = &usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
			}
			return err
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

// oneOfThese is the Args of a group of commands: alone it shows its help, and a
// word that is none of them is a mistake.
func oneOfThese(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unknown command %q%s", args[0], suggest(cmd, args[0]))
	}
	return pflag.ErrHelp
}

func suggest(cmd *cobra.Command, word string) string {
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(word); len(s) > 0 {
		return "; did you mean " + strings.Join(s, " or ") + "?"
	}
	return ""
}

func (s stdio) lookup(name string) string {
	for _, kv := range s.env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func serveCommand(io stdio) *cobra.Command {
	var c Config
	flags := c.flags()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the broker",
		Long:  "Run the broker. Every flag is also an environment variable: --mqtt-addr is POSTERN_MQTT_ADDR.\nA first start makes the data directory, keys, a certificate authority and a certificate for localhost.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := applyEnv(flags, io.env); err != nil {
				return &usageError{err}
			}
			if err := c.Validate(); err != nil {
				return &usageError{err}
			}
			return serve(cmd.Context(), &c, c.logger(io.err), nil)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().AddFlagSet(flags)
	return cmd
}

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Describe the settings"}
	cmd.AddCommand(&cobra.Command{
		Use: "docs", Short: "Print the table of settings", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { writeDocs(cmd.OutOrStdout()); return nil },
	})
	return cmd
}

func natsCommand() *cobra.Command {
	var dir, addr string
	var publish bool
	cmd := &cobra.Command{
		Use:   "nats-credentials",
		Short: "Print how a service subscribes on the embedded NATS",
		Long:  "Print the URL, with user and password, by which a service on this machine may subscribe to m.>\non the embedded NATS and, with --publish, send commands to devices on in.m.>.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			user, password, err := messaging.ServiceCredentials(dir, publish)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "nats://%s:%s@%s\n", user, password, addr)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "data-dir", "./data", "data `directory` of the server")
	cmd.Flags().StringVar(&addr, "nats-addr", "127.0.0.1:4222", "`address` of the embedded NATS")
	cmd.Flags().BoolVar(&publish, "publish", false, "also allow publishing to in.m.>")
	return cmd
}

//go:embed nats.conf
var natsConf string

func natsConfigCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "nats-config",
		Short: "Print a configuration for an outside NATS",
		Long:  "Print a configuration for an outside nats-server: JetStream, a user for Postern, and users for services\nwith the permissions that keep the Postern-* headers trustworthy. The passwords come from its environment.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprint(cmd.OutOrStdout(), natsConf)
			return nil
		},
	}
}

// healthCommand asks the server beside it, for container health checks.
func healthCommand(io stdio) *cobra.Command {
	var addr string
	cmd := &cobra.Command{
		Use: "health", Short: "Tell whether the server on this machine is ready", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lacks, err := askReady(cmd.Context(), addr)
			if err != nil {
				return err
			}
			if lacks != "" {
				return fmt.Errorf("%w: not ready", errUnreachable)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "ready")
			return nil
		},
	}
	cmd.Flags().StringVar(&addr, "ops-addr", cmp.Or(io.lookup("POSTERN_OPS_ADDR"), "127.0.0.1:9090"), "`address` of the server's operations listener (POSTERN_OPS_ADDR)")
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(cmd.OutOrStdout(), "postern", version())
			return nil
		},
	}
}

// version is the module's version with the commit it was built from, as far as
// the build recorded them.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value
		}
	}
	return v + " " + info.GoVersion
}

// session is what the managing commands share.
type session struct {
	flags *clientFlags
	io    stdio
}

// call runs do with the client of the flags.
func (s *session) call(ctx context.Context, do func(context.Context, *client) error) error {
	return s.callNew(ctx, "", do)
}

// callNew is call for a server that may be new, with its data in dataDir.
func (s *session) callNew(ctx context.Context, dataDir string, do func(context.Context, *client) error) error {
	c, err := s.flags.client(dataDir)
	if err != nil {
		return err
	}
	return do(ctx, c)
}
