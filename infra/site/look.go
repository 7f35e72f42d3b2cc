package site

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"isukit/infra/engine"
	"isukit/infra/engine/mysql"
	"isukit/infra/host"
	"isukit/infra/project"
)

type node struct {
	name  string
	at    host.Host
	dir   string  // of the record
	rec   *record // nil where nothing was applied
	files map[string][]byte
	units map[string]unit
	bases map[string]*database // by role; nil where it does not answer
	cnfs  map[string]string    // by role of MySQL: the option file that gets its settings
	lacks map[string]bool      // what isukit is to make there, and that is not installed
	free  int64                // bytes on the disk of databases
}

type unit struct {
	there   bool
	active  bool
	enabled string
}

// boots tells whether a boot starts the unit, or that it cannot be said.
func (u unit) boots() bool { return u.enabled == "enabled" || u.enabled == "enabled-runtime" }

// fixed tells that systemctl enable would do nothing.
func (u unit) fixed() bool {
	return !slices.Contains([]string{"enabled", "enabled-runtime", "disabled", "masked"}, u.enabled)
}

type database struct {
	client  []string // the command that root takes SQL with
	product engine.Product
	bind    string
	users   map[string]bool // hosts of the role's user, and whether it may use the schema
	schema  bool            // it is there
	tables  int
	bytes   int64
	// All accounts, and those that the schema's views, routines, triggers and events run as, as USER@HOST.
	accounts, definers []string
}

// unitDirs are where a unit's file is looked for.
var unitDirs = []string{"/etc/systemd/system/", "/usr/local/lib/systemd/system/", "/usr/lib/systemd/system/", "/lib/systemd/system/"}

func dropIn(unit string) string { return unitDirs[0] + unit + ".d/zz-isukit-site.conf" }

// look sees everything that a plan needs, on all hosts. The error is of hosts that cannot be used.
func (s *Site) look(ctx context.Context) ([]*node, error) {
	nodes, errs := make([]*node, len(s.Project.Hosts)), make([]error, len(s.Project.Hosts))
	var g errgroup.Group
	for i, h := range s.Project.Hosts {
		g.Go(func() error {
			nodes[i], errs[i] = s.lookAt(ctx, h.Name)
			return nil
		})
	}
	_ = g.Wait()
	return nodes, errors.Join(errs...)
}

func (s *Site) lookAt(ctx context.Context, name string) (*node, error) {
	at, ok := s.Hosts[name]
	if !ok {
		return nil, fmt.Errorf("host %s is unreachable", name)
	}
	if !at.About().Root {
		return nil, &host.Fault{Host: name, Err: fmt.Errorf("%w: isukit is not root here", host.ErrSudo), Hint: "run isukit with sudo, or give the host an address in isukit.yaml: over ssh isukit uses sudo there"}
	}
	n := &node{name: name, at: at, dir: s.dir(at), files: map[string][]byte{}, units: map[string]unit{}, bases: map[string]*database{}, cnfs: map[string]string{}, lacks: map[string]bool{}}
	var files, units []string
	for _, o := range s.Project.Roles {
		if o.Make != "" {
			files = append(files, madeConf(s.Project, o))
			n.lacks[o.Make] = true // until the host says otherwise
		}
		for _, e := range slices.Concat(o.Env, o.Swap) {
			files = append(files, e.File)
		}
		for _, u := range o.Units {
			units = append(units, u)
			files = append(files, dropIn(u))
			for _, dir := range unitDirs {
				files = append(files, dir+u)
			}
		}
		if o.MySQL != nil {
			files = append(append(files, usualCnfs...), o.MySQL.File)
		}
	}
	var g errgroup.Group
	g.Go(func() error { return n.read(ctx, files, units) })
	g.Go(func() (err error) {
		n.rec, err = readRecord(ctx, at, n.dir)
		return err
	})
	cnfs, bases, refused := make([]string, len(s.Project.Roles)), make([]*database, len(s.Project.Roles)), make([]error, len(s.Project.Roles))
	for i, o := range s.Project.Roles {
		if o.MySQL == nil {
			continue
		}
		g.Go(func() (err error) {
			cnfs[i], err = cnf(ctx, at, o)
			return err
		})
		g.Go(func() error {
			bases[i], refused[i] = n.ask(ctx, o)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	seen, moreUnits := files, []string(nil) // and what is known of only now
	for i, o := range s.Project.Roles {
		if o.MySQL != nil {
			n.cnfs[o.Name] = cnfs[i]
			files = append(files, cnfs[i])
		}
	}
	if n.rec != nil {
		for _, f := range n.rec.Files {
			files = append(files, f.Path)
		}
		for _, u := range n.rec.Units {
			if !slices.Contains(units, u.Name) {
				moreUnits = append(moreUnits, u.Name)
			}
		}
	}
	more := slices.DeleteFunc(slices.Clone(files), func(name string) bool { return slices.Contains(seen, name) })
	if len(more)+len(moreUnits) > 0 {
		if err := n.read(ctx, more, moreUnits); err != nil {
			return nil, err
		}
	}
	for i, o := range s.Project.Roles {
		if u := n.units[o.Units[0]]; o.Make != "" { // its unit is there as soon as it is written
			u.there = u.there || u.active || !n.lacks[o.Make]
			u.enabled = cmp.Or(u.enabled, "disabled")
			n.units[o.Units[0]] = u
		}
		if o.MySQL == nil || !n.units[o.Units[0]].active {
			continue
		}
		if n.bases[o.Name] = bases[i]; refused[i] != nil {
			return nil, refused[i]
		}
	}
	return n, nil
}

// seeScript prints units and files of a host: its arguments are units, "--", and files.
const seeScript = `PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin
command -v systemctl >/dev/null || { echo "systemctl not found" >&2; exit 1; }
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	echo "@unit $1"
	systemctl show -p LoadState,ActiveState,UnitFileState -- "$1"
	shift
done
shift
for name in nginx envoy mariadbd; do
	! command -v "$name" >/dev/null || echo "@has ${name%d}"
done
! mysqld --version 2>/dev/null | grep -qv MariaDB || echo "@has mysql"
df -B1 --output=avail /var/lib | sed -n 's/^ *\([0-9][0-9]*\)$/@free \1/p'
for f; do
	[ -f "$f" ] || continue
	[ "$(wc -c <"$f")" -le 4000000 ] || { echo "$f is larger than 4 MB" >&2; exit 1; }
	echo "@file $f"
	base64 -w 0 <"$f" && echo
done`

func (n *node) read(ctx context.Context, files, units []string) error {
	files = slices.Sorted(slices.Values(files))
	argv := append([]string{"sh", "-c", seeScript, "sh"}, units...)
	out, err := n.run(ctx, nil, append(append(argv, "--"), slices.Compact(files)...)...)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", n.name, err)
	}
	for _, section := range strings.Split("\n"+out, "\n@")[1:] {
		head, body, _ := strings.Cut(section, "\n")
		kind, name, _ := strings.Cut(head, " ")
		switch kind {
		case "file":
			text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(body))
			if err != nil {
				return fmt.Errorf("inspect %s: %s: %w", n.name, name, err)
			}
			n.files[name] = append([]byte{}, text...)
		case "has":
			delete(n.lacks, name)
		case "free":
			n.free, _ = strconv.ParseInt(name, 10, 64)
		case "unit":
			u := unit{there: strings.Contains(body, "LoadState=loaded") || strings.Contains(body, "LoadState=masked"), active: strings.Contains(body, "ActiveState=active") || strings.Contains(body, "ActiveState=activating")}
			_, u.enabled, _ = strings.Cut(body, "UnitFileState=")
			u.enabled, _, _ = strings.Cut(u.enabled, "\n")
			n.units[name] = u
		}
	}
	return nil
}

// run runs a command that must succeed, with input that does not belong into its arguments.
func (n *node) run(ctx context.Context, stdin []byte, argv ...string) (string, error) {
	return host.Must(ctx, n.at, host.Command{Argv: argv, Stdin: stdin, Dir: "/"})
}

// usualCnfs are where cnf mostly is.
var usualCnfs = []string{"/etc/mysql/conf.d/zz-isukit-site.cnf", "/etc/mysql/mysql.conf.d/zz-isukit-site.cnf", "/etc/mysql/mariadb.conf.d/zz-isukit-site.cnf", "/etc/my.cnf.d/zz-isukit-site.cnf"}

// cnf is the option file for a role of MySQL: isukit's own next to that of tunings, if the server reads the whole directory.
func cnf(ctx context.Context, at host.Host, o project.Role) (string, error) {
	file := o.MySQL.Cnf
	if file == "" {
		var err error
		if file, err = mysql.OptionFileFor(ctx, at, nil); err != nil {
			return "", err
		}
	}
	if strings.HasSuffix(path.Dir(file), ".d") {
		file = path.Join(path.Dir(file), "zz-isukit-site.cnf")
	}
	return file, nil
}

// clients are the commands by which root is usually let in.
var clients = []string{"mysql", "mariadb", "mysql -uroot", "mysql --defaults-file=/etc/mysql/debian.cnf"}

// clientScript prints the first of the commands that takes statements, and what it prints.
const clientScript = `statements=$(cat)
for client; do
	if out=$(printf '%s\n' "$statements" | $client --batch --skip-column-names 2>&1); then
		printf '%s\n%s\n' "$client" "$out"
		exit 0
	fi
	echo "$client: $out" >&2
done
exit 1`

// askStatements read the state of a database, for a SCHEMA and a USER.
const askStatements = `SELECT VERSION(); SELECT @@bind_address;
SELECT COALESCE(SUM(data_length+index_length),0) FROM information_schema.tables WHERE table_schema=SCHEMA;
SELECT COUNT(*) FROM information_schema.tables WHERE table_type='BASE TABLE' AND table_schema=SCHEMA;
SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name=SCHEMA;
SELECT Host, (SELECT COUNT(*) FROM mysql.db d WHERE d.User=u.User AND d.Host=u.Host AND REPLACE(d.Db,'\\','')=SCHEMA)+(Select_priv='Y') FROM mysql.user u WHERE User=USER;
SELECT CONCAT('account ', User, '@', Host) FROM mysql.user;
SELECT CONCAT('definer ', definer) FROM information_schema.views WHERE table_schema=SCHEMA;
SELECT CONCAT('definer ', definer) FROM information_schema.routines WHERE routine_schema=SCHEMA;
SELECT CONCAT('definer ', definer) FROM information_schema.triggers WHERE trigger_schema=SCHEMA;
SELECT CONCAT('definer ', definer) FROM information_schema.events WHERE event_schema=SCHEMA`

// ask reads the state of a database; nil if it does not answer root.
func (n *node) ask(ctx context.Context, o project.Role) (*database, error) {
	tries := clients
	if o.MySQL.Client != "" {
		tries = []string{strings.TrimPrefix(o.MySQL.Client, "sudo ")}
	}
	statements := strings.NewReplacer("SCHEMA", mysql.Quote(o.MySQL.Schema), "USER", mysql.Quote(o.MySQL.User)).Replace(askStatements)
	out, err := n.run(ctx, []byte(statements), append([]string{"sh", "-c", clientScript, "sh"}, tries...)...)
	if err != nil {
		return nil, &host.Fault{Host: n.name, Err: fmt.Errorf("the database of role %s does not let root in: %w", o.Name, err), Hint: "name a command that takes SQL as root under mysql of the role, such as client: mysql --defaults-file=/root/.my.cnf"}
	}
	rows := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	d := &database{client: strings.Fields(rows[0])}
	rows = rows[1:]
	if len(rows) < 5 {
		return nil, fmt.Errorf("the database of %s answers %q", n.name, rows)
	}
	d.product.Name = "mysql"
	if strings.Contains(rows[0], "MariaDB") {
		d.product.Name = "mariadb"
	}
	if d.product.Version, err = engine.ParseVersion(rows[0]); err != nil {
		return nil, err
	}
	d.bind = rows[1]
	d.bytes, _ = strconv.ParseInt(rows[2], 10, 64)
	d.tables, _ = strconv.Atoi(rows[3])
	d.schema, d.users = rows[4] == "1", map[string]bool{}
	for _, row := range rows[5:] {
		if name, ok := strings.CutPrefix(row, "account "); ok {
			d.accounts = append(d.accounts, name)
		} else if name, ok := strings.CutPrefix(row, "definer "); ok {
			d.definers = append(d.definers, name)
		} else {
			from, granted, _ := strings.Cut(row, "\t")
			d.users[from] = granted != "0"
		}
	}
	return d, nil
}

// sql runs statements, and returns the lines that were printed. They are the client's input, so that no secret is among its arguments.
func (n *node) sql(ctx context.Context, d *database, statements string) ([]string, error) {
	out, err := n.run(ctx, []byte(statements+"\n"), append(slices.Clone(d.client), "--batch", "--skip-column-names")...)
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n"), nil
}
