package main

import (
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isukit/cmd/internal/ui"
)

// allCommands are those of isukit, without what cobra brings along.
func allCommands(t *testing.T) []*cobra.Command {
	t.Helper()
	var all []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Name() == "completion" || c.Name() == "help" {
			return
		}
		all = append(all, c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRootCmd(streams{in: strings.NewReader("")}))
	if len(all) < 20 {
		t.Fatalf("only %d commands were found", len(all))
	}
	return all
}

// TestHelpIsOneScreen holds that isukit --help names every command once, in a group, within 80 columns and 40 lines.
func TestHelpIsOneScreen(t *testing.T) {
	text, _, code := cli(t, "", "--help")
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if code != ui.ExitOK || len(lines) < 24 || len(lines) > 40 {
		t.Errorf("exit %d, %d lines, want 24 to 40:\n%s", code, len(lines), text)
	}
	for _, l := range lines {
		if len([]rune(l)) > 80 {
			t.Errorf("%d columns: %s", len([]rune(l)), l)
		}
	}
	for _, c := range allCommands(t) {
		if c.HasParent() && !c.Parent().HasParent() && !c.Hidden && !strings.Contains(text, "\n  "+c.Name()+" ") && c.Name() != "version" {
			t.Errorf("%s is in no group of helpGroups", c.Name())
		}
	}
	if again, _, code := cli(t, ""); code != ui.ExitOK || again != text {
		t.Errorf("isukit alone prints something else, exit %d", code)
	}
}

// TestWrongInput: user errors are reported before anything starts, with a hint and exit code 2.
func TestWrongInput(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there.pcap")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ISUKIT_RESULTS", filepath.Join(dir, "results"))
	t.Setenv("ISUKIT_STATE_DIR", filepath.Join(dir, "state"))
	t.Setenv("ISUKIT_APP", there)
	for command, want := range map[string]string{
		"diff":                                          "isukit diff takes 2 arguments, got 0\n",
		"topology apply":                                "isukit topology apply takes 1 argument, got 0\n",
		"tune apply":                                    "isukit tune apply takes at least 1 argument, got 0\n",
		"topology show a b":                             "isukit topology show takes 1 argument, got 2\n",
		"round --capture " + there:                      "--capture: open " + there + ": file exists\n",
		"round --capture /none/a.pcap":                  "--capture: open /none/a.pcap: no such file or directory\n",
		"round --cpu-scale 0.5":                         "--cpu-scale needs --driver lab\n",
		"topology apply single --cpu-scale 0.5":         "--cpu-scale needs --driver lab\n",
		"round --accept-risk nosuch":                    `--accept-risk: tuning "nosuch" does not exist`,
		"round --mix crowd":                             `mix "crowd" does not exist (have everyone, audience)`,
		"digest access " + dir + "/no":                  "open " + dir + "/no: no such file or directory\n",
		"capture " + dir + "/no":                        "open " + dir + "/no: no such file or directory\n",
		"replay --to http://127.0.0.1:1 " + dir + "/no": "open " + dir + "/no: no such file or directory\n",
		"show":              "no such round",
		"final":             "no isukit.yaml in this directory\n",
		"final --rounds -1": "--rounds -1 is negative\n",
	} {
		out, errs, code := cli(t, "", strings.Fields(command)...)
		if code != ui.ExitUsage || out != "" || !strings.HasPrefix(errs, "isukit: error: ") || !strings.Contains(errs, want) || !strings.Contains(errs, "\nisukit: hint: ") {
			t.Errorf("isukit %s: exit %d, stdout %q, stderr %q, want 2, %q and a hint", command, code, out, errs, want)
		}
	}
}

// printsNoResult are commands without --json, and why.
var printsNoResult = map[string]string{
	"isukit notify":        "posts what it has to say",
	"isukit serve":         "answers a browser",
	"isukit note":          "writes a note",
	"isukit restore":       "prints commands, which a shell runs",
	"isukit init":          "writes a YAML file",
	"isukit next":          "prints commands, which a person runs",
	"isukit encode":        "writes the bytes of a message",
	"isukit lab shell":     "is a shell",
	"isukit lab run":       "prints what the command prints",
	"isukit lab fault":     "says on standard error what is done",
	"isukit lab down":      "says on standard error what is gone",
	"isukit topology down": "says on standard error what is gone",
	"isukit topology show": "prints a YAML file",
}

// severalMeanings are flags whose words may differ from command to command, and what they have in common.
var severalMeanings = map[string]string{
	"from":     "where a window of time begins: a moment in logs, a second of the load in rounds; in replicas repair, the database to copy rows from",
	"to":       "where that window ends; in send and replay, as issue and manual pages have it, the server",
	"force":    "do it although somebody else changed something",
	"rounds":   "how many rounds are run",
	"top":      "how many lines are printed",
	"route":    "a route: that a body came from, or those into which a log is summed up",
	"type":     "a message type; decode takes one for each file",
	"keylog":   "a file of TLS keys, which a round writes and the others read",
	"timeout":  "timeout of a response",
	"json":     "one document, or one object a line",
	"capture":  "a file of packets",
	"dry-run":  "say what would be done",
	"driver":   "what makes hosts real; a round without one is a run of its own, and doctor looks elsewhere",
	"topology": "a topology; doctor takes none for what is up",
	"db":       "a file with the DSN of a database; what its account must be allowed differs",
	"host":     "a host",
	"user":     "an account of hosts",
	"tool":     "a package of hosts",
	"tables":   "tables",
	"wait":     "how long to wait",
	"seed":     "what random choices follow from: the dataset and the users' plans, or the plan of an experiment",
	"budget":   "how long rounds may take together",
	"metrics":  "what rounds are judged by: compare takes several",
}

var (
	flagName  = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	jsonUsage = regexp.MustCompile(`^print (JSON|one JSON object per line)$`)
)

// TestOneManner holds every command and flag to the same manner.
func TestOneManner(t *testing.T) {
	first := map[string]*pflag.Flag{}
	shorthands := map[string]string{}
	for _, c := range allCommands(t) {
		path := c.CommandPath()
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || c.Short[0] < 'A' || c.Short[0] > 'Z' {
			t.Errorf("%s: Short %q, want a sentence without a period", path, c.Short)
		}
		if len(c.Short) > 79 {
			t.Errorf("%s: Short has %d characters", path, len(c.Short))
		}
		if c.HasParent() && c.Args == nil {
			t.Errorf("%s does not say which arguments it takes", path)
		}
		if c.HasParent() && !c.Hidden && !strings.Contains(c.Example, "  isukit ") && !strings.Contains(c.Example, "| isukit ") {
			t.Errorf("%s has no example", path)
		}
		exampleFlags(t, c)
		if !c.HasSubCommands() && !c.Hidden {
			if why, exempt := printsNoResult[path]; exempt == (c.Flag("json") != nil) {
				t.Errorf("%s: --json is there: %v, and it %q", path, c.Flag("json") != nil, why)
			}
		}
		if q := c.Flag("quiet"); q == nil || q.Shorthand != "q" || c.LocalNonPersistentFlags().Lookup("quiet") != nil {
			t.Errorf("%s has a --quiet of its own, or none", path)
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" {
				return
			}
			checkFlag(t, path, f, first, shorthands)
		})
	}
	for name := range printsNoResult {
		if !slices.ContainsFunc(allCommands(t), func(c *cobra.Command) bool { return c.CommandPath() == name }) {
			t.Errorf("printsNoResult names %s, which is no command", name)
		}
	}
	for name := range maps.Keys(severalMeanings) {
		if first[name] == nil {
			t.Errorf("severalMeanings names --%s, which no command has", name)
		}
	}
}

func checkFlag(t *testing.T, path string, f *pflag.Flag, first map[string]*pflag.Flag, shorthands map[string]string) {
	t.Helper()
	if !flagName.MatchString(f.Name) {
		t.Errorf("%s: --%s is not lower case with dashes", path, f.Name)
	}
	if f.Usage == "" || strings.HasSuffix(f.Usage, ".") || f.Usage[0] >= 'A' && f.Usage[0] <= 'Z' && f.Usage[1] >= 'a' && f.Usage[1] <= 'z' {
		t.Errorf("%s: --%s: %q is no phrase in lower case without a period", path, f.Name, f.Usage)
	}
	if f.Name == "json" && !jsonUsage.MatchString(f.Usage) {
		t.Errorf("%s: --json: %q", path, f.Usage)
	}
	if f.Shorthand != "" {
		if other, ok := shorthands[f.Shorthand]; ok && other != f.Name {
			t.Errorf("%s: -%s is --%s, and --%s elsewhere", path, f.Shorthand, f.Name, other)
		}
		shorthands[f.Shorthand] = f.Name
	}
	before, ok := first[f.Name]
	if !ok {
		first[f.Name] = f
		return
	}
	if before.Shorthand != f.Shorthand {
		t.Errorf("%s: --%s has the short form %q, and %q elsewhere", path, f.Name, f.Shorthand, before.Shorthand)
	}
	if _, ok := severalMeanings[f.Name]; ok {
		return
	}
	if before.Value.Type() != f.Value.Type() || before.Usage != f.Usage {
		t.Errorf("%s: --%s is a %s, %q; elsewhere a %s, %q", path, f.Name, f.Value.Type(), f.Usage, before.Value.Type(), before.Usage)
	}
	if before.DefValue != f.DefValue {
		t.Errorf("%s: --%s defaults to %q, and to %q elsewhere", path, f.Name, f.DefValue, before.DefValue)
	}
}

// exampleFlags holds that what an example shows are flags of the command.
func exampleFlags(t *testing.T, c *cobra.Command) {
	t.Helper()
	for line := range strings.Lines(c.Example) {
		_, args, ok := strings.Cut(line, "isukit ")
		if !ok {
			continue
		}
		args, _, _ = strings.Cut(args, "|")
		args = regexp.MustCompile(`"[^"]*"|'[^']*'| -- .*|#.*`).ReplaceAllString(args, "x")
		shown, rest, err := c.Root().Find(strings.Fields(args))
		if err != nil {
			t.Errorf("%s: the example %q: %v", c.CommandPath(), strings.TrimSpace(line), err)
			continue
		}
		for _, word := range rest {
			if name, ok := strings.CutPrefix(word, "--"); ok {
				if name, _, _ = strings.Cut(name, "="); shown.Flag(name) == nil && name != "" {
					t.Errorf("%s: the example %q: %s has no --%s", c.CommandPath(), strings.TrimSpace(line), shown.CommandPath(), name)
				}
			}
		}
	}
}

// parseLines reads what a command prints that lists things with --json.
func parseLines[T any](out string) ([]T, error) {
	var list []T
	decoder := json.NewDecoder(strings.NewReader(out))
	for {
		var v T
		if err := decoder.Decode(&v); err == io.EOF {
			return list, nil
		} else if err != nil {
			return list, err
		}
		list = append(list, v)
	}
}
