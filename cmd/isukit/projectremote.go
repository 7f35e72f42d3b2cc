package main

import (
	"context"
	"errors"
	"fmt"

	"isukit/infra/host"
	"isukit/infra/project"
)

// openDrivers makes the project's hosts usable, each through its driver. One that cannot be reached is noted as missing.
func (o *openProject) openDrivers(ctx context.Context, stateDir string) error {
	drivers := map[string]host.Driver{}
	for _, h := range o.Hosts {
		name := driverOf(o.Project, h)
		if name == "" {
			o.hosts.Named[h.Name] = o.hosts.Here
			continue
		}
		d, ok := drivers[name]
		if !ok {
			var err error
			if d, err = openDriver(name, stateDir, 0, true); err != nil {
				return err
			}
			drivers[name] = d
			before := o.close
			o.close = func(ctx context.Context) error { return errors.Join(d.Close(ctx), before(ctx)) }
		}
		at, err := o.reach(ctx, d, h)
		if err != nil {
			o.missing = append(o.missing, fmt.Sprintf("host %s cannot be reached: %v", h.Name, err))
			continue
		}
		o.hosts.Named[h.Name] = at
	}
	return nil
}

// driverOf names the driver of a host: "" is this machine.
func driverOf(p *project.Project, h project.Host) string {
	if h.Address != "" {
		return "ssh"
	}
	return p.Driver
}

// reach returns a host of a driver. Hosts over ssh need nothing but an address; those of the lab must be up.
func (o *openProject) reach(ctx context.Context, d host.Driver, h project.Host) (host.Host, error) {
	if h.Address != "" {
		if err := d.Ensure(ctx, []host.Want{{Name: h.Name, Address: h.Address}}); err != nil {
			return nil, err
		}
	}
	return d.Host(h.Name)
}
