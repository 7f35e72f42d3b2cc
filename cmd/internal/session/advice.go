package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"isukit/bench/experiment"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
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

	base *topology.Topology
	load experiment.Workload
	fits []experiment.Placement
}

// callees are the roles of the portal that each role asks.
var callees = map[string][]string{"proxy": {"web"}, "web": {"db"}, "api": {"db"}}

// Limits of a round that is fit to learn from: a busier host changes what users ask for, and fewer hits say too little.
const (
	fitBusy    = 0.85
	fitHits    = 500
	fitP90     = 500 // milliseconds
	fitForeign = 0.10
)

// unfit says why a round is not fit to learn from, and what makes a fit one; "" where it is fit.
func unfit(r *result.Round) (why, hint string) {
	users := max(1, r.Generator.PeakUsers)
	busiest, foreign := 0.0, 0.0
	for _, h := range r.Hosts {
		busiest, foreign = max(busiest, h.Busy), max(foreign, h.Foreign)
	}
	again := func(users int) string {
		driver := ""
		if d := describe(r)["driver"]; d != "" && d != "local" {
			driver = " --driver " + d
		}
		return fmt.Sprintf("isukit round -t %s%s --users %d --duration 30s", r.Topology, driver, max(1, users))
	}
	switch {
	case r.Scenario == "external":
		return "it is a project's round, and its record has no roles of processes", "use a round of the portal"
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
	return "", ""
}

// Advise ranks the placements of a round's roles on the hosts of its topology.
func Advise(r *result.Round, base *topology.Topology) (*Advice, error) {
	if why, hint := unfit(r); why != "" {
		return nil, ui.UsageError(fmt.Errorf("round %s is not suitable: %s", r.ID, why), hint)
	}
	a := &Advice{Round: r.ID, Hosts: hostsOf(r, base), Refused: map[string]int{}, base: base, load: experiment.Workload{Users: r.Generator.PeakUsers}}
	var roles []string
	for _, role := range topology.Roles() {
		roles = append(roles, string(role))
	}
	a.Demands = demandsOf(roles, r)
	if slices.ContainsFunc(a.Demands, func(d experiment.Demand) bool { return d.Role == "db" && d.CPUSecondsPerHit == 0 }) {
		return nil, ui.UsageError(fmt.Errorf("round %s has no CPU time for its database", r.ID), "run a longer round")
	}
	today := round.PlacedOn(base)
	for _, p := range experiment.Placements(roles, a.Hosts, map[string]bool{"web": true}) {
		if slices.EqualFunc(roles, p.Parts, func(role string, parts []float64) bool { return slices.Equal(a.on(parts), today[role]) }) {
			a.load.MeasuredOn = p
		}
		if _, err := round.Place(base, "placed", a.where(p), nil); err != nil {
			var faults *topology.Faults
			if !errors.As(err, &faults) {
				return nil, ui.UsageError(fmt.Errorf("topology %s: %w", base.Name, err), "advise places one of each role, and web on several hosts")
			}
			a.Refused[faults.Items[0].Message]++
			continue
		}
		a.fits = append(a.fits, p)
	}
	a.rank()
	return a, nil
}

// demandsOf are what each role cost in some rounds together.
func demandsOf(roles []string, rounds ...*result.Round) (demands []experiment.Demand) {
	for _, role := range roles {
		d, cpu, hits := experiment.Demand{Role: role, Calls: callees[role]}, 0.0, int64(0)
		for _, r := range rounds {
			hits += r.All.Hits
			for _, u := range r.Roles {
				if name, _, _ := strings.Cut(u.Role, "-"); name == role {
					cpu += u.CPUSeconds
					d.MemoryBytes = max(d.MemoryBytes, u.PeakRSSBytes)
				}
			}
		}
		d.CPUSecondsPerHit = cpu / float64(hits)
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
	// Predicted and ShareOfBest are of the best of those that were played, by hits.
	Predicted   float64 `json:"predicted_share"`
	ShareOfBest float64 `json:"share_of_best"`
	Failed      int     `json:"failed"`
}

// runTop is how many of the best placements are played beside today's.
const runTop = 3

// Run plays the best placements and today's, interleaved, and ranks again by what all of them cost. The rounds' topologies are files beside
// the journal.
func (a *Advice) Run(ctx context.Context, j *Journal, each int, seed uint64) error {
	played := slices.Clone(a.Ranked[:min(runTop, len(a.Ranked))])
	if a.Today >= runTop {
		played = append(played, a.Ranked[a.Today])
	}
	files, rounds := make([]string, len(played)), make([][]*result.Round, len(played))
	for i, p := range played {
		text, err := round.Place(a.base, fmt.Sprintf("advised-%d", i+1), a.where(p.Placement), nil)
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
		var roles []string
		for _, d := range a.Demands {
			roles = append(roles, d.Role)
		}
		a.Demands, a.load.MeasuredOn.Parts = demandsOf(roles, passed...), nil
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

// hostsOf are the hosts of a topology, with the CPUs that they had in a round; hosts without a role are scaled as the others were.
func hostsOf(r *result.Round, base *topology.Topology) []experiment.Host {
	had, scale := map[string]result.HostUsage{}, 1.0
	for _, u := range r.Hosts {
		had[u.Host] = u
		if h, ok := base.Host(u.Host); ok && h.CPUs > 0 && u.CPUs > 0 {
			scale = u.CPUs / h.CPUs
		}
	}
	var list []experiment.Host
	for _, h := range base.Hosts {
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

func (a *Advice) where(p experiment.Placement) map[string][]string {
	where := map[string][]string{}
	for r, d := range a.Demands {
		where[d.Role] = a.on(p.Parts[r])
	}
	return where
}
