package round

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"isukit/bench/result"
	"isukit/infra/host"
	"isukit/infra/project"
)

// Day is what is known of a contest day.
type Day struct {
	Now, End time.Time
	Project  *project.Project // nil without an isukit.yaml
	Rounds   []*result.Round  // newest first
	// Flags are what commands that read rounds need, " --results DIR" or "".
	Flags string
	// Reference is the command after a round of the reference app; "" for none.
	Reference func(*result.Round) string
	// Booted is when each host was booted; it is read in the last hour only.
	Booted map[string]time.Time
}

// Look reads the rounds, and in the last hour the hosts' boot times; opened may be nil. An unreachable host is an error; the rest is read.
func (d *Day) Look(ctx context.Context, opened *Opened, results string) error {
	entries, err := result.List(results)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if len(d.Rounds) == 0 { // a list has no digests
			e.Round, _, e.Err = result.Get(results, e.ID)
		}
		if e.Err == nil {
			d.Rounds = append(d.Rounds, e.Round)
		}
	}
	if opened == nil || !d.late() {
		return nil
	}
	d.Booted = map[string]time.Time{}
	for name, at := range opened.Reach.Named {
		text, err := host.Output(ctx, at, "sed", "-n", "s/^btime //p", "/proc/stat")
		if seconds, bad := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil && bad == nil {
			d.Booted[name] = time.Unix(seconds, 0)
		}
	}
	return errors.Join(opened.Missing...)
}

// Step is a command, how many minutes it takes, and why.
type Step struct {
	Minutes      int
	Command, Why string
}

// lastHour is when points are to be kept and no longer to be won.
const lastHour = time.Hour

func (d Day) late() bool { left := d.End.Sub(d.Now); return left >= 0 && left <= lastHour }

// Steps are what to do, in order.
func (d Day) Steps() []Step {
	run := Step{3, "isukit round", "run the benchmark and save its result"}
	if d.Project != nil && d.Project.Benchmark.External {
		run = Step{5, "isukit observe --ask", "then start the benchmark in the portal"}
	}
	switch {
	case len(d.Rounds) == 0:
		list := []Step{{2, "isukit doctor", "no round yet: check limits, MTU, clocks and disks first"}, {2, "isukit tune apply measure", "logs with times"}, run,
			{2, "isukit show", "the bottleneck and the slowest queries"}}
		if d.Project == nil {
			list = append([]Step{{5, "isukit init", "no isukit.yaml and no saved rounds; for the reference app: isukit round"}}, list...)
		}
		return list
	case d.Project == nil:
		if r := d.Rounds[0]; d.Reference(r) != "" {
			return []Step{{5, d.Reference(r), cmp.Or(r.Reason, r.Bottleneck.Text)}}
		}
		return []Step{d.showStep(), run}
	case d.late():
		return d.lateSteps(run)
	}
	list := append(d.tuningSteps(d.Rounds[0]), run, Step{1, "isukit diff last-1 last" + d.Flags, "what the change did"})
	if d.Now.Before(d.End) {
		list = append(list, Step{0, "isukit next", "again at " + d.End.Add(-lastHour).Format("15:04") + ": logging off, reboot, final check"})
	}
	return list
}

// lateSteps are for the last hour.
func (d Day) lateSteps(run Step) (list []Step) {
	r := d.Rounds[0]
	if text := measuringOn(r); text != "" {
		list = append(list, Step{2, "isukit tune revert mysql/measure nginx/measure", "measuring is still on: " + text})
	}
	first := d.Rounds[len(d.Rounds)-1].StartedAt
	var never []string
	for _, h := range d.Project.Hosts {
		if at, ok := d.Booted[h.Name]; ok && at.Before(first) {
			command := "sudo reboot"
			if h.Address != "" {
				command = "ssh " + h.Address + " " + command
			}
			never = append(never, command)
		}
	}
	if len(never) > 0 {
		list = append(list, Step{10, never[0], "not rebooted since the first round, reboot one after another: " + strings.Join(never, ", ")})
	}
	if !r.Passed {
		list = append(list, d.failedStep(r))
	}
	return append(list, Step{10, "isukit final", "logs off, restart, check the data, confirmation rounds"}, run, Step{0, "", "change nothing after a passed round"})
}

// failedStep leads to the last round that passed.
func (d Day) failedStep(r *result.Round) Step {
	for _, good := range d.Rounds {
		if good.Passed {
			return Step{5, "isukit restore " + good.ID + d.Flags, "the last round failed: " + r.Reason + "; this one passed"}
		}
	}
	return Step{5, "isukit show" + d.Flags, "the last round failed: " + r.Reason}
}

// tuningSteps follow from the newest round.
func (d Day) tuningSteps(r *result.Round) (list []Step) {
	if !r.Passed {
		return []Step{d.failedStep(r)}
	}
	if r.Access.Lines == 0 || r.Queries.Statements == 0 {
		list = append(list, Step{2, "isukit tune apply measure", "the newest round has no requests or no queries from logs"})
	}
	if len(r.Queries.Queries) > 0 {
		if q := r.Queries.Queries[0]; q.RowsExamined > 100*(q.RowsSent+q.RowsAffected+q.Time.Count) {
			list = append(list, Step{10, "isukit show" + d.Flags,
				fmt.Sprintf("add an index: the slowest query (%.1f s) examines %d rows to return %d: %.80s", q.Time.SumSeconds, q.RowsExamined, q.RowsSent, q.Fingerprint)})
		}
	}
	role, _, _ := strings.Cut(r.Bottleneck.Role, "-")
	database := r.Bottleneck.Resource == "cpu" && (role == "db" || strings.HasPrefix(role, "mysql") || strings.HasPrefix(role, "mariadb"))
	switch {
	case r.Bottleneck.Resource == "cpu" && usedElsewhere(r):
		list = append(list, Step{2, "isukit doctor --only cpu-others", r.Bottleneck.Text})
	case database && len(d.Project.Topologies) > 1 && r.Fact("topology") == "":
		list = append(list, Step{10, "isukit topology ls", "choose one with the database on its own host: " + r.Bottleneck.Text})
	case database && !strings.Contains(r.Fact("tunings"), "mysql/memory"):
		list = append(list, Step{5, "isukit tune apply mysql/memory", r.Bottleneck.Text})
	case r.Bottleneck.Text != "" || len(list) == 0:
		list = append(list, d.showStep())
	}
	return list
}

// usedElsewhere: the role that used most of a full CPU used little of it, so other processes are the limit.
func usedElsewhere(r *result.Round) bool {
	for _, h := range r.Hosts {
		for _, u := range r.Roles {
			if h.Host == r.Bottleneck.Host && u.Host == h.Host && u.Role == r.Bottleneck.Role {
				return u.MeanCores < h.CPUs/4
			}
		}
	}
	return false
}

// showStep is for a round without an obvious next change.
func (d Day) showStep() Step {
	return Step{10, "isukit show" + d.Flags, cmp.Or(d.Rounds[0].Bottleneck.Text, "routes, queries and profiles")}
}

// After is the command that follows a round which has just been printed, with the reason as a comment; "" for none.
func (d Day) After() string {
	s := d.Steps()[0]
	if s == d.showStep() {
		if len(d.Rounds) == 1 {
			return ""
		}
		s = Step{1, "isukit diff last-1 last" + d.Flags, "what the change did"}
	}
	return s.Command + "   # " + s.Why
}

// measuringOn names what a round shows of logs that cost throughput.
func measuringOn(r *result.Round) string {
	for _, source := range r.Queries.Sources {
		if strings.HasPrefix(source, "slow log") {
			return source
		}
	}
	if strings.Contains(r.Fact("tunings"), "measure") {
		return "tunings " + r.Fact("tunings")
	}
	return ""
}
