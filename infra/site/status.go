package site

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// Status is what runs of a project, on all hosts.
type Status struct {
	Topology string       `json:"topology"` // "" for none
	Complete bool         `json:"complete"` // its apply came to its end
	Units    []UnitStatus `json:"units"`
	// Owed are files that down could not give back, as HOST: PATH.
	Owed []string `json:"owed,omitempty"`
}

// UnitStatus is a unit of a role on a host.
type UnitStatus struct {
	Host   string `json:"host"`
	Role   string `json:"role"`
	Unit   string `json:"unit"`
	State  string `json:"state"`  // running, stopped, or not there
	Boot   string `json:"boot"`   // as systemctl is-enabled says
	Health string `json:"health"` // "yes", or why not; "-" where it does not run or has no port
}

// Status looks at every unit of every role, and asks those that run.
func (s *Site) Status(ctx context.Context) (*Status, error) {
	nodes, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	once := *s
	once.Limit = time.Nanosecond
	st := &Status{Complete: true, Units: []UnitStatus{}}
	for _, n := range nodes {
		if n.rec != nil {
			st.Topology, st.Complete = cmp.Or(n.rec.Topology, st.Topology), st.Complete && n.rec.Complete
			for _, f := range n.rec.Files {
				if n.rec.Topology == "" {
					st.Owed = append(st.Owed, n.name+": "+f.Path)
				}
			}
		}
		for _, o := range s.Project.Roles {
			for i, name := range o.Units {
				u := n.units[name]
				if !u.there {
					continue
				}
				line := UnitStatus{Host: n.name, Role: o.Name, Unit: name, State: "stopped", Boot: cmp.Or(u.enabled, "-"), Health: "-"}
				if u.active {
					line.State = "running"
				}
				if u.active && i == 0 && o.Port > 0 {
					line.Health = "yes"
					if once.serves(ctx, n, cmp.Or(o.Health, "tcp"), o.Port, n.own()) != nil {
						line.Health = fmt.Sprintf("no answer on port %d", o.Port)
					}
				}
				st.Units = append(st.Units, line)
			}
		}
	}
	return st, nil
}
