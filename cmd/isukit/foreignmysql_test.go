package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/infratest"
)

// packMySQL has a tree of MySQL as a tar: the server, its clients, and the libraries of both.
const packMySQL = `cd "$1" && { printf '%s\n' lib lib64 bin sbin usr/lib64 usr/sbin/mysqld usr/bin/mysql usr/bin/mysqldump
find usr/share/mysql* -type f
for f in usr/sbin/mysqld usr/bin/mysql usr/bin/mysqldump; do
	chroot . ldd /$f | grep -o '/[^ ]*' | sed 's,^/,,; s,^lib,usr/lib,' | while read -r lib; do echo "$lib"; realpath --relative-to=. "$lib"; done
done; } | sort -u | while read -r f; do if [ -e "$f" ] || [ -L "$f" ]; then echo "$f"; fi; done | tar --no-recursion -cf - -T -`

// mysqlImage installs MySQL 9, and Envoy before the app, where foreignImage has MariaDB and nginx.
const mysqlImage = `set -e
mkdir -p /opt/mysql && tar -C /opt/mysql -xf - && cd /opt/mysql
useradd -r -s /usr/sbin/nologin mysql
install -d -o mysql -g mysql /var/lib/mysql /opt/mysql/var/lib/mysql-files
rm -rf /etc/mysql && mkdir -p /etc/mysql/mysql.conf.d etc/mysql tmp dev proc sys run var/lib/mysql run/mysqld && chmod 1777 tmp && cp /etc/passwd /etc/group etc/
printf '!includedir /etc/mysql/mysql.conf.d/\n' >/etc/mysql/my.cnf
printf '[mysqld]\nuser = mysql\nbind-address = 127.0.0.1\nmysqlx = OFF\n[client]\nsocket = /run/mysqld/mysqld.sock\n' >/etc/mysql/mysql.conf.d/mysqld.cnf
for c in mysql mysqldump; do
	printf '#!/bin/sh\nexec /opt/mysql/lib64/ld-linux-x86-64.so.2 --library-path /opt/mysql/usr/lib/x86_64-linux-gnu /opt/mysql/usr/bin/%s "$@"\n' $c >/usr/local/bin/$c
	chmod 755 /usr/local/bin/$c
done
cat >/etc/systemd/system/mysql.service <<'EOF'
[Service]
Type=notify
User=mysql
RuntimeDirectory=mysqld
RootDirectory=/opt/mysql
MountAPIVFS=yes
BindPaths=/var/lib/mysql /run/mysqld /etc/mysql /run/systemd/notify
ExecStart=/usr/sbin/mysqld --basedir=/usr --datadir=/var/lib/mysql --pid-file=/run/mysqld/mysqld.pid --socket=/run/mysqld/mysqld.sock
[Install]
WantedBy=multi-user.target
EOF
mount --bind /var/lib/mysql var/lib/mysql
chroot . /usr/sbin/mysqld --no-defaults --basedir=/usr --datadir=/var/lib/mysql --user=mysql --initialize-insecure
umount var/lib/mysql
mkdir -p /etc/envoy && cat >/etc/envoy/config.yaml <<'EOF'
static_resources:
  listeners:
    - name: http
      address: {socket_address: {address: 0.0.0.0, port_value: 80}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: http
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
                route_config:
                  virtual_hosts:
                    - name: team
                      domains: ["*"]
                      routes:
                        - match: {prefix: /}
                          route: {cluster: team}
  clusters:
    - name: team
      type: STRICT_DNS
      connect_timeout: 5s
      load_assignment:
        cluster_name: team
        endpoints:
          - lb_endpoints:
              - endpoint:
                  address:
                    socket_address:
                      address: "127.0.0.1"
                      port_value: 1323
EOF
cat >/etc/systemd/system/envoy.service <<'EOF'
[Service]
ExecStart=/usr/local/bin/envoy -c /etc/envoy/config.yaml --concurrency 1 --disable-hot-restart
[Install]
WantedBy=multi-user.target
EOF
systemctl daemon-reload && systemctl enable --quiet --now mysql`

// foreignAppOnMySQL places the foreign app with MySQL 9 and Envoy, there and back.
func foreignAppOnMySQL(t *testing.T) {
	infratest.Real(t)
	tree := filepath.Join(infratest.Root(t), ".local", "mysql")
	if _, err := os.Stat(filepath.Join(tree, "usr", "sbin", "mysqld")); err != nil {
		t.Fatalf("no MySQL: %v (make mysql)", err)
	}
	pack := exec.CommandContext(t.Context(), "sh", "-c", packMySQL, "sh", tree)
	pack.Stderr = os.Stderr
	files, err := pack.Output()
	if err != nil {
		t.Fatal(err)
	}
	onMySQL := func(text string) string {
		return strings.NewReplacer("mariadb", "mysql", "nginx team", "envoy team").Replace(text)
	}
	image := strings.TrimPrefix(foreignImage, teamDatabase)
	image = image[:strings.Index(image, "rm -f /etc/nginx")] + image[strings.Index(image, `mariadb -e "CREATE`):]
	image = strings.Replace(strings.ReplaceAll(image, "nginx", "envoy"), "&& systemctl restart envoy", "&& systemctl start envoy", 1)
	f := startForeignTeam(t, []string{"s1", "s2"}, onMySQL(foreignState), func(h host.Host) {
		for _, step := range []struct{ script, in string }{{mysqlImage, string(files)}, {onMySQL(image), onMySQL(foreignApp)}} {
			if res, err := h.Run(t.Context(), host.Command{Argv: []string{"env", "-u", "TMPDIR", "sh", "-c", step.script}, Stdin: []byte(step.in)}); err != nil || res.Code != 0 {
				t.Fatalf("install: %v, exit status %d: %s%s", err, res.Code, res.Stdout, res.Stderr)
			}
		}
	})
	write(t, filepath.Join(f.dir, "isukit.yaml"), `name: team
hosts: [{name: s1, address: s1}, {name: s2, address: s2}]
roles:
  db: {units: [mysql], port: 3306, mysql: {schema: isudb, user: isu, password_env: MYSQL_PASS, plugin: caching_sha2_password, clients: [app], move: dump}}
  app: {units: [team], port: 1323, health: GET /api/items, requires: {mysql.service: db}, env: {/home/isucon/env.sh: {MYSQL_HOST: "{db}"}}}
  proxy: {units: [envoy], port: 80, health: GET /api/items, files: 4096, swap: {/etc/envoy/config.yaml: {cluster team: app}}}
topologies:
  one: {db: s1, app: s1, proxy: s1}
  split: {db: s2, app: [s1, s2], proxy: s1}
benchmark: {external: true}
`)
	f.ask(t, "POST", "/api/items/before")
	f.isukit(t, ui.ExitOK, "topology", "apply", "split")
	f.ask(t, "POST", "/api/items/moved")
	seen := ""
	for range 8 {
		seen += f.ask(t, "GET", "/api/items")
	}
	if !strings.Contains(seen, `"host":"s1"`) || !strings.Contains(seen, `"host":"s2"`) || !strings.Contains(seen, `"before","moved"`) {
		t.Errorf("the site answers:\n%s", seen)
	}
	f.isukit(t, ui.ExitOK, "topology", "verify")
	f.isukit(t, ui.ExitOK, "topology", "down")
	if got := f.ask(t, "GET", "/api/items"); !strings.Contains(got, `"before","moved"`) {
		t.Errorf("after down the site answers:\n%s", got)
	}
	f.wantBefore(t, "after down")
}
