package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/topologies"
	"isukit/infra/topology"
	"isukit/input"
)

func newTopologyCmd(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topology",
		Short: "Deploy a topology to hosts, switch to another one, or remove it",
		Long: `A topology file lists the hosts, the roles on each, and the placement of the tables; docs/topology.md describes it. "apply" deploys the file
to its hosts and leaves the services running. Applied again with another file, it changes only what differs. Names without a dot or slash
are those of shipped topologies.

If isukit.yaml has the key topologies, these commands apply to the project's services on its own hosts; see docs/place-your-app.md.
With --driver they apply to the portal.`,
		Example: "  isukit topology ls\n  isukit topology apply single --dry-run\n  isukit topology apply final-1 --driver lab\n  isukit topology down --driver lab",
	}
	cmd.AddCommand(newTopologyLsCmd(s), newTopologyShowCmd(s), newTopologyDiffCmd(s))
	cmd.AddCommand(newTopologyApplyCmd(s), newTopologyStatusCmd(s), newTopologyVerifyCmd(s), newTopologyDownCmd(s))
	return cmd
}

type topologyLine struct {
	Name  string   `json:"name"`
	Hosts int      `json:"hosts"`
	Roles []string `json:"roles"` // "ROLE:HOST,HOST"
	About string   `json:"about"`
}

func newTopologyLsCmd(s streams) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "ls", Short: "List the topologies of isukit.yaml, or the shipped ones", Example: "  isukit topology ls --json", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runTopologyLs(cmd, asJSON, s.out) },
	}
	linesFlag(cmd.Flags(), &asJSON)
	return cmd
}

func runTopologyLs(cmd *cobra.Command, asJSON bool, out io.Writer) error {
	lines, names := []topologyLine{}, infra.ShippedNames()
	p, _, err := projectPlaced(cmd)
	if err != nil {
		return err
	}
	own, err := round.PortalTopologies()
	if err != nil {
		return err
	}
	if p != nil {
		lines, names = projectTopologies(p), nil
	}
	for _, top := range own {
		lines, names = append(lines, topologyLine{top.Name, len(top.Hosts), rolesOf(top), "of isukit.yaml"}), nil
	}
	for _, name := range names {
		top, err := infra.Shipped(name)
		if err != nil {
			return err
		}
		about, err := aboutShipped(name)
		if err != nil {
			return err
		}
		lines = append(lines, topologyLine{name, len(top.Hosts), rolesOf(top), about})
	}
	return ui.PrintList(out, asJSON, lines, "TOPOLOGY\tHOSTS\tROLES\tABOUT", func(l topologyLine) string {
		return fmt.Sprintf("%s\t%d\t%s\t%s", l.Name, l.Hosts, strings.Join(l.Roles, " "), l.About)
	})
}

// rolesOf says in a word for each role on which hosts it runs.
func rolesOf(top *topology.Topology) []string {
	var list []string
	for _, role := range topology.Roles() {
		var hosts []string
		for _, i := range top.Of(role) {
			hosts = append(hosts, i.Host)
		}
		list = append(list, string(role)+":"+strings.Join(hosts, ","))
	}
	return list
}

// aboutShipped is the first sentence of the comment that a shipped file begins with.
func aboutShipped(name string) (string, error) {
	text, err := topologies.Files.ReadFile(name + ".yaml")
	if err != nil {
		return "", err
	}
	var words []string
	for line := range strings.Lines(string(text)) {
		comment, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		words = append(words, strings.TrimSpace(comment))
	}
	first, _, _ := strings.Cut(strings.Join(words, " "), ". ")
	return strings.TrimSuffix(first, "."), nil
}

func newTopologyShowCmd(s streams) *cobra.Command {
	return &cobra.Command{
		Use: "show TOPOLOGY", Short: "Validate a topology and print its file", Example: "  isukit topology show final-2", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, _, err := projectPlaced(cmd)
			if err != nil {
				return err
			}
			if p != nil {
				t, err := placementOf(p, args[0])
				if err == nil {
					_, err = fmt.Fprintln(s.out, strings.Join(placedLines(p, t), "\n"))
				}
				return err
			}
			top, err := readTopology(args[0])
			if err != nil {
				return err
			}
			own, err := round.PortalTopologies()
			if err == nil && slices.ContainsFunc(own, func(t *topology.Topology) bool { return t.Name == args[0] }) {
				_, err = fmt.Fprintln(s.out, strings.Join(rolesOf(top), "\n"))
				return err
			}
			text, err := topologies.Files.ReadFile(args[0] + ".yaml")
			if strings.ContainsAny(args[0], "./") {
				text, err = input.Read(args[0], round.MaxTopologyBytes)
			}
			if err != nil {
				return err
			}
			_, err = s.out.Write(text)
			return err
		},
	}
}

// readTopology finds and checks a topology for a command that takes one as its argument.
func readTopology(name string) (*topology.Topology, error) {
	top, err := round.FindTopology(name)
	if err != nil {
		return nil, ui.UsageError(err, ui.HintOf(err, `docs/topology.md describes the format; "isukit topology ls" lists the shipped ones`))
	}
	return top, nil
}

func newTopologyDiffCmd(s streams) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "diff A B", Short: "Show how two topologies differ", Example: "  isukit topology diff final-1 final-3", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			lines, err := diffTopologies(cmd, args[0], args[1])
			if err != nil {
				return err
			}
			if asJSON {
				return ui.PrintJSONLines(s.out, lines)
			}
			if len(lines) == 0 {
				lines = []string{"no difference"}
			}
			_, err = fmt.Fprintln(s.out, strings.Join(lines, "\n"))
			return err
		},
	}
	linesFlag(cmd.Flags(), &asJSON)
	return cmd
}

// diffTopologies lists the differences of two topologies, one per line.
func diffTopologies(cmd *cobra.Command, from, to string) ([]string, error) {
	p, _, err := projectPlaced(cmd)
	if err != nil {
		return nil, err
	}
	if p != nil {
		a, err := placementOf(p, from)
		if err != nil {
			return nil, err
		}
		b, err := placementOf(p, to)
		return placementDiff(p, a, b), err
	}
	a, err := readTopology(from)
	if err != nil {
		return nil, err
	}
	b, err := readTopology(to)
	if err != nil {
		return nil, err
	}
	return topology.Diff(a, b), nil
}
