package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"forge.example/account/isukit/app/fanout"
	"forge.example/account/isukit/app/fanout/lint"
	"isukit/bench/compare"
	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/session"
	"isukit/infra"
	"isukit/infra/doctor"
	"isukit/infra/site"
	"isukit/infra/tune"
	"isukit/proto/decode"
)

// printedTypes are what commands print with --json; nil is described in words, on the page that the section links to.
var printedTypes = map[string]reflect.Type{
	"round": nil, "show": nil, "observe": nil, "digest access": nil, "digest queries": nil, "decode": nil, "send": nil, "hits": nil, "topology diff": nil,
	"ls": reflect.TypeFor[listedRound](), "final": reflect.TypeFor[listedRound](),
	"diff": reflect.TypeFor[diffJSON](), "digest diff": reflect.TypeFor[diffJSON](), "latency": reflect.TypeFor[endpointLatency](), "compare": reflect.TypeFor[compare.Comparison](),
	"screen": reflect.TypeFor[session.ScreenResult](), "screen resume": reflect.TypeFor[session.ScreenResult](),
	"advise": reflect.TypeFor[session.Advice](), "autotune": reflect.TypeFor[session.TuneResult](), "autotune resume": reflect.TypeFor[session.TuneResult](),
	"version": reflect.TypeFor[versionInfo](), "capture": reflect.TypeFor[exchange.ExchangeJSON](), "replay": reflect.TypeFor[exchange.ReplayReport](),
	"types": reflect.TypeFor[typeInfo](), "routes": reflect.TypeFor[decode.Route](), "routes learn": reflect.TypeFor[decode.LearnedRoute](), "decode --diff": reflect.TypeFor[decode.Difference](),
	"topology ls": reflect.TypeFor[topologyLine](), "topology apply": reflect.TypeFor[infra.Plan](), "topology status": reflect.TypeFor[infra.Status](),
	"topology apply --project": reflect.TypeFor[site.Plan](), "topology status --project": reflect.TypeFor[site.Status](),
	"topology verify": reflect.TypeFor[topologyVerified](), "lab up": reflect.TypeFor[labHost](), "lab ls": reflect.TypeFor[labHost](),
	"tune ls": reflect.TypeFor[tune.Catalog](), "tune show": reflect.TypeFor[tune.Tuning](),
	"tune diff": reflect.TypeFor[tune.Outcome](), "tune apply": reflect.TypeFor[tune.Outcome](), "tune verify": reflect.TypeFor[tune.Outcome](), "tune revert": reflect.TypeFor[tune.Outcome](),
	"hosts init": reflect.TypeFor[hostChanges](), "hosts ls": reflect.TypeFor[hostChanges](), "hosts revert": reflect.TypeFor[hostChanges](),
	"doctor": reflect.TypeFor[doctor.Finding](), "doctor lint": reflect.TypeFor[doctor.Finding](), "doctor stop": reflect.TypeFor[doctor.Stopped](), "doctor start": reflect.TypeFor[doctor.Stopped](),
	"replicas status": reflect.TypeFor[replicaStatus](), "replicas eject": reflect.TypeFor[replicaStatus](), "replicas check": reflect.TypeFor[fanout.CheckReport](),
	"replicas lint":   reflect.TypeFor[lint.Report](),
	"replicas repair": reflect.TypeFor[fanout.RepairReport](), "replicas admit": reflect.TypeFor[fanout.RepairReport](),
}

var commandInHeading = regexp.MustCompile("`isukit ([^`]+)`")

// TestJSONPage holds docs/json.md against the commands that take --json and the types that they print: the same keys, types
// and optional marks, a unit for every number.
func TestJSONPage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "json.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]map[string]string{}
	for section := range strings.SplitSeq(string(text), "\n## ") {
		heading, body, _ := strings.Cut(section, "\n")
		for _, m := range commandInHeading.FindAllStringSubmatch(heading, -1) {
			if documented[m[1]] != nil {
				t.Errorf("isukit %s has two sections", m[1])
			}
			documented[m[1]] = tableOf(t, m[1], body)
			if typ := printedTypes[m[1]]; typ == nil && !strings.Contains(body, ".md") && !strings.Contains(body, "string") {
				t.Errorf("the section of isukit %s says nothing of what it prints", m[1])
			}
		}
	}
	for _, c := range allCommands(t) {
		if _, ok := printedTypes[strings.TrimPrefix(c.CommandPath(), "isukit ")]; !ok && c.Flag("json") != nil && !c.HasSubCommands() && !c.Hidden {
			t.Errorf("%s takes --json, and printedTypes does not tell what it prints", c.CommandPath())
		}
	}
	for command, typ := range printedTypes {
		got := documented[command]
		if got == nil {
			t.Errorf("isukit %s has no section", command)
			continue
		}
		delete(documented, command)
		want := map[string]string{}
		if typ != nil {
			keysOf(want, typ, "")
		}
		if command == "tune ls" { // its tunings are described where they are shown one by one
			maps.DeleteFunc(want, func(key, _ string) bool { return strings.HasPrefix(key, "tunings[]") })
		}
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if got[key] != want[key] {
				t.Errorf("isukit %s: %s is documented as %q, it is | `%s` | %s |", command, key, got[key], key, want[key])
			}
			delete(got, key)
		}
		for key := range got {
			t.Errorf("isukit %s: %s is documented and not printed", command, key)
		}
	}
	for command := range documented {
		t.Errorf("the page has a section for isukit %s, which prints no JSON", command)
	}
}

// tableOf reads the rows "| `key` | type | unit | meaning |" of a section; an optional key's meaning begins with that word.
func tableOf(t *testing.T, command, body string) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for line := range strings.Lines(body) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		key, ok := strings.CutPrefix(strings.TrimSpace(cells[0]), "`")
		if !ok || len(cells) != 4 {
			continue
		}
		key = strings.TrimSuffix(key, "`")
		typ, unit, meaning := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3])
		if (typ == "number" || typ == "integer") && unit == "" {
			t.Errorf("isukit %s: %s has no unit", command, key)
		}
		if strings.HasPrefix(meaning, "optional") {
			typ += ", optional"
		}
		rows[key] = typ
	}
	return rows
}

// keysOf collects the keys below a type, as the page writes them.
func keysOf(into map[string]string, typ reflect.Type, path string) {
	switch {
	case typ.Kind() == reflect.Pointer:
		keysOf(into, typ.Elem(), path)
	case typ == reflect.TypeFor[time.Time](), typ == reflect.TypeFor[json.RawMessage]():
	case typ.Kind() == reflect.Slice:
		keysOf(into, typ.Elem(), path+"[]")
	case typ.Kind() == reflect.Struct:
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-" || !f.IsExported() && !f.Anonymous:
				continue
			case f.Anonymous && name == "":
				keysOf(into, f.Type, path)
				continue
			case name == "":
				name = f.Name // a key that was forgotten: no page has it
			}
			at := strings.TrimPrefix(path+"."+name, ".")
			into[at] = kindInJSON(f.Type)
			if strings.Contains(options, "omit") {
				into[at] += ", optional"
			}
			keysOf(into, f.Type, at)
		}
	}
}

func kindInJSON(typ reflect.Type) string {
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return "string"
	case typ == reflect.TypeFor[json.RawMessage]():
		return "object"
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return kindInJSON(typ.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	case reflect.Slice, reflect.Array:
		return "list"
	case reflect.Map, reflect.Struct:
		return "object"
	}
	return "integer"
}
