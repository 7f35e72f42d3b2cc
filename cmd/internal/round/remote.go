package round

import (
	"context"
	"errors"
	"fmt"

	"isukit/infra/host"
	"isukit/infra/project"
)

// openDrivers makes the project's hosts usable, each through its driver. One that cannot be reached is noted as missing.
func (o *Opened) openDrivers(ctx context.Context, stateDir string) error {
	o.drivers = map[string]host.Driver{}
	for _, h := range o.Hosts {
		name := driverOf(o.Project, h)
		if name == "" {
			o.Reach.Named[h.Name] = o.Reach.Here
			continue
		}
		d, ok := o.drivers[name]
		if !ok {
			var err error
			if d, err = OpenApart(name, stateDir); err != nil {
				return err
			}
			o.drivers[name] = d
			before := o.Close
			o.Close = func(ctx context.Context) error { return errors.Join(d.Close(ctx), before(ctx)) }
		}
		if !ok && name == "ssh" { // all at the same time; who is missing is found out below
			_ = d.Ensure(ctx, o.wants())
		}
		at, err := o.reach(ctx, d, h)
		if err != nil {
			o.Missing = append(o.Missing, fmt.Sprintf("host %s is unreachable: %v", h.Name, err))
			continue
		}
		o.Reach.Named[h.Name] = at
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

// wants are the hosts that are reached over ssh.
func (o *Opened) wants() (list []host.Want) {
	for _, h := range o.Hosts {
		if h.Address != "" {
			list = append(list, host.Want{Name: h.Name, Address: h.Address})
		}
	}
	return list
}

// reach returns a host of a driver. Hosts over ssh need nothing but an address; those of the lab must be up.
func (o *Opened) reach(ctx context.Context, d host.Driver, h project.Host) (host.Host, error) {
	if h.Address != "" {
		if err := d.Ensure(ctx, []host.Want{{Name: h.Name, Address: h.Address}}); err != nil {
			return nil, err
		}
	}
	return d.Host(h.Name)
}
