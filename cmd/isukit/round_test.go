package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"isukit/bench/result"
	"isukit/cmd/internal/release"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// isukit runs the built command in dir with a state directory of the test's own.
func isukitCommand(t *testing.T, dir, state string, args ...string) *exec.Cmd {
	t.Helper()
	args = append(args, "--state-dir", state)
	cmd := exec.Command(filepath.Join(buildBinaries(t), "isukit"), args...)
	cmd.Dir = dir
	return cmd
}

// aloneCommand is isukitCommand where no other process is seen: a round records the settings of the servers that it finds, and those of
// other tests come and go.
func aloneCommand(t *testing.T, dir, state string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := isukitCommand(t, dir, state, args...)
	cmd.Args = append([]string{"unshare", "-rpf", "--mount-proc", "--kill-child", cmd.Path}, cmd.Args[1:]...)
	if os.Getuid() == 0 {
		cmd.Args[1] = "-pf"
	}
	path, err := exec.LookPath("unshare")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path = path
	return cmd
}

// smallRound are the arguments of a round that is over quickly.
func smallRound(t *testing.T, engine, duration string) []string {
	t.Helper()
	return []string{"round", "--scale", "small", "--duration", duration, "--engine", engine, "--local-dir", filepath.Join(infratest.Root(t), ".local")}
}

// left lists the processes that work in the state directory.
func left(t *testing.T, state string) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, link := range dirs {
		cwd, err := os.Readlink(link)
		if err == nil && strings.HasPrefix(cwd, state+"/runs/") {
			found = append(found, link+" -> "+cwd)
		}
	}
	return found
}

// runs lists what is below the state directory's runs.
func runs(t *testing.T, state string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(state, "runs", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestRoundCommand(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			dir, state := t.TempDir(), testStateDir(t)
			var out, errs bytes.Buffer
			cmd := isukitCommand(t, dir, state, append(smallRound(t, engine, "6s"), "--json", "--capture", "round.pcap", "--tune", "mysql/measure")...)
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s", err, errs.String())
			}
			var r result.Round
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatalf("--json printed no record: %v\n%s", err, out.String())
			}
			if !r.Passed || r.Score.Total <= 0 || len(r.Phases) != 4 || r.All.Errors != 0 {
				t.Errorf("passed %t, score %d, %d phases, %d errors: %s", r.Passed, r.Score.Total, len(r.Phases), r.All.Errors, r.Reason)
			}
			if len(r.Roles) != 4 || len(r.Hosts) != 1 || r.Generator.OfSystem <= 0 || r.Bottleneck.Text == "" {
				t.Errorf("%d roles, %d hosts, generator %v of the system, bottleneck %q", len(r.Roles), len(r.Hosts), r.Generator.OfSystem, r.Bottleneck.Text)
			}
			checkKept(t, filepath.Join(dir, "results", r.ID), engine)
			checkGathered(t, filepath.Join(dir, "results", r.ID), &r)
			if l := left(t, state); len(l) > 0 || len(runs(t, state)) > 0 {
				t.Errorf("left behind: %q %q", l, runs(t, state))
			}
			showsAgain(t, dir, state, r.ID)
			readsOwnCapture(t, dir, state, &r)
		})
	}
}

// readsOwnCapture wants isukit capture to find every hit of the round in the capture that the round wrote.
func readsOwnCapture(t *testing.T, dir, state string, r *result.Round) {
	t.Helper()
	out, err := isukitCommand(t, dir, state, "capture", "round.pcap", "--jsonl", "--path", "/api/dashboard").Output()
	if err != nil {
		t.Fatalf("isukit capture: %v\n%s", err, out)
	}
	counted := int64(0)
	for _, e := range r.Endpoints {
		if e.Name == "GET /api/dashboard" {
			counted = e.Hits
		}
	}
	decoded := strings.Count(string(out), `"resp_type":"portal.v1.GetDashboardResponse"`)
	// Validate and check look at dashboards as well.
	if counted == 0 || int64(decoded) < counted {
		t.Errorf("the capture has %d dashboards, the load alone had %d", decoded, counted)
	}
}

// checkKept wants the record, the report and the logs of the servers on disk.
func checkKept(t *testing.T, dir, engine string) {
	t.Helper()
	for _, name := range []string{"round.json", "report.html", "proxy-1/access.log"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "round.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), engine) {
		t.Errorf("round.json does not name %s", engine)
	}
}

// checkGathered wants in the portal's record and page what a project's have: routes, queries with EXPLAIN, settings, what hosts did and
// flame graphs.
func checkGathered(t *testing.T, dir string, r *result.Round) {
	t.Helper()
	if len(r.Access.Routes) < 5 || r.Access.Total.Hits < r.All.Hits-r.All.Errors {
		t.Errorf("the proxy logged %d requests of %d routes, the load has %d hits", r.Access.Total.Hits, len(r.Access.Routes), r.All.Hits)
	}
	explained := 0
	for _, q := range r.Queries.Queries {
		if strings.Contains(q.Explain, "select_type") || strings.Contains(q.Explain, "->") {
			explained++
		}
	}
	if r.Queries.Statements < r.All.Hits || explained == 0 {
		t.Errorf("%d statements, %d of them explained, for %d hits: %q", r.Queries.Statements, explained, r.All.Hits, r.Warnings)
	}
	if len(r.Series) != 1 || len(r.Series[0].Seconds) < 4 || r.Noise.LoadAverageBefore < 0 || len(r.Profiles) == 0 {
		t.Errorf("series %d, profiles %d: %q", len(r.Series), len(r.Profiles), r.Warnings)
	}
	text, err := json.Marshal(r.Settings)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"innodb_buffer_pool_size"`, `"nginx proxy-1"`, `"net.core.somaxconn"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the settings lack %s", want)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`<section id="routes">`, `<section id="queries">`, `<section id="settings">`, `class="flame"`, `<pre tabindex="0">`} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

// showsAgain wants ls and show to know the round.
func showsAgain(t *testing.T, dir, state, id string) {
	t.Helper()
	for _, args := range [][]string{{"ls"}, {"ls", "--json"}, {"show"}, {"show", id[:10]}, {"show", "last", "--json"}} {
		out, err := isukitCommand(t, dir, state, args...).Output()
		if err != nil || !strings.Contains(string(out), id) {
			t.Errorf("isukit %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// startAndWaitForLoad starts a long round and returns when its load runs.
func startAndWaitForLoad(t *testing.T, dir, state string) (cmd *exec.Cmd, rest func() string) {
	t.Helper()
	return startUntilLoad(t, isukitCommand(t, dir, state, smallRound(t, infratest.Engines(t)[0], "60s")...))
}

// startUntilLoad starts a round and returns when its load runs; rest waits for its end and returns all that it said.
func startUntilLoad(t *testing.T, cmd *exec.Cmd) (started *exec.Cmd, rest func() string) {
	t.Helper()
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(pipe)
	var seen strings.Builder
	for lines.Scan() {
		fmt.Fprintln(&seen, lines.Text())
		if strings.Contains(lines.Text(), "users=") {
			return cmd, func() string {
				for lines.Scan() {
					fmt.Fprintln(&seen, lines.Text())
				}
				return seen.String()
			}
		}
	}
	t.Fatalf("the load never began: %v\n%s", cmd.Wait(), seen.String())
	return nil, nil
}

func TestInterruptedRoundLeavesNothing(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	dir, state := t.TempDir(), testStateDir(t)
	cmd, rest := startAndWaitForLoad(t, dir, state)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	text := rest()
	_ = cmd.Wait() // the exit code is looked at
	if code := cmd.ProcessState.ExitCode(); code != ui.ExitFailed || !strings.Contains(text, "interrupted") {
		t.Errorf("exit code %d, want %d and a word about it:\n%s", code, ui.ExitFailed, text)
	}
	if l := left(t, state); len(l) > 0 || len(runs(t, state)) > 0 {
		t.Errorf("left behind: %q %q", l, runs(t, state))
	}
}

func TestKilledRoundIsClearedByTheNextCommand(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	dir, state := t.TempDir(), testStateDir(t)
	cmd, rest := startAndWaitForLoad(t, dir, state)
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	rest()
	_ = cmd.Wait()
	if len(left(t, state)) == 0 {
		t.Fatal("the killed isukit left nothing: the test shows nothing")
	}
	out, err := isukitCommand(t, dir, state, "ls").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "removed what a killed isukit") {
		t.Errorf("the next command: %v\n%s", err, out)
	}
	wait.Within(func() bool { return len(left(t, state)) == 0 }) // a killed process needs a moment to be gone from /proc
	if l := left(t, state); len(l) > 0 || len(runs(t, state)) > 0 {
		t.Errorf("still there: %q %q", l, runs(t, state))
	}
}

func TestUsageErrors(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		args []string
		code int
		says string
	}{
		{[]string{"round", "--duration", "0s"}, ui.ExitUsage, "shorter than a second"},
		{[]string{"round", "--scale", "huge", "--users", "-1"}, ui.ExitUsage, "--users -1 is negative"},
		{[]string{"round", "-t", "nowhere"}, ui.ExitUsage, "single"},
		{[]string{"round", "--engine", "postgres"}, ui.ExitUsage, "postgres"},
		{[]string{"round", "--nonsense"}, ui.ExitUsage, "unknown flag"},
		{[]string{"nonsense"}, ui.ExitUsage, "unknown command"},
		{[]string{"topology", "aply"}, ui.ExitUsage, "did you mean isukit topology apply?"},
		{[]string{"show", "a", "b"}, ui.ExitUsage, `usage: isukit show [ROUND] [flags];`},
		{[]string{"ls", "more"}, ui.ExitUsage, `takes no arguments, got "more"`},
		{[]string{"show", "--results", dir}, ui.ExitUsage, "no such round"},
		{[]string{"round", "--explain-score"}, ui.ExitOK, "POST /worker/jobs/{job_id}/result"},
		{[]string{"version"}, ui.ExitOK, release.Version},
		{[]string{"ls", "--results", dir}, ui.ExitOK, "isukit round"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(t.Context(), append(tt.args, "--state-dir", dir), streams{strings.NewReader(""), &out, &errs})
			if code != tt.code || !strings.Contains(out.String()+errs.String(), tt.says) {
				t.Errorf("exit code %d, want %d and %q:\n%s%s", code, tt.code, tt.says, out.String(), errs.String())
			}
			if code == ui.ExitUsage && (!strings.HasPrefix(errs.String(), "isukit: error: ") || !strings.Contains(errs.String(), "isukit: hint: ")) {
				t.Errorf("no error with a hint:\n%s", errs.String())
			}
		})
	}
}

// TestDeadServersAreNamed kills one server of a round during its load: the round fails and names it.
func TestDeadServersAreNamed(t *testing.T) {
	t.Parallel()
	engine := infratest.Engines(t)[0]
	for _, name := range []string{"proxy-1", "api-1", "db-1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, state := t.TempDir(), testStateDir(t)
			cmd := isukitCommand(t, dir, state, append(smallRound(t, engine, "3s"), "--json")...)
			var out bytes.Buffer
			cmd.Stdout = &out
			cmd, rest := startUntilLoad(t, cmd)
			pids, err := filepath.Glob("/proc/[0-9]*/cwd")
			if err != nil {
				t.Fatal(err)
			}
			killed := 0
			for _, link := range pids {
				cwd, err := os.Readlink(link)
				if err != nil || !strings.HasPrefix(cwd, state+"/runs/") || !strings.Contains(cwd, "/"+name) {
					continue
				}
				var pid int
				if _, err := fmt.Sscanf(link, "/proc/%d/cwd", &pid); err != nil {
					t.Fatal(err)
				}
				if syscall.Kill(pid, syscall.SIGKILL) == nil {
					killed++
				}
			}
			text := rest()
			_ = cmd.Wait() // the exit code is looked at
			if killed == 0 {
				t.Fatal("nothing was killed: the test shows nothing")
			}
			var r result.Round
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatalf("no record: %v\n%s", err, text)
			}
			if code := cmd.ProcessState.ExitCode(); code != ui.ExitRound || r.Passed || r.Score.Total != 0 || !strings.Contains(r.Reason, name+" ended") {
				t.Errorf("exit code %d, passed %t, score %d, reason %q; want %d and that %s ended", code, r.Passed, r.Score.Total, r.Reason, ui.ExitRound, name)
			}
		})
	}
}

func TestInputsThatNeverEnd(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo.yaml")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(dir, "results", "20260101T000000Z-x")
	if err := os.MkdirAll(record, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(record, "round.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"round", "-t", "/dev/zero"}, {"round", "-t", fifo}, {"show", "--results", filepath.Join(dir, "results")},
		{"round", "--results", fifo},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append(args, "--state-dir", dir), streams{strings.NewReader(""), &out, &errs})
		if code == ui.ExitOK || !strings.Contains(errs.String(), "not a") {
			t.Errorf("%q: exit code %d:\n%s", args, code, errs.String())
		}
	}
}
