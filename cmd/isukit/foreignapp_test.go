package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/infratest"
	"isukit/infra/infratest/realhosts"
	"isukit/infra/project"
)

// foreignApp is an app as the image of a contest has it: JSON over HTTP, its address of the database from the environment, its rows from
// the system's database.
const foreignApp = `use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalAddr => "0.0.0.0:1323", Listen => 64, ReuseAddr => 1) or die;
$SIG{CHLD} = "IGNORE";
$ENV{MYSQL_PWD} = $ENV{MYSQL_PASS};
chomp(my $me = $ENV{HOSTNAME} || ` + "`hostname`" + `);
sub sql { my $q = shift; open my $f, "-|", "mariadb", "-h", $ENV{MYSQL_HOST}, "-P", $ENV{MYSQL_PORT}, "-u", "isu", "-N", "-B", "isudb", "-e", $q or return; local $SIG{CHLD}; local $/; my $out = <$f>; return close($f) ? $out : undef }
while (my $c = $s->accept) {
	next if fork;
	$SIG{CHLD} = "DEFAULT";
	while (defined(my $first = <$c>)) {
		while (my $l = <$c>) { last if $l =~ /^\r?\n$/ }
		my ($method, $path) = split / /, $first;
		my ($status, $body) = (200, "{}");
		if ($path eq "/initialize") { $status = 500 if system("sh", "/home/isucon/team/sql/init.sh") }
		elsif ($method eq "POST" && $path =~ m,^/api/items/(\w+)$,) { defined sql("INSERT INTO items (name) VALUES ('$1')") or $status = 500 }
		elsif ($path eq "/api/items") {
			my $rows = sql("SELECT name FROM items ORDER BY id");
			defined $rows or $status = 500;
			$body = sprintf '{"host":"%s","items":[%s]}', $me, join ",", map { "\"$_\"" } split /\n/, $rows // "";
		} else { $status = 404 }
		print $c "HTTP/1.1 $status X\r\nContent-Type: application/json\r\nContent-Length: " . length($body) . "\r\n\r\n$body"; $c->flush;
	}
	exit;
}
`

// foreignImage installs it on a host, with everything enabled, as every server of a team begins.
const foreignImage = teamDatabase + `
mkdir -p /home/isucon/team/sql && cat >/home/isucon/team/app.pl
cat >/home/isucon/env.sh <<'EOF'
# what the app reads
MYSQL_HOST="127.0.0.1"
MYSQL_PORT=3306
MYSQL_USER=isu
MYSQL_PASS='it is; "secret"'
EOF
cat >/home/isucon/team/sql/schema.sql <<'EOF'
DROP TABLE IF EXISTS items;
CREATE TABLE items (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) NOT NULL);
INSERT INTO items (name) VALUES ('one'), ('two'), ('three');
EOF
cat >/home/isucon/team/sql/init.sh <<'EOF'
MYSQL_PWD="$MYSQL_PASS" mariadb -h "$MYSQL_HOST" -P "$MYSQL_PORT" -u isu isudb </home/isucon/team/sql/schema.sql
EOF
chown -R isucon: /home/isucon && chmod 640 /home/isucon/env.sh
cat >/etc/systemd/system/team.service <<'EOF'
[Unit]
Description=the team's app
After=network.target mariadb.service
Requires=mariadb.service
[Service]
User=isucon
EnvironmentFile=/home/isucon/env.sh
ExecStart=/usr/bin/perl /home/isucon/team/app.pl
[Install]
WantedBy=multi-user.target
EOF
rm -f /etc/nginx/sites-enabled/default
cat >/etc/nginx/sites-available/team.conf <<'EOF'
server {
	listen 80;
	access_log /var/log/nginx/access.log combined;
	location / {
		proxy_set_header Host $host;
		proxy_pass http://localhost:1323;
	}
}
EOF
ln -sf /etc/nginx/sites-available/team.conf /etc/nginx/sites-enabled/team.conf
mariadb -e "CREATE DATABASE isudb; CREATE USER isu@localhost IDENTIFIED BY 'it is; \"secret\"'; GRANT ALL ON isudb.* TO isu@localhost"
mariadb isudb </home/isucon/team/sql/schema.sql
systemctl daemon-reload && systemctl enable --quiet --now team && systemctl enable --quiet nginx && systemctl restart nginx`

// foreignState is what isukit has to leave as it was.
const foreignState = `find /etc /home/isucon /var/lib/isukit-site -xdev ! -name ld.so.cache ! -path '*/.ssh*' ! -name .mariadb_history -printf '%p %m %u %g %l\n' 2>/dev/null | sort
find /etc /home/isucon -xdev -type f ! -name ld.so.cache ! -path '*/.ssh*' -exec sha256sum {} + | sort
for u in nginx team mariadb; do echo "$u $(systemctl is-active $u) $(systemctl is-enabled $u) $(systemctl show -p LimitNOFILE --value $u)"; done
ss -Hltn | awk '{ print $4 }' | sort
mariadb -N -e "SELECT user, host, authentication_string FROM mysql.user ORDER BY 1, 2; SELECT db, user, host FROM mysql.db ORDER BY 1, 2, 3; SHOW DATABASES; SELECT @@bind_address"`

const foreignProject = `name: team
hosts:
  - {name: s1, address: s1}
  - {name: s2, address: s2}
  - {name: s3, address: s3}
roles:
  db:
    units: [mariadb]
    port: 3306
    mysql: {schema: isudb, user: isu, password_env: MYSQL_PASS, clients: [app], move: initialize}
  app:
    units: [team]
    port: 1323
    health: GET /api/items
    files: 5000
    requires: {mariadb.service: db}
    env: {/home/isucon/env.sh: {MYSQL_HOST: "{db}"}}
  proxy:
    units: [nginx]
    port: 80
    health: GET /api/items
    swap: {/etc/nginx/sites-available/team.conf: {"localhost:1323": app}}
topologies:
  one:   {db: s1, app: s1, proxy: s1}
  split: {db: s2, app: [s1, s3], proxy: s1}
  far:   {db: s3, app: s2, proxy: s1}
benchmark: {external: true}
`

// foreignTeam are servers with the foreign app, and a laptop with its isukit.yaml.
type foreignTeam struct {
	tuneTeam
	hosts  []string
	state  string // the command that prints what has to stay as it was
	before map[string]string
}

func newForeignTeam(t *testing.T, hosts ...string) *foreignTeam {
	t.Helper()
	f := startForeignTeam(t, hosts, foreignState, func(h host.Host) {
		if res, err := h.Run(t.Context(), host.Command{Argv: []string{"env", "-u", "TMPDIR", "sh", "-c", foreignImage}, Stdin: []byte(foreignApp)}); err != nil || res.Code != 0 {
			t.Fatalf("install the app: %v, exit status %d: %s%s", err, res.Code, res.Stdout, res.Stderr)
		}
	})
	write(t, filepath.Join(f.dir, "isukit.yaml"), foreignProject)
	return f
}

// startForeignTeam boots hosts, on each of which install installs an app.
func startForeignTeam(t *testing.T, hosts []string, state string, install func(host.Host)) *foreignTeam {
	t.Helper()
	program, env, _ := topologyEnv(t)
	f := &foreignTeam{tuneTeam: tuneTeam{lab: realhosts.Start(t, realhosts.Named(hosts...)...), path: program}, hosts: hosts, state: state, before: map[string]string{}}
	f.dir = f.lab.Dir
	for _, assignment := range env {
		if strings.HasPrefix(assignment, "ISUKIT_") {
			f.env = append(f.env, assignment)
		}
	}
	var logins []realhosts.Login
	for _, name := range hosts {
		logins = append(logins, realhosts.Login{Name: name, Address: f.lab.Address(t, name), User: "isucon", Key: "id", Known: "known_hosts"})
	}
	logins = append(logins, realhosts.Login{Name: "s3-nosudo", Address: f.lab.Address(t, hosts[len(hosts)-1]), User: "nosudo", Key: "id", Known: "known_hosts"})
	config := f.lab.WriteConfig(t, logins...)
	f.env = append(f.env, "ISUKIT_SSH_CONFIG="+config, "HOME="+t.TempDir(), "ISUKIT_YES=1")
	for _, name := range hosts {
		h, err := f.lab.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		install(h)
		f.lab.Must(t, "generator", "for i in $(seq 60); do ssh -T -F "+config+" -o BatchMode=yes "+name+" true && exit 0; sleep 1; done; exit 1") // until users may log in
		f.before[name] = f.lab.Must(t, name, state)
	}
	return f
}

func (f *foreignTeam) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantBefore wants every host as it was.
func (f *foreignTeam) wantBefore(t *testing.T, when string) {
	t.Helper()
	for _, name := range f.hosts {
		f.wantSame(t, name+" "+when, f.before[name], f.lab.Must(t, name, f.state))
	}
}

// ask fetches a page of the site.
func (f *foreignTeam) ask(t *testing.T, method, path string) string {
	t.Helper()
	return f.askAt(t, "s1", 80, method, path)
}

func (f *foreignTeam) askAt(t *testing.T, host string, port int, method, path string) string {
	t.Helper()
	return f.lab.Must(t, "generator", fmt.Sprintf(`perl -MIO::Socket::INET -e 'my $c = IO::Socket::INET->new("%s:%d") or die; print $c "%s %s HTTP/1.1\r\nHost: team\r\nConnection: close\r\n\r\n"; $c->flush; local $/; my $all = <$c>; $all =~ /^HTTP\/1.1 200/ or die $all; $all =~ s/.*?\r\n\r\n//s; print $all'`, f.lab.Address(t, host), port, method, path))
}

// foreignPlacements places an app that isukit did not install, on servers with systemd, rightly and wrongly. Each part ends with the servers as
// they were before.
func foreignPlacements(t *testing.T) {
	infratest.Real(t)
	f := newForeignTeam(t, "s1", "s2", "s3")
	t.Run("init", f.init)
	t.Run("place", f.place)
	t.Run("wrong", f.wrong)
	t.Run("changed", f.changed)
	t.Run("dump", f.dump)
	t.Run("replicas", f.replicas)
}

// foreignDay plays the day with that app, on servers that isukit makes databases on as well, and that kills of isukit leave as they were.
func foreignDay(t *testing.T) {
	infratest.Real(t)
	f := newForeignTeam(t, "s1", "s2", "s3")
	t.Run("day", f.day)
	t.Run("made", f.made)
	t.Run("killed", f.killed)
}

// init describes a server: of its files and its database, which has one schema, not named in any of them.
func (f *foreignTeam) init(t *testing.T) {
	h, err := f.lab.Host("s1")
	if err != nil {
		t.Fatal(err)
	}
	found, err := project.Probe(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	draft := found.Draft("team")
	for _, want := range []string{
		"    mysql: {client: mysql, schema: isudb, user: isu, password_env: MYSQL_PASS, clients: [app], move: initialize}", `    env: {/home/isucon/env.sh: {MYSQL_HOST: "{db}"}}`, "    requires: {mariadb.service: db}",
		`    swap: {/etc/nginx/sites-available/team.conf: {"localhost:1323": app}}`, "    port: 1323\n",
	} {
		if !strings.Contains(draft, want) {
			t.Errorf("the draft lacks %q:\n%s", want, draft)
		}
	}
}

func (f *foreignTeam) place(t *testing.T) {
	plan := f.isukit(t, ui.ExitOK, "topology", "apply", "split", "--dry-run")
	for _, want := range []string{"MYSQL_HOST=", "proxy_pass http://localhost:1323; -> proxy_pass http://isukit-app;", "stop    unit mariadb.service (disabled)", "account isu@10.77.0.11", "bind-address", "- Requires=mariadb.service"} {
		if !strings.Contains(plan, want) {
			t.Errorf("the plan lacks %q:\n%s", want, plan)
		}
	}
	f.wantBefore(t, "after a dry run")
	f.isukit(t, ui.ExitOK, "topology", "apply", "split")
	f.ask(t, "POST", "/initialize")
	f.ask(t, "POST", "/api/items/four")
	seen := ""
	for range 6 {
		seen += f.ask(t, "GET", "/api/items")
	}
	if !strings.Contains(seen, `"host":"s1"`) || !strings.Contains(seen, `"host":"s3"`) || !strings.Contains(seen, "four") {
		t.Errorf("the site answers:\n%s", seen)
	}
	f.isukit(t, ui.ExitOK, "topology", "verify")
	if status := f.isukit(t, ui.ExitOK, "topology", "status"); !strings.Contains(status, "topology split of team") {
		t.Errorf("status:\n%s", status)
	}
	for _, name := range []string{"far", "one"} {
		out := strings.TrimSpace(f.isukit(t, ui.ExitOK, "topology", "apply", name))
		t.Log(out[strings.LastIndexByte(out, '\n')+1:])
	}
	f.isukit(t, ui.ExitOK, "topology", "verify")
	f.isukit(t, ui.ExitOK, "topology", "down")
	f.wantBefore(t, "after down")
}

// wrong wants what cannot work to be an error that names it, before anything is touched.
func (f *foreignTeam) wrong(t *testing.T) {
	defer write(t, filepath.Join(f.dir, "isukit.yaml"), foreignProject)
	for _, c := range []struct {
		from, to, want string
		code           int
	}{
		{"units: [team]", "units: [nothere]", "unit nothere.service not found", ui.ExitFailed},
		{"{MYSQL_HOST:", "{MYSQL_HOTS:", "/home/isucon/env.sh: it does not assign MYSQL_HOTS", ui.ExitFailed},
		{"{/home/isucon/env.sh:", "{/home/isucon/env:", "/home/isucon/env: file not found", ui.ExitFailed},
		{`"localhost:1323"`, `"localhost:8080"`, `"localhost:8080" does not stand in it`, ui.ExitFailed},
		{"password_env: MYSQL_PASS", "password_env: MYSQL_WORD", "MYSQL_WORD is set neither", ui.ExitFailed},
		{"requires: {mariadb.service", "requires: {mysql.service", "no unit of role app requires mysql.service", ui.ExitFailed},
		{"port: 80", "port: 1323", "isukit.yaml:25:41: topology split: app and proxy on host s1 would listen on one port, 1323", ui.ExitUsage},
		{"address: s3", "address: s3-nosudo", "no root", ui.ExitFailed},
		{"move: initialize", "move: schema, file: /nowhere.sql", "/nowhere.sql, the file with the tables of", ui.ExitFailed},
	} {
		text := strings.Replace(foreignProject, c.from, c.to, 1)
		if strings.HasPrefix(c.to, "move: schema") {
			text = strings.Replace(text, "schema: isudb", "schema: otherdb", 1)
		}
		write(t, filepath.Join(f.dir, "isukit.yaml"), text)
		if out := f.isukit(t, c.code, "topology", "apply", "split"); !strings.Contains(out, c.want) {
			t.Errorf("%s: the error lacks %q:\n%s", c.to, c.want, out)
		}
	}
	f.wantBefore(t, "after applies that were refused")
	// What does not become healthy is reverted.
	write(t, filepath.Join(f.dir, "isukit.yaml"), strings.Replace(foreignProject, "port: 1323", "port: 1324", 1))
	if out := f.isukit(t, ui.ExitFailed, "topology", "apply", "split", "--patience", "0.1"); !strings.Contains(out, "role app does not become healthy") || !strings.Contains(out, "(the hosts are as before)") {
		t.Errorf("an apply that does not work:\n%s", out)
	}
	f.wantBefore(t, "after an apply that was reverted")
}

// changed wants what somebody has changed since to stay, and isukit's own lines to go.
func (f *foreignTeam) changed(t *testing.T) {
	f.isukit(t, ui.ExitOK, "topology", "apply", "split", "-q")
	f.lab.Must(t, "s1", "echo '# our own' >>/home/isucon/env.sh")
	f.lab.Must(t, "s3", "sed -i 's/^MYSQL_HOST=.*/MYSQL_HOST=10.9.9.9/' /home/isucon/env.sh")
	if out := f.isukit(t, ui.ExitFailed, "topology", "apply", "far"); !strings.Contains(out, "host s3: /home/isucon/env.sh was changed outside isukit") {
		t.Errorf("apply:\n%s", out)
	}
	out := f.isukit(t, ui.ExitRound, "topology", "down")
	if !strings.Contains(out, "left: host s3: /home/isucon/env.sh") || !strings.Contains(out, "left: host s1: /home/isucon/env.sh") {
		t.Errorf("down:\n%s", out)
	}
	f.lab.Must(t, "s1", "grep -q '# our own' /home/isucon/env.sh && sed -i '/# our own/d' /home/isucon/env.sh && chmod 640 /home/isucon/env.sh && chown isucon: /home/isucon/env.sh")
	if out := f.isukit(t, ui.ExitOK, "topology", "status"); !strings.Contains(out, "s3: /home/isucon/env.sh") || strings.Contains(out, "s1: ") {
		t.Errorf("status:\n%s", out)
	}
	f.isukit(t, ui.ExitRound, "topology", "down") // it is still owed
	f.lab.Must(t, "s3", `grep -q 10.9.9.9 /home/isucon/env.sh && sed -i 's/^MYSQL_HOST=.*/MYSQL_HOST="127.0.0.1"/' /home/isucon/env.sh && systemctl restart team`)
	f.isukit(t, ui.ExitOK, "topology", "down")
	f.wantBefore(t, "after down, and what was changed by hand put right")
}

// dump moves the data with the database, there and back. After down the rows that were written since are where the database was, and what
// other databases held before is theirs again.
func (f *foreignTeam) dump(t *testing.T) {
	defer write(t, filepath.Join(f.dir, "isukit.yaml"), foreignProject)
	write(t, filepath.Join(f.dir, "isukit.yaml"), strings.Replace(foreignProject, "move: initialize", "move: dump", 1))
	const rows = "mariadb -N isudb -e 'SELECT name FROM items ORDER BY id'"
	f.lab.Must(t, "s1", `mariadb isudb -e "INSERT INTO items (name) VALUES ('of s1')"`)
	f.lab.Must(t, "s2", `mariadb isudb -e "INSERT INTO items (name) VALUES ('of s2')"`)
	first, second := f.lab.Must(t, "s1", rows), f.lab.Must(t, "s2", rows)
	if out := f.isukit(t, ui.ExitOK, "topology", "apply", "split"); !strings.Contains(out, "change  data isudb (1 tables, 0 MiB from s1") {
		t.Errorf("apply:\n%s", out)
	}
	if got := f.lab.Must(t, "s2", rows); got != first {
		t.Errorf("s2 has the rows %q, s1 had %q", got, first)
	}
	f.ask(t, "POST", "/api/items/moved")
	f.isukit(t, ui.ExitOK, "topology", "apply", "one")
	if got := f.lab.Must(t, "s1", rows); got != first+"moved\n" {
		t.Errorf("s1 has the rows %q again, want %q and one more", got, first)
	}
	f.isukit(t, ui.ExitOK, "topology", "apply", "split", "-q")
	f.ask(t, "POST", "/api/items/late")
	f.isukit(t, ui.ExitOK, "topology", "down")
	if got, want := f.lab.Must(t, "s1", rows)+f.lab.Must(t, "s2", rows), first+"moved\nlate\n"+second; got != want {
		t.Errorf("after down the rows are %q, want %q", got, want)
	}
	f.lab.Must(t, "s1", `mariadb isudb -e "DELETE FROM items WHERE name IN ('moved', 'late')"`)
	f.wantBefore(t, "after data was moved")
	// Rows that cannot come home, since the description says now that the app fills its databases, are kept.
	f.isukit(t, ui.ExitOK, "topology", "apply", "split", "-q")
	f.ask(t, "POST", "/api/items/kept")
	write(t, filepath.Join(f.dir, "isukit.yaml"), foreignProject)
	if out := f.isukit(t, ui.ExitOK, "topology", "down"); !strings.Contains(out, "rows that no other host has are kept in /var/lib/isukit-kept/team") {
		t.Errorf("down:\n%s", out)
	}
	f.lab.Must(t, "s2", "grep -q kept /var/lib/isukit-kept/team/isudb-*.sql && rm -r /var/lib/isukit-kept")
	if got := f.lab.Must(t, "s1", rows) + f.lab.Must(t, "s2", rows); got != first+second {
		t.Errorf("after down the rows are %q, want %q", got, first+second)
	}
	f.wantBefore(t, "after data was kept")
}

// foreignBench is the benchmark of the day: it prints a score, and its exit code says nothing.
const foreignBench = `use IO::Socket::INET;
my ($score, $ok) = (0, 1);
sub ask { my ($method, $path, $want) = @_;
	my $c = IO::Socket::INET->new("$ARGV[0]:80") or do { $ok = 0; return };
	print $c "$method $path HTTP/1.0\r\n\r\n"; $c->flush; local $/; my $all = <$c>;
	if ($all =~ m,^HTTP/1.1 200, && $all =~ /$want/) { $score++ } else { $ok = 0 } }
ask("POST", "/initialize", "");
for my $n (1 .. 8) { ask("POST", "/api/items/n$n", ""); ask("GET", "/api/items", "\"n$n\"") }
printf "{\"pass\":%s,\"score\":%d}\n", $ok ? "true" : "false", $score;
`

// day plays rounds, compares the placements, tunes, and ends the day.
func (f *foreignTeam) day(t *testing.T) {
	defer write(t, filepath.Join(f.dir, "isukit.yaml"), foreignProject)
	write(t, filepath.Join(f.dir, "bench.pl"), foreignBench)
	write(t, filepath.Join(f.dir, "isukit.yaml"), strings.Replace(foreignProject, "benchmark: {external: true}",
		"logs: {access: [{host: s1, file: /var/log/nginx/access.log}]}\nbenchmark: {command: perl bench.pl "+f.lab.Address(t, "s1")+", score: {json: .score}, pass: {json: .pass}}\nfinal: {rounds: 1}", 1))
	results := "--results=" + t.TempDir()
	if out := f.isukit(t, ui.ExitOK, "round", results); !strings.Contains(out, "17") {
		t.Errorf("the round:\n%s", out)
	}
	if out := f.isukit(t, ui.ExitOK, "round", "-t", "split", "--json", results); !strings.Contains(out, `"topology": "split"`) || !strings.Contains(out, `"total": 17`) {
		t.Errorf("the round on split:\n%s", out)
	}
	if out := f.isukit(t, ui.ExitOK, "compare", "topology=one", "topology=split", "--rounds", "2", results); !strings.Contains(out, "same") && !strings.Contains(out, "undecided") {
		t.Errorf("compare:\n%s", out)
	}
	f.isukit(t, ui.ExitOK, "topology", "apply", "split", "-q")
	f.isukit(t, ui.ExitOK, "tune", "apply", "mysql/durability-relaxed", "nginx/keepalive")
	if got := f.lab.Must(t, "s2", "mariadb -N -e 'SELECT @@innodb_flush_log_at_trx_commit'"); got != "2\n" {
		t.Errorf("the database of the topology that is up has %q", got)
	}
	f.isukit(t, ui.ExitOK, "tune", "verify")
	f.isukit(t, ui.ExitOK, "final", results)
	// Tunings follow the database, and its role's own one is applied where it goes; down takes all of them back.
	write(t, filepath.Join(f.dir, "team.cnf"), "[mysqld]\nmax_connections = 77\n")
	text := f.read(t, "isukit.yaml")
	write(t, filepath.Join(f.dir, "isukit.yaml"), strings.Replace(text, "units: [mariadb]", "units: [mariadb]\n    tune: [./team.cnf]", 1))
	untuned := f.lab.Must(t, "s3", "systemctl start mariadb && mariadb -N -e 'SELECT @@max_connections' && systemctl stop mariadb")
	dry := f.isukit(t, ui.ExitOK, "topology", "apply", "far", "--dry-run")
	for _, want := range []string{"revert  tuning mysql/durability-relaxed of s2-mysql", "apply   tuning mysql/durability-relaxed of db", "apply   tuning mysql/team of db"} {
		if !strings.Contains(dry, want) {
			t.Errorf("the dry run lacks %q:\n%s", want, dry)
		}
	}
	f.isukit(t, ui.ExitOK, "topology", "apply", "far")
	const tuned = "mariadb -N -e 'SELECT @@innodb_flush_log_at_trx_commit, @@max_connections'"
	if got := f.lab.Must(t, "s3", tuned); got != "2\t77\n" {
		t.Errorf("the database that is used now has %q", got)
	}
	f.lab.Must(t, "s1", "grep -rq keepalive /etc/nginx")
	f.lab.Must(t, "s2", `[ -z "$(find /var/lib/isukit-tune -type f)" ]`)
	f.isukit(t, ui.ExitOK, "tune", "verify")
	// What the role names no more goes; what was applied by hand stays.
	write(t, filepath.Join(f.dir, "isukit.yaml"), text)
	if out := f.isukit(t, ui.ExitOK, "topology", "apply", "far"); !strings.Contains(out, "revert  tuning mysql/team of s3-mysql") || strings.Contains(out, "durability") && strings.Contains(out, "revert  tuning mysql/durability") {
		t.Errorf("apply:\n%s", out)
	}
	if got := f.lab.Must(t, "s3", tuned); got != "2\t"+untuned {
		t.Errorf("without the role's tuning the database has %q, want 2 and %q", got, untuned)
	}
	f.isukit(t, ui.ExitOK, "topology", "down")
	f.wantBefore(t, "after the day")
}

// replicas queries the databases of a role that a topology has on two hosts, for an app that writes to both.
func (f *foreignTeam) replicas(t *testing.T) {
	defer write(t, filepath.Join(f.dir, "isukit.yaml"), foreignProject)
	write(t, filepath.Join(f.dir, "isukit.yaml"), strings.NewReplacer(`"{db}"`, `"{db:1}"`, "topologies:\n", "topologies:\n  twin: {db: [s2, s3], app: s1, proxy: s1}\n").Replace(foreignProject))
	if out := f.isukit(t, ui.ExitUsage, "replicas", "check"); !strings.Contains(out, "several hosts is up") {
		t.Errorf("without a topology:\n%s", out)
	}
	f.isukit(t, ui.ExitOK, "topology", "apply", "twin", "-q")
	for _, name := range []string{"s2", "s3"} { // other tests have left them other rows
		f.lab.Must(t, name, "mariadb isudb </home/isucon/team/sql/schema.sql")
	}
	f.isukit(t, ui.ExitOK, "replicas", "check")
	// A round compares them if the description has a mode; the databases are not named again.
	placed := f.read(t, "isukit.yaml")
	write(t, filepath.Join(f.dir, "isukit.yaml"), strings.Replace(placed, "{external: true}", `{command: 'echo "{\"score\":1}"'}`+"\nreplicas: {mode: ordered}", 1))
	results := "--results=" + t.TempDir()
	if out := f.isukit(t, ui.ExitOK, "round", "--json", results); !strings.Contains(out, `"name": "compare"`) {
		t.Errorf("the round has compared nothing:\n%s", out)
	}
	f.lab.Must(t, "s3", `mariadb isudb -e "INSERT INTO items (id, name) VALUES (99, 'of s3')"`)
	if out := f.isukit(t, ui.ExitRound, "round", results); !strings.Contains(out, "table items, id=99") {
		t.Errorf("rows that differ:\n%s", out)
	}
	if out := f.isukit(t, ui.ExitRound, "replicas", "check"); !strings.Contains(out, "items") || !strings.Contains(out, "s3") {
		t.Errorf("rows that differ:\n%s", out)
	}
	f.lab.Must(t, "s3", `mariadb isudb -e "DELETE FROM items WHERE id = 99"`)
	f.isukit(t, ui.ExitOK, "replicas", "status")
	f.isukit(t, ui.ExitOK, "topology", "down")
	f.wantBefore(t, "after its databases were asked")
}

// killed kills isukit while it applies; the next command reverts everything, or finishes.
func (f *foreignTeam) killed(t *testing.T) {
	kills, err := strconv.Atoi(os.Getenv("ISUKIT_KILLS"))
	if err != nil {
		kills = 3
	}
	h, err := f.lab.Host("generator")
	if err != nil {
		t.Fatal(err)
	}
	seed, err := strconv.ParseUint(os.Getenv("ISUKIT_KILLS_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("ISUKIT_KILLS_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for n := range kills {
		after := fmt.Sprintf("%.2f", 1+7*random.Float64())
		if _, err := h.Run(t.Context(), host.Command{Argv: []string{"timeout", "-s", "KILL", after, f.path, "topology", "apply", "split"}, Env: append(f.env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"), Dir: f.dir}); err != nil {
			t.Fatal(err)
		}
		when := "killed after " + after + " s"
		if n%2 == 0 {
			f.isukit(t, ui.ExitOK, "topology", "apply", "split")
			f.isukit(t, ui.ExitOK, "topology", "verify")
			when += ", finished"
		}
		f.isukit(t, ui.ExitOK, "topology", "down")
		f.wantBefore(t, when+" and taken back")
	}
}
