package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"isukit/bench/result"
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
	// A value that no line has is not zero, and unreadable lines are reported with the columns.
	odd := filepath.Join(dir, "odd.log")
	write(t, odd, `{"method":"GET","uri":"/x","status":200}`+"\nnot a line\n")
	code, out, errText := isukitIn(t, "", strings.Fields("digest access --output tsv --columns count,sum,p99,max,upstream,path "+odd)...)
	if want := "count\tsum\tp99\tmax\tupstream\tpath\n1\t\t\t\t\t/x\n"; code != ui.ExitOK || out != want || !strings.Contains(errText, "1 of 2 lines could not be read") || !strings.Contains(errText, "no line has: ") {
		t.Errorf("exit %d, %q, want %q and what is missing on standard error:\n%s", code, out, want, errText)
	}
	for _, args := range []string{"--columns nope", "--sort p0", "--sort nope", "--output xml", "--match (", "--json --output csv"} {
		if code, out, _ := isukitIn(t, "", append(strings.Fields("digest access "+args), log)...); code != ui.ExitUsage {
			t.Errorf("%s: exit %d: %s", args, code, out)
		}
	}
}

// TestDigestDiff compares logs with logs and with digests that were kept; logs of times of unlike length by the minute.
func TestDigestDiff(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, lines ...string) string {
		path := filepath.Join(dir, name)
		write(t, path, strings.Join(lines, ""))
		return path
	}
	line := func(second int, path string, took string) string {
		return fmt.Sprintf(`{"time":"2026-11-30T12:00:%02dZ","method":"GET","uri":%q,"status":200,"request_time":%s}`+"\n", second, path, took)
	}
	before := file("before.log", line(0, "/a/1", "0.100"), line(10, "/a/2", "0.300"), line(20, "/b", "0.010"), line(20, "/gone", "0.001"))
	after := file("after.log", line(0, "/a/1", "0.050"), line(10, "/a/2", "0.050"), line(20, "/b", "0.010"), line(20, "/new", "0.001"))
	long := file("long.log", line(0, "/a/1", "0.100"), line(40, "/a/2", "0.100"))
	_, kept, _ := isukitIn(t, "", "digest", "access", "--json", before)
	digest := file("before.json", kept)
	entry := func(took, statement string) string {
		return "# User@Host: a[a] @ b []\n# Query_time: " + took + "  Lock_time: 0  Rows_sent: 1  Rows_examined: 9\nSET timestamp=1;\n" + statement + ";\n"
	}
	slow1, slow2 := file("slow1.log", entry("0.5", "select 1"), entry("0.25", "select a from t")), file("slow2.log", entry("0.5", "select 1"), entry("0.75", "select a from t"))
	for _, tt := range []struct {
		args        string
		want, lacks []string
	}{
		{before + " " + after, []string{"GET /a/{id}", "0.4", "0.1", "-75 %", "GET /gone", "gone", "GET /new", "new"}, []string{"GET /b", "minute", "may be noise"}},
		{digest + " " + after, []string{"GET /a/{id}", "-75 %"}, []string{"GET /b"}},
		{before + " " + long, []string{"sum s/min", "a minute of load"}, nil},
		{before + " " + after + " --match new", []string{"GET /new"}, []string{"/a/"}},
		{before + " " + after + " --route /a/1", []string{"GET /a/1", "GET /a/{id}"}, nil},
		{before + " " + after + " --top 1", []string{"GET /a/{id}", "not shown"}, []string{"GET /new"}},
		{slow1 + " " + slow2, []string{"select a from t", "+200 %"}, []string{"select ?"}},
		{before + " " + after + " --json", []string{`"name": "GET /a/{id}"`, `"from": 0.4`, `"to": 0.1`}, nil},
	} {
		code, out, errs := isukitIn(t, "", append([]string{"digest", "diff"}, strings.Fields(tt.args)...)...)
		if code != ui.ExitOK {
			t.Errorf("%s: exit %d: %s", tt.args, code, errs)
		}
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s lacks %q:\n%s", tt.args, want, out)
			}
		}
		for _, lacks := range tt.lacks {
			if strings.Contains(out, lacks) {
				t.Errorf("%s has %q:\n%s", tt.args, lacks, out)
			}
		}
	}
	for args, say := range map[string]string{before + " " + slow1: "not of the same kind", before + " " + file("empty"): "contains no lines", before + " " + file("bad.json", "{\n  \"lines\": x"): "is not a digest", before: "takes 2 arguments"} {
		if code, _, errs := isukitIn(t, "", append([]string{"digest", "diff"}, strings.Fields(args)...)...); code != ui.ExitUsage || !strings.Contains(errs, say) {
			t.Errorf("%s: exit %d: %s, want %q", args, code, errs, say)
		}
	}
}

// TestDigestGroupsAndSlowest: queries that a given pattern matches are one; a route names its slowest requests, the longest first, with
// their queries and without secrets.
func TestDigestGroupsAndSlowest(t *testing.T) {
	dir := t.TempDir()
	slow, log := filepath.Join(dir, "slow.log"), filepath.Join(dir, "access.log")
	var entries, lines strings.Builder
	for _, q := range []string{"select a from users where id = 1", "select b, c from users", "insert into logs values (1)", "insert into events values (2)"} {
		entries.WriteString("# User@Host: a[a] @ b []\n# Query_time: 0.5  Lock_time: 0  Rows_sent: 1  Rows_examined: 9\nSET timestamp=1;\n" + q + ";\n")
	}
	write(t, slow, entries.String())
	code, out, errs := isukitIn(t, "", "digest", "queries", slow, "--columns", "count,query", "--output", "tsv", "--sort", "query", "--group", "^insert into (logs|events)", "--group", "from users")
	if want := "count\tquery\n2\t^insert into (logs|events)\n2\tfrom users\n"; code != ui.ExitOK || out != want {
		t.Errorf("exit %d, %s: %q, want %q", code, errs, out, want)
	}
	if code, _, errs := isukitIn(t, "", "digest", "queries", slow, "--group", "("); code != ui.ExitUsage || !strings.Contains(errs, "--group") {
		t.Errorf("exit %d: %s", code, errs)
	}
	for i, took := range []string{"0.001", "0.009", "0.003", "0.007", "0.002", "0.008", "0.004"} {
		fmt.Fprintf(&lines, `{"time":"2026-11-30T12:00:0%dZ","method":"GET","uri":"/search?q=%s&token=abcdefghijkl","status":200,"request_time":%s}`+"\n", i, took, took)
	}
	write(t, log, lines.String())
	var d result.AccessDigest
	if _, out, errs = isukitIn(t, "", "digest", "access", "--json", log); json.Unmarshal([]byte(out), &d) != nil || len(d.Routes) != 1 {
		t.Fatal(out, errs)
	}
	var got []string
	for _, s := range d.Routes[0].Slowest {
		got = append(got, fmt.Sprintf("%s %g %d %s", s.At.Format("05"), s.Ms, s.Status, s.Target))
	}
	want := []string{"01 9 200 /search?q=0.009&token=***", "05 8 200 /search?q=0.008&token=***", "03 7 200 /search?q=0.007&token=***", "06 4 200 /search?q=0.004&token=***", "02 3 200 /search?q=0.003&token=***"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the slowest are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
