package main

import (
	"path/filepath"
	"strings"
	"testing"

	"isukit/cmd/internal/ui"
)

// made places servers that isukit makes for the team's own app: its data moves with a private MariaDB, requests come through a private
// nginx, or Envoy, and down removes all of them.
func (f *foreignTeam) made(t *testing.T) {
	defer write(t, filepath.Join(f.dir, "isukit.yaml"), foreignProject)
	head, rest, _ := strings.Cut(foreignProject, "  db:\n")
	_, app, _ := strings.Cut(rest, "  app:\n")
	app, _, _ = strings.Cut(app, "  proxy:\n")
	write(t, filepath.Join(f.dir, "isukit.yaml"), head+`  db: {make: mariadb, port: 3307, tune: [mysql/durability-relaxed], mysql: {schema: isudb, user: isu, password_env: MYSQL_PASS, clients: [app], move: dump}}
  app:
`+strings.NewReplacer(`MYSQL_HOST: "{db}"`, `MYSQL_HOST: "{db}", MYSQL_PORT: "3307"`, "GET /api/items", "tcp").Replace(app)+`  front: {make: nginx, port: 8080, pass: app}
  edge: {make: envoy, port: 8090, pass: app}
topologies:
  first:  {db: s2, app: [s1, s3], front: s1}
  second: {db: s3, app: [s1, s2], front: s2}
  third:  {db: s3, app: s1, edge: s1}
benchmark: {external: true}
`)
	plan := f.isukit(t, ui.ExitOK, "topology", "apply", "first", "--dry-run")
	for _, want := range []string{"create  /etc/systemd/system/made-team-db.service", "port = 3307", "start   unit made-team-front.service (enabled)", "apply   tuning mysql/durability-relaxed of db"} {
		if !strings.Contains(plan, want) {
			t.Errorf("the plan lacks %q:\n%s", want, plan)
		}
	}
	f.wantBefore(t, "after a dry run")
	f.isukit(t, ui.ExitOK, "topology", "apply", "first")
	f.askAt(t, "s1", 8080, "POST", "/initialize")
	f.askAt(t, "s1", 8080, "POST", "/api/items/four")
	if status := f.isukit(t, ui.ExitOK, "topology", "status"); strings.Count(status, "made-team-") != 2 {
		t.Errorf("status:\n%s", status)
	}
	const tuned = "mariadb --no-defaults -uroot -S /var/lib/isukit-made/team/db/data/mysql.sock -N -e 'SELECT @@innodb_flush_log_at_trx_commit'"
	for _, c := range []struct {
		name, db, at string
		port         int
	}{{"first", "s2", "s1", 8080}, {"second", "s3", "s2", 8080}, {"third", "s3", "s1", 8090}} {
		f.isukit(t, ui.ExitOK, "topology", "apply", c.name)
		f.isukit(t, ui.ExitOK, "topology", "verify")
		if got := f.askAt(t, c.at, c.port, "GET", "/api/items"); !strings.Contains(got, "three") || !strings.Contains(got, "four") {
			t.Errorf("%s: the site answers %s", c.name, got)
		}
		if got := f.lab.Must(t, c.db, tuned); got != "2\n" {
			t.Errorf("%s: the database has %q", c.name, got)
		}
	}
	f.isukit(t, ui.ExitOK, "topology", "down")
	f.wantBefore(t, "after what was made is gone")
	f.lab.Must(t, "s2", "[ ! -e /var/lib/isukit-made ]")
}
