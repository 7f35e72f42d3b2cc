package result

import "time"

// Benchmark is a benchmark that is not isukit's, and how it ran. Secrets in it are masked.
type Benchmark struct {
	// Command is what was run; "" says that the benchmark was started elsewhere.
	Command string `json:"command,omitempty"`
	// Exit is its exit status.
	Exit int `json:"exit"`
	// Ending is why isukit stopped it; "" if it exited.
	Ending string `json:"ending,omitempty"`
	// ScoreFrom is the source of the score: "command", "given" or "none".
	ScoreFrom string `json:"score_from"`
	// Began and Ended are the window that everything else was measured in.
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	// Messages are what it had to say.
	Messages []string `json:"messages,omitempty"`
}

// HostSeries is what one host did, second by second.
type HostSeries struct {
	Host string `json:"host"`
	// ClockAheadMs is by how much the host's clock was ahead of that of isukit.
	ClockAheadMs float64      `json:"clock_ahead_ms"`
	Seconds      []HostSecond `json:"seconds"`
	// Over the whole window.
	OOMKills         int64          `json:"oom_kills,omitempty"`
	ThrottledSeconds float64        `json:"throttled_s,omitempty"`
	Retransmitted    int64          `json:"retransmitted,omitempty"`
	ListenOverflows  int64          `json:"listen_overflows,omitempty"`
	Processes        []ProcessUsage `json:"processes"`
}

// HostSecond is one second of a host; ratios are of all its CPUs.
type HostSecond struct {
	// At counts from the window's beginning; samples before it are below zero.
	At           float64 `json:"at_s"`
	User         float64 `json:"user"`
	System       float64 `json:"system"`
	IOWait       float64 `json:"iowait"`
	Steal        float64 `json:"steal"`
	MemoryBytes  int64   `json:"memory_bytes"`
	SwapBytes    int64   `json:"swap_bytes,omitempty"`
	DiskRead     float64 `json:"disk_read_bytes_per_second"`
	DiskWritten  float64 `json:"disk_written_bytes_per_second"`
	DiskBusy     float64 `json:"disk_busy"`
	NetReceived  float64 `json:"net_received_bytes_per_second"`
	NetSent      float64 `json:"net_sent_bytes_per_second"`
	Connections  int64   `json:"connections"`
	TimeWait     int64   `json:"time_wait"`
	Throttled    float64 `json:"throttled,omitempty"`
	Retransmits  float64 `json:"retransmits_per_second,omitempty"`
	OpenFiles    int64   `json:"open_files"`
	MajorFaults  float64 `json:"major_faults_per_second,omitempty"`
	NetDroppings float64 `json:"net_dropped_per_second,omitempty"`
}

// ProcessUsage is what the processes of one name on a host used in the window.
type ProcessUsage struct {
	Name         string  `json:"name"`
	CPUSeconds   float64 `json:"cpu_s"`
	PeakRSSBytes int64   `json:"peak_rss_bytes"`
	Count        int     `json:"count"`
	// OpenFiles and FileLimit are those of the process that came nearest to its limit; absent if unknown.
	OpenFiles int64 `json:"open_files,omitempty"`
	FileLimit int64 `json:"file_limit,omitempty"`
}

// Profile is where time or memory went, by call stack.
type Profile struct {
	Host string `json:"host"`
	// Name is "cpu of http://localhost:6060", "perf".
	Name string `json:"name"`
	// Unit is "nanoseconds", "bytes", "count", "samples".
	Unit  string `json:"unit"`
	Total int64  `json:"total"`
	// Frames are the boxes of its flame graph, from the root upwards; those below a five-hundredth of the total are left out.
	Frames []Frame `json:"frames"`
}

// Frame is one box of a flame graph.
type Frame struct {
	Name string `json:"name"`
	// Depth counts from 0, the root.
	Depth int `json:"depth"`
	// From is the part of the total left of it, Value its width with all calls, Self without; in the profile's unit.
	From  int64 `json:"from"`
	Value int64 `json:"value"`
	Self  int64 `json:"self"`
}

// Settings are what one source of one host says that is in effect.
type Settings struct {
	Host string `json:"host"`
	// Source is "sysctl", "variables of mysql", "nginx -T", "unit nginx.service", "versions".
	Source string            `json:"source"`
	Values map[string]string `json:"values"`
}
