package tune

import (
	"context"
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
	host *seen
	c    NginxConfig
}

func (n nginxServer) product(ctx context.Context) (engine.Product, error) {
	res, err := n.host.Run(ctx, *n.versionOp().Run)
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

func (n nginxServer) versionOp() host.Op {
	return host.Op{Run: &host.Command{Argv: []string{n.c.Argv[0], "-v"}}}
}

// foresee implements asker.
func (n nginxServer) foresee(ctx context.Context, _ []string) []host.Op {
	ops := []host.Op{n.versionOp(), nginx.LoadOp(n.c.Conf)}
	if n.c.PID != nil {
		if pid, err := n.c.PID(ctx); err == nil && pid > 0 {
			ops = append(ops, workersOp(pid))
		}
	}
	return ops
}

// refuse answers where the blocks are missing that a setting belongs into.
func (n nginxServer) refuse(ctx context.Context, s Setting) (string, error) {
	keys, err := n.expand(ctx, s)
	if err == nil && len(keys) == 0 {
		return fmt.Sprintf("%s has no block for it", n.c.Conf), nil
	}
	return "", err
}

// load reads the configuration once a look.
func (n nginxServer) load(ctx context.Context) (*nginx.Config, error) {
	return once(n.host, "configuration", func(ctx context.Context) (*nginx.Config, error) { return nginx.Load(ctx, n.host, n.c.Conf) })(ctx)
}

// expand finds the blocks that a key means, and the directives below them that would win over it there. Where the app has no
// upstream, keepalive makes one.
func (n nginxServer) expand(ctx context.Context, s Setting) ([]string, error) {
	c, err := n.load(ctx)
	if err != nil {
		return nil, err
	}
	keys := slices.DeleteFunc(c.Places(s.Key), c.Made)
	for _, key := range slices.Clone(keys) {
		for _, winner := range c.Winners(key) {
			if !slices.Contains(keys, winner) {
				keys = append(keys, winner)
			}
		}
	}
	if s.Key != upstreamsKeepalive {
		return keys, nil
	}
	for _, b := range c.Backends() {
		keys = append(append(keys, b.Key()), b.Passes...)
		if b.HostKey != "" {
			keys = append(keys, b.HostKey)
		}
	}
	return keys, nil
}

// upstreamsKeepalive is the key that makes upstreams.
const upstreamsKeepalive = "http > upstream * > keepalive"

// value keeps the value that a lower level of the configuration sets, and a log's path.
func (n nginxServer) value(ctx context.Context, s Setting, k keyed, text string) (string, error) {
	c, err := n.load(ctx)
	if err != nil {
		return "", err
	}
	name := nginx.LastName(k.key)
	lower := !slices.Contains(c.Places(s.Key), k.key)
	switch {
	case s.Key == upstreamsKeepalive && lower:
		return ofBackend(c, k, text)
	case lower && name == "proxy_set_header Connection" && strings.Contains(k.original.Text, "pgrade"):
		return "", exempt("it is set for connections that are upgraded, as WebSockets are")
	case name == "access_log":
		return n.accessLog(ctx, k, text, lower)
	}
	return text, nil
}

// ofBackend is the value of a key that an upstream is made by.
func ofBackend(c *nginx.Config, k keyed, text string) (string, error) {
	for _, b := range c.Backends() {
		switch {
		case k.key != b.Key() && k.key != b.HostKey && !slices.Contains(b.Passes, k.key):
			continue
		case b.Refused != "":
			return "", exempt("no upstream is made of " + b.Address + ": " + b.Refused)
		case k.key == b.Key():
			return b.Block(text), nil
		case k.key == b.HostKey:
			return "Host " + b.Host, nil
		}
		return b.PassTo(k.original.Text), nil
	}
	return "", fmt.Errorf("%s: %w", k.key, engine.ErrGone)
}

// accessLog gives a log another format and leaves it where it is. One that is off in a lower level stays off.
func (n nginxServer) accessLog(ctx context.Context, k keyed, text string, lower bool) (string, error) {
	_, format, _ := strings.Cut(text, " ")
	had := strings.Fields(k.original.Text)
	switch {
	case format == "":
		return text, nil // off
	case k.original.Absent && !slices.Contains(n.c.Argv, "-p"):
		file, err := n.builtIn(ctx, "--http-log-path")
		if err != nil || file == "" {
			return text, err
		}
		return file + " " + format, nil
	case k.original.Absent || had[0] == "off" && !lower:
		return text, nil
	case had[0] == "off":
		return "", exempt("it is off in this part of the configuration")
	}
	kept := []string{had[0], format}
	for _, option := range had[min(len(had), 2):] {
		if strings.HasPrefix(option, "if=") { // what is buffered or packed cannot be read at the end of a round
			kept = append(kept, option)
		}
	}
	return strings.Join(kept, " "), nil
}

// builtIn is an option that nginx was built with; "" where it was not.
func (n nginxServer) builtIn(ctx context.Context, option string) (string, error) {
	res, err := n.host.Run(ctx, host.Command{Argv: []string{n.c.Argv[0], "-V"}})
	if err != nil {
		return "", err
	}
	return nginx.BuiltWith(string(res.Stderr), option), nil
}

// check finds lower levels of the configuration that win over a key: there it has no effect.
func (n nginxServer) check(ctx context.Context, r *Record) (string, error) {
	c, err := n.load(ctx)
	if err != nil || r.current().Absent {
		return "", err
	}
	for _, key := range c.Winners(r.Key) {
		_, d, err := c.Find(key)
		if err != nil {
			return "", err
		}
		have, want := "", r.current().Text
		if d != nil {
			v, _ := c.Value(key)
			have = v.Text
		}
		if !wins(r.Key, have, want) {
			continue
		}
		name := strings.Fields(nginx.LastName(key))[0]
		return fmt.Sprintf("it has no effect in %s, which has its own %s", key[:strings.LastIndex(key, nginx.Separator)], name), nil
	}
	return "", nil
}

// wins tells whether a value of a lower level takes the effect of one above. What value leaves alone does not count.
func wins(key, have, want string) bool {
	switch nginx.LastName(key) {
	case "proxy_set_header Connection":
		return !engine.Same(have, want) && !strings.Contains(have, "pgrade")
	case "proxy_set_header Host":
		return false // a block with another value keeps it
	case "access_log":
		had, wants := append(strings.Fields(have), "combined"), append(strings.Fields(want), "combined")
		return had[0] != "off" && (wants[0] == "off" || had[1] != wants[1])
	}
	higher, ok := engine.Number(have)
	least, ok2 := engine.Number(want)
	return !engine.Same(have, want) && !(ok && ok2 && higher >= least) // one that was only to be raised is not touched
}

func (n nginxServer) slots(context.Context, Setting) ([]slot, error) {
	return []slot{nginxSlot{n}}, nil
}

func (n nginxServer) slot(*Record) slot { return nginxSlot{n} }

// reloadLimit is how long nginx may take to start workers with its new configuration.
const reloadLimit = time.Minute

// workersScript has a function that prints the workers of the nginx $1, with their starts, all of which are others after a reload. One
// that is on its way out calls itself "worker process is shutting down".
const workersScript = `workers() {
	for p in $(cat /proc/"$1"/task/"$1"/children); do
		tr '\0' ' ' </proc/"$p"/cmdline | grep -q 'worker process *$' && echo "$p:$(cut -d ' ' -f 22 /proc/"$p"/stat)"
	done
	true
}
`

// reloadScript tests the configuration, and lets nginx read it. Until its workers are all others, the old ones answer, too.
const reloadScript = workersScript + `pid=$1 tries=$2
shift 2
"$@" -t -q || exit
before=$(workers "$pid") || exit
[ -n "$before" ] || exit 0
kill -HUP "$pid" || exit
while [ $((tries -= 1)) -gt 0 ]; do
	now=$(workers "$pid") shared=
	for w in $before; do
		case " $(echo $now) " in *" $w "*) shared=1 ;; esac
	done
	[ -n "$now" ] && [ -z "$shared" ] && echo reloaded && exit 0
	sleep 0.1
done
echo 'nginx did not take its new configuration; its error log says why' >&2
exit 1`

// settle tests the configuration, and lets nginx read it.
func (n nginxServer) settle(ctx context.Context, _ Restart) (string, error) {
	op, err := n.reloadOp(ctx)
	if err != nil {
		return "", err
	}
	out, err := host.Output(ctx, n.host, op.Run.Argv...)
	return strings.TrimSpace(out), err
}

// reloadOp implements reloader.
func (n nginxServer) reloadOp(ctx context.Context) (host.Op, error) {
	pid := 0
	if n.c.PID != nil {
		var err error
		if pid, err = n.c.PID(ctx); err != nil {
			return host.Op{}, err
		}
	}
	if pid == 0 {
		return host.Op{Run: &host.Command{Argv: append(slices.Clone(n.c.Argv), "-t", "-q")}}, nil
	}
	return host.Script(reloadScript, append([]string{strconv.Itoa(pid), strconv.Itoa(int(reloadLimit / (100 * time.Millisecond)))}, n.c.Argv...)...), nil
}

// reloaded implements reloader.
func (nginxServer) reloaded(_ context.Context, out string) (string, error) {
	return strings.TrimSpace(out), nil
}

// process is the list of workers.
func (n nginxServer) process(ctx context.Context) (string, error) {
	if n.c.PID == nil {
		return "", nil
	}
	pid, err := n.c.PID(ctx)
	if err != nil || pid == 0 {
		return "", err
	}
	out, err := host.Output(ctx, n.host, workersOp(pid).Run.Argv...)
	return strings.Join(strings.Fields(out), " "), err
}

func workersOp(pid int) host.Op { return host.Script(workersScript+`workers "$1"`, strconv.Itoa(pid)) }

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

// writes implements writer.
func (s nginxSlot) writes(ctx context.Context, list []assignment) (ops []host.Op, done func([]host.Answer) error, err error) {
	c, err := nginx.Load(ctx, s.n.host, s.n.c.Conf)
	if err != nil {
		return nil, nil, err
	}
	before := maps.Clone(c.Files)
	for i := range list {
		list[i].err = c.Set(list[i].key, list[i].to)
	}
	var files []string
	for _, file := range slices.Sorted(maps.Keys(c.Files)) {
		if c.Files[file] != before[file] {
			files = append(files, file)
			ops = append(ops, host.Op{Put: &host.File{Path: file, Data: []byte(c.Files[file]), Mode: 0o644, Keep: true}}, host.Op{Get: file})
			s.n.host.plans(file, []byte(before[file]), []byte(c.Files[file]))
		}
	}
	return ops, func(answers []host.Answer) error {
		for n, a := range answers {
			if err := a.Failed(); err != nil {
				return fmt.Errorf("write %s: %w", files[n/2], err)
			}
			if file := files[n/2]; ops[n].Get != "" {
				s.n.host.wrote(file, []byte(before[file]), a.Stdout)
				if string(a.Stdout) != c.Files[file] {
					return fmt.Errorf("write %s: something else has written to it", file)
				}
			}
		}
		for i := range list {
			var err error
			if list[i].got, err = c.Value(list[i].key); err != nil {
				list[i].got = engine.Value{Absent: true}
			}
		}
		return nil
	}, nil
}

// nginxFile reads a tuning's fragment: directives and blocks with a comment line are settings, other blocks only say where.
func (p *parser) nginxFile(text string) {
	list, err := nginx.Parse(text)
	if err != nil {
		p.faults = append(p.faults, fmt.Errorf("%s: %w", p.file, err))
		return
	}
	p.fragment(text, "", list)
}

func (p *parser) fragment(text, path string, list []nginx.Directive) {
	seen := map[string]bool{}
	for _, d := range list {
		key := path + d.Ident()
		if d.Block && !strings.Contains(d.Comment, "risk:") {
			p.fragment(text, key+" > ", d.Children)
			continue
		}
		if seen[key] {
			p.fault(d.Line, "%s is set twice", key)
		}
		seen[key] = true
		value := text[d.Start:d.End]
		if !d.Block {
			value = strings.TrimRight(strings.TrimSpace(strings.TrimPrefix(value[:len(value)-1], d.Name)), " ")
			value = expressionOf(d, value)
		}
		p.add(d.Line, key, value, d.Comment, false)
	}
}

// expressionOf: nginx needs quotes around "2 x cpus", the expression has none.
func expressionOf(d nginx.Directive, value string) string {
	if len(d.Args) == 1 && cpusRE.MatchString(d.Args[0]) {
		return d.Args[0]
	}
	return value
}
