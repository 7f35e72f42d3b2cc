package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
)

// subjectKind is what a command line is about. The same command takes other flags for another kind.
type subjectKind string

const (
	oneKind     subjectKind = "this command" // used where no other kind applies
	thePortal   subjectKind = "the portal"
	aProject    subjectKind = "a project"
	aTopology   subjectKind = "a running topology"
	thisMachine subjectKind = "this machine"
	aRecord     subjectKind = "a saved round"
	aList       subjectKind = "the list of checks"
	ofKept      subjectKind = "saved rounds"
	ofNew       subjectKind = "rounds to run"
	ofCommands  subjectKind = "commands"
)

// flagUse says of a command what its command lines may be about, and which flags do not apply. Every flag applies unless it is here.
type flagUse struct {
	kinds []subjectKind
	about func(cmd *cobra.Command, args []string) (subjectKind, error)
	not   []refusal
	needs []need
}

type refusal struct {
	kind  subjectKind
	flags string // separated by blanks
	why   string
}

// need: flags apply only with one of others: "name", "name=x" for a value that begins so, "!name" for one with which they do not.
type need struct{ flags, with, why string }

// flagUses are the rules of all commands, by their path; docs/flags.md lists them.
var flagUses = map[string]flagUse{
	"round": {
		kinds: []subjectKind{thePortal, aProject}, about: subjectOfRound,
		not: []refusal{
			{thePortal, "project", "--topology selects the portal; use only one of them"},
			{thePortal, "yes", noFileRuns},
			{aProject, "driver cpu-scale engine proxy scale seed local-dir app", "isukit does not start the servers of a project, and makes no data for it; for the portal, give --topology"},
			{aProject, "duration users shape arrivals mix objective-p99 objective-errors patience",
				"the project's benchmark creates the load: set this in benchmark.command; for the portal, give --topology"},
			{aProject, "hits generator-cpus capture capture-share keylog",
				"isukit does not see the connections of the project's benchmark; record them on a host with isukit capture --live or --host"},
		},
		needs: []need{
			{"capture-share", "capture", "it selects the connections of a capture"},
			{"arrivals", "shape=rate shape=capacity", "only --shape rate=R and capacity have arrival times"},
			{"objective-p99 objective-errors", "shape=capacity", "only --shape capacity has an objective"},
		},
	},
	"compare": {
		kinds: []subjectKind{ofKept, ofNew, ofCommands}, about: subjectOfCompare,
		not: []refusal{
			{ofKept, "budget warmup repeats both", "both sides are saved rounds, so no round is run; --rounds runs new ones"},
			{ofCommands, "both", "--both only applies to isukit rounds, and both sides are commands; add the arguments to the commands"},
		},
		needs: []need{{"json metrics same alpha sequential", "!bench", "--bench only prints the rounds"}},
	},
	"doctor": {
		kinds: []subjectKind{aRecord, aTopology, aProject, thisMachine, aList}, about: subjectOfDoctor,
		not: []refusal{
			{aRecord, "topology driver project db local-dir app yes", "a saved round is checked from its record, not on hosts"},
			{aTopology, "yes", noFileRuns},
			{thisMachine, "yes", noFileRuns},
			{aTopology, "project db results", "with --topology or --driver, doctor only checks that topology"},
			{aProject, "local-dir app results", "a project's servers are not isukit's, and its rounds are not read"},
			{thisMachine, "local-dir app results", "doctor does not check isukit's servers on this machine; --driver checks a running topology"},
			{aList, "topology driver project db results local-dir app yes", "no check runs with --ls"},
		},
	},
	"replicas status": replicasUse, "replicas check": replicasUse, "replicas repair": replicasUse, "replicas eject": replicasUse, "replicas admit": replicasUse,
	"replicas lint": {not: []refusal{{oneKind, "replica driver mode project yes", "lint reads the app's sources, not databases"}}},
	"doctor stop":   stopUse, "doctor start": stopUse,
	"tune diff": tuneUse, "tune apply": tuneUse, "tune verify": tuneUse, "tune revert": tuneUse,
	"replay": {needs: []need{{"speed", "paced", "without --paced, requests are sent as fast as possible"}}},
	"capture": {needs: []need{
		{"ssh-config", "host", "only --host uses ssh"},
		{"netns", "live", "only --live opens a network namespace"},
	}},
	"lab up":         {needs: []need{{"local-dir", "systemd", "the other drivers use the files of this machine"}}},
	"advise":         {needs: []need{{"rounds round", "run", "only --run runs rounds"}}},
	"observe":        {needs: []need{{"ask", "!score", "the score is given"}}},
	"show":           {needs: []need{{"brief", "!json", "--json is the whole record"}}},
	"diff":           {needs: []need{{"brief", "!json", "--json is the whole difference"}, {"top", "!brief", "--brief bounds the lines"}}},
	"digest access":  {needs: []need{{"columns output", "!json", "JSON has every column"}}},
	"digest queries": {needs: []need{{"columns output", "!json", "JSON has every column"}}},
	"init":           {needs: []need{{"force", "!print", "--print writes no file"}}},
	"hosts init":     {needs: []need{{"force", "!no-config", "it is for the ssh config, which --no-config leaves alone"}}},
	"topology apply": topologyUse("cpu-scale engine proxy scale seed local-dir app fresh",
		need{"fresh force", "!dry-run", "a dry run does not need it"}),
	"topology verify": topologyUse("local-dir app reboot no-ask rounds duration",
		need{"no-ask rounds duration", "reboot", "it only applies to a reboot"}),
	"topology status": topologyUse("local-dir app"),
	"topology down":   topologyUse("local-dir app"),
	"decode":          {needs: []need{{"request", "route", "it selects a body of the route"}}},
}

// noFileRuns is why --yes does not apply.
const noFileRuns = "no project file is used, so no commands need confirmation"

var stopUse = flagUse{not: []refusal{{oneKind, "only skip", "they select checks, and nothing is checked"}}}

var tuneUse = flagUse{needs: []need{{"project yes this-kernel", "!driver", "--driver selects the servers of a topology and the kernels of its hosts"}}}

var replicasUse = flagUse{
	kinds: []subjectKind{aTopology, aProject, thisMachine}, about: subjectOfReplicas,
	not: []refusal{
		{aProject, "driver", "--project already selects the databases; use only one of them"},
		{aProject, "mode", "the project file specifies the write mode"},
		{thisMachine, "project yes", "--replica names the databases, so no project file is used"},
		{aTopology, "yes", noFileRuns},
		{thisMachine, "driver", "--replica names the databases; --driver selects those of a running topology"},
		{aTopology, "mode", "the topology specifies the write mode"},
	},
}

func subjectOfReplicas(cmd *cobra.Command, _ []string) (subjectKind, error) {
	f := cmd.Flags()
	switch {
	case f.Changed("replica"):
		return thisMachine, nil
	case f.Changed("project"):
		return aProject, nil
	case f.Changed("driver"):
		return aTopology, nil
	}
	p, _, err := round.FindServed("")
	if err != nil || p == nil || !p.Replicates() {
		return aTopology, err
	}
	return aProject, nil
}

func subjectOfRound(cmd *cobra.Command, _ []string) (subjectKind, error) {
	p, _, err := roundedProject(cmd)
	if err != nil || p == nil {
		return thePortal, err
	}
	return aProject, nil
}

func subjectOfCompare(cmd *cobra.Command, args []string) (subjectKind, error) {
	f := cmd.Flags()
	isCommand := func(side string) bool { return strings.HasPrefix(side, "command=") }
	switch {
	case isCommand(args[0]) && isCommand(args[1]):
		return ofCommands, nil
	case f.Changed("rounds") || f.Changed("until-sure") || isRunnable(args[0]) || isRunnable(args[1]):
		return ofNew, nil
	}
	return ofKept, nil
}

func subjectOfDoctor(cmd *cobra.Command, args []string) (subjectKind, error) {
	f := cmd.Flags()
	file, _ := f.GetString("project")
	switch {
	case f.Changed("ls"):
		return aList, nil
	case len(args) > 0:
		return aRecord, nil
	case f.Changed("topology") || f.Changed("driver"):
		return aTopology, nil
	case f.Changed("db"):
		return thisMachine, nil
	}
	p, _, err := round.FindServed(file)
	if err != nil || p == nil {
		return thisMachine, err
	}
	return aProject, nil
}

// pathOf names a command as flagUses does: without "isukit".
func pathOf(cmd *cobra.Command) string { return strings.TrimPrefix(cmd.CommandPath(), "isukit ") }

// refuseFlags returns an error that names every flag of a command line that does not apply to what it is about, and says why.
func refuseFlags(cmd *cobra.Command, args []string) error {
	use, ok := flagUses[pathOf(cmd)]
	if !ok {
		return nil
	}
	kind := oneKind
	if use.about != nil {
		var err error
		if kind, err = use.about(cmd, args); err != nil {
			return err
		}
	}
	var faults []error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Annotations[fromEnv] != nil {
			return // a variable is a default for the command lines to which its flag applies
		}
		if why := use.refuses(kind, f.Name, cmd.Flags()); why != "" {
			faults = append(faults, errors.New(why))
		}
	})
	if len(faults) == 0 {
		return nil
	}
	return ui.UsageError(errors.Join(faults...), "docs/flags.md lists what each flag applies to")
}

// refuses is the reason why a flag does not apply together with the others that are set, or "".
func (u flagUse) refuses(kind subjectKind, flag string, set *pflag.FlagSet) string {
	for _, r := range u.not {
		if r.kind == kind && slices.Contains(strings.Fields(r.flags), flag) {
			return fmt.Sprintf("--%s does not apply to %s: %s", flag, kind, r.why)
		}
	}
	for _, n := range u.needs {
		if slices.Contains(strings.Fields(n.flags), flag) && !slices.ContainsFunc(strings.Fields(n.with), func(w string) bool { return isSet(set, w) }) {
			return fmt.Sprintf("--%s %s: %s", flag, n.condition("--", ""), n.why)
		}
	}
	return ""
}

// condition says with which flags those of the need apply; before and behind stand around each name.
func (n need) condition(before, behind string) string {
	if other, ok := strings.CutPrefix(n.with, "!"); ok {
		return "does not apply with " + before + other + behind
	}
	return "applies only with " + before + strings.Join(strings.Fields(n.with), behind+" or "+before) + behind
}

// isSet tells that a flag is set; "name=x" that its value begins with x.
func isSet(set *pflag.FlagSet, flag string) bool {
	if other, ok := strings.CutPrefix(flag, "!"); ok {
		return !isSet(set, other)
	}
	name, begin, _ := strings.Cut(flag, "=")
	f := set.Lookup(name)
	return f != nil && f.Changed && strings.HasPrefix(f.Value.String(), begin)
}
