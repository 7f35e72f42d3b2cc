// Package site places a project's own services on its own hosts. A description of roles and a topology go in; the hosts become so: what
// names an address in their files, which units run and are enabled, who may log in to the databases, where their data is. What was there
// before is recorded on each host before the first write, and Down gives it back. Plans are pure; all effects go through infra/host.
//
// Services that isukit makes itself are placed by package infra.
package site

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
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
	// Progress is told what is being done; nil tells nobody.
	Progress func(step string)
}

// Plan is what an apply or a down does; its Topology is "" for what was there before isukit came.
type Plan struct {
	plan.Plan
	// Left are things that somebody else has changed, and that stay as they are.
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
	// Force takes files that somebody else has changed as they are now.
	Force bool
	// Tune are the tunings that each role names: they are kept on record. Nil leaves what is there.
	Tune map[string][]string
	// Planned is told what will be done, before it is; its error keeps it from being done.
	Planned func(*Plan) error
}

// Plan says what an apply of a topology would do; "" is what Down would do. The error has everything that is in the way.
func (s *Site) Plan(ctx context.Context, topology string, force bool) (*Plan, error) {
	return s.plan(ctx, topology, planner{force: force})
}

// PlanUntuned is Plan for after tunings were taken back: what is not isukit's own in files that it wrote is theirs.
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

// Up is the topology that was applied, and whether its apply came to its end; "" for none, where done is false when the last Down could not
// give everything back. It looks at hosts that can be reached.
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
	s.say("it does not work; everything goes back to what it was")
	back := context.WithoutCancel(ctx)
	var undone error
	if before == "" {
		_, undone = s.Down(back, Options{})
	} else if again, err := s.Plan(back, before, true); err != nil {
		undone = err
	} else {
		_, undone = s.reach(back, again, before) // what fails now is not gone back from
	}
	if undone != nil {
		return p, fmt.Errorf("%w\nand going back failed, too: %w", err, undone)
	}
	return p, fmt.Errorf("%w\n%s", err, "everything is as it was before")
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

// Down gives the hosts back as they were before the first apply; data that was copied comes home. What somebody else has changed since is
// in the plan's Left. A file that cannot go back stays on record, and the next Down tries again.
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
		if err := h.at.Remove(ctx, h.dir); err != nil {
			return err
		}
		_, err := h.run(ctx, nil, "sh", "-c", `rmdir -- "$1" 2>/dev/null; true`, "sh", path.Dir(h.dir))
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

// execute does what a plan says: files, then databases with their accounts and data, then the other roles in their order.
func (s *Site) execute(ctx context.Context, p *Plan) error {
	s.say("write files")
	if err := each(p, func(h *hostPlan) error { return h.write(ctx) }); err != nil {
		return err
	}
	moving := map[string]bool{} // roles whose data moves
	for _, h := range p.hosts {
		for _, m := range h.moves {
			moving[m.role.Name] = moving[m.role.Name] || m.from != nil
		}
		for _, d := range h.back {
			moving[d.Role] = true
		}
	}
	clients := func(o project.Role) bool {
		return slices.ContainsFunc(s.Project.Roles, func(db project.Role) bool {
			return db.MySQL != nil && moving[db.Name] && slices.Contains(db.MySQL.Clients, o.Name)
		})
	}
	if err := each(p, func(h *hostPlan) error {
		var units []string
		for i, v := range h.units {
			stops := clients(v.role) && h.node.units[v.name].active
			if stops && v.up {
				h.units[i].restart = true
			}
			if v.role.MySQL == nil && (stops || !v.up) {
				units = append(units, v.name)
			}
		}
		return h.stop(ctx, units)
	}); err != nil {
		return err
	}
	if err := s.databases(ctx, p); err != nil {
		return err
	}
	for _, o := range s.Project.Roles {
		if o.MySQL != nil {
			continue
		}
		if err := s.startRole(ctx, p, o); err != nil {
			return err
		}
	}
	if p.to != nil {
		if err := s.answerEachOther(ctx, p); err != nil {
			return err
		}
	}
	return each(p, func(h *hostPlan) error {
		var units []string
		for _, v := range h.units {
			if v.role.MySQL != nil && !v.up {
				units = append(units, v.name)
			}
		}
		return h.stop(ctx, units)
	})
}

// startRole starts a role where it is to run, and waits until it serves.
func (s *Site) startRole(ctx context.Context, p *Plan, o project.Role) error {
	return each(p, func(h *hostPlan) error {
		started := false
		for _, v := range h.units {
			if v.role.Name != o.Name || !v.up {
				continue
			}
			did, err := h.start(ctx, v)
			if started = started || did; err != nil {
				return err
			}
			if did {
				s.say("%s runs on %s", v.name, h.node.name)
			}
		}
		if !started {
			return nil
		}
		err := s.healthy(ctx, h, o)
		if err != nil && p.to == nil { // it is not isukit's to judge what was there before
			s.say("host %s: %v", h.node.name, err)
			return nil
		}
		return err
	})
}

// writeScript does what the lines of its input say: "write FILE TEXT", with the mode and owner that the file has, "remove FILE", "enable UNIT" and
// "disable UNIT"; FILE and TEXT are in base64. A link stays one. What follows is for systemd to read, where anything of that is its own.
const writeScript = `set -e
plain() { echo "$1" | base64 -d; }
new=
trap 'rm -f -- "$new"' EXIT
while read -r what name text; do
	case $what in
	enable | disable)
		systemctl --quiet --no-reload "$what" "$name" || { echo "$what $name failed" >&2; exit 1; }
		continue
		;;
	esac
	name=$(plain "$name")
	if [ "$what" = remove ]; then
		rm -f -- "$name"
		case $name in *.d/zz-isukit-site.conf) rmdir -- "${name%/*}" 2>/dev/null || true ;; esac
		continue
	fi
	file=$(readlink -f -- "$name" || echo "$name")
	[ -d "$(dirname -- "$file")" ] || (umask 022; mkdir -p -- "$(dirname -- "$file")")
	new=$file.isukit-new
	if [ -e "$file" ]; then cp -p -- "$file" "$new"; else (umask 022; : >"$new"; chmod 644 "$new"); fi
	plain "$text" >"$new"
	sync "$new"
	mv -f -- "$new" "$file"
done
[ "$1" = false ] || systemctl daemon-reload`

// write writes the files of a host, and has a boot start its units or not.
func (h *hostPlan) write(ctx context.Context) error {
	var b strings.Builder
	reload := false
	coded := func(text []byte) string { return base64.StdEncoding.EncodeToString(text) }
	for _, f := range h.files {
		if same(f.Wrote, h.node.files[f.Path]) {
			continue
		}
		reload = reload || strings.HasPrefix(f.Path, unitDirs[0])
		if f.Wrote == nil {
			b.WriteString("remove " + coded([]byte(f.Path)) + "\n")
		} else {
			b.WriteString("write " + coded([]byte(f.Path)) + " " + coded(f.Wrote) + "\n")
		}
	}
	for _, v := range h.units {
		if v.toggle {
			reload = true
			b.WriteString(map[bool]string{true: "enable ", false: "disable "}[v.enable] + v.name + "\n")
		}
	}
	if b.Len() == 0 {
		return nil
	}
	if _, err := h.run(ctx, []byte(b.String()), "sh", "-c", writeScript, "sh", strconv.FormatBool(reload)); err != nil {
		return fmt.Errorf("write files: %w", err)
	}
	return nil
}

// start starts or restarts a unit where that is to be done; did says that it was.
func (h *hostPlan) start(ctx context.Context, v unitPlan) (did bool, err error) {
	verb := "start"
	switch active := h.node.units[v.name].active; {
	case active && v.restart:
		verb = "restart"
	case active:
		return false, nil
	}
	if _, err := h.run(ctx, nil, "systemctl", verb, v.name); err != nil {
		log, _ := h.run(ctx, nil, "journalctl", "-q", "--no-pager", "-n", "8", "-o", "cat", "-u", v.name)
		return false, fmt.Errorf("%s %s: %w\n%s", verb, v.name, err, strings.TrimSpace(log))
	}
	return true, nil
}

// stop stops units.
func (h *hostPlan) stop(ctx context.Context, units []string) error {
	if len(units) == 0 {
		return nil
	}
	if _, err := h.run(ctx, nil, append([]string{"systemctl", "stop"}, units...)...); err != nil {
		return fmt.Errorf("stop %s: %w", strings.Join(units, " "), err)
	}
	return nil
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

// password is the one that clients of a database log in with.
func (s *Site) password(o project.Role, nodes []*node) (string, error) {
	name := o.MySQL.PasswordEnv
	if v := os.Getenv(name); v != "" {
		return v, nil
	}
	for _, role := range o.MySQL.Clients {
		c, _ := s.Project.Role(role)
		for _, n := range nodes {
			for _, e := range c.Env {
				text := string(n.files[e.File])
				if from, to, _, err := assigned(text, name); err == nil {
					return unquoted(text[from:to]), nil
				}
			}
		}
	}
	return "", fmt.Errorf("no password found for %s: %s is set neither in isukit's environment nor in an env file of %s", o.MySQL.User, name, strings.Join(o.MySQL.Clients, ", "))
}
