//go:build !linux

package machine

import (
	"io"
	"syscall"

	"isukit/infra/host"
)

// Hosts of the lab are namespaces, which only Linux has: labPossible reports that before one is made.

func inMount(pid int, f func() error) error { return inNet(pid, f) }

func inNet(pid int, f func() error) error {
	if pid != 0 {
		return host.ErrUnsupported
	}
	return f()
}

func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// CarryFrames is what the lab starts for links with flaws.
func CarryFrames(string, string, string, io.Writer) error { return host.ErrUnsupported }

// UsableCPUs are the numbers of the CPUs on which this process may run; it tells them on Linux only.
func UsableCPUs() ([]int, error) { return nil, host.ErrUnsupported }
