package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
)

// copyBinary puts the built command where every user may run it.
func copyBinary(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(buildBinaries(t), "isukit"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "isukit")
	infratest.Program(t, path, text)
	return path
}

// TestRoundWithoutRightToRead plays a round as a user who may not read the access log, nor become another.
func TestRoundWithoutRightToRead(t *testing.T) {
	infratest.Real(t)
	t.Parallel()
	dir := standIn(t, "", "echo '{\"score\":9}'")
	cmd := exec.Command(copyBinary(t, dir), "round", "-q", "--results", "results", "--state-dir", dir+"/state")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir)
	if err := os.Chmod(dir+"/access.log", 0); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if err := errors.Join(os.Chown(dir, nobody, nobody), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	out, err := cmd.CombinedOutput()
	r, _, findErr := result.Find(filepath.Join(dir, "results"), "last")
	if findErr != nil {
		t.Fatalf("%v, no record: %v\n%s", err, findErr, out)
	}
	warnings := strings.Join(r.Warnings, "\n")
	if err != nil || !r.Passed || r.Score.Total != 9 || r.Access.Lines != 0 || !strings.Contains(warnings, "no right to read "+dir+"/access.log") {
		t.Errorf("%v, passed %v, score %d, %d lines; the warnings are:\n%s", err, r.Passed, r.Score.Total, r.Access.Lines, warnings)
	}
}

// TestRoundOnFullDisk plays a round whose results are on a disk of 64 KiB: the record is saved elsewhere, with a warning.
func TestRoundOnFullDisk(t *testing.T) {
	infratest.Real(t)
	t.Parallel()
	dir := standIn(t, "", hit+"hit /a; echo '{\"score\":9}'")
	binary := copyBinary(t, dir)
	for _, sub := range []string{"results", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"-m", "sh", "-c", "mount -t tmpfs -o size=64k none results && exec " + binary + " round -q --results results --state-dir " + dir + "/state"}
	if os.Getuid() != 0 {
		args = append([]string{"-r"}, args...)
	}
	cmd := exec.Command("unshare", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir+"/tmp")
	var errText bytes.Buffer
	cmd.Stderr = &errText
	err := cmd.Run()
	if cmd.ProcessState.ExitCode() != ui.ExitFailed || !strings.Contains(errText.String(), "no space left on device") || !strings.Contains(errText.String(), "the record without its files is in "+dir+"/tmp") {
		t.Fatalf("%v: %s", err, errText.String())
	}
	found, err := filepath.Glob(filepath.Join(dir, "tmp", "isukit-results-*", "*", result.RoundFile))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	r, err := result.Read(found[0])
	if err != nil || r.Score.Total != 9 || r.Access.Total.Hits != 1 || !strings.Contains(strings.Join(r.Warnings, "\n"), "no space left") {
		t.Errorf("%v: score %d, %d hits: %q", err, r.Score.Total, r.Access.Total.Hits, r.Warnings)
	}
}
