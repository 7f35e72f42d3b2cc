package fanouttest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"forge.example/account/isukit/app/fanout"
)

// TestRulesInDocs holds the table of docs/fanout.md against the rules.
func TestRulesInDocs(t *testing.T) {
	const file, begin, end = "../../docs/fanout.md", "-update -->\n", "<!-- end of rules -->"
	b, err := os.ReadFile(file)
	must(t, err)
	text := string(b)
	from, to := strings.Index(text, begin)+len(begin), strings.Index(text, end)
	want := rulesTable()
	if text[from:to] == want {
		return
	}
	if !*update {
		t.Fatalf("docs/fanout.md does not have the rules as they are; go test ./app/fanouttest -run TestRulesInDocs -update")
	}
	must(t, os.WriteFile(file, []byte(text[:from]+want+text[to:]), 0o644))
}

func rulesTable() string {
	var b strings.Builder
	b.WriteString("| statement | its tables have | it is | since, or how | write instead | rule |\n|---|---|---|---|---|---|\n")
	for _, r := range fanout.Rules() {
		cells := []string{r.Kind, r.Property, r.Outcome.String(), r.Why, r.Instead, r.Name}
		for i, c := range cells {
			cells[i] = strings.ReplaceAll(c, "|", "\\|")
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String()
}
