package round

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"isukit/cmd/internal/ui"
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

// FindDriver is the driver that was asked for, or else the one with which something is up; "" where nothing is.
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
