// Package result keeps rounds on disk. A Round goes in once, whole, and comes out as often as it is asked for; nothing is
// ever rewritten. What a round means, how it is shown and how two are compared is left to others.
package result

import "time"

// FormatVersion is the version of round.json that this package writes; it reads this and older ones.
const FormatVersion = 1

// Round is a round's record. Durations have their unit in the name; times are UTC; a ratio is in [0,1] unless noted.
type Round struct {
	Format int `json:"format"`
	// ID is the name of the round's directory: the start as 20060102T150405Z, "-", the topology's name.
	ID        string    `json:"id"`
	StartedAt time.Time `json:"started_at"`
	Topology  string    `json:"topology"`
	Scenario  string    `json:"scenario"`
	Seed      uint64    `json:"seed"`
	// LoadSeconds is planned length of the load phase.
	LoadSeconds float64 `json:"load_s"`

	// Passed is false as soon as one phase failed; Reason then says in one sentence which and why.
	Passed bool   `json:"passed"`
	Reason string `json:"reason,omitempty"`
	Score  Score  `json:"score"`

	// CapacityRate is the highest rate that kept the objective, in visits a second, if the load searched for it; AtLeast: the search ended
	// there without finding one that did not. All other metrics are those of the last trial.
	CapacityRate    float64 `json:"capacity_rate,omitempty"`
	CapacityAtLeast bool    `json:"capacity_at_least,omitempty"`
	Trials          []Trial `json:"trials,omitempty"`

	// Metrics are the figures that a command printed which was run as a round of a comparison, by name, in its own units.
	Metrics map[string]float64 `json:"metrics,omitempty"`

	Phases []Phase `json:"phases"`
	Faults []Fault `json:"faults,omitempty"`
	// All sums up every hit of the load phase: its Name is "all" and its Share 1. Its quantiles are those of the merged histogram, which
	// cannot be computed from those of Endpoints.
	All        Endpoint     `json:"all"`
	Endpoints  []Endpoint   `json:"endpoints"`
	Errors     []ErrorGroup `json:"errors,omitempty"`
	Timeline   []Second     `json:"timeline"`
	Roles      []RoleUsage  `json:"roles"`
	Hosts      []HostUsage  `json:"hosts"`
	Noise      Noise        `json:"noise"`
	Generator  Generator    `json:"generator"`
	Bottleneck Bottleneck   `json:"bottleneck"`
	// What follows up to the warnings is of rounds of an app that is not the reference app: its benchmark, digests of its logs,
	// its hosts second by second, profiles, and the settings that were in effect.
	Benchmark Benchmark    `json:"benchmark,omitzero"`
	Access    AccessDigest `json:"access,omitzero"`
	Queries   QueryDigest  `json:"queries,omitzero"`
	Series    []HostSeries `json:"series,omitempty"`
	Profiles  []Profile    `json:"profiles,omitempty"`
	Settings  []Settings   `json:"settings,omitempty"`
	// Warnings say why the figures may be doubted; they are printed wherever the score is.
	Warnings  []string   `json:"warnings,omitempty"`
	Facts     []Fact     `json:"facts"`
	Artifacts []Artifact `json:"artifacts,omitempty"`
}

// Score is the sum of its lines, never below zero; a failed round scores zero and keeps its lines.
type Score struct {
	Total int64       `json:"total"`
	Lines []ScoreLine `json:"lines"`
}

// ScoreLine is one kind of hit that gave or took points.
type ScoreLine struct {
	Label string `json:"label"`
	Count int64  `json:"count"`
	// Each is the points of one; negative for errors.
	Each   int64 `json:"each"`
	Points int64 `json:"points"`
}

// Trial is one load of a search for the capacity.
type Trial struct {
	// Rate is in visits a second.
	Rate float64 `json:"rate"`
	// Missed says why the objective was missed; absent when it was kept.
	Missed string `json:"missed,omitempty"`
	// Confirms is true for a trial that repeats a rate which was kept before.
	Confirms bool `json:"confirms,omitempty"`
}

// Phase is one of initialize, validate, load, check; in a project's round one of rotate, build, deploy, restart, load, collect.
type Phase struct {
	Name string `json:"name"`
	// StartSeconds counts from the round's start.
	StartSeconds    float64 `json:"start_s"`
	DurationSeconds float64 `json:"duration_s"`
	OK              bool    `json:"ok"`
}

// Fault fails the round. Phase is where it was found; "round" for causes from outside, such as a server that died.
type Fault struct {
	Phase string `json:"phase"`
	Text  string `json:"text"`
}

// Endpoint sums up the hits of one endpoint ("GET /api/jobs/{job_id}") in the load phase.
type Endpoint struct {
	Name string `json:"name"`
	Hits int64  `json:"hits"`
	OK   int64  `json:"ok"`
	// Refused counts answers that were errors but cost nothing, such as a 503 to a bot.
	Refused int64 `json:"refused,omitempty"`
	Errors  int64 `json:"errors"`
	// Share is this endpoint's part of all hits.
	Share         float64 `json:"share"`
	ReceivedBytes int64   `json:"received_bytes"`
	// Latency counts from a hit's scheduled send time, FromSent from its actual one.
	Latency  Latency `json:"latency"`
	FromSent Latency `json:"latency_from_sent"`
}

// Latency holds quantiles of answered hits, in milliseconds.
type Latency struct {
	P50Ms float64 `json:"p50_ms"`
	P90Ms float64 `json:"p90_ms"`
	P99Ms float64 `json:"p99_ms"`
	// P999Ms is absent from records that are older than it.
	P999Ms float64 `json:"p999_ms,omitempty"`
	MaxMs  float64 `json:"max_ms"`
}

// ErrorGroup is one kind of error at one endpoint.
type ErrorGroup struct {
	// Kind is one of connect, timeout, protocol, status, decode, wrong, stale.
	Kind     string `json:"kind"`
	Endpoint string `json:"endpoint"`
	// Text is what the errors of the group have in common.
	Text  string `json:"text"`
	Count int64  `json:"count"`
	// Example is one of them in full, with the user and the time.
	Example string `json:"example,omitempty"`
}

// GeneratorRole is the load generator's name in Second.CoresByRole.
const GeneratorRole = "generator"

// Second is one second of the load phase.
type Second struct {
	// At is the second's beginning, counted from the start of the load.
	At     int     `json:"at_s"`
	Users  int     `json:"users"`
	Hits   int64   `json:"hits"`
	Errors int64   `json:"errors"`
	P50Ms  float64 `json:"p50_ms"`
	P99Ms  float64 `json:"p99_ms"`
	// CoresByRole is the CPU time of each role ("db", "db@s2") in that second, in cores, and that of GeneratorRole.
	CoresByRole map[string]float64 `json:"cores_by_role,omitempty"`
	// BusyByHost is the share of the host's CPU time that was not idle.
	BusyByHost map[string]float64 `json:"busy_by_host,omitempty"`
}

// RoleUsage is what one role on one host used during the load.
type RoleUsage struct {
	Role string `json:"role"`
	// Of is the role of a project that a process belongs to; "" for none, or for several.
	Of         string  `json:"of,omitempty"`
	Host       string  `json:"host"`
	CPUSeconds float64 `json:"cpu_s"`
	// MeanCores is CPUSeconds over the length of the load.
	MeanCores    float64 `json:"mean_cores"`
	PeakRSSBytes int64   `json:"peak_rss_bytes"`
}

// HostUsage is what one host as a whole went through during the load; ratios are of all its CPUs.
type HostUsage struct {
	Host        string  `json:"host"`
	CPUs        float64 `json:"cpus"`
	MemoryBytes int64   `json:"memory_bytes"`
	Busy        float64 `json:"busy"`
	IOWait      float64 `json:"iowait"`
	Steal       float64 `json:"steal"`
	// Foreign is the part of the CPU time that went to processes which are neither a role's nor the generator's.
	Foreign float64 `json:"foreign"`
}

// Noise is other disturbance of the round, on the machine of the load generator. The hosts have the CPU time of other processes and other
// virtual machines.
type Noise struct {
	// The load averages over a minute right before and after the load: tasks that ran or wanted to.
	LoadAverageBefore float64 `json:"load_average_before"`
	LoadAverageAfter  float64 `json:"load_average_after"`
	// SwapInBytes and SwapOutBytes went from and to swap during the load.
	SwapInBytes  int64 `json:"swap_in_bytes"`
	SwapOutBytes int64 `json:"swap_out_bytes"`
	// ThrottledSeconds is for how long a CPU limit kept the control group from running during the load.
	ThrottledSeconds float64 `json:"throttled_s"`
	// LowestMHz and HighestMHz are the extremes over the load of the CPUs' mean frequency; absent where it is not told.
	LowestMHz  float64 `json:"lowest_cpu_mhz,omitempty"`
	HighestMHz float64 `json:"highest_cpu_mhz,omitempty"`
}

// Generator is what the load generator itself cost.
type Generator struct {
	CPUSeconds float64 `json:"cpu_s"`
	// CPUSecondsPer1000Hits is the generator's price of a thousand hits.
	CPUSecondsPer1000Hits float64 `json:"cpu_s_per_1000_hits"`
	// OfSystem is CPUSeconds over the CPU seconds of all roles together; it may exceed 1.
	OfSystem     float64 `json:"of_system"`
	PeakRSSBytes int64   `json:"peak_rss_bytes"`
	// TimerDelayP99Ms is how late the generator's own timers fired: a delay that the system under test did not cause.
	TimerDelayP99Ms float64 `json:"timer_delay_p99_ms"`
	PeakUsers       int     `json:"peak_users"`
	// KneeUsers is the number of users when growth was last held back, KneeBy the kind of request and how many were slow; absent if never.
	KneeUsers int    `json:"knee_users,omitempty"`
	KneeBy    string `json:"knee_by,omitempty"`
	// Limits are sentences, each a reason why the generator may have limited the round; they are in the warnings, too.
	Limits []string `json:"limits,omitempty"`
}

// Bottleneck names the busiest resource.
type Bottleneck struct {
	// Resource is "cpu", "generator" or "none"; for a project also "memory", "files", "disk", "steal", "throttled", "connections",
	// "network".
	Resource string `json:"resource"`
	Host     string `json:"host,omitempty"`
	// Role is whose use of it was the largest; of an app that is not the reference app the name of its processes.
	Role string `json:"role,omitempty"`
	// Text says it in one sentence, with the figures that show it.
	Text string `json:"text"`
}

// Fact is a condition under which the round ran.
type Fact struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Artifact is a file that was kept with the round.
type Artifact struct {
	// Path is relative to the round's directory.
	Path      string `json:"path"`
	SizeBytes int64  `json:"size_bytes"`
	About     string `json:"about"`
}
