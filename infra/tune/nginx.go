package tune

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"isukit/infra/engine"
	"isukit/infra/engine/nginx"
	"isukit/infra/host"
)

// NginxConfig tells about an nginx.
type NginxConfig struct {
	// Conf is the file that has the blocks which the tunings name; Argv is nginx with the options that it was started with
	// ("nginx -p DIR -c FILE"), for asking its version and testing its configuration.
	Conf string
	Argv []string
	// PID is the master process; 0 where none runs.
	PID func(context.Context) (int, error)
}

// NewNginx is the target for tunings of kind nginx.
func NewNginx(p Place, c NginxConfig) *Target {
	return p.target(Nginx, func(h *seen) server {
		if c.PID != nil {
			c.PID = once(h, "pid", c.PID)
		}
		return nginxServer{host: h, c: c}
	})
}

type nginxServer struct {
	plain
	host host.Host
	c    NginxConfig
}

func (n nginxServer) product(ctx context.Context) (engine.Product, error) {
	res, err := n.host.Run(ctx, host.Command{Argv: []string{n.c.Argv[0], "-v"}})
	if err != nil {
		return engine.Product{}, err
	}
	_, text, _ := strings.Cut(string(res.Stderr)+string(res.Stdout), "nginx/")
	v, err := engine.ParseVersion(text)
	if err != nil {
		return engine.Product{}, fmt.Errorf("nginx's version: %w", err)
	}
	return engine.Product{Name: "nginx", Version: v}, nil
}

// refuse answers where the blocks are missing that a setting belongs into.
func (n nginxServer) refuse(ctx context.Context, s Setting) (string, error) {
	keys, err := n.expand(ctx, s)
	if err == nil && len(keys) == 0 {
		return fmt.Sprintf("%s has no block for it", n.c.Conf), nil
	}
	return "", err
}

func (n nginxServer) load(ctx context.Context) (*nginx.Config, error) {
	return nginx.Load(ctx, n.host, n.c.Conf)
}

func (n nginxServer) expand(ctx context.Context, s Setting) ([]string, error) {
	c, err := n.load(ctx)
	if err != nil {
		return nil, err
	}
	return c.Places(s.Key), nil
}

func (n nginxServer) slots(context.Context, Setting) ([]slot, error) {
	return []slot{nginxSlot{n}}, nil
}

func (n nginxServer) slot(*Record) slot { return nginxSlot{n} }

// reloadLimit is how long nginx may take to start workers with its new configuration.
const reloadLimit = time.Minute

// settle tests the configuration, and lets nginx read it: its workers are others then.
func (n nginxServer) settle(ctx context.Context, _ Restart) (string, error) {
	if _, err := host.Output(ctx, n.host, append(append([]string{}, n.c.Argv...), "-t", "-q")...); err != nil {
		return "", err
	}
	before, err := n.process(ctx)
	if err != nil || before == "" {
		return "", err
	}
	pid, err := n.c.PID(ctx)
	if err != nil {
		return "", err
	}
	// The shell's own kill: a small container has no program of that name.
	if _, err := host.Output(ctx, n.host, "sh", "-c", `kill -HUP "$1"`, "kill", strconv.Itoa(pid)); err != nil {
		return "", fmt.Errorf("reload: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, reloadLimit, errors.New("nginx did not take its new configuration; its error log says why"))
	defer cancel()
	for {
		after, err := n.process(ctx)
		if err == nil && after != "" && !shareWord(before, after) { // until then the old workers answer, too
			return "reloaded", nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("reload: %w", context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// shareWord tells whether two lists of workers have one in common.
func shareWord(a, b string) bool {
	words := strings.Fields(b)
	return slices.ContainsFunc(strings.Fields(a), func(w string) bool { return slices.Contains(words, w) })
}

// process is the list of workers, with their starts, all of which are others after a reload.
func (n nginxServer) process(ctx context.Context) (string, error) {
	if n.c.PID == nil {
		return "", nil
	}
	pid, err := n.c.PID(ctx)
	if err != nil || pid == 0 {
		return "", err
	}
	// A worker that is on its way out calls itself "worker process is shutting down".
	out, err := host.Output(ctx, n.host, "sh", "-c", `for p in $(cat /proc/"$1"/task/"$1"/children); do `+
		`tr '\0' ' ' </proc/"$p"/cmdline | grep -q 'worker process *$' && echo "$p:$(cut -d ' ' -f 22 /proc/"$p"/stat)"; done; true`, "sh", strconv.Itoa(pid))
	return strings.Join(strings.Fields(out), " "), err
}

// nginxSlot is the configuration's file. What a key does not concern stays byte for byte.
type nginxSlot struct{ n nginxServer }

func (nginxSlot) layer() Layer { return FileLayer }

func (s nginxSlot) file() string { return s.n.c.Conf }

func (s nginxSlot) read(ctx context.Context, key string) (engine.Value, error) {
	c, err := s.n.load(ctx)
	if err != nil {
		return engine.Value{}, err
	}
	return c.Value(key)
}

func (s nginxSlot) write(ctx context.Context, key string, v engine.Value) error {
	list := []assignment{{key: key, to: v}}
	return errors.Join(s.writeAll(ctx, list), list[0].err)
}

// writeAll implements many.
func (s nginxSlot) writeAll(ctx context.Context, list []assignment) error {
	c, err := s.n.load(ctx)
	if err != nil {
		return err
	}
	before := maps.Clone(c.Files)
	for i := range list {
		list[i].err = c.Set(list[i].key, list[i].to)
	}
	for _, file := range slices.Sorted(maps.Keys(c.Files)) {
		if c.Files[file] == before[file] {
			continue
		}
		if err := putText(ctx, s.n.host, file, c.Files[file]); err != nil {
			return err
		}
	}
	if c, err = s.n.load(ctx); err != nil {
		return err
	}
	for i := range list {
		if list[i].got, err = c.Value(list[i].key); err != nil {
			list[i].got = engine.Value{Absent: true}
		}
	}
	return nil
}
