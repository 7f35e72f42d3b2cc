package tune

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"isukit/infra/engine"
	"isukit/infra/engine/envoy"
	"isukit/infra/host"
	"isukit/input/yaml"
)

// EnvoyConfig tells about an Envoy whose configuration is a YAML file in block style.
type EnvoyConfig struct {
	Conf string
	// Argv is Envoy with the options that it was started with ("envoy -c FILE"), for asking its version and testing its
	// configuration.
	Argv []string
	// PID is its process; 0 where none runs.
	PID func(context.Context) (int, error)
	// Restart starts it again and returns when it answers. nil: nothing here can.
	Restart func(context.Context) error
}

// NewEnvoy is the target for tunings of kind envoy. What runs is read back from the admin page that the file names; where it names none,
// Envoy has to have been started after its file was written.
func NewEnvoy(p Place, c EnvoyConfig) *Target {
	return p.target(Envoy, func(h *seen) server {
		if c.PID != nil {
			c.PID = once(h, "pid", c.PID)
		}
		return envoyServer{host: h, c: c}
	})
}

type envoyServer struct {
	host *seen
	c    EnvoyConfig
}

// logPath is where an access log of Envoy is.
var logPath = regexp.MustCompile(`\bpath: *["']?([^\s"',}]+)`)

// value leaves a log where it is.
func (e envoyServer) value(_ context.Context, s Setting, k keyed, text string) (string, error) {
	if had := logPath.FindStringSubmatch(k.original.Text); had != nil && strings.HasSuffix(s.Key, "access_log") {
		text = strings.Replace(text, "path: access.log", "path: "+had[1], 1)
	}
	return text, nil
}

// product reads "envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL".
func (e envoyServer) product(ctx context.Context) (engine.Product, error) {
	out, err := host.Output(ctx, e.host, e.c.Argv[0], "--version")
	if err != nil {
		return engine.Product{}, err
	}
	_, text, _ := strings.Cut(out, "version: ")
	_, text, _ = strings.Cut(text, "/")
	v, err := engine.ParseVersion(text)
	if err != nil {
		return engine.Product{}, fmt.Errorf("envoy's version: %w", err)
	}
	return engine.Product{Name: "envoy", Version: v}, nil
}

// refuse answers where the setting's place is missing, or what would tell its effect.
func (e envoyServer) refuse(ctx context.Context, s Setting) (string, error) {
	text, entries, err := e.load(ctx)
	if err != nil {
		return err.Error(), nil // what is not understood is not edited
	}
	if _, err := envoy.Admin(text); err != nil && !errors.Is(err, envoy.ErrNoAdmin) {
		return err.Error(), nil
	}
	places := envoy.Places(entries, s.Key)
	for _, key := range places {
		if _, err := envoy.Edit(text, key, engine.Value{Text: s.Value}); err != nil {
			return fmt.Sprintf("%s: %v", e.c.Conf, err), nil
		}
	}
	if len(places) == 0 {
		return fmt.Sprintf("%s has no place for it", e.c.Conf), nil
	}
	return "", nil
}

func (e envoyServer) load(ctx context.Context) (string, []envoy.Entry, error) {
	text, err := getText(ctx, e.host, e.c.Conf)
	if err != nil {
		return "", nil, err
	}
	entries, err := envoy.Parse(text)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", e.c.Conf, err)
	}
	return text, entries, nil
}

func (e envoyServer) expand(ctx context.Context, s Setting) ([]string, error) {
	_, entries, err := e.load(ctx)
	return envoy.Places(entries, s.Key), err
}

// foresee implements asker.
func (e envoyServer) foresee(context.Context, []string) []host.Op {
	return []host.Op{{Run: &host.Command{Argv: []string{e.c.Argv[0], "--version"}}}, {Get: e.c.Conf}}
}

func (e envoyServer) slots(context.Context, Setting) ([]slot, error) { return []slot{e.slot(nil)}, nil }

func (e envoyServer) slot(*Record) slot {
	return fileSlot{host: e.host, path: e.c.Conf, format: envoyFormat{e.c.Conf}}
}

// settle tests the configuration, and starts Envoy with it.
func (e envoyServer) settle(ctx context.Context, _ Restart) (string, error) {
	if _, err := host.Output(ctx, e.host, append(slices.Clone(e.c.Argv), "--mode", "validate", "--log-level", "error")...); err != nil {
		return "", err
	}
	if before, err := e.process(ctx); err != nil || before == "" {
		return "", err
	}
	if e.c.Restart == nil {
		return "", errNoRestart
	}
	return "restarted", e.c.Restart(ctx)
}

// process is its pid and start.
func (e envoyServer) process(ctx context.Context) (string, error) {
	if e.c.PID == nil {
		return "", nil
	}
	pid, err := e.c.PID(ctx)
	if err != nil || pid == 0 {
		return "", err
	}
	start, err := startOf(ctx, e.host, pid)
	if err != nil || start == "" {
		return "", err
	}
	return fmt.Sprintf("%d:%s", pid, start), nil
}

// olderScript prints something where a process was started before a file was written. Envoy reads its file when it starts.
const olderScript = `awk -v now="$(date +%s.%N)" -v up="$(cut -d ' ' -f 1 /proc/uptime)" -v hz="$(getconf CLK_TCK)" -v written="$(stat -c %.Y -- "$2")" '{
	sub(/.*\) /, "")
	if (now - up + $20 / hz < written - 0.1) print "older"
}' "/proc/$1/stat"`

// check compares with what the running Envoy says that it was started with.
func (e envoyServer) check(ctx context.Context, r *Record) (string, error) {
	now, err := e.process(ctx)
	if err != nil || now == "" || r.current().Absent {
		return "", err
	}
	text, err := getText(ctx, e.host, e.c.Conf)
	if err != nil {
		return "", err
	}
	var want any
	if err := yaml.Decode([]byte("v:"+envoy.Space(r.current().Text)+r.current().Text), &want); err != nil {
		return "", fmt.Errorf("the value of %s: %w", r.Key, err)
	}
	running, err := once(e.host, "Envoy of "+e.c.Conf, func(ctx context.Context) (any, error) { return envoy.Running(ctx, e.host.Host, text) })(ctx)
	if errors.Is(err, envoy.ErrNoAdmin) {
		pid, _, _ := strings.Cut(now, ":")
		older, err := host.Output(ctx, e.host, "sh", "-c", olderScript, "sh", pid, e.c.Conf)
		if err == nil && older != "" {
			return "the running Envoy was started before " + e.c.Conf + " was written", nil
		}
		return "", err
	}
	if err != nil {
		return "", err
	}
	have := envoy.Dumped(running, r.Key)
	if !envoy.Covers(have, want.(map[string]any)["v"]) {
		return fmt.Sprintf("the running Envoy has %s instead", envoy.Short(have)), nil
	}
	return "", nil
}

// envoyFormat is the configuration's. What a key does not concern stays byte for byte.
type envoyFormat struct{ file string }

func (f envoyFormat) value(text, key string) (engine.Value, error) {
	entries, err := envoy.Parse(text)
	if err != nil {
		return engine.Value{}, fmt.Errorf("%s: %w", f.file, err)
	}
	parent, found := envoy.Find(entries, key)
	if parent == nil {
		return engine.Value{Absent: true}, fmt.Errorf("the place of %s: %w", key, engine.ErrGone)
	}
	if found == nil {
		return engine.Value{Absent: true}, nil
	}
	return engine.Value{Text: found.Value(text)}, nil
}

func (f envoyFormat) edited(text, key string, v engine.Value) (string, error) {
	text, err := envoy.Edit(text, key, v)
	if err != nil {
		return "", fmt.Errorf("%s: %w", f.file, err)
	}
	return text, nil
}

// envoyFile reads a tuning's fragment: keys with a comment line are settings, others only say where. An item with a key "name" means
// the one of that name, one without means each.
func (p *parser) envoyFile(text string) {
	entries, err := envoy.Parse(text)
	if err != nil {
		p.faults = append(p.faults, fmt.Errorf("%s: %w", p.file, err))
		return
	}
	p.envoyFragment(text, "", entries)
}

func (p *parser) envoyFragment(text, path string, entries []envoy.Entry) {
	for _, e := range entries {
		name := e.Name
		if e.Item && name == "1" {
			name = "*"
		}
		switch {
		case strings.Contains(e.Comment, "risk:") && strings.Contains(e.Value(text), "\n"):
			p.fault(e.Line, "the value of %s must stand on its line", name)
		case strings.Contains(e.Comment, "risk:") && path == "":
			p.fault(e.Line, "%s must be inside of something", name)
		case strings.Contains(e.Comment, "risk:"):
			p.add(e.Line, path+name, e.Value(text), e.Comment, false)
		case len(e.Children) > 0:
			p.envoyFragment(text, path+name+envoy.Separator, e.Children)
		case name != "name":
			p.fault(e.Line, "%s has no comment line above it: why; since VERSION; restart: ...; risk: ...", name)
		}
	}
}
