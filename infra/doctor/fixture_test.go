package doctor_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"isukit/infra/doctor"
	"isukit/infra/engine/mysql"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// here is this machine.
func here(t testing.TB) host.Host {
	t.Helper()
	h, err := machine.OpenHere(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close(context.Background()) })
	return h
}

// lab is a lab with these hosts, gone after the test.
func lab(t testing.TB, wants ...host.Want) *machine.Driver {
	t.Helper()
	infratest.Real(t)
	d, err := machine.OpenLab(machine.Options{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(context.Background()); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	if err := d.Ensure(t.Context(), wants); err != nil {
		t.Fatal(err)
	}
	return d
}

func hostOf(t testing.TB, d host.Driver, name string) host.Host {
	t.Helper()
	h, err := d.Host(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// look looks at a host on which these processes are an instance's.
func look(t testing.TB, at host.Host, o doctor.LookOptions) doctor.Host {
	t.Helper()
	h, err := doctor.Look(t.Context(), at, o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func lookAt(t testing.TB, db *infratest.DB) doctor.Database {
	t.Helper()
	d, err := doctor.LookAtDatabase(t.Context(), "db-1", mysql.SQL{DB: db.Open(t, "")})
	if err != nil {
		t.Fatal(err)
	}
	d.PID = db.PID()
	return d
}

// diagnose runs one check.
func diagnose(t testing.TB, id string, o *doctor.Observed) []doctor.Finding {
	t.Helper()
	checks, err := doctor.Select(doctor.Checks(), []string{id}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return doctor.Diagnose(o, checks)
}

// wantSilence wants no finding of a healthy server.
func wantSilence(t testing.TB, what string, found []doctor.Finding) {
	t.Helper()
	for _, f := range found {
		t.Errorf("%s: unwanted finding %s %s", what, f.Severity, f)
	}
}

// wantFinding wants one finding of this severity whose text has all the words, and a fix that has the last.
func wantFinding(t testing.TB, what string, found []doctor.Finding, severity doctor.Severity, fix string, words ...string) {
	t.Helper()
	for _, f := range found {
		ok := f.Severity == severity && strings.Contains(f.Fix, fix)
		for _, w := range words {
			ok = ok && strings.Contains(f.String(), w)
		}
		if ok {
			return
		}
	}
	t.Errorf("%s: no %s with %q and the fix %q among %d:", what, severity, words, fix, len(found))
	for _, f := range found {
		t.Errorf("  %s %s; fix: %s", f.Severity, f, f.Fix)
	}
}

// fakeRoot makes files below a directory of the test's.
func fakeRoot(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var when = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// lookLong is long enough for a share of a CPU on a loaded machine.
const lookLong = time.Second

func observed(h doctor.Host) *doctor.Observed { return &doctor.Observed{Hosts: []doctor.Host{h}} }

// withNothing is a host of the lab on which nothing runs.
func withNothing(t testing.TB) host.Host {
	t.Helper()
	return hostOf(t, lab(t, host.Want{Name: "s1"}), "s1")
}

// spin starts a shell on a host that does nothing as fast as it can, and returns its process.
func spin(t testing.TB, at host.Host) int {
	t.Helper()
	log := filepath.Join(at.About().Dir, "spin.log")
	if err := at.Start(t.Context(), host.Service{Name: "spin", Argv: []string{"sh", "-c", "echo $$; while :; do :; done"}, LogFile: log}); err != nil {
		t.Fatal(err)
	}
	pid := 0
	wait.ForNil(t, "the spinning shell", func() error {
		text, err := os.ReadFile(log)
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err
	})
	return pid
}

func put(t testing.TB, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	chmod(t, file, mode)
}

func chmod(t testing.TB, file string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

func symlink(t testing.TB, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}
