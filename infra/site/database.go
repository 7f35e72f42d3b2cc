package site

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"isukit/infra/engine"
	"isukit/infra/engine/mysql"
	"isukit/infra/host"
	"isukit/infra/project"
)

// databases starts databases where they should run, or must return accounts or data, and moves accounts and data.
func (s *Site) databases(ctx context.Context, p *Plan) error {
	if err := each(p, func(h *hostPlan) error {
		for _, v := range h.units {
			if v.role.MySQL == nil {
				continue
			}
			needed := slices.ContainsFunc(h.drop, func(u userWas) bool { return u.Role == v.role.Name }) ||
				slices.ContainsFunc(h.back, func(d dataWas) bool { return d.Role == v.role.Name }) ||
				slices.ContainsFunc(p.hosts, func(o *hostPlan) bool {
					return slices.ContainsFunc(o.moves, func(m move) bool { return m.from == h.node && m.role.Name == v.role.Name })
				})
			if !v.up && needed && !h.node.units[v.name].active {
				if _, err := h.run(ctx, nil, "systemctl", "start", v.name); err != nil {
					return fmt.Errorf("start %s: %w", v.name, err)
				}
			}
			if v.up {
				if did, err := h.start(ctx, v); err != nil {
					return err
				} else if did {
					s.say("%s runs on %s", v.name, h.node.name)
				}
			}
			if v.up || needed {
				if err := s.answers(ctx, h, v.role); err != nil {
					return err
				}
			}
		}
		return s.accounts(ctx, h, nodesOf(p))
	}); err != nil {
		return err
	}
	if err := each(p, func(h *hostPlan) error {
		for _, m := range h.moves {
			if err := s.fill(ctx, h, m); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if p.to == nil && slices.ContainsFunc(p.hosts, func(h *hostPlan) bool { return len(h.back)+len(h.moves) > 0 }) {
		// From here on the data is where it was: who is killed now must not copy it home from where it is about to go.
		if err := each(p, func(h *hostPlan) error {
			if h.rec == nil {
				return nil
			}
			h.rec.Complete, h.rec.Before = false, ""
			return h.save(ctx)
		}); err != nil {
			return err
		}
	}
	return each(p, func(h *hostPlan) error {
		for _, d := range h.back {
			if err := s.giveBack(ctx, p, h, d); err != nil {
				return err
			}
		}
		return nil
	})
}

// answers waits until a database lets root in, and looks at it.
func (s *Site) answers(ctx context.Context, h *hostPlan, o project.Role) error {
	return host.Until(ctx, cmp.Or(s.Limit, time.Minute), 100*time.Millisecond, func(ctx context.Context) error {
		d, err := h.ask(ctx, o)
		if err == nil {
			h.bases[o.Name] = d
		}
		return err
	})
}

// accounts makes those that clients need, all on record before, and drops those that isukit made and nobody needs.
func (s *Site) accounts(ctx context.Context, h *hostPlan, nodes []*node) error {
	statements := map[string]string{}
	for _, u := range h.users {
		o, _ := s.Project.Role(u.Role)
		d := h.bases[u.Role]
		granted, there := d.has(u.Host)
		if granted || d.users["%"] {
			continue
		}
		password, err := s.password(o, nodes)
		if err != nil {
			return err
		}
		u.Existed = there
		h.rec.Users = append(h.rec.Users, u)
		statements[u.Role] += letIn(d.product, *o.MySQL, u, password)
	}
	if len(statements) > 0 {
		if err := h.save(ctx); err != nil {
			return err
		}
	}
	for role, text := range statements {
		if _, err := h.sql(ctx, h.bases[role], text); err != nil {
			return fmt.Errorf("accounts of role %s: %w", role, err)
		}
	}
	for _, u := range h.drop {
		o, known := s.Project.Role(u.Role)
		d := h.bases[u.Role]
		if !known || d == nil {
			return fmt.Errorf("account %s@%s cannot be dropped: no database of role %s answers", u.User, u.Host, u.Role)
		}
		name := mysql.Quote(u.User) + "@" + mysql.Quote(u.Host)
		statement := "DROP USER IF EXISTS " + name
		if u.Existed {
			statement = "REVOKE ALL PRIVILEGES ON `" + strings.ReplaceAll(o.MySQL.Schema, "_", `\_`) + "`.* FROM " + name
		}
		if granted, there := d.has(u.Host); there && (granted || !u.Existed) {
			if _, err := h.sql(ctx, d, statement); err != nil {
				return fmt.Errorf("account %s@%s: %w", u.User, u.Host, err)
			}
		}
		h.rec.Users = slices.DeleteFunc(h.rec.Users, func(w userWas) bool { return w == u })
		if err := h.save(ctx); err != nil {
			return err
		}
	}
	return nil
}

// letIn are the statements that give an account all rights on a schema; MySQL 5.7 to 9 and MariaDB take them.
func letIn(product engine.Product, m project.MySQL, u userWas, password string) string {
	name := mysql.Quote(u.User) + "@" + mysql.Quote(u.Host)
	identified := "IDENTIFIED BY " + mysql.Quote(password)
	switch {
	case m.Plugin == "":
	case product.Name == "mariadb":
		identified = "IDENTIFIED VIA " + m.Plugin + " USING PASSWORD(" + mysql.Quote(password) + ")"
	default:
		identified = "IDENTIFIED WITH " + m.Plugin + " BY " + mysql.Quote(password)
	}
	statement := "GRANT ALL PRIVILEGES ON `" + strings.ReplaceAll(m.Schema, "_", `\_`) + "`.* TO " + name + ";\n"
	if !u.Existed {
		statement = "CREATE USER IF NOT EXISTS " + name + " " + identified + ";\n" + statement
	}
	return statement
}

// fill copies a schema's data to a database, whose own data is saved before, once.
func (s *Site) fill(ctx context.Context, h *hostPlan, m move) error {
	o, d := m.role, h.bases[m.role.Name]
	schema := "`" + o.MySQL.Schema + "`"
	if m.from != nil {
		if err := loads(m.from.bases[o.Name].product, d.product); err != nil {
			return err
		}
		if d.schema {
			if other, err := s.differ(ctx, m.from, h.node, o); err != nil || len(other) == 0 {
				return err
			}
		}
	}
	if was := h.rec.data(o.Name); slices.Contains(h.rec.Homes, o.Name) {
		// what it had goes on as what comes home
	} else if was == nil {
		saved := dataWas{Role: o.Name, Schema: o.MySQL.Schema, Existed: d.schema}
		if d.schema && m.from != nil {
			saved.Saved = path.Join(h.dir, o.MySQL.Schema+".sql")
			s.say("save %s of %s", o.MySQL.Schema, h.node.name)
			if err := h.dumpTo(ctx, d, o, saved.Saved); err != nil {
				return err
			}
		}
		if !d.schema || m.from != nil {
			h.rec.Data = append(h.rec.Data, saved)
		}
	} else {
		was.Filled = false
	}
	if err := h.save(ctx); err != nil {
		return err
	}
	if !d.schema {
		if _, err := h.sql(ctx, d, "CREATE DATABASE IF NOT EXISTS "+schema); err != nil {
			return err
		}
	}
	switch {
	case m.from != nil:
		s.say("copy %s from %s to %s", o.MySQL.Schema, m.from.name, h.node.name)
		dump, load := host.Command{Argv: m.from.bases[o.Name].dump(o), Dir: "/"}, host.Command{Argv: d.load(), Dir: "/"}
		if err := host.Carry(ctx, m.from.at, dump, h.at, load); err != nil {
			return fmt.Errorf("copy %s: %w", o.MySQL.Schema, err)
		}
		other, err := s.differ(ctx, m.from, h.node, o)
		if m.from.bases[o.Name].product != d.product {
			other = slices.DeleteFunc(other, func(name string) bool { return name == "definitions" })
		}
		if err == nil && len(other) > 0 {
			err = fmt.Errorf("the copy of %s on %s is not what %s has: %s differ; a dump rounds values of type FLOAT to six digits: make them DOUBLE, or let the app or a file fill %[1]s",
				o.MySQL.Schema, h.node.name, m.from.name, strings.Join(other, ", "))
		}
		if err != nil {
			return err
		}
	case o.MySQL.Move == project.MoveSchema && d.tables == 0:
		if _, err := h.run(ctx, nil, append([]string{"sh", "-c", `in=$1; shift; exec "$@" <"$in"`, "sh", o.MySQL.File}, append(slices.Clone(d.client), o.MySQL.Schema)...)...); err != nil {
			return fmt.Errorf("load %s: %w", o.MySQL.File, err)
		}
	}
	if was := h.rec.data(o.Name); was != nil {
		was.Filled = true
		return h.save(ctx)
	}
	return nil
}

// dumpTo writes a schema to a file of its host, whole or not at all.
func (n *node) dumpTo(ctx context.Context, d *database, o project.Role, file string) error {
	const script = `umask 077; out=$1; shift; mkdir -p -- "$(dirname -- "$out")" && "$@" >"$out.new" && sync "$out.new" && mv "$out.new" "$out"`
	if _, err := n.run(ctx, nil, append([]string{"sh", "-c", script, "sh", file}, d.dump(o)...)...); err != nil {
		return fmt.Errorf("dump %s to %s: %w", o.MySQL.Schema, file, err)
	}
	return nil
}

// keptDir is where dumps are that down leaves on a host.
func (s *Site) keptDir(at host.Host) string {
	if at.About().Here {
		return path.Join(s.StateDir, "kept", s.Project.Name)
	}
	return path.Join(keptDir, s.Project.Name)
}

// keep leaves a dump of a schema that is about to go, where it has rows that no host has to which the data belongs.
func (s *Site) keep(ctx context.Context, p *Plan, h *hostPlan, o project.Role) error {
	d := h.bases[o.Name]
	if !slices.Contains(h.homes, o.Name) || d.tables == 0 {
		return nil
	}
	for _, to := range p.hosts {
		if to != h && to.rec != nil && slices.Contains(to.rec.Homes, o.Name) && to.bases[o.Name] != nil && to.bases[o.Name].schema {
			if other, err := s.differ(ctx, h.node, to.node, o); err != nil || len(other) == 0 {
				return err
			}
		}
	}
	file := path.Join(s.keptDir(h.at), o.MySQL.Schema+time.Now().UTC().Format("-20060102T150405Z")+".sql")
	s.say("%s of %s is kept in %s", o.MySQL.Schema, h.node.name, file)
	return h.dumpTo(ctx, d, o, file)
}

// giveBack makes a schema what it was before isukit came.
func (s *Site) giveBack(ctx context.Context, p *Plan, h *hostPlan, was dataWas) error {
	d := h.bases[was.Role]
	if d == nil {
		return fmt.Errorf("%s cannot be given back: no database of role %s answers", was.Schema, was.Role)
	}
	if o, ok := s.Project.Role(was.Role); ok {
		if err := s.keep(ctx, p, h, o); err != nil {
			return err
		}
	}
	if was.Existed {
		s.say("give %s of %s back", was.Schema, h.node.name)
		_, err := h.run(ctx, nil, append([]string{"sh", "-c", `in=$1; shift; exec "$@" <"$in"`, "sh", was.Saved}, d.load()...)...)
		return err
	}
	_, err := h.sql(ctx, d, "DROP DATABASE IF EXISTS `"+was.Schema+"`")
	return err
}

// packets are what a client takes in one piece: a row is one.
const packets = "--max-allowed-packet=1G"

// load is the command that takes a dump.
func (d *database) load() []string { return append(slices.Clone(d.client), packets) }

// dump is the command that prints a schema, with what drops and makes it.
func (d *database) dump(o project.Role) []string {
	argv := slices.Clone(d.client)
	i := slices.IndexFunc(argv, func(w string) bool { return path.Base(w) == "mysql" || path.Base(w) == "mariadb" })
	if i >= 0 {
		argv[i] = path.Join(path.Dir(argv[i]), map[string]string{"mysql": "mysqldump", "mariadb": "mariadb-dump"}[path.Base(argv[i])])
	}
	argv = append(argv, "--single-transaction", "--quick", "--routines", "--triggers", "--events", "--hex-blob", "--default-character-set=utf8mb4", packets, "--add-drop-database", "--databases", o.MySQL.Schema)
	if d.product.Name == "mysql" {
		argv = append(argv, "--set-gtid-purged=OFF", "--no-tablespaces")
	}
	return argv
}

// checksums print the one of each table of a schema, and its name.
const checksums = "SET SESSION group_concat_max_len = 1 << 30; SELECT COALESCE(CONCAT('CHECKSUM TABLE ', GROUP_CONCAT('`', REPLACE(table_schema, '`', '``'), '`.`', REPLACE(table_name, '`', '``'), '`' ORDER BY table_name)), 'DO 0') INTO @checksums " +
	"FROM information_schema.tables WHERE table_type NOT LIKE '%VIEW' AND table_schema="

// differ are the tables of a schema whose rows differ on two hosts; and "definitions", if those of anything that it has do. Definitions are
// compared by what is dumped of them, which servers of two versions print in two ways: they always differ.
func (s *Site) differ(ctx context.Context, a, b *node, o project.Role) ([]string, error) {
	var g errgroup.Group
	var seen [2][]string
	for i, n := range []*node{a, b} {
		g.Go(func() error {
			d := n.bases[o.Name]
			lines, err := n.sql(ctx, d, checksums+mysql.Quote(o.MySQL.Schema)+"; PREPARE checksums FROM @checksums; EXECUTE checksums")
			if err != nil {
				return fmt.Errorf("checksums of %s: %w", o.MySQL.Schema, err)
			}
			const script = `all=$("$@" --no-data --skip-comments --skip-dump-date) && printf %s "$all" | sha256sum`
			sum, err := n.run(ctx, nil, append([]string{"sh", "-c", script, "sh"}, d.dump(o)...)...)
			if err != nil {
				return fmt.Errorf("definitions of %s: %w", o.MySQL.Schema, err)
			}
			seen[i] = append(lines, "definitions\t"+d.product.String()+sum)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var list []string
	for i, lines := range seen {
		for _, line := range lines {
			if name, _, _ := strings.Cut(line, "\t"); !slices.Contains(seen[1-i], line) && !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	return list, nil
}
