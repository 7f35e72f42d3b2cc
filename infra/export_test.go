package infra

import (
	"context"

	"isukit/infra/render"
)

// MachineOfUp is what Up takes this machine for.
func MachineOfUp(spec Spec) (render.Machine, error) {
	l := &layout{deployment: &deployment{Topology: spec.Topology}, driver: "local"}
	err := l.places()
	return l.input.Machine, err
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
