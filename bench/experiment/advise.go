package experiment

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Host is a machine as advice sees it.
type Host struct {
	Name        string  `json:"name"`
	Cores       float64 `json:"cores"` // what a CPU limit leaves, not what the machine has
	MemoryBytes int64   `json:"memory_bytes"`
}

// Demand is what one role costs, measured in one round.
type Demand struct {
	Role string `json:"role"`
	// CPUSecondsPerHit is the role's CPU time of all its processes, by hits of the round.
	CPUSecondsPerHit float64 `json:"cpu_seconds_per_hit"`
	// MemoryBytes is the most that one instance of it held; 0 where it was not measured.
	MemoryBytes int64 `json:"memory_bytes"`
	// WorkingSetBytes is what a database would keep in memory; 0 for other roles. Where a host has less, it reads from disk.
	WorkingSetBytes int64 `json:"working_set_bytes,omitempty"`
	// Calls are the roles that it sends requests to.
	Calls []string `json:"calls,omitempty"`
}

// Placement is where each role runs: for each role, in the order of the demands, the part of its work that each host does. Parts add up to
// 1 if instances share the work, to more if each does some of it (writes to several databases).
type Placement struct {
	Name  string      `json:"name"`
	Parts [][]float64 `json:"parts"`
}

// Prediction is what one placement is expected to do. It is a rank and a share of the best, never a promise of a figure.
type Prediction struct {
	Placement Placement `json:"placement"`
	// HitsPerSec by approximate mean value analysis; BoundPerSec is what the busiest host allows at all (utilisation law).
	HitsPerSec  float64 `json:"hits_per_sec"`
	BoundPerSec float64 `json:"bound_per_sec"`
	// ShareOfBest is HitsPerSec by that of the best placement, in (0,1].
	ShareOfBest float64 `json:"share_of_best"`
	// Utilisation of each host at HitsPerSec, in [0,1], in the order of the hosts.
	Utilisation []float64 `json:"utilisation"`
}

// Workload is the closed load of a round: how many users there are.
type Workload struct {
	Users int
	// MeasuredOn is the placement of the round that the demands are from.
	MeasuredOn Placement
}

// What experience adds to the measured demands: a call that crosses hosts costs both ends that part of their CPU time more, and each
// further role on a host slows all of them by that part. Both are small; they order placements that are equal without them.
const (
	crossing  = 0.04
	neighbour = 0.05
)

// A database's share of memory, alone and with other roles; each tenth of its working set that does not fit costs a tenth of diskCost more
// CPU.
const (
	poolAlone  = 0.65
	poolShared = 0.5
	diskCost   = 0.4
)

// Advise ranks placements, the best first; those whose memory does not suffice are left out and returned by name with the reason.
// A host is a station of several cores; the network is none. Sources: P. Denning and J. Buzen, "The operational analysis of
// queueing network models", ACM Computing Surveys 10 (1978); P. Schweitzer (1979), as in E. Lazowska et al., "Quantitative System
// Performance" (1984), chapter 6; A. Seidmann, P. Schweitzer and S. Shalev-Oren, "Computerized closed queueing network models of
// flexible manufacturing systems: a comparative evaluation", Large Scale Systems 12 (1987), for stations of several cores.
func Advise(hosts []Host, demands []Demand, placements []Placement, load Workload) (ranked []Prediction, refused map[string]string) {
	refused = map[string]string{}
	for _, p := range placements {
		if why := tooLarge(hosts, demands, p); why != "" {
			refused[p.Name] = why
			continue
		}
		ranked = append(ranked, predict(hosts, demands, p, load))
	}
	slices.SortStableFunc(ranked, func(a, b Prediction) int {
		return cmp.Or(cmp.Compare(b.HitsPerSec, a.HitsPerSec), cmp.Compare(b.BoundPerSec, a.BoundPerSec))
	})
	for i := range ranked {
		ranked[i].ShareOfBest = ranked[i].HitsPerSec / ranked[0].HitsPerSec
	}
	return ranked, refused
}

// tooLarge names the host with too little memory for a placement, or is "".
func tooLarge(hosts []Host, demands []Demand, p Placement) string {
	for h, host := range hosts {
		var need int64
		for r, d := range demands {
			if p.Parts[r][h] > 0 {
				need += d.MemoryBytes
			}
		}
		if host.MemoryBytes > 0 && need > host.MemoryBytes {
			return fmt.Sprintf("%s has %d MiB, its roles held %d MiB", host.Name, host.MemoryBytes>>20, need>>20)
		}
	}
	return ""
}

func predict(hosts []Host, demands []Demand, p Placement, load Workload) Prediction {
	perHost := make([]float64, len(hosts)) // CPU seconds a hit
	for r, d := range demands {
		cost := d.CPUSecondsPerHit * crossed(demands, p, r)
		if load.MeasuredOn.Parts != nil {
			cost /= crossed(demands, load.MeasuredOn, r)
		}
		for h, part := range p.Parts[r] {
			perHost[h] += cost * part * short(hosts[h], d, roleCount(p, h))
		}
	}
	for h := range perHost {
		perHost[h] *= 1 + neighbour*math.Max(0, roleCount(p, h)-1)
	}
	out := Prediction{Placement: p, BoundPerSec: bound(hosts, perHost), Utilisation: make([]float64, len(hosts))}
	out.HitsPerSec = min(out.BoundPerSec, throughput(hosts, perHost, load))
	for h, d := range perHost {
		out.Utilisation[h] = out.HitsPerSec * d / hosts[h].Cores
	}
	return out
}

// crossed is by what factor a role costs more for its calls that cross hosts.
func crossed(demands []Demand, p Placement, role int) float64 {
	factor := 1.0
	for r, d := range demands {
		for _, callee := range d.Calls {
			c := slices.IndexFunc(demands, func(d Demand) bool { return d.Role == callee })
			if c >= 0 && (r == role || c == role) {
				factor += crossing * apart(p.Parts[r], p.Parts[c])
			}
		}
	}
	return factor
}

// apart is the part of the calls from one role to another that cross hosts.
func apart(from, to []float64) float64 {
	here, all := 0.0, 0.0
	for h, part := range from {
		all += part
		here += part * math.Min(1, to[h])
	}
	return math.Max(0, 1-here/math.Max(all, 1e-9))
}

// short is by what factor a role costs more on a host for memory that is missing there.
func short(host Host, d Demand, roles float64) float64 {
	if d.WorkingSetBytes == 0 || host.MemoryBytes == 0 {
		return 1
	}
	pool := poolAlone
	if roles > 1 {
		pool = poolShared
	}
	return 1 + diskCost*math.Max(0, 1-pool*float64(host.MemoryBytes)/float64(d.WorkingSetBytes))
}

func roleCount(p Placement, h int) (n float64) {
	for _, parts := range p.Parts {
		if parts[h] > 0 {
			n++
		}
	}
	return n
}

// bound is the throughput at which the busiest host is busy all the time.
func bound(hosts []Host, perHost []float64) float64 {
	highest := 0.0
	for h, d := range perHost {
		highest = max(highest, d/hosts[h].Cores)
	}
	return 1 / highest
}

// schweitzerSteps is how often the fixed point is iterated: it is reached long before.
const schweitzerSteps = 100

// throughput is Schweitzer's approximation for a closed network. c cores are a queue that is c times as fast, and a delay (Seidmann).
func throughput(hosts []Host, perHost []float64, load Workload) float64 {
	n := float64(max(1, load.Users))
	delay := 0.0
	demand, queue := make([]float64, len(hosts)), make([]float64, len(hosts))
	for h, d := range perHost {
		cores := math.Max(1, hosts[h].Cores)
		demand[h] = d / hosts[h].Cores
		delay += d * (cores - 1) / cores
		queue[h] = n / float64(len(hosts)+1)
	}
	x := 0.0
	for range schweitzerSteps {
		total := delay
		stay := make([]float64, len(hosts))
		for h, d := range demand {
			stay[h] = d * (1 + queue[h]*(n-1)/n)
			total += stay[h]
		}
		x = n / total
		for h := range queue {
			queue[h] = x * stay[h]
		}
	}
	return x
}

// Placements are all ways to put each of the roles on one of the hosts, or on several where spread allows it for the role. Hosts that
// are equal (cores and memory) are merged: of placements that differ only in which of them is which, the first is returned.
func Placements(roles []string, hosts []Host, spread map[string]bool) []Placement {
	var list []Placement
	seen := map[string]bool{}
	parts := make([][]float64, len(roles))
	var place func(r int)
	place = func(r int) {
		if r == len(roles) {
			if key := canonical(hosts, parts); !seen[key] {
				seen[key] = true
				list = append(list, Placement{Name: placementName(roles, hosts, parts), Parts: slices.Clone(parts)})
			}
			return
		}
		for _, set := range subsets(len(hosts), spread[roles[r]]) {
			parts[r] = set
			place(r + 1)
		}
	}
	place(0)
	return list
}

// subsets are the ways in which a role can be on n hosts: on one, or on several that share its work.
func subsets(n int, several bool) [][]float64 {
	var list [][]float64
	for bits := 1; bits < 1<<n; bits++ {
		set, size := make([]float64, n), 0
		for h := range n {
			if bits>>h&1 == 1 {
				size++
			}
		}
		if size > 1 && !several {
			continue
		}
		for h := range n {
			if bits>>h&1 == 1 {
				set[h] = 1 / float64(size)
			}
		}
		list = append(list, set)
	}
	return list
}

// canonical names a placement up to an exchange of equal hosts.
func canonical(hosts []Host, parts [][]float64) string {
	columns := make([]string, len(hosts))
	for h, host := range hosts {
		columns[h] = fmt.Sprintf("%g/%d:", host.Cores, host.MemoryBytes)
		for _, role := range parts {
			columns[h] += fmt.Sprintf(" %g", role[h])
		}
	}
	slices.Sort(columns)
	return fmt.Sprint(columns)
}

func placementName(roles []string, hosts []Host, parts [][]float64) string {
	name := ""
	for r, role := range roles {
		if r > 0 {
			name += " "
		}
		name += role + "="
		sep := ""
		for h, part := range parts[r] {
			if part > 0 {
				name += sep + hosts[h].Name
				sep = "+"
			}
		}
	}
	return name
}
