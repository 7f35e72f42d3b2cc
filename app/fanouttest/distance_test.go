package fanouttest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isukit/infra/host"
	"isukit/infra/host/machine"
)

// distance is a lab with a host for each server of a cluster, whose link delays frames. A host passes connections on to its server, which runs
// outside the lab: what is measured is the same server near and far.
type distance struct {
	lab *machine.Driver
}

// farAway makes hosts for n servers; a packet to one of them and its answer take roundTrip more.
func farAway(t *testing.T, n int, roundTrip time.Duration) distance {
	t.Helper()
	lab, err := machine.OpenLab(machine.Options{StateDir: t.TempDir()})
	must(t, err)
	t.Cleanup(func() {
		if err := lab.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	var wants []host.Want
	for i := range n {
		wants = append(wants, host.Want{Name: farName(i), Flaws: host.Flaws{Delay: roundTrip / 2}})
	}
	must(t, lab.Ensure(t.Context(), wants))
	return distance{lab}
}

// carryFrames carries the frames of a link, where the lab started this program for that, and exits.
func carryFrames() {
	if len(os.Args) != 6 || os.Args[1] != "lab" || os.Args[2] != "link" {
		return
	}
	if err := machine.CarryFrames(os.Args[3], os.Args[4], os.Args[5], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func farName(i int) string { return fmt.Sprintf("far%d", i+1) }

const farPort = ":3306"

// serve has the hosts pass on connections to the servers of a cluster, until the test ends or stop is called.
func (d distance) serve(t *testing.T, c *cluster) (stop func()) {
	t.Helper()
	var all []net.Listener
	for i := range c.dbs {
		path, err := d.lab.Netns(farName(i))
		must(t, err)
		l, err := listenIn(path, farPort)
		must(t, err)
		all = append(all, l)
		server := c.config("").Replicas[i].MySQL
		go func() {
			for {
				far, err := l.Accept()
				if err != nil {
					return // closed
				}
				go passOn(far, server.Net, server.Addr)
			}
		}()
	}
	return func() {
		for _, l := range all {
			l.Close()
		}
	}
}

// dial connects to server i by way of its host.
func (d distance) dial(ctx context.Context, i int) (net.Conn, error) {
	return d.lab.Dial(ctx, "tcp", farName(i)+farPort)
}

func passOn(far net.Conn, network, addr string) {
	defer far.Close()
	near, err := net.Dial(network, addr)
	if err != nil {
		return // the client sees its connection end
	}
	go func() { io.Copy(near, far); near.Close() }()
	io.Copy(far, near)
}

// listenIn listens in a network namespace. Sockets stay in the one in which they were made.
func listenIn(path, address string) (l net.Listener, err error) {
	made := make(chan struct{})
	go func() {
		defer close(made)
		runtime.LockOSThread() // and never unlocked: the thread, which is elsewhere now, ends with the goroutine
		var fd int
		if fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(fd)
		if err = unix.Setns(fd, unix.CLONE_NEWNET); err == nil {
			l, err = net.Listen("tcp4", address)
		}
	}()
	<-made
	return l, err
}
