package project

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// rolesScript prints what roles are drafted from: the ports of units and what they answer to a request, the files of their environment,
// what they require, what builds their programs, the sites of nginx and the configuration of an Envoy. Values of secrets are not printed.
const rolesScript = `
in_path() { # what brings a tool into the PATH
	have "$1" || for d in /usr/local/go/bin /home/*/local/*/bin /home/*/.local/*/bin /home/*/.cargo/bin; do [ -x "$d/$1" ] && echo "PATH=$d:\$PATH " && break; done
}
builds() { # of the program $1 that is run in $2
	case $1 in
	*/node | *npm | *yarn) [ ! -f "$2/package.json" ] || printf 'Dir=%s\nBuild=%s\n' "$2" "$(grep -qs '"build":' "$2/package.json" && echo "$(in_path npm)npm run build")" ;;
	/usr/* | /bin/* | /sbin/* | "") return ;;
	esac
	dir=${1%/*}
	while [ -n "$dir" ]; do
		case $(ls "$dir" 2>/dev/null | grep -x 'Makefile\|go\.mod\|Cargo\.toml' | sort -r | tr '\n' ' ') in
		"") case $dir/ in "$2"/?*) dir=${dir%/*} && continue ;; esac ;;
		*Makefile*) printf 'Dir=%s\nBuild=%s\n' "$dir" "$(grep -qsw -- "${1##*/}" "$dir/Makefile" && echo "$(in_path go)make")" ;;
		*go.mod*) printf 'Dir=%s\nBuild=%s\n' "$dir" "$(grep -qs '^package main' "$dir"/*.go && echo "$(in_path go)go build -o ${1#"$dir"/} .")" ;;
		*Cargo*) printf 'Dir=%s\nBuild=%s\n' "$dir" "$([ "${1%/*}" = "$dir/target/release" ] && echo "$(in_path cargo)cargo build --release")" ;;
		esac
		return
	done
}
echo @listen
listening | awk '{ n = split($4, a, ":"); if (match($0, /pid=[0-9]+/)) print a[n], substr($0, RSTART + 4, RLENGTH - 4) }' | sort -u | while read -r port pid; do
	unit=$(sed -n 's,.*/\([^/]*\.service\).*,\1,p' "/proc/$pid/cgroup" 2>/dev/null | head -n 1)
	case $unit in mysql* | mariadb* | ssh* | memcached* | redis* | systemd-* | "") code= ;; *) code=$(have curl && curl -s -m 2 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/") ;; esac
	echo "$port $unit $code"
done | sort -u
have systemctl && systemctl list-units --type=service --state=running --no-legend --plain 2>/dev/null | cut -d ' ' -f 1 | while read -r unit; do
	echo "@unit $unit"
	systemctl show -p Requires,BindsTo,EnvironmentFiles -- "$unit"
	builds "$(systemctl show -p ExecStart --value -- "$unit" | sed -n '1s/.*argv\[\]=\([^ ;]*\).*/\1/p')" "$(systemctl show -p WorkingDirectory --value -- "$unit")"
done
for f in $(systemctl show -p EnvironmentFiles --value '*.service' 2>/dev/null | sed 's/ (.*//' | sort -u) /home/*/env.sh /home/*/env; do
	[ -f "$f" ] || continue
	echo "@env $f"
	sed -n 's/^\(export \)*\([A-Za-z_]*\(PASS\|SECRET\|TOKEN\|KEY\)[A-Za-z_]*\)=.*/\2=hidden/; s/^export //; /^[A-Za-z_][A-Za-z0-9_]*=/p' "$f" 2>/dev/null
done
for f in /etc/nginx/sites-enabled/*; do [ -e "$f" ] && { echo "@site $(readlink -f "$f")"; cat "$f"; }; done
for f in /etc/nginx/conf.d/*.conf /etc/envoy/*.yaml; do [ -e "$f" ] && { echo "@site $f"; cat "$f"; }; done
`

var (
	passExpr    = regexp.MustCompile(`(?m)^[^#\n]*?(?:_pass\s+\w+://|\bserver\s+)((?:localhost|127\.0\.0\.1):(\d+))`)
	clusterExpr = regexp.MustCompile(`(?ms)^\s*(?:- )?cluster_name: ["']?(\w+)["']?\s*$(.*?)port_value: (\d+)`)
	envoyExpr   = regexp.MustCompile(`(?m)^\s*path: ["']?(/\S+\.log)\b`)
	envExpr     = regexp.MustCompile(`(?m)^([A-Za-z_][A-Za-z0-9_]*)=["']?([^"'\n]*)`)
	hostExpr    = regexp.MustCompile(`(?i)^(.*(?:MYSQL|MARIADB|DB|DATABASE)_?)HOST(?:NAME)?$`)
)

// addRoles reads a section of rolesScript.
func (f *Found) addRoles(name, body string) {
	kind, of, _ := strings.Cut(name, " ")
	switch kind {
	case "listen":
		for line := range strings.Lines(body) {
			if w := append(strings.Fields(line), ""); len(w) > 2 && !ownUnits.MatchString(w[1]) {
				f.listens = append(f.listens, [2]string{w[1], w[0]})
				f.statuses = append(f.statuses, [2]string{w[0], w[2]})
			}
		}
	case "unit":
		f.showed = append(f.showed, [2]string{of, body})
	case "env":
		f.envs = append(f.envs, [2]string{of, body})
	case "site":
		f.sites = append(f.sites, [2]string{of, body})
	}
}

// port is the one of a unit's that a proxy passes to, or otherwise the first one on which it listens; "" for none.
func (f *Found) port(unit string) (port string) {
	for _, l := range slices.Backward(f.listens) {
		if l[0] != unit || unit == "nginx.service" && l[1] != "443" && l[1] != "80" {
			continue
		}
		port = l[1]
		passed := regexp.MustCompile(`:\s?` + port + `\b`)
		if unit != "nginx.service" && slices.ContainsFunc(f.sites, func(site [2]string) bool { return passed.MatchString(site[1]) }) {
			break
		}
	}
	return port
}

var databaseUnits = regexp.MustCompile(`^(mysql|mysqld|mariadb)\.service$`)

// apps are the units that nothing else is known of.
func (f *Found) apps() []string {
	return slices.DeleteFunc(slices.Clone(f.Units), func(u string) bool {
		return ownUnits.MatchString(u) || databaseUnits.MatchString(u) || slices.Contains([]string{"nginx.service", "envoy.service", "memcached.service", "redis-server.service"}, u)
	})
}

// draftRoles writes roles and the current topology; known: the roles have the database's client.
func (f *Found) draftRoles(line func(string, ...any)) (known bool) {
	type role struct{ name, unit string }
	var roles []role
	apps := f.apps()
	for _, u := range f.Units {
		name := strings.TrimSuffix(u, ".service")
		switch {
		case databaseUnits.MatchString(u):
			roles = slices.Insert(roles, 0, role{"db", u})
		case slices.Contains(apps, u) && len(apps) == 1:
			roles = append(roles, role{"app", u})
		case slices.Contains(apps, u) || u == "memcached.service" || u == "redis-server.service":
			roles = append(roles, role{notRoles.ReplaceAllString(name, "-"), u})
		}
	}
	if len(apps) == 0 {
		return false
	}
	for _, u := range []string{"nginx.service", "envoy.service"} {
		if slices.Contains(f.Units, u) {
			roles = append(roles, role{"proxy", u})
			break
		}
	}
	of := func(port string) string {
		for _, r := range roles {
			if r.name != "proxy" && slices.Contains(f.listens, [2]string{r.unit, port}) {
				return r.name
			}
		}
		return ""
	}
	db, user := f.databaseEnv()
	line("roles:                        # in the order in which they start; docs/place-your-app.md describes them")
	var places []string
	for _, r := range roles {
		places = append(places, r.name+": "+Local)
		line("  %s:", r.name)
		line("    units: [%s]", strings.TrimSuffix(r.unit, ".service"))
		if port := f.port(r.unit); port != "" {
			line("    port: %s", port)
		}
		switch {
		case r.name == "db":
			if user == nil {
				line("    # mysql: {schema: app, user: isucon, password_env: DB_PASSWORD, clients: [app], move: initialize}   # no file names them")
				continue
			}
			clients := slices.DeleteFunc(slices.Clone(roles), func(o role) bool { return !slices.Contains(apps, o.unit) || f.envOf(o.unit, db[0]) == "" })
			var names []string
			for _, c := range clients {
				names = append(names, c.name)
			}
			known = true
			client := ""
			if len(f.Servers) > 0 {
				client = "client: " + quoted(f.Servers[0].Client) + ", "
			}
			line("    mysql: {%sschema: %s, user: %s, password_env: %s, clients: [%s], move: initialize}   # move: or schema, or dump", client, user["schema"], user["user"], user["password"], strings.Join(names, ", "))
		case r.name == "proxy":
			f.draftSwaps(line, of)
			f.draftHealth(line, r.unit)
		case slices.Contains(apps, r.unit):
			if db[1] != "" && f.envOf(r.unit, db[0]) != "" {
				line("    env: {%s: {%s: \"{db}\"}}", db[0], db[1])
			}
			for _, o := range roles {
				if required := "=" + f.show(r.unit, "Requires") + " " + f.show(r.unit, "BindsTo") + " "; o.name != r.name && strings.Contains(strings.ReplaceAll(required, "=", " "), " "+o.unit+" ") {
					line("    requires: {%s: %s}", o.unit, o.name)
				}
			}
			f.draftHealth(line, r.unit)
			switch dir, build := f.show(r.unit, "Dir"), f.show(r.unit, "Build"); {
			case build != "":
				line("    dir: %s", quoted(dir))
				line("    build: %s", quoted(build))
			case dir != "":
				line("    # dir: %s   # and build: what makes its program there", dir)
			}
		}
	}
	line("topologies:")
	line("  one: {%s}", strings.Join(places, ", "))
	line("  # split: {db: s2, app: [s1, s3], proxy: s1}   # once there are more hosts")
	return known
}

// draftHealth writes the request that a unit has answered.
func (f *Found) draftHealth(line func(string, ...any), unit string) {
	port := f.port(unit)
	for _, s := range f.statuses {
		switch {
		case s[0] != port:
		case strings.HasPrefix(s[1], "2") || strings.HasPrefix(s[1], "3"):
			line("    health: GET /")
		case slices.Contains([]string{"401", "403", "404", "405"}, s[1]):
			line("    health: GET /           # status %s; a page that reads the database shows more", s[1])
		case s[1] != "":
			line("    # health: GET /...      # GET / has no such answer; without it a connection is enough")
		}
	}
}

var notRoles = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

func (f *Found) show(unit, property string) string {
	for _, s := range f.showed {
		if s[0] == unit {
			_, value, _ := strings.Cut("\n"+s[1], "\n"+property+"=")
			value, _, _ = strings.Cut(value, "\n")
			return value
		}
	}
	return ""
}

// envOf is the file where a unit's environment, or a file in the home that the unit may source, is that file; else "".
func (f *Found) envOf(unit, file string) string {
	if named := f.show(unit, "EnvironmentFiles"); named == "" || strings.Contains(named+" ", file+" ") {
		return file
	}
	return ""
}

// databaseEnv finds the file with the address of a database and its key, and the variables next to it.
func (f *Found) databaseEnv() (fileAndKey [2]string, user map[string]string) {
	for _, env := range f.envs {
		all := envExpr.FindAllStringSubmatch(env[1], -1)
		for _, m := range all {
			key, host := m[1], hostExpr.FindStringSubmatch(m[1])
			if host == nil && strings.HasSuffix(key, "_USER") {
				host, key = []string{"", strings.TrimSuffix(key, "USER")}, ""
			}
			if host == nil || fileAndKey[1] != "" {
				continue
			}
			found := map[string]string{}
			for _, o := range all {
				switch rest := strings.TrimPrefix(o[1], host[1]); {
				case rest == o[1]:
				case slices.Contains([]string{"USER", "USERNAME"}, rest):
					found["user"] = o[2]
				case slices.Contains([]string{"DBNAME", "DATABASE", "NAME", "SCHEMA", "DB"}, rest):
					found["schema"] = o[2]
				case strings.HasPrefix(rest, "PASS"):
					found["password"] = o[1]
				}
			}
			if len(found) == 3 {
				fileAndKey, user = [2]string{env[0], key}, found
			}
		}
	}
	return fileAndKey, user
}

// draftSwaps writes which address in which file of a proxy is whose.
func (f *Found) draftSwaps(line func(string, ...any), of func(port string) string) {
	var files []string
	for _, site := range f.sites {
		var swaps []string
		add := func(literal, port string) {
			if swap := fmt.Sprintf("%q: %s", literal, of(port)); of(port) != "" && !slices.Contains(swaps, swap) {
				swaps = append(swaps, swap)
			}
		}
		if path.Ext(site[0]) == ".yaml" {
			for _, m := range clusterExpr.FindAllStringSubmatch(site[1], -1) {
				add("cluster "+m[1], m[3])
			}
		} else {
			for _, m := range passExpr.FindAllStringSubmatch(site[1], -1) {
				add(m[1], m[2])
			}
		}
		if len(swaps) > 0 {
			files = append(files, site[0]+": {"+strings.Join(swaps, ", ")+"}")
		}
	}
	if len(files) > 0 {
		line("    swap: {%s}", strings.Join(files, ", "))
	} else {
		line("    # swap: {/etc/nginx/sites-available/app.conf: {\"localhost:8080\": app}}   # no file with an app's address was seen")
	}
}
