package machine

import (
	"context"
	"fmt"
	"net"
	"strings"
)

// Dial implements host.Driver. In the lab the address may name a host.
func (d *Driver) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	var dialer net.Dialer
	if d.name != labName || strings.HasPrefix(network, "unix") {
		return dialer.DialContext(ctx, network, address)
	}
	generator, address, err := d.fromGenerator(address)
	if err != nil {
		return nil, err
	}
	err = inNet(generator, func() error {
		// For an address without a name the socket is made on this very thread.
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// fromGenerator returns the process whose network namespace is the generator's, and the address without a name.
func (d *Driver) fromGenerator(address string) (pid int, numeric string, err error) {
	s, err := d.store.read()
	if err != nil {
		return 0, "", err
	}
	gen := s.fixture(generatorName)
	if gen == nil {
		return 0, "", fmt.Errorf("dial %s: the lab does not exist", address)
	}
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, "", err
	}
	if h := s.host(name); h != nil {
		name = h.Address
	}
	if net.ParseIP(name) == nil {
		return 0, "", fmt.Errorf("dial %s: the lab has no host %q", address, name)
	}
	return gen.ID.PID, net.JoinHostPort(name, port), nil
}
