package round

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"isukit/bench/result"
	"isukit/infra/host"
	"isukit/infra/metrics"
	"isukit/infra/observe"
)

// seriesTaker holds the samples of one host.
type seriesTaker struct {
	mu      sync.Mutex
	samples []metrics.Sample
}

// all are the samples until now; they are not changed any more.
func (t *seriesTaker) all() []metrics.Sample {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.samples
}

// watching is what looks at the hosts beside the load.
type watching struct {
	ctx   context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup
}

// stop ends it and waits for it.
func (w *watching) stop() { w.end(); w.tasks.Wait() }

// watch samples every host until it is stopped.
func (r *ProjectRound) watch(ctx context.Context) *watching {
	// What watches ends with the load, and not before: an interrupted load is still measured to its end.
	w := &watching{}
	w.ctx, w.end = context.WithCancel(context.WithoutCancel(ctx))
	sampled := map[host.Host]bool{}
	for _, name := range slices.Sorted(maps.Keys(r.Reach.Named)) {
		at := r.Reach.Named[name]
		if sampled[at] {
			continue // two names of one machine
		}
		sampled[at] = true
		taker := &seriesTaker{}
		r.series[name] = taker
		w.tasks.Go(func() {
			if err := metrics.Collect(w.ctx, at, time.Second, func(s metrics.Sample) { r.take(name, taker, s) }); err != nil {
				r.warn("host %s: %v", name, err)
			}
		})
	}
	return w
}

func (r *ProjectRound) take(name string, taker *seriesTaker, s metrics.Sample) {
	r.warnOfFiles(name, s)
	taker.mu.Lock()
	defer taker.mu.Unlock()
	taker.samples = append(taker.samples, s)
	if n := len(taker.samples); n > 1 {
		d := metrics.Between(taker.samples[n-2], s)
		if d.CPU.Total > 0 {
			r.Live.busy(name, float64(d.CPU.User+d.CPU.System)/float64(d.CPU.Total))
		}
	}
}

// profileDelay keeps profiles off the first moments of a load.
const profileDelay = 2 * time.Second

// profile records profiles from now on; it is called when the load begins.
func (r *ProjectRound) profile(w *watching) {
	start := func(name string, record func(at host.Host) ([]observe.Recorded, error)) {
		at, ok := r.Reach.Named[name]
		if !ok {
			return // that it cannot be reached has been said
		}
		w.tasks.Go(func() {
			select {
			case <-time.After(profileDelay):
			case <-w.ctx.Done():
				return
			}
			recorded, err := record(at)
			if err != nil {
				r.warn("%v", err)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, p := range recorded {
				if p.Stacks != nil {
					r.recorded = append(r.recorded, p)
				}
			}
		})
	}
	for _, p := range r.Profiles.Pprof {
		start(p.Host, func(at host.Host) ([]observe.Recorded, error) { return observe.Pprof(w.ctx, at, p) })
	}
	for _, p := range r.Profiles.Perf {
		start(p.Host, func(at host.Host) ([]observe.Recorded, error) {
			recorded, err := observe.Perf(w.ctx, at, p)
			return []observe.Recorded{recorded}, err
		})
	}
}

// fillSeries puts what the hosts did into the record, for the window of the benchmark.
func (r *ProjectRound) fillSeries() {
	for _, p := range r.recorded {
		out := result.Profile{Host: p.Host, Name: p.Name, Unit: p.Stacks.Unit, Total: p.Stacks.Total(), Frames: []result.Frame{}}
		for _, b := range p.Stacks.Flame(0.002) {
			out.Frames = append(out.Frames, result.Frame(b))
		}
		r.Record.Profiles = append(r.Record.Profiles, out)
	}
	for _, name := range slices.Sorted(maps.Keys(r.series)) {
		r.fillHost(name, r.series[name].samples)
	}
	keepBusiest(r.Record.Timeline)
}

// drawnProcesses is how many processes of all hosts a timeline tells apart; the page has a colour for each.
const drawnProcesses = 8

// keepBusiest puts the processes together that used less than others over the whole timeline.
func keepBusiest(timeline []result.Second) {
	sums := map[string]float64{}
	for _, s := range timeline {
		for name, cores := range s.CoresByRole {
			sums[name] += cores
		}
	}
	names := slices.SortedFunc(maps.Keys(sums), func(a, b string) int { return cmp.Or(cmp.Compare(sums[b], sums[a]), cmp.Compare(a, b)) })
	for _, name := range names[min(len(names), drawnProcesses):] {
		_, host, several := strings.Cut(name, "@")
		rest := "others" // as the page knows it, which draws it grey
		if several {
			rest += "@" + host
		}
		for _, s := range timeline {
			if cores, ok := s.CoresByRole[name]; ok {
				delete(s.CoresByRole, name)
				s.CoresByRole[rest] += cores
			}
		}
	}
}

// keptProcesses is how many processes of a host a record names.
const keptProcesses = 12

func (r *ProjectRound) fillHost(name string, samples []metrics.Sample) {
	from, to := r.Record.Benchmark.Began, r.Record.Benchmark.Ended
	var inside []metrics.Sample
	for _, s := range samples {
		if s.At.After(from.Add(-time.Second)) && s.At.Before(to.Add(time.Second)) {
			inside = append(inside, s)
		}
	}
	if len(inside) < 2 {
		return
	}
	s := result.HostSeries{Host: name, ClockAheadMs: float64(r.ahead[name].Milliseconds()), Seconds: []result.HostSecond{}, Processes: []result.ProcessUsage{}}
	peaks := map[string]*result.ProcessUsage{}
	for i := 1; i < len(inside); i++ {
		d := metrics.Between(inside[i-1], inside[i])
		second := hostSecond(d, inside[i].At.Sub(inside[i-1].At).Seconds())
		second.At = inside[i-1].At.Sub(from).Seconds()
		s.Seconds = append(s.Seconds, second)
		addProcesses(peaks, d)
		r.fillTimeline(name, second, d)
	}
	d := metrics.Between(inside[0], inside[len(inside)-1])
	s.OOMKills, s.ThrottledSeconds, s.Retransmitted, s.ListenOverflows = d.OOMKills, d.Throttled.Seconds(), d.TCP.Retransmitted, d.TCP.ListenOverflows
	for _, p := range peaks {
		s.Processes = append(s.Processes, *p)
	}
	slices.SortFunc(s.Processes, func(a, b result.ProcessUsage) int {
		return cmp.Or(cmp.Compare(b.CPUSeconds, a.CPUSeconds), cmp.Compare(a.Name, b.Name))
	})
	s.Processes = s.Processes[:min(len(s.Processes), keptProcesses)]
	r.Record.Series = append(r.Record.Series, s)
	wall := inside[len(inside)-1].At.Sub(inside[0].At).Seconds()
	usage := result.HostUsage{Host: name, CPUs: float64(d.CPUs), MemoryBytes: d.MemTotal}
	if total := float64(d.CPU.Total); total > 0 {
		usage.Busy, usage.IOWait, usage.Steal = float64(d.CPU.User+d.CPU.System)/total, float64(d.CPU.IOWait)/total, float64(d.CPU.Steal)/total
	}
	r.Record.Hosts = append(r.Record.Hosts, usage)
	for _, p := range s.Processes {
		if p.CPUSeconds > 0.01*wall {
			r.Record.Roles = append(r.Record.Roles, result.RoleUsage{Role: p.Name, Host: name, CPUSeconds: p.CPUSeconds, MeanCores: p.CPUSeconds / wall, PeakRSSBytes: p.PeakRSSBytes})
		}
	}
}

func hostSecond(d metrics.Sample, wall float64) result.HostSecond {
	total, wall := max(float64(d.CPU.Total), 1), max(wall, 0.001)
	per := func(n int64) float64 { return float64(n) / wall }
	return result.HostSecond{
		User: float64(d.CPU.User) / total, System: float64(d.CPU.System) / total, IOWait: float64(d.CPU.IOWait) / total, Steal: float64(d.CPU.Steal) / total,
		MemoryBytes: d.MemTotal - d.MemAvailable, SwapBytes: d.SwapUsed, DiskRead: per(d.Disk.ReadBytes), DiskWritten: per(d.Disk.WrittenBytes),
		DiskBusy: min(1, d.Disk.Busy.Seconds()/wall), NetReceived: per(d.Net.ReceivedBytes), NetSent: per(d.Net.SentBytes),
		Connections: d.TCP.Established, TimeWait: d.TCP.TimeWait, Throttled: d.Throttled.Seconds() / wall, Retransmits: per(d.TCP.Retransmitted),
		OpenFiles: d.OpenFiles, MajorFaults: per(d.MajorFaults), NetDroppings: per(d.Net.Dropped),
	}
}

func addProcesses(peaks map[string]*result.ProcessUsage, d metrics.Sample) {
	for name, p := range d.Processes {
		u := peaks[name]
		if u == nil {
			u = &result.ProcessUsage{Name: name}
			peaks[name] = u
		}
		u.CPUSeconds += p.CPU.Seconds()
		u.PeakRSSBytes, u.Count = max(u.PeakRSSBytes, p.RSSBytes), max(u.Count, p.Count)
		if p.OpenFiles > u.OpenFiles {
			u.OpenFiles, u.FileLimit = p.OpenFiles, p.FileLimit
		}
	}
}

// leastCores is what a process must use in a second to be drawn.
const leastCores = 0.02

// fillTimeline puts a host's second where it belongs on the axis of the whole round.
func (r *ProjectRound) fillTimeline(name string, second result.HostSecond, d metrics.Sample) {
	at := int(second.At + 0.5)
	if at < 0 || at >= len(r.Record.Timeline) {
		return
	}
	t := &r.Record.Timeline[at]
	if t.BusyByHost == nil {
		t.BusyByHost, t.CoresByRole = map[string]float64{}, map[string]float64{}
	}
	t.BusyByHost[name] = second.User + second.System
	suffix := ""
	if len(r.series) > 1 {
		suffix = "@" + name
	}
	for process, p := range d.Processes {
		if cores := p.CPU.Seconds(); cores >= leastCores {
			t.CoresByRole[process+suffix] += cores
		}
	}
}
