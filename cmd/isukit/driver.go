package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/host/ssh"
)

// driverHelp names the drivers that a flag takes.
const driverHelp = "what makes hosts real: local (processes of this machine), lab (namespaces and control groups, needs root) or ssh (real hosts with systemd)"

// checkCPUScale checks --cpu-scale, of which 0 says nothing, against the driver that it is for.
func checkCPUScale(scale float64, driver string) error {
	switch {
	case scale < 0:
		return ui.UsageError(fmt.Errorf("--cpu-scale %g is below 0", scale), "give a ratio, for example 0.5")
	case scale > 0 && driver != "lab":
		return ui.UsageError(errors.New("--cpu-scale goes with --driver lab"), "the hosts of other drivers have the CPUs that they have")
	}
	return nil
}

// openDriver opens the driver of that name, whose hosts stay up when it is closed if keep is true.
func openDriver(name, stateDir string, scale float64, keep bool) (host.Driver, error) {
	if err := checkCPUScale(scale, name); err != nil {
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
	return nil, ui.UsageError(fmt.Errorf("driver %q does not exist (have %s)", name, strings.Join(driverNames, ", ")), `see "isukit topology --help"`)
}
