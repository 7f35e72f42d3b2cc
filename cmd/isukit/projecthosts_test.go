package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/infratest"
)

// vanishing is a host that answers so many times and then no more, and says that it is not this machine.
type vanishing struct {
	host.Host
	left atomic.Int64
}

var errGone = errors.New("connection lost")

func (v *vanishing) About() host.About {
	a := v.Host.About()
	a.Here = false
	return a
}

func (v *vanishing) Run(ctx context.Context, c host.Command) (host.Result, error) {
	if v.left.Add(-1) < 0 {
		return host.Result{}, errGone
	}
	return v.Host.Run(ctx, c)
}

// TestHostThatGoesAway plays a round during which a host is lost: the others' data is kept, and the missing part is reported.
func TestHostThatGoesAway(t *testing.T) {
	t.Parallel()
	dir := standIn(t, "hosts: [{name: s1}, {name: s2}]", hit+"for i in 1 2 3; do hit /a; sleep 0.7; done; echo '{\"score\":9}'")
	text, err := os.ReadFile(filepath.Join(dir, "isukit.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "isukit.yaml"), strings.Replace(string(text), "access: [{file", "slow: [{host: s2, file: "+dir+"/access.log}], access: [{host: s1, file", 1))
	p, at, err := round.FindProject(filepath.Join(dir, "isukit.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := round.OpenProject(t.Context(), p, at, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close(context.Background())
	lost := &vanishing{Host: opened.Reach.Here}
	lost.left.Store(7) // the clock three times, the mark, the doctor, and two samples
	opened.Reach.Named["s2"] = lost
	r := round.NewProjectRound(opened, func(string, ...any) {})
	r.Play(t.Context())
	warnings := strings.Join(r.Record.Warnings, "\n")
	if !r.Record.Passed || r.Record.Score.Total != 9 || r.Record.Access.Total.Hits != 3 || len(r.Record.Series) == 0 {
		t.Errorf("passed %v, score %d, %d hits, %d series: %s", r.Record.Passed, r.Record.Score.Total, r.Record.Access.Total.Hits, len(r.Record.Series), warnings)
	}
	for _, want := range []string{"host s2: ", "samples are missing", "log " + dir + "/access.log of s2", "connection lost"} {
		if !strings.Contains(warnings, want) {
			t.Errorf("the warnings lack %q:\n%s", want, warnings)
		}
	}
}

// TestRemoteLog fetches a log the way it is done from hosts that are not this machine: packed, from its mark on.
func TestRemoteLog(t *testing.T) {
	t.Parallel()
	dir := standIn(t, "hosts: [{name: s1}]", hit+"for i in 1 2 3; do hit /a; sleep 0.3; done; echo '{\"score\":9}'")
	p, at, err := round.FindProject(filepath.Join(dir, "isukit.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := round.OpenProject(t.Context(), p, at, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close(context.Background())
	far := &vanishing{Host: opened.Reach.Here}
	far.left.Store(1 << 40)
	opened.Reach.Named["s1"] = far
	r := round.NewProjectRound(opened, func(string, ...any) {})
	r.Play(t.Context())
	if r.Record.Access.Total.Hits != 3 || r.Record.Access.Lines != 3 || len(r.Record.Settings) == 0 {
		t.Errorf("%d hits in %d lines: %q", r.Record.Access.Total.Hits, r.Record.Access.Lines, r.Record.Warnings)
	}
}

// TestRecordFindsAPlace keeps a round whose directory was lost while it ran.
func TestRecordFindsAPlace(t *testing.T) {
	dir := standIn(t, "", hit+"hit /a; rm -rf results; touch results; echo '{\"score\":9}'")
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	code, _, errText := isukitIn(t, "", "round", "-q", "--project", filepath.Join(dir, "isukit.yaml"), "--results", filepath.Join(dir, "results"))
	if code != ui.ExitFailed || !strings.Contains(errText, "the record without its files is in "+tmp) {
		t.Fatalf("exit %d: %s", code, errText)
	}
	found, err := filepath.Glob(filepath.Join(tmp, "isukit-results-*", "*", result.RoundFile))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	r, err := result.Read(found[0])
	if err != nil || r.Score.Total != 9 || !strings.Contains(strings.Join(r.Warnings, "\n"), "could not save the record") {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestProjectInTheLab plays a round whose app's log lies on a host of the lab that is up, and one whose host is not.
func TestProjectInTheLab(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	state := t.TempDir()
	lab, err := machine.OpenLab(machine.Options{StateDir: state, Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close(context.Background())
	if err := lab.Ensure(t.Context(), []host.Want{{Name: "s1", CPUs: 0.5}}); err != nil {
		t.Fatal(err)
	}
	defer lab.Down(context.Background())
	dir := standIn(t, "driver: lab\nhosts: [{name: s1}, {name: s7}]\nrestart: [{host: s1, run: 'hostname > /dev/null'}]", hit+"for i in 1 2 3; do hit /a; sleep 0.4; done; echo '{\"score\":9}'")
	text, _ := os.ReadFile(filepath.Join(dir, "isukit.yaml"))
	write(t, filepath.Join(dir, "isukit.yaml"), strings.Replace(string(text), "access: [{file", "access: [{host: s1, file", 1))
	code, _, errText := isukitState(t, state, "round", "-q", "--project", filepath.Join(dir, "isukit.yaml"), "--results", filepath.Join(dir, "results"))
	r, _, err := result.Find(filepath.Join(dir, "results"), "last")
	if err != nil {
		t.Fatalf("exit %d, %v: %s", code, err, errText)
	}
	if r.Access.Total.Hits != 3 || len(r.Series) != 1 || r.Series[0].Host != "s1" || !strings.Contains(strings.Join(r.Warnings, "\n"), "host s7 is unreachable") {
		t.Errorf("exit %d: %d hits, %d series: %q", code, r.Access.Total.Hits, len(r.Series), r.Warnings)
	}
}
