package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// servers are programs whose limits matter, besides what isukit itself has started.
var servers = []string{"nginx", "envoy", "mysqld", "mariadbd", "isukit-app"}

func isServer(p Process) bool {
	return p.Role != "" || slices.Contains(servers, p.Name) || p.Unit != ""
}

// fileLimitRatio is the share of the limit from which on it warns.
const fileLimitRatio = 0.8

// NearLimit tells whether open files come near to their limit.
func NearLimit(open, limit int64) bool {
	return limit > 0 && float64(open) >= fileLimitRatio*float64(limit)
}

func fileLimits(o *Observed, add func(Finding)) {
	for _, h := range o.Hosts {
		for _, p := range h.Processes {
			if !isServer(p) || !NearLimit(p.OpenFiles, p.SoftLimit) {
				continue
			}
			f := Finding{Severity: Warn, Host: h.Name, Subject: p.String(), Fix: raiseFiles(p)}
			f.Seen = fmt.Sprintf("%d files open of at most %d (%d %%)", p.OpenFiles, p.SoftLimit, 100*p.OpenFiles/p.SoftLimit)
			if p.OpenFiles >= p.SoftLimit-1 {
				f.Severity = Crit
			}
			if p.Name == "envoy" {
				f.Severity = Crit
				f.Seen += "; Envoy aborts at the limit, by design"
			}
			add(f)
		}
	}
}

// raiseFiles is the command that raises a process's limit, now and where systemd starts it.
func raiseFiles(p Process) string {
	want := max(65536, 4*p.SoftLimit)
	if p.Unit != "" {
		return fmt.Sprintf("mkdir -p /etc/systemd/system/%[1]s.d && printf '[Service]\\nLimitNOFILE=%[2]d\\n' > /etc/systemd/system/%[1]s.d/limits.conf && "+
			"systemctl daemon-reload && systemctl restart %[1]s   # systemd does not read limits.conf", p.Unit, want)
	}
	if p.PID == 0 {
		return fmt.Sprintf("start %s with ulimit -n %d", p.Name, want)
	}
	if p.Name == "nginx" {
		return fmt.Sprintf("prlimit --pid %d --nofile=%d   # and worker_rlimit_nofile %d; in nginx.conf", p.PID, want, want)
	}
	return fmt.Sprintf("prlimit --pid %d --nofile=%d   # until it restarts; start it with ulimit -n %d", p.PID, want, want)
}

// A disk is nearly full when little is left of it, both by share and in bytes: a tenth of a large disk is much.
const (
	fullWarnRatio, fullCritRatio = 0.90, 0.97
	fullWarnBytes, fullCritBytes = 5 << 30, 1 << 30
)

func diskFull(o *Observed, add func(Finding)) {
	for _, h := range o.Hosts {
		for _, d := range h.Disks {
			f := Finding{Severity: Warn, Host: h.Name, Subject: d.Mount, Fix: fmt.Sprintf("du -xh --max-depth=3 %s | sort -h | tail   # old logs, binlogs (PURGE BINARY LOGS) and captures first", d.Mount)}
			usable := d.UsedBytes + d.AvailableBytes
			if usable > 0 && float64(d.UsedBytes) >= fullWarnRatio*float64(usable) && d.AvailableBytes < fullWarnBytes {
				f.Seen = fmt.Sprintf("%s left of %s (%.0f %% full)", bytesText(d.AvailableBytes), bytesText(usable), 100*float64(d.UsedBytes)/float64(usable))
				if float64(d.UsedBytes) >= fullCritRatio*float64(usable) && d.AvailableBytes < fullCritBytes {
					f.Severity = Crit
				}
				add(f)
			}
			if d.Inodes > 0 && float64(d.InodesUsed) >= fullWarnRatio*float64(d.Inodes) {
				f.Seen = fmt.Sprintf("%d of %d inodes used: no more files can be made soon, however many bytes are free", d.InodesUsed, d.Inodes)
				f.Fix = fmt.Sprintf("find %s -xdev -type f -printf '%%h\\n' | sort | uniq -c | sort -n | tail", d.Mount)
				add(f)
			}
		}
	}
}

// swapRatio is the share of the host's memory from which on used swap warns, even when it lies still.
const swapRatio = 0.1

// swapNote is how much used swap is worth a word: a kernel puts away a little that nobody needs.
const swapNote = 64 << 20

func swapInUse(o *Observed, add func(Finding)) {
	for _, h := range o.Hosts {
		f := Finding{Severity: Note, Host: h.Name, Fix: "ps -eo rss,comm --sort=-rss | head   # give the largest less memory; then: swapoff -a && swapon -a"}
		f.Seen = fmt.Sprintf("%s of swap in use", bytesText(h.SwapUsed))
		moved := h.SwapIn + h.SwapOut
		switch {
		case moved > 0:
			f.Severity = Warn
			f.Seen += fmt.Sprintf(", %d pages in and %d out within %.1f s: what is used does not fit into memory", h.SwapIn, h.SwapOut, h.Over.Seconds())
		case h.MemoryBytes > 0 && float64(h.SwapUsed) >= swapRatio*float64(h.MemoryBytes):
			f.Severity = Warn
			f.Seen += fmt.Sprintf(" (the host has %s of memory)", bytesText(h.MemoryBytes))
		case h.SwapUsed < swapNote:
			continue
		}
		add(f)
	}
}

func bytesText(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/float64(u.size)), ".0") + " " + u.name
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// mitigations lists protections of the processor that are off, and options of /etc/default/grub that are not in effect.
func mitigations(o *Observed, add func(Finding)) {
	for _, h := range o.Hosts {
		running, configured := mitigationsOf(h.Boot.Cmdline), mitigationsOf(h.Boot.Configured)
		f := Finding{Severity: Note, Host: h.Name, Subject: "kernel"}
		switch {
		case configured != "" && configured != running:
			now := running
			if now == "" {
				now = "mitigations=auto (the default)"
			}
			f.Severity = Warn
			f.Seen = fmt.Sprintf("/etc/default/grub says %s, the running kernel has %s: it is not in force", configured, now)
			f.Fix = "update-grub && reboot   # not grub-install; a host that does not come back costs the day"
		case running == "mitigations=off":
			f.Seen = "the kernel runs with mitigations=off"
			if len(h.Boot.Vulnerable) > 0 {
				f.Seen += ": vulnerable to " + strings.Join(h.Boot.Vulnerable, ", ")
			}
			f.Fix = "see whether the contest's rules allow it; without it: remove it from GRUB_CMDLINE_LINUX, update-grub, reboot"
		default:
			continue
		}
		add(f)
	}
}

// mitigationsOf is the last argument of that name, as the kernel takes it.
func mitigationsOf(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '"' || r == '\'' || r == '\n' })
	for _, w := range slices.Backward(words) {
		if i := strings.Index(w, "mitigations="); i >= 0 && (i == 0 || strings.HasPrefix(w, "GRUB_CMDLINE_LINUX")) {
			return w[i:]
		}
	}
	return ""
}

// othersCPURatio is the share of one CPU above which a process without a role is a warning.
const othersCPURatio = 0.2

// cpuOthers finds processes that eat CPU while nothing should: they take it from the round.
func cpuOthers(o *Observed, add func(Finding)) {
	for _, h := range o.Hosts {
		for _, p := range h.Busy() {
			f := Finding{Severity: Warn, Host: h.Name, Subject: p.String()}
			f.Seen = fmt.Sprintf("uses %.0f %% of a CPU and belongs to no server that isukit knows", 100*p.CPU.Seconds()/h.Over.Seconds())
			on := ""
			if h.Far {
				on = " --host " + h.Name
			}
			f.Fix = fmt.Sprintf("isukit doctor stop %d%s   # paused, and recorded: isukit doctor start%[2]s, or tune revert --all, lets it go on", p.PID, on)
			if p.PID == 0 {
				f.Fix = "isukit doctor --only cpu-others   # while it is so: it names them"
			}
			if p.Unit != "" {
				f.Fix = fmt.Sprintf("isukit doctor stop %s%s   # recorded: isukit doctor start%[2]s, or tune revert --all, starts it again", p.Unit, on)
			}
			add(f)
		}
	}
}

// Busy are the processes that eat CPU and are neither a server's nor isukit's.
func (h Host) Busy() []Process {
	var list []Process
	for _, p := range h.Processes {
		if h.Over > 0 && p.Role == "" && !slices.Contains(servers, p.Name) && p.Name != "isukit" && p.PID != 1 &&
			!strings.HasPrefix(p.Name, "kworker") && p.CPU.Seconds() >= othersCPURatio*h.Over.Seconds() {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b Process) int { return int(b.CPU - a.CPU) })
	return list
}
