package project

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// rolesScript prints what roles are drafted from: the ports of units and what they answer to a request, the files of their environment,
// what they require, what builds their programs, files that may name addresses, the sites of nginx and the configuration of an Envoy. Values of secrets are not printed.
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
configs() { # files in the directory $1 that have an address of this host
	case $1 in "" | / | /home | /root | /usr* | /etc | /var | /opt | /srv) return ;; esac
	for f in "$1"/.env* "$1"/*.env "$1"/env.sh "$1"/*.toml "$1"/*.yml "$1"/*.yaml "$1"/*.json "$1"/*.ini "$1"/config/*.* "$1"/conf/*.*; do
		case ${f##*/} in package*.json | tsconfig* | composer.* | Cargo.* | pyproject.* | docker-compose* | compose.* | *.example | *.sample | *.rb | *.py | *.js | *.ts | *.php) continue ;; esac
		[ -f "$f" ] && [ "$(wc -c <"$f")" -le 65536 ] && grep -qE 'localhost|127\.0\.0\.1' "$f" && echo "$f"
	done
}
shown() { # files, without what may be secret
	for f; do
		[ -f "$f" ] || continue
		echo "@env $f"
		sed -E 's/("[^" ]*(pass|secret|token|key)[^" ]*"[ \t]*:[ \t]*)"([^"\\]|\\.)*"/\1"hidden"/Ig
			s/(["'"'"'][A-Za-z0-9_]*(pass|secret|token|key)[A-Za-z0-9_]*=)[^"'"'"']*/\1hidden/Ig
			s/([ \t][A-Za-z0-9_]*(pass|secret|token|key)[A-Za-z0-9_]*=)("[^"]*"|'"'"'[^'"'"']*'"'"'|[^ \t"'"'"']+)/\1hidden/Ig
			s/^([^:=]*[^A-Za-z_]|)([A-Za-z0-9_.-]*(pass|secret|token|key)[A-Za-z0-9_.-]*[ \t]*)([:=]>?[ \t]*)["'"'"']?[^" ].*$/\1\2\4hidden/I
			s,(://[^:@/ ]*):[^ ]*@,\1:hidden@,g; s,([=/"'"'"' (]|^)([A-Za-z0-9_.-]+):(/?[^/ ][^ ]*)?@,\1\2:hidden@,g; s/^@/ @/' "$f" 2>/dev/null
		echo
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
	program=$(systemctl show -p ExecStart --value -- "$unit" | sed -n '1s/.*argv\[\]=\([^ ;]*\).*/\1/p') at=$(systemctl show -p WorkingDirectory --value -- "$unit")
	builds "$program" "$at"
	case $program in /usr/* | /bin/* | /sbin/*) ;; *) at=${at:-${program%/*}} ;; esac
	files=$(systemctl show -p FragmentPath,DropInPaths --value -- "$unit" | tr ' ' '\n'; configs "$at"; configs "${at%/*}")
	echo Files=$files
	shown $files
done
shown $(systemctl show -p EnvironmentFiles --value '*.service' 2>/dev/null | sed 's/ (.*//' | sort -u) /home/*/env.sh /home/*/env /etc/memcached.conf /etc/redis/redis.conf /etc/redis.conf
for f in /etc/nginx/nginx.conf /usr/local/*/nginx/conf/nginx.conf /usr/local/nginx/conf/nginx.conf; do [ -e "$f" ] && { echo "@site $f"; cat "$f"; }; done
for f in /etc/nginx/sites-enabled/*; do [ -e "$f" ] && { echo "@site $(readlink -f "$f")"; cat "$f"; }; done
for f in /etc/nginx/conf.d/*.conf /etc/envoy/*.yaml; do [ -e "$f" ] && { echo "@site $f"; cat "$f"; }; done
`

var (
	passExpr    = regexp.MustCompile(`(?m)^[^#\n]*?(?:_pass\s+(?:\w+://)?|\bserver\s+)((?:localhost|127\.0\.0\.1):(\d+))`)
	socketExpr  = regexp.MustCompile(`(?m)^[^#\n]*?(?:_pass\s+(?:\w+://)?|\bserver\s+)(unix:[^\s;:]+)`)
	clusterExpr = regexp.MustCompile(`(?ms)^\s*(?:- )?cluster_name: ["']?(\w+)["']?\s*$(.*?)port_value: (\d+)`)
	envoyExpr   = regexp.MustCompile(`(?m)^\s*path: ["']?(/\S+\.log)\b`)
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
		if !slices.ContainsFunc(f.envs, func(e [2]string) bool { return e[0] == of }) {
			f.envs = append(f.envs, [2]string{of, body})
		}
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

var (
	databaseUnits = regexp.MustCompile(`^(mysql|mysqld|mariadb)\.service$`)
	cacheUnits    = regexp.MustCompile(`^(memcached|redis|valkey)(-server)?(@\S*)?\.service$`)
)

// apps are the units that nothing else is known of.
func (f *Found) apps() []string {
	return slices.DeleteFunc(slices.Clone(f.Units), func(u string) bool {
		return ownUnits.MatchString(u) || databaseUnits.MatchString(u) || u == "nginx.service" || u == "envoy.service" || cacheUnits.MatchString(u)
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
		case slices.Contains(apps, u) || cacheUnits.MatchString(u):
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
	kinds := map[string]string{}
	for _, r := range roles {
		for kind, expr := range kindExprs {
			if (r.name == "db" || cacheUnits.MatchString(r.unit)) && expr.MatchString(r.name) {
				kinds[kind] = r.name
			}
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
	found, user, clients := map[string][]access{}, access{}, []string(nil)
	for _, r := range roles {
		if !slices.Contains(apps, r.unit) {
			continue
		}
		found[r.name] = f.accesses(r.unit, kinds, of)
		for _, a := range found[r.name] {
			if a.role != "db" {
				continue
			}
			if clients = united(clients, r.name); user.role == "" || user.user == "" {
				user = a
			}
		}
	}
	user.schema, user.user = cmp.Or(user.schema, f.schema), cmp.Or(user.user, f.user)
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
			if user.user == "" || user.schema == "" || user.password == "" {
				line("    # mysql: {schema: %s, user: %s, password_env: %s, clients: [%s], move: initialize}   # not all of it is in the files of the app", cmp.Or(user.schema, "app"),
					cmp.Or(user.user, "isucon"), cmp.Or(user.password, "DB_PASSWORD"), cmp.Or(strings.Join(clients, ", "), "app"))
				continue
			}
			known = true
			client := ""
			if len(f.Servers) > 0 {
				client = "client: " + quoted(f.Servers[0].Client) + ", "
			}
			line("    mysql: {%sschema: %s, user: %s, password_env: %s, clients: [%s], move: initialize}   # move: or schema, or dump", client, user.schema, user.user, user.password, strings.Join(clients, ", "))
		case cacheUnits.MatchString(r.unit):
			f.draftCache(line, cacheUnits.FindStringSubmatch(r.unit)[1])
		case r.name == "proxy":
			f.draftSwaps(line, of)
			f.draftHealth(line, r.unit)
		case slices.Contains(apps, r.unit):
			for _, text := range edits(r.name, found[r.name]) {
				line("%s", text)
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

// envOf is the file where a unit is configured in it, by its environment, or in its directory; or by a file in the home that it may source.
func (f *Found) envOf(unit, file string) string {
	named := f.show(unit, "EnvironmentFiles") + " " + f.show(unit, "Files") + " "
	if strings.Contains(named, file+" ") || strings.HasPrefix(file, "/home/") && strings.HasPrefix(path.Base(file), "env") && f.show(unit, "EnvironmentFiles") == "" {
		return file
	}
	return ""
}

var bindExpr = regexp.MustCompile(`(?m)^(-l|bind)[ \t]+127\.0\.0\.1`)

// draftCache writes what makes a cache listen for other hosts.
func (f *Found) draftCache(line func(string, ...any), kind string) {
	for _, e := range f.envs {
		if m := bindExpr.FindStringSubmatch(e[1]); m != nil && strings.Contains(path.Base(e[0]), kind) {
			line("    # env: {%s: {%q: 0.0.0.0}}   # for clients on other hosts; any host that reaches the port can use it then", e[0], m[1])
		}
	}
}

// draftSwaps writes which address in which file of a proxy is whose.
func (f *Found) draftSwaps(line func(string, ...any), of func(port string) string) {
	var files, sockets []string
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
			for _, m := range socketExpr.FindAllStringSubmatch(site[1], -1) {
				sockets = united(sockets, site[0]+": {\""+m[1]+"\": app}")
			}
		}
		if len(swaps) > 0 {
			files = append(files, site[0]+": {"+strings.Join(swaps, ", ")+"}")
		}
	}
	for _, text := range sockets {
		line("    # swap: {%s}   # a socket is for one host: have the app listen on a port, and name it as port of its role", text)
	}
	if len(files) > 0 {
		line("    swap: {%s}", strings.Join(files, ", "))
	} else if len(sockets) == 0 {
		line("    # swap: {/etc/nginx/sites-available/app.conf: {\"localhost:8080\": app}}   # no file with an app's address was seen")
	}
}
