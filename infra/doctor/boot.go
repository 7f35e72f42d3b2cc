package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// mitigations tells what of the processor's protections is off, and what /etc/default/grub says that is not in force.
func mitigations(o *Observed) []Finding {
	var found []Finding
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
		found = append(found, f)
	}
	return found
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

// othersCPURatio is the share of one CPU from which on a process that is nobody's warns.
const othersCPURatio = 0.2

// cpuOthers finds processes that eat CPU while nothing should: they take it from the round.
func cpuOthers(o *Observed) []Finding {
	var found []Finding
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
			found = append(found, f)
		}
	}
	return found
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
