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

// PIDs are the living processes of every instance, by name of instance.
func (r *Running) PIDs(ctx context.Context) (map[string][]int, error) {
	pids := map[string][]int{}
	for _, i := range r.Instances {
		list, err := r.pidsOf(ctx, i)
		if err != nil {
			return nil, err
		}
		if list != nil {
			pids[i.Name] = list
		}
	}
	return pids, nil
}

// RunsOn is what refuses an app for another architecture.
var RunsOn = runsOn
