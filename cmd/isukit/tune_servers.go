package main

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/host/machine"
	"isukit/infra/project"
	"isukit/infra/subject"
	"isukit/infra/tune"
)

// tuneServers are the servers of a project, or those of the topology that is up with a driver.
type tuneServers struct {
	driver        string
	project       string // its file; "" is isukit.yaml where there is one
	localDir, app string
	thisKernel    bool
	partly        bool    // servers that cannot be asked do not keep the others from it
	measure       *string // where not nil, gets the round that measures what is up, "" where nothing is
}

func (t *tuneServers) addFlags(f *pflag.FlagSet) {
	f.StringVar(&t.driver, "driver", "", "servers and kernels of the topology that runs with this driver: local, lab or ssh (default: the project's, or the running topology's)")
	projectFlag(f, &t.project)
	programFlags(f, &t.localDir, &t.app)
	f.BoolVar(&t.thisKernel, "this-kernel", false, "also change settings of the kernel of this machine")
}

// open makes the targets and calls fn with them: of the topology that is up with the driver that is named, else of the project, else of
// what is up, else of the kernel of this machine.
func (t tuneServers) open(ctx context.Context, stateDir string, fn func([]*tune.Target) error) (err error) {
	if t.driver == "" {
		p, dir, err := round.FindProject(t.project)
		if err != nil {
			return err
		}
		if p != nil {
			return t.openProject(ctx, p, dir, stateDir, fn)
		}
		if !t.thisKernel {
			if t.driver, err = round.FindDriver("", stateDir); err != nil {
				return err
			}
		}
	}
	if t.driver != "" {
		return t.openSite(ctx, stateDir, fn)
	}
	h, err := machine.OpenHere(stateDir)
	if err != nil {
		return err
	}
	sub := &subject.Subject{Hosts: []subject.Host{subject.HostHere(hostName(), h, stateDir, false, t.thisKernel)}}
	return errors.Join(withTargets(sub, fn), h.Close(context.WithoutCancel(ctx)))
}

func withTargets(sub *subject.Subject, fn func([]*tune.Target) error) error {
	targets, closeAll, err := sub.TuneTargets()
	if err != nil {
		return err
	}
	return errors.Join(fn(targets), closeAll())
}

func (t tuneServers) openProject(ctx context.Context, p *project.Project, dir, stateDir string, fn func([]*tune.Target) error) (err error) {
	opened, err := round.OpenProject(ctx, p, dir, stateDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, opened.Close(context.WithoutCancel(ctx))) }()
	sub, lacking := opened.Subject(ctx, t.thisKernel)
	if lacking != nil {
		lacking = ui.Hinted(lacking, "add services and databases to isukit.yaml; docs/project.md describes it")
	}
	if lacking != nil && !t.partly {
		return lacking
	}
	return errors.Join(withTargets(sub, fn), lacking)
}

// openSite makes the targets of what is up, and keeps others from changing it meanwhile.
func (t tuneServers) openSite(ctx context.Context, stateDir string, fn func([]*tune.Target) error) error {
	return round.WithRunning(ctx, t.driver, t.app, infra.Spec{StateDir: stateDir, LocalDir: t.localDir}, true, func(running *infra.Running) error {
		sub, err := running.Subject()
		if err != nil {
			return err
		}
		if t.measure != nil {
			*t.measure = roundOn(running.Topology().Name, running.Hash(), t.driver)
		}
		return withTargets(sub, fn)
	})
}
