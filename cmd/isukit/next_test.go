package main

import (
	"strings"
	"testing"
	"time"

	"isukit/bench/compare"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/session"
	"isukit/cmd/internal/ui"
)

// TestNextAfterRound holds what is suggested, and that it is a command with flags that exist.
func TestNextAfterRound(t *testing.T) {
	cpu := func(role string) result.Bottleneck { return result.Bottleneck{Resource: "cpu", Host: "s1", Role: role} }
	plain := roundOptions{Options: round.Options{Topology: "single", Shape: "grow", Duration: 30 * time.Second}}
	with := func(change func(*roundOptions)) roundOptions { o := plain; change(&o); return o }
	for name, tt := range map[string]struct {
		r    result.Round
		o    roundOptions
		want string
	}{
		"the database": {result.Round{Passed: true, Bottleneck: cpu("db-1")}, plain, "isukit round -t final-1 --driver lab"},
		"without Envoy": {result.Round{Passed: true, Bottleneck: cpu("db-1")}, with(func(o *roundOptions) { o.carried = " --scale small" }),
			"isukit round -t final-1 --proxy nginx --driver lab --scale small"},
		"the app, placed": {result.Round{Passed: true, Bottleneck: cpu("web-1")}, with(func(o *roundOptions) { o.Topology = "final-1" }),
			"isukit round -t final-2 --driver lab"},
		"a topology of one's own": {result.Round{Passed: true, Bottleneck: cpu("db-1")}, with(func(o *roundOptions) { o.Topology = "./my own.yaml" }),
			`isukit compare tune=none tune=mysql/durability-relaxed --both "-t './my own.yaml'"`},
		"from the whole machine to the lab": {result.Round{Passed: true, Bottleneck: cpu("db-1"), Hosts: []result.HostUsage{{Host: "s1", CPUs: 2}}}, plain,
			"isukit round -t final-1 --driver lab   # hosts with 0.19 of their CPUs: compare with isukit round -t single --driver lab --cpu-scale 0.188"},
		"from lab to lab": {result.Round{Passed: true, Bottleneck: cpu("db-1"), Hosts: []result.HostUsage{{Host: "s1", CPUs: 0.4}}},
			with(func(o *roundOptions) { o.Topology, o.Driver, o.carried = "final-1", "lab", " --cpu-scale 0.2" }),
			"isukit round -t final-3 --driver lab --cpu-scale 0.2"},
		"others on the host": {result.Round{Passed: true, Bottleneck: cpu("db-1"), Hosts: []result.HostUsage{{Host: "s1", Foreign: 0.7}}}, plain,
			"isukit doctor --only cpu-others"},
		"tuned": {result.Round{Passed: true, Bottleneck: cpu("db-1")}, with(func(o *roundOptions) { o.Tune = []string{"mysql/memory", "nginx/keepalive"} }),
			"isukit compare tune=none tune=mysql/memory,nginx/keepalive"},
		"nothing was full": {result.Round{Passed: true, LoadSeconds: 30, Bottleneck: result.Bottleneck{Resource: "none"}}, plain,
			"isukit round --duration 1m"},
		"nothing was full, others ran": {result.Round{Passed: true, Bottleneck: result.Bottleneck{Resource: "none", Host: "s1"},
			Hosts: []result.HostUsage{{Host: "s1", Foreign: 0.7}}}, plain, "isukit doctor --only cpu-others"},
		"with other flags": {result.Round{Passed: true, Bottleneck: cpu("db-1")}, with(func(o *roundOptions) { o.carried, o.Duration = " --engine mysql", 10*time.Second }),
			"isukit round -t final-1 --driver lab --engine mysql --duration 10s"},
		"the generator": {result.Round{Passed: true, Bottleneck: result.Bottleneck{Resource: "generator"}}, plain, ""},
		"wrong answers": {result.Round{Errors: []result.ErrorGroup{{Kind: "wrong", Count: 1}}}, plain, "isukit round --capture failed.pcap"},
		"wrong answers, captured": {result.Round{Errors: []result.ErrorGroup{{Kind: "wrong", Count: 1}}}, with(func(o *roundOptions) { o.Capture = "x.pcap" }),
			"isukit capture --bodies --status 400-599 x.pcap"},
		"a server that ended": {result.Round{Reason: "a server stopped"}, plain, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.TrimPrefix(nextAfterRound(&tt.r, tt.o, name != "without Envoy"), "sudo ")
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			isCommand(t, got)
		})
	}
	for from, byRole := range placements {
		for role, to := range byRole {
			for _, name := range []string{from, to} {
				if _, err := readTopology(name); err != nil {
					t.Errorf("%s, %s: %v", from, role, err)
				}
			}
		}
	}
}

// isCommand holds that text is a command of isukit with flags that it has.
func isCommand(t *testing.T, text string) {
	t.Helper()
	if text == "" {
		return
	}
	cmd, rest, err := newRootCmd(streams{in: strings.NewReader("")}).Find(strings.Fields(text)[1:])
	if err != nil {
		t.Errorf("%q: %v", text, err)
		return
	}
	for _, word := range rest {
		if name, ok := strings.CutPrefix(word, "--"); ok && cmd.Flag(name) == nil {
			t.Errorf("%q: there is no %s", text, word)
		}
	}
}

func TestNextAfterCompare(t *testing.T) {
	for _, tt := range []struct {
		a, b    string
		verdict compare.Verdict
		o       compareOptions
		want    string
	}{
		{"topology=single", "topology=final-1", compare.Better, compareOptions{}, "isukit topology apply final-1"},
		{"topology=single", "topology=final-1", compare.Worse, compareOptions{}, "isukit topology apply single"},
		{"topology=single", "topology=final-1", compare.Better, compareOptions{both: "--driver lab --proxy=nginx --duration 10s"},
			"isukit topology apply final-1 --driver lab --proxy nginx"},
		{"tune=none", "tune=mysql/memory", compare.Better, compareOptions{}, "isukit round --tune mysql/memory"},
		{"tune=none", "tune=mysql/memory", compare.Worse, compareOptions{}, ""},
		{"tune=none", "tune=mysql/memory", compare.Same, compareOptions{}, ""},
		{"tune=none", "tune=mysql/memory", compare.Undecided, compareOptions{both: "-t final-1"},
			"isukit compare tune=none tune=mysql/memory --until-sure --both '-t final-1'"},
		{"tune=none", "tune=mysql/memory", compare.Undecided, compareOptions{plan: session.Plan{UntilSure: true}}, ""},
		{"last-1", "last", compare.Undecided, compareOptions{}, ""},
	} {
		c := &compare.Comparison{A: compare.SideSummary{Name: tt.a}, B: compare.SideSummary{Name: tt.b}, Metrics: []compare.Metric{{Name: "score", Verdict: tt.verdict}}}
		got := nextAfterCompare(c, tt.o)
		if got != tt.want {
			t.Errorf("%s, %s, %s: got %q, want %q", tt.a, tt.b, tt.verdict, got, tt.want)
		}
		isCommand(t, got)
	}
}

// TestNextIsSilent holds that --quiet and --json leave the line away, and that it carries the flags that name the same things.
func TestNextIsSilent(t *testing.T) {
	file := "../../proto/capture/testdata/plain.pcap"
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"capture", file}, "isukit capture --bodies " + file + " --status 4xx,5xx"},
		{[]string{"capture", "--status", "200", file}, "isukit capture --bodies " + file + " --status 200"},
		{[]string{"capture", "--method", "GET", file}, "isukit capture --bodies " + file + " --method GET"},
		{[]string{"capture", "--method", "GET", "-q", file}, ""},
		{[]string{"capture", "--method", "GET", "--json", file}, ""},
		{[]string{"capture", "--bodies", file}, ""},
		{[]string{"capture", "--method", "GET", "--bodies", file}, "isukit replay " + file + " --to URL"},
		{[]string{"capture", "--method", "BREW", file}, ""}, // nothing to show
	} {
		_, errs, code := cli(t, "", tt.args...)
		_, got, _ := strings.Cut(errs, "isukit: next: ")
		if code != ui.ExitOK || strings.TrimSuffix(got, "\n") != tt.want {
			t.Errorf("%q: exit %d, next %q, want %q", tt.args, code, got, tt.want)
		}
		isCommand(t, tt.want)
	}
}

func TestShortTime(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Minute: "1m", 30 * time.Second: "30s", time.Hour: "1h", 90 * time.Second: "1m30s",
		10 * time.Minute: "10m", time.Hour + time.Second: "1h0m1s", 1500 * time.Millisecond: "1.5s"} {
		if got := ui.ShortTime(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestShellWord(t *testing.T) {
	for word, want := range map[string]string{"a/b-c.yaml": "a/b-c.yaml", "": "''", "it's": `'it'\''s'`, "a b": "'a b'", "$x": "'$x'"} {
		if got := shellWord(word); got != want {
			t.Errorf("%q: got %s, want %s", word, got, want)
		}
	}
}

// TestNextOnTheSameServers holds that what comes after a command of isukit tune or replicas is on the servers it was given.
func TestNextOnTheSameServers(t *testing.T) {
	for name, flags := range map[string][]string{"tune apply": tuneServerFlags, "replicas check": replicaFlags} {
		cmd, _, err := newRootCmd(streams{in: strings.NewReader("")}).Find(strings.Fields(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range flags {
			if cmd.Flag(f) == nil {
				t.Errorf("isukit %s has no --%s", name, f)
			}
		}
	}
	cmd, _, _ := newRootCmd(streams{in: strings.NewReader("")}).Find([]string{"tune", "apply"})
	if err := cmd.ParseFlags([]string{"--driver", "lab"}); err != nil {
		t.Fatal(err)
	}
	if got, want := nextOn(cmd, "isukit tune verify", tuneServerFlags...), "isukit tune verify --driver lab"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNextAfterDoctor(t *testing.T) {
	for args, want := range map[string]string{
		"": "isukit round", "-t final-1 --driver lab": "isukit round --driver lab --topology final-1", "--driver lab": "",
	} {
		cmd := newDoctorCmd(streams{in: strings.NewReader("")})
		if err := cmd.ParseFlags(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if got := nextAfterDoctor(cmd); got != want {
			t.Errorf("doctor %s: got %q, want %q", args, got, want)
		}
		isCommand(t, want)
	}
}

// TestRoundOn holds that a round is suggested on a topology that is up only where it would not swap it for another.
func TestRoundOn(t *testing.T) {
	shipped, err := readTopology("final-1")
	if err != nil {
		t.Fatal(err)
	}
	other, err := round.WithServers(shipped, "", "nginx")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, hash, want string }{
		{"final-1", shipped.Hash(), "isukit round -t final-1 --driver lab"},
		{"final-1", other.Hash(), "isukit round -t final-1 --proxy nginx --driver lab"},
		{"final-1", "another", ""},
		{"of-a-file", shipped.Hash(), ""},
		{"", "", ""},
	} {
		if got := roundOn(tt.name, tt.hash, "lab"); got != tt.want {
			t.Errorf("%s, %s: got %q, want %q", tt.name, tt.hash, got, tt.want)
		}
	}
}
