package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/doctor"
)

// TestDoctorOfARecord: what a round's record shows of each known problem, and that a healthy one shows none.
func TestDoctorOfARecord(t *testing.T) {
	healthy := func() *result.Round {
		return &result.Round{
			ID: "x", LoadSeconds: 60, Hosts: []result.HostUsage{{Host: "s1", CPUs: 2, MemoryBytes: 2 << 30, Foreign: 0.02}},
			Series: []result.HostSeries{{Host: "s1", ClockAheadMs: 3, Seconds: []result.HostSecond{{SwapBytes: 1 << 20}},
				Processes: []result.ProcessUsage{{Name: "nginx", OpenFiles: 200, FileLimit: 1024}}}},
			Settings: []result.Settings{{Host: "s1", Source: "variables", Values: map[string]string{
				"version": "10.11.6-MariaDB", "innodb_doublewrite": "ON", "innodb_flush_log_at_trx_commit": "1", "query_cache_size": "1048576", "query_cache_type": "OFF", "innodb_buffer_pool_size": "134217728"}}},
			Queries:  result.QueryDigest{Queries: []result.Query{{Fingerprint: "select ? from t where json_contains(a, json_quote(?))"}}},
			Access:   result.AccessDigest{Routes: []result.Route{{Method: "GET", Path: "/", Cache: map[string]int64{"HIT": 100, "MISS": 20}}}},
			Warnings: []string{"the load was short"},
		}
	}
	diagnose := func(r *result.Round) []doctor.Finding {
		return append(doctor.Diagnose(round.ObservedIn(r), doctor.Checks()), round.SaidThen(r, doctor.Checks())...)
	}
	if found := diagnose(healthy()); len(found) > 0 {
		t.Errorf("healthy: %v", found)
	}
	for id, spoil := range map[string]func(r *result.Round){
		"file-limits":   func(r *result.Round) { r.Series[0].Processes[0].OpenFiles = 900 },
		"clock":         func(r *result.Round) { r.Series[0].ClockAheadMs = -4000 },
		"swap":          func(r *result.Round) { r.Noise.SwapInBytes = 1 << 20 },
		"cpu-others":    func(r *result.Round) { r.Hosts[0].Foreign = 0.3 },
		"durability":    func(r *result.Round) { r.Settings[0].Values["innodb_doublewrite"] = "OFF" },
		"query-cache":   func(r *result.Round) { r.Settings[0].Values["query_cache_size"] = "67108864" },
		"memory-limit":  func(r *result.Round) { r.Settings[0].Values["innodb_buffer_pool_size"] = "4294967296" },
		"json-contains": func(r *result.Round) { r.Queries.Queries[0].Example = "select 1 from t where json_contains(a, 'go')" },
		"proxy-cache":   func(r *result.Round) { delete(r.Access.Routes[0].Cache, "HIT") },
		"mitigations": func(r *result.Round) {
			r.Settings = append(r.Settings, result.Settings{Host: "s1", Source: "boot", Values: map[string]string{"mitigations": "off"}})
		},
		"disk-full": func(r *result.Round) { r.Warnings = append(r.Warnings, "doctor: disk-full: s1 /: 1 GiB left") },
	} {
		r := healthy()
		spoil(r)
		if found := diagnose(r); len(found) != 1 || found[0].Check != id {
			t.Errorf("%s: found %v", id, found)
		}
	}
}

// TestDoctorOfANewerRecord: a record that this isukit cannot read is not a wrong command line, and has another hint than a missing one.
func TestDoctorOfANewerRecord(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	id := "20261122T200000Z-single"
	if _, err := result.Write(dir, &result.Round{Format: result.FormatVersion, ID: id}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, id, result.RoundFile)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	newer := regexp.MustCompile(`"format": *\d+`).ReplaceAllString(string(text), `"format": 99`)
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, file, newer)
	for _, command := range []string{"doctor", "show", "latency"} {
		_, errs, code := cli(t, "", command, "last", "--results", dir)
		if code != ui.ExitFailed || !strings.Contains(errs, "hint: a newer isukit saved this round") {
			t.Errorf("%s: exit %d, %s, want 1 and the hint to use the newer isukit", command, code, errs)
		}
	}
}
