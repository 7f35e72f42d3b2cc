package machine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"isukit"
	"isukit/infra/host"
	"isukit/infra/host/cgroup"
	"isukit/infra/host/proc"
)

// labPossible says why this machine cannot play a lab, if it cannot.
func labPossible() error {
	unsupported := func(hint, format string, args ...any) error {
		return &host.Fault{Err: fmt.Errorf("driver lab: %w: "+format, append([]any{host.ErrUnsupported}, args...)...), Hint: hint}
	}
	if runtime.GOOS != "linux" {
		return unsupported("use it on a machine with Linux; from here, --driver ssh places a topology on real hosts", "hosts are network namespaces and control groups, which only Linux has")
	}
	if os.Geteuid() != 0 {
		return unsupported("run it as root (sudo isukit ...), or use --driver local", "network namespaces and control groups need root")
	}
	for program, from := range map[string]string{"ip": "iproute2", "tc": "iproute2", "nsenter": "util-linux", "mount": "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			return unsupported("install "+from+" (make setup-test), or use --driver local", "%s not found", program)
		}
	}
	if inChroot() {
		return unsupported("run it in a container (e.g. systemd-nspawn -D DIR), or use --driver local",
			"this is a chroot, and who enters a mount namespace leaves it")
	}
	return nil
}

// inChroot tells whether the root directory is another one than that of the mount namespace, which is where nsenter ends up.
func inChroot() bool {
	here, err := exec.Command("stat", "-c", "%d %i", "/").Output()
	if err != nil {
		return false
	}
	there, err := exec.Command("nsenter", "--mount=/proc/self/ns/mnt", "stat", "-c", "%d %i", "/").Output()
	return err == nil && string(there) != string(here)
}

// group is the control group of the whole lab; those of its hosts are below it.
func (d *Driver) groupOf(s state, name string) cgroup.Group {
	return d.treeOf(s).Host("isukit-" + s.ID + "/" + name)
}

// treeOf is where the lab's groups are: hosts that boot systemd need them in every hierarchy.
func (d *Driver) treeOf(s state) cgroup.Tree {
	if s.System != nil {
		return d.whole
	}
	return d.tree
}

// makeLab makes the switch, the generator and new hosts; all hosts get the recorded CPUs, memory, link and names.
func (d *Driver) makeLab(ctx context.Context, made []string) error {
	if err := d.makeFixtures(ctx); err != nil {
		return err
	}
	s, err := d.store.read()
	if err != nil {
		return err
	}
	waiting := map[string]*waitingHolder{}
	defer func() {
		for _, w := range waiting {
			w.giveUp()
		}
	}()
	var links strings.Builder
	for _, name := range made {
		if err := d.clear(ctx, s, *s.host(name)); err != nil {
			return err
		}
		w, err := d.startHost(s, *s.host(name))
		if err != nil {
			return err
		}
		waiting[name] = w
		if err := d.store.onHost(name, func(h *hostRecord) error { h.Holder = w.id; return nil }); err != nil {
			return err
		}
		plug(&links, name, s.portAddress(name), w.id.PID)
	}
	if err := tool(ctx, s.fixture(switchName).ID.PID, links.String(), "ip", "-batch", "-"); err != nil {
		return fmt.Errorf("join hosts to the switch: %w", err)
	}
	for _, name := range made {
		if err := waiting[name].finish(ctx); err != nil {
			return fmt.Errorf("host %s: %w", name, err)
		}
		delete(waiting, name)
		if err := d.store.onHost(name, func(h *hostRecord) error { h.Has = h.Address; return nil }); err != nil {
			return err
		}
	}
	if err := d.shape(ctx); err != nil || s.System == nil {
		return err
	}
	return d.Awake(ctx, made...)
}

// startHost makes the process that keeps a host; finish or giveUp must follow.
func (d *Driver) startHost(s state, h hostRecord) (*waitingHolder, error) {
	if s.System != nil {
		return d.startBooting(s, h)
	}
	return d.startHolder("scripts/lab-host.sh", h.Want.Name, 0, h.Address+"/24", d.ownDir(h.Want.Name))
}

// portAddress is the link address of a host's port on the switch: the host's own, unless a device beyond is made with each boot.
func (s *state) portAddress(name string) string {
	address := linkAddress(s.host(name).Address)
	if s.System != nil {
		return "06" + address[2:]
	}
	return address
}

// plug writes what joins a namespace to the switch.
func plug(w io.Writer, name, link string, pid int) {
	fmt.Fprintf(w, "link add %s type veth peer name eth0 address %s netns %d\nlink set %s master br0 up\n", port(name), link, pid, port(name))
}

func port(name string) string { return "v-" + name }

// shape gives every host what it may use, and the names of all.
func (d *Driver) shape(ctx context.Context) error {
	s, err := d.store.read()
	if err != nil {
		return err
	}
	for _, h := range s.Hosts {
		err := d.limit(s, h)
		if err == nil {
			err = d.readdress(ctx, s, h)
		}
		if err == nil {
			err = d.shapeLink(ctx, s, h)
		}
		if err == nil {
			err = d.carry(ctx, s, h)
		}
		if err != nil {
			return fmt.Errorf("host %s: %w", h.Want.Name, err)
		}
	}
	return d.writeNames(s)
}

func (d *Driver) limit(s state, h hostRecord) error {
	g := d.groupOf(s, h.Want.Name)
	if err := g.Make(); err != nil {
		return err
	}
	return g.Limit(cgroup.Limits{CPUs: h.CPUs, On: h.On, MemoryBytes: h.Want.MemoryBytes})
}

// readdress gives a host that is up another address.
func (d *Driver) readdress(ctx context.Context, s state, h hostRecord) error {
	if h.Has == h.Address || h.Has == "" {
		return nil
	}
	if s.System != nil {
		return &host.Fault{Err: fmt.Errorf("%w: it runs at %s, not %s", host.ErrUnsupported, h.Has, h.Address), Hint: "create it again: isukit lab down, then up"}
	}
	text := fmt.Sprintf("address flush dev eth0\nlink set eth0 down\nlink set eth0 address %s\naddress add %s/24 dev eth0\nlink set eth0 up\n", linkAddress(h.Address), h.Address)
	if err := tool(ctx, h.Holder.PID, text, "ip", "-batch", "-"); err != nil {
		return fmt.Errorf("give it the address %s: %w", h.Address, err)
	}
	return d.store.onHost(h.Want.Name, func(h *hostRecord) error { h.Has = h.Address; return nil })
}

// shapeLink holds the link of a host to its speed, at both ends: each shapes what it sends.
func (d *Driver) shapeLink(ctx context.Context, s state, h hostRecord) error {
	command := "qdisc del dev %s root\n"
	if l := link(h.Want); l != nil {
		command = "qdisc replace dev %s root tbf rate " + l[0] + "bit burst " + l[1] + " latency 50ms\n"
	} else if !h.Shaped {
		return nil
	}
	if err := tool(ctx, h.Holder.PID, fmt.Sprintf(command, "eth0"), "tc", "-batch", "-"); err != nil {
		return fmt.Errorf("link speed: %w", err)
	}
	if err := tool(ctx, s.fixture(switchName).ID.PID, fmt.Sprintf(command, port(h.Want.Name)), "tc", "-batch", "-"); err != nil {
		return fmt.Errorf("link speed: %w", err)
	}
	return d.store.onHost(h.Want.Name, func(h *hostRecord) error { h.Shaped = h.Want.LinkBitsPerSecond > 0; return nil })
}

// writeNames puts the names of all hosts into the hosts file of each, and of the generator.
func (d *Driver) writeNames(s state) error {
	var text strings.Builder
	text.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	fmt.Fprintf(&text, "%s %s\n", fixtureAddress(generatorName), generatorName)
	holders := []proc.ID{s.fixture(generatorName).ID}
	for _, h := range s.Hosts {
		fmt.Fprintf(&text, "%s %s\n", h.Address, h.Want.Name)
		if h.Holder.Alive() && s.System == nil { // a server only knows the others that are written down for it
			holders = append(holders, h.Holder)
		}
	}
	for _, holder := range holders {
		err := inMount(holder.PID, func() error { return os.WriteFile("/etc/hosts", []byte(text.String()), 0o644) })
		if err != nil {
			return fmt.Errorf("write names of hosts: %w", err)
		}
	}
	return nil
}

// makeFixtures makes the switch and the generator. Those of before that died with their holder go first.
func (d *Driver) makeFixtures(ctx context.Context) error {
	s, err := d.store.read()
	if err != nil {
		return err
	}
	if sw, gen := s.fixture(switchName), s.fixture(generatorName); sw != nil && gen != nil && sw.ID.Alive() && gen.ID.Alive() {
		return nil
	}
	for _, h := range s.Hosts {
		if h.Holder.Alive() {
			return errors.New("another process stopped the lab's switch or generator; run isukit lab down and create the lab again")
		}
	}
	if err := d.removeFixtures(ctx, s); err != nil {
		return err
	}
	controllers, err := d.tree.Enable()
	if recordErr := d.store.update(func(s *state) error { s.Controllers = controllers; return nil }); err != nil || recordErr != nil {
		return errors.Join(err, recordErr)
	}
	sw, err := d.makeFixture(ctx, "scripts/lab-switch.sh", switchName, nil)
	if err != nil {
		return fmt.Errorf("make the lab's switch: %w", err)
	}
	_, err = d.makeFixture(ctx, "scripts/lab-host.sh", generatorName, &sw,
		fixtureAddress(generatorName)+"/24", d.ownDir(generatorName))
	if err != nil {
		return fmt.Errorf("make the lab's place for the load generator: %w", err)
	}
	return nil
}

// makeFixture makes one of them; sw is the switch to which it is joined, if any.
func (d *Driver) makeFixture(ctx context.Context, script, name string, sw *proc.ID, args ...string) (proc.ID, error) {
	w, err := d.startHolder(script, name, 0, args...)
	if err != nil {
		return proc.ID{}, err
	}
	defer w.giveUp()
	err = d.store.update(func(s *state) error {
		s.Fixtures = append(s.Fixtures, holder{name, w.id})
		return nil
	})
	if err == nil && sw != nil {
		var text strings.Builder
		plug(&text, name, linkAddress(fixtureAddress(name)), w.id.PID)
		err = tool(ctx, sw.PID, text.String(), "ip", "-batch", "-")
	}
	if err == nil {
		err = w.finish(ctx)
	}
	return w.id, err
}

// clear removes the remains of a host that will be made again.
func (d *Driver) clear(ctx context.Context, s state, h hostRecord) error {
	if err := d.unmake(ctx, s, h); err != nil {
		return err
	}
	return os.MkdirAll(d.ownDir(h.Want.Name), 0o700)
}

// unmake ends everything in a host of the lab, and takes away what made it one. Its files stay.
func (d *Driver) unmake(ctx context.Context, s state, h hostRecord) error {
	g := d.groupOf(s, h.Want.Name)
	for _, id := range []proc.ID{h.Link, h.Holder} { // first: the holder may be what boots the host again
		if id.PID > 0 {
			if _, err := proc.EndGroup(ctx, h.Want.Name, id, d.ownDir(h.Want.Name)); err != nil {
				return err
			}
		}
	}
	if _, err := g.Kill(ctx); err != nil {
		return err
	}
	// The device goes now: the end of its namespace takes it away as well, but only some time after.
	if sw := s.fixture(switchName); sw != nil && sw.ID.Alive() && h.Holder.PID > 0 {
		if err := errors.Join(unplug(ctx, sw.ID.PID, "w-"+h.Want.Name), unplug(ctx, sw.ID.PID, port(h.Want.Name))); err != nil {
			return err
		}
	}
	return g.Remove()
}

// removeFixtures takes away what is common to the hosts of the lab, after the last of them.
func (d *Driver) removeFixtures(ctx context.Context, s state) error {
	for _, f := range s.Fixtures {
		if _, err := proc.EndGroup(ctx, f.Name, f.ID, d.ownDir(f.Name)); err != nil {
			return err
		}
		if err := os.RemoveAll(d.ownDir(f.Name)); err != nil {
			return err
		}
	}
	if s.ID != "" {
		if err := d.treeOf(s).Host("isukit-" + s.ID).Remove(); err != nil {
			return err
		}
	}
	d.tree.Disable(s.Controllers)
	return d.store.update(func(s *state) error {
		s.Fixtures, s.Controllers = nil, nil
		return nil
	})
}

// waitingHolder is a process in namespaces of its own that has not been let go yet.
type waitingHolder struct {
	id    proc.ID
	cmd   *exec.Cmd
	gate  *os.File
	ready *os.File
	done  bool
}

// startHolder makes the process, in new namespaces or (in) in those of a process; finish or giveUp must follow.
func (d *Driver) startHolder(script, name string, in int, args ...string) (*waitingHolder, error) {
	text, err := fs.ReadFile(isukit.Assets, script)
	if err != nil {
		return nil, err
	}
	dir := d.ownDir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	w := &waitingHolder{}
	input, gate, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer input.Close()
	ready, output, err := os.Pipe()
	if err != nil {
		gate.Close()
		return nil, err
	}
	defer output.Close()
	w.gate, w.ready = gate, ready
	argv := append([]string{"/bin/sh", "-c", string(text), "isukit-" + name, name}, args...)
	if in != 0 {
		argv = append([]string{"nsenter", "--target", fmt.Sprint(in), "--net", "--"}, argv...)
	}
	w.cmd = exec.Command(argv[0], argv[1:]...)
	w.cmd.Stdin, w.cmd.Stdout, w.cmd.Stderr = input, output, output
	w.cmd.Env, w.cmd.Dir = environment(), dir
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if in == 0 {
		w.cmd.SysProcAttr = apart()
	}
	if err := w.cmd.Start(); err != nil {
		gate.Close()
		ready.Close()
		return nil, fmt.Errorf("make namespaces: %w", err)
	}
	st, err := proc.Read(w.cmd.Process.Pid)
	if err != nil {
		w.giveUp()
		return nil, err
	}
	w.id = st.ID
	return w, nil
}

// finish lets the process go, and waits until it has made what it is for.
func (w *waitingHolder) finish(ctx context.Context) error {
	defer w.giveUp()
	if _, err := io.WriteString(w.gate, "go\n"); err != nil {
		return err
	}
	said := make(chan string, 1)
	go func() {
		var text strings.Builder
		for scan := bufio.NewScanner(w.ready); scan.Scan(); {
			if scan.Text() == "ready" {
				said <- "ready"
				return
			}
			text.WriteString(scan.Text() + "\n")
		}
		said <- text.String()
	}()
	select {
	case <-ctx.Done():
		w.cmd.Process.Kill()
		<-said
		return context.Cause(ctx)
	case text := <-said:
		if text != "ready" {
			return fmt.Errorf("%w: %s", errExited, strings.TrimSpace(text))
		}
		w.done = true
		return nil
	}
}

// giveUp ends a process that has not become a host, and releases one that has, for whose end a goroutine waits.
func (w *waitingHolder) giveUp() {
	if w.gate == nil {
		return
	}
	w.gate.Close()
	w.ready.Close()
	w.gate = nil
	if w.done {
		go w.cmd.Wait()
		return
	}
	w.cmd.Process.Kill()
	w.cmd.Wait()
}
