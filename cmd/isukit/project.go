package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"isukit/bench/external"
	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/observe"
	"isukit/infra/project"
)

// openProject is a project with its hosts.
type openProject struct {
	*project.Project
	hosts observe.Hosts
	// missing says of each host that cannot be reached why.
	missing []string
	// stateDir is where this machine's tunings are recorded.
	stateDir string
	close    func(context.Context) error
}

// projectMachine is a machine that can be reached, with the names that the project has for it.
type projectMachine struct {
	names []string
	at    host.Host
}

// machines are those of the project's hosts that can be reached, each once, in the project's order.
func (o *openProject) machines() []projectMachine {
	var list []projectMachine
	for _, h := range o.Hosts {
		at, ok := o.hosts.Named[h.Name]
		if !ok {
			continue
		}
		n := slices.IndexFunc(list, func(m projectMachine) bool { return m.at == at })
		if n < 0 {
			n, list = len(list), append(list, projectMachine{at: at})
		}
		list[n].names = append(list[n].names, h.Name)
	}
	return list
}

// findProject reads the project file; path "" takes isukit.yaml of the current directory where there is one, else nil.
func findProject(path string) (*project.Project, string, error) {
	given := path != ""
	if !given {
		path = project.FileName
	}
	text, err := ui.ReadRegular(path, project.MaxFileBytes)
	if errors.Is(err, os.ErrNotExist) && !given {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", ui.UsageError(err, `"isukit init" writes a project file`)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, "", err
	}
	p, err := project.ParseWith(text, project.Outside{
		Hosts: topologyHosts(dir),
		Rule:  func(r project.Rule) error { return external.Rule(r).Check() },
	})
	if err != nil {
		return nil, "", ui.UsageError(fmt.Errorf("%s: %w", path, err), "docs/project.md describes the file")
	}
	return p, dir, nil
}

// openHosts makes the project's hosts usable. A host that cannot be reached is no error: what can be got is got.
func openHosts(ctx context.Context, p *project.Project, dir, stateDir string) (*openProject, error) {
	here, err := host.OpenLocal(stateDir)
	if err != nil {
		return nil, err
	}
	o := &openProject{Project: p, stateDir: stateDir, hosts: observe.Hosts{Here: here, Dir: dir, Named: map[string]host.Host{}}}
	o.close = here.Close
	if err := o.openDrivers(ctx, stateDir); err != nil {
		return nil, errors.Join(err, o.close(context.WithoutCancel(ctx)))
	}
	return o, nil
}
