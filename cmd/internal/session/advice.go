package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"isukit/bench/experiment"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/project"
	"isukit/infra/topology"
)

// Advice is what one round says about where each role should run.
type Advice struct {
	Round string            `json:"round"`
	Hosts []experiment.Host `json:"hosts"`
	// Demands are what each role cost in that round.
	Demands []experiment.Demand `json:"demands"`
	// Ranked are the placements, the best first; Today is the index of the one that the round ran on, or -1.
	Ranked []experiment.Prediction `json:"ranked"`
	Today  int                     `json:"today"`
	// Refused counts placements that cannot work, by the reason.
	Refused map[string]int `json:"refused,omitempty"`
	// Measured are the placements that were played, with --run.
	Measured []Measured `json:"measured,omitempty"`
	// Data names the placements of the data that they include.
	Data string `json:"data"`

	app    App
	load   experiment.Workload
	fits   []experiment.Placement
	tables map[string][]string // by placement, the tables on the first of its databases
}

// App is what advice needs about an app in addition to a round of it.
type App struct {
	roles        []string
	with         map[string]string // the role whose hosts a role shares
	several      map[string]bool   // roles whose work several hosts may share
	data         map[string]bool   // roles that are databases
	calls, today map[string][]string
	hosts        []string
	check        func(round.Placing) error
	base         *topology.Topology // nil for a project's
}

// OfTopology is the portal on the hosts of a topology.
func OfTopology(base *topology.Topology) App {
	a := App{several: map[string]bool{"web": true}, data: map[string]bool{"db": true}, calls: map[string][]string{"proxy": {"web"}, "web": {"db"}, "api": {"db"}}, today: round.PlacedOn(base), base: base}
	for _, role := range topology.Roles() {
		a.roles = append(a.roles, string(role))
	}
	a.check = func(p round.Placing) error {
		_, err := round.Place(base, "placed", p)
		return err
	}
	return a
}

// OfProject is a project's app, of which today is the topology that a round ran on. Several hosts share the work of roles that a proxy passes to.
func OfProject(p *project.Project, today project.Placement) App {
	a := App{with: map[string]string{}, several: map[string]bool{}, data: map[string]bool{}, calls: map[string][]string{}, today: today.Hosts}
	for _, h := range p.Hosts {
		a.hosts = append(a.hosts, h.Name)
	}
	for _, o := range p.Roles {
		if len(today.Hosts[o.Name]) == 0 {
			continue
		}
		a.data[o.Name] = o.MySQL != nil
		if a.calls[o.Name] = p.Uses(o); o.With != "" {
			a.with[o.Name] = o.With
		} else {
			a.roles = append(a.roles, o.Name)
		}
		for _, e := range o.Swap {
			a.several[e.Value] = true
		}
	}
	a.check = func(where round.Placing) error { return p.Check(project.Placement{Name: "placed", Hosts: where.Where}) }
	return a
}

// named are all roles: those that topologies place, and those that share their hosts.
func (a App) named() []string {
	return append(slices.Clone(a.roles), slices.Sorted(maps.Keys(a.with))...)
}

// role is the role to which a part of a round's usage belongs, or "".
func (a App) role(u result.RoleUsage) string {
	if a.base == nil {
		return u.Of
	}
	name, _, _ := strings.Cut(u.Role, "-")
	return name
}

// Limits of a round that is fit to learn from: a busier host changes what users ask for, and fewer hits say too little.
const (
	fitBusy    = 0.85
	fitHits    = 500
	fitP90     = 500 // milliseconds
	fitForeign = 0.10
)

// unfit says why a round is not fit to learn from, and what makes a fit one; "" where it is fit.
func (a App) unfit(r *result.Round) (why, hint string) {
	users := max(1, r.Generator.PeakUsers)
	busiest, foreign := 0.0, 0.0
	for _, h := range r.Hosts {
		busiest, foreign = max(busiest, h.Busy), max(foreign, h.Foreign)
	}
	again := func(users int) string {
		if a.base == nil {
			return "play a round with less load: the benchmark of the project decides how much"
		}
		driver := ""
		if d := describe(r)["driver"]; d != "" && d != "local" {
			driver = " --driver " + d
		}
		return fmt.Sprintf("isukit round -t %s%s --users %d --duration 30s", r.Topology, driver, max(1, users))
	}
	switch {
	case !r.Passed:
		return "it failed: " + r.Reason, "isukit show " + r.ID
	case foreign > fitForeign:
		return fmt.Sprintf("other processes took %.0f %% of the CPU time of a host", 100*foreign), "stop them, and run another round"
	case busiest > fitBusy:
		return fmt.Sprintf("a host was %.0f %% busy, which changes the mix of requests", 100*busiest), again(int(float64(users) * 0.6 / busiest))
	case r.All.Latency.P90Ms > fitP90:
		return fmt.Sprintf("the 90th percentile of the latency was %.0f ms", r.All.Latency.P90Ms), again(users / 2)
	case r.All.Errors > 0:
		return fmt.Sprintf("%d requests had errors", r.All.Errors), again(users / 2)
	case len(r.Generator.Limits) > 0:
		return r.Generator.Limits[0], again(users / 2)
	case r.All.Hits < fitHits:
		return fmt.Sprintf("it had only %d requests; %d are needed", r.All.Hits, fitHits), again(2 * users)
	}
	if a.base == nil {
		return a.unknown(r)
	}
	return "", ""
}

// unknown names the process of a project's round that used much CPU and has no role.
func (a App) unknown(r *result.Round) (why, hint string) {
	for _, u := range r.Roles {
		n := slices.IndexFunc(r.Hosts, func(h result.HostUsage) bool { return h.Host == u.Host })
		if n >= 0 && u.Of == "" && u.MeanCores > fitForeign*r.Hosts[n].CPUs {
			return fmt.Sprintf("%s on %s took %.2f cores and is of no role, or of several", u.Role, u.Host, u.MeanCores), "name its unit in a role of isukit.yaml"
		}
	}
	return "", ""
}

// untoldUsers is the number of users of a benchmark that does not report it: enough to saturate the busiest host.
const untoldUsers = 64

// Advise ranks the placements of an app's roles on its hosts, from a round.
func Advise(r *result.Round, app App) (*Advice, error) {
	if why, hint := app.unfit(r); why != "" {
		return nil, ui.UsageError(fmt.Errorf("round %s is not suitable: %s", r.ID, why), hint)
	}
	a := &Advice{Round: r.ID, Hosts: app.hostsOf(r), Refused: map[string]int{}, app: app, load: experiment.Workload{Users: cmp.Or(r.Generator.PeakUsers, untoldUsers)}, tables: map[string][]string{}}
	a.Demands = app.demandsOf(r)
	for _, d := range a.Demands {
		if called := slices.ContainsFunc(a.Demands, func(o experiment.Demand) bool { return slices.Contains(o.Calls, d.Role) }); called && d.CPUSecondsPerHit == 0 {
			return nil, ui.UsageError(fmt.Errorf("round %s has no CPU time for its %s", r.ID, d.Role), "run a longer round")
		}
	}
	data := a.divide(r.Queries)
	if app.base != nil {
		app.several["db"] = data != nil
	}
	for _, p := range experiment.Placements(app.roles, a.Hosts, app.several) {
		for role := range len(app.with) {
			as := slices.Index(app.roles, app.with[a.Demands[len(app.roles)+role].Role])
			p.Parts = append(p.Parts, p.Parts[as])
		}
		if !slices.ContainsFunc(a.Demands, func(d experiment.Demand) bool { return !slices.Equal(a.where(p).Where[d.Role], app.today[d.Role]) }) {
			a.load.MeasuredOn = p
		}
		for _, p := range data.placements(a, p) {
			err := app.check(a.where(p))
			var faults *topology.Faults
			switch {
			case err == nil:
				a.fits = append(a.fits, p)
			case errors.As(err, &faults):
				a.Refused[faults.Items[0].Message]++
			case app.base == nil:
				a.Refused[err.Error()]++
			default:
				return nil, ui.UsageError(fmt.Errorf("topology %s: %w", app.base.Name, err), "advise places one of each role, and web on several hosts")
			}
		}
	}
	a.rank()
	return a, nil
}

// demandsOf are what each role cost in some rounds together.
func (a App) demandsOf(rounds ...*result.Round) (demands []experiment.Demand) {
	for _, role := range a.named() {
		d, cpu, hits := experiment.Demand{Role: role, Calls: a.calls[role]}, 0.0, int64(0)
		for _, r := range rounds {
			hits += r.All.Hits
			held := map[string]int64{}
			for _, u := range r.Roles {
				if a.role(u) == role {
					cpu += u.CPUSeconds
					held[u.Host] += u.PeakRSSBytes
					d.MemoryBytes = max(d.MemoryBytes, held[u.Host])
				}
			}
		}
		if d.CPUSecondsPerHit = cpu / float64(hits); a.data[role] {
			d.WorkingSetBytes = d.MemoryBytes // what it kept in memory, of all that it has
		}
		demands = append(demands, d)
	}
	return demands
}

// rank orders the placements by the demands.
func (a *Advice) rank() {
	var refused map[string]string
	a.Ranked, refused = experiment.Advise(a.Hosts, a.Demands, a.fits, a.load)
	for _, why := range refused {
		a.Refused[why]++
	}
	a.Today = slices.IndexFunc(a.Ranked, func(p experiment.Prediction) bool {
		return a.load.MeasuredOn.Parts != nil && p.Placement.Name == a.load.MeasuredOn.Name
	})
}

// Measured is a placement that was played.
type Measured struct {
	Placement string   `json:"placement"`
	Rounds    []string `json:"rounds"`
	// Score and HitsPerSec are medians of the rounds that passed.
	Score      float64 `json:"score"`
	HitsPerSec float64 `json:"hits_per_sec"`
	// Predicted and ShareOfBest rate the best of the placements that were played, by hits.
	Predicted   float64 `json:"predicted_share"`
	ShareOfBest float64 `json:"share_of_best"`
	Failed      int     `json:"failed"`
}

// runTop is how many of the best placements are played, in addition to the current one.
const runTop = 3

// Run plays the best placements and the current one, interleaved, and ranks again by the costs that they measured. The rounds'
// topologies are files in the journal's directory.
func (a *Advice) Run(ctx context.Context, j *Journal, each int, seed uint64) error {
	played := slices.Clone(a.Ranked[:min(runTop, len(a.Ranked))])
	if a.Today >= runTop {
		played = append(played, a.Ranked[a.Today])
	}
	files, rounds := make([]string, len(played)), make([][]*result.Round, len(played))
	for i, p := range played {
		text, err := round.Place(a.app.base, fmt.Sprintf("advised-%d", i+1), a.where(p.Placement))
		if err == nil {
			files[i] = fmt.Sprintf("%s-%d.yaml", strings.TrimSuffix(j.Path, ".jsonl"), i+1)
			err = os.WriteFile(files[i], text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	rnd := rand.New(rand.NewPCG(seed, 0xad71))
	var passed []*result.Round
	for n := range each {
		for _, i := range rnd.Perm(len(played)) {
			r, err := j.Play(ctx, "run", []string{"--topology", files[i]})
			if err != nil {
				return err
			}
			j.Say("round %d of %d, %s: score %d, %.0f hits/s %s", n+1, each, played[i].Placement.Name, r.Score.Total, r.HitsPerSec(), r.Reason)
			if rounds[i] = append(rounds[i], r); r.Passed && r.All.Hits > 0 {
				passed = append(passed, r)
			}
		}
	}
	best := 0.0
	for i, p := range played {
		m := Measured{Placement: p.Placement.Name, Predicted: p.HitsPerSec / played[0].HitsPerSec}
		var scores, hits []float64
		for _, r := range rounds[i] {
			if m.Rounds = append(m.Rounds, r.ID); !r.Passed {
				m.Failed++
				continue
			}
			scores, hits = append(scores, float64(r.Score.Total)), append(hits, r.HitsPerSec())
		}
		m.Score, m.HitsPerSec = median(scores), median(hits)
		best = max(best, m.HitsPerSec)
		a.Measured = append(a.Measured, m)
	}
	for i := range a.Measured {
		a.Measured[i].ShareOfBest = a.Measured[i].HitsPerSec / max(best, 1e-9)
	}
	if len(passed) > 0 {
		a.Demands, a.load.MeasuredOn.Parts = a.app.demandsOf(passed...), nil
		today := a.load.MeasuredOn.Name
		a.rank()
		a.Today = slices.IndexFunc(a.Ranked, func(p experiment.Prediction) bool { return p.Placement.Name == today })
	}
	return nil
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// hostsOf are an app's hosts, with the CPUs that they had in a round; hosts of a topology without a role are scaled as the others were.
func (a App) hostsOf(r *result.Round) (list []experiment.Host) {
	if a.base == nil {
		for _, u := range r.Hosts {
			if slices.Contains(a.hosts, u.Host) {
				list = append(list, experiment.Host{Name: u.Host, Cores: u.CPUs, MemoryBytes: u.MemoryBytes})
			}
		}
		return list
	}
	had, scale := map[string]result.HostUsage{}, 1.0
	for _, u := range r.Hosts {
		had[u.Host] = u
		if h, ok := a.base.Host(u.Host); ok && h.CPUs > 0 && u.CPUs > 0 {
			scale = u.CPUs / h.CPUs
		}
	}
	for _, h := range a.base.Hosts {
		one := experiment.Host{Name: h.Name, Cores: h.CPUs * scale, MemoryBytes: h.MemoryBytes}
		if u, ok := had[h.Name]; ok {
			one.Cores, one.MemoryBytes = u.CPUs, u.MemoryBytes
		}
		list = append(list, one)
	}
	return list
}

// on are the hosts that have a part of a role.
func (a *Advice) on(parts []float64) (names []string) {
	for h, part := range parts {
		if part > 0 {
			names = append(names, a.Hosts[h].Name)
		}
	}
	return names
}

func (a *Advice) where(p experiment.Placement) round.Placing {
	where := round.Placing{Where: map[string][]string{}, Tables: a.tables[p.Name]}
	for r, d := range a.Demands {
		on := a.on(p.Parts[r])
		if where.Where[d.Role] = on; len(where.Tables) > 0 && d.Role == "db" && strings.Contains(p.Name, secondFirst) {
			slices.Reverse(on)
		}
	}
	return where
}
