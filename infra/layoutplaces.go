package infra

import (
	"errors"
	"fmt"
	"path"
	"syscall"

	"isukit"
	"isukit/infra/host"
	"isukit/infra/render"
	"isukit/infra/topology"
)

// maxSocketPath is the longest path that a Unix socket's address holds.
const maxSocketPath = 107

// places settles where every instance is and listens.
func (l *layout) places() error {
	t := l.goal.Topology
	machine, err := host.ThisMachine()
	if err != nil {
		return err
	}
	l.input = render.Input{
		Topology: t, Places: map[string]render.Place{}, Machines: map[string]render.Machine{}, Templates: isukit.Assets,
		Machine: render.Machine{CPUs: machine.CPUs, MemoryBytes: machine.MemoryBytes}, Scale: l.goal.Scale, Seed: l.goal.Seed,
	}
	if l.input.MaxFiles, err = maxFiles(); err != nil {
		return err
	}
	if l.driver == "ssh" {
		l.input.MaxFiles = l.filesOf()
	}
	ports, err := l.ports()
	if err != nil {
		return err
	}
	for name, h := range l.hosts {
		about := h.About()
		if about.CPUs > 0 && about.MemoryBytes > 0 && l.driver != "local" {
			l.input.Machines[name] = render.Machine{CPUs: about.CPUs, MemoryBytes: about.MemoryBytes}
		}
		l.input.Root = about.Root
		for _, i := range t.On(name) {
			p := render.Place{
				Dir: path.Join(about.Dir, i.Name), Address: about.Address, Port: ports[i.Name][0], DebugPort: ports[i.Name][1],
			}
			if p.Socket = path.Join(p.Dir, "app.sock"); len(p.Socket) > maxSocketPath {
				p.Socket = ""
			}
			l.input.Places[i.Name] = p
		}
	}
	if b := t.Data.Balance; b != nil && b.Kind == topology.BalanceNginx {
		l.input.BalancePort = ports[balancePlace][0]
		if t, ok := l.tools[b.Host]; ok {
			if l.input.StreamModule, err = t.streamModule(b.Host); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxFiles is how many files a process of this machine may be allowed to open.
func maxFiles() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	return int(min(limit.Max, 1<<24)), nil
}

// balancePlace is what the port of a balance is kept under among those of the instances.
const balancePlace = "balance"

// ports are those of the topology where every host has an address of its own, and free ones, kept for as long as the instance is
// on its host, where hosts share one.
func (l *layout) ports() (map[string][2]int, error) {
	t := l.goal.Topology
	ports := map[string][2]int{}
	if l.driver != "local" {
		for name, port := range t.Ports() {
			ports[name] = [2]int{port, port + topology.DebugPorts}
		}
		if t.Data.Balance != nil {
			ports[balancePlace] = [2]int{t.Data.Balance.Port}
		}
		return ports, nil
	}
	taken := map[int]bool{}
	for _, p := range l.goal.Ports {
		taken[p[0]], taken[p[1]] = true, true
	}
	free := func() (int, error) {
		for {
			if port, err := host.FreePort(); err != nil || !taken[port] {
				taken[port] = true
				return port, err
			}
		}
	}
	names := []string{balancePlace}
	for _, i := range t.Instances {
		names = append(names, i.Name)
	}
	for _, name := range names {
		p, ok := l.goal.Ports[name]
		if i, _ := t.Instance(name); !ok {
			var errs [2]error
			p[0], errs[0] = free()
			p[1], errs[1] = free()
			if err := errors.Join(errs[:]...); err != nil {
				return nil, err
			}
			if i.Sizes.Port > 0 {
				p[0] = i.Sizes.Port
			}
		}
		ports[name] = p
	}
	l.goal.Ports = ports
	return ports, nil
}
