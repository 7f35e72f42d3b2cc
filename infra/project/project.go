// Package project reads isukit.yaml, the file in an app's repository that describes its rounds: hosts, steps, logs, databases, profiles,
// and the benchmark. It parses and checks the text; Probe inspects a host and writes a first one. Other packages carry it out.
package project

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"isukit/infra/topology"
	inyaml "isukit/input/yaml"
)

// FileName is what the file is called.
const FileName = "isukit.yaml"

// MaxFileBytes bounds what Parse reads.
const MaxFileBytes = 1 << 20

// Project is an isukit.yaml. Where a host is named, "" is the only host there is.
type Project struct {
	Name string `yaml:"name"`
	// Hosts are those of the app; none is this machine, called "local".
	Hosts []Host `yaml:"hosts,omitempty"`
	// Driver makes hosts without an address real: "" is this machine, "lab" those of isukit lab.
	Driver string `yaml:"driver,omitempty"`
	// Topology is a topology file that tells the hosts where Hosts does not, or a name for the record.
	Topology string `yaml:"topology,omitempty"`
	// Build, Deploy and Restart come before the benchmark, in this order.
	Build   []Step `yaml:"build,omitempty"`
	Deploy  []Step `yaml:"deploy,omitempty"`
	Restart []Step `yaml:"restart,omitempty"`
	Logs    Logs   `yaml:"logs,omitempty"`
	// Routes are patterns of access.ParsePattern.
	Routes    []string   `yaml:"routes,omitempty"`
	Databases []Database `yaml:"databases,omitempty"`
	// Replicas are compared after every round.
	Replicas Replicas `yaml:"replicas,omitempty"`
	// Services are what runs on the hosts for the app, and what isukit may tune.
	Services  []ServicesOn `yaml:"services,omitempty"`
	Profiles  Profiles     `yaml:"profiles,omitempty"`
	Benchmark Benchmark    `yaml:"benchmark"`
	// Facts are commands whose output becomes a fact, by its key.
	Facts  []FactCommand `yaml:"facts,omitempty"`
	Notify Notify        `yaml:"notify,omitempty"`
	Final  Final         `yaml:"final,omitempty"`
	// Roles are the app's services, in the order in which they start; Topologies place them.
	Roles      Roles      `yaml:"roles,omitempty"`
	Topologies Placements `yaml:"topologies,omitempty"`
	// Portal are the topologies where the roles are the portal's, all of which isukit makes; there are neither Roles nor Topologies then.
	Portal []*topology.Topology `yaml:"-"`
}

// Host is a machine of the app.
type Host struct {
	Name string `yaml:"name"`
	// Address is user@host or an alias of ssh_config; "" is this machine.
	Address string `yaml:"address,omitempty"`
	// CPUs, Memory and Link are for hosts of the portal, as in the file of a topology.
	CPUs   any `yaml:"cpus,omitempty"`
	Memory any `yaml:"memory,omitempty"`
	Link   any `yaml:"link,omitempty"`
	// Roles are what runs there, for readers of the record.
	Roles []string `yaml:"roles,omitempty"`
}

// Step is one command, or one file to copy.
type Step struct {
	// Host and Hosts say where; without them it is the machine that isukit runs on, in the project's directory.
	Host  string   `yaml:"host,omitempty"`
	Hosts []string `yaml:"hosts,omitempty"`
	Run   string   `yaml:"run,omitempty"`
	// Copy is a file of this machine that is put to the path To of the hosts, with its mode.
	Copy string `yaml:"copy,omitempty"`
	To   string `yaml:"to,omitempty"`
	// Timeout ends a command that hangs; 0 is DefaultStepTimeout.
	Timeout Duration `yaml:"timeout,omitempty"`
}

// DefaultStepTimeout is how long a step may take when it does not say.
const DefaultStepTimeout = 5 * time.Minute

// Logs are the logs to digest.
type Logs struct {
	Access []Log `yaml:"access,omitempty"`
	Slow   []Log `yaml:"slow,omitempty"`
}

// Log is one log on one host.
type Log struct {
	Host string `yaml:"host,omitempty"`
	File string `yaml:"file"`
	// Format is one of access.Options; "" detects it from the lines.
	Format string `yaml:"format,omitempty"`
	// Reopen makes the server reopen its log, which is renamed before a round; without it, the log stays and is read from its earlier end.
	Reopen string `yaml:"reopen,omitempty"`
}

// Database is a server of MySQL or MariaDB.
type Database struct {
	Host string `yaml:"host,omitempty"`
	// Client is the command that takes SQL on its standard input, for example "mysql -uroot isuconp"; it must not ask for a password.
	Client string `yaml:"client"`
	// Schema is the database in which examples are explained; "" takes what the log tells.
	Schema string `yaml:"schema,omitempty"`
	// Cnf is the option file that gets the settings of tunings; "" is one in the last directory that the server reads.
	Cnf string `yaml:"cnf,omitempty"`
	// Unit is the unit of systemd that runs the server; "" is the one that its process belongs to.
	Unit string `yaml:"unit,omitempty"`
}

// Replicas are databases that the app writes to, and that must hold the same rows.
type Replicas struct {
	// Mode is how the app writes to them, a mode of app/fanout; "" is ordered.
	Mode string `yaml:"mode,omitempty"`
	// Databases are in the app's order: the first one executes first. Without any, they are those of a role that a topology has on several hosts.
	Databases []Replica `yaml:"databases"`
}

// Replica is one of several databases with the same tables.
type Replica struct {
	Name string `yaml:"name"`
	// DSNFile holds one DSN as go-sql-driver reads it, with an address that this machine reaches. It is relative to the project's directory.
	DSNFile string `yaml:"dsn_file"`
}

// Profiles are what to record during the load.
type Profiles struct {
	Pprof []Pprof `yaml:"pprof,omitempty"`
	Perf  []Perf  `yaml:"perf,omitempty"`
}

// Pprof is an app that serves net/http/pprof.
type Pprof struct {
	Host string `yaml:"host,omitempty"`
	// URL is the address as seen from the host, as http://localhost:6060; /debug/pprof/ is appended.
	URL string `yaml:"url"`
	// Kinds are any of cpu, heap, goroutine, block, mutex; none is cpu and heap.
	Kinds []string `yaml:"kinds,omitempty"`
	// Seconds is how long the CPU profile takes; 0 is 20.
	Seconds int `yaml:"seconds,omitempty"`
}

// Perf is a host whose processes perf records.
type Perf struct {
	Host    string `yaml:"host,omitempty"`
	Seconds int    `yaml:"seconds,omitempty"`
	// Sudo runs perf as root.
	Sudo bool `yaml:"sudo,omitempty"`
}

// Benchmark is how the score comes about.
type Benchmark struct {
	Command string `yaml:"command,omitempty"`
	// Dir is where it runs; "" is the project's directory.
	Dir     string   `yaml:"dir,omitempty"`
	Timeout Duration `yaml:"timeout,omitempty"`
	// External: isukit does not start it; isukit observe waits for it.
	External bool `yaml:"external,omitempty"`
	// Initialize is the request with which an external benchmark begins: "POST /initialize", or "/initialize" for any method.
	Initialize string `yaml:"initialize,omitempty"`
	Score      Rule   `yaml:"score,omitempty"`
	Pass       Rule   `yaml:"pass,omitempty"`
	Fail       Rule   `yaml:"fail,omitempty"`
	Messages   Rule   `yaml:"messages,omitempty"`
}

// DefaultTimeout is how long a benchmark may take when it does not say.
const DefaultTimeout = 10 * time.Minute

// Rule finds something in a benchmark's output.
type Rule struct {
	JSON   string `yaml:"json,omitempty"`
	Regexp string `yaml:"regexp,omitempty"`
}

// FactCommand is a command whose first line of output is a fact.
type FactCommand struct {
	Key  string `yaml:"key"`
	Host string `yaml:"host,omitempty"`
	Run  string `yaml:"run"`
}

// Notify is where summaries are posted.
type Notify struct {
	// WebhookEnv is the environment variable with the address: it is a secret, and this file is committed.
	WebhookEnv string `yaml:"webhook_env,omitempty"`
}

// Final is what the end of the day wants besides.
type Final struct {
	// Off switches measuring and logs off, in order.
	Off []Step `yaml:"off,omitempty"`
	// Services must be enabled, so that they start after a reboot.
	Services []ServicesOn `yaml:"services,omitempty"`
	// Check must succeed after everything was restarted: the data is still there.
	Check []Step `yaml:"check,omitempty"`
	// Rounds is how many confirming rounds are run; 0 is 3.
	Rounds int `yaml:"rounds,omitempty"`
}

// ServicesOn are systemd units of a host.
type ServicesOn struct {
	Host  string   `yaml:"host,omitempty"`
	Units []string `yaml:"units,omitempty"`
	// Conf is the main configuration file of an nginx or Envoy that no unit runs.
	Conf string `yaml:"conf,omitempty"`
}

// Duration is a time.Duration that is written "90s".
type Duration time.Duration

// UnmarshalYAML implements yaml.BytesUnmarshaler.
func (d *Duration) UnmarshalYAML(text []byte) error {
	parsed, err := time.ParseDuration(strings.Trim(strings.TrimSpace(string(text)), `"'`))
	if err != nil || parsed <= 0 {
		return fmt.Errorf("%q is not a duration such as 90s", strings.TrimSpace(string(text)))
	}
	*d = Duration(parsed)
	return nil
}

// MarshalYAML implements yaml.BytesMarshaler.
func (d Duration) MarshalYAML() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Or is d, or other when d is zero.
func (d Duration) Or(other time.Duration) time.Duration {
	if d == 0 {
		return other
	}
	return time.Duration(d)
}

// Local is the name of the machine that isukit runs on when the project names no hosts.
const Local = "local"

// Parse reads a project whose topology is only for the record. The error contains all faults of a file that is YAML.
func Parse(text []byte) (*Project, error) {
	return ParseWith(text, Outside{
		Hosts: func(string) ([]Host, error) { return nil, nil },
		Rule:  func(Rule) error { return nil },
	})
}

// Outside is what others know about a project.
type Outside struct {
	// Hosts tells the hosts of a topology, or none, for a project that names none itself.
	Hosts func(topology string) ([]Host, error)
	// Rule is the error of a rule, from the package that applies it.
	Rule func(Rule) error
}

// ParseWith is Parse with what others know.
func ParseWith(text []byte, outside Outside) (*Project, error) {
	if len(text) > MaxFileBytes {
		return nil, fmt.Errorf("the file has %d bytes; a project has at most %d", len(text), MaxFileBytes)
	}
	p := &Project{}
	if err := inyaml.Decode(text, p, yaml.DisallowUnknownField()); err != nil {
		return nil, err
	}
	if len(p.Hosts) == 0 && p.Topology != "" {
		var err error
		if p.Hosts, err = outside.Hosts(p.Topology); err != nil {
			return nil, fmt.Errorf("topology: %w", err)
		}
	}
	if len(p.Hosts) == 0 {
		p.Hosts = []Host{{Name: Local}}
	}
	if err := errors.Join(p.Validate(), p.Benchmark.checkRules(outside.Rule), p.readRoles(text)); err != nil {
		return nil, err
	}
	if p.Replicas.Mode != "" && !p.Replicates() {
		return nil, errors.New("replicas: it names no databases, and no topology has a role of MySQL on several hosts")
	}
	p.fillHosts()
	return p, nil
}

// nameExpr is what names are made of: they become parts of paths.
var nameExpr = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// Validate tells everything that is wrong with the project.
func (p *Project) Validate() error {
	c := &checker{project: p}
	switch {
	case p.Name == "":
		c.fault("name is missing: add a line such as name: shop")
	case !nameExpr.MatchString(p.Name):
		c.fault("name %q: want letters, digits, '-' and '_', at most 64", p.Name)
	}
	c.want(p.Driver == "" || p.Driver == "lab", "driver %q: want lab, or none", p.Driver)
	seen := map[string]bool{}
	for _, h := range p.Hosts {
		if !nameExpr.MatchString(h.Name) || seen[h.Name] {
			c.fault("host name %q: want letters, digits, '-' and '_', each once", h.Name)
		}
		seen[h.Name] = true
	}
	c.steps("build", p.Build)
	c.steps("deploy", p.Deploy)
	c.steps("restart", p.Restart)
	c.steps("final.off", p.Final.Off)
	c.steps("final.check", p.Final.Check)
	c.logs("logs.access", p.Logs.Access)
	c.logs("logs.slow", p.Logs.Slow)
	for i, d := range p.Databases {
		c.host(fmt.Sprintf("databases[%d]", i), d.Host)
		c.want(d.Client != "", "databases[%d] has no client, such as: mysql -uroot", i)
		c.want(d.Cnf == "" || path.IsAbs(d.Cnf), "databases[%d]: cnf must be an absolute path, not %q", i, d.Cnf)
		c.want(d.Unit == "" || unitExpr.MatchString(d.Unit), "databases[%d]: %q is not the name of a unit", i, d.Unit)
	}
	c.replicas()
	c.profiles()
	for i, f := range p.Facts {
		c.host(fmt.Sprintf("facts[%d]", i), f.Host)
		c.want(f.Key != "" && f.Run != "", "facts[%d]: want a key and a command to run", i)
	}
	c.services("services", p.Services)
	c.services("final.services", p.Final.Services)
	c.want(p.Final.Rounds >= 0 && p.Final.Rounds <= 100, "final.rounds is %d: want 0 to 100", p.Final.Rounds)
	c.benchmark()
	return errors.Join(c.errs...)
}

type checker struct {
	project *Project
	errs    []error
}

func (c *checker) fault(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (c *checker) want(ok bool, format string, args ...any) {
	if !ok {
		c.fault(format, args...)
	}
}

// host wants a name that is there; "" will do where there is one host only.
func (c *checker) host(where, name string) {
	if name == "" {
		c.want(len(c.project.Hosts) == 1, "%s names no host, and there are %d", where, len(c.project.Hosts))
		return
	}
	c.want(slices.ContainsFunc(c.project.Hosts, func(h Host) bool { return h.Name == name }), "%s: host %q not found", where, name)
}

func (c *checker) steps(what string, steps []Step) {
	for i, s := range steps {
		where := fmt.Sprintf("%s[%d]", what, i)
		c.want((s.Run == "") != (s.Copy == ""), "%s: want either run or copy", where)
		c.want((s.Copy == "") == (s.To == ""), "%s: copy and to belong together", where)
		c.want(s.To == "" || path.IsAbs(s.To), "%s: to must be an absolute path, not %q", where, s.To)
		for _, h := range append(slices.Clone(s.Hosts), s.Host) {
			if h != "" {
				c.host(where, h)
			}
		}
		c.want(s.Copy == "" || s.Host != "" || len(s.Hosts) > 0, "%s: copy where to? name a host", where)
	}
}

func (c *checker) logs(what string, logs []Log) {
	for i, l := range logs {
		where := fmt.Sprintf("%s[%d]", what, i)
		c.host(where, l.Host)
		c.want(path.IsAbs(l.File), "%s: file must be an absolute path, not %q", where, l.File)
	}
}

func (c *checker) replicas() {
	r := c.project.Replicas
	c.want(len(r.Databases) != 1, "replicas: want two databases or more, each with name and dsn_file; or mode alone, for a role of MySQL that topologies have on several hosts")
	seen := map[string]bool{}
	for i, d := range r.Databases {
		if !nameExpr.MatchString(d.Name) || seen[d.Name] {
			c.fault("replicas.databases[%d]: name %q: want letters, digits, '-' and '_', each once", i, d.Name)
		}
		seen[d.Name] = true
		c.want(d.DSNFile != "", "replicas.databases[%d] has no dsn_file: a file with one DSN, such as user:password@tcp(10.0.0.1:3306)/app", i)
	}
}

// unitExpr is what names of units are made of: they become parts of paths.
var unitExpr = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:_.@-]{0,200}$`)

func (c *checker) services(what string, list []ServicesOn) {
	for i, s := range list {
		where := fmt.Sprintf("%s[%d]", what, i)
		c.host(where, s.Host)
		c.want(len(s.Units) > 0 || s.Conf != "", "%s: want units, or conf", where)
		c.want(s.Conf == "" || path.IsAbs(s.Conf), "%s: conf must be an absolute path, not %q", where, s.Conf)
		for _, unit := range s.Units {
			c.want(unitExpr.MatchString(unit), "%s: %q is not the name of a unit", where, unit)
		}
	}
}

// pprofKinds are the profiles that net/http/pprof serves and a report shows.
var pprofKinds = []string{"cpu", "heap", "goroutine", "block", "mutex"}

func (c *checker) profiles() {
	for i, p := range c.project.Profiles.Pprof {
		where := fmt.Sprintf("profiles.pprof[%d]", i)
		c.host(where, p.Host)
		u, err := url.Parse(p.URL)
		c.want(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "", "%s: url %q is not http://HOST:PORT", where, p.URL)
		for _, k := range p.Kinds {
			c.want(slices.Contains(pprofKinds, k), "%s: no kind %q (have %s)", where, k, strings.Join(pprofKinds, ", "))
		}
		c.want(p.Seconds >= 0 && p.Seconds <= 600, "%s: seconds is %d: want 0 to 600", where, p.Seconds)
	}
	for i, p := range c.project.Profiles.Perf {
		c.host(fmt.Sprintf("profiles.perf[%d]", i), p.Host)
		c.want(p.Seconds >= 0 && p.Seconds <= 600, "profiles.perf[%d]: seconds is %d: want 0 to 600", i, p.Seconds)
	}
}

var requestExpr = regexp.MustCompile(`^([A-Z]+ )?/\S*$`)

func (c *checker) benchmark() {
	b := c.project.Benchmark
	c.want((b.Command != "") != b.External, "benchmark: want either a command or external: true")
	c.want(b.Initialize == "" || requestExpr.MatchString(b.Initialize), "benchmark.initialize: %q is not like POST /initialize or /initialize", b.Initialize)
}

func (b Benchmark) checkRules(check func(Rule) error) error {
	var errs []error
	for _, one := range []struct {
		name string
		rule Rule
	}{{"score", b.Score}, {"pass", b.Pass}, {"fail", b.Fail}, {"messages", b.Messages}} {
		if err := check(one.rule); err != nil {
			errs = append(errs, fmt.Errorf("benchmark.%s: %w", one.name, err))
		}
	}
	return errors.Join(errs...)
}

// fillHosts writes out the only host where none is named.
func (p *Project) fillHosts() {
	only := p.Hosts[0].Name
	fill := func(name *string) {
		if *name == "" {
			*name = only
		}
	}
	for i := range p.Logs.Access {
		fill(&p.Logs.Access[i].Host)
	}
	for i := range p.Logs.Slow {
		fill(&p.Logs.Slow[i].Host)
	}
	for i := range p.Databases {
		fill(&p.Databases[i].Host)
	}
	for i := range p.Profiles.Pprof {
		fill(&p.Profiles.Pprof[i].Host)
	}
	for i := range p.Profiles.Perf {
		fill(&p.Profiles.Perf[i].Host)
	}
	for i := range p.Facts {
		fill(&p.Facts[i].Host)
	}
	for i := range p.Services {
		fill(&p.Services[i].Host)
	}
	for i := range p.Final.Services {
		fill(&p.Final.Services[i].Host)
	}
}

// Where are the hosts of a step; none is the machine that isukit runs on.
func (s Step) Where() []string {
	if s.Host != "" {
		return append([]string{s.Host}, s.Hosts...)
	}
	return s.Hosts
}
