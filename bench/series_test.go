package bench_test

import (
	"strings"
	"testing"

	"isukit/bench"
	"isukit/bench/result"
)

func TestJudgeSeries(t *testing.T) {
	second := result.HostSecond{User: 0.3, System: 0.1, MemoryBytes: 1 << 30}
	series := func(change func(*result.HostSeries)) result.HostSeries {
		s := result.HostSeries{Host: "s1", Seconds: []result.HostSecond{second, second, second, second}, Processes: []result.ProcessUsage{{Name: "mysqld", CPUSeconds: 2, Count: 1}, {Name: "app", CPUSeconds: 1, Count: 1}}}
		change(&s)
		return s
	}
	each := func(s *result.HostSeries, change func(*result.HostSecond)) {
		for i := range s.Seconds {
			change(&s.Seconds[i])
		}
	}
	for name, c := range map[string]struct {
		change                  func(*result.HostSeries)
		resource, process, text string
	}{
		"idle":        {func(*result.HostSeries) {}, "none", "mysqld", "40 %"},
		"CPU":         {func(s *result.HostSeries) { each(s, func(x *result.HostSecond) { x.User = 0.85 }) }, "cpu", "mysqld", "95 % busy, and mysqld"},
		"one core":    {func(s *result.HostSeries) { s.Processes[0].CPUSeconds = 3.9 }, "cpu", "mysqld", "single process"},
		"disk":        {func(s *result.HostSeries) { each(s, func(x *result.HostSecond) { x.DiskBusy = 0.9 }) }, "disk", "", "90 %"},
		"steal":       {func(s *result.HostSeries) { each(s, func(x *result.HostSecond) { x.Steal = 0.2 }) }, "steal", "", "20 %"},
		"OOM":         {func(s *result.HostSeries) { s.OOMKills = 1; each(s, func(x *result.HostSecond) { x.User = 0.9 }) }, "memory", "", "killed 1"},
		"open files":  {func(s *result.HostSeries) { s.Processes[1].OpenFiles, s.Processes[1].FileLimit = 1000, 1024 }, "files", "app", "1000, limit 1024"},
		"few memory":  {func(s *result.HostSeries) { each(s, func(x *result.HostSecond) { x.MemoryBytes = 2040 << 20 }) }, "memory", "", "8 MiB of 2048"},
		"container":   {func(s *result.HostSeries) { each(s, func(x *result.HostSecond) { x.MemoryBytes = 9 << 30 }) }, "none", "mysqld", "40 %"}, // the machine's, above the container's limit
		"throttled":   {func(s *result.HostSeries) { s.ThrottledSeconds = 2 }, "throttled", "", "2.0 s"},
		"overflowing": {func(s *result.HostSeries) { s.ListenOverflows = 7 }, "connections", "", "7 connections"},
	} {
		s := series(c.change)
		usage := result.HostUsage{Host: "s1", CPUs: 2, MemoryBytes: 2 << 30, Busy: s.Seconds[0].User + s.Seconds[0].System, Steal: s.Seconds[0].Steal}
		r := &result.Round{LoadSeconds: 60, Benchmark: result.Benchmark{ScoreFrom: "command"}, Series: []result.HostSeries{s}, Hosts: []result.HostUsage{usage}}
		for _, p := range s.Processes {
			r.Roles = append(r.Roles, result.RoleUsage{Role: p.Name, Host: "s1", CPUSeconds: p.CPUSeconds, MeanCores: p.CPUSeconds / 4})
		}
		bench.Judge(r)
		b := r.Bottleneck
		if b.Resource != c.resource || b.Role != c.process || !strings.Contains(b.Text, c.text) {
			t.Errorf("%s: %+v, want %s of %q with %q", name, b, c.resource, c.process, c.text)
		}
		if name == "OOM" && len(r.Warnings) != 1 {
			t.Errorf("%s: the full CPU is not among the warnings: %q", name, r.Warnings)
		}
	}
}
