package infra

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"isukit/infra/host"
	"isukit/infra/topology"
)

// Fact is a condition under which a topology runs.
type Fact struct{ Key, Value string }

var versionRE = regexp.MustCompile(`[0-9]+\.[0-9]+(\.[0-9]+)?[0-9A-Za-z.+~-]*`)

func (r *Running) gatherFacts(ctx context.Context) error {
	top := r.input.Topology
	proxy := r.of(topology.Proxy)[0]
	var proxyVersion, kernel, cpu string
	var app appVersion
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		at := r.at(r.of(topology.Web)[0].Host)
		app, err = askApp(ctx, at, appPath(at, r.goal))
		return err
	})
	group.Go(func() (err error) {
		proxyVersion, err = r.proxyVersion(ctx, proxy)
		return err
	})
	group.Go(func() (err error) {
		kernel, cpu, err = r.kernelAndCPU(ctx)
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	r.Facts = []Fact{
		{"topology", top.Name}, {"topology_hash", r.goal.Hash}, {"driver", r.site.driver.Name()},
		{"proxy", string(r.kindOf(proxy.Name)) + " " + proxyVersion},
		{"db", fmt.Sprintf("%d x %s %s", len(r.dbs), r.dbs[0].Engine, r.dbs[0].Version)},
		{"app", strings.TrimSpace(app.Version + " " + app.Commit)},
		{"dataset", fmt.Sprintf("%s, seed %d, version %d", r.goal.Scale, r.goal.Seed, app.DatasetVersion)},
		{"kernel", kernel}, {"cpu", cpu},
		{"cpus", fmt.Sprint(r.input.Machine.CPUs)},
		{"memory_mib", fmt.Sprint(r.input.Machine.MemoryBytes >> 20)},
		{"go", runtime.Version()},
	}
	return nil
}

// kernelOp tells a host's kernel and CPU. Not every architecture names its model.
var kernelOp = host.Script(`uname -r; sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1; uname -m`)

// kernelAndCPU are those of the proxy's host, or of the machine that it is on.
func (r *Running) kernelAndCPU(ctx context.Context) (kernel, cpu string, err error) {
	res, err := r.at(r.of(topology.Proxy)[0].Host).Run(ctx, *kernelOp.Run)
	kernel, cpu, _ = strings.Cut(string(res.Stdout), "\n")
	cpu, _, _ = strings.Cut(cpu, "\n")
	return kernel, cpu, err
}

func (r *Running) proxyVersion(ctx context.Context, proxy Instance) (string, error) {
	envoy, flag := r.kindOf(proxy.Name) == topology.Envoy, "-v"
	if envoy {
		flag = "--version"
	}
	res, err := r.at(proxy.Host).Run(ctx, host.Command{Argv: []string{r.services[proxy.Name].Argv[0], flag}})
	if err != nil {
		return "", err
	}
	out := string(res.Stdout) + string(res.Stderr)
	if envoy {
		// "envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL"
		_, out, _ = strings.Cut(out, "/")
	}
	return versionRE.FindString(out), nil
}
