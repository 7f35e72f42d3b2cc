package isukit_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// allowed is the import table of DESIGN.md: what a package of this repository may import of it. "..." at the end of a package means it and
// everything below it. A package that the table does not list is an error, too.
var allowed = map[string][]string{
	".":                     {},
	"app":                   {"proto", "proto/portal/v1", "proto/wire", "app/dataset", "app/fanout"},
	"app/dataset":           {},
	"app/fanout...":         {"app/fanout..."},
	"app/fanouttest":        {"app/fanout...", "infra/host..."},
	"bench":                 {"bench/load", "bench/result"},
	"bench/load":            {},
	"bench/loadbench":       {"bench/load", "proto/portal/v1"},
	"bench/scenario":        {"bench", "bench/load", "proto", "proto/portal/v1", "proto/wire"},
	"bench/result":          {},
	"bench/external":        {},
	"bench/diff":            {"bench/result"},
	"bench/report":          {"bench/diff", "bench/result"},
	"bench/compare":         {"bench/noise", "bench/result"},
	"bench/noise":           {},
	"bench/experiment":      {"bench/noise"},
	"infra":                 {".", "infra..."},
	"infra/topology":        {"infra/host", "infra/topologies"},
	"infra/topologies":      {},
	"infra/render":          {".", "infra/topology"},
	"infra/host...":         {".", "infra/host...", "infra/infratest/wait"},
	"infra/pki":             {},
	"infra/plan":            {},
	"infra/team":            {".", "infra/host"},
	"infra/dbserver":        {"infra/engine/mysql", "infra/host"},
	"infra/digest...":       {"infra/digest..."},
	"infra/redact":          {},
	"infra/project":         {"infra/host", "infra/topology"},
	"infra/profile":         {},
	"infra/metrics":         {"infra/host"},
	"infra/observe":         {"infra/digest...", "infra/engine...", "infra/host", "infra/profile", "infra/project", "infra/redact"},
	"infra/engine...":       {".", "infra/engine...", "infra/host"},
	"infra/doctor":          {".", "infra/engine...", "infra/host..."},
	"infra/subject":         {"infra/doctor", "infra/engine...", "infra/host", "infra/project", "infra/tune"},
	"infra/site":            {".", "infra/engine...", "infra/host", "infra/plan", "infra/project"},
	"infra/tune":            {"infra/engine...", "infra/host"},
	"infra/infratest...":    {".", "infra..."},
	"proto":                 {},
	"proto/gen":             {},
	"proto/portal/v1":       {},
	"proto/wire":            {"proto/portal/v1"},
	"proto/decode...":       {"proto", "proto/portal/v1", "proto/wire", "proto/decode..."},
	"proto/capture...":      {"proto/capture..."},
	"input...":              {},
	"cmd/isukit":            {"..."},
	"cmd/isukit-app":        {"app...", "cmd/internal/release", "proto..."},
	"cmd/internal/release":  {},
	"cmd/internal/round":    {".", "app...", "bench...", "cmd/internal/release", "cmd/internal/ui", "infra...", "proto/capture"},
	"cmd/internal/session":  {"bench...", "cmd/internal/round", "cmd/internal/ui", "infra/host", "infra/host/proc", "infra/project", "infra/topology"},
	"cmd/internal/exchange": {"cmd/internal/ui", "proto..."},
	"cmd/internal/ui":       {"bench...", "infra..."},
}

// anywhere is what every package may import in addition: packages that open other people's files. They import nothing from the module.
var anywhere = []string{"input..."}

// inTests is what any package's tests may import besides: real servers, and messages to play with.
var inTests = []string{".", "infra", "infra/engine/mysql", "infra/host/machine", "infra/infratest", "infra/infratest/hosttest", "infra/infratest/realhosts", "infra/infratest/wait", "infra/pki", "infra/team", "infra/topology", "infra/tune", "proto/portal/v1"}

func TestImportsFollowTheTable(t *testing.T) {
	seen := map[string]bool{}
	eachSource(t, func(file, dir string) {
		seen[dir] = true
		checkFile(t, file, dir)
	})
	for p := range allowed {
		if dir := strings.TrimSuffix(p, "..."); !seen[dir] {
			t.Errorf("the table lists %s, which has no Go file", dir)
		}
	}
}

// eachSource visits every Go file of the repository, tools aside, with its package's directory.
func eachSource(t *testing.T, visit func(file, dir string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "tools") {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(file, ".go") {
			visit(file, path.Dir(filepath.ToSlash(file)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// importsOf are the packages of this repository that a file imports, relative to its root.
func importsOf(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, spec := range f.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if imported, ok := ours(name); ok {
			list = append(list, imported)
		}
	}
	return list
}

// checkFile holds the imports of one file against the table.
func checkFile(t *testing.T, file, dir string) {
	t.Helper()
	may, ok := entryOf(dir)
	if !ok {
		t.Errorf("%s: package %s is not in the table", file, dir)
		return
	}
	isTest := strings.HasSuffix(file, "_test.go")
	for _, imported := range importsOf(t, file) {
		if imported == dir || matches(anywhere, imported) || matches(may, imported) || isTest && slices.Contains(inTests, imported) {
			continue
		}
		t.Errorf("%s: %s may not import %s", file, dir, imported)
	}
}

// TestYAMLGoesThroughOneDoor holds that no package decodes or parses YAML but by input/yaml, which bounds it.
func TestYAMLGoesThroughOneDoor(t *testing.T) {
	door := regexp.MustCompile(`\byaml\.(Unmarshal|NewDecoder|YAMLToJSON|JSONToYAML|NodeToValue)|go-yaml/(parser|lexer)"`)
	eachSource(t, func(file, dir string) {
		if dir == "input/yaml" || strings.HasSuffix(file, "_test.go") {
			return
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := door.Find(text); found != nil {
			t.Errorf("%s: %s: YAML is decoded by input/yaml", file, found)
		}
	})
}

// entryOf finds the table's entry for a package: its own, or the nearest "..." above it.
func entryOf(dir string) ([]string, bool) {
	if may, ok := allowed[dir]; ok {
		return may, true
	}
	for d := dir; d != "."; d = path.Dir(d) {
		if may, ok := allowed[d+"..."]; ok {
			return may, true
		}
	}
	return nil, false
}

// ours returns a package of this repository relative to its root.
func ours(name string) (string, bool) {
	if name == "isukit" {
		return ".", true
	}
	if rest, ok := strings.CutPrefix(name, fanoutPath()); ok && (rest == "" || rest[0] == '/') {
		return "app/fanout" + rest, true
	}
	return strings.CutPrefix(name, "isukit/")
}

// fanoutPath is the path of the module in app/fanout.
var fanoutPath = sync.OnceValue(func() string {
	text, err := os.ReadFile("app/fanout/go.mod")
	if err != nil {
		panic(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimPrefix(first, "module ")
})

func matches(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		prefix, tree := strings.CutSuffix(p, "...")
		return p == pkg || tree && (pkg == prefix || strings.HasPrefix(pkg+"/", prefix+"/") || prefix == "")
	})
}
