package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isukit/cmd/internal/ui"
)

var updateFlags = flag.Bool("update-flags", false, "rewrite the tables of flags")

// sampleValue is a value that a flag takes.
func sampleValue(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "true"
	case "duration":
		return "3s"
	case "int", "int64", "uint64", "intSlice":
		return "3"
	case "float64":
		return "0.5"
	}
	return "sample"
}

// flagsOf are what a user may set of a command, in order, without those of every command.
func flagsOf(c *cobra.Command) (list []*pflag.Flag) {
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && f.Name != "quiet" && f.Name != "state-dir" {
			list = append(list, f)
		}
	})
	c.InheritedFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && f.Name != "quiet" && f.Name != "state-dir" {
			list = append(list, f)
		}
	})
	return list
}

// TestFlagsApplyOrAreRefused goes through all commands, all kinds of subject and all flags: what becomes of each is in
// testdata/flags.txt, and why one is refused in docs/flags.md. A flag that is new, or becomes another thing to a subject, shows there.
func TestFlagsApplyOrAreRefused(t *testing.T) {
	var got strings.Builder
	doc, err := os.ReadFile("../../docs/flags.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range allCommands(t) {
		if !c.Runnable() || c.HasSubCommands() && c.Name() != "doctor" {
			continue
		}
		use := flagUses[pathOf(c)]
		seen[pathOf(c)] = true
		kinds := use.kinds
		if len(kinds) == 0 {
			kinds = []subjectKind{oneKind}
		}
		for _, kind := range kinds {
			var applies []string
			for _, f := range flagsOf(c) {
				set := pflag.NewFlagSet("", pflag.ContinueOnError)
				why := use.refuses(kind, f.Name, set)
				if why == "" {
					applies = append(applies, f.Name)
					continue
				}
				if _, because, _ := strings.Cut(why, ": "); !strings.Contains(string(doc), because) {
					t.Errorf("%s --%s of %q is refused, and docs/flags.md does not say why: %s", pathOf(c), f.Name, kind, why)
				}
			}
			fmt.Fprintf(&got, "%s, %s: %s\n", pathOf(c), kind, strings.Join(applies, " "))
		}
		for _, names := range append(refusedNames(use), neededNames(use)...) {
			for _, name := range strings.Fields(names) {
				if !slices.ContainsFunc(flagsOf(c), func(f *pflag.Flag) bool { return f.Name == name }) {
					t.Errorf("%s has no flag --%s, of which a rule speaks", pathOf(c), name)
				}
			}
		}
	}
	for path := range flagUses {
		if !seen[path] {
			t.Errorf("there are rules for a command %q, which does not exist", path)
		}
	}
	if *updateFlags {
		if err := os.WriteFile("testdata/flags.txt", []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(doc), "| command |")
		if err := os.WriteFile("../../docs/flags.md", []byte(head+flagTable()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile("testdata/flags.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("testdata/flags.txt is (-update-flags rewrites it)\n%s\nwant\n%s", want, got.String())
	}
	if !strings.HasSuffix(string(doc), flagTable()) {
		t.Errorf("docs/flags.md has another table than flagUses (-update-flags rewrites it)")
	}
}

func refusedNames(u flagUse) (list []string) {
	for _, r := range u.not {
		list = append(list, r.flags)
	}
	return list
}

func neededNames(u flagUse) (list []string) {
	for _, n := range u.needs {
		list = append(list, n.flags)
	}
	return list
}

// TestRefusedFlagsRefuse sets every flag that does not apply on a real command line, for each kind of subject: nothing is run.
func TestRefusedFlagsRefuse(t *testing.T) {
	dir := t.TempDir()
	here, remote, placed := filepath.Join(dir, "here.yaml"), filepath.Join(dir, "remote.yaml"), filepath.Join(dir, "placed.yaml")
	write(t, here, "name: app\nbenchmark: {command: 'touch "+filepath.Join(dir, "ran")+"; echo score: 5'}\n")
	write(t, remote, "name: app\nhosts: [{name: s1, address: 127.0.0.9}]\nbenchmark: {command: 'touch "+filepath.Join(dir, "ran")+"; echo score: 5'}\n")
	write(t, placed, "name: app\nhosts: [{name: s1, address: 127.0.0.9}]\nroles: {web: {units: [app], port: 80}}\ntopologies: {one: {web: s1}}\nbenchmark: {external: true}\n")
	// Command lines about each kind of subject.
	lines := map[string]map[subjectKind][][]string{
		"round":         {thePortal: {{"-t", "single"}, {"-t", "single", "--driver", "lab"}}, aProject: {{"--project", here}, {"--project", remote}}},
		"compare":       {ofKept: {{"last", "last-1"}}, ofCommands: {{"command=true", "command=false"}}},
		"replicas lint": {oneKind: {{"."}}}, "doctor stop": {oneKind: {{"x"}}}, "doctor start": {oneKind: {{}}},
		"doctor":          {aRecord: {{"last"}}, aTopology: {{"-t", "single"}, {"--driver", "lab"}}, aProject: {{"--project", here}, {"--project", remote}}, thisMachine: {{"--db", "file"}}, aList: {{"--ls"}}},
		"replicas status": {aProject: {{"--project", here}}, thisMachine: {{"--replica", "a=b"}}, aTopology: {{}}},
		"replicas check":  {aProject: {{"--project", here}}, thisMachine: {{"--replica", "a=b"}}, aTopology: {{}}},
		"replicas repair": {aProject: {{"--project", here}}, thisMachine: {{"--replica", "a=b"}}, aTopology: {{}}},
		"replicas eject":  {aProject: {{"x", "--project", here}}, thisMachine: {{"x", "--replica", "a=b"}}, aTopology: {{"x"}}},
		"replicas admit":  {aProject: {{"x", "--project", here}}, thisMachine: {{"x", "--replica", "a=b"}}, aTopology: {{"x"}}},
	}
	for _, verb := range []string{"apply", "verify", "status", "down"} {
		var name []string
		if verb == "apply" {
			name = []string{"one"}
		}
		lines["topology "+verb] = map[subjectKind][][]string{
			thePortal: {slices.Concat(name, []string{"--driver", "lab"})},
			aProject:  {slices.Concat(name, []string{"--project", placed})},
		}
	}
	for _, c := range allCommands(t) {
		use := flagUses[pathOf(c)]
		for _, r := range use.not {
			if len(lines[pathOf(c)][r.kind]) == 0 {
				t.Errorf("%s: no command line is about %s", pathOf(c), r.kind)
			}
			for _, line := range lines[pathOf(c)][r.kind] {
				for _, name := range strings.Fields(r.flags) {
					if slices.Contains(line, "--"+name) || name == "topology" && slices.Contains(line, "-t") {
						continue
					}
					value := sampleValue(c.Flag(name))
					if name == "project" {
						value = here
					}
					args := slices.Concat(strings.Fields(pathOf(c)), line, []string{"--" + name + "=" + value})
					var out, errs bytes.Buffer
					code := run(t.Context(), append(args, "--state-dir", filepath.Join(dir, "state")), streams{strings.NewReader(""), &out, &errs})
					if code != ui.ExitUsage || !strings.Contains(errs.String(), "--"+name+" does not apply to "+string(r.kind)) || !strings.Contains(errs.String(), r.why) {
						t.Errorf("isukit %s: exit %d, want %d and why --%s does not apply to %s:\n%s", strings.Join(args, " "), code, ui.ExitUsage, name, r.kind, errs.String())
					}
				}
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
		t.Error("a benchmark ran though a flag was refused")
	}
}

// flagTable is flagUses as docs/flags.md shows it.
func flagTable() string {
	var b strings.Builder
	b.WriteString("| command | flag | | because |\n|---|---|---|---|\n")
	paths := make([]string, 0, len(flagUses))
	for p := range flagUses {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, path := range paths {
		row := func(flags, where, why string) {
			fmt.Fprintf(&b, "| `%s` | `--%s` | %s | %s |\n", path, strings.Join(strings.Fields(flags), "`, `--"), where, why)
		}
		for _, r := range flagUses[path].not {
			row(r.flags, "does not apply to "+string(r.kind), r.why)
		}
		for _, n := range flagUses[path].needs {
			row(n.flags, n.condition("`--", "`"), n.why)
		}
	}
	return b.String()
}
