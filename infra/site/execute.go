package site

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"isukit/infra/host"
	"isukit/infra/project"
)

// execute does what a plan says: files, then databases with their accounts and data, then the other roles in their order.
func (s *Site) execute(ctx context.Context, p *Plan) error {
	s.say("write files")
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
		if err := h.write(ctx); err != nil {
			return err
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
		var started []unitPlan
		var ops []host.Op
		for _, v := range h.units {
			if verb := h.verb(v); v.role.Name == o.Name && v.up && verb != "" {
				started, ops = append(started, v), append(ops, host.Op{Run: &host.Command{Argv: []string{"systemctl", verb, v.name}, Dir: "/"}, Must: true})
			}
		}
		if len(started) == 0 {
			return nil
		}
		asked := *s
		if h.lame {
			asked.Limit = time.Nanosecond
		}
		answers, err := host.Do(ctx, h.at, append(ops, host.Op{Run: asked.asks(h.node, cmp.Or(o.Health, "tcp"), o.Port, h.own(), o.Units...)})...)
		for i, v := range started {
			if err == nil && answers[i].Failed() != nil {
				return h.notStarted(ctx, v, answers[i].Failed())
			}
			s.say("%s runs on %s", v.name, h.node.name)
		}
		if err != nil {
			return err
		}
		if err = answers[len(started)].Failed(); err != nil {
			log, _ := h.run(context.WithoutCancel(ctx), nil, "journalctl", "-q", "--no-pager", "-n", "8", "-o", "cat", "-u", o.Units[0])
			err = fmt.Errorf("role %s does not become healthy: not within %v: %w\n%s", o.Name, cmp.Or(asked.Limit, time.Minute), err, strings.TrimSpace(log))
		}
		if err != nil && p.to == nil { // isukit does not judge the state before it, and what uses this role may not serve either
			h.lame = true
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
	toggle := func(enable bool) { // a unit is disabled while its file is there, and enabled when it is
		for _, v := range h.units {
			if v.toggle && v.enable == enable {
				reload = true
				b.WriteString(map[bool]string{true: "enable ", false: "disable "}[enable] + v.name + "\n")
			}
		}
	}
	toggle(false)
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
	toggle(true)
	if b.Len() == 0 {
		return nil
	}
	if _, err := h.run(ctx, []byte(b.String()), "sh", "-c", writeScript, "sh", strconv.FormatBool(reload)); err != nil {
		return fmt.Errorf("write files: %w", err)
	}
	return nil
}

// verb is what systemctl does to a unit that is to run; "" for nothing.
func (h *hostPlan) verb(v unitPlan) string {
	switch active := h.node.units[v.name].active; {
	case active && v.restart:
		return "restart"
	case active:
		return ""
	}
	return "start"
}

// start starts or restarts a unit where that is to be done; did says that it was.
func (h *hostPlan) start(ctx context.Context, v unitPlan) (did bool, err error) {
	verb := h.verb(v)
	if verb == "" {
		return false, nil
	}
	if _, err := h.run(ctx, nil, "systemctl", verb, v.name); err != nil {
		return false, h.notStarted(ctx, v, err)
	}
	return true, nil
}

func (h *hostPlan) notStarted(ctx context.Context, v unitPlan, err error) error {
	log, _ := h.run(context.WithoutCancel(ctx), nil, "journalctl", "-q", "--no-pager", "-n", "8", "-o", "cat", "-u", v.name)
	return fmt.Errorf("%s %s: %w\n%s", h.verb(v), v.name, err, strings.TrimSpace(log))
}

// stop stops units.
func (h *hostPlan) stop(ctx context.Context, units []string) error {
	units = slices.DeleteFunc(units, func(name string) bool { // made ones that do not run went with their files
		return !h.node.units[name].active && slices.ContainsFunc(h.files, func(f fileWas) bool { return f.Path == unitDirs[0]+name && f.Wrote == nil })
	})
	if len(units) == 0 {
		return nil
	}
	if _, err := h.run(ctx, nil, append([]string{"systemctl", "stop"}, units...)...); err != nil {
		return fmt.Errorf("stop %s: %w", strings.Join(units, " "), err)
	}
	return nil
}
