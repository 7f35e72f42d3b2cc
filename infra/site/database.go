package site

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"isukit/infra/host"
	"isukit/infra/project"
)

// databases starts databases where they are to run, and also where accounts or data of theirs have to go back, and sees to accounts
// and data.
func (s *Site) databases(ctx context.Context, p *Plan) error {
	if err := each(p, func(h *hostPlan) error {
		for _, v := range h.units {
			if v.role.MySQL == nil {
				continue
			}
			needed := slices.ContainsFunc(h.drop, func(u userWas) bool { return u.Role == v.role.Name }) ||
				slices.ContainsFunc(h.back, func(d dataWas) bool { return d.Role == v.role.Name })
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
	return each(p, func(h *hostPlan) error {
		for _, m := range h.moves {
			if err := s.fill(ctx, h, m); err != nil {
				return err
			}
		}
		for _, d := range h.back {
			if err := s.giveBack(ctx, h, d); err != nil {
				return err
			}
		}
		return nil
	})
}

// answers waits until a database lets root in, and looks at it.
func (s *Site) answers(ctx context.Context, h *hostPlan, o project.Role) error {
	return s.wait(ctx, func(ctx context.Context) error {
		d, err := h.ask(ctx, o)
		if err == nil {
			h.bases[o.Name] = d
		}
		return err
	})
}

// accounts makes those that clients need, each on record before, and drops those that isukit made and nobody needs.
func (s *Site) accounts(ctx context.Context, h *hostPlan, nodes []*node) error {
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
		if err := h.save(ctx); err != nil {
			return err
		}
		name := literal(u.User) + "@" + literal(u.Host)
		identified := "IDENTIFIED BY " + literal(password)
		switch {
		case o.MySQL.Plugin == "":
		case d.product.Name == "mariadb":
			identified = "IDENTIFIED VIA " + o.MySQL.Plugin + " USING PASSWORD(" + literal(password) + ")"
		default:
			identified = "IDENTIFIED WITH " + o.MySQL.Plugin + " BY " + literal(password)
		}
		statement := "GRANT ALL PRIVILEGES ON `" + strings.ReplaceAll(o.MySQL.Schema, "_", `\_`) + "`.* TO " + name
		if !there {
			statement = "CREATE USER IF NOT EXISTS " + name + " " + identified + "; " + statement
		}
		if _, err := h.sql(ctx, d, statement); err != nil {
			return fmt.Errorf("account %s: %w", u.User+"@"+u.Host, err)
		}
	}
	for _, u := range h.drop {
		o, known := s.Project.Role(u.Role)
		d := h.bases[u.Role]
		if !known || d == nil {
			return fmt.Errorf("account %s@%s cannot be dropped: no database of role %s answers", u.User, u.Host, u.Role)
		}
		name := literal(u.User) + "@" + literal(u.Host)
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

// fill gets a schema's data to a database; what was there is saved before, once.
func (s *Site) fill(ctx context.Context, h *hostPlan, m move) error {
	o, d := m.role, h.bases[m.role.Name]
	schema := "`" + o.MySQL.Schema + "`"
	if m.from != nil {
		if err := loads(m.from.bases[o.Name].product, d.product); err != nil {
			return err
		}
		if ok, err := s.equal(ctx, m.from, h.node, o); err != nil || ok {
			return err
		}
	}
	if was := h.rec.data(o.Name); was == nil {
		saved := dataWas{Role: o.Name, Schema: o.MySQL.Schema, Existed: d.schema}
		if d.schema && m.from != nil {
			saved.Saved = path.Join(h.dir, o.MySQL.Schema+".sql")
			s.say("save %s of %s", o.MySQL.Schema, h.node.name)
			if _, err := h.run(ctx, nil, append([]string{"sh", "-c", `umask 077; out=$1; shift; "$@" >"$out.new" && sync "$out.new" && mv "$out.new" "$out"`, "sh", saved.Saved}, d.dump(o)...)...); err != nil {
				return fmt.Errorf("save %s: %w", o.MySQL.Schema, err)
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
		if err := s.stream(ctx, m.from, h.node, o); err != nil {
			return err
		}
		ok, err := s.equal(ctx, m.from, h.node, o)
		if err == nil && !ok {
			err = fmt.Errorf("the copy of %s on %s has other rows than %s", o.MySQL.Schema, h.node.name, m.from.name)
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

// giveBack makes a schema what it was before isukit came.
func (s *Site) giveBack(ctx context.Context, h *hostPlan, was dataWas) error {
	d := h.bases[was.Role]
	if d == nil {
		return fmt.Errorf("%s cannot be given back: no database of role %s answers", was.Schema, was.Role)
	}
	if was.Existed {
		s.say("give %s of %s back", was.Schema, h.node.name)
		_, err := h.run(ctx, nil, append([]string{"sh", "-c", `in=$1; shift; exec "$@" <"$in"`, "sh", was.Saved}, d.client...)...)
		return err
	}
	_, err := h.sql(ctx, d, "DROP DATABASE IF EXISTS `"+was.Schema+"`")
	return err
}

// dump is the command that prints a schema, with what drops and makes it.
func (d *database) dump(o project.Role) []string {
	argv := slices.Clone(d.client)
	i := slices.IndexFunc(argv, func(w string) bool { return path.Base(w) == "mysql" || path.Base(w) == "mariadb" })
	if i >= 0 {
		argv[i] = path.Join(path.Dir(argv[i]), map[string]string{"mysql": "mysqldump", "mariadb": "mariadb-dump"}[path.Base(argv[i])])
	}
	argv = append(argv, "--single-transaction", "--quick", "--routines", "--triggers", "--events", "--hex-blob", "--add-drop-database", "--databases", o.MySQL.Schema)
	if d.product.Name == "mysql" {
		argv = append(argv, "--set-gtid-purged=OFF", "--no-tablespaces")
	}
	return argv
}

// stream copies a schema from one host's database to another's.
func (s *Site) stream(ctx context.Context, from, to *node, o project.Role) error {
	r, w := io.Pipe()
	read := make(chan error, 1)
	go func() {
		err := from.pipe(ctx, from.bases[o.Name].dump(o), nil, w)
		w.CloseWithError(err)
		read <- err
	}()
	err := to.pipe(ctx, to.bases[o.Name].client, r, io.Discard)
	r.CloseWithError(err)
	if readErr := <-read; readErr != nil {
		return fmt.Errorf("dump %s: %w", o.MySQL.Schema, readErr)
	}
	if err != nil {
		return fmt.Errorf("load %s: %w", o.MySQL.Schema, err)
	}
	return nil
}

func (n *node) pipe(ctx context.Context, argv []string, in io.Reader, out io.Writer) error {
	p, ok := n.at.(host.Piper)
	if !ok {
		return fmt.Errorf("host %s cannot stream data: %w", n.name, host.ErrUnsupported)
	}
	return p.Pipe(ctx, host.Command{Argv: argv, Dir: "/"}, in, out)
}

// equal tells whether two databases have the same rows in the tables of a schema.
func (s *Site) equal(ctx context.Context, a, b *node, o project.Role) (bool, error) {
	var sums [2]string
	for i, n := range []*node{a, b} {
		names, err := n.sql(ctx, n.bases[o.Name], "SELECT table_name FROM information_schema.tables WHERE table_type='BASE TABLE' AND table_schema="+literal(o.MySQL.Schema)+" ORDER BY 1")
		if err != nil {
			return false, err
		}
		var tables []string
		for _, name := range names {
			if name != "" {
				tables = append(tables, "`"+o.MySQL.Schema+"`.`"+name+"`")
			}
		}
		if len(tables) == 0 {
			sums[i] = "none " + n.name
			continue
		}
		lines, err := n.sql(ctx, n.bases[o.Name], "CHECKSUM TABLE "+strings.Join(tables, ", "))
		if err != nil {
			return false, fmt.Errorf("checksums of %s: %w", o.MySQL.Schema, err)
		}
		sums[i] = strings.Join(lines, "\n")
	}
	return sums[0] == sums[1], nil
}
