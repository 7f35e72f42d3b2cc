package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/infratest"
	"isukit/infra/infratest/realhosts"
)

// teamApp is an app as a team has it: HTTP with connections that are kept, and a file with a line for each request: the number of its
// connection, and of the request on it.
const teamApp = `use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:1323", Listen => 64, ReuseAddr => 1) or die;
$SIG{CHLD} = "IGNORE";
my $n = 0;
while (my $c = $s->accept) {
	$n++;
	next if fork;
	my $k = 0;
	while (1) {
		my $close = 0; my $first = <$c>;
		exit unless defined $first;
		while (my $l = <$c>) { last if $l =~ /^\r?\n$/; $close = 1 if $l =~ /^Connection:\s*close/i }
		$close = 1 if $first =~ m,HTTP/1.0,;
		$k++;
		open my $f, ">>", "/var/log/app.log"; print $f "$n $k\n"; close $f;
		print $c "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" . ($close ? "Connection: close\r\n" : "") . "\r\nok\n"; $c->flush;
		exit if $close;
	}
}
`

// teamSite installs what the image of a contest has: an app with a unit, and a site of nginx that passes to it by its address.
const teamSite = `set -e
mkdir -p /srv/app && cat >/srv/app/app.pl
printf '[Service]\nExecStart=/usr/bin/perl /srv/app/app.pl\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/team.service
rm -f /etc/nginx/sites-enabled/default
cat >/etc/nginx/sites-available/team.conf <<'EOF'
server {
	listen 80;
	access_log /var/log/nginx/team.log combined;
	location / {
		proxy_set_header Host $host;
		proxy_pass http://localhost:1323;
	}
}
EOF
ln -sf /etc/nginx/sites-available/team.conf /etc/nginx/sites-enabled/team.conf
systemctl daemon-reload && systemctl enable --quiet --now team && systemctl restart nginx`

// teamDatabase installs what a distribution's package has besides the server: an account, a unit, and empty tables.
const teamDatabase = `set -e
useradd -r -s /usr/sbin/nologin mysql
printf '[mysqld]\nmax_connections = 120\n' >/etc/mysql/mariadb.conf.d/50-server.cnf
install -d -o mysql -g mysql /var/lib/mysql
mariadb-install-db --user=mysql --datadir=/var/lib/mysql --auth-root-authentication-method=socket --skip-test-db >/dev/null
cat >/etc/systemd/system/mariadb.service <<'EOF'
[Service]
Type=notify
User=mysql
RuntimeDirectory=mysqld
ExecStart=/usr/sbin/mariadbd --datadir=/var/lib/mysql --pid-file=/run/mysqld/mysqld.pid
[Install]
WantedBy=multi-user.target
EOF
systemctl daemon-reload && systemctl enable --quiet --now mariadb && mariadb -e 'SET GLOBAL long_query_time = 3'`

// everyFile is what is below /etc, with modes, owners and content; the kernel's and the database's settings; what runs.
const everyFile = `find /etc -xdev ! -type d ! -name 'ld.so.cache' -printf '%p %m %u %g %l\n' | sort
find /etc -xdev -type f ! -name ld.so.cache -exec sha256sum {} + | sort
sysctl -n net.ipv4.ip_local_port_range net.ipv4.tcp_tw_reuse
if systemctl is-active --quiet mariadb; then mariadb -N -e 'SHOW GLOBAL VARIABLES' | grep -v 'gtid\|server_uid\|timestamp\|pseudo\|rand_seed\|in_transaction\|_id[[:space:]]'; fi
for u in nginx team mariadb; do systemctl is-active $u; done; true`

// tuneTeam are two servers of a team and a laptop with the team's isukit.yaml.
type tuneTeam struct {
	lab  *realhosts.Lab
	dir  string
	env  []string
	path string
}

func newTuneTeam(t *testing.T) *tuneTeam {
	t.Helper()
	program, env, _ := topologyEnv(t)
	s := &tuneTeam{lab: realhosts.Start(t, realhosts.Named("s1", "s2")...), path: program}
	s.dir = s.lab.Dir
	for _, assignment := range env {
		if strings.HasPrefix(assignment, "ISUKIT_") {
			s.env = append(s.env, assignment)
		}
	}
	config := s.lab.WriteConfig(t,
		realhosts.Login{Name: "s1", Address: s.lab.Address(t, "s1"), User: "isucon", Key: "id", Known: "known_hosts"},
		realhosts.Login{Name: "s2", Address: s.lab.Address(t, "s2"), User: "isucon", Key: "id", Known: "known_hosts"})
	s.env = append(s.env, "ISUKIT_SSH_CONFIG="+config, "HOME="+t.TempDir())
	h, err := s.lab.Host("s1")
	if err != nil {
		t.Fatal(err)
	}
	if res, err := h.Run(t.Context(), host.Command{Argv: []string{"sh", "-c", teamSite}, Stdin: []byte(teamApp)}); err != nil || res.Code != 0 {
		t.Fatalf("install the app: %v, exit status %d: %s%s", err, res.Code, res.Stdout, res.Stderr)
	}
	s.lab.Must(t, "s2", teamDatabase)
	for _, name := range []string{"s1", "s2"} {
		s.lab.Must(t, "generator", "for i in $(seq 60); do ssh -T -F "+config+" -o BatchMode=yes "+name+" true && exit 0; sleep 1; done; exit 1") // until users may log in
	}
	write(t, filepath.Join(s.dir, "isukit.yaml"), `name: team
hosts:
  - {name: s1, address: s1, roles: [app]}
  - {name: s2, address: s2}
services:
  - {host: s1, units: [nginx, team]}
databases:
  - {host: s2, client: sudo mariadb}
benchmark: {external: true}
`)
	return s
}

// isukit runs it on the laptop, in the project's directory.
func (s *tuneTeam) isukit(t *testing.T, wantCode int, args ...string) string {
	t.Helper()
	res := s.start(t, args...)
	if res.Code != wantCode {
		t.Errorf("isukit %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), res.Code, wantCode, res.Stdout, res.Stderr)
	}
	return string(res.Stdout) + string(res.Stderr)
}

func (s *tuneTeam) start(t *testing.T, args ...string) host.Result {
	t.Helper()
	h, err := s.lab.Host("generator")
	if err != nil {
		t.Fatal(err)
	}
	res, err := h.Run(t.Context(), host.Command{Argv: append([]string{s.path}, args...), Env: s.env, Dir: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func (s *tuneTeam) snapshot(t *testing.T) string {
	t.Helper()
	return s.lab.Must(t, "s1", everyFile) + "== s2\n" + s.lab.Must(t, "s2", everyFile)
}

// requests asks the site for a page, and returns how many connections its app had for it.
func (s *tuneTeam) connections(t *testing.T, requests int) int {
	t.Helper()
	out := s.lab.Must(t, "s1", fmt.Sprintf(`: >/var/log/app.log
perl -MIO::Socket::INET -e 'my $c = IO::Socket::INET->new("127.0.0.1:80") or die; for (1..%d) { print $c "GET /page HTTP/1.1\r\nHost: team\r\n\r\n"; $c->flush; my $n = 0; while (my $l = <$c>) { $n = $1 if $l =~ /^Content-Length: (\d+)/i; last if $l =~ /^\r?\n$/ } read $c, my $body, $n; die "no page: $body" unless $body eq "ok\n" }'
cut -d ' ' -f 1 /var/log/app.log | sort -u | wc -l`, requests))
	var n int
	if _, err := fmt.Sscan(out, &n); err != nil {
		t.Fatalf("connections of the app: %q", out)
	}
	return n
}

var teamTunings = []string{"nginx/keepalive", "nginx/measure", "mysql/durability-relaxed", "mysql/measure", "limits/nofile", "sysctl/ports"}

// tuneProjectOverSSH tunes the units of a project's hosts from a laptop: they behave as tuned, and all is reverted to the byte, also
// when isukit is killed meanwhile.
func tuneProjectOverSSH(t *testing.T) {
	infratest.Real(t)
	s := newTuneTeam(t)
	before := s.snapshot(t)
	if n := s.connections(t, 5); n != 5 {
		t.Fatalf("before: the app had %d connections for 5 requests", n)
	}
	if out := s.isukit(t, ui.ExitOK, append([]string{"tune", "diff"}, teamTunings...)...); !strings.Contains(out, "s1-nginx") || !strings.Contains(out, "s2-mysql") {
		t.Errorf("diff:\n%s", out)
	}
	s.isukit(t, ui.ExitOK, append([]string{"tune", "apply"}, teamTunings...)...)
	s.isukit(t, ui.ExitOK, "tune", "verify")
	s.lab.Must(t, "s1", ": >/var/log/nginx/team.log")
	if n := s.connections(t, 5); n > 2 { // one for each worker that answers
		t.Errorf("tuned: the app had %d connections for 5 requests\n%s", n, s.lab.Must(t, "s1", "nginx -T 2>/dev/null | head -n 60; cat /etc/nginx/sites-available/team.conf"))
	}
	if line := s.lab.Must(t, "s1", "tail -n 1 /var/log/nginx/team.log"); !strings.Contains(line, `"uri":"/page"`) {
		t.Errorf("the site's log has %q", line)
	}
	if got := s.lab.Must(t, "s2", `mariadb -N -e 'SELECT @@innodb_flush_log_at_trx_commit, @@performance_schema'; ls /etc/mysql/mariadb.conf.d | grep isukit`); got != "2\t1\nzz-isukit.cnf\n" {
		t.Errorf("the database has %q", got)
	}
	if got := s.lab.Must(t, "s1", "systemctl show -p LimitNOFILE --value team"); got != "65536\n" {
		t.Errorf("the next start of the app has the limit %q", got)
	}
	s.isukit(t, ui.ExitOK, "tune", "revert", "--all")
	s.same(t, before, "after revert")
	s.env = append(s.env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	for _, after := range []time.Duration{3000, 12000} { // milliseconds, wherever that is
		h, _ := s.lab.Host("generator")
		if _, err := h.Run(t.Context(), host.Command{Argv: append([]string{"timeout", "-s", "KILL", fmt.Sprint(float64(after) / 1000), s.path, "tune", "apply"}, teamTunings...), Env: s.env, Dir: s.dir}); err != nil {
			t.Fatal(err)
		}
		s.isukit(t, ui.ExitOK, "tune", "revert", "--all")
		s.same(t, before, fmt.Sprintf("killed after %d ms and taken back", after))
	}
	if out := s.start(t, "doctor", "--only", "cpu-others"); strings.Contains(string(out.Stdout), "team.service") {
		t.Errorf("doctor offers to stop the team's app:\n%s", out.Stdout)
	}
}

func (s *tuneTeam) same(t *testing.T, before, when string) {
	t.Helper()
	s.wantSame(t, when, before, s.snapshot(t))
}

// wantSame wants two lists of lines to be the same.
func (s *tuneTeam) wantSame(t *testing.T, when, before, after string) {
	t.Helper()
	if after == before {
		return
	}
	had, has := strings.Split(before, "\n"), strings.Split(after, "\n")
	var diff strings.Builder
	for _, l := range had {
		if !strings.Contains(after, l+"\n") {
			diff.WriteString("- " + l + "\n")
		}
	}
	for _, l := range has {
		if !strings.Contains(before, l+"\n") {
			diff.WriteString("+ " + l + "\n")
		}
	}
	t.Errorf("%s it is not as before:\n%s", when, diff.String())
}
