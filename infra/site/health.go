package site

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"isukit/infra/host"
	"isukit/infra/project"
)

// probeScript connects to an address and a port, and sends a request unless it is "tcp"; the status must be below 500.
const probeScript = `exec 3<>"/dev/tcp/$1/$2" || exit 1
[ "$3" = tcp ] && exit 0
printf '%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$3" >&3
read -r -t 10 _ status _ <&3 || { echo "no response to $3" >&2; exit 1; }
case $status in [1-4][0-9][0-9]) exit 0 ;; esac
echo "$3: status $status" >&2; exit 1`

// serveScript waits, for as many seconds as its first argument says, until units run and a request is answered at one of some addresses.
// Its arguments are the seconds, the request, the port (0 is none), the addresses in one word, and the units.
const serveScript = `seconds=$1 request=$2 port=$3 addresses=$4
shift 4
serves() {
	for unit; do
		state=$(systemctl is-active "$unit")
		case $state in active | activating) ;; *) why="$unit is $state"; return 1 ;; esac
	done
	[ "$port" != 0 ] || return 0
	for address in $addresses; do
		why=$(timeout 10 bash -c "$PROBE" bash "$address" "$port" "$request" 2>&1) && return 0
	done
	return 1
}
now() { read -r now _ </proc/uptime && now=${now%.*}; }
now
began=$now pause=0.1
until serves "$@"; do
	now
	[ "$now" -lt $((began + seconds)) ] || { echo "$why" >&2; exit 1; }
	[ "$now" -lt $((began + 2)) ] || pause=0.5
	sleep $pause
done`

// asks is the command that waits on a host until units run there and a port answers. With a limit below a second it asks once.
func (s *Site) asks(n *node, request string, port int, addresses []string, units ...string) *host.Command {
	limit := cmp.Or(s.Limit, time.Minute)
	if request != "tcp" && request[0] == '/' {
		request = "GET " + request
	}
	argv := []string{"sh", "-c", serveScript, "sh", strconv.Itoa(int(limit.Seconds())), request, strconv.Itoa(port), strings.Join(addresses, " ")}
	return &host.Command{Argv: append(argv, units...), Env: []string{"PROBE=" + probeScript}, Dir: "/"}
}

// serves waits as asks does.
func (s *Site) serves(ctx context.Context, n *node, request string, port int, addresses []string, units ...string) error {
	if _, err := host.Must(ctx, n.at, *s.asks(n, request, port, addresses, units...)); err != nil {
		return fmt.Errorf("not within %v: %w", cmp.Or(s.Limit, time.Minute), err)
	}
	return nil
}

// own are the addresses at which a host's services may listen.
func (n *node) own() []string {
	if about := n.at.About(); !about.Here {
		return []string{"127.0.0.1", about.Address}
	}
	return []string{"127.0.0.1"}
}

// answerEachOther wants that roles answer those on other hosts that use them: a service may listen for its own host alone.
func (s *Site) answerEachOther(ctx context.Context, p *Plan) error {
	return each(p, func(h *hostPlan) error {
		var g errgroup.Group
		for _, o := range s.Project.Roles {
			if !slices.Contains(p.to.Hosts[o.Name], h.node.name) {
				continue
			}
			used := o.PassesTo()
			for _, e := range o.Env {
				for _, ref := range project.Refs(e.Value) {
					if !ref.Public {
						used = append(used, ref.Role)
					}
				}
			}
			for _, name := range used {
				to, _ := s.Project.Role(name)
				for _, other := range p.hosts {
					if to.Port == 0 || other.node == h.node || !slices.Contains(p.to.Hosts[name], other.node.name) || slices.Contains(p.to.Hosts[name], h.node.name) && len(o.PassesTo()) == 0 {
						continue
					}
					g.Go(func() error {
						address, err := other.address(h.node)
						if err == nil {
							err = s.serves(ctx, h.node, "tcp", to.Port, []string{address})
						}
						if err != nil {
							return fmt.Errorf("%s of %s does not answer %s at %s:%d; does it listen on its own host alone? %w", name, other.node.name, o.Name, address, to.Port, err)
						}
						return nil
					})
				}
			}
		}
		return g.Wait()
	})
}

// Status is what runs of a project, on all hosts.
type Status struct {
	Topology string       `json:"topology"` // "" for none
	Complete bool         `json:"complete"` // its apply finished
	Units    []UnitStatus `json:"units"`
	// Owed are files that down could not give back, as HOST: PATH.
	Owed []string `json:"owed,omitempty"`
}

// UnitStatus is a unit of a role on a host.
type UnitStatus struct {
	Host   string `json:"host"`
	Role   string `json:"role"`
	Unit   string `json:"unit"`
	State  string `json:"state"`  // running, stopped, or not there
	Boot   string `json:"boot"`   // as systemctl is-enabled says
	Health string `json:"health"` // "yes", or why not; "-" where it does not run or has no port
}

// Status looks at every unit of every role, and asks those that run.
func (s *Site) Status(ctx context.Context) (*Status, error) {
	nodes, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	once := *s
	once.Limit = time.Nanosecond
	st := &Status{Complete: true, Units: []UnitStatus{}}
	for _, n := range nodes {
		if n.rec != nil {
			st.Topology, st.Complete = cmp.Or(n.rec.Topology, st.Topology), st.Complete && n.rec.Complete
			for _, f := range n.rec.Files {
				if n.rec.Topology == "" {
					st.Owed = append(st.Owed, n.name+": "+f.Path)
				}
			}
		}
		for _, o := range s.Project.Roles {
			for i, name := range o.Units {
				u := n.units[name]
				if !u.there || o.Make != "" && n.rec.unit(name) == nil {
					continue
				}
				line := UnitStatus{Host: n.name, Role: o.Name, Unit: name, State: "stopped", Boot: cmp.Or(u.enabled, "-"), Health: "-"}
				if u.active {
					line.State = "running"
				}
				if u.active && i == 0 && o.Port > 0 {
					line.Health = "yes"
					if once.serves(ctx, n, cmp.Or(o.Health, "tcp"), o.Port, n.own()) != nil {
						line.Health = fmt.Sprintf("no answer on port %d", o.Port)
					}
				}
				st.Units = append(st.Units, line)
			}
		}
	}
	return st, nil
}
