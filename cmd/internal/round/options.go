// Package round plays one round: it prepares what is measured, puts load on it (a scenario of isukit's, or a benchmark that somebody
// else wrote), collects what hosts, logs and databases know of it, judges, and makes the record. Options and a project go in, a record
// comes out. Flags, and what is printed, are left to the commands.
package round

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"isukit/app/dataset"
	"isukit/bench/load"
	"isukit/bench/result"
	"isukit/bench/scenario"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/host/machine"
	"isukit/infra/redact"
	"isukit/infra/topology"
)

// Options are what a user may say about a round of the portal.
type Options struct {
	Topology string
	Driver   string // "" is a run that leaves nothing
	CpuScale float64
	Engine   string
	Proxy    string
	Duration time.Duration
	Users    int
	Shape    string
	Arrivals string
	Mix      string // who comes
	// Objective limits latency and errors in a search for the capacity.
	Objective load.Objective
	Seed      uint64
	Scale     string
	Results   string
	StateDir  string
	LocalDir  string
	App       string
	Hits      bool
	// GeneratorCPUs are the CPUs of the load generator, for example "0-1,3"; "" is all.
	GeneratorCPUs string
	// Capture is the file that takes the generator's traffic, captureShare the part of the connections that goes there.
	Capture      string
	CaptureShare float64
	// Keylog is the file that takes the keys of the TLS connections.
	Keylog string
	// Tune are names of tunings, beyond those of the topology, and acceptRisk those whose high risk is taken.
	Tune, AcceptRisk []string
	// Faults are those of links of the lab's hosts during the load: "s2 at=5s for=3s loss=5%".
	Faults []string
	// Patience multiplies the limits that a slow machine misses: of an initialize, of a role's start, of a response.
	Patience float64
}

// CheckPatience is for what --patience says.
func CheckPatience(factor float64) error {
	if !(factor > 0 && factor <= 100) {
		return fmt.Errorf("--patience %v must be greater than 0 and at most 100", factor)
	}
	return nil
}

// Times is a limit, or for how long it is waited with a patience.
func Times(patience float64, limit time.Duration) time.Duration {
	return time.Duration(patience * float64(limit))
}

func (o Options) faults() []error {
	faults := []error{CheckPatience(o.Patience), CheckCPUScale(o.CpuScale, o.Driver), CheckScale(o.Scale), ofFlag("--mix", scenario.Mix(o.Mix).Validate())}
	_, err := parseCPUs(o.GeneratorCPUs)
	faults = append(faults, ofFlag("--generator-cpus", err))
	_, err = parseArrivals(o.Arrivals)
	faults = append(faults, ofFlag("--arrivals", err))
	shape, err := parseShape(o.shapeText())
	faults = append(faults, ofFlag("--shape", err))
	if o.Duration < time.Second {
		faults = append(faults, fmt.Errorf("--duration %v is shorter than a second", o.Duration))
	}
	if o.CaptureShare <= 0 || o.CaptureShare > 1 {
		faults = append(faults, fmt.Errorf("--capture-share %v must be greater than 0 and at most 1", o.CaptureShare))
	}
	if o.Users < 0 {
		faults = append(faults, fmt.Errorf("--users %d is negative", o.Users))
	}
	if o.Users > 0 && o.Shape != "grow" {
		faults = append(faults, fmt.Errorf("--users %d and --shape %s cannot be combined", o.Users, o.Shape))
	}
	if o.Objective.P99 <= 0 || o.Objective.MaxErrorRatio < 0 || o.Objective.MaxErrorRatio > 1 {
		faults = append(faults, fmt.Errorf("--objective-p99 %v must be greater than 0, and --objective-errors %v from 0 to 1", o.Objective.P99, o.Objective.MaxErrorRatio))
	}
	// A user has a connection to the web and to the api role; the rest is for everything else.
	if err := load.RaiseFileLimit(2*shape.maxUsers + 200); err != nil {
		faults = append(faults, fmt.Errorf("%d users: %w", shape.maxUsers, err))
	}
	return faults
}

// ofFlag says of which flag an error is; nil stays nil.
func ofFlag(flag string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", flag, err)
	}
	return err
}

// CheckScale is for what --scale says.
func CheckScale(scale string) error { return ofFlag("--scale", dataset.Scale(scale).Validate()) }

// Spec checks the options and returns what to start.
func (o Options) Spec() (infra.Spec, error) {
	faults := o.faults()
	top, err := o.declared()
	faults = append(faults, err)
	if top != nil && o.Keylog != "" && !speaksTLS(top) {
		faults = append(faults, fmt.Errorf("--keylog: no proxy of the topology %s speaks TLS (nginx-tls and envoy-tls do)", top.Name))
	}
	if top != nil {
		_, err := FindTunings(o.tunings(infra.Spec{Topology: top}), o.AcceptRisk)
		_, faultsErr := o.linkFaults(top)
		faults = append(faults, err, faultsErr)
	}
	if err := errors.Join(faults...); err != nil {
		return infra.Spec{}, ui.UsageError(err, ui.HintOf(err, `see "isukit round --help"`))
	}
	app, err := Beside(o.App, "isukit-app")
	if err != nil {
		return infra.Spec{}, err
	}
	return infra.Spec{
		Topology: top, StateDir: o.StateDir, LocalDir: LocalDir(o.LocalDir), AppBinary: app, Scale: o.Scale, Seed: o.Seed,
		HealthLimit: Times(o.Patience, infra.HealthLimit),
	}, nil
}

// MixNames are what --mix takes.
func MixNames() []string {
	var names []string
	for _, m := range scenario.Mixes() {
		names = append(names, string(m))
	}
	return names
}

func speaksTLS(top *topology.Topology) bool {
	return slices.ContainsFunc(top.Instances, func(i topology.Instance) bool { return i.Role == topology.Proxy && i.TLS })
}

// CheckResults finds out before anything starts whether the record can be kept where the user wants it.
func CheckResults(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return ui.UsageError(fmt.Errorf("--results: %w", err), "name a directory that isukit can create and write to")
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return ui.UsageError(fmt.Errorf("--results: %w", err), "name a directory that isukit can write to")
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

func (o Options) declared() (*topology.Topology, error) {
	top, err := FindTopology(o.Topology)
	if err != nil {
		return nil, err
	}
	return WithServers(top, o.Engine, o.Proxy)
}

const maxCPU = 4096

// parseCPUs reads a list such as "0-1,3" and returns the CPUs in order, each once. A CPU that this process may not use is an error.
func parseCPUs(text string) ([]int, error) {
	if text == "" {
		return nil, nil
	}
	allowed, err := machine.UsableCPUs()
	if err != nil {
		return nil, fmt.Errorf("read the allowed CPUs: %w", err)
	}
	var cpus []int
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		low, err1 := strconv.Atoi(from)
		high, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || low < 0 || high < low || high >= maxCPU {
			return nil, fmt.Errorf("%q is not a list of CPUs such as 0-1,3", text)
		}
		for cpu := low; cpu <= high; cpu++ {
			if !slices.Contains(allowed, cpu) {
				return nil, fmt.Errorf("CPU %d does not exist, or this process may not use it", cpu)
			}
			cpus = append(cpus, cpu)
		}
	}
	slices.Sort(cpus)
	return slices.Compact(cpus), nil
}

// Beside finds a program of isukit: at the given path, or in the directory of the running binary.
func Beside(given, name string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	me, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(me), name), nil
}

// LocalDir is --local-dir, or otherwise the .local of a checkout: here, or above the binary.
func LocalDir(given string) string {
	if given != "" {
		return given
	}
	candidates := []string{".local"}
	if me, err := os.Executable(); err == nil {
		candidates = append(candidates, filepath.Join(filepath.Dir(filepath.Dir(me)), ".local"))
	}
	for _, dir := range candidates {
		if abs, err := filepath.Abs(dir); err == nil {
			if st, err := os.Stat(abs); err == nil && st.IsDir() {
				return abs
			}
		}
	}
	return ""
}

// Keep lays a round down without the secrets that isukit holds: those in its environment, and those that the caller names.
func Keep(dir string, r *result.Round, secrets []string, files ...result.File) (string, error) {
	if err := MaskValues(r, secrets...); err != nil {
		return "", err
	}
	return result.Write(dir, r, files...)
}

// MaskValues takes the secrets in isukit's environment, and those that the caller names, out of what a pointer leads to.
func MaskValues(v any, secrets ...string) error {
	return redact.Values(v, append(redact.Environment(os.Environ()), secrets...)...)
}

// Mask returns text without secrets: those of known names and shapes, and those in isukit's environment.
func Mask(text string) string {
	return redact.Text(redact.Known(text, redact.Environment(os.Environ())...))
}
