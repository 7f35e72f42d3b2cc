package infra

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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

// Status tells what is up, and asks every instance whether it is healthy.
func (s *Site) Status(ctx context.Context) (*Status, error) {
	f, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	st := &Status{Driver: s.driver.Name(), Hosts: []HostStatus{}}
	g, complete := f.current()
	if g == nil {
		return st, nil
	}
	l, err := s.layOut(ctx, g, f)
	if err != nil {
		return nil, err
	}
	st.Topology, st.Hash, st.Complete, st.URL = g.Topology.Name, g.Hash, complete, l.input.URLOf(g.Topology.Of(topology.Proxy)[0])
	for _, name := range f.names() {
		h := f.hosts[name]
		about := h.About()
		hs := HostStatus{Name: name, Address: about.Address, CPUs: about.CPUs, MemoryBytes: about.MemoryBytes, Instances: []InstanceStatus{}}
		if inv := f.inventories[name]; inv != nil {
			hs.ChangedAt = inv.ChangedAt
		}
		for _, i := range g.Topology.On(name) {
			is, err := s.instanceStatus(ctx, l, h, i)
			if err != nil {
				return nil, err
			}
			hs.Instances = append(hs.Instances, is)
		}
		st.Hosts = append(st.Hosts, hs)
	}
	return st, nil
}

func (s *Site) instanceStatus(ctx context.Context, l *layout, h host.Host, i topology.Instance) (InstanceStatus, error) {
	is := InstanceStatus{Name: i.Name, Kind: i.Kind, Address: instanceOf(i, l.input.Places[i.Name]).Addr}
	state, err := h.State(ctx, i.Name)
	if errors.Is(err, host.ErrUnknownService) {
		is.Exit = "not started"
		return is, nil
	}
	if err != nil {
		return is, err
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
	client, err := l.client(s.driver)
	if err != nil {
		return is, err
	}
	code, err := status(ctx, client, l.healthURL(i))
	is.Healthy = err == nil && code < 500
	return is, nil
}

// Verify compares what is there with what was declared, and returns what differs: files that somebody else changed, services that
// ended or do not answer.
func (s *Site) Verify(ctx context.Context) ([]string, error) {
	p, err := s.standing(ctx)
	if err != nil {
		return nil, err
	}
	var faults []string
	for _, h := range p.Hosts {
		for _, step := range h.Steps {
			text := fmt.Sprintf("%s: %s would be needed for %s", h.Name, step.Op, step.What())
			switch {
			case step.Foreign:
				text = fmt.Sprintf("%s: %s was changed by someone else", h.Name, step.What())
			case step.Reason != "":
				text += " (" + step.Reason + ")"
			}
			faults = append(faults, text)
			faults = append(faults, prefixed("    ", step.Lines)...)
		}
	}
	st, err := s.Status(ctx)
	if err != nil {
		return faults, err
	}
	for _, h := range st.Hosts {
		for _, i := range h.Instances {
			if i.Running && !i.Healthy {
				faults = append(faults, fmt.Sprintf("%s: %s does not answer at %s", h.Name, i.Name, i.Address))
			}
		}
	}
	return faults, nil
}

func prefixed(prefix string, lines []string) []string {
	list := slices.Clone(lines)
	for n := range list {
		list[n] = prefix + list[n]
	}
	return list
}
