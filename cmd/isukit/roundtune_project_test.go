package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// costly is a tuning that costs the app of tunableProject 15 % of its score.
const costly = `# Tuning mysql/costly: it makes every query slower
[mysqld]
# what the app's query looks at; since mariadb 5.1, mysql 5.1; restart: no; risk: low
max_error_count = 100
`

// tunableProject is a project on this machine with a database of its own. Its score follows from a setting of the database, and from
// chance, and not from how busy the machine is.
type tunableProject struct {
	dir, state string
	db         *infratest.DB
}

func newTunableProject(t *testing.T) *tunableProject {
	t.Helper()
	s := &tunableProject{dir: t.TempDir(), state: filepath.Join(t.TempDir(), "state")}
	cnf := filepath.Join(s.dir, "server.cnf")
	write(t, cnf, "[mysqld]\nmax_error_count = 64\n")
	s.db = infratest.StartDBWith(t, infratest.Engines(t)[0], cnf)
	cfg, err := mysql.ParseDSN(s.db.RootDSN(""))
	if err != nil {
		t.Fatal(err)
	}
	client := filepath.Join(s.dir, "client.cnf")
	write(t, client, "[client]\nuser="+cfg.User+"\npassword="+cfg.Passwd+"\nprotocol=tcp\nhost="+s.db.Host+"\nport="+strconv.Itoa(s.db.Port)+"\n")
	write(t, filepath.Join(s.dir, "costly.cnf"), costly)
	write(t, filepath.Join(s.dir, "isukit.yaml"), fmt.Sprintf(`name: tunable
databases: [{client: mariadb --defaults-file=%s, cnf: %s}]
facts: [{key: clock, run: date +%%s%%N}]
benchmark:
  command: |
    costly=$(mariadb --defaults-file=%[1]s -Ne 'SELECT @@GLOBAL.max_error_count = 100')
    echo "score: $((10000 - 1500 * costly + $(od -An -N1 -tu1 /dev/urandom)))"
    while [ -e hold ]; do sleep 0.1; done
`, client, cnf))
	return s
}

func (s *tunableProject) isukit(t *testing.T, wantCode int, args ...string) string {
	t.Helper()
	cmd := isukitCommand(t, s.dir, s.state, args...)
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != wantCode {
		t.Fatalf("isukit %q: exit %d, %v, want %d\n%s", args, code, err, wantCode, out)
	}
	return string(out)
}

// tuned tells whether the planted setting is in effect, and in the server's file.
func (s *tunableProject) tuned(t *testing.T) (running, file bool) {
	t.Helper()
	var n int
	if err := s.db.Open(t, "").QueryRow("SELECT @@GLOBAL.max_error_count").Scan(&n); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "server.cnf"))
	if err != nil {
		t.Fatal(err)
	}
	return n == 100, strings.Contains(string(text), "100")
}

func (s *tunableProject) wantTuned(t *testing.T, when string, want bool) {
	t.Helper()
	if running, file := s.tuned(t); running != want || file != want {
		t.Errorf("%s: tuned %v, in the file %v, want %v", when, running, file, want)
	}
}

// TestProjectRoundTunings plays rounds of a project with a tuning of its database: it is in the record and reverted, also when isukit is
// killed in between.
func TestProjectRoundTunings(t *testing.T) {
	t.Parallel()
	s := newTunableProject(t)
	out := s.isukit(t, ui.ExitOK, "round", "--tune", "costly.cnf")
	if !strings.Contains(out, "reverted: mysql/costly (values: 2)") {
		t.Errorf("the round does not say what it took back:\n%s", out)
	}
	r, _, err := result.Find(filepath.Join(s.dir, "results"), "last")
	if err != nil {
		t.Fatal(err)
	}
	variables := r.Settings[slices.IndexFunc(r.Settings, func(o result.Settings) bool { return o.Source == "variables" })]
	if !slices.Contains(r.Facts, result.Fact{Key: "tunings", Value: "mysql/costly"}) || variables.Values["max_error_count"] != "100" {
		t.Errorf("the round ran with max_error_count %s and the facts %v", variables.Values["max_error_count"], r.Facts)
	}
	s.wantTuned(t, "after the round", false)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--tune", "nosuch/tuning"}, ui.ExitUsage, "isukit tune ls"},
		{[]string{"--tune", "mysql/flush-never"}, ui.ExitUsage, "--accept-risk"},
		{[]string{"--tune", "nginx/keepalive"}, ui.ExitFailed, "could be applied"},
	} {
		if out := s.isukit(t, c.code, append([]string{"round"}, c.args...)...); !strings.Contains(out, c.want) {
			t.Errorf("%q: no %q in\n%s", c.args, c.want, out)
		}
	}

	write(t, filepath.Join(s.dir, "hold"), "")
	killed := isukitCommand(t, s.dir, s.state, "round", "--tune", "costly.cnf")
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	wait.For(t, "the tuning to be applied", func() bool { running, file := s.tuned(t); return running && file })
	if out := s.isukit(t, ui.ExitFailed, "round", "--tune", "costly.cnf"); !strings.Contains(out, "another round has applied tunings") {
		t.Errorf("a second round beside it:\n%s", out)
	}
	s.wantTuned(t, "while a round runs", true)
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait() // it was killed
	os.Remove(filepath.Join(s.dir, "hold"))
	if out := s.isukit(t, ui.ExitOK, "ls"); !strings.Contains(out, "reverted: mysql/costly (values: 2)") {
		t.Errorf("the next command does not say what it took back:\n%s", out)
	}
	s.wantTuned(t, "after the next command", false)
	if out := s.isukit(t, ui.ExitOK, "ls"); strings.Contains(out, "reverted: mysql") {
		t.Errorf("the command after that:\n%s", out)
	}
}

// compareTuningsOfAProject compares rounds of a project without and with a tuning that costs 15 %, and sides that are equal by
// mistake.
func compareTuningsOfAProject(t *testing.T) {
	s := newTunableProject(t)
	out := s.isukit(t, ui.ExitOK, "compare", "tune=none", "tune=costly.cnf", "--rounds", "7", "--warmup", "0", "--repeats", "0", "--metrics", "score")
	if !strings.Contains(out, "WORSE") || !strings.Contains(out, "tunings: (none) -> mysql/costly") {
		t.Errorf("compare says:\n%s", out)
	}
	s.wantTuned(t, "after compare", false)
	s.isukit(t, ui.ExitOK, "tune", "apply", "costly.cnf")
	out = s.isukit(t, ui.ExitUsage, "compare", "tune=none", "tune=costly.cnf", "--rounds", "7", "--warmup", "0", "--repeats", "0")
	if !strings.Contains(out, "tunings is mysql/costly in both") {
		t.Errorf("compare of equal sides says:\n%s", out)
	}
	s.wantTuned(t, "what was applied before", true)
	s.isukit(t, ui.ExitOK, "tune", "revert", "--all")
	// The fact "clock" is another one each time, and no proof of anything.
	out = s.isukit(t, ui.ExitUsage, "compare", "run=true", "run=true  #", "--rounds", "7", "--repeats", "0")
	if !strings.Contains(out, "the records of their rounds do not differ") {
		t.Errorf("compare of sides that do the same says:\n%s", out)
	}
}
