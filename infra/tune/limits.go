package tune

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"isukit/infra/engine"
	"isukit/infra/host"
)

// LimitsConfig tells whose limits are written.
type LimitsConfig struct {
	// PIDs are the processes of one service; a raised limit is inherited by those that they start later.
	PIDs func(context.Context) ([]int, error)
	// DropIn is the service's systemd drop-in, for its next start; "" where systemd does not run it.
	DropIn string
}

// NewLimits is the target for tunings of kind limits.
func NewLimits(p Place, c LimitsConfig) *Target {
	return p.target(Limits, func(h *seen) server {
		c.PIDs = once(h, "pids", c.PIDs)
		return limits{host: h, c: c}
	})
}

type limits struct {
	plain
	host host.Host
	c    LimitsConfig
}

func (l limits) product(ctx context.Context) (engine.Product, error) { return linux(ctx, l.host) }

// nofile is the key of the drop-in; those of processes tell which: "LimitNOFILE of 812 since 991".
const nofile = "LimitNOFILE"

func (l limits) refuse(ctx context.Context, s Setting) (string, error) {
	if s.Key != nofile {
		return "isukit knows " + nofile + " only", nil
	}
	pids, err := l.c.PIDs(ctx)
	if err == nil && len(pids) == 0 && l.c.DropIn == "" {
		return "no process of it runs", nil
	}
	return "", err
}

// expand names each process by its pid and start, since pids are used again.
func (l limits) expand(ctx context.Context, s Setting) ([]string, error) {
	pids, err := l.c.PIDs(ctx)
	if err != nil {
		return nil, err
	}
	var keys []string
	if l.c.DropIn != "" {
		keys = append(keys, s.Key)
	}
	for _, pid := range pids {
		start, err := startOf(ctx, l.host, pid)
		if err != nil {
			return nil, err
		}
		if start != "" {
			keys = append(keys, fmt.Sprintf("%s of %d since %s", s.Key, pid, start))
		}
	}
	return keys, nil
}

// startOf is field 22 of /proc/PID/stat; "" where there is no such process.
func startOf(ctx context.Context, h host.Host, pid int) (string, error) {
	res, err := h.Run(ctx, host.Command{Argv: []string{"cat", fmt.Sprintf("/proc/%d/stat", pid)}})
	if err != nil || res.Code != 0 {
		return "", err
	}
	text := string(res.Stdout)
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 20 {
		return "", fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	return f[19], nil
}

// value leaves processes alone whose limits root may not change either, as in a container; else it makes both limits of the one number. Who may not raise a hard limit raises the soft one up to it.
func (l limits) value(ctx context.Context, _ Setting, key keyed, text string) (string, error) {
	if pid, _ := processOf(key.key); pid > 0 && l.c.DropIn != "" {
		may, err := l.mayChange(ctx, pid)
		if err == nil && !may {
			err = exempt("limits of running processes may not be changed on this host: it gets them when its unit is started again")
		}
		if err != nil {
			return "", err
		}
	}
	_, hardText, ok := strings.Cut(key.current.Text, " ")
	hard, err := strconv.Atoi(hardText)
	wanted, err2 := strconv.Atoi(text)
	if !ok || err != nil || err2 != nil || hard >= wanted {
		return text + " " + text, nil
	}
	caps, err := host.Output(ctx, l.host, "sed", "-n", "s/^CapEff:[[:space:]]*//p", "/proc/self/status")
	if err != nil {
		return "", err
	}
	const sysResource = 24
	if bits, err := strconv.ParseUint(strings.TrimSpace(caps), 16, 64); err != nil || bits>>sysResource&1 == 1 {
		return text + " " + text, err
	}
	return hardText + " " + hardText, nil
}

// mayChange reports whether the limits of a running process may be changed at all: root may not in some containers.
func (l limits) mayChange(ctx context.Context, pid int) (bool, error) {
	res, err := l.host.Run(ctx, host.Command{Argv: []string{"prlimit", "--pid", strconv.Itoa(pid), "--nofile"}})
	return res.Code == 0, err
}

func (l limits) slots(context.Context, Setting) ([]slot, error) {
	if l.c.DropIn == "" {
		return []slot{limitSlot{host: l.host}}, nil
	}
	return []slot{dropInSlot{l.dropIn()}, limitSlot{l.host, true}}, nil
}

func (l limits) slot(r *Record) slot {
	if r.Key == nofile {
		return dropInSlot{l.dropIn()}
	}
	return limitSlot{l.host, l.c.DropIn != ""}
}

// check of the drop-in looks at the processes that run by now: those of before a restart have gone with their records' keys.
func (l limits) check(ctx context.Context, r *Record) (string, error) {
	if r.Key != nofile || r.current().Absent {
		return "", nil
	}
	pids, err := l.c.PIDs(ctx)
	if err != nil {
		return "", err
	}
	want, _, _ := strings.Cut(r.current().Text, " ")
	for _, pid := range pids {
		soft, hard, err := openFiles(ctx, l.host, pid)
		if start, startErr := startOf(ctx, l.host, pid); startErr == nil && start == "" {
			continue // ended since it was listed
		}
		if err != nil {
			return "", err
		}
		if n, err := strconv.Atoi(soft); err == nil && n < atLeast(want, hard) {
			// Where its limits may not be changed it waits for its next start, as apply said.
			if may, err := l.mayChange(ctx, pid); err != nil || !may {
				continue
			}
			return fmt.Sprintf("process %d has %s: it was started without the drop-in", pid, soft), nil
		}
	}
	return "", nil
}

// atLeast is what a limit must be at least: what is wanted, or the hard limit where that may not be raised.
func atLeast(wanted, hard string) int {
	n, _ := strconv.Atoi(wanted)
	if most, err := strconv.Atoi(hard); err == nil {
		n = min(n, most)
	}
	return n
}

func (l limits) dropIn() iniSlot {
	return iniSlot{host: l.host, path: l.c.DropIn, ini: engine.Ini{Section: "Service"}}
}

// dropInSlot is the service's next start.
type dropInSlot struct{ iniSlot }

func (dropInSlot) has(key string) bool { return key == nofile }

func (s dropInSlot) read(ctx context.Context, key string) (engine.Value, error) {
	v, err := s.iniSlot.read(ctx, key)
	v.Text = strings.ReplaceAll(v.Text, ":", " ")
	return v, err
}

func (s dropInSlot) write(ctx context.Context, key string, v engine.Value) error {
	v.Text = strings.ReplaceAll(v.Text, " ", ":")
	if err := s.iniSlot.write(ctx, key, v); err != nil {
		return err
	}
	_, err := host.Output(ctx, s.host, "sh", "-c", `rmdir -- "$1" 2>/dev/null; systemctl daemon-reload`, "sh", path.Dir(s.path)) // an empty directory was isukit's
	return err
}

// limitSlot is a process that runs; kept tells that a drop-in has the value for the one after it.
type limitSlot struct {
	host host.Host
	kept bool
}

func (limitSlot) layer() Layer { return RuntimeLayer }

func (limitSlot) file() string { return "" }

func (limitSlot) has(key string) bool { return key != nofile }

// processOf takes a key apart.
func processOf(key string) (pid int, start string) {
	_, rest, _ := strings.Cut(key, " of ")
	number, start, _ := strings.Cut(rest, " since ")
	pid, _ = strconv.Atoi(number) // 0 is no process's
	return pid, start
}

// read gives the soft and the hard limit.
func (s limitSlot) read(ctx context.Context, key string) (engine.Value, error) {
	pid, start := processOf(key)
	now, err := startOf(ctx, s.host, pid)
	if err != nil {
		return engine.Value{}, err
	}
	if now != start && s.kept {
		return engine.Value{}, fmt.Errorf("process %d: %w", pid, errSucceeded)
	}
	if now != start {
		return engine.Value{}, fmt.Errorf("process %d: %w; what was started in its place has the limits of its start", pid, engine.ErrGone)
	}
	soft, hard, err := openFiles(ctx, s.host, pid)
	return engine.Value{Text: soft + " " + hard}, err
}

// openFiles are the limits of a process.
func openFiles(ctx context.Context, h host.Host, pid int) (soft, hard string, err error) {
	out, err := host.Output(ctx, h, "sed", "-n", `s/^Max open files *\([0-9a-z]*\) *\([0-9a-z]*\) .*/\1 \2/p`, fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return "", "", err
	}
	f := strings.Fields(out)
	if len(f) != 2 {
		return "", "", fmt.Errorf("/proc/%d/limits says %q", pid, out)
	}
	return f[0], f[1], nil
}

func (s limitSlot) write(ctx context.Context, key string, v engine.Value) error {
	pid, _ := processOf(key)
	_, err := host.Output(ctx, s.host, "prlimit", "--pid", strconv.Itoa(pid), "--nofile="+strings.ReplaceAll(v.Text, " ", ":"))
	return err
}
