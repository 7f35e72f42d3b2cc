package subject

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"

	"isukit/infra/host"
	"isukit/infra/tune"
)

// TuneTargets are each host's kernel, each proxy, each database, and all processes of services. closeAll closes the databases.
func (s *Subject) TuneTargets() (targets []*tune.Target, closeAll func() error, err error) {
	var closers []func() error
	closeAll = func() error {
		var errs []error
		for _, c := range closers {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	for _, h := range s.Hosts {
		kernel, link, boot := h.KernelTargets()
		targets = append(targets, kernel, link, boot)
	}
	var limits []*tune.Target // the last: a reload or restart makes other processes
	for _, v := range s.Services {
		h, _ := s.Host(v.Host)
		p := h.place(v.Name)
		if v.PIDs != nil {
			limits = append(limits, tune.NewLimits(p, tune.LimitsConfig{PIDs: v.PIDs, DropIn: v.dropIn()}))
		}
		switch {
		case v.Kind == Nginx && v.Conf != "":
			targets = append(targets, tune.NewNginx(p, tune.NginxConfig{Conf: v.Conf, Argv: v.Argv, PID: v.pid}))
		case v.Kind == Envoy && v.Conf != "":
			targets = append(targets, tune.NewEnvoy(p, tune.EnvoyConfig{Conf: v.Conf, Argv: v.Argv, PID: v.pid, Restart: v.Restart}))
		case v.Kind == Database && v.Open != nil:
			q, closeOne, err := v.Open()
			if err != nil {
				return nil, closeAll, errors.Join(fmt.Errorf("tune %s: %w", v.Name, err), closeAll())
			}
			closers = append(closers, closeOne)
			targets = append(targets, tune.NewDatabase(p, tune.DatabaseConfig{Query: q, File: v.Conf, Command: v.Argv, PID: v.mainPID(), Restart: v.Restart, RestartOp: v.RestartOp, Await: v.Await}))
		}
	}
	return append(targets, limits...), closeAll, nil
}

// Applied names the tunings that are applied to anything of the hosts, in order, by Target.Key.
func (s *Subject) Applied(ctx context.Context) (map[string][]string, error) {
	found := make([]map[string][]string, len(s.Hosts))
	group, ctx := errgroup.WithContext(ctx)
	for n, h := range s.Hosts {
		group.Go(func() (err error) {
			if found[n], err = tune.AppliedTo(ctx, h.At, h.StateDir); err != nil {
				err = fmt.Errorf("read the tunings of %s: %w", h.Name, err)
			}
			return err
		})
	}
	err := group.Wait()
	all := map[string][]string{}
	for _, one := range found {
		maps.Copy(all, one)
	}
	return all, err
}

// Tunings names those that are applied to anything of the hosts, each once, in order.
func (s *Subject) Tunings(ctx context.Context) ([]string, error) {
	applied, err := s.Applied(ctx)
	all := slices.Concat(slices.Collect(maps.Values(applied))...)
	slices.Sort(all)
	return slices.Compact(all), err
}

// mainPID tells the main process; nil where nobody can.
func (v Service) mainPID() func(context.Context) (int, error) {
	if v.PIDs == nil {
		return nil
	}
	return v.pid
}

// pid is the main process; 0 where none runs.
func (v Service) pid(ctx context.Context) (int, error) {
	pids, err := v.PIDs(ctx)
	if err != nil || len(pids) == 0 {
		return 0, err
	}
	return pids[0], nil
}

// dropIn is where the limits of the service's next start are written; "" where systemd does not run it.
func (v Service) dropIn() string {
	if v.Unit == "" || v.DropIn != "" {
		return v.DropIn
	}
	return "/etc/systemd/system/" + v.Unit + ".d/99-isukit.conf"
}

// place is where a target of the host is.
func (h Host) place(target string) tune.Place {
	return tune.Place{Name: target, Host: h.At, StateDir: h.StateDir, Sizes: h.Sizes, Note: h.Note}
}

// KernelTargets are those of what a host's kernel keeps. Without consent the kernel of the machine that isukit runs on is left alone,
// and of the lab's hosts only what each has for itself is changed.
func (h Host) KernelTargets() (kernel, link, boot *tune.Target) {
	p := h.place(h.Name)
	about := h.At.About()
	var k tune.KernelConfig
	forbid := ""
	switch {
	case about.Kernel == host.NamespaceKernel:
		k.Namespace, _ = os.Readlink("/proc/self/ns/net") // empty would forbid nothing, so:
		if k.Namespace == "" {
			k.Forbid = "isukit can't tell its own network namespace"
		}
	case about.Kernel == host.SharedKernel && !h.Consent:
		forbid = "it belongs to the kernel of the machine that isukit runs on"
		k.Forbid = forbid
	case about.Kernel == host.OwnKernel:
		k.File, k.Tmpfiles = tune.SysctlFile, tune.TmpfilesFile
	}
	b := tune.BootConfig{Forbid: forbid}
	if about.Kernel != host.OwnKernel {
		b.Forbid = "it belongs to the machine's own kernel, which isukit does not boot"
	}
	return tune.NewKernel(p, k), tune.NewLink(p, tune.LinkConfig{Forbid: forbid, Boots: about.Kernel != host.NamespaceKernel}), tune.NewBoot(p, b)
}
