package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"isukit/app/dataset"
	"isukit/bench/load"
	"isukit/bench/scenario"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/topology"
)

// faults are those of the options by themselves.
func (o roundOptions) faults() (faults []error) {
	if o.duration < time.Second {
		faults = append(faults, fmt.Errorf("--duration %v is shorter than a second", o.duration))
	}
	if o.captureShare <= 0 || o.captureShare > 1 {
		faults = append(faults, fmt.Errorf("--capture-share %v is not above 0 and at most 1", o.captureShare))
	}
	if err := checkCPUScale(o.cpuScale, o.driver); err != nil {
		faults = append(faults, err)
	}
	if o.users < 0 {
		faults = append(faults, fmt.Errorf("--users %d is negative", o.users))
	}
	if err := dataset.Scale(o.scale).Validate(); err != nil {
		faults = append(faults, fmt.Errorf("--scale: %w", err))
	}
	if _, err := parseCPUs(o.generatorCPUs); err != nil {
		faults = append(faults, fmt.Errorf("--generator-cpus: %w", err))
	}
	shape, err := parseShape(o.shapeText())
	if err != nil {
		faults = append(faults, fmt.Errorf("--shape: %w", err))
	}
	if o.users > 0 && o.shape != "grow" {
		faults = append(faults, fmt.Errorf("--users %d and --shape %s are two shapes", o.users, o.shape))
	}
	if o.objective.P99 <= 0 || o.objective.MaxErrorRatio < 0 || o.objective.MaxErrorRatio > 1 {
		faults = append(faults, fmt.Errorf("--objective-p99 %v must be above 0, --objective-errors %v from 0 to 1", o.objective.P99, o.objective.MaxErrorRatio))
	}
	if err := scenario.Mix(o.mix).Validate(); err != nil {
		faults = append(faults, fmt.Errorf("--mix: %w", err))
	}
	if _, err := parseArrivals(o.arrivals); err != nil {
		faults = append(faults, fmt.Errorf("--arrivals: %w", err))
	}
	// A user has a connection to the web and to the api role; the rest is for everything else.
	if err := load.RaiseFileLimit(2*shape.maxUsers + 200); err != nil {
		faults = append(faults, fmt.Errorf("%d users: %w", shape.maxUsers, err))
	}
	return faults
}

// spec checks the options and says what is to be started.
func (o roundOptions) spec() (infra.Spec, error) {
	faults := o.faults()
	top, err := o.declared()
	if err != nil {
		faults = append(faults, err)
	}
	if top != nil && o.keylog != "" && !speaksTLS(top) {
		faults = append(faults, fmt.Errorf("--keylog: no proxy of the topology %s speaks TLS (nginx-tls and envoy-tls do)", top.Name))
	}
	if top != nil {
		if _, err := findTunings(o.tunings(infra.Spec{Topology: top}), o.acceptRisk); err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) > 0 {
		err := errors.Join(faults...)
		return infra.Spec{}, ui.UsageError(err, ui.HintOf(err, `see "isukit round --help"`))
	}
	app, err := besideMe(o.app, "isukit-app")
	if err != nil {
		return infra.Spec{}, err
	}
	return infra.Spec{
		Topology: top, StateDir: o.stateDir, LocalDir: findLocalDir(o.localDir), AppBinary: app, Scale: o.scale, Seed: o.seed,
	}, nil
}

// mixNames are what --mix takes.
func mixNames() []string {
	var names []string
	for _, m := range scenario.Mixes() {
		names = append(names, string(m))
	}
	return names
}

// speaksTLS reports whether the load reaches the web over TLS.
func speaksTLS(top *topology.Topology) bool {
	return slices.ContainsFunc(top.Instances, func(i topology.Instance) bool { return i.Role == topology.Proxy && i.TLS })
}

// declared is the topology of the round, with --engine and --proxy.
func (o roundOptions) declared() (*topology.Topology, error) {
	top, err := findTopology(o.topology)
	if err != nil {
		return nil, err
	}
	if top, err = withEngine(top, o.engine); err != nil {
		return nil, err
	}
	return withProxy(top, o.proxy)
}

// withProxy is the topology with proxies of the kind that --proxy names.
func withProxy(top *topology.Topology, kind string) (*topology.Topology, error) {
	if kind == "" {
		return top, nil
	}
	top, err := top.WithKind(topology.Proxy, topology.Kind(kind))
	if err != nil {
		return nil, fmt.Errorf("--proxy: %w", err)
	}
	return top, nil
}

// withEngine is the topology with databases of the engine that --engine names.
func withEngine(top *topology.Topology, engine string) (*topology.Topology, error) {
	if engine == "auto" || engine == "" {
		return top, nil
	}
	top, err := top.WithKind(topology.DB, topology.Kind(engine))
	if err != nil {
		return nil, fmt.Errorf("--engine: %w", err)
	}
	return top, nil
}

// maxTopologyBytes bounds a topology file.
const maxTopologyBytes = 1 << 20

// findTopology takes what looks like a path for a file, anything else for the name of a shipped topology.
func findTopology(name string) (*topology.Topology, error) {
	if !strings.ContainsAny(name, "./") {
		top, err := infra.Shipped(name)
		if hint := ui.DidYouMean(name, infra.ShippedNames()); err != nil && hint != "" {
			err = ui.UsageError(err, hint)
		}
		return top, err
	}
	text, err := ui.ReadRegular(name, maxTopologyBytes)
	if err != nil {
		return nil, err
	}
	return topology.Parse(name, text)
}

// checkResults finds out before anything starts whether the record can be kept where the user wants it.
func checkResults(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return ui.UsageError(fmt.Errorf("--results: %w", err), "name a directory that can be made and written")
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return ui.UsageError(fmt.Errorf("--results: %w", err), "name a directory that can be written")
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// besideMe finds a program of isukit: where the user says, or beside the running one.
func besideMe(given, name string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	me, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(me), name), nil
}

// findLocalDir is what --local-dir says, or else .local where a checkout has it: here, or above the binary.
func findLocalDir(given string) string {
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
