package infra

import (
	"context"

	"isukit/infra/host"
	"isukit/infra/render"
)

// MachineOfUp is what Up takes this machine for.
func MachineOfUp(ctx context.Context, spec Spec) (_ render.Machine, err error) {
	r := &Running{spec: spec}
	if r.local, err = host.OpenLocal(spec.StateDir); err != nil {
		return render.Machine{}, err
	}
	defer r.local.Close(ctx)
	err = r.place()
	return r.input.Machine, err
}

// RunningOn is what runs on these hosts, by the topology of the spec.
func RunningOn(spec Spec, hosts map[string]host.Host, instances ...Instance) *Running {
	return &Running{spec: spec, hosts: hosts, Instances: instances}
}
