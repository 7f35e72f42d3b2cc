package machine_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/infratest"
	"isukit/infra/infratest/hosttest"
)

// subject is a driver whose state directory is removed after the test, with a check that nothing is left.
func subject(t *testing.T, keep bool, open func(machine.Options) (*machine.Driver, error)) hosttest.Subject {
	stateDir := t.TempDir()
	t.Cleanup(func() {
		if left := infratest.ProcessesIn(stateDir); len(left) > 0 {
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

// TestBrokenRecord cuts a record short: the driver's user gets a hint, which ends all that ran, and the driver is as new.
func TestBrokenRecord(t *testing.T) {
	infratest.Real(t)
	for name, open := range map[string]func(machine.Options) (*machine.Driver, error){"local": machine.OpenLocal, "lab": machine.OpenLab} {
		t.Run(name, func(t *testing.T) {
			s := subject(t, true, open)
			d := s.Open(t)
			start := func() {
				if err := d.Ensure(t.Context(), s.Wants[:]); err != nil {
					t.Fatal(err)
				}
				h := hostOf(t, d, "s1")
				if err := h.Start(t.Context(), host.Service{Name: "s", Argv: s.Serve, LogFile: h.About().Dir + "/log"}); err != nil {
					t.Fatal(err)
				}
			}
			start()
			dir := filepath.Dir(hostOf(t, d, "s1").About().Dir)
			file := filepath.Join(dir, "state.json")
			if err := os.Truncate(file, 40); err != nil {
				t.Fatal(err)
			}
			var fault *host.Fault
			if _, err := d.Hosts(t.Context()); !errors.As(err, &fault) || !strings.Contains(fault.Hint, "isukit topology down --driver "+name) {
				t.Errorf("Hosts with a record that is cut short: got %v, want a way out", err)
			}
			if _, err := machine.CleanDead(t.Context(), filepath.Dir(filepath.Dir(dir))); err != nil {
				t.Errorf("CleanDead, which every command begins with: %v", err)
			}
			if len(infratest.ProcessesIn(dir)) == 0 {
				t.Error("nothing ran: this test cannot fail")
			}
			if err := d.Down(t.Context()); err != nil {
				t.Fatal(err)
			}
			if left := infratest.ProcessesIn(dir); len(left) > 0 {
				t.Errorf("after Down: %v", left)
			}
			start()
			if err := errors.Join(d.Down(t.Context()), d.Close(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLab(t *testing.T) {
	infratest.Real(t)
	for name, keep := range map[string]bool{"kept": true, "not kept": false} {
		t.Run(name, func(t *testing.T) { hosttest.Run(t, subject(t, keep, machine.OpenLab)) })
	}
}

// TestPutProgram runs programs that were just put, while other children are forked.
func TestPutProgram(t *testing.T) {
	s := subject(t, false, machine.OpenLocal)
	d := s.Open(t)
	if err := d.Ensure(t.Context(), s.Wants[:1]); err != nil {
		t.Fatal(err)
	}
	h := hostOf(t, d, "s1")
	program := append([]byte("#!/bin/sh\nexit 7\n"), bytes.Repeat([]byte{'\n'}, 1<<20)...)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			path := filepath.Join(h.About().Dir, fmt.Sprint("program", i))
			for range 50 {
				if err := h.Put(t.Context(), path, program, 0o755); err != nil {
					t.Error(err)
				}
				if got, err := h.Run(t.Context(), host.Command{Argv: []string{path}}); err != nil || got.Code != 7 {
					t.Errorf("%+v, %v", got, err)
				}
			}
		})
	}
	all.Wait()
}
