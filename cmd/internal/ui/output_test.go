package ui

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestOutputIsClean(t *testing.T) {
	for in, want := range map[string]string{
		"a\tb\n": "a\tb\n", "寿司 é": "寿司 é", "\x1b[2J": `\u001b[2J`, "a\rb\x00\x07\x7f": `a\u000db\u0000\u0007\u007f`, "\u009b31m": `\u009b31m`,
		"\u202eabc\u2066": `\u202eabc\u2066`, "a\xffb\x9b": "a\ufffdb\ufffd", "\x1b]0;title\x07": `\u001b]0;title\u0007`, "\u2028": `\u2028`, "": "",
	} {
		for step := 1; step <= 3; step++ {
			var b bytes.Buffer
			o := NewOutput(&b)
			for rest := []byte(in); len(rest) > 0; rest = rest[min(step, len(rest)):] {
				if n, err := o.Write(rest[:min(step, len(rest))]); err != nil || n != min(step, len(rest)) {
					t.Fatalf("%q: %d, %v", in, n, err)
				}
			}
			if b.String() != want {
				t.Errorf("%q, %d bytes at a time: %q, want %q", in, step, b.String(), want)
			}
		}
	}
}

func TestOutputKeepsJSON(t *testing.T) {
	var b bytes.Buffer
	const evil = "\x1b[2J\u009b\u202e\x7f\r\n\t寿"
	if err := json.NewEncoder(NewOutput(&b)).Encode(map[string]string{evil: evil}); err != nil {
		t.Fatal(err)
	}
	var back map[string]string
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back[evil] != evil {
		t.Errorf("%s: %v", b.String(), err)
	}
	if strings.ContainsAny(b.String(), "\x1b\u009b\u202e\x7f") {
		t.Errorf("%q", b.String())
	}
}

// TestOutputKnowsItsOwn: isukit's sequences pass to a terminal, and others' do not, even if they look the same.
func TestOutputKnowsItsOwn(t *testing.T) {
	var b bytes.Buffer
	o := &Output{to: &b, mark: "0123456789abcdef"}
	table := NewTable(&signalWriter{w: o, color: true, mark: o.mark})
	for _, cell := range []string{"pass", "\x1b[31mevil\x1b[0m", "\x1b0123456789abcdeX[31m"} {
		if _, err := table.Write([]byte(cell + "\tx\t\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	(&frame{w: o, mark: o.mark}).draw([]string{"line", "\x1b[1A"})
	got := b.String()
	if !strings.Contains(got, "\x1b[32mpass\x1b[0m") || !strings.Contains(got, "\x1b[2Kline\n") || strings.Contains(got, "\x1b[31m") || strings.Contains(got, "\x1b[1A") || strings.Contains(got, o.mark) {
		t.Errorf("%q", got)
	}
}
