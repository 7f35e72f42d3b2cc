package main

import (
	"context"
	"errors"
	"net"
	"slices"

	"isukit/cmd/internal/round"
	"isukit/infra"
	"isukit/infra/host/machine"
)

// labReach is how send and replay connect: to the lab's hosts from its load generator, since nothing else of this machine reaches them and
// the same address elsewhere must not get the request; to all others as any program does.
type labReach struct {
	lab       *machine.Driver // nil where no lab is up
	addresses map[string]bool
}

func openLabReach(ctx context.Context, stateDir string) (*labReach, error) {
	r := &labReach{addresses: map[string]bool{}}
	if !slices.Contains(round.DriversUp(stateDir), "lab") {
		return r, nil
	}
	lab, err := machine.OpenLab(machine.Options{StateDir: stateDir, Keep: true})
	if err != nil {
		return r, nil // a user without access to the lab cannot use its hosts
	}
	r.lab = lab
	wants, err := lab.Hosts(ctx)
	if err != nil {
		return nil, errors.Join(err, r.Close(ctx))
	}
	for _, w := range wants {
		h, err := lab.Host(w.Name)
		if err != nil {
			return nil, errors.Join(err, r.Close(ctx))
		}
		r.addresses[h.About().Address] = true
	}
	return r, nil
}

// DialContext is for an http.Transport.
func (r *labReach) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if name, _, err := net.SplitHostPort(address); err == nil && r.addresses[name] {
		return r.lab.Dial(ctx, network, address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// Close lets go of the lab, which stays up.
func (r *labReach) Close(ctx context.Context) error {
	if r.lab == nil {
		return nil
	}
	return r.lab.Close(context.WithoutCancel(ctx))
}

// urlUp is where the portal of the topology that is up answers; "" where none is, or several are, or it cannot be told.
func urlUp(ctx context.Context, stateDir string) (url string) {
	name, err := round.FindDriver("", stateDir)
	if err != nil || name == "" || name == "ssh" { // over ssh looking takes seconds
		return ""
	}
	_ = round.WithSite(ctx, name, 0, infra.Spec{StateDir: stateDir}, func(site *infra.Site) error {
		if st, err := site.Status(ctx); err == nil {
			url = st.URL
		}
		return nil
	})
	return url
}
