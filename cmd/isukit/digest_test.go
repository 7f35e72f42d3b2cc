package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
)

// isukitIn runs the program in process and returns its exit code and what it wrote.
func isukitIn(t *testing.T, in string, args ...string) (code int, out, err string) {
	t.Helper()
	return isukitWith(t, in, append(args, "--state-dir", t.TempDir()))
}

// isukitState is isukitIn with a state directory of the caller's.
func isukitState(t *testing.T, state string, args ...string) (code int, out, err string) {
	t.Helper()
	return isukitWith(t, "", append(args, "--state-dir", state))
}

func isukitWith(t *testing.T, in string, args []string) (code int, out, err string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, streams{strings.NewReader(in), &o, &e})
	return code, o.String(), e.String()
}

const twoLines = `{"time":1792000000.5,"method":"GET","uri":"/a/1","status":200,"request_time":0.010,"body_bytes_sent":5}
{"time":1792000001.5,"method":"GET","uri":"/a/2","status":500,"request_time":0.030,"body_bytes_sent":5}
not a line
`

func TestDigestAccess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(file, []byte(twoLines), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errText := isukitIn(t, twoLines, "digest", "access", "--json", file, "-")
	var d result.AccessDigest
	if err := json.Unmarshal([]byte(out), &d); err != nil || code != ui.ExitOK {
		t.Fatalf("exit %d, %v: %s", code, err, errText)
	}
	if len(d.Routes) != 1 || d.Routes[0].Path != "/a/{id}" || d.Total.Hits != 4 || d.Unreadable != 2 || d.Total.Status["5xx"] != 2 || d.Total.Request.MaxMs != 30 {
		t.Errorf("digest %+v", d)
	}
	code, out, _ = isukitIn(t, "", "digest", "access", "--from", "2026-10-14T17:46:41Z", file)
	for _, want := range []string{"GET /a/{id}", "1 of 3 lines could not be read", "1 line outside the window", "not a line"} {
		if !strings.Contains(out, want) || code != ui.ExitOK {
			t.Errorf("exit %d; the text lacks %q:\n%s", code, want, out)
		}
	}
}

// TestDigestAccessRefuses: impossible requests are refused with the reason, and the possible part is done.
func TestDigestAccessRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.log")
	write(t, empty, "")
	file := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(file, []byte(twoLines), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want string
		code int
		args []string
	}{
		{"no such file", ui.ExitUsage, []string{file, file + ".missing"}},
		{"contains no lines", ui.ExitUsage, []string{empty}},
		{"is a device", ui.ExitUsage, []string{os.DevNull}},
		{"column", ui.ExitUsage, []string{file, "--sort", "luck"}},
		{"begins neither", ui.ExitUsage, []string{file, "--route", "api"}},
		{"is not a time", ui.ExitUsage, []string{file, "--from", "noon"}},
		{"before it begins", ui.ExitUsage, []string{file, "--from", "12:00:00", "--to", "11:00:00"}},
		{"names no variable", ui.ExitUsage, []string{file, "--format", "nginx"}},
	} {
		code, out, errText := isukitIn(t, "", append([]string{"digest", "access"}, c.args...)...)
		if code != c.code || !strings.Contains(errText, c.want) {
			t.Errorf("%v: exit %d, %s; want %d, %q", c.args, code, errText, c.code, c.want)
		}
		if c.want == "no such file" && !strings.Contains(out, "/a/{id}") {
			t.Errorf("%v: the file that is there is not digested: %s", c.args, out)
		}
	}
}

const slowLines = `# Time: 261014 20:26:40
# User@Host: isu[isu] @ localhost []
# Thread_id: 12  Schema: isuconp  QC_hit: No
# Query_time: 0.250000  Lock_time: 0.000010  Rows_sent: 1  Rows_examined: 1000
SET timestamp=1792000000;
SELECT * FROM users WHERE name = 'mary' /* GET /@:name */;
# User@Host: isu[isu] @ localhost []
# Query_time: 0.350000  Lock_time: 0.000010  Rows_sent: 1  Rows_examined: 1000
SET timestamp=1792000001;
UPDATE users SET passhash = 'hunter2' WHERE id = 5;
`

func TestDigestQueries(t *testing.T) {
	code, out, errText := isukitIn(t, slowLines, "digest", "queries", "--json", "-")
	var d result.QueryDigest
	if err := json.Unmarshal([]byte(out), &d); err != nil || code != ui.ExitOK {
		t.Fatalf("exit %d, %v: %s", code, err, errText)
	}
	if len(d.Queries) != 2 || d.Queries[1].Routes["GET /@:name"] != 1 || d.Queries[1].Database != "isuconp" || d.Queries[0].Time.SumSeconds != 0.35 {
		t.Errorf("digest %+v", d)
	}
	if strings.Contains(out, "hunter2") || !strings.Contains(out, "mary") {
		t.Errorf("the hash is printed, or the name is not:\n%s", out)
	}
	code, out, _ = isukitIn(t, slowLines, "digest", "queries", "-")
	for _, want := range []string{"select * from users where name = ?", "GET /@:name 1", "1,000"} {
		if !strings.Contains(out, want) || code != ui.ExitOK {
			t.Errorf("exit %d; the text lacks %q:\n%s", code, want, out)
		}
	}
	if code, _, errText := isukitIn(t, "", "digest", "queries", "-"); code != ui.ExitUsage || !strings.Contains(errText, "no line") {
		t.Errorf("an empty log: exit %d, %s", code, errText)
	}
}
