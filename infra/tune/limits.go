package tune

import (
	"context"
	"fmt"
	"path"
	"slices"
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
	host *seen
	c    LimitsConfig
}

func (l limits) product(ctx context.Context) (engine.Product, error) { return linux(ctx, l.host) }

// nofile is the key of the drop-in; keys of processes name the process: "LimitNOFILE of 812 since 991".
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
		p, err := l.ask(ctx, pid)
		if err != nil {
			return nil, err
		}
		if p.start != "" {
			keys = append(keys, fmt.Sprintf("%s of %d since %s", s.Key, pid, p.start))
		}
	}
	return keys, nil
}

// foresee implements asker.
func (l limits) foresee(ctx context.Context, _ []string) []host.Op {
	ops := []host.Op{unameOp, limitsOp(l.pids(ctx)...)}
	if l.c.DropIn != "" {
		ops = append(ops, host.Op{Get: l.c.DropIn})
	}
	return ops
}

// limitsOp tells about processes: a line for each with its pid, whether its limits may be changed ("may" or "not"), those of open files,
// and /proc/PID/stat; before them the capabilities of who asks.
func limitsOp(pids ...int) host.Op {
	var words []string
	for _, pid := range pids {
		words = append(words, strconv.Itoa(pid))
	}
	return host.Script(`sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status
for pid; do
	limits=$(sed -n 's/^Max open files *\([0-9a-z]*\) *\([0-9a-z]*\) .*/\1 \2/p' /proc/$pid/limits 2>/dev/null) || continue
	may=not
	prlimit --pid "$pid" --nofile >/dev/null 2>&1 && may=may
	echo "$pid $may $limits $(cat /proc/$pid/stat 2>/dev/null)"
done`, words...)
}

// process is what limitsOp tells about one; start is "" where there is none of the pid.
type process struct {
	start, soft, hard string
	may               bool // its limits be changed: root may not in some containers
	caps              string
}

// pids are the processes of the service, and those that a look is at.
func (l limits) pids(ctx context.Context) (pids []int) {
	if now, err := l.c.PIDs(ctx); err == nil {
		pids = slices.Clone(now)
	}
	for _, key := range l.host.keys {
		if pid, _ := processOf(key); pid > 0 && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// ask reads a process; 0 is none. Those of a service are read together.
func (l limits) ask(ctx context.Context, pid int) (process, error) {
	pids := l.pids(ctx)
	if pid > 0 && !slices.Contains(pids, pid) {
		pids = []int{pid}
	}
	return askProcess(ctx, l.host, pid, pids...)
}

func askProcess(ctx context.Context, h host.Host, pid int, pids ...int) (process, error) {
	out, err := host.Output(ctx, h, limitsOp(pids...).Run.Argv...)
	if err != nil {
		return process{}, err
	}
	return processIn(out, pid)
}

func processIn(out string, pid int) (p process, err error) {
	p.caps, out, _ = strings.Cut(out, "\n")
	for line := range strings.Lines(out) {
		head, stat, _ := strings.Cut(strings.TrimSpace(line), " (")
		f, rest := strings.Fields(head), strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
		if len(f) != 5 || f[0] != strconv.Itoa(pid) || len(rest) < 20 {
			continue // it has ended meanwhile
		}
		p.may, p.soft, p.hard, p.start = f[1] == "may", f[2], f[3], rest[19]
	}
	return p, nil
}

// startOf is when a process began, in the kernel's ticks; "" where there is none.
func startOf(ctx context.Context, h host.Host, pid int) (string, error) {
	p, err := askProcess(ctx, h, pid, pid)
	return p.start, err
}

// value skips processes whose limits not even root may change, for example in a container; otherwise it makes both limits the one number. A
// user who may not raise a hard limit raises the soft one up to it.
func (l limits) value(ctx context.Context, _ Setting, key keyed, text string) (string, error) {
	pid, _ := processOf(key.key)
	p, err := l.ask(ctx, pid)
	if err != nil {
		return "", err
	}
	if pid > 0 && l.c.DropIn != "" && !p.may {
		return "", exempt("limits of running processes may not be changed on this host: it gets them when its unit is started again")
	}
	_, hardText, ok := strings.Cut(key.current.Text, " ")
	hard, err := strconv.Atoi(hardText)
	wanted, err2 := strconv.Atoi(text)
	if !ok || err != nil || err2 != nil || hard >= wanted {
		return text + " " + text, nil
	}
	const sysResource = 24
	if bits, err := strconv.ParseUint(strings.TrimSpace(p.caps), 16, 64); err != nil || bits>>sysResource&1 == 1 {
		return text + " " + text, err
	}
	return hardText + " " + hardText, nil
}

func (l limits) slots(context.Context, Setting) ([]slot, error) {
	if l.c.DropIn == "" {
		return []slot{limitSlot{l}}, nil
	}
	return []slot{l.dropIn(), limitSlot{l}}, nil
}

func (l limits) slot(r *Record) slot {
	if r.Key == nofile {
		return l.dropIn()
	}
	return limitSlot{l}
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
		p, err := l.ask(ctx, pid)
		if err != nil {
			return "", err
		}
		// One that has ended since it was listed does not count, and one whose limits may not be changed waits for its next start.
		if n, err := strconv.Atoi(p.soft); err == nil && p.may && n < atLeast(want, p.hard) {
			return fmt.Sprintf("process %d has %s: it was started without the drop-in", pid, p.soft), nil
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

func (l limits) dropIn() dropInSlot {
	// A directory that is now empty was isukit's.
	reload := host.Script(`rmdir -- "$1" 2>/dev/null; systemctl daemon-reload`, path.Dir(l.c.DropIn))
	return dropInSlot{fileSlot{host: l.host, path: l.c.DropIn, format: dropInFormat{iniFormat{engine.Ini{Section: "Service"}}}, after: []host.Op{reload}}}
}

// dropInSlot is the service's next start.
type dropInSlot struct{ fileSlot }

func (dropInSlot) has(key string) bool { return key == nofile }

// dropInFormat has SOFT:HARD.
type dropInFormat struct{ ini iniFormat }

func (f dropInFormat) value(text, key string) (engine.Value, error) {
	v, err := f.ini.value(text, key)
	v.Text = strings.ReplaceAll(v.Text, ":", " ")
	return v, err
}

func (f dropInFormat) edited(text, key string, v engine.Value) (string, error) {
	v.Text = strings.ReplaceAll(v.Text, " ", ":")
	return f.ini.edited(text, key, v)
}

// limitSlot is a process that runs. Where there is a drop-in, that has the value for the one after it.
type limitSlot struct{ l limits }

func (limitSlot) layer() Layer { return RuntimeLayer }

func (limitSlot) file() string { return "" }

func (limitSlot) has(key string) bool { return key != nofile }

// processOf takes a key apart.
func processOf(key string) (pid int, start string) {
	_, rest, _ := strings.Cut(key, " of ")
	number, start, _ := strings.Cut(rest, " since ")
	pid, _ = strconv.Atoi(number) // 0 is never a process
	return pid, start
}

// read gives the soft and the hard limit.
func (s limitSlot) read(ctx context.Context, key string) (engine.Value, error) {
	pid, _ := processOf(key)
	p, err := s.l.ask(ctx, pid)
	if err != nil {
		return engine.Value{}, err
	}
	return s.of(p, key)
}

func (s limitSlot) of(p process, key string) (engine.Value, error) {
	pid, start := processOf(key)
	if p.start != start && s.l.c.DropIn != "" {
		return engine.Value{}, fmt.Errorf("process %d: %w", pid, errSucceeded)
	}
	if p.start != start {
		return engine.Value{}, fmt.Errorf("process %d: %w; what was started in its place has the limits of its start", pid, engine.ErrGone)
	}
	return engine.Value{Text: p.soft + " " + p.hard}, nil
}

// writes implements writer.
func (s limitSlot) writes(_ context.Context, list []assignment) (ops []host.Op, done func([]host.Answer) error, err error) {
	var pids []int
	for _, a := range list {
		pid, _ := processOf(a.key)
		pids = append(pids, pid)
		ops = append(ops, host.Op{Run: &host.Command{Argv: []string{"prlimit", "--pid", strconv.Itoa(pid), "--nofile=" + strings.ReplaceAll(a.to.Text, " ", ":")}}})
	}
	return append(ops, limitsOp(pids...)), func(answers []host.Answer) error {
		last := answers[len(list)]
		if err := last.Failed(); err != nil {
			return err
		}
		for i := range list {
			p, err := processIn(string(last.Stdout), pids[i])
			if err == nil {
				list[i].got, err = s.of(p, list[i].key)
			}
			if list[i].err = err; err == nil {
				list[i].err = answers[i].Failed()
			}
		}
		return nil
	}, nil
}
