package fanouttest

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"forge.example/account/isukit/app/fanout"
)

var update = flag.Bool("update", false, "rewrite the tables in docs/fanout.md")

// TestComparedIsDocumented holds the table of docs/fanout.md against what Open compares.
func TestComparedIsDocumented(t *testing.T) {
	const page, head = "../../docs/fanout.md", "| of | compared | why | on every connection |\n|---|---|---|---|\n"
	var want strings.Builder
	for _, p := range fanout.Compared() {
		fixed := ""
		if p.Fixed {
			fixed = "the first replica's"
		}
		fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", p.Kind, p.Names, p.Reason, fixed)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), head)
	if !ok {
		t.Fatal("docs/fanout.md has no table of what Open compares")
	}
	have, after, _ := strings.Cut(rest, "\n\n")
	if *update {
		if err := os.WriteFile(page, []byte(before+head+want.String()+"\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have+"\n" != want.String() {
		t.Error("docs/fanout.md does not list what Open compares: go test ./app/fanouttest -run TestCompared -update")
	}
}
