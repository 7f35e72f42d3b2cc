package site

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"isukit/infra/project"
)

// probeScript connects to an address and a port, and sends a request unless it is "tcp"; the status must be below 500.
const probeScript = `exec 3<>"/dev/tcp/$1/$2" || exit 1
[ "$3" = tcp ] && exit 0
printf '%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$3" >&3
read -r -t 10 _ status _ <&3 || { echo "no response to $3" >&2; exit 1; }
case $status in [1-4][0-9][0-9]) exit 0 ;; esac
echo "$3: status $status" >&2; exit 1`

// probe asks a service from a host.
func (n *node) probe(ctx context.Context, address string, port int, request string) error {
	if request != "tcp" && request[0] == '/' {
		request = "GET " + request
	}
	_, err := n.run(ctx, nil, "timeout", "10", "bash", "-c", probeScript, "bash", address, strconv.Itoa(port), request)
	return err
}

// wait tries until it succeeds, for as long as a service may take.
func (s *Site) wait(ctx context.Context, try func(context.Context) error) error {
	limit := cmp.Or(s.Limit, time.Minute)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %v", limit))
	defer cancel()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// healthy waits until a role serves on its host.
func (s *Site) healthy(ctx context.Context, h *hostPlan, o project.Role) error {
	err := s.wait(ctx, func(ctx context.Context) error {
		for _, u := range o.Units {
			out, err := h.run(ctx, nil, "systemctl", "is-active", u)
			if state := strings.TrimSpace(out); err != nil && state != "activating" {
				return fmt.Errorf("%s is %s", u, state)
			}
		}
		if o.Port == 0 {
			return nil
		}
		err := h.probe(ctx, "127.0.0.1", o.Port, cmp.Or(o.Health, "tcp"))
		if err != nil && !h.at.About().Here && h.probe(ctx, h.at.About().Address, o.Port, cmp.Or(o.Health, "tcp")) == nil {
			return nil
		}
		return err
	})
	if err != nil {
		log, _ := h.run(context.WithoutCancel(ctx), nil, "journalctl", "-q", "--no-pager", "-n", "8", "-o", "cat", "-u", o.Units[0])
		return fmt.Errorf("role %s does not get healthy: %w\n%s", o.Name, err, strings.TrimSpace(log))
	}
	return nil
}

// reach wants that roles answer those on other hosts that use them: a service may listen for its own host alone.
func (s *Site) reach(ctx context.Context, p *Plan) error {
	return each(p, func(h *hostPlan) error {
		for _, o := range s.Project.Roles {
			if !slices.Contains(p.to.Hosts[o.Name], h.node.name) {
				continue
			}
			var used []string
			for _, e := range o.Swap {
				used = append(used, e.Value)
			}
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
					if to.Port == 0 || other.node == h.node || !slices.Contains(p.to.Hosts[name], other.node.name) || slices.Contains(p.to.Hosts[name], h.node.name) && len(o.Swap) == 0 {
						continue
					}
					address, err := other.address(h.node)
					if err == nil {
						err = s.wait(ctx, func(ctx context.Context) error { return h.probe(ctx, address, to.Port, "tcp") })
					}
					if err != nil {
						return fmt.Errorf("%s of %s does not answer %s at %s:%d; does it listen on its own host alone? %w", name, other.node.name, o.Name, address, to.Port, err)
					}
				}
			}
		}
		return nil
	})
}
