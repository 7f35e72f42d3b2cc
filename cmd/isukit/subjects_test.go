package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
)

// The kinds of subject that a command may be about.
const (
	portalLocal = iota
	portalLab
	projectHere
	projectSSH
	allSubjects
)

var subjectNames = [allSubjects]string{"the portal with driver local", "the portal in the lab", "a project on this machine", "a project over ssh"}

// outcome is a command line, and the error that refuses it, or "". nil arguments are skipped.
type outcome struct {
	args    []string
	refuses string
}

const (
	noProject  = "no isukit.yaml in this directory"
	noReplicas = "no databases"
	sameTables = "has no replicated databases"
	notWaited  = "no benchmark started"
	noWebhook  = "no webhook"
)

// portalRound are the arguments of a small round of the portal.
func portalRound(driver string) []string {
	return []string{"-t", "single", "--driver", driver, "--scale", "small", "--duration", "1s"}
}

// onAll are the same arguments for every subject, with the driver for the portal's.
func onAll(args ...string) [allSubjects]outcome {
	return [allSubjects]outcome{{append(slices.Clone(args), "--driver", "local"), ""}, {append(slices.Clone(args), "--driver", "lab"), ""}, {args, ""}, {args, ""}}
}

func compared(driver string) outcome {
	args := []string{"round=", "round=", "--rounds", "1", "--warmup", "0", "--repeats", "0"}
	if driver != "" {
		args = append(args, "--both", strings.Join(portalRound(driver), " "))
	}
	return outcome{args, ""}
}

func refused(args []string, portal, project string) [allSubjects]outcome {
	return [allSubjects]outcome{{args, portal}, {args, portal}, {args, project}, {args, project}}
}

// outcomes say for every command that is about hosts and services, in the order in which they are run, what becomes of it for each kind of
// subject.
var outcomes = []struct {
	command string
	of      [allSubjects]outcome
}{
	{"topology apply", [allSubjects]outcome{{[]string{"single", "--driver", "local", "--scale", "small"}, ""}, {[]string{"single", "--driver", "lab", "--scale", "small"}, ""}, {}, {}}},
	{"topology status", [allSubjects]outcome{{[]string{"--driver", "local"}, ""}, {[]string{"--driver", "lab"}, ""}, {}, {}}},
	{"topology verify", [allSubjects]outcome{{[]string{"--driver", "local"}, ""}, {[]string{"--driver", "lab"}, ""}, {}, {}}},
	{"lab ls", [allSubjects]outcome{{}, {nil, ""}, {}, {}}},
	{"lab fault", [allSubjects]outcome{{}, {[]string{"s1", "--delay", "1ms", "--for", "1s"}, ""}, {}, {}}},
	{"lab run", [allSubjects]outcome{{}, {[]string{"s1", "true"}, ""}, {}, {}}},
	{"doctor", onAll("--only", "swap")},
	{"tune diff", onAll("mysql/io-capacity")},
	{"tune apply", onAll("mysql/io-capacity")},
	{"tune verify", onAll()},
	{"tune revert", onAll("--all")},
	{"replicas status", refused(nil, sameTables, noReplicas)},
	{"replicas check", refused(nil, sameTables, noReplicas)},
	{"replicas repair", refused(nil, sameTables, noReplicas)},
	{"replicas eject", refused([]string{"db-1"}, sameTables, noReplicas)},
	{"replicas admit", refused([]string{"db-1"}, sameTables, noReplicas)},
	{"round", [allSubjects]outcome{{portalRound("local"), ""}, {portalRound("lab"), ""}, {[]string{"--tune", "mysql/io-capacity"}, ""}, {[]string{"--tune", "mysql/io-capacity"}, ""}}},
	{"compare", [allSubjects]outcome{compared("local"), compared("lab"), compared(""), compared("")}},
	{"observe", refused([]string{"--by-load", "--wait", "2s"}, noProject, notWaited)},
	{"final", [allSubjects]outcome{{nil, noProject}, {nil, noProject}, {[]string{"--rounds", "1"}, ""}, {[]string{"--rounds", "1"}, ""}}},
	{"notify", refused([]string{"last"}, noWebhook, noWebhook)},
	{"show", refused([]string{"last"}, "", "")},
	{"doctor stop", [allSubjects]outcome{{[]string{"PID"}, ""}, {[]string{"PID", "--host", "s1"}, "unknown host"}, {[]string{"PID"}, ""}, {[]string{"team.service", "--host", "s1"}, ""}}},
	{"doctor start", [allSubjects]outcome{{nil, ""}, {[]string{"--host", "s1"}, "unknown host"}, {nil, ""}, {[]string{"--host", "s1"}, ""}}},
	{"topology down", [allSubjects]outcome{{[]string{"--driver", "local"}, ""}, {[]string{"--driver", "lab"}, ""}, {}, {}}},
}

// subjectless are commands about files, records, addresses or isukit itself, and those with a table of their own: screen and autotune play
// rounds as compare does, advise, note and restore take saved rounds, hosts and doctor probe take new hosts, capture and lab shell end by a
// signal.
var subjectless = []string{"capture", "decode", "diff", "digest access", "digest queries", "doctor lint", "doctor probe", "encode", "hits", "hosts init", "hosts ls",
	"hosts revert", "init", "lab down", "lab link", "lab shell", "lab up", "latency", "ls", "man", "replay", "replicas lint", "routes learn", "screen resume", "send", "serve",
	"topology diff", "topology ls", "topology show", "tune ls", "tune show", "types", "version", "screen", "autotune", "routes", "advise", "autotune resume", "note", "restore", "next", "digest diff"}

// TestEveryCommandHasAnOutcome holds that the table above has every command, and that the docs give each reason.
func TestEveryCommandHasAnOutcome(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var docs strings.Builder
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		docs.Write(text)
	}
	known := slices.Clone(subjectless)
	for _, o := range outcomes {
		known = append(known, o.command)
		for kind, one := range o.of {
			if !strings.Contains(docs.String(), one.refuses) {
				t.Errorf("%s of %s refuses with %q, which no page says", o.command, subjectNames[kind], one.refuses)
			}
		}
	}
	for _, c := range allCommands(t) {
		if !c.HasSubCommands() && !slices.Contains(known, pathOf(c)) {
			t.Errorf("isukit %s: what becomes of it for each kind of subject is not in the table", pathOf(c))
		}
	}
}

// TestEveryCommandOfEverySubject runs the table: each command line works, or refuses with its reason.
func TestEveryCommandOfEverySubject(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	var runs [allSubjects]func(args []string) (code int, out string)
	local := filepath.Join(infratest.Root(t), ".local")
	for _, kind := range []int{portalLocal, portalLab} {
		dir, state := t.TempDir(), testStateDir(t)
		runs[kind] = func(args []string) (int, string) {
			cmd := isukitCommand(t, dir, state, args...)
			cmd.Env = append(os.Environ(), "ISUKIT_LOCAL_DIR="+local)
			out, _ := cmd.CombinedOutput() // the exit code is looked at
			return cmd.ProcessState.ExitCode(), string(out)
		}
	}
	here := newTunableProject(t)
	runs[projectHere] = func(args []string) (int, string) {
		cmd := isukitCommand(t, here.dir, here.state, args...)
		out, _ := cmd.CombinedOutput() // the exit code is looked at
		return cmd.ProcessState.ExitCode(), string(out)
	}
	team := newTuneTeam(t)
	text, err := os.ReadFile(filepath.Join(team.dir, "isukit.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(team.dir, "isukit.yaml"), strings.Replace(string(text), "{external: true}", "{command: 'echo score: 5'}", 1))
	runs[projectSSH] = func(args []string) (int, string) {
		res := team.start(t, args...)
		return res.Code, string(res.Stdout) + string(res.Stderr)
	}
	for kind, run := range runs {
		t.Run(subjectNames[kind], func(t *testing.T) {
			t.Parallel()
			busy := exec.Command("sleep", "1000")
			if err := busy.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = busy.Process.Kill()
				_ = busy.Wait() // it was killed
			}()
			pid := strconv.Itoa(busy.Process.Pid)
			for _, o := range outcomes {
				one := o.of[kind]
				if one.args == nil && one.refuses == "" && !slices.Contains([]string{"lab ls", "doctor start", "tune verify"}, o.command) {
					continue // no command line
				}
				args := slices.Concat(strings.Fields(o.command), one.args)
				for i := range args {
					args[i] = strings.Replace(args[i], "PID", pid, 1)
				}
				code, out := run(args)
				switch works := code == ui.ExitOK || code == ui.ExitRound && strings.HasPrefix(o.command, "doctor"); {
				case one.refuses == "" && !works:
					t.Errorf("isukit %s: exit %d:\n%s", strings.Join(args, " "), code, out)
				case one.refuses != "" && (code == ui.ExitOK || !strings.Contains(out, one.refuses)):
					t.Errorf("isukit %s: exit %d, want it refused with %q:\n%s", strings.Join(args, " "), code, one.refuses, out)
				}
			}
		})
	}
}
