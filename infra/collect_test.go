package infra_test

import (
	"context"
	"sync"
	"testing"

	"isukit/infra"
	"isukit/infra/host"
	"isukit/infra/topology"
)

// answering is a host that says what it is asked, and answers when another one has been asked as well.
type answering struct {
	host.Host
	about host.About
	asked func(what string)
}

func (a *answering) About() host.About { return a.about }

func (a *answering) State(_ context.Context, service string) (host.State, error) {
	a.asked(service)
	return host.State{Running: true, PID: 4711, Group: 4711}, nil
}

func (a *answering) Used(context.Context) (host.Used, error) {
	a.asked("used")
	return host.Used{MachineUsage: host.MachineUsage{}, Services: map[string]host.Usage{"web-1": {Processes: 2}}}, nil
}

// TestHostsAreAskedAtOnce: a sample asks all hosts at once, each machine once. Each answer waits for the other host to be asked.
func TestHostsAreAskedAtOnce(t *testing.T) {
	var both sync.WaitGroup
	both.Add(2)
	meet := func(string) { both.Done(); both.Wait() }
	s1, s2 := &answering{asked: meet}, &answering{asked: meet}
	r := infra.RunningOn(infra.Spec{Topology: &topology.Topology{Hosts: []topology.Host{{Name: "s1"}, {Name: "s2"}, {Name: "s1-again"}}}},
		map[string]host.Host{"s1": s1, "s2": s2, "s1-again": s1}, infra.Instance{Name: "web-1", Host: "s2"})
	got, err := r.Sample(t.Context())
	if err != nil || len(got.Hosts) != 3 || len(got.Roles) != 1 || got.Roles[0].Processes != 2 {
		t.Errorf("got %+v, %v, want three hosts and two processes", got, err)
	}
}

// TestPIDsHereAsksHereOnly: during a load nobody far away is asked for what is not wanted.
func TestPIDsHereAsksHereOnly(t *testing.T) {
	here := &answering{about: host.About{Name: "s1", Here: true}, asked: func(string) {}}
	far := &answering{about: host.About{Name: "s2"}, asked: func(what string) { t.Errorf("s2, which is far away, was asked for %s", what) }}
	r := infra.RunningOn(infra.Spec{}, map[string]host.Host{"s1": here, "s2": far}, infra.Instance{Name: "web-1", Host: "s1"}, infra.Instance{Name: "db-1", Host: "s2"})
	pids, err := r.PIDsHere(t.Context())
	if _, ok := pids["db-1"]; err != nil || ok {
		t.Errorf("got %v, %v, want web-1 at most", pids, err)
	}
}
