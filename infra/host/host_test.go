package host_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isukit/infra/host"
	"isukit/infra/infratest/wait"
)

// subject is a host under test. The twin has no shell, so each brings programs that behave alike.
type subject struct {
	host.Host
	dir string // for files
	// echo prints its argument and exits with 0; fail prints "bad" to stderr and exits with 3.
	echo, fail []string
	// serve prints "serving" and runs until it is told to end; stubborn does not end when told.
	serve, stubborn []string
}

// subjects runs a test over every host without a driver.
func subjects(t *testing.T, test func(t *testing.T, s subject)) {
	t.Run("local", func(t *testing.T) {
		l, err := host.OpenLocal(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Close(context.Background()); err != nil {
				t.Errorf("Close: %v", err)
			}
			if _, err := os.Stat(l.Dir()); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("run directory after Close: got %v, want it gone", err)
			}
		})
		test(t, subject{
			Host: l, dir: l.Dir(),
			echo: []string{"sh", "-c", `echo "$0"`}, fail: []string{"sh", "-c", "echo bad >&2; exit 3"},
			serve:    []string{"sh", "-c", "echo serving; exec sleep 1000"},
			stubborn: []string{"sh", "-c", "trap '' TERM; echo serving; while :; do sleep 0.1; done"},
		})
	})
}

func (s subject) path(name string) string { return filepath.Join(s.dir, name) }

func TestFiles(t *testing.T) {
	subjects(t, func(t *testing.T, s subject) {
		ctx := t.Context()
		file := s.path("a/b/c.txt")
		if _, err := s.Get(ctx, file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get before Put: got error %v, want fs.ErrNotExist", err)
		}
		for _, text := range []string{"one", "two, longer", ""} {
			if err := s.Put(ctx, file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Get(ctx, file); err != nil || string(got) != text {
				t.Errorf("Get after Put(%q): got %q, %v", text, got, err)
			}
		}
		if err := s.Remove(ctx, s.path("a")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(ctx, file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get after Remove of the directory above: got error %v, want fs.ErrNotExist", err)
		}
		if err := s.Remove(ctx, s.path("a")); err != nil {
			t.Errorf("Remove of what is not there: got %v, want no error", err)
		}
	})
}

func TestGetIsBounded(t *testing.T) {
	subjects(t, func(t *testing.T, s subject) {
		file := s.path("large")
		if err := s.Put(t.Context(), file, make([]byte, host.MaxFileBytes+1), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), file); !errors.Is(err, host.ErrTooLarge) {
			t.Errorf("Get of %d bytes: got error %v, want ErrTooLarge", host.MaxFileBytes+1, err)
		}
	})
}

func TestRun(t *testing.T) {
	subjects(t, func(t *testing.T, s subject) {
		ctx := t.Context()
		got, err := s.Run(ctx, host.Command{Argv: append(s.echo, `it's "quoted" $HOME`)})
		if err != nil || got.Code != 0 || string(got.Stdout) != "it's \"quoted\" $HOME\n" || len(got.Stderr) > 0 {
			t.Errorf("Run(echo): got code %d, stdout %q, stderr %q, error %v", got.Code, got.Stdout, got.Stderr, err)
		}
		got, err = s.Run(ctx, host.Command{Argv: s.fail})
		if err != nil || got.Code != 3 || string(got.Stderr) != "bad\n" {
			t.Errorf("Run(fail): got code %d, stderr %q, error %v; want 3, bad, no error", got.Code, got.Stderr, err)
		}
		if _, err := s.Run(ctx, host.Command{Argv: []string{"no-such-program"}}); err == nil {
			t.Error("Run(no-such-program): got no error")
		}
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if _, err := s.Run(short, host.Command{Argv: s.serve}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run past its context's end: got error %v, want context.DeadlineExceeded", err)
		}
	})
}

func TestServices(t *testing.T) {
	subjects(t, func(t *testing.T, s subject) {
		ctx := t.Context()
		log := s.path("log/s.log")
		service := host.Service{Name: "s", Argv: s.serve, LogFile: log}
		if _, err := s.State(ctx, "s"); !errors.Is(err, host.ErrUnknownService) {
			t.Errorf("State before Start: got error %v, want ErrUnknownService", err)
		}
		if err := s.Stop(ctx, "s", time.Second); err != nil {
			t.Errorf("Stop before Start: got %v, want no error", err)
		}
		for round := 1; round <= 2; round++ {
			if err := s.Start(ctx, service); err != nil {
				t.Fatal(err)
			}
			if err := s.Start(ctx, service); err == nil {
				t.Error("Start of what runs: got no error")
			}
			if st, err := s.State(ctx, "s"); err != nil || !st.Running || st.Exit != "" {
				t.Errorf("State after Start: got %+v, %v; want it running", st, err)
			}
			wait.For(t, "the log", func() bool {
				text, _ := s.Get(ctx, log)
				return strings.Count(string(text), "serving\n") == round
			})
			if err := s.Stop(ctx, "s", 5*time.Second); err != nil {
				t.Fatal(err)
			}
			if st, err := s.State(ctx, "s"); err != nil || st.Running || st.Exit == "" {
				t.Errorf("State after Stop: got %+v, %v; want how it ended", st, err)
			}
		}
	})
}

func TestStopIsPatientOnce(t *testing.T) {
	subjects(t, func(t *testing.T, s subject) {
		ctx := t.Context()
		log := s.path("s.log")
		if err := s.Start(ctx, host.Service{Name: "s", Argv: s.stubborn, LogFile: log}); err != nil {
			t.Fatal(err)
		}
		wait.For(t, "the log", func() bool { text, _ := s.Get(ctx, log); return string(text) == "serving\n" })
		if err := s.Stop(ctx, "s", 200*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if st, err := s.State(ctx, "s"); err != nil || st.Running {
			t.Errorf("State after Stop: got %+v, %v; want it ended", st, err)
		}
	})
}

func TestServiceThatEnds(t *testing.T) {
	subjects(t, func(t *testing.T, s subject) {
		ctx := t.Context()
		if err := s.Start(ctx, host.Service{Name: "s", Argv: s.fail, LogFile: s.path("s.log")}); err != nil {
			t.Fatal(err)
		}
		wait.For(t, "the end of the service", func() bool { st, err := s.State(ctx, "s"); return err == nil && !st.Running })
		if st, err := s.State(ctx, "s"); err != nil || st.Exit != "exit status 3" {
			t.Errorf("State: got %+v, %v; want exit status 3", st, err)
		}
		if text, err := s.Get(ctx, s.path("s.log")); err != nil || string(text) != "bad\n" {
			t.Errorf("log: got %q, %v; want bad", text, err)
		}
	})
}
