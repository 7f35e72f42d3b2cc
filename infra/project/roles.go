package project

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	inyaml "isukit/input/yaml"
)

// Role is a kind of service: units of systemd on hosts, and edits for them if the role, or one that it uses, runs elsewhere.
type Role struct {
	Name string
	// Make is a server that isukit makes on the role's hosts: one of Makes; "" where the team has installed its units. A made role has one
	// unit, which isukit writes, and its files are in MadeDir of the project and the role.
	Make string
	// Pass is the role that a made nginx or Envoy sends every request to.
	Pass  string
	Units []string
	// Port is where its first unit listens; 0 is not known.
	Port int
	// Health is how it shows that it serves: "tcp", or a request such as "GET /"; "" is tcp where there is a port, else that its units run.
	Health string
	// Env are assignments in files: Key gets Value, in which {ROLE} is that role's address as seen from the host.
	Env []Edit
	// Swap are addresses in files: the text Key becomes the address of the role Value.
	Swap []Edit
	// Requires are units (Key) that its units require, and the role (Value) that they belong to.
	Requires []Edit
	// Files is how many files its units may have open; 0 is what they have.
	Files int
	// Build makes its program before a round, in Dir on each of its hosts, as the owner of Dir; its units are restarted after that.
	Dir, Build string
	// Tune names tunings, and files of them in the project's directory, that are applied to its services wherever they run.
	Tune []string
	// With is the role whose hosts it shares; "" where topologies place it.
	With  string
	MySQL *MySQL
}

// Edit is one thing that is written into a file.
type Edit struct{ File, Key, Value string }

// MySQL is what a role of MySQL or MariaDB needs besides.
type MySQL struct {
	Cnf, Schema, User string
	// Client is a command that root takes SQL with; "" tries the usual ones.
	Client string
	// PasswordEnv is the variable with the user's password: of isukit's environment, or in an env file of a client's role.
	PasswordEnv, Plugin string
	// Clients are the roles that log in.
	Clients []string
	// Move is how the data gets to another host: MoveInitialize, MoveSchema (which loads File) or MoveDump.
	Move, File string
}

// How data gets to another host.
const (
	MoveInitialize = "initialize" // the app fills it
	MoveSchema     = "schema"     // a file is loaded
	MoveDump       = "dump"       // all rows are copied
)

// Placement is a topology of the project: the hosts of each role, in the order of Roles.
type Placement struct {
	Name  string
	Hosts map[string][]string // by role; a role that is not there runs nowhere
}

// Roles and Placements are read by ParseWith, which knows where their faults are.
type (
	Roles      []Role
	Placements []Placement
)

// UnmarshalYAML leaves that to ParseWith.
func (*Roles) UnmarshalYAML(ast.Node) error { return nil }

// UnmarshalYAML leaves that to ParseWith.
func (*Placements) UnmarshalYAML(ast.Node) error { return nil }

// Role finds a role by its name.
func (p *Project) Role(name string) (Role, bool) {
	n := slices.IndexFunc(p.Roles, func(r Role) bool { return r.Name == name })
	if n < 0 {
		return Role{}, false
	}
	return p.Roles[n], true
}

// Placement finds a topology by its name.
func (p *Project) Placement(name string) (Placement, bool) {
	n := slices.IndexFunc(p.Topologies, func(t Placement) bool { return t.Name == name })
	if n < 0 {
		return Placement{}, false
	}
	return p.Topologies[n], true
}

// Replicates: a project may have databases with the same tables: it names some, or places a role of MySQL on several hosts.
func (p *Project) Replicates() bool {
	return len(p.Replicas.Databases) > 0 || slices.ContainsFunc(p.Topologies, func(t Placement) bool { return p.Replicated(t) != nil })
}

// Replicated is the role of MySQL that a topology has on several hosts; nil for none.
func (p *Project) Replicated(t Placement) *Role {
	n := slices.IndexFunc(p.Roles, func(role Role) bool { return role.MySQL != nil && len(t.Hosts[role.Name]) > 1 })
	if n < 0 {
		return nil
	}
	return &p.Roles[n]
}

// Placed is the project with a topology's services and databases added; a host has its roles' names, and "app" for database clients.
func (p *Project) Placed(t Placement) *Project {
	c := *p
	c.Hosts, c.Services, c.Databases = slices.Clone(p.Hosts), slices.Clone(p.Services), slices.Clone(p.Databases)
	c.Build, c.Restart = slices.Clone(p.Build), slices.Clone(p.Restart)
	for _, o := range p.Roles {
		if hosts := t.Hosts[o.Name]; o.Build != "" && len(hosts) > 0 {
			quote := func(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
			c.Build = append(c.Build, Step{Hosts: hosts, Run: "exec su -s /bin/sh -c " + quote("cd "+quote(o.Dir)+" && "+o.Build) + ` "$(stat -c %U ` + quote(o.Dir) + `)"`})
			c.Restart = append(c.Restart, Step{Hosts: hosts, Run: "systemctl restart " + strings.Join(o.Units, " ")})
		}
		for _, name := range t.Hosts[o.Name] {
			c.Final.Services = append(slices.Clone(c.Final.Services), ServicesOn{Host: name, Units: o.Units})
			h := &c.Hosts[slices.IndexFunc(c.Hosts, func(h Host) bool { return h.Name == name })]
			h.Roles = append(slices.Clone(h.Roles), o.Name)
			if slices.ContainsFunc(p.Roles, func(db Role) bool { return db.MySQL != nil && slices.Contains(db.MySQL.Clients, o.Name) }) {
				h.Roles = append(h.Roles, "app")
			}
			switch {
			case o.MySQL == nil:
				c.Services = append(c.Services, ServicesOn{Host: name, Units: o.Units})
			case !slices.ContainsFunc(p.Databases, func(d Database) bool { return d.Host == name }):
				c.Databases = append(c.Databases, Database{
					Host: name, Client: cmp.Or(o.MySQL.Client, "$(command -v mysql || command -v mariadb)"), Schema: o.MySQL.Schema, Cnf: o.MySQL.Cnf, Unit: o.Units[0],
				})
			}
			h.Roles = slices.Compact(h.Roles)
		}
	}
	return &c
}

// Ref is a part of a value that is replaced: {ROLE}, {ROLE:2} or {addr:ROLE}.
type Ref struct {
	Text, Role string
	Number     int  // from 1; 0 is the one that there is
	Public     bool // the host's address, where the role is on this host, too
}

var refExpr = regexp.MustCompile(`\{(addr:)?([^{}:]*)(?::(\d+))?\}`)

// Refs are the parts of a value that are replaced.
func Refs(value string) (list []Ref) {
	for _, m := range refExpr.FindAllStringSubmatch(value, -1) {
		n, _ := strconv.Atoi(m[3])
		list = append(list, Ref{Text: m[0], Role: m[2], Number: n, Public: m[1] != ""})
	}
	return list
}

type roleReader struct {
	*inyaml.Reader
	project *Project
	later   []func() // checks that need all roles
}

func (p *Project) readRoles(text []byte) error {
	file, err := inyaml.Parse(text)
	if err != nil || len(file.Docs) == 0 {
		return err
	}
	r := &roleReader{Reader: inyaml.NewReader(FileName, string(text)), project: p}
	top, ok := file.Docs[0].Body.(*ast.MappingNode)
	if !ok {
		return nil
	}
	if portal, err := p.readPortal(text); portal {
		p.Hosts = []Host{{Name: Local}} // what runs on the others is isukit's
		return err
	}
	var topologies ast.Node
	for _, h := range p.Hosts {
		if h.CPUs != nil || h.Memory != nil || h.Link != nil {
			r.FaultAt(0, 0, "host %s: only the hosts of the portal have cpus, memory or link; isukit asks others what they have", h.Name)
		}
	}
	for _, kv := range top.Values {
		switch kv.Key.String() {
		case "roles":
			r.roles(kv.Value)
		case "topologies":
			topologies = kv.Value
		}
	}
	for _, check := range r.later {
		check()
	}
	if topologies != nil && r.Err() == nil {
		r.topologies(topologies)
	}
	return r.Err()
}

// each calls fn with every key of a mapping, each of which it knows once.
func (r *roleReader) each(n ast.Node, what string, fn func(name string, key, value ast.Node)) {
	pairs, _ := r.Pairs(n, what)
	var seen []string
	for _, kv := range pairs {
		name := r.Text(kv.Key, "a key of "+what)
		if slices.Contains(seen, name) {
			r.Fault(kv.Key, "key %q is in %s twice", name, what)
		}
		seen = append(seen, name)
		fn(name, kv.Key, kv.Value)
	}
}

func (r *roleReader) roles(n ast.Node) {
	owners := map[string]string{}
	r.each(n, "roles", func(name string, key, value ast.Node) {
		if !nameExpr.MatchString(name) || name == "addr" {
			r.Fault(key, "role %q: want letters, digits, '-' and '_', at most 64", name)
		}
		r.project.Roles = append(r.project.Roles, r.role(name, value, owners))
	})
}

func (r *roleReader) role(name string, n ast.Node, owners map[string]string) Role {
	o := Role{Name: name}
	what := "role " + name
	text := func(to *string) func(ast.Node) { return func(n ast.Node) { *to = r.Text(n, "it") } }
	r.Mapping(n, what, nil, []string{"units", "make", "pass", "port", "health", "env", "swap", "requires", "files", "dir", "build", "with", "tune", "mysql"}, map[string]func(ast.Node){
		"units": func(n ast.Node) {
			for _, item := range r.Sequence(n, "units") {
				unit := r.Text(item, "a unit")
				if !unitExpr.MatchString(unit) {
					r.Fault(item, "%q is not the name of a unit", unit)
				}
				if !strings.Contains(path.Ext(unit), ".service") && !strings.HasSuffix(unit, ".socket") && !strings.HasSuffix(unit, ".timer") {
					unit += ".service"
				}
				if other := owners[unit]; other != "" {
					r.Fault(item, "unit %s is of role %s, too", unit, other)
				}
				owners[unit] = name
				o.Units = append(o.Units, unit)
			}
		},
		"make": func(n ast.Node) {
			if o.Make = r.Text(n, "make"); !slices.Contains(Makes, o.Make) {
				r.Fault(n, "make %q: want one of %s", o.Make, strings.Join(Makes, ", "))
			}
		},
		"pass": func(n ast.Node) {
			o.Pass = r.Text(n, "pass")
			r.later = append(r.later, func() {
				if to, ok := r.want(n, o.Pass); ok && to.Port == 0 {
					r.Fault(n, "role %s has no port", o.Pass)
				}
			})
		},
		"dir": text(&o.Dir), "build": text(&o.Build),
		"tune": func(n ast.Node) {
			for _, item := range r.Sequence(n, "tune") {
				o.Tune = append(o.Tune, r.Text(item, "a tuning"))
			}
		},
		"port":   func(n ast.Node) { o.Port = r.number(n, "port", 65535) },
		"files":  func(n ast.Node) { o.Files = r.number(n, "files", 1<<20) },
		"health": func(n ast.Node) { o.Health = r.Text(n, "health"); r.health(n, o.Health) },
		"env": func(n ast.Node) {
			o.Env = r.edits(n, "env", func(at ast.Node, e Edit) {
				if strings.ContainsAny(e.Value, "\"'`$\\\n\r") || !envKeyExpr.MatchString(e.Key) {
					r.Fault(at, "%s: %q needs a plain name and a value without quotes, $, \\ and line breaks", e.Key, e.Value)
				}
				for _, ref := range Refs(e.Value) {
					r.want(at, ref.Role)
				}
			})
		},
		"swap": func(n ast.Node) {
			o.Swap = r.edits(n, "swap", func(at ast.Node, e Edit) {
				if to, ok := r.want(at, e.Value); ok && to.Port == 0 && !strings.Contains(e.Key, ":") {
					r.Fault(at, "role %s has no port, and %q has none either", e.Value, e.Key)
				}
			})
		},
		"requires": func(n ast.Node) {
			r.each(n, "requires", func(unit string, key, value ast.Node) {
				e := Edit{Key: unit, Value: r.Text(value, "a role")}
				o.Requires = append(o.Requires, e)
				r.later = append(r.later, func() { r.want(value, e.Value) })
			})
		},
		"with": func(n ast.Node) {
			o.With = r.Text(n, "with")
			r.later = append(r.later, func() {
				if to, ok := r.want(n, o.With); ok && to.With != "" {
					r.Fault(n, "role %s is itself placed with %s; name that one", o.With, to.With)
				}
			})
		},
		"mysql": func(n ast.Node) {
			m := &MySQL{Move: MoveInitialize}
			o.MySQL = m
			r.Mapping(n, "mysql", []string{"schema", "user"}, []string{"cnf", "client", "password_env", "plugin", "clients", "move", "file"}, map[string]func(ast.Node){
				"cnf": text(&m.Cnf), "client": text(&m.Client), "password_env": text(&m.PasswordEnv), "file": text(&m.File),
				"schema": func(n ast.Node) { m.Schema = r.word(n, "schema") },
				"user":   func(n ast.Node) { m.User = r.word(n, "user") },
				"plugin": func(n ast.Node) { m.Plugin = r.word(n, "plugin") },
				"clients": func(n ast.Node) {
					for _, item := range r.Sequence(n, "clients") {
						role := r.Text(item, "a client")
						m.Clients = append(m.Clients, role)
						r.later = append(r.later, func() { r.want(item, role) })
					}
				},
				"move": func(n ast.Node) {
					if m.Move = r.Text(n, "move"); !slices.Contains([]string{MoveInitialize, MoveSchema, MoveDump}, m.Move) {
						r.Fault(n, "move %q: want initialize (the app fills its tables), schema (a file is loaded) or dump (everything is copied, row by row; isukit copies no data directories)", m.Move)
					}
				},
			})
			if (m.Move == MoveSchema) != (m.File != "") || m.File != "" && !path.IsAbs(m.File) {
				r.Fault(n, "move: schema and file, an absolute path, belong together")
			}
			if m.Cnf != "" && !path.IsAbs(m.Cnf) {
				r.Fault(n, "cnf must be an absolute path, not %q", m.Cnf)
			}
			if len(m.Clients) > 0 && m.PasswordEnv == "" {
				r.Fault(n, "clients log in with a password: password_env names the variable that has it")
			}
		},
	})
	if (o.Dir == "") != (o.Build == "") || o.Dir != "" && !path.IsAbs(o.Dir) {
		r.Fault(n, "%s: build and dir, an absolute path, belong together", what)
	}
	if o.Health != "" && o.Port == 0 {
		r.Fault(n, "%s: health needs a port", what)
	}
	if (o.Make == "") == (len(o.Units) == 0) {
		r.Fault(n, "%s: want either units or make", what)
	}
	proxy := o.Make == "nginx" || o.Make == "envoy"
	switch database := o.Make != "" && !proxy; {
	case o.Make == "" && o.Pass != "" || proxy != (o.Pass != ""):
		r.Fault(n, "%s: pass belongs to make: nginx and make: envoy, and names the role that gets the requests", what)
	case database != (o.MySQL != nil) && o.Make != "":
		r.Fault(n, "%s: mysql, with schema and user, belongs to make: mariadb and make: mysql", what)
	case o.Make != "" && (o.Port == 0 || len(o.Env)+len(o.Swap)+len(o.Requires) > 0 || o.Dir != ""):
		r.Fault(n, "%s: what isukit makes needs a port, and has neither env, swap, requires nor build", what)
	case database && (o.MySQL.Cnf != "" || o.MySQL.Client != ""):
		r.Fault(n, "%s: isukit knows cnf and client of a database that it makes", what)
	case o.Make != "":
		o.made(r.project.Name)
	}
	return o
}

var (
	envKeyExpr = regexp.MustCompile(`^(-{1,2}[A-Za-z][A-Za-z0-9-]*|[A-Za-z_][A-Za-z0-9_.-]*)$`)
	wordExpr   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$`)
)

func (r *roleReader) word(n ast.Node, what string) string {
	text := r.Text(n, what)
	if !wordExpr.MatchString(text) {
		r.Fault(n, "%s %q: want letters, digits, '-' and '_'", what, text)
	}
	return text
}

func (r *roleReader) number(n ast.Node, what string, most int) int {
	v, err := strconv.Atoi(r.Text(n, what))
	if err != nil || v < 1 || v > most {
		r.Fault(n, "%s must be a number from 1 to %d", what, most)
	}
	return v
}

func (r *roleReader) health(n ast.Node, text string) {
	if text != "tcp" && !requestExpr.MatchString(text) || strings.ContainsAny(text, "'\"") {
		r.Fault(n, "health %q: want tcp, or a request such as GET /", text)
	}
}

// edits reads {FILE: {KEY: VALUE}}; check is called once all roles are known.
func (r *roleReader) edits(n ast.Node, what string, check func(ast.Node, Edit)) (list []Edit) {
	r.each(n, what, func(file string, at, inside ast.Node) {
		if !path.IsAbs(file) {
			r.Fault(at, "%s: a file must be an absolute path, not %q", what, file)
		}
		r.each(inside, file, func(key string, at, value ast.Node) {
			e := Edit{File: path.Clean(file), Key: key, Value: r.Text(value, "it")}
			list = append(list, e)
			r.later = append(r.later, func() { check(value, e) })
		})
	})
	return list
}

// want wants a role of that name.
func (r *roleReader) want(at ast.Node, name string) (Role, bool) {
	role, ok := r.project.Role(name)
	if !ok {
		var have []string
		for _, o := range r.project.Roles {
			have = append(have, o.Name)
		}
		r.Fault(at, "role %q not found (have %s)", name, strings.Join(have, ", "))
	}
	return role, ok
}

func (r *roleReader) topologies(n ast.Node) {
	r.each(n, "topologies", func(name string, key, value ast.Node) {
		if !nameExpr.MatchString(name) {
			r.Fault(key, "topology %q: want letters, digits, '-' and '_', at most 64", name)
		}
		t := Placement{Name: name, Hosts: map[string][]string{}}
		at := map[string]ast.Node{}
		r.each(value, "topology "+name, func(role string, key, hosts ast.Node) {
			o, ok := r.want(key, role)
			if ok && o.With != "" {
				r.Fault(key, "role %s is placed with %s", role, o.With)
			}
			at[role], t.Hosts[role] = hosts, r.hosts(hosts, role)
		})
		for _, o := range r.project.Roles {
			if o.With != "" && t.Hosts[o.With] != nil {
				at[o.Name], t.Hosts[o.Name] = at[o.With], t.Hosts[o.With]
			}
		}
		r.placed(t, at)
		r.project.Topologies = append(r.project.Topologies, t)
	})
}

// hosts reads a host, or a list of them.
func (r *roleReader) hosts(n ast.Node, role string) (list []string) {
	items := []ast.Node{n}
	if _, many := n.(*ast.SequenceNode); many {
		items = r.Sequence(n, "the hosts of "+role)
	}
	for _, item := range items {
		name := r.Text(item, "a host")
		if !slices.ContainsFunc(r.project.Hosts, func(h Host) bool { return h.Name == name }) {
			r.Fault(item, "host %q not found", name)
		}
		if slices.Contains(list, name) {
			r.Fault(item, "host %s is there twice", name)
		}
		list = append(list, name)
	}
	return list
}

// placed reports what cannot be so in a topology.
func (r *roleReader) placed(t Placement, at map[string]ast.Node) {
	r.project.check(t, func(role, text string) { r.Fault(at[role], "topology %s: %s", t.Name, text) })
}
