package round

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"isukit/bench/load"
	"isukit/bench/result"
	"isukit/infra/host"
	"isukit/infra/metrics"
	"isukit/infra/observe"
	"isukit/infra/subject"
)

type seriesTaker struct {
	names []string // of its hosts
	mu    sync.Mutex
	taken []metrics.Sample
}

// all are the samples until now; they are not changed any more.
func (t *seriesTaker) all() []metrics.Sample {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.taken
}

type watching struct {
	ctx   context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup
}

// stop ends it and waits for it.
func (w *watching) stop() { w.end(); w.tasks.Wait() }

// watch samples every machine until it is stopped. What an earlier load of the same round left is forgotten.
func (r *gathering) watch(ctx context.Context) *watching {
	r.series, r.noise = nil, nil
	// What watches ends with the load, and not before: an interrupted load is still measured to its end.
	w := &watching{}
	w.ctx, w.end = context.WithCancel(context.WithoutCancel(ctx))
	w.tasks.Go(func() { r.owners = r.findOwners(w.ctx) })
	for n, m := range r.tuned.sub.Machines() {
		taker := &seriesTaker{names: m.Names}
		r.series = append(r.series, taker)
		w.tasks.Go(func() {
			if err := metrics.Collect(w.ctx, m.At, time.Second, r.own, func(s metrics.Sample) { r.take(n, taker, s) }); err != nil {
				r.warn("host %s: %v", m.Names[0], err)
			}
			if n == 0 {
				r.takeNoise()
			}
		})
	}
	return w
}

// findOwners are the roles of the processes of units, by host.
func (r *gathering) findOwners(ctx context.Context) map[string]map[int]string {
	owners := map[string]map[int]string{}
	for _, v := range r.tuned.sub.Services {
		if r.roleOf == nil || v.Unit == "" || v.PIDs == nil {
			continue
		}
		pids, err := v.PIDs(context.WithoutCancel(ctx))
		if err != nil {
			r.warn("which processes are of %s on %s: %v", v.Unit, v.Host, err)
		}
		for _, pid := range pids {
			if owners[v.Host] == nil {
				owners[v.Host] = map[int]string{}
			}
			owners[v.Host][pid] = r.roleOf(v.Unit)
		}
	}
	return owners
}

// ownerOf is the role that processes of one name are of; "" for none, or for several.
func (r *gathering) ownerOf(names []string, process string, inside []metrics.Sample) (role string) {
	for _, s := range inside {
		for _, pid := range s.Processes[process].PIDs {
			for _, name := range names {
				switch of := r.owners[name][pid]; {
				case of == "" || of == role:
				case role != "":
					return ""
				default:
					role = of
				}
			}
		}
	}
	return role
}

// noiseEvery is how many samples lie between two of the noise, whose files take longer to read.
const noiseEvery = 5

func (r *gathering) take(n int, taker *seriesTaker, s metrics.Sample) {
	r.warnOfFiles(taker.names[0], s)
	if n == 0 && r.own {
		s.Services[result.GeneratorRole] = host.Usage{CPU: load.ProcessCPU()}
	}
	taker.mu.Lock()
	defer taker.mu.Unlock()
	taker.taken = append(taker.taken, s)
	if n == 0 && len(taker.taken)%noiseEvery == 1 {
		r.takeNoise()
	}
	if n := len(taker.taken); n > 1 {
		if d := metrics.Between(taker.taken[n-2], s); d.CPU.Total > 0 {
			r.Live.busy(taker.names[0], d.CPU.Busy())
		}
	}
}

func (r *gathering) takeNoise() {
	n, err := host.ReadNoise()
	if err != nil {
		r.warn("%v", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noise = append(r.noise, n)
}

// NoiseOf sums up what was read from the beginning of the load to its end.
func NoiseOf(read []host.Noise) result.Noise {
	if len(read) == 0 {
		return result.Noise{}
	}
	first, last := read[0], read[len(read)-1]
	n := result.Noise{
		LoadAverageBefore: first.LoadAverage, LoadAverageAfter: last.LoadAverage,
		SwapInBytes: last.SwapInBytes - first.SwapInBytes, SwapOutBytes: last.SwapOutBytes - first.SwapOutBytes,
		ThrottledSeconds: (last.Throttled - first.Throttled).Seconds(),
		LowestMHz:        math.Round(first.FrequencyMHz), HighestMHz: math.Round(first.FrequencyMHz),
	}
	for _, r := range read {
		n.LowestMHz, n.HighestMHz = min(n.LowestMHz, math.Round(r.FrequencyMHz)), max(n.HighestMHz, math.Round(r.FrequencyMHz))
	}
	return n
}

// profileDelay keeps profiles off the first moments of a load.
const profileDelay = 2 * time.Second

// profile records profiles from now on; it is called when the load begins.
func (r *gathering) profile(w *watching) {
	start := func(name string, record func(at host.Host) ([]observe.Recorded, error)) {
		at, ok := r.named[name]
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
	for _, p := range r.apps {
		start(p.Host, func(at host.Host) ([]observe.Recorded, error) { return observe.Pprof(w.ctx, at, p) })
	}
	for _, p := range r.perf {
		start(p.Host, func(at host.Host) ([]observe.Recorded, error) {
			recorded, err := observe.Perf(w.ctx, at, p)
			return []observe.Recorded{recorded}, err
		})
	}
}

// fillSeries puts what the hosts did into the record, for the window of the load.
func (r *gathering) fillSeries() {
	for _, p := range r.recorded {
		out := result.Profile{Host: p.Host, Name: p.Name, Unit: p.Stacks.Unit, Total: p.Stacks.Total(), Frames: []result.Frame{}}
		for _, b := range p.Stacks.Flame(0.002) {
			out.Frames = append(out.Frames, result.Frame(b))
		}
		r.Record.Profiles = append(r.Record.Profiles, out)
	}
	r.Record.Noise = NoiseOf(r.noise)
	for _, taker := range r.series {
		var inside []metrics.Sample
		for _, s := range taker.taken {
			if s.At.After(r.began.Add(-time.Second)) && s.At.Before(r.ended.Add(time.Second)) {
				inside = append(inside, s)
			}
		}
		if len(inside) < 2 {
			continue
		}
		r.fillHost(taker.names, inside)
		for i := range r.Record.Timeline {
			if n := sampleBehind(inside, r.began, i); n > 0 {
				r.use(&r.Record.Timeline[i], taker.names, inside[n-1], inside[n])
			}
		}
	}
	if r.own {
		r.fillForeign()
	} else {
		keepBusiest(r.Record.Timeline)
	}
}

// sampleBehind is the number of the first sample after the middle of a second of the load; 0 when there is none. On a saturated machine
// samples come late: two of them then stand in for all seconds between them.
func sampleBehind(samples []metrics.Sample, began time.Time, second int) int {
	middle := began.Add(time.Duration(second)*time.Second + time.Second/2)
	for n, s := range samples {
		if s.At.After(middle) {
			return n
		}
	}
	return 0
}

// Latest adds what was used in the last second to a second of the load.
func (r *gathering) latest(second *result.Second) {
	for _, taker := range r.series {
		if all := taker.all(); len(all) > 1 {
			r.use(second, taker.names, all[len(all)-2], all[len(all)-1])
		}
	}
}

const leastCores = 0.02

// use fills in what a machine used from one sample to the next: cores by service or process, and the share of its CPUs that was busy.
func (r *gathering) use(t *result.Second, names []string, a, b metrics.Sample) {
	wall := b.At.Sub(a.At).Seconds()
	if wall <= 0 {
		return
	}
	if t.BusyByHost == nil {
		t.BusyByHost, t.CoresByRole = map[string]float64{}, map[string]float64{}
	}
	d := metrics.Between(a, b)
	for _, name := range names {
		t.BusyByHost[name] = d.CPU.Busy()
	}
	for name, u := range b.Services {
		t.CoresByRole[name] = max(0, (u.CPU-a.Services[name].CPU).Seconds()) / wall
	}
	if r.own {
		return
	}
	suffix := ""
	if len(r.series) > 1 {
		suffix = "@" + names[0]
	}
	for process, p := range d.Processes {
		if cores := p.CPU.Seconds() / wall; cores >= leastCores {
			t.CoresByRole[process+suffix] += cores
		}
	}
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

const keptProcesses = 12

func (r *gathering) fillHost(names []string, inside []metrics.Sample) {
	s := result.HostSeries{Host: names[0], ClockAheadMs: float64(r.ahead[names[0]].Milliseconds()), Seconds: []result.HostSecond{}, Processes: []result.ProcessUsage{}}
	peaks := map[string]*result.ProcessUsage{}
	for i := 1; i < len(inside); i++ {
		d := metrics.Between(inside[i-1], inside[i])
		second := hostSecond(d, inside[i].At.Sub(inside[i-1].At).Seconds())
		second.At = inside[i-1].At.Sub(r.began).Seconds()
		s.Seconds = append(s.Seconds, second)
		addProcesses(peaks, d)
	}
	first, last := inside[0], inside[len(inside)-1]
	d := metrics.Between(first, last)
	s.OOMKills, s.ThrottledSeconds, s.Retransmitted, s.ListenOverflows = d.OOMKills, d.Throttled.Seconds(), d.TCP.Retransmitted, d.TCP.ListenOverflows
	for _, p := range peaks {
		s.Processes = append(s.Processes, *p)
	}
	slices.SortFunc(s.Processes, func(a, b result.ProcessUsage) int {
		return cmp.Or(cmp.Compare(b.CPUSeconds, a.CPUSeconds), cmp.Compare(a.Name, b.Name))
	})
	s.Processes = s.Processes[:min(len(s.Processes), keptProcesses)]
	r.Record.Series = append(r.Record.Series, s)
	wall := last.At.Sub(first.At).Seconds()
	for _, name := range names {
		usage := result.HostUsage{Host: name, CPUs: float64(d.CPUs), MemoryBytes: d.MemTotal, Busy: d.CPU.Busy()}
		if h, ok := r.tuned.sub.Host(name); ok && r.own {
			usage.CPUs, usage.MemoryBytes = h.Sizes.CPUs, h.Sizes.MemoryBytes
		}
		if total := float64(d.CPU.Total); total > 0 {
			usage.IOWait, usage.Steal = float64(d.CPU.IOWait)/total, float64(d.CPU.Steal)/total
		}
		r.Record.Hosts = append(r.Record.Hosts, usage)
	}
	if r.own {
		r.fillServices(names, inside, wall)
		return
	}
	for _, p := range s.Processes {
		if of := r.ownerOf(names, p.Name, inside); of != "" || p.CPUSeconds > 0.01*wall {
			r.Record.Roles = append(r.Record.Roles, result.RoleUsage{Role: p.Name, Of: of, Host: names[0], CPUSeconds: p.CPUSeconds, MeanCores: p.CPUSeconds / wall, PeakRSSBytes: p.PeakRSSBytes})
		}
	}
}

func (r *gathering) fillServices(names []string, inside []metrics.Sample, wall float64) {
	first, last := inside[0], inside[len(inside)-1]
	for _, v := range r.tuned.sub.On(subject.Machine{Names: names}) {
		u := result.RoleUsage{Role: v.Name, Host: v.Host, CPUSeconds: max(0, (last.Services[v.Name].CPU - first.Services[v.Name].CPU).Seconds())}
		if wall > 0 {
			u.MeanCores = u.CPUSeconds / wall
		}
		for _, s := range inside {
			u.PeakRSSBytes = max(u.PeakRSSBytes, s.Services[v.Name].RSSBytes)
		}
		r.Record.Roles = append(r.Record.Roles, u)
	}
}

// fillForeign sets the part of each host's CPU time that went to others: on one machine all except the services and the generator.
func (r *gathering) fillForeign() {
	known := r.Record.Generator.CPUSeconds
	for _, u := range r.Record.Roles {
		known += u.CPUSeconds
	}
	for n, taker := range r.series {
		if n >= len(r.Record.Series) || len(taker.taken) < 2 {
			continue
		}
		total := metrics.Between(taker.taken[0], taker.taken[len(taker.taken)-1]).CPU.Total.Seconds()
		for i := range r.Record.Hosts {
			if h := &r.Record.Hosts[i]; total > 0 && slices.Contains(taker.names, h.Host) {
				h.Foreign = max(0, h.Busy-known/total)
			}
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
