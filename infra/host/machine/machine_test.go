package machine_test

import (
	"os"
	"testing"

	"isukit/infra/host"
	"isukit/infra/host/hosttest"
	"isukit/infra/host/machine"
	"isukit/infra/infratest"
)

// subject is a driver whose state directory is removed after the test, with a check that nothing is left.
func subject(t *testing.T, keep bool, open func(machine.Options) (*machine.Driver, error)) hosttest.Subject {
	stateDir := t.TempDir()
	t.Cleanup(func() {
		if left := infratest.ProcessesIn(t, stateDir); len(left) > 0 {
			t.Errorf("processes left: %v", left)
		}
	})
	return hosttest.Shell(hosttest.Subject{
		Open: func(t *testing.T) host.Driver {
			d, err := open(machine.Options{StateDir: stateDir, Keep: keep})
			if err != nil {
				t.Fatal(err)
			}
			return d
		},
		Keeps: keep, Listen: []string{os.Args[0], hosttest.ListenArg},
		Wants: [2]host.Want{{Name: "s1", CPUs: 2, MemoryBytes: 1 << 30}, {Name: "s2", CPUs: 0.5, LinkBitsPerSecond: 100e6}},
	})
}

func TestLocal(t *testing.T) {
	for name, keep := range map[string]bool{"kept": true, "not kept": false} {
		t.Run(name, func(t *testing.T) { hosttest.Run(t, subject(t, keep, machine.OpenLocal)) })
	}
}

func TestLab(t *testing.T) {
	infratest.Real(t)
	for name, keep := range map[string]bool{"kept": true, "not kept": false} {
		t.Run(name, func(t *testing.T) { hosttest.Run(t, subject(t, keep, machine.OpenLab)) })
	}
}
