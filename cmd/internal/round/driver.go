package round

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"isukit/bench/load"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/host/ssh"
	"isukit/infra/project"
	"isukit/input"
)

// DriverHelp names the drivers that a flag takes.
const DriverHelp = "where the hosts run: local (processes on this machine), lab (simulated on this machine, needs root) or ssh (remote hosts with systemd)"

// CheckCPUScale checks --cpu-scale, of which 0 says nothing, against the driver that it is for.
func CheckCPUScale(scale float64, driver string) error {
	switch {
	case scale < 0:
		return ui.UsageError(fmt.Errorf("--cpu-scale %g is below 0", scale), "give a ratio, for example 0.5")
	case scale > 0 && driver != "lab":
		return ui.UsageError(errors.New("--cpu-scale needs --driver lab"), "it only works with simulated hosts")
	}
	return nil
}

// OpenDriver opens the driver of that name, whose hosts stay up when it is closed if keep is true.
func OpenDriver(name, stateDir string, scale float64, keep bool) (host.Driver, error) {
	if err := CheckCPUScale(scale, name); err != nil {
		return nil, err
	}
	opts := machine.Options{StateDir: stateDir, Keep: keep, CPUScale: scale}
	switch name {
	case "local":
		return machine.OpenLocal(opts)
	case "lab":
		return machine.OpenLab(opts)
	case "ssh":
		return ssh.Open(ssh.Options{StateDir: stateDir, ConfigFile: os.Getenv("ISUKIT_SSH_CONFIG")})
	}
	return nil, ui.UsageError(fmt.Errorf("driver %q does not exist (have %s)", name, strings.Join(DriverNames, ", ")), `see "isukit topology --help"`)
}

// OpenApart opens the driver of that name for hosts that a project names: the record of a topology's hosts is left alone.
func OpenApart(name, stateDir string) (host.Driver, error) {
	if name == "ssh" {
		return ssh.Open(ssh.Options{StateDir: stateDir, ConfigFile: os.Getenv("ISUKIT_SSH_CONFIG"), Apart: true})
	}
	return OpenDriver(name, stateDir, 0, true)
}

// UserName is who uses isukit, for others who want the same hosts: the one behind sudo where there is one.
func UserName() string {
	for _, name := range []string{"ISUKIT_HOLDER", "SUDO_USER", "USER", "LOGNAME"} {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return fmt.Sprintf("user %d", os.Getuid())
}

// DriverNames are those of all drivers.
var DriverNames = []string{"local", "lab", "ssh"}

// DriversUp are the drivers with which something is up: a topology, or at least hosts. It asks nobody, and what it cannot read is
// not up: the driver itself says why, when it is opened.
func DriversUp(stateDir string) (up []string) {
	var bare []string
	for _, name := range DriverNames {
		hosts := HostsOnRecord(stateDir, name)
		placed := func(w host.Want) bool {
			_, err := os.Stat(filepath.Join(stateDir, "hosts", name, w.Name, "inventory.json"))
			return err == nil || name == "ssh" // its inventories are on the hosts
		}
		switch {
		case slices.ContainsFunc(hosts, placed):
			up = append(up, name)
		case len(hosts) > 0:
			bare = append(bare, name)
		}
	}
	if len(up) > 0 {
		return up
	}
	return bare
}

// HostsOnRecord are the hosts that a driver has; none where that cannot be read.
func HostsOnRecord(stateDir, driver string) (wants []host.Want) {
	type record struct {
		Want host.Want `json:"want"`
	}
	var list []record
	text, err := input.Read(filepath.Join(stateDir, "hosts", driver, "state.json"), 64<<20)
	if err != nil {
		return nil
	}
	if driver == "ssh" {
		err = json.Unmarshal(text, &list)
	} else {
		all := struct{ Hosts *[]record }{&list}
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil
	}
	for _, r := range list {
		wants = append(wants, r.Want)
	}
	return wants
}

// SSHAddress is where ssh finds a host of the project, which may be nil, or of the topology that is up over ssh; "" where none has that name.
// here says that it is this machine.
func SSHAddress(p *project.Project, name, stateDir string) (address string, here bool) {
	if p != nil {
		if n := slices.IndexFunc(p.Hosts, func(h project.Host) bool { return h.Name == name }); n >= 0 {
			return ssh.Destination(p.Hosts[n].Address), p.Hosts[n].Address == "" && p.Driver == ""
		}
	}
	for _, w := range HostsOnRecord(stateDir, "ssh") {
		if w.Name == name {
			return ssh.Destination(w.Address), false
		}
	}
	return "", false
}

// FindDriver is the driver asked for, or otherwise the one with a deployed topology; "" if there is none.
func FindDriver(asked, stateDir string) (string, error) {
	if asked != "" {
		return asked, nil
	}
	up := DriversUp(stateDir)
	switch len(up) {
	case 0:
		return "", nil
	case 1:
		return up[0], nil
	}
	return "", ui.UsageError(fmt.Errorf("topologies run with several drivers: %s", strings.Join(up, ", ")), "choose one: --driver "+strings.Join(up, " or --driver "))
}

// upAndDown is a topology that is up for a round, and its driver, which is to be closed afterwards.
type upAndDown struct {
	running *infra.Running
	driver  host.Driver
}

// start deploys the topology to the driver's hosts. With --driver it stays deployed; otherwise it runs here and ends with the round.
func (o Options) start(ctx context.Context, spec infra.Spec) (*upAndDown, error) {
	driver, err := OpenDriver(cmp.Or(o.Driver, "local"), o.StateDir, o.CpuScale, o.Driver != "")
	if err != nil {
		return nil, err
	}
	site := infra.NewSite(driver, spec)
	_, err = site.Apply(ctx, infra.ApplyOptions{Holder: UserName()})
	var r *infra.Running
	if err == nil {
		r, err = site.Running(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start topology %s: %w", spec.Topology.Name, err), driver.Close(context.WithoutCancel(ctx)))
	}
	return &upAndDown{r, driver}, nil
}

// WithSite calls fn with the site of a driver, whose hosts stay up. The AppBinary of spec may be "", for the one in isukit's directory.
func WithSite(ctx context.Context, name string, scale float64, spec infra.Spec, fn func(*infra.Site) error) (err error) {
	spec.LocalDir = LocalDir(spec.LocalDir)
	if spec.AppBinary, err = Beside(spec.AppBinary, "isukit-app"); err != nil {
		return err
	}
	driver, err := OpenDriver(name, spec.StateDir, scale, true)
	if err != nil {
		return err
	}
	return errors.Join(fn(infra.NewSite(driver, spec)), driver.Close(context.WithoutCancel(ctx)))
}

// WithUp calls fn with what a driver has deployed, and an error that names the hosts that cannot be asked. With lock, no other
// process changes what is up meanwhile.
func WithUp(ctx context.Context, name string, spec infra.Spec, lock bool, fn func(running *infra.Running, lacking error) error) error {
	return WithSite(ctx, name, 0, spec, func(site *infra.Site) (err error) {
		release := func() error { return nil }
		if lock {
			if release, err = site.Driver().Lock(ctx, UserName()); err != nil {
				return err
			}
		}
		running, err := site.Up(ctx)
		if running != nil {
			err = fn(running, err)
		}
		return errors.Join(err, release())
	})
}

// reach lets the load engine connect from where the driver puts it, and trust the proxies.
func reach(opts *load.Options, m *measurement) {
	if dial := m.running.Dial(); dial != nil {
		opts.Dial = dial
	}
	if roots := m.running.Roots(); roots != nil {
		opts.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		if m.keys != nil {
			opts.TLS.KeyLogWriter = m.keys
		}
	}
	if m.traffic != nil {
		if opts.Dial != nil {
			m.traffic.connect = opts.Dial
		}
		opts.Dial = m.traffic.dial
	}
}
