package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"isukit/infra/host"
	"isukit/infra/host/cgroup"
	"isukit/infra/host/proc"
	"isukit/input"
)

type node struct {
	d      *Driver
	about  host.About
	holder int          // the process that keeps its namespaces; 0 for this process's own
	booted bool         // that is process 1 of a host with more namespaces than others
	group  cgroup.Group // none where nothing limits it
	env    []string     // what commands and services have of the environment
}

var _ host.Host = (*node)(nil)

func (d *Driver) node(s state, h hostRecord) (*node, error) {
	about, err := host.ThisMachine()
	if err != nil {
		return nil, err
	}
	name := h.Want.Name
	about.Name, about.Driver, about.Address, about.Dir = name, d.name, h.Address, d.hostDir(name)
	n := &node{d: d, about: about, holder: h.Holder.PID, env: environment()}
	if d.name != labName {
		return n, nil
	}
	n.about.Kernel = host.NamespaceKernel
	if !h.Holder.Alive() {
		return nil, fmt.Errorf("host %s: the process that keeps it is gone", name)
	}
	if s.host(name) == nil { // the switch or the generator
		n.about.Dir = d.ownDir(name)
		return n, nil
	}
	n.group = d.groupOf(s, name)
	if s.System != nil {
		n.booted, n.holder, n.about.Dir = true, h.firstProcess().PID, "/"
		if n.holder == 0 {
			return nil, fmt.Errorf("host %s: %w: it has not begun to boot", name, host.ErrUnreachable)
		}
	}
	if h.CPUs > 0 {
		n.about.CPUs = h.CPUs
	}
	n.about.Threads = len(h.On)
	if h.Want.MemoryBytes > 0 {
		n.about.MemoryBytes = min(n.about.MemoryBytes, h.Want.MemoryBytes)
	}
	return n, nil
}

// About implements host.Host.
func (n *node) About() host.About { return n.about }

// enterDir changes the directory and becomes the program.
const enterDir = `cd "$0" || exit 126; exec "$@"`

// inside is what runs a program in the host's namespaces, in a directory.
func (n *node) inside(dir string, argv []string) []string {
	if n.holder == 0 {
		return argv
	}
	prefix := []string{"nsenter", "--target", strconv.Itoa(n.holder), "--root", "--mount", "--net", "--uts"}
	if n.booted {
		prefix = append(prefix, "--pid", "--ipc", "--cgroup")
	}
	return append(append(prefix, "--", "sh", "-c", enterDir, dir), argv...)
}

// workDir is where a program, and the waiting shell, start: the host's directory may not exist on the machine.
func (n *node) workDir(dir string) (program, shell string) {
	if dir == "" {
		dir = n.about.Dir
	}
	if n.holder == 0 {
		return dir, dir
	}
	return dir, n.d.dir
}

// Run implements host.Host.
func (n *node) Run(ctx context.Context, cmd host.Command) (host.Result, error) {
	out, errOut := host.Limited{Limit: host.MaxOutputBytes}, host.Limited{Limit: host.MaxOutputBytes}
	code, err := n.run(ctx, cmd, nil, &out, &errOut, 5*time.Second) // a busy machine reads late what the command has said
	if err != nil {
		return host.Result{}, err
	}
	return host.Result{Code: code, Stdout: out.Data, Stderr: errOut.Data}, nil
}

// Pipe implements host.Host.
func (n *node) Pipe(ctx context.Context, cmd host.Command, in io.Reader, out io.Writer) error {
	errOut := host.Limited{Limit: host.MaxOutputBytes}
	code, err := n.run(ctx, cmd, in, out, &errOut, 0)
	if err == nil && code != 0 {
		err = fmt.Errorf("run %s on %s: exit status %d: %s", filepath.Base(cmd.Argv[0]), n.about.Name, code, strings.TrimSpace(string(errOut.Data)))
	}
	return err
}

func (n *node) run(ctx context.Context, cmd host.Command, in io.Reader, out, errOut io.Writer, patience time.Duration) (code int, err error) {
	name := filepath.Base(cmd.Argv[0])
	defer func() {
		if err != nil {
			err = fmt.Errorf("run %s on %s: %w", name, n.about.Name, err)
		}
	}()
	if err := ctx.Err(); err != nil {
		return 0, context.Cause(ctx)
	}
	program, err := n.find(cmd.Argv[0])
	if err != nil {
		return 0, err
	}
	log, err := n.d.commandLog()
	if err != nil {
		return 0, err
	}
	if in == nil {
		in = bytes.NewReader(cmd.Stdin)
	}
	dir, shellDir := n.workDir(cmd.Dir)
	argv := n.inside(dir, append([]string{program}, cmd.Argv[1:]...))
	p, err := launch{
		argv: append([]string{"/bin/sh", "-c", gate, name}, argv...), env: slices.Concat(n.env, cmd.Env), dir: shellDir,
		stdin: in, stdout: out, stderr: errOut, patience: patience,
		record: n.recorded(log, name),
	}.start()
	if err != nil {
		return 0, err
	}
	select {
	case <-p.done:
		return p.code(), nil
	case <-ctx.Done():
		_, err := proc.EndGroup(context.WithoutCancel(ctx), name, p.ID, n.about.Dir)
		<-p.done
		return 0, errors.Join(context.Cause(ctx), err)
	}
}

func (n *node) find(program string) (path string, err error) {
	err = inMount(n.holder, func() (err error) {
		path, err = exec.LookPath(program)
		return err
	})
	return path, err
}

// recorded puts a command of the host on record and into its control group.
func (n *node) recorded(log *commandLog, name string) func(proc.ID) error {
	return func(id proc.ID) error {
		err := log.add(name, id)
		if n.group.None() || err != nil {
			return err
		}
		g := n.group.Leaf("run")
		if err := g.Make(); err != nil {
			return err
		}
		return g.Add(id.PID)
	}
}

func (d *Driver) commandLog() (*commandLog, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.commands != nil {
		return d.commands, nil
	}
	log, err := openCommandLog(filepath.Join(d.dir, ".driver"), d.self)
	if err != nil {
		return nil, fmt.Errorf("record commands: %w", err)
	}
	d.commands = log
	return log, nil
}

// Put implements host.Host.
func (n *node) Put(_ context.Context, path string, data []byte, mode fs.FileMode) error {
	err := inMount(n.holder, func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if mode&0o111 != 0 { // a child that is forked meanwhile has the file open for writing: running it fails with "Text file busy"
			syscall.ForkLock.RLock()
			defer syscall.ForkLock.RUnlock()
		}
		return renameio.WriteFile(path, data, mode, renameio.IgnoreUmask(), renameio.WithTempDir(filepath.Dir(path)))
	})
	return n.fileError("put "+path, err)
}

// Get implements host.Host.
func (n *node) Get(_ context.Context, path string) (data []byte, err error) {
	err = inMount(n.holder, func() error {
		data, err = input.Read(path, host.MaxFileBytes)
		return err
	})
	if long := (*input.TooLongError)(nil); errors.As(err, &long) {
		err = fmt.Errorf("%w: %w", host.ErrTooLarge, err)
	}
	if err != nil {
		return nil, n.fileError("get "+path, err)
	}
	return data, nil
}

// Remove implements host.Host.
func (n *node) Remove(_ context.Context, path string) error {
	return n.fileError("remove "+path, inMount(n.holder, func() error { return os.RemoveAll(path) }))
}

func (n *node) fileError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &host.Fault{Host: n.about.Name, Err: fmt.Errorf("%s: %w: %w", what, host.ErrDiskFull, err), Hint: "make room on the disk (df -h shows which one is full)"}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Used implements host.Host.
func (n *node) Used(context.Context) (host.Used, error) {
	list, err := n.services()
	if err != nil {
		return host.Used{}, err
	}
	groups := map[string]int{}
	for _, r := range list {
		if r.ID.Alive() {
			groups[r.Name] = r.ID.PID
		}
	}
	used, err := host.UsedHere(groups)
	if err != nil || n.group.None() {
		return used, err
	}
	return n.usedOfGroup(used)
}

// usedOfGroup replaces the machine's usage by the host's, whose maximum is what its CPUs could do since the machine's start.
func (n *node) usedOfGroup(used host.Used) (host.Used, error) {
	fail := func(err error) (host.Used, error) {
		return host.Used{}, fmt.Errorf("read the usage of host %s: %w", n.about.Name, err)
	}
	uptime, err := uptime()
	if err != nil {
		return fail(err)
	}
	busy, err := n.group.CPU()
	if err != nil {
		return fail(err)
	}
	used.MachineUsage = host.MachineUsage{Total: time.Duration(float64(uptime) * n.about.CPUs), Busy: busy}
	if used.MemoryBytes, err = n.group.MemoryBytes(); err != nil {
		return fail(err)
	}
	for name, u := range used.Services {
		if u.CPU, err = n.group.Leaf(leafOf(name)).CPU(); err != nil {
			return fail(err)
		}
		used.Services[name] = u
	}
	return used, nil
}

func uptime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), " ")
	return time.ParseDuration(first + "s")
}
