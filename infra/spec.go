package infra

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"isukit/infra/topologies"
	"isukit/infra/topology"
)

// Spec is what a Site makes.
type Spec struct {
	Topology  *topology.Topology
	StateDir  string // for run directories and prepared data; made when it is not there
	LocalDir  string // where make mysql and make envoy put what they fetch; "" for none
	AppBinary string // isukit-app
	Scale     string // of the dataset
	Seed      uint64 // of the dataset
	// KeepDataset has Apply take Scale and Seed from what is up, where something is: its databases keep their rows.
	KeepDataset bool
	// HealthLimit is how long a role may take to become healthy; 0 is the constant of that name.
	HealthLimit time.Duration
	// Progress is called with a few words about each step; nil: not called.
	Progress func(step string) `json:"-"`
}

// HealthLimit is how long a role may take to become healthy, unless a Spec says otherwise.
const HealthLimit = time.Minute

func (s Spec) healthLimit() time.Duration { return cmp.Or(s.HealthLimit, HealthLimit) }

func (s Spec) progress(format string, args ...any) {
	if s.Progress != nil {
		s.Progress(fmt.Sprintf(format, args...))
	}
}

// Shipped returns a topology that isukit ships, by name.
func Shipped(name string) (*topology.Topology, error) {
	text, err := topologies.Files.ReadFile(name + ".yaml")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, fmt.Errorf("topology %q does not exist (have %s)", name, strings.Join(ShippedNames(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("topology %q: %w", name, err)
	}
	return topology.Parse(name+".yaml", text)
}

// ShippedNames are the names that Shipped knows.
func ShippedNames() []string {
	files, err := fs.Glob(topologies.Files, "*.yaml")
	if err != nil {
		panic("infra: a constant pattern is wrong: " + err.Error())
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(path.Base(f), ".yaml"))
	}
	slices.Sort(names) // files are in the order of whole names: envoy-tls.yaml before envoy.yaml
	return names
}
