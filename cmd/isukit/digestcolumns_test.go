package main

import (
	"path/filepath"
	"strings"
	"testing"

	"isukit/cmd/internal/ui"
)

// TestDigestColumns chooses columns, order, rows and form of both digests.
func TestDigestColumns(t *testing.T) {
	dir := t.TempDir()
	log, slow := filepath.Join(dir, "access.log"), filepath.Join(dir, "slow.log")
	var lines strings.Builder
	for _, l := range []string{"GET /a|b 0.001", "GET /a|b 0.003", "POST /c 0.010", "GET /d -"} {
		f := strings.Fields(l)
		lines.WriteString(`{"method":"` + f[0] + `","uri":"` + f[1] + `","status":200,"size":7,"request_time":"` + f[2] + "\"}\n")
	}
	write(t, log, lines.String())
	write(t, slow, "# User@Host: a[a] @ b []\n# Query_time: 0.5  Lock_time: 0  Rows_sent: 1  Rows_examined: 9\nSET timestamp=1;\nselect 1;\n"+
		"# User@Host: a[a] @ b []\n# Query_time: 0.1  Lock_time: 0  Rows_sent: 1  Rows_examined: 99\nSET timestamp=1;\nselect a from t;\n")
	for args, want := range map[string]string{
		"access --columns count,sum,p50,path --output tsv --top 2 " + log:           "count\tsum\tp50\tpath\n1\t0.010\t10.000\t/c\n2\t0.004\t1.000\t/a|b\n",
		"access --columns count,path --sort count --output csv --match ^GET " + log: "count,path\n2,/a|b\n1,/d\n",
		"access --columns path,count --sort path --output markdown " + log:          "| path | count |\n| --- | --- |\n| /a\\|b | 2 |\n| /c | 1 |\n| /d | 1 |\n",
		"access --columns path,2xx " + log:                                          "path  2xx\n/c    1\n/a|b  2\n/d    1\n",
		"queries --columns examined,query --sort examined --output tsv " + slow:     "examined\tquery\n99\tselect a from t\n9\tselect ?\n",
	} {
		code, out, errText := isukitIn(t, "", append([]string{"digest"}, strings.Fields(args)...)...)
		// A quantile is off by 0.2 % at most.
		if out = strings.NewReplacer("0.998", "1.000", "1.002", "1.000", "0.999", "1.000", "1.001", "1.000").Replace(out); code != ui.ExitOK || out != want {
			t.Errorf("%s: exit %d, %s\n%q, want\n%q", args, code, errText, out, want)
		}
	}
	for _, args := range []string{"--columns nope", "--sort p0", "--sort nope", "--output xml", "--match (", "--json --output csv"} {
		if code, out, _ := isukitIn(t, "", append(strings.Fields("digest access "+args), log)...); code != ui.ExitUsage {
			t.Errorf("%s: exit %d: %s", args, code, out)
		}
	}
}
