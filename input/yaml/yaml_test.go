package yaml_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"isukit/input/yaml"
)

// laughs are aliases that each expand to ten of the one before, as flow and as blocks.
func laughs(flow bool) string {
	text := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 12; i++ {
		if flow {
			text += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
			continue
		}
		text += fmt.Sprintf("a%d: &a%d\n%s", i, i, strings.Repeat(fmt.Sprintf("- *a%d\n", i-1), 10))
	}
	return text
}

// bombs are short texts that cost a parser much, by what Check says of them.
func bombs() map[string]string {
	keys := ""
	for i := range 200 {
		keys += strings.Repeat(" ", i) + "a:\n"
	}
	merged := "a0: &a0 {x: 1, y: 2}\n"
	for i := 1; i < 30; i++ {
		merged += fmt.Sprintf("a%d: &a%d\n  p: *a%d\n  q: *a%d\n", i, i, i-1, i-1)
	}
	return map[string]string{
		strings.Repeat("[", 100_000): "deep", strings.Repeat("{a: ", 50_000): "deep", strings.Repeat("- ", 50_000) + "a": "deep", strings.Repeat("? ", 50_000): "deep",
		keys: "deep", "[" + strings.Repeat("{},", 500_000) + "]": "parts", strings.Repeat("a:\n", 300_000): "parts", strings.Repeat("---\na\n", 1000): "documents",
		laughs(true): "aliases", laughs(false): "aliases", merged: "aliases", strings.Repeat("x", yaml.MaxBytes+1): "bytes",
		"&a [" + strings.Repeat("*a, ", 100) + "]": "aliases", strings.Repeat("&a [*a,", 90): "aliases",
	}
}

func TestBombsAreRefusedUnparsed(t *testing.T) {
	for text, want := range bombs() {
		err := yaml.Check([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want an error with %q", text, err, want)
		}
	}
}

func TestOrdinaryTextPasses(t *testing.T) {
	texts := []string{"", "a: 1\n", "x: &base {a: 1}\ny:\n  <<: *base\n  b: 2\nz: [*base, *base]\n", "a: |\n  [[[[[[[[[\n  {{{{{{{\n", `a: "` + strings.Repeat("[", 5000) + `"`,
		"# " + strings.Repeat("[", 5000) + "\na: 1\n", "regexp: '" + strings.Repeat("({[", 500) + "'\n"}
	for _, pattern := range []string{"../../infra/topologies/*.yaml", "../../docs/*/*.yaml", "../../infra/*/testdata/*.yaml", "../../nginx/*.tmpl"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, string(text))
		}
	}
	for _, text := range texts {
		if err := yaml.Check([]byte(text)); err != nil {
			t.Errorf("%.200s\n%v", text, err)
		}
	}
}

// fuzzAllocBytes is what decoding a text that passes may take; what was freed in between counts, too.
const fuzzAllocBytes = 512 << 20

// FuzzYAML: a text that Check accepts is decoded without a panic and with bounded memory.
func FuzzYAML(f *testing.F) {
	for text := range bombs() {
		f.Add([]byte(text[:min(len(text), 400)]))
	}
	for _, text := range []string{"a: &x [1, *x]", "? - - a\n: b", "a: !!binary aGk=", "<<: *a", "a: &b\n- *b\n", "%YAML 1.2\n---\na", "'a", "\"\\x", "a: |2\n   x", "- &a\n - *a", "\t[", "&a &b &c", "*a *b", "{? a, : b}", "- - - - a:\n  - b"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 16<<10 || yaml.Check(text) != nil {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		done := make(chan struct{})
		go func() {
			defer close(done)
			var v any
			_ = yaml.Decode(text, &v)
			_, _ = yaml.Parse(text)
		}()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatal("still decoding after a minute")
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > fuzzAllocBytes {
			t.Errorf("%d bytes took %d MiB to decode", len(text), took>>20)
		}
	})
}
