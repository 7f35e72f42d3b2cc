package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/team"
	"isukit/input"
)

func newHostsCmd(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hosts",
		Short: "Set up new hosts for a team, or undo the setup",
		Long: `A host is [NAME=]ADDRESS. ADDRESS is an ssh destination (an alias of ssh_config, USER@HOST, an IP address). NAME is the team's name
for it (default: the address). You must be able to log in and to become root without a password.`,
		Example: "  isukit hosts init --user alice=alice.pub --tool percona-toolkit s1=isucon@192.0.2.11 s2=isucon@192.0.2.12\n  isukit hosts ls s1=isucon@192.0.2.11\n  isukit hosts revert s1=isucon@192.0.2.11",
	}
	cmd.AddCommand(newHostsInitCmd(s), newHostsLsCmd(s), newHostsRevertCmd(s))
	return cmd
}

type hostChanges struct {
	Host    string        `json:"host"`
	Address string        `json:"address"`
	Changes []team.Change `json:"changes"`
}

func newHostsInitCmd(s streams) *cobra.Command {
	var users, tools []string
	var o team.Options
	var noConfig, asJSON bool
	cmd := &cobra.Command{
		Use:   "init [--user NAME=KEY.pub ...] [--tool PACKAGE ...] [NAME=]ADDRESS ...",
		Short: "Add accounts with keys and sudo, ssh config and tools to hosts",
		Long: `Add what is missing on each host: an account per --user, with the keys of the file and passwordless sudo; a file in
/etc/ssh/ssh_config.d, so that the hosts know each other by name; the packages of --tool, with apt-get. Existing accounts, files and
packages are not changed. Every change is recorded on the host (/var/lib/isukit-team) before it is made; "isukit hosts revert" undoes
it. Run the command again to add more.`,
		Example: "  isukit hosts init --user alice=alice.pub --tool percona-toolkit --tool netdata s1=192.0.2.11 s2=192.0.2.12",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			want, err := wantedOfTeam(users, tools)
			if err != nil {
				return err
			}
			if !isQuiet(cmd) && !o.DryRun {
				o.Progress = func(step string) { fmt.Fprintln(s.err, "isukit: adding "+step) }
			}
			return onTeamHosts(cmd, s, args, asJSON, func(ctx context.Context, h host.Host, all []host.Host) ([]team.Change, error) {
				items := want
				if !noConfig {
					items = append(slices.Clone(want), team.Item{Kind: team.Config, Name: "50-isukit.conf", Text: teamConfig(all)})
				}
				done, err := team.Init(ctx, h, items, o)
				if errors.Is(err, team.ErrForeign) {
					err = ui.Hinted(err, "review the file, then overwrite it with --force or keep it with --no-config")
				}
				return done, err
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&users, "user", nil, "an account: NAME=FILE with public keys, one per line (repeatable)")
	f.StringArrayVar(&tools, "tool", nil, "a package, for example percona-toolkit (repeatable)")
	f.BoolVar(&noConfig, "no-config", false, "do not write an ssh config on the hosts")
	f.BoolVar(&o.DryRun, "dry-run", false, "print the changes without making them")
	f.BoolVar(&o.Force, "force", false, "overwrite an ssh config that isukit did not write")
	linesFlag(f, &asJSON)
	return cmd
}

const maxKeysBytes = 1 << 20

// wantedOfTeam are the items that the flags name; all errors are reported together.
func wantedOfTeam(users, tools []string) (want []team.Item, err error) {
	var errs []error
	for _, u := range users {
		name, file, ok := strings.Cut(u, "=")
		if !ok {
			errs = append(errs, fmt.Errorf("--user %q is not NAME=FILE", u))
			continue
		}
		text, err := input.Read(file, maxKeysBytes)
		if err != nil {
			errs = append(errs, fmt.Errorf("--user %s: %w", name, err))
			continue
		}
		want = append(want, team.Item{Kind: team.User, Name: name})
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				want = append(want, team.Item{Kind: team.Key, Name: name, Text: line})
			}
		}
		want = append(want, team.Item{Kind: team.Sudo, Name: name})
	}
	for _, t := range tools {
		want = append(want, team.Item{Kind: team.Tool, Name: t})
	}
	for _, i := range want {
		errs = append(errs, i.Check())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, ui.UsageError(err, `see "isukit hosts init --help"`)
	}
	return want, nil
}

// teamConfig is the ssh config by which the hosts know one another.
func teamConfig(hosts []host.Host) string {
	var b strings.Builder
	b.WriteString("# Made by isukit hosts init.\n")
	for _, h := range hosts {
		fmt.Fprintf(&b, "Host %s\n\tHostName %s\n", h.About().Name, h.About().Address)
	}
	return b.String()
}

func newHostsLsCmd(s streams) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "ls [NAME=]ADDRESS ...", Short: "List what isukit hosts init added to hosts", Example: "  isukit hosts ls s1=192.0.2.11", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return onTeamHosts(cmd, s, args, asJSON, func(ctx context.Context, h host.Host, _ []host.Host) (list []team.Change, err error) {
				items, err := team.Inventory(ctx, h)
				for _, i := range items {
					what := "made"
					if !i.Made {
						what = "begun"
					}
					list = append(list, team.Change{Item: i, What: what})
				}
				return list, err
			})
		},
	}
	linesFlag(cmd.Flags(), &asJSON)
	return cmd
}

func newHostsRevertCmd(s streams) *cobra.Command {
	var users, tools []string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "revert [NAME=]ADDRESS ...", Short: "Undo isukit hosts init on hosts",
		Long: `Remove what "isukit hosts init" added, newest first: everything, or what --user and --tool name. An account is removed with its home
directory. What existed before is not touched; what cannot be removed stays in the record.`,
		Example: "  isukit hosts revert s1=192.0.2.11\n  isukit hosts revert --tool netdata s1=192.0.2.11", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			keep := func(i team.Item) bool {
				named := users
				if i.Kind == team.Tool {
					named = tools
				}
				return len(users)+len(tools) > 0 && (i.Kind == team.Config || !slices.Contains(named, i.Name))
			}
			return onTeamHosts(cmd, s, args, asJSON, func(ctx context.Context, h host.Host, _ []host.Host) ([]team.Change, error) {
				return team.Revert(ctx, h, keep)
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&users, "user", nil, "only this account (repeatable)")
	f.StringArrayVar(&tools, "tool", nil, "only this package (repeatable)")
	linesFlag(f, &asJSON)
	return cmd
}

// onTeamHosts locks the hosts, runs do on each and prints the changes. It continues after a host that fails.
func onTeamHosts(cmd *cobra.Command, s streams, targets []string, asJSON bool, do func(context.Context, host.Host, []host.Host) ([]team.Change, error)) (err error) {
	dir := stateDir(cmd)
	driver, err := round.OpenApart("ssh", dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, driver.Close(context.WithoutCancel(cmd.Context()))) }()
	hosts, err := teamHosts(cmd.Context(), driver, targets)
	if err != nil {
		return err
	}
	var all []hostChanges
	var errs []error
	for _, h := range hosts {
		changes, err := do(cmd.Context(), h, hosts)
		errs = append(errs, err)
		all = append(all, hostChanges{h.About().Name, h.About().Address, changes})
	}
	if asJSON {
		errs = append(errs, ui.PrintJSONLines(s.out, all))
	} else {
		w := ui.NewTable(s.out)
		fmt.Fprintln(w, "HOST\tTHING\tSTATE")
		for _, h := range all {
			for _, c := range h.Changes {
				fmt.Fprintf(w, "%s\t%s\t%s\n", h.Host, c.Item, c.What)
			}
		}
		errs = append(errs, w.Flush())
	}
	return errors.Join(errs...)
}

func teamHosts(ctx context.Context, driver host.Driver, targets []string) ([]host.Host, error) {
	var wants []host.Want
	for n, t := range targets {
		name, address, ok := strings.Cut(t, "=")
		if !ok {
			address = t
			if w := (host.Want{Name: t}); w.Check() != nil {
				name = fmt.Sprintf("host-%d", n+1)
			}
		}
		wants = append(wants, host.Want{Name: name, Address: address})
	}
	if err := host.CheckWants("ssh", wants); err != nil {
		return nil, ui.UsageError(err, "call it by a short name: s1=ADDRESS")
	}
	if _, err := driver.Lock(ctx, round.UserName()); err != nil { // until the driver is closed
		return nil, err
	}
	if err := driver.Ensure(ctx, wants); err != nil {
		return nil, err
	}
	var hosts []host.Host
	for _, w := range wants {
		h, err := driver.Host(w.Name)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}
