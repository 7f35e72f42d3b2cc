package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/infra/doctor"
	"isukit/infra/infratest"
	"isukit/infra/topology"
)

// shownCommands returns the lines of a page's sh blocks, without comments.
func shownCommands(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	inside := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```sh"
		case inside:
			if command, _, _ := strings.Cut(line, " #"); strings.TrimSpace(command) != "" {
				commands = append(commands, strings.TrimSpace(command))
			}
		}
	}
	return commands
}

// elsewhere are shown commands that this test does not run, and why.
var elsewhere = map[string]string{
	"make test": "is what runs this test",
}

// shortened are shown commands that would run many rounds, with the environment that makes them few.
var shortened = map[string]string{
	`isukit compare "round=--users 20" "round=--users 40"`: "ISUKIT_ROUNDS=1 ISUKIT_WARMUP=0 ISUKIT_REPEATS=0 ",
}

// docsEnv makes every round a short one on little data; the commands stay as they are printed. With -trimpath a copy of the tree
// compiles to what an earlier one did, and is compiled once.
func docsEnv(t *testing.T, root string) []string {
	t.Helper()
	return append(os.Environ(),
		"ISUKIT_SCALE=small", "ISUKIT_DURATION=2s", "ISUKIT_STATE_DIR="+testStateDir(t), "GOFLAGS=-trimpath",
		"ISUKIT_LOCAL_DIR="+filepath.Join(root, ".local"), "PATH="+buildBinaries(t)+":"+os.Getenv("PATH"))
}

// TestReadmeCommands runs what the README shows, in order, in a copy of the tree as a clone would have it.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	root := infratest.Root(t)
	dir := t.TempDir()
	copyTree := exec.Command("sh", "-c", `git ls-files -co --exclude-standard -z | tar --null --ignore-failed-read -cf - -T - | tar -xf - -C "$0"`, dir)
	copyTree.Dir = root
	if out, err := copyTree.CombinedOutput(); err != nil {
		t.Fatalf("copy the tree: %v\n%s", err, out)
	}
	page := filepath.Join(root, "README.md")
	runShown(t, page, dir, docsEnv(t, root))
	ran := shownCommands(t, page)
	for _, c := range shownCommands(t, filepath.Join(root, "README.ja.md")) {
		if !slices.Contains(ran, c) {
			t.Errorf("README.ja.md shows %q, which README.md does not: it did not run", c)
		}
	}
}

// TestDocsCommands runs what the pages of docs/ show, in a directory that holds two rounds.
func TestDocsCommands(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	root := infratest.Root(t)
	dir, env := t.TempDir(), docsEnv(t, root)
	for range 2 {
		runLine(t, "isukit round -q", dir, env)
	}
	// What users have of their own: .proto files, and a capture of an app that speaks them.
	runLine(t, "mkdir proto && cp -R "+filepath.Join(root, "proto", "portal")+" proto/ && cp "+
		filepath.Join(root, "proto", "capture", "testdata", "plain.pcap")+" contest.pcap", dir, env)
	for _, language := range []string{".", "ja"} {
		pages, err := filepath.Glob(filepath.Join(root, "docs", language, "*.md"))
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range pages {
			t.Run(filepath.Join(language, filepath.Base(page)), func(t *testing.T) { runShown(t, page, dir, env) })
		}
	}
}

func runShown(t *testing.T, page, dir string, env []string) {
	t.Helper()
	for _, command := range shownCommands(t, page) {
		if _, ok := elsewhere[command]; !ok {
			runLine(t, shortened[command]+command, dir, env)
		}
	}
}

func runLine(t *testing.T, line, dir string, env []string) {
	t.Helper()
	cmd := exec.Command("sh", "-ec", line)
	cmd.Dir, cmd.Env = dir, env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
}

// TestShownOutput compares the output blocks of pages with what isukit prints: each line has the form of a printed one, in which numbers,
// paths and message types may differ.
func TestShownOutput(t *testing.T) {
	root := infratest.Root(t)
	plain := filepath.Join(root, "proto", "capture", "testdata", "plain.pcap")
	packets, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.pcap")
	if err := os.WriteFile(cut, packets[:len(packets)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	printed := map[string]func() string{
		"capture.md": func() string {
			whole, _, _ := cli(t, "", "capture", plain)
			part, _, _ := cli(t, "", "capture", cut)
			return whole + part
		},
		"doctor.md": func() string {
			envoy := doctor.Process{Role: "proxy-1", Name: "envoy", PID: 9, OpenFiles: 1000, SoftLimit: 1024}
			seen := &doctor.Observed{Hosts: []doctor.Host{{Name: "s2", Processes: []doctor.Process{envoy}}}}
			return findingsText(doctor.Diagnose(seen, doctor.Checks()), len(doctor.Checks()))
		},
		"command-line.md": func() string {
			var errs strings.Builder
			r := &result.Round{Passed: true, Bottleneck: result.Bottleneck{Resource: "cpu", Role: "db-1"}}
			sayNext(streams{err: &errs}, false, strings.TrimPrefix(nextAfterRound(r, roundOptions{Options: round.Options{Topology: "single", Duration: defaultDuration}}, true), "sudo "))
			return errs.String()
		},
		"exit-codes.md": func() string {
			_, errs, _ := cli(t, "", "show", "--results", t.TempDir(), "20261122T2044")
			return errs
		},
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split(string(text), "```output\n")[1:]
		if len(blocks) == 0 {
			continue
		}
		name := filepath.Base(page)
		if printed[name] == nil {
			t.Errorf("%s shows output, and this test does not print it", name)
			continue
		}
		forms := map[string]bool{}
		for line := range strings.Lines(printed[name]()) {
			forms[formOf(line)] = true
		}
		for _, block := range blocks {
			block, _, _ = strings.Cut(block, "```")
			for line := range strings.Lines(block) {
				if shown++; !forms[formOf(line)] {
					t.Errorf("%s: isukit prints no line of the form of %q; it prints %v", name, line, slices.Collect(maps.Keys(forms)))
				}
			}
		}
	}
	if shown < 10 {
		t.Errorf("only %d lines were compared", shown)
	}
}

var (
	shownNumber = regexp.MustCompile(`[0-9][0-9T.,:]*`)
	shownPath   = regexp.MustCompile(`/[a-z][\w/?=.-]*`)
	shownType   = regexp.MustCompile(`\b[A-Z][a-z]+[A-Z]\w+`)
)

func formOf(line string) string {
	line = shownType.ReplaceAllString(shownPath.ReplaceAllString(line, "/"), "T")
	return strings.TrimRight(shownNumber.ReplaceAllString(line, "0"), "\n")
}

// TestShownTopologyIsOne parses the file that docs/topology.md shows.
func TestShownTopologyIsOne(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "topology.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	block, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the page shows no file")
	}
	if _, err := topology.Parse("topology.md", []byte(block)); err != nil {
		t.Error(err)
	}
}

// TestPagesNameWhatExists holds every command that a page names, in a block or within a line, against the commands and flags
// that there are: pages for real hosts show commands that no test runs.
func TestPagesNameWhatExists(t *testing.T) {
	t.Parallel()
	root := infratest.Root(t)
	pages := []string{filepath.Join(root, "CONTRIBUTING.md"), filepath.Join(root, "app", "README.md")}
	for _, pattern := range []string{"README*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	named := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		rel, _ := filepath.Rel(root, page)
		fenced := false
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "```") {
				fenced = !fenced
				continue
			}
			pieces := []string{line}
			if !fenced && !strings.HasPrefix(line, "    ") {
				pieces = nil
				for i, p := range strings.Split(line, "`") {
					if i%2 == 1 {
						pieces = append(pieces, p)
					}
				}
			}
			for _, p := range pieces {
				words := strings.Fields(p)
				if len(words) < 2 || words[0] != "isukit" && words[0] != "bin/isukit" {
					continue
				}
				named++
				if fault := misnamed(words[1:]); fault != "" {
					t.Errorf("%s: %s: %s", rel, strings.TrimSpace(p), fault)
				}
			}
		}
	}
	if named < 100 {
		t.Errorf("%d commands are named, want at least 100: are they still found?", named)
	}
}

// misnamed is the part of a command line, without the program's name, that isukit does not know.
func misnamed(words []string) string {
	root := newRootCmd(streams{})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(words...)
	for i, w := range words { // the rest belongs to another command, or is not a command
		if strings.ContainsAny(w, "|>;&#") {
			words = words[:i]
			break
		}
	}
	if len(words) == 0 || strings.ToUpper(words[0]) == words[0] { // isukit COMMAND
		return ""
	}
	c, rest, err := root.Find(words)
	if err != nil {
		return err.Error()
	}
	c.InitDefaultHelpFlag()
	c.InheritedFlags() // merges them
	for i, w := range rest {
		if strings.HasPrefix(w, `"`) { // an argument of several words may hold flags of another command
			break
		}
		if w == "--" {
			break
		}
		if name, ok := strings.CutPrefix(w, "--"); ok {
			name, _, _ = strings.Cut(strings.TrimRight(name, ",.:)]"), "=")
			if c.Flags().Lookup(name) == nil && c.InheritedFlags().Lookup(name) == nil && c.PersistentFlags().Lookup(name) == nil {
				return "no flag --" + name + " of " + c.CommandPath() + " (" + strings.Join(rest[:i], " ") + ")"
			}
		}
	}
	return ""
}
