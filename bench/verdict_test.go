package bench_test

import (
	"strings"
	"testing"

	"isukit/bench"
	"isukit/bench/result"
)

// saturated is a round whose database used most of the one host.
func saturated() *result.Round {
	return &result.Round{
		LoadSeconds: 30,
		All:         result.Endpoint{OK: 5000},
		Roles: []result.RoleUsage{
			{Role: "db", Host: "s1", CPUSeconds: 45, MeanCores: 1.5}, {Role: "web", Host: "s1", CPUSeconds: 9, MeanCores: 0.3},
		},
		Hosts:     []result.HostUsage{{Host: "s1", CPUs: 2, Busy: 0.97}},
		Generator: result.Generator{CPUSeconds: 2.7},
	}
}

// growing is a load whose one host was busy like this, second by second, with the web role using most of it.
func growing(busy ...float64) []result.Second {
	var list []result.Second
	for _, b := range busy {
		list = append(list, result.Second{BusyByHost: map[string]float64{"s1": b},
			CoresByRole: map[string]float64{"web": 1.5 * b, "db": 0.1, "generator": 0.05}})
	}
	return list
}

func TestJudge(t *testing.T) {
	tests := []struct {
		name     string
		change   func(r *result.Round)
		resource string
		role     string
		warning  string // a part of the only warning; "" for none
	}{
		{"database", func(*result.Round) {}, "cpu", "db", ""},
		{"idle", func(r *result.Round) { r.Hosts[0].Busy = 0.3 }, "none", "db", ""},
		{"generator", func(r *result.Round) { r.Generator.CPUSeconds = 50 }, "generator", "", "of the CPU time of the system"},
		{"not measured", func(r *result.Round) { r.Hosts = nil }, "none", "", ""},
		{"short", func(r *result.Round) { r.LoadSeconds = 3 }, "cpu", "db", "lasted 3 s"},
		{"full at the end", func(r *result.Round) {
			r.Hosts[0].Busy = 0.6
			r.Timeline = growing(0.2, 0.3, 0.99, 1)
		}, "cpu", "web", ""},
		{"full at the beginning", func(r *result.Round) { r.Timeline = growing(1, 1, 0.2, 0.2) }, "none", "web", ""},
		{"not measured to the end", func(r *result.Round) {
			r.Timeline = append(growing(0.2, 0.3, 0.98, 0.99), result.Second{}, result.Second{})
		}, "cpu", "web", ""},
		{"few", func(r *result.Round) { r.All.OK = 10 }, "cpu", "db", "10 correct responses"},
		{"steal", func(r *result.Round) { r.Hosts[0].Steal = 0.2 }, "cpu", "db", "steal"},
		{"foreign", func(r *result.Round) { r.Hosts[0].Foreign = 0.2 }, "cpu", "db", "not part of the round"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := saturated()
			tt.change(r)
			bench.Judge(r)
			if r.Bottleneck.Resource != tt.resource || r.Bottleneck.Role != tt.role || r.Bottleneck.Text == "" {
				t.Errorf("bottleneck %+v, want resource %q of role %q and a text", r.Bottleneck, tt.resource, tt.role)
			}
			if all := strings.Join(r.Warnings, "; "); tt.warning == "" && all != "" || !strings.Contains(all, tt.warning) {
				t.Errorf("warnings %q, want %q", all, tt.warning)
			}
		})
	}
	r := saturated()
	bench.Judge(r)
	if got, want := r.Generator.OfSystem, 0.05; got != want {
		t.Errorf("generator used %v of the system, want %v", got, want)
	}
}
