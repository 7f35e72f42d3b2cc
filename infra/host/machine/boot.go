package machine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"isukit"
	"isukit/infra/host"
	"isukit/infra/host/proc"
)

// System makes the hosts of a lab boot systemd: servers like those that the driver ssh is for, entered from the generator's place.
type System struct {
	// Tree is a directory with the files of a server, made by scripts/get-hosts.sh. A host's writes go elsewhere.
	Tree string `json:"tree"`
	// Keys are lines of authorized_keys: who may log in as root and as isucon, who has sudo.
	Keys string `json:"keys"`
}

// bootLimit is how long a host may take until its sshd answers, on a machine that is busy with others.
const bootLimit = 4 * time.Minute

// checkSystem says why hosts of this lab cannot be made as the driver's options want them, if they cannot.
func (d *Driver) checkSystem(s *state) error {
	want := d.opts.System
	if len(s.Hosts) == 0 {
		s.System = want
	}
	if (want == nil) != (s.System == nil) {
		if want == nil {
			return &host.Fault{
				Err:  fmt.Errorf("%w: the hosts of the lab are servers with systemd, which the driver lab does not place roles on", host.ErrUnsupported),
				Hint: "isukit lab shell generator, and there: isukit topology apply ... --driver ssh; or take them down: isukit lab down",
			}
		}
		return &host.Fault{Err: fmt.Errorf("%w: the hosts of the lab that is up do not boot systemd", host.ErrUnsupported), Hint: "take them down first: isukit lab down"}
	}
	if want == nil {
		return nil
	}
	if d.wholeErr != nil {
		return &host.Fault{
			Err:  fmt.Errorf("hosts with systemd: %w: %w", host.ErrUnsupported, d.wholeErr),
			Hint: "mount it: mkdir -p /sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd",
		}
	}
	if _, err := os.Stat(filepath.Join(want.Tree, "sbin", "init")); err != nil {
		return &host.Fault{Err: fmt.Errorf("hosts with systemd: %w: no server's tree found in %s", host.ErrUnsupported, want.Tree), Hint: "make it: sh scripts/get-hosts.sh"}
	}
	return nil
}

// startBooting makes the process that boots a host, whose group has its limits before; finish or giveUp must follow.
func (d *Driver) startBooting(s state, h hostRecord) (*waitingHolder, error) {
	if err := d.limit(s, h); err != nil {
		return nil, err
	}
	room := d.hostDir(h.Want.Name)
	if err := os.MkdirAll(room, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(room, "authorized_keys"), []byte(s.System.Keys), 0o600); err != nil {
		return nil, err
	}
	text, err := fs.ReadFile(isukit.Assets, "scripts/lab-init.sh")
	if err != nil {
		return nil, err
	}
	init := filepath.Join(d.ownDir(h.Want.Name), "init.sh")
	if err := errors.Join(os.MkdirAll(filepath.Dir(init), 0o700), os.WriteFile(init, text, 0o600)); err != nil {
		return nil, err
	}
	args := []string{h.Address + "/24", linkAddress(h.Address), room, s.System.Tree, init}
	return d.startHolder("scripts/lab-boot.sh", h.Want.Name, 0, append(args, d.groupOf(s, h.Want.Name).Dirs()...)...)
}

// firstProcess is the systemd of a host; the zero ID between two boots. It is a child of the holder's, and process 1 of its namespace.
func (h hostRecord) firstProcess() proc.ID {
	for _, child := range proc.Children(h.Holder.PID) {
		for _, st := range proc.Children(child.PID) {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", st.PID))
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(text)) {
				if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "NSpid:" && fields[len(fields)-1] == "1" {
					return st.ID
				}
			}
		}
	}
	return proc.ID{}
}

// Awake waits until these hosts, which boot systemd, answer on their sshd; without names all of them.
func (d *Driver) Awake(ctx context.Context, names ...string) error {
	s, err := d.store.read()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, bootLimit, fmt.Errorf("its sshd does not answer within %v", bootLimit))
	defer cancel()
	for _, h := range s.Hosts {
		for len(names) == 0 || slices.Contains(names, h.Want.Name) {
			err := d.answers(ctx, h)
			if err == nil {
				break
			}
			if !h.Holder.Alive() {
				return fmt.Errorf("host %s: the process that boots it is gone: %s", h.Want.Name, d.bootLog(h))
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("host %s: %w: %w\n%s", h.Want.Name, context.Cause(ctx), err, d.bootLog(h))
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

func (d *Driver) bootLog(h hostRecord) string {
	text, _ := os.ReadFile(filepath.Join(d.hostDir(h.Want.Name), "boot.log")) // not there: nothing was said
	return strings.TrimSpace(string(text))
}

func (d *Driver) answers(ctx context.Context, h hostRecord) error {
	if pid := h.firstProcess(); !pid.Alive() {
		return errors.New("it has not begun to boot")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := d.Dial(ctx, "tcp", h.Address+":22")
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	greeting, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(greeting, "SSH-") {
		return fmt.Errorf("its sshd says %q, %v", greeting, err)
	}
	if _, err := os.Lstat(fmt.Sprintf("/proc/%d/root/run/nologin", h.firstProcess().PID)); err == nil {
		return errors.New("it lets only root log in yet")
	}
	return nil
}

// PowerCut ends hosts that boot systemd like a loss of power: all together, without a request to them. They boot again.
func (d *Driver) PowerCut(ctx context.Context, names ...string) error {
	return d.endBoot(ctx, names, func(_ string, pid proc.ID) error { return syscall.Kill(pid.PID, syscall.SIGKILL) })
}

// Reboot has hosts that boot systemd shut down and boot again, and returns when they have shut down.
func (d *Driver) Reboot(ctx context.Context, names ...string) error {
	return d.endBoot(ctx, names, func(name string, _ proc.ID) error {
		h, err := d.Host(name)
		if err != nil {
			return err
		}
		_, err = h.Run(ctx, host.Command{Argv: []string{"systemctl", "reboot"}, Dir: "/"}) // it may be ended by what it asks for
		return err
	})
}

func (d *Driver) endBoot(ctx context.Context, names []string, end func(name string, pid proc.ID) error) error {
	s, err := d.store.read()
	if err != nil {
		return err
	}
	ended := map[string]proc.ID{}
	for _, name := range names {
		h := s.host(name)
		if h == nil || s.System == nil {
			return fmt.Errorf("%w: %s, with systemd", host.ErrUnknownHost, name)
		}
		if pid := h.firstProcess(); pid.PID > 0 {
			ended[name] = pid
		}
	}
	for name, pid := range ended {
		if err := end(name, pid); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("host %s: %w", name, err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, bootLimit, fmt.Errorf("it does not end within %v", bootLimit))
	defer cancel()
	for name, pid := range ended {
		for pid.Alive() {
			select {
			case <-ctx.Done():
				return fmt.Errorf("host %s: %w", name, context.Cause(ctx))
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	return nil
}

// Cable joins a host of the lab to the switch, or not: it is pulled.
func (d *Driver) Cable(ctx context.Context, name string, joined bool) error {
	s, err := d.store.read()
	if err != nil {
		return err
	}
	sw := s.fixture(switchName)
	if s.host(name) == nil || sw == nil {
		return fmt.Errorf("%w: %s", host.ErrUnknownHost, name)
	}
	way := "down"
	if joined {
		way = "up"
	}
	return tool(ctx, sw.ID.PID, "", "ip", "link", "set", port(name), way)
}
