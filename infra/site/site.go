// Package site places a project's own services on its own hosts. A description of roles and a topology go in; the hosts become so: what
// names an address in their files, which units run and are enabled, who may log in to the databases, where their data is. What was there
// before is recorded on each host before the first write, and Down gives it back. Plans are pure; all effects go through infra/host.
//
// Services that isukit makes itself are placed by package infra.
package site

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"isukit/infra/host"
	"isukit/infra/plan"
	"isukit/infra/project"
)

// Site is a project with its hosts, by name.
type Site struct {
	Project *project.Project
	Hosts   map[string]host.Host
	// StateDir is where the record of this machine is kept.
	StateDir string
	// Limit is how long a service may take until it serves; 0 is a minute.
	Limit time.Duration
	// Progress is called with each step; nil: not called.
	Progress func(step string)
}

// Plan is what an apply or a down does; its Topology is "" for the state before isukit.
type Plan struct {
	plan.Plan
	// Left are changes made outside isukit that stay.
	Left []string `json:"left,omitempty"`

	hosts []*hostPlan
	to    *project.Placement
	tune  map[string][]string
}

// Tune are the tunings that each role named when the topology that is up was applied.
func (p *Plan) Tune() map[string][]string {
	for _, h := range p.hosts {
		if h.rec != nil {
			return h.rec.Tune
		}
	}
	return nil
}

// Text is the plan as people read it.
func (p *Plan) Text() string {
	text := p.Plan.Text()
	for _, left := range p.Left {
		text += "left: " + left + "\n"
	}
	return text
}

// Options of an apply or a down.
type Options struct {
	// Force takes files that were changed outside isukit as they are now.
	Force bool
	// Tune are the tunings that each role names, for the record. Nil leaves the recorded ones.
	Tune map[string][]string
	// Planned is called with the plan before anything is done; its error stops it.
	Planned func(*Plan) error
}

// Plan is what an apply of a topology would do; "" is what Down would do. The error has everything that prevents it.
func (s *Site) Plan(ctx context.Context, topology string, force bool) (*Plan, error) {
	return s.plan(ctx, topology, planner{force: force})
}

// PlanUntuned is Plan for after tunings were reverted: other text in files that isukit wrote belongs to them.
func (s *Site) PlanUntuned(ctx context.Context, topology string) (*Plan, error) {
	return s.plan(ctx, topology, planner{untuned: true})
}

func (s *Site) plan(ctx context.Context, topology string, planner planner) (*Plan, error) {
	nodes, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	planner.site, planner.nodes = s, nodes
	if topology != "" {
		t, ok := s.Project.Placement(topology)
		if !ok {
			return nil, fmt.Errorf("%s has no topology %q", project.FileName, topology)
		}
		planner.to = &t
	}
	p := &Plan{Plan: plan.Plan{Topology: topology}, to: planner.to}
	p.hosts, err = planner.plan()
	p.Left = planner.left
	for _, h := range p.hosts {
		p.Hosts = append(p.Hosts, h.Host)
	}
	return p, err
}

// Up is the deployed topology, and whether its apply finished; "" for none, with done false if the last Down is incomplete.
func (s *Site) Up(ctx context.Context) (name string, done bool, err error) {
	var g errgroup.Group
	recs := make([]*record, len(s.Project.Hosts))
	for i, h := range s.Project.Hosts {
		if at, ok := s.Hosts[h.Name]; ok {
			g.Go(func() (err error) {
				recs[i], err = readRecord(ctx, at, s.dir(at))
				return err
			})
		}
	}
	err, done = g.Wait(), true
	for _, r := range recs {
		if r != nil {
			name, done = cmp.Or(r.Topology, name), done && r.Complete && r.Topology != ""
		}
	}
	return name, done, err
}

// dir is where a host's record is.
func (s *Site) dir(at host.Host) string {
	if at.About().Here {
		return path.Join(s.StateDir, "site", s.Project.Name)
	}
	return path.Join(farDir, s.Project.Name)
}

// Apply makes the hosts what a topology says. When a role does not get well, everything goes back to what it was before.
func (s *Site) Apply(ctx context.Context, topology string, o Options) (*Plan, error) {
	p, err := s.Plan(ctx, topology, o.Force)
	if err != nil {
		return p, err
	}
	if o.Planned != nil {
		if err := o.Planned(p); err != nil {
			return p, err
		}
	}
	p.tune = o.Tune
	before := complete(nodesOf(p))
	begun, err := s.reach(ctx, p, before)
	if err == nil || !begun {
		return p, err
	}
	back := context.WithoutCancel(ctx)
	return p, host.Restore(back, err, before, "the hosts are as before", cmp.Or(s.Limit, time.Minute), s.say, func() error {
		if before == "" {
			_, err := s.Down(back, Options{})
			return err
		}
		again, err := s.Plan(back, before, true)
		if err == nil {
			_, err = s.reach(back, again, before) // what fails now is not gone back from
		}
		return err
	})
}

// reach does what a plan says, with what there is on record before, and that it is so after; begun says that something may have been done.
func (s *Site) reach(ctx context.Context, p *Plan, before string) (begun bool, err error) {
	if err := s.begin(ctx, p, before); err != nil {
		return false, err
	}
	if err := s.execute(ctx, p); err != nil {
		return true, err
	}
	return false, s.end(ctx, p)
}

// Down restores the hosts to the state before the first apply; copied data returns. Changes made outside isukit are in the plan's Left. A
// file that cannot be restored stays recorded, and the next Down tries again.
func (s *Site) Down(ctx context.Context, o Options) (*Plan, error) {
	p, err := s.Plan(ctx, "", o.Force)
	if err != nil {
		return p, err
	}
	if o.Planned != nil {
		if err := o.Planned(p); err != nil {
			return p, err
		}
	}
	last := *s
	last.Limit = min(cmp.Or(s.Limit, time.Minute), 20*time.Second) // what does not serve now may not have done so before
	if err := last.execute(ctx, p); err != nil {
		return p, err
	}
	return p, each(p, func(h *hostPlan) error {
		if h.rec == nil {
			return nil
		}
		h.rec.Files = slices.DeleteFunc(h.rec.Files, func(f fileWas) bool { _, ok := h.base(f.Path); return ok })
		if len(h.rec.Files) > 0 {
			h.node.rec = &record{Format: recordFormat, Project: s.Project.Name, Complete: true, At: time.Now().UTC(), Files: h.rec.Files}
			return h.save(ctx)
		}
		_, err := h.run(ctx, nil, "sh", "-c", `rm -rf -- "$1" && rm -rf -- "$2" || exit 1; rmdir -- "${1%/*}" "${2%/*}" 2>/dev/null; true`, "sh", project.MadeDir(s.Project.Name, ""), h.dir)
		return err
	})
}

func (s *Site) say(format string, args ...any) {
	if s.Progress != nil {
		s.Progress(fmt.Sprintf(format, args...))
	}
}

func nodesOf(p *Plan) (list []*node) {
	for _, h := range p.hosts {
		list = append(list, h.node)
	}
	return list
}

// each does something on all hosts of a plan at the same time.
func each(p *Plan, do func(*hostPlan) error) error {
	var g errgroup.Group
	errs := make([]error, len(p.hosts))
	for i, h := range p.hosts {
		g.Go(func() error {
			if err := do(h); err != nil {
				errs[i] = fmt.Errorf("host %s: %w", h.node.name, err)
			}
			return nil
		})
	}
	_ = g.Wait()
	return errors.Join(errs...)
}

// begin records what there is, and what it will become.
func (s *Site) begin(ctx context.Context, p *Plan, before string) error {
	return each(p, func(h *hostPlan) error {
		if h.rec == nil {
			h.node.rec = &record{Format: recordFormat, Project: s.Project.Name}
		}
		r := h.rec
		r.Topology, r.Complete, r.Before, r.At = p.Topology, false, before, time.Now().UTC()
		if before == "" {
			r.Homes = h.homes
		}
		for _, f := range h.files {
			if was := r.file(f.Path); was != nil {
				*was = f
			} else {
				r.Files = append(r.Files, f)
			}
		}
		for _, v := range h.node.unitsSeen(h.units) {
			if r.unit(v.Name) == nil {
				r.Units = append(r.Units, v)
			}
		}
		for _, v := range h.units {
			r.unit(v.name).Up = v.up
		}
		return h.save(ctx)
	})
}

// unitsSeen are records of units as they are now.
func (n *node) unitsSeen(list []unitPlan) (all []unitWas) {
	for _, v := range list {
		u := n.units[v.name]
		was := unitWas{Name: v.name, Enabled: u.enabled, Active: u.active}
		if u.active && !v.restart {
			was.Stamp = v.stamp
		}
		all = append(all, was)
	}
	return all
}

// end records that everything is so.
func (s *Site) end(ctx context.Context, p *Plan) error {
	return each(p, func(h *hostPlan) error {
		for _, v := range h.units {
			h.rec.unit(v.name).Stamp = v.stamp
		}
		if h.rec.Complete, h.rec.Before = true, ""; p.tune != nil {
			h.rec.Tune = p.tune
		}
		return h.save(ctx)
	})
}

// Password is the one that clients of a database log in with.
func (s *Site) Password(ctx context.Context, o project.Role) (string, error) {
	var nodes []*node
	for _, role := range s.Project.Roles {
		if !slices.Contains(o.MySQL.Clients, role.Name) {
			continue
		}
		for _, e := range role.Env {
			for name, at := range s.Hosts {
				n := &node{name: name, at: at, files: map[string][]byte{}}
				if err := n.read(ctx, []string{e.File}, nil); err != nil {
					return "", err
				}
				nodes = append(nodes, n)
			}
		}
	}
	return s.password(o, nodes)
}

// loginExpr finds the password in a DSN or URL, as in user:password@tcp(127.0.0.1:3306)/app.
var loginExpr = regexp.MustCompile(`^(?:\w+://[^:/@]+:(.*)@|[^:/@]+:(.*)@(?:tcp|unix)\()`)

// password is the one that clients of a database log in with.
func (s *Site) password(o project.Role, nodes []*node) (string, error) {
	name := o.MySQL.PasswordEnv
	if v := os.Getenv(name); v != "" {
		return v, nil
	}
	for _, role := range o.MySQL.Clients {
		c, _ := s.Project.Role(role)
		for _, n := range nodes {
			for _, e := range slices.Concat(c.Env, c.Swap) {
				text := string(n.files[e.File])
				if from, to, _, err := assigned(text, name); err == nil {
					value := unquoted(text[from:to])
					if login := loginExpr.FindStringSubmatch(value); login != nil {
						value = login[1] + login[2]
					}
					return value, nil
				}
			}
		}
	}
	return "", fmt.Errorf("no password found for %s: %s is set neither in isukit's environment nor in an env file of %s", o.MySQL.User, name, strings.Join(o.MySQL.Clients, ", "))
}
