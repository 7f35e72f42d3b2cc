package infra

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/render"
	"isukit/infra/topology"
)

const stopLimit = 20 * time.Second // for one role to end when asked to

// Running is a topology that is up. It belongs to one caller, who must call Down.
type Running struct {
	// BaseURL is where the proxy listens: "http://127.0.0.1:PORT".
	BaseURL string
	// WorkerToken is what workers must present to the api role. It is a secret.
	WorkerToken string
	// Instances are in the order of the topology.
	Instances []Instance
	// Facts are the conditions under which it runs.
	Facts []Fact

	spec     Spec
	hash     string               // of the topology as it was declared
	hosts    map[string]host.Host // by name
	site     *Site
	end      func(context.Context) error // of what Up made; nil for what stays up
	found    *found                      // of the site
	proxies  []string                    // address:port of each
	client   *http.Client                // reaches the site; nil for local
	ca       *x509.CertPool              // that proxies' certificates are of; nil without TLS
	input    render.Input
	dbs      []database // in the order of the topology
	app      appVersion
	secrets  []string
	services map[string]host.Service // how each instance is started
	marked   map[string]host.State   // by instance, see Mark
}

// Instance is one role that runs.
type Instance struct {
	Name string // as in the topology, e.g. "db-1"
	Role string
	Host string // name in the topology
	Addr string // address:port
	// DebugAddr is address:port of pprof for web and api, of the admin page for Envoy; "" for others.
	DebugAddr string
	Dir       string
}

// Up makes the topology real on hosts of this machine that end with it, and returns when every role is healthy. When it fails, or ctx
// ends, all that it started is gone before it returns.
func Up(ctx context.Context, spec Spec) (_ *Running, err error) {
	if err := spec.validate(); err != nil {
		return nil, fmt.Errorf("start topology: %w", err)
	}
	driver, err := machine.OpenLocal(machine.Options{StateDir: spec.StateDir})
	if err != nil {
		return nil, fmt.Errorf("start topology %s: %w", spec.Topology.Name, err)
	}
	site := NewSite(driver, spec)
	var r *Running
	if _, err = site.Apply(ctx, ApplyOptions{}); err == nil {
		r, err = site.Running(ctx)
	}
	if err == nil {
		r.end = driver.Close
		return r, nil
	}
	// A program that was killed since ctx ended says so; the caller asks for the reason.
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return nil, errors.Join(fmt.Errorf("start topology %s: %w", spec.Topology.Name, err), driver.Close(context.WithoutCancel(ctx)))
}

// Down stops every role of what Up made, in the reverse order of their start, and removes the run directory. Data that is prepared for
// later runs stays, and so does what is up on a Site that outlives this process.
func (r *Running) Down(ctx context.Context) error {
	if r.end == nil {
		return nil
	}
	r.spec.progress("stopping")
	if err := r.end(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("take topology %s down: %w", r.spec.Topology.Name, err)
	}
	return nil
}

func instanceOf(i topology.Instance, place render.Place) Instance {
	inst := Instance{
		Name: i.Name, Role: string(i.Role), Host: i.Host, Dir: place.Dir,
		Addr: fmt.Sprintf("%s:%d", place.Address, place.Port),
	}
	if i.Role != topology.DB && i.Kind != topology.Nginx {
		inst.DebugAddr = fmt.Sprintf("%s:%d", place.Address, place.DebugPort)
	}
	return inst
}

func (r *Running) of(role topology.Role) []Instance {
	var list []Instance
	for _, i := range r.Instances {
		if i.Role == string(role) {
			list = append(list, i)
		}
	}
	return list
}
