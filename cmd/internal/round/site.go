package round

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"isukit/bench/load"
	"isukit/infra"
	"isukit/infra/host"
)

// upAndDown is a topology that is up for a round, and what is to be done with it afterwards.
type upAndDown struct {
	running *infra.Running
	driver  host.Driver
	down    func(context.Context) error
}

// start makes the topology run, on the driver's hosts, as "isukit topology apply" does. Without --driver it is on hosts of this machine
// that are gone after the round; with it, it stays up.
func (o Options) start(ctx context.Context, spec infra.Spec) (*upAndDown, error) {
	driver, err := OpenDriver(cmp.Or(o.Driver, "local"), o.StateDir, o.CpuScale, o.Driver != "")
	if err != nil {
		return nil, err
	}
	site := infra.NewSite(driver, spec)
	_, err = site.Apply(ctx, infra.ApplyOptions{Holder: UserName()})
	var r *infra.Running
	if err == nil {
		r, err = site.Running(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start topology %s: %w", spec.Topology.Name, err), driver.Close(context.WithoutCancel(ctx)))
	}
	return &upAndDown{r, driver, driver.Close}, nil
}

// WithRunning calls fn with what is up with a driver. Where tunes is true, that is to look at settings and to change them, and others are
// kept from changing what is up. App is the app's binary; "" is the one beside isukit.
func WithRunning(ctx context.Context, name, app string, spec infra.Spec, tunes bool, fn func(*infra.Running) error) (err error) {
	spec.LocalDir = LocalDir(spec.LocalDir)
	if spec.AppBinary, err = Beside(app, "isukit-app"); err != nil {
		return err
	}
	driver, err := OpenDriver(name, spec.StateDir, 0, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, driver.Close(context.WithoutCancel(ctx))) }()
	site := infra.NewSite(driver, spec)
	open := site.Running
	if tunes {
		open = site.Tunable
		release, err := driver.Lock(ctx, UserName())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, release()) }()
	}
	running, err := open(ctx)
	if err != nil {
		return err
	}
	return fn(running)
}

// reach lets the load engine connect from where the driver puts it, and trust the proxies.
func reach(opts *load.Options, m *measurement) {
	if dial := m.running.Dial(); dial != nil {
		opts.Dial = dial
	}
	if roots := m.running.Roots(); roots != nil {
		opts.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		if m.keys != nil {
			opts.TLS.KeyLogWriter = m.keys
		}
	}
	if m.traffic != nil {
		if opts.Dial != nil {
			m.traffic.connect = opts.Dial
		}
		opts.Dial = m.traffic.dial
	}
}
