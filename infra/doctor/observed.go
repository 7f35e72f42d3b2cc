package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"isukit/infra/engine"
	"isukit/infra/host"
)

// Observed is all that checks look at. What was not observed is its zero value, and no check finds anything in it.
type Observed struct {
	Hosts []Host
	Paths []Path
	// Statements are of query digests.
	Statements []Statement
	// Routes are what a proxy's cache did, as its log tells.
	Routes []CachedRoute
	// Files are those that were given to be looked at.
	Files []File
}

// Host is a host as observed at one moment, and over the short time around it.
type Host struct {
	Name    string
	Address string
	// Far tells that it is not the machine that isukit runs on.
	Far bool
	// MemoryBytes is what the host may use, MemTotal what its /proc/meminfo says.
	MemoryBytes, MemTotal int64
	SwapUsed              int64 // bytes
	// SwapIn and SwapOut are pages that moved while it was looked at.
	SwapIn, SwapOut int64
	// Over is for how long it was looked at.
	Over      time.Duration
	Processes []Process
	Links     []Link
	Disks     []Disk
	// ClockAhead is by how much its clock is ahead of this machine's, ClockDoubt how far off that may be.
	ClockAhead, ClockDoubt time.Duration
	Boot                   Boot
	// HeaderErrors and ChecksumErrors are packets that came with a bad IP header while it was looked at.
	HeaderErrors, ChecksumErrors int64
	// EgressPrograms are the BPF programs on what its links send, as tc lists them: "eth0: filter ...".
	EgressPrograms []string
	AppArmor       bool // the kernel has it switched on
	Databases      []Database
	Proxies        []Nginx
}

// Process is one process of a host.
type Process struct {
	PID  int
	Name string // as the kernel knows it, at most 15 bytes
	// Role is the name of the instance that it belongs to; "" where it is none's.
	Role string
	// Unit is the systemd unit that it belongs to; "" where it is none's.
	Unit string
	UID  int
	GIDs []int
	// OpenFiles is how many it has, or its peak; -1 where that cannot be seen. SoftLimit and HardLimit are how many it may have.
	OpenFiles, SoftLimit, HardLimit int64
	// CPU is what it used while it was looked at.
	CPU time.Duration
	// MemoryLimit is that of its control groups, the smallest; 0 where there is none.
	MemoryLimit int64
	Argv        []string
	// Profile is the AppArmor profile that confines it; "" for none. Rules are the profile's lines.
	Profile string
	Rules   []string
	// ProtectHome is systemd's setting of its unit.
	ProtectHome string
	Dir         string // its working directory
	parent      int
	mine        bool // it is of this host, not of another one on the same machine
}

// String names the process as findings do.
func (p Process) String() string {
	name := p.Name
	if p.Role != "" && p.Role != p.Name {
		name = p.Role + ", " + p.Name
	}
	if p.PID == 0 {
		return name
	}
	return fmt.Sprintf("%s (pid %d)", name, p.PID)
}

// Link is a network interface of a host.
type Link struct {
	Name      string
	MTU       int // bytes
	Up        bool
	Addresses []string
}

// Disk is a file system of a host.
type Disk struct {
	Mount                string
	SizeBytes, UsedBytes int64
	AvailableBytes       int64
	Inodes, InodesUsed   int64 // 0 where the file system does not count them
}

// Boot is how a host's kernel was started, and how it would be.
type Boot struct {
	// Cmdline is the running kernel's, Configured what /etc/default/grub says.
	Cmdline, Configured string
	// Vulnerable are the processor's faults that are not mitigated.
	Vulnerable []string
}

// Statement is one statement as a database counted it.
type Statement struct {
	Host string
	// Text is its fingerprint, or an example with its values where Example is true.
	Text    string
	Example bool
	Count   int64
	// Errors and Warnings are how many of them ended so; -1 where that is not known.
	Errors, Warnings int64
}

// File is a file that was given, such as a source or a manifest.
type File struct {
	Path string
	Text []byte
}

// CachedRoute is how often a cache had an answer for a route, by what nginx calls it: HIT, MISS, BYPASS, ...
type CachedRoute struct {
	Name   string
	Counts map[string]int64
}

const maxProfileFiles = 60

// LookAtProfile reads the lines of the AppArmor profile that confines a process, those that it includes among them. root is ""
// but in tests.
func LookAtProfile(ctx context.Context, at host.Host, root string, p Process) ([]string, error) {
	name, _, _ := strings.Cut(p.Profile, " ")
	if name == "" {
		return nil, nil
	}
	dir := root + "/etc/apparmor.d/"
	next := []string{dir + strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", ".")}
	var seen, rules []string
	for len(next) > 0 && len(seen) < maxProfileFiles {
		files, err := engine.ReadFiles(ctx, at, next)
		if err != nil {
			return nil, fmt.Errorf("read the profile of %s: %w", p, err)
		}
		seen, next = append(seen, next...), nil
		for _, f := range files {
			for line := range strings.Lines(f.Text) {
				rules = append(rules, strings.TrimRight(line, "\n"))
				open, end := strings.IndexByte(line, '<'), strings.IndexByte(line, '>')
				if strings.HasPrefix(strings.TrimLeft(line, " \t#"), "include") && open >= 0 && end > open {
					if file := dir + line[open+1:end]; !slices.Contains(seen, file) && !slices.Contains(next, file) {
						next = append(next, file)
					}
				}
			}
		}
	}
	return rules, nil
}
