package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/project"
	"isukit/infra/site"
)

// projectPlaced is the project whose topologies a command means; nil where it means those of the portal.
func projectPlaced(cmd *cobra.Command) (*project.Project, string, error) {
	file := ""
	if f := cmd.Flags().Lookup("project"); f != nil {
		file = f.Value.String()
	}
	if cmd.Flags().Changed("driver") {
		return nil, "", nil
	}
	p, dir, err := round.FindProject(file)
	if err != nil || p == nil || len(p.Topologies) == 0 {
		return nil, "", err
	}
	return p, dir, nil
}

func subjectOfTopology(cmd *cobra.Command, _ []string) (subjectKind, error) {
	p, _, err := projectPlaced(cmd)
	if err != nil || p == nil {
		return thePortal, err
	}
	return aProject, nil
}

// topologyUse are the rules for flags of a command of isukit topology; portal names flags that are for servers of the portal.
func topologyUse(portal string, needs ...need) flagUse {
	return flagUse{
		kinds: []subjectKind{thePortal, aProject}, about: subjectOfTopology, needs: needs,
		not: []refusal{
			{thePortal, "project yes", "isukit.yaml must have the key topologies, and --driver selects the portal instead"},
			{aProject, portal, "isukit does not install a project's services; --driver selects the portal"},
		},
	}
}

func placementOf(p *project.Project, name string) (project.Placement, error) {
	t, ok := p.Placement(name)
	if !ok {
		var have []string
		for _, o := range p.Topologies {
			have = append(have, o.Name)
		}
		err := fmt.Errorf("%s has no topology %q (have %s)", project.FileName, name, strings.Join(have, ", "))
		return t, ui.UsageError(err, ui.DidYouMean(name, have))
	}
	return t, nil
}

func placedLines(p *project.Project, t project.Placement) (list []string) {
	for _, o := range p.Roles {
		if hosts := t.Hosts[o.Name]; len(hosts) > 0 {
			list = append(list, o.Name+":"+strings.Join(hosts, ","))
		}
	}
	return list
}

func projectTopologies(p *project.Project) (lines []topologyLine) {
	for _, t := range p.Topologies {
		used := map[string]bool{}
		for _, hosts := range t.Hosts {
			for _, h := range hosts {
				used[h] = true
			}
		}
		lines = append(lines, topologyLine{t.Name, len(used), placedLines(p, t), "of " + p.Name})
	}
	return lines
}

func placementDiff(p *project.Project, a, b project.Placement) []string {
	lines := []string{}
	for _, o := range p.Roles {
		if from, to := a.Hosts[o.Name], b.Hosts[o.Name]; !slices.Equal(from, to) {
			lines = append(lines, fmt.Sprintf("%s: %s -> %s", o.Name, hostsText(from), hostsText(to)))
		}
	}
	return lines
}

func hostsText(hosts []string) string {
	if len(hosts) == 0 {
		return "nowhere"
	}
	return strings.Join(hosts, ", ")
}

// withPlaced opens a project's hosts; one that changes them keeps others from it meanwhile.
func withPlaced(cmd *cobra.Command, s streams, p *project.Project, dir string, patience float64, changes bool, fn func(context.Context, *round.Opened, *site.Site) error) error {
	ctx := cmd.Context()
	return round.WithProject(ctx, p, dir, stateDir(cmd), func(opened *round.Opened) error {
		placed, err := opened.Site()
		if err != nil {
			return ui.Hinted(err, "a topology is always applied to all hosts of isukit.yaml, and removed from all of them")
		}
		if patience > 0 {
			if err := round.CheckPatience(patience); err != nil {
				return ui.UsageError(err, "")
			}
			placed.Limit = round.Times(patience, time.Minute)
		}
		if !isQuiet(cmd) {
			placed.Progress = func(step string) { fmt.Fprintln(s.err, "isukit: "+step) }
		}
		release := func() error { return nil }
		if changes {
			if release, err = opened.Lock(ctx, round.UserName()); err != nil {
				return err
			}
		}
		return errors.Join(fn(ctx, opened, placed), release())
	})
}

// errDryRun keeps what is planned from being done.
var errDryRun = errors.New("a dry run")

// planned prints what will be done, and in a dry run keeps it from that.
func planned(s streams, dryRun, asJSON bool) func(*site.Plan) error {
	return func(p *site.Plan) error {
		err := printPlan(s.out, p, asJSON)
		if err == nil && dryRun {
			err = errDryRun
		}
		return err
	}
}

func runPlacedApply(ctx context.Context, cmd *cobra.Command, opened *round.Opened, placed *site.Site, name string, dryRun, force, asJSON bool, s streams) error {
	if _, err := placementOf(placed.Project, name); err != nil {
		return err
	}
	began := time.Now()
	_, err := opened.Place(ctx, placed, name, site.Options{Force: force, Planned: planned(s, dryRun, asJSON)})
	if errors.Is(err, errDryRun) {
		return nil
	}
	if err == nil && !isQuiet(cmd) {
		fmt.Fprintf(s.err, "isukit: topology %s is up (%.1f s)\n", name, time.Since(began).Seconds())
	}
	return err
}

func runPlacedDown(ctx context.Context, cmd *cobra.Command, opened *round.Opened, placed *site.Site, s streams) error {
	name, done, err := placed.Up(ctx)
	if err != nil {
		return err
	}
	if name == "" && done {
		fmt.Fprintln(s.err, "isukit: no topology of "+placed.Project.Name+" is running")
		return nil
	}
	p, err := opened.Place(ctx, placed, "", site.Options{Planned: planned(s, false, false)})
	if err == nil && len(p.Left) > 0 {
		return ui.CheckFailed(fmt.Errorf("%d changes were made outside isukit and were not reverted", len(p.Left)), "lines that begin with \"left\" name them; a file that was not reverted stays on record: correct its lines, then run isukit topology down again")
	}
	if err == nil && !isQuiet(cmd) {
		fmt.Fprintf(s.err, "isukit: topology %s was removed, and the hosts are as before\n", cmp.Or(name, "of "+placed.Project.Name))
	}
	return err
}

// runPlacedVerify prints what applying the deployed topology again would change.
func runPlacedVerify(ctx context.Context, placed *site.Site, asJSON bool, s streams) error {
	name, done, err := placed.Up(ctx)
	if err != nil {
		return err
	}
	if name == "" {
		return ui.UsageError(errors.New("no topology of "+placed.Project.Name+" is up"), "isukit topology apply NAME")
	}
	p, err := placed.Plan(ctx, name, true)
	if err != nil {
		return err
	}
	faults := p.Faults()
	if !done {
		faults = append(faults, "the apply of "+name+" was interrupted")
	}
	return printVerified(s.out, faults, asJSON)
}

func runPlacedStatus(ctx context.Context, placed *site.Site, asJSON bool, s streams) error {
	st, err := placed.Status(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return ui.PrintJSON(s.out, st)
	}
	if st.Topology == "" && len(st.Owed) > 0 {
		_, err := fmt.Fprintf(s.out, "no topology of %s is up; down could not give back:\n%s\n", placed.Project.Name, strings.Join(st.Owed, "\n"))
		return err
	}
	if st.Topology == "" {
		_, err := fmt.Fprintf(s.out, "no topology of %s is running\n", placed.Project.Name)
		return err
	}
	note := ""
	if !st.Complete {
		note = "; its apply was interrupted"
	}
	fmt.Fprintf(s.out, "topology %s of %s%s\n", st.Topology, placed.Project.Name, note)
	w := ui.NewTable(s.out)
	fmt.Fprintln(w, "HOST\tROLE\tUNIT\tSTATE\tBOOT\tANSWERS")
	for _, u := range st.Units {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", u.Host, u.Role, u.Unit, u.State, u.Boot, u.Health)
	}
	return w.Flush()
}
