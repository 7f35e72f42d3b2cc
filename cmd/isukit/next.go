package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isukit/bench/compare"
	"isukit/bench/result"
	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/host/machine"
	"isukit/infra/topology"
)

// sayNext prints the command that most likely comes next as the last line, on standard error. silent is --quiet or --json.
func sayNext(s streams, silent bool, command string) {
	if !silent && command != "" {
		fmt.Fprintf(s.err, "isukit: next: %s\n", command)
	}
}

// placements is where to go from a shipped topology when the CPU of a role's host is the limit there.
var placements = map[string]map[string]string{
	"single":   {"db": "final-1", "web": "final-2", "api": "final-2"},
	"fanout-2": {"db": "final-1", "web": "final-2", "api": "final-2"},
	"final-1":  {"db": "final-3", "web": "final-2", "api": "final-2"},
	"final-2":  {"db": "final-3"},
	"final-3":  {"web": "final-4", "api": "final-4"},
}

// nextAfterRound reads the round's verdict. envoy tells that this machine has one.
func nextAfterRound(r *result.Round, o roundOptions, envoy bool) string {
	args, duration := o.carried, ""
	if o.Topology != "single" {
		args = " -t " + shellWord(o.Topology) + args
	}
	if o.Driver != "" {
		args += " --driver " + o.Driver
	}
	if o.Duration != defaultDuration {
		duration = " --duration " + ui.ShortTime(o.Duration)
	}
	asRoot := ""
	if os.Geteuid() != 0 { // the lab needs it
		asRoot = "sudo "
	}
	role, _, _ := strings.Cut(r.Bottleneck.Role, "-") // of an instance: db-1
	switch {
	case o.Capture != "" && !r.Passed:
		return "isukit capture --bodies --status 400-599 " + shellWord(o.Capture)
	case o.Capture != "":
		return "isukit capture " + shellWord(o.Capture)
	case !r.Passed && len(r.Errors) > 0:
		return "isukit round" + args + duration + " --capture failed.pcap"
	case !r.Passed:
		return ""
	case len(o.Tune) > 0:
		return "isukit compare tune=none tune=" + shellWord(strings.Join(o.Tune, ",")) + both(args+duration)
	case foreignOf(r) > muchForeign:
		return "isukit doctor --only cpu-others" // neither a placement nor a longer load helps against what else runs there
	case r.Bottleneck.Resource == "none" && o.Users == 0 && o.Shape == "grow":
		return "isukit round" + args + " --duration " + ui.ShortTime(2*o.Duration) // users are still being added
	case r.Bottleneck.Resource != "cpu":
		return ""
	case placements[o.Topology][role] != "":
		return asRoot + nextPlacement(placements[o.Topology][role], o, envoy) + duration + baseline(placements[o.Topology][role], r, o)
	case role == "db":
		return "isukit compare tune=none tune=mysql/durability-relaxed" + both(args+duration)
	case role == "proxy":
		return "isukit compare tune=none tune=nginx/keepalive" + both(args+duration)
	}
	return ""
}

// nextPlacement is a round on a shipped topology in the lab, with nginx where it wants an Envoy that this machine does not have.
func nextPlacement(to string, o roundOptions, envoy bool) string {
	top, err := readTopology(to)
	if !envoy && o.Proxy == "" && err == nil && slices.ContainsFunc(top.Instances, func(i topology.Instance) bool { return i.Kind == topology.Envoy }) {
		to += " --proxy nginx"
	}
	return "isukit round -t " + to + " --driver lab" + o.carried
}

// baseline names the round whose score can be compared with a placement in the lab, whose hosts have only part of the machine's CPUs.
func baseline(to string, r *result.Round, o roundOptions) string {
	top, err := readTopology(to)
	if err != nil || o.Driver != "" || len(r.Hosts) == 0 {
		return ""
	}
	declared := 0.0
	for _, h := range top.Hosts {
		declared += h.CPUs
	}
	scale := machine.ShareOf(r.Hosts[0].CPUs, declared)
	if scale >= 1 {
		return ""
	}
	return fmt.Sprintf("   # hosts with %.2g of their CPUs: compare with isukit round -t %s --driver lab --cpu-scale %.3g",
		scale, shellWord(o.Topology), scale)
}

// muchForeign is how much of a host's CPU time others may have had before its limit is theirs.
const muchForeign = 0.2

// foreignOf is what part of the CPU time of the bottleneck's host went to processes that are not of the round.
func foreignOf(r *result.Round) float64 {
	for _, h := range r.Hosts {
		if h.Host == r.Bottleneck.Host {
			return h.Foreign
		}
	}
	return 0
}

// carriedFlags are those of a round that the next one has as well, so that the two can be compared.
var carriedFlags = []string{"engine", "proxy", "cpu-scale", "scale", "seed", "users", "shape", "arrivals", "local-dir", "app"}

// both are the arguments of rounds as isukit compare takes them for both sides.
func both(args string) string {
	if args == "" {
		return ""
	}
	if args = strings.TrimSpace(args); strings.ContainsAny(args, "\"$`\\!") {
		return " --both " + shellWord(args)
	}
	return ` --both "` + args + `"`
}

// afterSavedRound is nextAfterRound with the options that a record has.
func afterSavedRound(r *result.Round) string {
	o := roundOptions{Options: round.Options{Topology: r.Topology, Shape: r.Fact("shape"), Duration: time.Duration(r.LoadSeconds * float64(time.Second))}}
	if tunings := r.Fact("tunings"); tunings != "" {
		o.Tune = strings.Split(tunings, ", ")
	}
	return nextAfterRound(r, o, infra.Spec{LocalDir: round.LocalDir("")}.HasEnvoy())
}

func resultsFlagOf(dir string) string {
	if dir == "results" {
		return ""
	}
	return " --results " + shellWord(dir)
}

// nextAfterApply measures what is up now; a plan that was only printed is carried out.
func nextAfterApply(cmd *cobra.Command, top, driver string, dryRun bool) string {
	flags := []string{"driver", "cpu-scale", "engine", "proxy", "scale", "seed", "local-dir", "app"}
	if dryRun {
		return nextOn(cmd, "isukit topology apply "+shellWord(top), append(flags, "fresh", "force")...)
	}
	// For a round the driver has no default.
	return nextOn(cmd, "isukit round -t "+shellWord(top)+" --driver "+driver, flags[1:]...)
}

// roundOn is a round on the shipped topology that is up as it is, "" where it is none or was changed.
func roundOn(name, hash, driver string) string {
	shipped, err := readTopology(name)
	if err != nil {
		return ""
	}
	for _, proxy := range []string{"", "nginx", "envoy"} {
		top, err := round.WithServers(shipped, "", proxy)
		if err != nil || top.Hash() != hash {
			continue
		}
		if proxy != "" {
			name += " --proxy " + proxy
		}
		return "isukit round -t " + name + " --driver " + driver
	}
	return ""
}

// nextAfterDoctor is a round on what was inspected. With a driver and no topology, a round would replace the deployed one.
func nextAfterDoctor(cmd *cobra.Command) string {
	if cmd.Flags().Changed("driver") && !cmd.Flags().Changed("topology") {
		return ""
	}
	if !cmd.Flags().Changed("topology") {
		file, err := cmd.Flags().GetString("project")
		if p, _, bad := round.FindProject(file); errors.Join(err, bad) == nil && p != nil && p.Benchmark.External {
			return nextOn(cmd, "isukit observe", "project", "results")
		}
	}
	return nextOn(cmd, "isukit round", "topology", "driver", "project", "results", "local-dir", "app")
}

// nextAfterCompare keeps what is better of the sides, and goes on where nothing is decided.
func nextAfterCompare(c *compare.Comparison, o compareOptions) string {
	a, kept := c.A.Name, c.B.Name
	if len(c.Metrics) == 0 || !canRun(a) || !canRun(kept) {
		return ""
	}
	if c.Metrics[0].Verdict == compare.Undecided {
		if o.plan.UntilSure {
			return "" // it was run for as long as one wanted
		}
		command := "isukit compare " + shellWord(a) + " " + shellWord(kept) + " --until-sure"
		if o.both != "" {
			command += " --both " + shellWord(o.both)
		}
		return command
	}
	if v := c.Metrics[0].Verdict; v == compare.Worse {
		kept = a
	} else if v != compare.Better {
		return ""
	}
	if name, ok := strings.CutPrefix(kept, "topology="); ok {
		return applyAsIn("isukit topology apply "+shellWord(name), o.both)
	}
	if names, ok := strings.CutPrefix(kept, "tune="); ok && names != "none" {
		return "isukit round --tune " + shellWord(names)
	}
	return ""
}

// applyAsIn is the command with those arguments of both sides' rounds that isukit topology apply takes as well.
func applyAsIn(command, both string) string {
	args, err := splitArgs(both)
	round := newRoundCmd(streams{})
	if err != nil || round.ParseFlags(args) != nil {
		return command
	}
	return nextOn(round, command, "driver", "cpu-scale", "engine", "proxy", "scale", "seed", "local-dir", "app")
}

// nextAfterCapture shows what is in the messages of the same exchanges, of the refused ones where there are any. When some were
// looked for, it sends the capture again, all of it: a request needs the login before it.
func nextAfterCapture(cmd *cobra.Command, o captureOptions, p exchange.Counts) string {
	schema, filter := []string{"proto", "descriptor-set", "routes", "keylog"}, []string{"method", "path", "status", "only-type", "where", "incomplete"}
	narrowed := slices.ContainsFunc(filter, cmd.Flags().Changed)
	switch {
	case o.Bodies && narrowed && o.packet == "":
		to := cmp.Or(urlUp(cmd.Context(), stateDir(cmd)), "URL")
		return nextOn(cmd, "isukit replay "+shellWord(o.file)+" --to "+to, schema...)
	case o.Bodies:
		return ""
	}
	command := "isukit capture --bodies " + shellWord(o.file)
	if p.Refused > 0 && !narrowed {
		command += " --status 4xx,5xx"
	}
	return nextOn(cmd, command, slices.Concat(schema, []string{"filter"}, filter)...)
}

// canRun tells that a side of a comparison is one of which more rounds can be run.
func canRun(side string) bool { return isRunnable(side) || strings.HasPrefix(side, "topology=") }

// nextOn is a command on the servers that this one was given: with the same flags of these names.
func nextOn(cmd *cobra.Command, command string, flags ...string) string {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if !slices.Contains(flags, f.Name) {
			return
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			if f.Value.Type() == "bool" {
				command += " --" + f.Name
				continue
			}
			command += " --" + f.Name + " " + shellWord(v)
		}
	})
	return command
}

// tuneServerFlags name the servers of isukit tune, replicaFlags those of isukit replicas.
var (
	tuneServerFlags = []string{"project", "this-kernel", "driver", "local-dir", "app"}
	replicaFlags    = []string{"replica", "mode", "driver", "project"}
)

func shellWords(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = shellWord(w)
	}
	return strings.Join(quoted, " ")
}

// shellWord quotes a word for a POSIX shell where that is needed.
func shellWord(word string) string {
	if plainWordExpr.MatchString(word) {
		return word
	}
	return shellQuote(word)
}

var plainWordExpr = regexp.MustCompile(`^[-A-Za-z0-9_./=:,@+%~]+$`)

func shellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
