package result_test

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"isukit/bench/result"
)

// TestDocNamesEveryField holds docs/round-json.md and the struct together: the same fields, types and optional marks.
func TestDocNamesEveryField(t *testing.T) {
	text, err := os.ReadFile("../../docs/round-json.md")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		path, ok := strings.CutPrefix(strings.TrimSpace(cells[0]), "`")
		if !ok || len(cells) != 4 {
			continue
		}
		path = strings.TrimSuffix(path, "`")
		if _, twice := got[path]; twice {
			t.Errorf("%s is documented twice", path)
		}
		unit, meaning := strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3])
		got[path] = strings.TrimSpace(cells[1])
		if strings.HasPrefix(meaning, "optional") {
			got[path] += ", optional"
		}
		checkUnit(t, path, got[path], unit)
	}
	want := map[string]string{}
	fields(want, reflect.TypeFor[result.Round](), "")
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got[path] != want[path] {
			t.Errorf("%s is documented as %q, the struct has %q", path, got[path], want[path])
		}
		delete(got, path)
	}
	for path := range got {
		t.Errorf("%s is documented, the struct has no such field", path)
	}
}

// checkUnit wants a unit for every number but those that are none: versions and seeds.
func checkUnit(t *testing.T, path, typ, unit string) {
	t.Helper()
	if strings.HasPrefix(typ, "number") || strings.HasPrefix(typ, "integer") && path != "format" && path != "seed" {
		if unit == "" {
			t.Errorf("%s is a number without a unit", path)
		}
	}
	for suffix, want := range map[string]string{"_s": "seconds", "_ms": "milliseconds", "_bytes": "bytes"} {
		if strings.HasSuffix(path, suffix) && unit != want {
			t.Errorf("%s is documented in %q, its name says %s", path, unit, want)
		}
	}
}

// fields collects the paths below a type as the document writes them. What repeats (all, latency_from_sent) is documented
// once, at its first type.
func fields(into map[string]string, typ reflect.Type, path string) {
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return
	case typ.Kind() == reflect.Slice:
		into[path+"[]"] = jsonType(typ.Elem())
		fields(into, typ.Elem(), path+"[]")
		if typ.Elem().Kind() == reflect.Struct {
			delete(into, path+"[]")
		}
	case typ.Kind() == reflect.Map:
		into[path+"{}"] = jsonType(typ.Elem())
	case typ.Kind() == reflect.Struct:
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
			at := strings.TrimPrefix(path+"."+name, ".")
			into[at] = jsonType(f.Type)
			if rest == "omitempty" || rest == "omitzero" {
				into[at] += ", optional"
			}
			if !slices.Contains(repeats, at) {
				fields(into, f.Type, at)
			}
		}
	}
}

// repeats are fields of types that are documented at another field.
var repeats = []string{"all", "endpoints[].latency_from_sent", "access.total", "access.routes[].upstream", "queries.examples", "queries.queries[].time"}

func jsonType(typ reflect.Type) string {
	switch typ.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list"
	case reflect.Map:
		return "object"
	case reflect.Struct:
		if typ == reflect.TypeFor[time.Time]() {
			return "string"
		}
		return "object"
	}
	return "integer"
}
