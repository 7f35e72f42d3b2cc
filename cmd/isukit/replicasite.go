package main

import (
	"context"
	"errors"
	"fmt"

	"forge.example/account/isukit/app/fanout"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra"
)

// errNoReplicas says that no database was named, and that there is none to take in its place.
var errNoReplicas = errors.New("no databases are named, and no topology is running")

// ofSite makes what is up with a driver, found where none was named, the databases that are meant, and calls fn with them. Their DSNs
// hold for as long as fn runs.
func (o *replicasOptions) ofSite(ctx context.Context, fn func(fanout.Config) error) (err error) {
	name, err := round.FindDriver(o.driver, o.stateDir)
	if err != nil {
		return err
	}
	if name == "" {
		return ui.UsageError(errNoReplicas, `name each database: --replica NAME=FILE; or isukit topology apply fanout-2`)
	}
	return round.WithRunning(ctx, name, "", infra.Spec{StateDir: o.stateDir}, false, func(running *infra.Running) error {
		top := running.Topology()
		if len(round.ReplicasOf(top)) == 0 {
			return ui.UsageError(fmt.Errorf("the topology %s, which runs with driver %s, has no replicated databases", top.Name, name),
				"\"isukit topology ls\" shows which topologies have; or name databases: --replica NAME=FILE")
		}
		return fn(round.PlacementOf(top, running.DSNs()))
	})
}
