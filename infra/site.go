package infra

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"isukit/infra/dbserver"
	"isukit/infra/host"
	"isukit/infra/plan"
	"isukit/infra/render"
	"isukit/infra/topology"
	"isukit/infra/tune"
)

// inventoryFile is on every host, in its directory: what isukit has made there, and what for.
const inventoryFile = "inventory.json"

const inventoryFormat = 1

// inventory is what one host keeps. It holds the site's secrets, so its mode is 0600.
type inventory struct {
	Format    int         `json:"format"`
	Goal      *deployment `json:"goal"`               // what the items are for
	Complete  bool        `json:"complete"`           // the deployment was reached
	Previous  *deployment `json:"previous,omitempty"` // the last one that was, while another is under way
	ChangedAt time.Time   `json:"changed_at"`
	Secrets   secrets     `json:"secrets"`
	// Items are in the order in which they were made.
	Items []plan.Item `json:"items"`
}

type deployment struct {
	Topology *topology.Topology `json:"topology"`
	Hash     string             `json:"hash"` // of the topology as it was declared
	Scale    string             `json:"scale"`
	Seed     uint64             `json:"seed"`
	App      string             `json:"app"` // hash of the app's binary
	// Ports are where instances listen, with their debug ports, where hosts share an address.
	Ports map[string][2]int `json:"ports,omitempty"`
}

type secrets struct {
	SessionKey  string `json:"session_key"`
	WorkerToken string `json:"worker_token"`
	AppPassword string `json:"app_password"`
	Replication string `json:"replication"`
}

func newSecrets() secrets {
	return secrets{rand.Text() + rand.Text(), rand.Text(), rand.Text(), rand.Text()}
}

func (s secrets) list() []string {
	return []string{s.SessionKey, s.WorkerToken, s.AppPassword, s.Replication}
}

// Site is the hosts of one driver with what isukit has made there. It outlives this process where its driver keeps its hosts.
type Site struct {
	driver host.Driver
	spec   Spec // of which Topology, Scale and Seed are the deployment's
}

// NewSite returns the site of a driver. spec has the paths; its Topology, Scale and Seed are for Plan and Apply.
func NewSite(driver host.Driver, spec Spec) *Site {
	if d, ok := driver.(host.Foreseer); ok {
		d.Foresees(firstLook)
	}
	return &Site{driver, spec}
}

// firstLook is what every command reads from a host that is far away, in one go.
func firstLook(about host.About) (ops []host.Op, patterns []string) {
	for _, file := range []string{inventoryFile, "*/root.password", "*/" + render.MyCnf, "*/" + readyFile} {
		patterns = append(patterns, path.Join(about.Dir, file))
	}
	return []host.Op{toolsOp(""), dbserver.FindOp("", ""), kernelOp, tune.RecordsOp(path.Join(about.Dir, "tune"))}, append(patterns, tune.BootFiles...)
}

// act makes the hosts be read again from now on.
func (f *hostSet) act() {
	for _, h := range f.hosts {
		if h != nil {
			host.Act(h)
		}
	}
}

// Driver is the one that makes the site's hosts.
func (s *Site) Driver() host.Driver { return s.driver }

// hostSet is the hosts of a site as they are, with what isukit has on record there.
type hostSet struct {
	hosts       map[string]host.Host
	inventories map[string]*inventory // of hosts that have one
	away        map[string]error      // hosts that cannot be asked, and why; only findPartly has them
	wants       []host.Want
	ensured     bool // the hosts are what the deployment says
	placesOnly  bool // only where things are is to be known, not what hosts would be asked for files and services
	fresh       bool // databases begin with the dataset, regardless of their data
}

// find reads the inventories of all hosts that exist.
func (s *Site) find(ctx context.Context) (*hostSet, error) {
	f, err := s.findPartly(ctx)
	if err == nil {
		err = f.missing()
	}
	return f, err
}

// missing is why hosts cannot be asked; nil where all can.
func (f *hostSet) missing() error {
	var errs []error
	for _, name := range f.names() {
		errs = append(errs, f.away[name])
	}
	return errors.Join(errs...)
}

// findPartly is find for a command that goes on with those hosts that can be asked.
func (s *Site) findPartly(ctx context.Context) (*hostSet, error) {
	f := &hostSet{hosts: map[string]host.Host{}, inventories: map[string]*inventory{}, away: map[string]error{}}
	var err error
	if f.wants, err = s.driver.Hosts(ctx); err != nil {
		return nil, fmt.Errorf("list hosts: %w", err)
	}
	var names []string
	for _, w := range f.wants {
		names = append(names, w.Name)
	}
	f.add(ctx, s.driver, names...)
	return f, context.Cause(ctx)
}

// add reads the inventories of more hosts, of all in parallel.
func (f *hostSet) add(ctx context.Context, driver host.Driver, names ...string) {
	hosts, inventories, errs := make([]host.Host, len(names)), make([]*inventory, len(names)), make([]error, len(names))
	var all sync.WaitGroup
	for n, name := range names {
		all.Go(func() {
			if hosts[n], errs[n] = driver.Host(name); errs[n] == nil {
				ops, patterns := firstLook(hosts[n].About())
				errs[n] = host.Foresee(ctx, hosts[n], ops, patterns...)
			}
			if errs[n] == nil {
				inventories[n], errs[n] = host.ReadRecord[inventory](ctx, hosts[n], inventoryOf(hosts[n]), inventoryFormat)
			}
		})
	}
	all.Wait()
	for n, name := range names {
		f.hosts[name] = hosts[n]
		if errs[n] != nil {
			f.away[name] = errs[n]
		}
		if inventories[n] != nil {
			f.inventories[name] = inventories[n]
		}
	}
}

// save writes a host's inventory; it is on disk when it returns.
func (f *hostSet) save(ctx context.Context, name string) error {
	f.inventories[name].ChangedAt = time.Now().UTC().Truncate(time.Second)
	return host.WriteRecord(ctx, f.hosts[name], inventoryOf(f.hosts[name]), f.inventories[name])
}

func inventoryOf(h host.Host) string { return path.Join(h.About().Dir, inventoryFile) }

// keep returns what makes a host's inventory again what it is now.
func (f *hostSet) keep(name string) (back func(context.Context) error, err error) {
	h := f.hosts[name]
	file := inventoryOf(h)
	if f.inventories[name] == nil {
		return func(ctx context.Context) error { return h.Remove(ctx, file) }, nil
	}
	text, err := json.MarshalIndent(f.inventories[name], "", " ")
	return func(ctx context.Context) error { return h.Put(ctx, file, text, 0o600) }, err
}

// names are those of all hosts, in order.
func (f *hostSet) names() []string {
	var names []string
	for name := range f.hosts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// current is the newest deployment; complete tells whether it was reached on all hosts that have one.
func (f *hostSet) current() (g *deployment, complete bool) {
	var newest time.Time
	complete = true
	for _, name := range f.names() {
		inv := f.inventories[name]
		if inv == nil || inv.Goal == nil {
			continue
		}
		complete = complete && inv.Complete
		if g == nil || inv.ChangedAt.After(newest) {
			g, newest = inv.Goal, inv.ChangedAt
		}
	}
	return g, complete && g != nil
}

// reached is the last deployment that was reached; nil for none.
func (f *hostSet) reached() *deployment {
	if g, complete := f.current(); complete {
		return g
	}
	for _, name := range f.names() {
		if inv := f.inventories[name]; inv != nil && inv.Previous != nil {
			return inv.Previous
		}
	}
	return nil
}

func (f *hostSet) secrets() secrets {
	for _, name := range f.names() {
		if inv := f.inventories[name]; inv != nil && inv.Secrets.WorkerToken != "" {
			return inv.Secrets
		}
	}
	return newSecrets()
}

// WantOf is a host as its driver is to make it.
func WantOf(h topology.Host) host.Want {
	return host.Want{
		Name: h.Name, CPUs: h.CPUs, MemoryBytes: h.MemoryBytes, Address: h.Address, LinkBitsPerSecond: h.LinkBitsPerSec, Flaws: h.Flaws,
	}
}

// wants are the hosts of a topology, as this driver is to make them: hosts on loopback have no addresses of their own.
func (s *Site) wants(t *topology.Topology) []host.Want {
	var list []host.Want
	for _, h := range t.Hosts {
		w := WantOf(h)
		if s.driver.Name() == "local" {
			w.Address = ""
		}
		list = append(list, w)
	}
	return list
}
