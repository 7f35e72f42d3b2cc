package infra

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"isukit/infra/host"
	"isukit/infra/topology"
)

// Status is what a site runs.
type Status struct {
	Driver   string       `json:"driver"`
	Topology string       `json:"topology"` // "" when nothing is up
	Hash     string       `json:"topology_hash"`
	Complete bool         `json:"complete"` // false while an apply is under way, or was cut off
	URL      string       `json:"url,omitempty"`
	Hosts    []HostStatus `json:"hosts"`
}

// HostStatus is one host with what runs there.
type HostStatus struct {
	Name        string           `json:"name"`
	Address     string           `json:"address"`
	CPUs        float64          `json:"cpus"`
	MemoryBytes int64            `json:"memory_bytes"`
	ChangedAt   time.Time        `json:"changed_at,omitzero"`
	BootedAt    time.Time        `json:"booted_at,omitzero"` // of its own start, by its clock; unknown in the lab
	Error       string           `json:"error,omitempty"`    // why it cannot be asked
	Instances   []InstanceStatus `json:"instances"`
}

// InstanceStatus is one instance.
type InstanceStatus struct {
	Name    string        `json:"name"`
	Kind    topology.Kind `json:"kind,omitempty"`
	Address string        `json:"address"` // address:port
	Running bool          `json:"running"`
	Healthy bool          `json:"healthy"`
	PID     int           `json:"pid"`
	Since   time.Time     `json:"since,omitzero"`
	Exit    string        `json:"exit,omitempty"` // how it ended
	// OutOfMemory tells that the kernel has killed it because of the host's memory limit.
	OutOfMemory bool `json:"out_of_memory,omitempty"`
}

// Status reads what is deployed, and whether every instance is healthy. The error names hosts that cannot be reached; the rest is complete.
func (s *Site) Status(ctx context.Context) (*Status, error) {
	f, err := s.findPartly(ctx)
	if err != nil {
		return nil, err
	}
	defer f.act()
	g, _ := f.current()
	if g == nil {
		st := &Status{Driver: s.driver.Name(), Hosts: []HostStatus{}}
		for _, name := range f.names() {
			if err := f.away[name]; err != nil {
				st.Hosts = append(st.Hosts, HostStatus{Name: name, Error: err.Error()})
			}
		}
		return st, f.missing()
	}
	f.placesOnly = true
	l, err := s.layOut(ctx, g, f)
	if err != nil {
		return nil, err
	}
	for name := range l.hosts {
		if h := f.hosts[name]; h != nil {
			l.hosts[name] = h
		}
	}
	st, away, err := s.statusOf(ctx, l, f)
	return st, errors.Join(away, err)
}

// statusOf queries all instances in parallel; away is why hosts cannot be reached.
func (s *Site) statusOf(ctx context.Context, l *layout, f *hostSet) (st *Status, away, err error) {
	g, complete := f.current()
	client, err := l.client(s.driver)
	if err != nil {
		return nil, nil, err
	}
	errs := make([]error, len(f.hosts))
	st = &Status{Driver: s.driver.Name(), Hosts: make([]HostStatus, len(f.hosts))}
	st.Topology, st.Hash, st.Complete, st.URL = g.Topology.Name, g.Hash, complete, l.input.URLOf(g.Topology.Of(topology.Proxy)[0])
	group, ctx := errgroup.WithContext(ctx)
	for n, name := range f.names() {
		h, hs := f.hosts[name], &st.Hosts[n]
		about, instances := host.About{}, g.Topology.On(name)
		if h != nil {
			about = h.About()
		}
		*hs = HostStatus{Name: name, Address: about.Address, CPUs: about.CPUs, MemoryBytes: about.MemoryBytes, Instances: make([]InstanceStatus, len(instances))}
		if inv := f.inventories[name]; inv != nil {
			hs.ChangedAt = inv.ChangedAt
		}
		group.Go(func() error {
			var states map[string]host.State
			var booted time.Time
			err := f.away[name]
			if err == nil {
				states, booted, err = h.States(ctx)
			}
			if f.away[name] != nil || errors.Is(err, host.ErrUnreachable) { // it may be gone since a moment
				errs[n] = err
				hs.Error = err.Error()
				for n, i := range instances {
					hs.Instances[n] = InstanceStatus{Name: i.Name, Kind: i.Kind, Address: l.input.Places[i.Name].HostPort(), Exit: Unknown}
				}
				return nil
			}
			if err != nil {
				return err
			}
			hs.BootedAt = booted
			for n, i := range instances {
				group.Go(func() (err error) {
					hs.Instances[n], err = s.instanceStatus(ctx, l, client, i, states)
					return err
				})
			}
			return nil
		})
	}
	err = group.Wait()
	return st, errors.Join(errs...), err
}

// Unknown is how an instance ended whose host cannot be asked.
const Unknown = "unknown"

func (s *Site) instanceStatus(ctx context.Context, l *layout, client *http.Client, i topology.Instance, states map[string]host.State) (InstanceStatus, error) {
	is := InstanceStatus{Name: i.Name, Kind: i.Kind, Address: l.input.Places[i.Name].HostPort()}
	state, ok := states[i.Name]
	if !ok {
		is.Exit = "not started"
		return is, nil
	}
	is.Running, is.PID, is.Since, is.Exit, is.OutOfMemory = state.Running, state.PID, state.Since, state.Exit, state.OutOfMemory
	if !is.Running {
		return is, nil
	}
	if i.Role == topology.DB {
		conn, err := l.dial(s.driver)(ctx, "tcp", is.Address)
		if is.Healthy = err == nil; is.Healthy {
			return is, conn.Close()
		}
		return is, nil
	}
	code, err := status(ctx, client, l.healthURL(i))
	is.Healthy = err == nil && code < 500
	return is, nil
}

// Verify compares the current state with the declared one: files changed outside isukit, services that ended or do not answer.
func (s *Site) Verify(ctx context.Context) ([]string, error) {
	f, err := s.findPartly(ctx)
	if err != nil {
		return nil, err
	}
	defer f.act()
	g, err := s.up(f)
	if err != nil {
		return nil, err
	}
	p, err := s.planFor(ctx, g, f)
	if err != nil {
		return nil, err
	}
	faults := p.Faults()
	st, _, err := s.statusOf(ctx, p.layout, f)
	if err != nil {
		return faults, err
	}
	for _, h := range st.Hosts {
		if h.Error != "" {
			faults = append(faults, fmt.Sprintf("%s: cannot be asked: %s", h.Name, h.Error))
		}
		for _, i := range h.Instances {
			if i.Running && !i.Healthy {
				faults = append(faults, fmt.Sprintf("%s: %s does not answer at %s", h.Name, i.Name, i.Address))
			}
		}
	}
	return faults, nil
}
