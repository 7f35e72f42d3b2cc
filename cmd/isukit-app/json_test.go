package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestJSONPage holds the sections of docs/json.md about this program against what it prints.
func TestJSONPage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "json.md"))
	if err != nil {
		t.Fatal(err)
	}
	for command, printed := range map[string]reflect.Type{"prepare": reflect.TypeFor[preparedInfo](), "version": reflect.TypeFor[versionInfo]()} {
		_, section, ok := strings.Cut(string(text), "\n## `isukit-app "+command+"`\n")
		if !ok {
			t.Errorf("docs/json.md has no section on isukit-app %s", command)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		for i := range printed.NumField() {
			key, options, _ := strings.Cut(printed.Field(i).Tag.Get("json"), ",")
			_, row, ok := strings.Cut(section, "\n| `"+key+"` | ")
			row, _, _ = strings.Cut(row, "\n")
			if !ok || strings.Contains(options, "omitempty") != strings.Contains(row, "optional") {
				t.Errorf("docs/json.md says of %s's %s: %q", command, key, row)
			}
		}
		if rows := strings.Count(section, "\n| `"); rows != printed.NumField() {
			t.Errorf("docs/json.md has %d keys of isukit-app %s, want %d", rows, command, printed.NumField())
		}
	}
}
