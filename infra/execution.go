package infra

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"isukit/infra/host"
	"isukit/infra/plan"
	"isukit/infra/topology"
)

const stopLimit = 20 * time.Second

// dbStopLimit is how long a database may take to end cleanly: it writes down what is in memory only.
const dbStopLimit = time.Minute

type execution struct {
	site    *Site
	plan    *Plan
	l       *layout
	f       *hostSet
	data    string             // directory of the dataset for databases that begin with it
	servers map[string]*server // by instance
	saying  sync.Mutex
}

// run: databases, app, proxies, each stopped and started at most once; what is no longer declared is removed when all is healthy.
func (e *execution) run(ctx context.Context) error {
	if err := e.record(ctx); err != nil {
		return &untouchedError{err}
	}
	apps := func(ctx context.Context) error { return e.stage(ctx, topology.API, topology.Web) }
	proxies := func(ctx context.Context) error { return e.stage(ctx, topology.Proxy) }
	if b := e.l.Topology.Data.Balance; b != nil && b.Kind == topology.BalanceNginx {
		apps, proxies = proxies, apps // the app reads through the proxy, which is healthy without it
	}
	for _, stage := range []func(context.Context) error{e.databases, e.rules, apps, proxies, e.prune} {
		if err := stage(ctx); err != nil {
			return cancelled(ctx, err)
		}
	}
	return e.complete(ctx)
}

// untouchedError: an apply failed before anything was changed, and the inventories are as before.
type untouchedError struct{ err error }

func (e *untouchedError) Error() string { return e.err.Error() }
func (e *untouchedError) Unwrap() error { return e.err }

// record writes what will be made into the inventories of all hosts, in parallel. After a failure it restores them.
func (e *execution) record(ctx context.Context) error {
	names := e.f.names()
	backs := make([]func(context.Context) error, len(names))
	for n, name := range names { // all of them first: the map must not be written to while others read it
		var err error
		if backs[n], err = e.f.keep(name); err != nil {
			return err
		}
		if e.f.inventories[name] == nil {
			e.f.inventories[name] = &inventory{Format: inventoryFormat}
		}
	}
	undo := make([]func(context.Context) error, len(names)) // of those that were written
	var group errgroup.Group
	for n, name := range names {
		group.Go(func() error {
			if err := e.recordOn(ctx, name); err != nil {
				return err // a file is written whole or not at all
			}
			undo[n] = backs[n]
			return nil
		})
	}
	err := group.Wait()
	for _, back := range undo {
		if err != nil && back != nil {
			err = errors.Join(err, back(context.WithoutCancel(ctx)))
		}
	}
	return err
}

func (e *execution) recordOn(ctx context.Context, name string) error {
	inv := e.f.inventories[name]
	if inv.Complete {
		inv.Previous = inv.Goal
	}
	inv.Goal, inv.Complete, inv.Secrets = e.l.deployment, false, e.l.secrets
	for _, step := range e.steps(name) {
		if step.Op == plan.Remove {
			continue
		}
		step.Made = false
		n := slices.IndexFunc(inv.Items, step.Same)
		if n < 0 {
			inv.Items = append(inv.Items, step.Item)
		} else {
			inv.Items[n] = step.Item
		}
	}
	return e.f.save(ctx, name)
}

func (e *execution) steps(hostName string) []plan.Step {
	for _, h := range e.plan.Hosts {
		if h.Name == hostName {
			return h.Steps
		}
	}
	return nil
}

// stepOf finds what there is to do about one thing of an instance.
func (e *execution) stepOf(hostName, instance string, kind plan.Kind) (plan.Step, bool) {
	for _, s := range e.steps(hostName) {
		if s.Owner == instance && s.Kind == kind && s.Op != plan.Remove {
			return s, true
		}
	}
	return plan.Step{}, false
}

// stopChanged stops the services of a role that are going to be started again or removed.
func (e *execution) stopChanged(ctx context.Context, role topology.Role) error {
	patience := stopLimit
	if role == topology.DB {
		patience = dbStopLimit
	}
	return e.f.onHosts(func(name string, h host.Host) error {
		for _, s := range e.steps(name) {
			if s.Kind != plan.Service || roleOf(s.Owner) != role || s.Op == plan.Create || s.Op == plan.Start {
				continue
			}
			e.progress("stopping %s on %s", s.Name, name)
			if err := h.Stop(ctx, s.Name, patience); err != nil {
				return err
			}
		}
		return nil
	})
}

// stage makes the instances of roles what they are to be, and waits until those that were started are healthy.
func (e *execution) stage(ctx context.Context, roles ...topology.Role) error {
	for _, role := range roles {
		if err := e.stopChanged(ctx, role); err != nil {
			return err
		}
	}
	var started []topology.Instance
	byHost := map[string][]topology.Instance{}
	for _, role := range roles {
		for _, i := range e.l.Topology.Of(role) {
			byHost[i.Host] = append(byHost[i.Host], i)
			if _, ok := e.stepOf(i.Host, i.Name, plan.Service); ok {
				started = append(started, i)
			}
		}
	}
	var group errgroup.Group           // a failure does not stop the others: half a start cannot be rolled back
	for _, name := range e.f.names() { // in parallel: hosts far away take their time to answer
		group.Go(func() error { return e.startOn(ctx, name, byHost[name]) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, i := range started {
		if err := e.site.awaitHTTP(ctx, e.l, i); err != nil {
			return err
		}
	}
	return nil
}

// startOn writes the files of a host and of instances on it, and starts those that are to be.
func (e *execution) startOn(ctx context.Context, hostName string, instances []topology.Instance) error {
	owners := []string{""}
	for _, i := range instances {
		owners = append(owners, i.Name)
	}
	if err := e.putFiles(ctx, hostName, owners...); err != nil {
		return err
	}
	for _, i := range instances {
		if _, ok := e.stepOf(hostName, i.Name, plan.Service); !ok {
			continue
		}
		e.progress("starting %s on %s", i.Name, hostName)
		if err := e.f.hosts[hostName].Start(ctx, e.l.services[i.Name]); err != nil {
			return err
		}
	}
	return nil
}

// progress is the Spec's, from several goroutines.
func (e *execution) progress(format string, args ...any) {
	e.saying.Lock()
	defer e.saying.Unlock()
	e.site.spec.progress(format, args...)
}

// putFiles writes the files of instances that differ; owner "" is for those of the host.
func (e *execution) putFiles(ctx context.Context, hostName string, owners ...string) error {
	var files []host.File
	for _, s := range e.steps(hostName) {
		if s.Kind != plan.File || !slices.Contains(owners, s.Owner) || s.Op == plan.Remove {
			continue
		}
		files = append(files, host.File{Path: s.Name, Data: textOf(e.l.want[hostName], s.Item), Mode: e.l.modes[s.Name]})
	}
	return host.PutAll(ctx, e.f.hosts[hostName], files)
}

// rules loads what the kernels of hosts are to do; the file that it is in is for people.
func (e *execution) rules(ctx context.Context) error {
	for _, name := range e.f.names() {
		for _, s := range e.steps(name) {
			if s.Kind != plan.Rules || s.Op == plan.Remove {
				continue
			}
			// An empty table of the name makes sure that there is one to delete.
			text := append([]byte("table ip "+s.Name+"\ndelete table ip "+s.Name+"\n"), textOf(e.l.want[name], s.Item)...)
			if err := runOn(ctx, e.f.hosts[name], host.Command{Argv: []string{"nft", "-f", "-"}, Stdin: text}); err != nil {
				return err
			}
		}
	}
	return nil
}

func runOn(ctx context.Context, h host.Host, cmd host.Command) error {
	_, err := host.Must(ctx, h, cmd)
	if err != nil {
		err = fmt.Errorf("host %s: %w", h.About().Name, err)
	}
	return err
}

// complete notes on all hosts that the deployment was reached.
func (e *execution) complete(ctx context.Context) error {
	var group errgroup.Group
	for _, name := range e.f.names() {
		inv := e.f.inventories[name]
		inv.Complete, inv.Previous = true, nil
		for _, w := range e.l.want[name] {
			n := slices.IndexFunc(inv.Items, w.Same)
			if n < 0 {
				inv.Items = append(inv.Items, w.Item) // it was there already, as it is to be
				continue
			}
			inv.Items[n].Hash = w.Hash
		}
		for n := range inv.Items {
			inv.Items[n].Made, inv.Items[n].Was = true, ""
		}
		if _, ok := e.l.Topology.Host(name); !ok {
			continue // the host goes
		}
		group.Go(func() error { return e.f.save(ctx, name) })
	}
	return group.Wait()
}

// prune removes what is no longer declared, on each host in the reverse order of its making. What fails stays in the inventory.
func (e *execution) prune(ctx context.Context) error {
	return e.f.onHosts(func(name string, h host.Host) error {
		inv := e.f.inventories[name]
		var errs []error
		gone := func(err error, items ...plan.Item) {
			if err != nil {
				errs = append(errs, fmt.Errorf("remove %s on %s: %w", items[0].What(), name, err))
				return
			}
			inv.Items = slices.DeleteFunc(inv.Items, func(i plan.Item) bool { return slices.ContainsFunc(items, i.Same) })
		}
		var files []plan.Item // what reads them goes first, and then they in one go
		argv := []string{"rm", "-rf", "--"}
		for _, s := range e.steps(name) {
			switch {
			case s.Op != plan.Remove:
			case s.Kind == plan.File:
				files, argv = append(files, s.Item), append(argv, s.Name)
			default:
				gone(remove(ctx, h, s.Item), s.Item)
			}
		}
		if len(files) > 0 {
			gone(runOn(ctx, h, host.Command{Argv: argv}), files...)
		}
		return errors.Join(errs...)
	})
}

// remove removes one item other than a file.
func remove(ctx context.Context, h host.Host, i plan.Item) error {
	switch {
	case i.Kind == plan.Service:
		if err := h.Stop(ctx, i.Name, dbStopLimit); err != nil {
			return err
		}
		// What it wrote itself, its logs among it, goes with it.
		return errors.Join(h.Forget(ctx, i.Name), h.Remove(ctx, path.Join(h.About().Dir, i.Name)))
	case i.Kind == plan.Data:
		return h.Remove(ctx, path.Join(h.About().Dir, i.Name))
	case i.Kind == plan.Rules:
		return runOn(ctx, h, host.Command{Argv: []string{"nft", "-f", "-"}, Stdin: []byte("table ip " + i.Name + "\ndelete table ip " + i.Name + "\n")})
	}
	return nil // accounts go when a database's are set
}
