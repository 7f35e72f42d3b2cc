package project

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Check is the reason why a topology of the project is impossible, or nil if the file has none.
func (p *Project) Check(t Placement) (err error) {
	p.check(t, func(_, text string) { err = cmp.Or(err, errors.New(text)) })
	return err
}

// check holds a topology against ports, and that everybody finds whom they use.
func (p *Project) check(t Placement, fault func(role, text string)) {
	ports := map[string]string{}
	for _, o := range p.Roles {
		for _, h := range t.Hosts[o.Name] {
			place := fmt.Sprintf("%s:%d", h, o.Port)
			if other := ports[place]; other != "" && o.Port > 0 {
				fault(o.Name, fmt.Sprintf("%s and %s on host %s would listen on one port, %d", other, o.Name, h, o.Port))
			}
			ports[place] = o.Name
			for _, e := range o.Env {
				for _, ref := range Refs(e.Value) {
					if _, err := t.Find(ref, h); err != nil {
						fault(o.Name, fmt.Sprintf("%s on %s: %s: %v", o.Name, h, e.Value, err))
					}
				}
			}
			for _, to := range o.PassesTo() {
				if len(t.Hosts[to]) == 0 {
					fault(o.Name, fmt.Sprintf("it places no %s, and %s on %s passes to it", to, o.Name, h))
				}
			}
		}
	}
}

// PassesTo are the roles that a proxy's role sends requests on to.
func (o Role) PassesTo() (names []string) {
	for _, e := range o.Swap {
		names = append(names, e.Value)
	}
	if o.Pass != "" {
		names = append(names, o.Pass)
	}
	return names
}

// Uses are the roles that a role sends requests to.
func (p *Project) Uses(o Role) (names []string) {
	names = o.PassesTo()
	for _, e := range o.Env {
		for _, ref := range Refs(e.Value) {
			names = append(names, ref.Role)
		}
	}
	for _, db := range p.Roles {
		if db.MySQL != nil && slices.Contains(db.MySQL.Clients, o.Name) {
			names = append(names, db.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Find is the host that a reference means on a host.
func (t Placement) Find(ref Ref, on string) (string, error) {
	hosts := t.Hosts[ref.Role]
	switch {
	case len(hosts) == 0:
		return "", fmt.Errorf("the topology places no %s", ref.Role)
	case ref.Number > len(hosts):
		return "", fmt.Errorf("there are %d of %s", len(hosts), ref.Role)
	case ref.Number > 0:
		return hosts[ref.Number-1], nil
	case slices.Contains(hosts, on):
		return on, nil
	case len(hosts) > 1:
		return "", fmt.Errorf("which of the %d? {%s:1} is the first", len(hosts), ref.Role)
	}
	return hosts[0], nil
}
