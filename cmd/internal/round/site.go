package round

import (
	"context"
	"crypto/tls"
	"errors"

	"isukit/bench/load"
	"isukit/infra"
)

// upAndDown is a topology that is up for a round, and what is to be done with it afterwards.
type upAndDown struct {
	running *infra.Running
	down    func(context.Context) error
}

// start makes the topology run. Without --driver everything is gone after the round; with it the topology is applied to that
// driver's hosts, as "isukit topology apply" does, and stays up.
func (o Options) start(ctx context.Context, spec infra.Spec) (*upAndDown, error) {
	if o.Driver == "" {
		r, err := infra.Up(ctx, spec)
		if err != nil {
			return nil, err
		}
		return &upAndDown{r, r.Down}, nil
	}
	driver, err := OpenDriver(o.Driver, o.StateDir, o.CpuScale, true)
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
		return nil, errors.Join(err, driver.Close(context.WithoutCancel(ctx)))
	}
	return &upAndDown{r, driver.Close}, nil
}

// WithRunning calls fn with what is up with a driver, while others are kept from changing it where alone is true. App is the app's
// binary; "" is the one beside isukit.
func WithRunning(ctx context.Context, name, app string, spec infra.Spec, alone bool, fn func(*infra.Running) error) (err error) {
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
	if alone {
		release, err := driver.Lock(ctx, UserName())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, release()) }()
	}
	running, err := site.Running(ctx)
	if err != nil {
		return err
	}
	return errors.Join(fn(running), running.Down(context.WithoutCancel(ctx)))
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
