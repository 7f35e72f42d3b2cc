package project_test

import (
	"strings"
	"testing"

	"isukit/infra/project"
)

const placed = `
name: team
hosts: [{name: s1, address: a}, {name: s2, address: b}, {name: s3, address: c}]
roles:
  db: {units: [mysql], port: 3306, mysql: {schema: isu, user: isucon, password_env: DB_PASS, clients: [app], move: schema, file: /home/isucon/schema.sql}}
  app:
    units: [isu.go, isu-worker.service]
    port: 8080
    health: GET /healthz
    dir: /home/isucon/app
    build: echo 'made'
    requires: {mysql.service: db}
    env: {/home/isucon/env.sh: {DB_HOST: "{db}", PEERS: "{app:1},{addr:app}"}}
  proxy: {units: [nginx], port: 80, swap: {/etc/nginx/sites-available/isu.conf: {"localhost:8080": app}}}
  matcher: {units: [matcher], with: proxy}
topologies:
  one: {db: s1, app: s1, proxy: s1}
  split: {db: s2, app: [s1, s3], proxy: s1}
benchmark: {external: true}
`

func TestRoles(t *testing.T) {
	p, err := project.Parse([]byte(placed))
	if err != nil {
		t.Fatal(err)
	}
	if app, ok := p.Role("app"); !ok || strings.Join(app.Units, " ") != "isu.go.service isu-worker.service" || app.Env[0] != (project.Edit{File: "/home/isucon/env.sh", Key: "DB_HOST", Value: "{db}"}) {
		t.Errorf("role app: %+v", app)
	}
	split, ok := p.Placement("split")
	if !ok || strings.Join(split.Hosts["matcher"], " ") != "s1" || strings.Join(split.Hosts["app"], " ") != "s1 s3" {
		t.Errorf("split: %+v", split)
	}
	for _, c := range []struct{ ref, on, want string }{
		{"{db}", "s1", "s2"}, {"{app}", "s3", "s3"}, {"{app:1}", "s3", "s1"},
		{"{app}", "s2", "which of the 2"}, {"{app:3}", "s2", "there are 2"}, {"{cache}", "s2", "places no cache"},
	} {
		host, err := split.Find(project.Refs(c.ref)[0], c.on)
		if host != c.want && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s on %s: %q, %v, want %q", c.ref, c.on, host, err, c.want)
		}
	}
	up := p.Placed(split)
	if len(up.Services) != 4 || len(up.Databases) != 1 || up.Databases[0].Host != "s2" || len(p.Services) != 0 {
		t.Errorf("placed: services %+v, databases %+v", up.Services, up.Databases)
	}
	if want := `exec su -s /bin/sh -c 'cd '\''/home/isucon/app'\'' && echo '\''made'\''' "$(stat -c %U '/home/isucon/app')"`; up.Build[0].Run != want {
		t.Errorf("the build is\n%s\nwant\n%s", up.Build[0].Run, want)
	}
}

// TestRoleFaults wants all faults of roles and topologies together, each with its place.
func TestRoleFaults(t *testing.T) {
	_, err := project.Parse([]byte(`
name: team
hosts: [{name: s1, address: a}, {name: s2, address: b}]
roles:
  db: {units: [], port: 0, mysql: {schema: "a b", user: isucon, clients: [web], move: schema}}
  app:
    units: [isu, "a b"]
    helth: tcp
    env: {env.sh: {DB_HOST: "{dbs}", "A B": x}}
  cache: {units: [isu], health: ping, with: matcher, dir: /a}
  matcher: {units: [matcher], with: nobody, swap: {/a: {here: app}}}
benchmark: {external: true}
`))
	for _, want := range []string{
		"isukit.yaml:5:15: units is empty", "port must be a number from 1 to 65535", `schema "a b"`, `role "web" not found`, "schema and file, an absolute path, belong together", "password_env",
		`isukit.yaml:7:18: "a b" is not the name of a unit`, `isukit.yaml:8:5: unknown key "helth" in role app`, `isukit.yaml:9:11: env: a file must be an absolute path`, `role "dbs" not found`, "A B:",
		"unit isu.service is of role app, too", `health "ping"`, "health needs a port", "role matcher is itself placed with nobody", "build and dir", `role "nobody" not found`, "role app has no port",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	_, err = project.Parse([]byte(strings.NewReplacer("port: 80,", "port: 8080,", "[s1, s3], proxy: s1}", "[s1, s3], proxy: s4, matcher: s1, other: s1}", `{app:1},{addr:app}`, "{app:2}").Replace(placed)))
	for _, want := range []string{"topology one: app on s1: {app:2}: there are 1 of app", "topology one: app and proxy on host s1 would listen on one port, 8080", `host "s4" not found`, "role matcher is placed with proxy", `role "other" not found`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}
